"""The push against a real collector whose answers are spoilt on their way, before anything is stored or after: each run is there once."""

from __future__ import annotations

from pathlib import Path

from roomprobe.spool import Spool
from tests.sinks.between import Between, Later, after, before, between
from tests.sinks.collectors import Fault, endless, half, resets, says, slow
from tests.sinks.running import collector, enrolled, kept
from tests.sinks.test_push import pushing, until
from tests.spool.helpers import run

FAULTS: dict[str, Fault] = {
    "500": says(500),
    "503 and a wait": says(503, headers={"Retry-After": "7"}),
    "a proxy's 502": says(502, b"<html>"),
    "429": says(429),
    "404": says(404, b"not here"),
    "301": says(301, headers={"Location": "https://elsewhere.example/"}),
    "401": says(401),
    "a guest network": says(200, b"<html>Welcome"),
    "nothing at all": says(200),
    "a receipt for others": says(200, b'{"stored":1999,"repeated":0,"want_full":false,"time":"2026-11-21T12:00:00Z"}'),
    "half an answer": half,
    "a reset": resets,
    "an answer without end": endless,
    "no answer": slow,
}


async def test_whatever_is_heard_each_run_is_stored_once(tmp_path: Path) -> None:
    store = tmp_path / "collector"
    box = enrolled(store)
    spool = Spool(tmp_path / "spool", box.agent)
    await spool.open()
    produced: dict[str, int] = {}
    async with collector(store) as (_, url):
        middle = Between(url)
        async with between(middle) as by, pushing(spool, by, box.token_file, answer_s=0.3) as push:
            for number, (name, fault) in enumerate(FAULTS.items()):
                spoilt: list[Later] = [before(fault), after(fault)]
                middle.faults = [*spoilt, *reversed(spoilt)]
                stored, delivered = len(middle.batches), push.state.delivered
                for outcome in ("open", "fault"):
                    made = run(number, outcome=outcome)
                    produced[made["run"]["id"]] = (await spool.append(made)).seq
                await until(lambda: not middle.faults and push.state.status == "idle")
                assert push.state.delivered == delivered + 2, name
                assert len(middle.batches) >= stored + 2, f"{name}: what was stored unheard is sent again"
        assert push.state.set_aside == 0 and (await spool.state()).depth == 0
    await spool.close()
    assert kept(store) == produced


async def test_nothing_leaves_the_spool_for_who_only_looks_like_the_collector(tmp_path: Path) -> None:
    store = tmp_path / "collector"
    box = enrolled(store)
    spool = Spool(tmp_path / "spool", box.agent)
    await spool.open()
    produced = {}
    for number in range(9):
        made = run(number, outcome="fault" if number % 2 else "open")
        produced[made["run"]["id"]] = (await spool.append(made)).seq
    async with collector(store) as (_, url):
        middle = Between(url)
        middle.faults = [before(fault) for name, fault in FAULTS.items() if name != "no answer"] * 3
        async with between(middle) as by, pushing(spool, by, box.token_file) as push:
            await until(lambda: len(middle.faults) <= 1)
            assert (push.state.delivered, (await spool.state()).depth) == (0, 9)
            await until(lambda: push.state.status == "idle")
    await spool.close()
    assert kept(store) == produced
