"""A real Prometheus scrapes a real collector process; the rules and the Grafana dashboard are held by promtool and by it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from roomprobe.collector import command, metrics, people
from tests.collector.making import full
from tests.collector.test_process import enrol, post, process
from tests.exporters.prometheus import MONITORING, RULES, Prometheus, installed, prometheus

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(not installed(), reason="Debian's prometheus is not installed (scripts/peers.txt)"),
]
DASHBOARD = MONITORING / "roomprobe.grafana.json"
HOSTILE = 'quo"te\\ {room="x"} 1'


async def promtool(*arguments: str) -> str:
    child = await asyncio.create_subprocess_exec(
        "promtool", *arguments, cwd=MONITORING, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await child.communicate())[0].decode()
    assert child.returncode == 0, said
    return said


async def test_the_rules_are_valid_and_alert_when_they_should() -> None:
    assert "SUCCESS: 10 rules found" in await promtool("check", "rules", RULES.name)
    await promtool("test", "rules", "roomprobe.rules.test.yml")


def test_every_alert_is_tested() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    tests = (MONITORING / "roomprobe.rules.test.yml").read_text()
    assert len(alerts) == 10
    assert {name for name in alerts if f"alertname: {name}\n        exp_alerts:\n" in tests} == alerts


def test_rules_and_dashboard_use_names_that_exist() -> None:
    served = set(re.findall(r'"((?:roomprobe|probe)_\w+)"', Path(metrics.__file__).read_text()))
    used = re.findall(
        r"\b((?:roomprobe|probe)_[a-z_]+)\b", RULES.read_text() + " ".join(q for _, q in queries(board()))
    )
    assert set(used) <= served


def board() -> dict[str, Any]:
    return json.loads(DASHBOARD.read_text())  # type: ignore[no-any-return]


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def test_the_dashboard_is_as_grafana_wants_it() -> None:
    """The classic JSON model as Grafana's documentation publishes it; no Grafana is in Debian to load it into."""
    found = board()
    required = {"id", "uid", "title", "tags", "timezone", "editable", "graphTooltip", "panels", "time", "timepicker"}
    required |= {"templating", "annotations", "refresh", "schemaVersion", "version", "links"}
    assert required <= set(found)
    assert found["id"] is None and 8 <= len(found["uid"]) <= 40
    assert isinstance(found["schemaVersion"], int) and isinstance(found["version"], int)
    variables = {one["name"]: one for one in found["templating"]["list"]}
    assert set(variables) == {"datasource", "site", "room"}
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["type"] in {"row", "stat", "table", "timeseries"} and panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            refs = [target["refId"] for target in panel["targets"]]
            assert refs and len(set(refs)) == len(refs)
            used = set(re.findall(r"\$(?:\{)?(\w+)", json.dumps(panel))) - {"__rate_interval"}
            assert used <= set(variables)


def plain(expr: str) -> str:
    """A query of the dashboard with what Grafana would put in."""
    return expr.replace("$__rate_interval", "4s").replace("$site", ".*").replace("$room", ".*")


async def test_a_real_prometheus_reads_a_real_collector(tmp_path: Path) -> None:
    state = tmp_path / "state"
    now = time.time_ns() // 1_000_000
    async with process(state) as running, aiohttp.ClientSession() as http:
        token = command._write(state, lambda db: people.api_token(db, now, "prometheus"))[1]
        for room, said, verdict in (
            ("Boardroom 4", "open", "full"),
            (HOSTILE, "filtered/path-ends", "broken"),
        ):
            agent, bearer = enrol(state, room)
            record = full(0, {"F1": said, "F3": "unanswered/silence"}, state=verdict, agent=agent, at=now - 1000)
            assert (await post(http, running.url, bearer, [record]))[0] == 200
        command._write(state, lambda db: people.mint(db, now, "Attic", minutes=5))
        async with prometheus(tmp_path / "prometheus", running.url, token, checks=True) as asked:
            await asked.until("roomprobe_collector_uploads_total == 2")
            await scraped(asked)
            await drawn(asked)


async def scraped(asked: Prometheus) -> None:
    """What it stored is what the collector knows."""
    assert [value for _, value in await asked.query('up{job="roomprobe"}')] == [1.0]
    states = {(m["room"], m["state"]) for m, _ in await asked.query("roomprobe_service_state")}
    assert states == {("Boardroom 4", "full"), (HOSTILE, "broken")}
    success = {(m["room"], m["row"]): value for m, value in await asked.query("probe_success")}
    assert success == {("Boardroom 4", "F1"): 1.0, (HOSTILE, "F1"): 0.0}
    assert {m["outcome"] for m, _ in await asked.query("roomprobe_check_outcome")} == {"open", "filtered", "unanswered"}
    assert [m["room"] for m, _ in await asked.query("roomprobe_room_silent == 1")] == ["Attic"]
    assert [value for _, value in await asked.query("probe_duration_seconds")] == [0.01]
    # The rules are loaded and evaluated by it; nothing may have lasted long enough to fire yet.
    pending = await asked.until('ALERTS{alertname="RoomprobeRoomBroken"}')
    assert [(m["room"], m["alertstate"]) for m, _ in pending] == [(HOSTILE, "pending")]
    for group in (await asked.ask("rules"))["groups"]:
        assert all(rule["health"] == "ok" for rule in group["rules"]), group


async def drawn(asked: Prometheus) -> None:
    """Every query of the dashboard has an answer, but for those of what did not happen here."""
    await asked.until("rate(roomprobe_collector_commits_total[4s]) > 0")
    empty = {title for title, expr in queries(board()) if not await asked.query(plain(expr))}
    # No exporter runs, nothing was refused, and the silent box was never heard of at all.
    assert empty <= {"Exporters", "Uploads", "Silent boxes"}
    for one in board()["templating"]["list"][1:]:
        selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", plain(one["query"]["query"])).groups()  # type: ignore[union-attr]
        assert await asked.query(f"count by ({label}) ({selector})")
