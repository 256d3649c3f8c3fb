// Draws round-trip and connect times with uPlot, from the same API that programs use.
"use strict";
(() => {
  const place = document.getElementById("plot");
  if (!place || typeof uPlot === "undefined") return;
  let { from, to, every } = place.dataset;
  const one = "one" in place.dataset;
  const wanted = Array.from(document.querySelectorAll(".series li"), (item) => ({ url: item.dataset.url, label: item.textContent }));
  // Told apart by dashes as well as by colour.
  const dashes = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 4], [14, 4]];
  const light = ["#1d4f91", "#b35900", "#14692f", "#8e2a8b", "#555", "#a11d2c"];
  const dark = ["#8ab8f5", "#ffb45c", "#7fd99a", "#e79be4", "#ccc", "#ff9ba0"];
  const mode = matchMedia("(prefers-color-scheme: dark)");
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
  const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
  let plot = null;
  let data = null;

  // As everywhere on the pages: the day where it begins and at the first mark, else the time of day.
  function marks(times) {
    const text = times.map((time) => clock.format(time * 1000));
    return times.map((time, number) => {
      if (text[number] === "00:00") return day.format(time * 1000);
      return number ? text[number] : `${text[number]}\n${day.format(time * 1000)}`;
    });
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    const colours = mode.matches ? dark : light;
    const axis = { stroke: style.getPropertyValue("--quiet"), grid: { stroke: style.getPropertyValue("--line"), width: 1 }, ticks: { stroke: style.getPropertyValue("--line") } };
    const names = one ? [`mean ${wanted[0].label}`, "least", "most"] : wanted.map((item) => item.label);
    const series = names.map((label, number) => ({
      label, stroke: colours[number % 6], width: number && one ? 1 : 2, dash: dashes[number % 6], spanGaps: false,
      points: { show: data[0].length < 60 },
      value: (_, value) => (value == null ? "" : `${value.toFixed(1)} ms`),
    }));
    plot?.destroy();
    plot = new uPlot({
      width: place.clientWidth, height: 260,
      scales: { x: { min: Number(from) / 1000, max: Number(to) / 1000 }, y: { range: (_, low, high) => [0, high == null ? 1 : high * 1.1] } },
      axes: [{ ...axis, values: (_, times) => marks(times) }, { ...axis, label: "ms", size: 60 }],
      series: [{ value: (_, value) => (value == null ? "" : new Date(value * 1000).toLocaleString("en-GB")) }, ...series],
    }, data, place);
  }

  // A line ends where nothing was measured, instead of running straight over the hole.
  function join(lists) {
    const step = Number(every);
    const all = new Set(lists.flat().map((point) => point.at));
    for (const point of lists.flat()) if (!all.has(point.at + step)) all.add(point.at + step);
    const at = Array.from(all).sort((a, b) => a - b);
    const kinds = one ? ["mean", "least", "most"] : ["mean"];
    const lines = lists.flatMap((points) => {
      const by = new Map(points.map((point) => [point.at, point]));
      return kinds.map((kind) => at.map((time) => by.get(time)?.[kind] ?? null));
    });
    return [at.map((time) => time / 1000), ...lines];
  }

  async function load() {
    try {
      const query = `?from=${Number(from)}&to=${Number(to)}&every_ms=${Number(every)}`;
      const answers = await Promise.all(wanted.map(async (item) => {
        const answer = await fetch(item.url + query, { credentials: "same-origin" });
        return answer.ok ? (await answer.json()).points : [];
      }));
      data = join(answers);
      draw();
    } catch {
      if (!data) place.textContent = "The times could not be loaded.";
    }
  }

  document.addEventListener("roomprobe:fresh", (event) => {
    if (to === event.detail.to) return;
    ({ from, to, every } = event.detail);
    load();
  });
  mode.addEventListener("change", () => { if (data) draw(); });
  addEventListener("resize", () => plot?.setSize({ width: place.clientWidth, height: 260 }));
  load();
})();
