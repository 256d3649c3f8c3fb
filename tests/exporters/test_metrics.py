"""The collector's /metrics against the names that others rely on, read by Prometheus' own parser."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from roomprobe.collector import metrics, people
from tests.collector.conftest import Running
from tests.collector.making import full, loss, same

MINUTE = 60_000


async def scrape(server: Running, **params: Any) -> dict[str, dict[tuple[str, ...], float]]:
    """Family name → label values (in the order of the names) → value."""
    headers = {"Authorization": f"Bearer {server.reader}"}
    async with server.http.get(f"{server.url}/metrics", params=params, headers=headers) as answer:
        assert answer.status == 200
        text = await answer.text()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            key = tuple(one.labels[name] for name in sorted(one.labels))
            assert key not in found.setdefault(one.name, {}), "one series twice"
            found[one.name][key] = one.value
    return found


async def put(server: Running, outcomes: dict[str, str], *, seq: int = 0, **more: Any) -> None:
    token = more.pop("token", None)
    at = more.pop("at", server.collector.now() - MINUTE)
    one = full(seq, outcomes, agent=more.pop("agent", server.agent), at=at, **more)
    assert (await server.post([one], token=token))[0] == 200


def rows(found: Iterable[tuple[str, ...]], place: int) -> set[str]:
    return {key[place] for key in found}


async def test_what_is_promised_is_there(server: Running) -> None:
    await put(server, {"F1": "open", "F2": "filtered/path-ends", "F3": "unanswered/silence"}, state="broken")
    found = await scrape(server, checks=1)
    # labels in alphabetical order: profile, reason, room, service, site, state
    assert set(found["roomprobe_service_state"]) == {
        ("starleaf", "required-not-met", "Boardroom 4", "calls", "", "broken")
    }
    # check, profile, room, row, site
    success = {key[3]: value for key, value in found["probe_success"].items()}
    assert success == {"F1": 1.0, "F2": 0.0}, "F3 cannot be told: neither"
    duration = {key[3]: value for key, value in found["probe_duration_seconds"].items()}
    assert duration == {"F1": 0.010}
    # check, outcome, profile, reason, room, row, site
    outcomes = {(key[5], key[1], key[3]) for key in found["roomprobe_check_outcome"]}
    assert outcomes == {
        ("F1", "open", "verified"), ("F2", "filtered", "path-ends"), ("F3", "unanswered", "silence")
    }  # fmt: skip
    seen = next(iter(found["roomprobe_agent_last_seen_seconds"].values()))
    assert 0 <= seen < 60
    assert found["roomprobe_room_silent"] == {("Boardroom 4", ""): 0.0}
    assert found["roomprobe_collector_uploads_total"] == {(): 1.0}
    assert found["roomprobe_collector_refused_total"]["503", "store"] == 0.0
    assert found["roomprobe_collector_queue_jobs"] == {(): 0.0}
    assert found["roomprobe_collector_store_bytes"][()] > 0
    assert found["roomprobe_collector_disk_free_bytes"][()] > 0


async def test_checks_come_on_request_alone(server: Running) -> None:
    await put(server, {"F1": "open"})
    found = await scrape(server)
    assert "roomprobe_service_state" in found
    assert not {"probe_success", "probe_duration_seconds", "roomprobe_check_outcome"} & set(found)


async def test_a_silent_room_is_silent_and_nothing_else(server: Running) -> None:
    await put(server, {"F1": "open"})

    def long_ago(db: Any) -> None:
        db.execute("UPDATE agent SET last_seen = last_seen - 3600000")

    await server.collector.write(long_ago)
    found = await scrape(server, checks=1)
    assert found["roomprobe_room_silent"] == {("Boardroom 4", ""): 1.0}
    assert next(iter(found["roomprobe_agent_last_seen_seconds"].values())) > 3500
    assert not {"roomprobe_service_state", "probe_success", "roomprobe_check_outcome"} & set(found)


async def test_a_revoked_box_is_gone(server: Running) -> None:
    await put(server, {"F1": "open"})
    await server.collector.write(people.revoke, server.collector.now(), room="Boardroom 4")
    found = await scrape(server, checks=1)
    assert not {"roomprobe_room_silent", "roomprobe_agent_last_seen_seconds", "roomprobe_service_state"} & set(found)


async def test_whatever_stands_in_a_name_stays_in_its_label(server: Running) -> None:
    hostile = 'a"} 1\nprobe_success{room="x\\'
    made = await server.enrol(hostile, site="\\n}")
    await put(server, {"F1": "open"}, agent=made.agent, host='h"\\\n{', token=made.token)
    found = await scrape(server, checks=1)
    assert set(found["probe_success"]) == {
        ('starleaf/F1/h"\\\n{/203.0.113.10/tcp/443', "starleaf", hostile, "F1", "\\n}")
    }


async def test_one_box_cannot_fill_the_monitoring(server: Running) -> None:
    many = {f"F{number}": "open" for number in range(metrics.MOST_CHECKS + 5)}
    await put(server, many)
    found = await scrape(server, checks=1)
    assert len(found["probe_success"]) == metrics.MOST_CHECKS
    assert found["roomprobe_collector_series_left_out"] == {(): 5.0}


async def test_single_rows_can_be_asked_for(server: Running) -> None:
    await put(server, {"F1": "open", "F2": "filtered/path-ends", "F3": "open"})
    found = await scrape(server, checks=1, row=["F1", "F2", "'--"])
    assert {key[3] for key in found["probe_success"]} == {"F1", "F2"}
    assert len(found["probe_duration_seconds"]) == 1


async def test_a_duration_is_of_the_newest_five_minutes(server: Running) -> None:
    base = full(0, {"F1": "open"}, agent=server.agent, at=server.collector.now() - 660_000)
    check = base.document["checks"][0]["id"]
    times = [(1, 360_000, 70.0), (2, 30_000, 20.0)]
    later = [same(seq, base, {check: ms}, at=server.collector.now() - ago) for seq, ago, ms in times]
    assert (await server.post([base, *later]))[0] == 200
    found = await scrape(server, checks=1)
    assert list(found["probe_duration_seconds"].values()) == [0.02]


async def test_the_whole_is_bounded_and_says_what_is_left_out(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_CHECKS_OF_ALL", 5)
    await put(server, {f"F{number}": "open" for number in range(9)})
    found = await scrape(server, checks=1)
    assert len(found["probe_success"]) == 5
    assert found["roomprobe_collector_series_left_out"] == {(): 4.0}


async def test_losses_are_counted_by_reason(server: Running) -> None:
    first = full(0, {"F1": "open"}, agent=server.agent)
    await server.post([first, same(9, first), loss(10, 1, 8, agent=server.agent)])
    found = await scrape(server)
    assert found["roomprobe_lost_runs"]["spool-full",] == 8.0
    assert found["roomprobe_loss_records"]["spool-full",] == 1.0
    assert found["roomprobe_loss_records"]["rejected",] == 0.0


async def test_ten_rooms_make_as_many_series_as_the_page_says(server: Running) -> None:
    """docs/monitoring.md: three a room and one a service; three a check on request, at most."""
    bare = sum(map(len, (await scrape(server)).values()))
    for number in range(10):
        made = await server.enrol(f"Room {number}")
        epoch = uuid.uuid4().hex[:16]
        await put(server, {"F1": "open", "F2": "open"}, agent=made.agent, token=made.token, epoch=epoch)
    assert sum(map(len, (await scrape(server)).values())) - bare == 10 * (3 + 1)
    assert sum(map(len, (await scrape(server, checks=1)).values())) - bare == 10 * (3 + 1 + 2 * 3)
