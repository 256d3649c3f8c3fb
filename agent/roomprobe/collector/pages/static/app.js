// Times in the reader's own zone, and pages that stay fresh. Without it every page works, too.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");

  const days = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const years = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
  const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });

  function ago(at) {
    const seconds = Math.max(0, (Date.now() - at) / 1000);
    if (seconds < 60) return "just now";
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 2 * 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} days ago`;
  }

  function times(within) {
    for (const one of within.querySelectorAll("time[datetime]")) {
      const at = Date.parse(one.getAttribute("datetime"));
      if (Number.isNaN(at)) continue;
      const near = Math.abs(Date.now() - at) < 180 * 86400e3;
      const text = one.hasAttribute("data-ago") ? ago(at) : (near ? days : years).format(at);
      if (one.textContent !== text) one.textContent = text;
      if (!one.title) one.title = exact.format(at);
    }
  }

  // What the server sent for each live part, because what stands in the page was changed by `times` and by the reader.
  const sent = new Map();
  for (const part of document.querySelectorAll("[data-live]")) sent.set(part.id, part.outerHTML);
  times(document);
  setInterval(() => times(document), 30e3);

  const every = Number(document.body.dataset.refresh) * 1000;
  const note = document.getElementById("refresh");
  if (!every || !note) return;
  let tag = null;
  let lost = null;
  let asking = false;

  function say(text, bad) {
    if (note.textContent !== text) note.textContent = text;
    note.classList.toggle("lost", bad);
  }

  // What a part says, apart from its times and drawings, which change by themselves.
  function gist(part) {
    const copy = part.cloneNode(true);
    for (const one of copy.querySelectorAll("time, svg, details")) one.remove();
    return copy.textContent.replace(/\s+/g, " ").trim();
  }

  function put(fresh) {
    let told = "";
    for (const part of fresh.querySelectorAll("[data-live]")) {
      const old = document.getElementById(part.id);
      const html = part.outerHTML;
      if (!old || sent.get(part.id) === html) continue;
      sent.set(part.id, html);
      const open = new Set(Array.from(old.querySelectorAll("details[open][data-key]"), (one) => one.dataset.key));
      const shut = new Set(Array.from(old.querySelectorAll("details[data-key]:not([open])"), (one) => one.dataset.key));
      const scrolled = Array.from(old.querySelectorAll(".scroll"), (one) => one.scrollLeft);
      const focus = old.contains(document.activeElement) ? place(old, document.activeElement) : null;
      const made = document.importNode(part, true);
      for (const one of made.querySelectorAll("details[data-key]")) {
        if (open.has(one.dataset.key)) one.open = true;
        else if (shut.has(one.dataset.key)) one.open = false;
      }
      times(made);
      if (gist(old) !== gist(made)) {
        made.classList.add("fresh");
        if ("say" in made.dataset) told = gist(made.querySelector("h1, .answer") || made);
      }
      old.replaceWith(made);
      made.querySelectorAll(".scroll").forEach((one, number) => { one.scrollLeft = scrolled[number] || 0; });
      if (focus) find(made, focus)?.focus({ preventScroll: true });
    }
    document.title = fresh.title;
    return told;
  }

  const able = "a[href], summary, [tabindex], input, select, button";
  function place(within, one) {
    return { href: one.getAttribute("href"), key: one.parentElement?.dataset?.key, number: Array.from(within.querySelectorAll(able)).indexOf(one) };
  }
  function find(within, focus) {
    const all = Array.from(within.querySelectorAll(able));
    return (focus.href && all.find((one) => one.getAttribute("href") === focus.href))
      || (focus.key && all.find((one) => one.parentElement?.dataset?.key === focus.key)) || all[focus.number];
  }

  async function ask() {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const headers = { Accept: "text/html" };
      if (tag) headers["If-None-Match"] = tag;
      const answer = await fetch(location.href, { headers, cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(30e3) });
      if (answer.redirected && new URL(answer.url).pathname === "/login") {
        root.classList.add("stale");
        say("You were logged out. Load the page again.", true);
        return;
      }
      if (answer.status !== 304) {
        if (!answer.ok) throw new Error(String(answer.status));
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        const told = put(fresh);
        tag = answer.headers.get("ETag");
        if (told) say(`Updated ${new Date().toLocaleTimeString("en-GB")}: ${told}`, false);
        const plot = fresh.getElementById("plot");
        if (plot) document.dispatchEvent(new CustomEvent("roomprobe:fresh", { detail: { ...plot.dataset } }));
      }
      if (lost) say(`The collector answers again, ${new Date().toLocaleTimeString("en-GB")}.`, false);
      else if (!note.textContent) say("Stays up to date by itself.", false);
      lost = null;
    } catch {
      lost ??= new Date();
      say(`No answer from the collector since ${lost.toLocaleTimeString("en-GB")}: what stands here may be old.`, true);
    } finally {
      asking = false;
    }
  }

  setInterval(ask, every);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
  say("Stays up to date by itself.", false);
})();
