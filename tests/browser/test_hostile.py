"""Every string that a box, a network or a name can choose is chosen badly: it is shown as text, and does nothing."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from roomprobe.changes import outcome_hash
from roomprobe.collector import shape
from roomprobe.collector.pages.frame import check_url, room_url, row_url
from roomprobe.report.document import document
from roomprobe.wire.upload import Full
from tests.browser import filling
from tests.browser.chromium import Page
from tests.browser.conftest import PICTURES, Dashboard, clean
from tests.report import samples

BAD = (
    "\"'><script>pwned=1</script><img src=x onerror=pwned=1>{{7*7}}</textarea></title>&#x3c;"
    "\u202egnp\u2066\x1b[31m\x9b\r\n%2e%2e/..;javascript:pwned=1//"
)
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
CHECK = """
(() => ({
  pwned: typeof pwned !== "undefined",
  odd: Array.from(document.querySelectorAll(
    "img, iframe, object, [onerror], [onclick], [style]:not(#plot *), main script, a[href^='javascript' i]"
  ), (one) => one.outerHTML.slice(0, 200)),
  html: document.documentElement.outerHTML,
}))()
"""


def badly(told: dict[str, Any]) -> int:
    """Puts BAD wherever the schema takes it; says in how many places."""
    number = 0

    def put(holder: Any, key: Any, value: str) -> None:
        nonlocal number
        before = holder[key]
        holder[key] = value
        if shape.fault(told) is None:
            number += 1
        else:
            holder[key] = before

    def each(value: Any, do: Callable[[Any, Any], None]) -> None:
        for key in list(value if isinstance(value, dict) else range(len(value))):
            if isinstance(value[key], dict | list):
                each(value[key], do)
            elif key not in ("reason", "outcome", "state", "row", "started", "kind"):
                do(value, key)

    each(told, lambda holder, key: put(holder, key, f"{BAD}{number}") if isinstance(holder[key], str) else None)
    told["checks"][0]["evidence"] = {"banner": BAD, BAD: [BAD, {BAD: BAD}], "issuer": {"CN": BAD}}
    return number


async def test_hostile_strings_everywhere(empty: Dashboard, page: Page) -> None:
    room = BAD
    box = empty.boxes[room] = filling.enrol(empty.state, room, site=BAD + "site", org=BAD + "org")
    begin = filling.now() - filling.MINUTE * 20
    records = box.day(begin, begin + 4 * 5 * filling.MINUTE, (begin, samples.full()))
    for told in (samples.broken(), samples.degraded()):
        made = document(told)
        made["agent"] = {"id": box.agent, "version": "0.1.0"}
        made["run"] = box.run(filling.now())
        whole = copy.deepcopy(made)
        assert badly(whole) > 80
        whole["agent"], whole["run"] = made["agent"], made["run"]
        records.append(
            Full(agent=box.agent, epoch=filling.EPOCH, seq=box.seq, hash=outcome_hash(whole), document=whole)
        )
        box.seq += 1
        last = whole
    await empty.send(room, records)

    await empty.login(page)
    profile, row, check = last["checks"][0]["profile"], last["checks"][0]["row"], last["checks"][0]["id"]
    interval = await page.run(
        f"fetch('/v1{room_url(room)}/changes').then(a => a.json()).then(a => a.changes.find(c => c.kind == 'check').interval)"
    )
    for number, place in enumerate(
        (
            *("/", "/?q=" + "%22%27%3E%3Cscript%3Epwned%3D1%3C/script%3E%E2%80%AE", "/checks", "/changes?kind=all"),
            *(room_url(room), room_url(room, "changes"), room_url(room, "runs"), check_url(room, check)),
            *(row_url(profile, row), room_url(room, "evidence", str(interval)), f"/shares?room={room_url(room)[7:]}"),
        )
    ):
        await page.go(empty.url + place)
        assert await page.run("performance.getEntriesByType('navigation')[0].responseStatus") == 200, place
        seen = await page.run(CHECK)
        assert not seen["pwned"] and seen["odd"] == [], (place, seen["odd"])
        assert not RAW.search(seen["html"]), (place, RAW.search(seen["html"]))
        if place in (room_url(room), "/"):
            assert "<script>pwned=1</script>" in await page.text()
            await page.picture(PICTURES / f"hostile-{number}.png")
    await page.go(empty.url + room_url(room, "runs"))
    await page.click("form button")
    assert not RAW.search((await page.run(CHECK))["html"])
    await page.go(f"{empty.url}/shares")
    await page.type("#label", BAD.replace("\r\n", ""))
    await page.click("form[action='/shares'] button")
    seen = await page.run(CHECK)
    assert not seen["pwned"] and seen["odd"] == [] and not RAW.search(seen["html"])
    clean(page, empty.url)
