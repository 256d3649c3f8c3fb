"""The same pages in the dark, on paper, on a phone, by keyboard alone and without JavaScript."""

from __future__ import annotations

from roomprobe.collector.pages.frame import room_url
from tests.browser.chromium import Page
from tests.browser.conftest import PICTURES, Dashboard, clean

# WCAG 2.2, 1.4.3: text stands out from its ground by 4.5 to 1 at least.
CONTRAST = """
(() => {
  const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const rgba = (text) => { const found = text.match(/[\\d.]+/g).map(Number); return found.length < 4 ? [...found, 1] : found; };
  const ground = (one) => { for (let at = one; at; at = at.parentElement) { const c = rgba(getComputedStyle(at).backgroundColor);
    if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
  const poor = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = Array.from(one.childNodes).some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !one.checkVisibility() || one.closest("svg, .u-wrap")) continue;
    const a = light(rgba(getComputedStyle(one).color).slice(0, 3)), b = light(ground(one).slice(0, 3));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${one.tagName}.${one.className} ${one.textContent.trim().slice(0, 30)}`);
  }
  return poor;
})()
"""
# What a screen reader needs: a name for every control, one h1, no level left out, heads for every table, landmarks.
UNNAMED = """
(() => {
  const wrong = [];
  for (const one of document.querySelectorAll("a[href], button, input:not([type=hidden]):not([hidden]), select, summary")) {
    const label = one.labels?.[0]?.textContent || one.getAttribute("aria-label") || one.textContent;
    if (!label.trim()) wrong.push(one.outerHTML.slice(0, 120));
  }
  for (const table of document.querySelectorAll("main table:not(.u-legend)"))
    if (!table.querySelector("thead th[scope=col]")) wrong.push("table");
  const levels = Array.from(document.querySelectorAll("h1, h2, h3"), (h) => Number(h.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) wrong.push("h1");
  levels.forEach((level, at) => { if (at && level > levels[at - 1] + 1) wrong.push(`h${levels[at - 1]} to h${level}`); });
  for (const name of ["header", "main", "footer"]) if (!document.querySelector(name)) wrong.push(name);
  const ids = Array.from(document.querySelectorAll("[id]"), (one) => one.id);
  if (new Set(ids).size !== ids.length) wrong.push("an id twice");
  return wrong;
})()
"""
ROOM = room_url("Boardroom 4")
PLACES = (
    *("/", ROOM, room_url("Auditorium"), "/checks", "/checks/starleaf/F2", "/changes", "/shares", "/logout"),
    *(f"{ROOM}/runs", f"{ROOM}/changes", "/rooms/nobody"),
)


async def test_text_stands_out_and_everything_has_a_name(fleet: Dashboard, page: Page) -> None:
    await fleet.login(page)
    for dark in (False, True):
        await page.dark(dark)
        for place in PLACES:
            await page.go(fleet.url + place)
            assert await page.run(CONTRAST) == [], (place, dark)
            assert await page.run(UNNAMED) == [], place


async def test_in_the_dark_and_on_paper(fleet: Dashboard, page: Page) -> None:
    await fleet.login(page)
    await page.dark()
    await page.picture(PICTURES / "dark-grid.png")
    await page.go(fleet.url + ROOM)
    await page.until("document.querySelector('#plot canvas')")
    await page.picture(PICTURES / "dark-room.png")
    await page.dark(False)
    printed = await page.paper(PICTURES / "print-room.pdf")
    assert printed.startswith(b"%PDF")
    await page.send("Emulation.setEmulatedMedia", media="print")
    await page.size(794, 1123)
    await page.picture(PICTURES / "print-room.png")
    assert await page.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    clean(page, fleet.url)


async def test_on_a_phone_nothing_is_wider_than_the_page(fleet: Dashboard, page: Page) -> None:
    await fleet.login(page)
    await page.size(390, 844)
    for place in PLACES:
        await page.go(fleet.url + place)
        assert await page.run("document.documentElement.scrollWidth") <= 390, place
    await page.go(fleet.url + ROOM)
    await page.picture(PICTURES / "phone-room.png")


async def test_by_keyboard_alone(empty: Dashboard, page: Page) -> None:
    await page.go(f"{empty.url}/")
    await page.send("Input.insertText", text=empty.password)  # the field has the focus already
    await page.key("Enter")
    await page.until("location.pathname == '/' && document.readyState == 'complete'")
    await page.key("Tab")
    assert await page.run("document.activeElement.className") == "skip"
    ring = "(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle + ' ' + s.outlineWidth; })()"
    for _ in range(6):
        await page.key("Tab")
        assert await page.run(ring) == "solid 3px", await page.run("document.activeElement.outerHTML")


async def test_without_javascript(fleet: Dashboard, page: Page) -> None:
    await page.scripts(False)
    await page.go(f"{fleet.url}/")
    await page.type("#password", fleet.password)
    await page.follow("document.querySelector('form').submit()")
    text = await page.text()
    assert "UTC" in text and "Training 1" in text
    await page.go(fleet.url + ROOM)
    assert "UDP 24704" in await page.text()
    assert await page.run("document.getElementById('plots').checkVisibility()") is False
    await page.picture(PICTURES / "no-script-room.png")
    clean(page, fleet.url)
