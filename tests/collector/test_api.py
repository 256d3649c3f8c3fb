"""The API gives what its OpenAPI document says, and what the boxes sent: fleets, rooms, histories, changes, rows across rooms."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import jsonschema
import pytest
from prometheus_client.parser import text_string_to_metric_families

from roomprobe.collector import app as application
from roomprobe.collector import history, openapi, people, queries
from roomprobe.wire.upload import Record
from tests.collector.conftest import Running
from tests.collector.making import EPOCH, full, loss, same

OTHER = "ffeeddccbbaa9988"
MINUTE = 60_000


async def filled(server: Running) -> int:
    """Three rooms: one that broke and came back, one that is broken, one that was never heard of. The time of run 0."""
    begin = server.collector.now() - 100 * MINUTE
    await send(
        server,
        begin,
        server.agent,
        server.token,
        [("open", "full"), ("filtered/path-ends", "broken"), ("open", "full")],
    )
    lobby = await server.enrol("Lobby", site="Oxford", org="Umbrella")
    await send(server, begin, lobby.agent, lobby.token, [("open", "full"), ("filtered/path-ends", "broken")])
    await server.collector.write(people.mint, server.collector.now(), "Attic", minutes=5)
    return begin


async def send(
    server: Running, begin: int, agent: str, token: str, steps: list[tuple[str, str]], epoch: str = EPOCH
) -> None:
    for number, (outcome, state) in enumerate(steps):
        first = full(
            number * 3,
            {"F1": outcome, "F3": "open"},
            state=state,
            agent=agent,
            epoch=epoch,
            at=begin + number * 30 * MINUTE,
        )
        check = first.document["checks"][1]["id"]
        sent: list[Record] = [first]
        for more in (1, 2):
            at = begin + (number * 30 + more * 10) * MINUTE
            sent.append(same(number * 3 + more, first, {check: 20.0}, at=at))
        status, answer = await server.post(sent, token=token)
        assert status == 200, answer


def conforms(path: str, answer: Any) -> None:
    """An answer against the schema of its path."""
    document = openapi.document()
    schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(answer)


def test_the_document_is_well_formed_and_names_every_route() -> None:
    document = openapi.document()
    assert document["openapi"] == "3.1.0"
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    told = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    routes = {(method, re.sub(r"\{(\w+):[^/]*\}", r"{\1}", path)) for method, path, *_ in application.ROUTES}
    people_only = {
        ("GET", "/login"),
        ("POST", "/login"),
        ("POST", "/logout"),
        ("GET", "/share/{token}"),
        ("GET", "/metrics"),
    }
    assert told == routes - people_only
    operations = [item[method] for item in document["paths"].values() for method in item]
    assert len({one["operationId"] for one in operations}) == len(operations)
    for path, item in document["paths"].items():
        inside = set(re.findall(r"\{(\w+)\}", path))
        for one in item.values():
            assert {p["name"] for p in one.get("parameters", []) if p["in"] == "path"} == inside, path
            assert {"200", "default"} <= one["responses"].keys()
    text = str(document)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in document["components"]["schemas"]


async def test_every_read_answers_as_the_document_says(server: Running) -> None:
    await filled(server)
    room = await server.get("/v1/rooms/Lobby")
    run = (await server.get("/v1/rooms/Lobby/runs"))["runs"][0]["run"]
    check = room["document"]["checks"][0]["id"]
    interval = room["now"]["services"][0]["interval"]
    values = {
        "room": "Lobby",
        "run": run,
        "check": check,
        "profile": "starleaf",
        "service": "calls",
        "interval": str(interval),
        "row": "F1",
    }
    for path in openapi.READS:
        answer = await server.get(re.sub(r"\{(\w+)\}", lambda found: values[found[1]], path))
        if path != "/v1/openapi.json":
            conforms(path, answer)
    for name in {"Lobby": 0, "Attic": 0}:
        conforms("/v1/rooms/{room}", await server.get(f"/v1/rooms/{name}"))


async def test_what_is_not_there_is_a_404_that_says_so(server: Running) -> None:
    await filled(server)
    run = (await server.get("/v1/rooms/Lobby/runs"))["runs"][0]["run"]
    for path in (
        "/v1/rooms/Nowhere",
        "/v1/rooms/Nowhere/runs",
        "/v1/rooms/Nowhere/changes",
        "/v1/rooms/Nowhere/checks/x/history",
        "/v1/rooms/Lobby/checks/x/history",
        "/v1/rooms/Lobby/services/x/y/history",
        f"/v1/rooms/Boardroom 4/runs/{run}",
        "/v1/rooms/Lobby/runs/x",
        "/v1/rooms/Lobby/intervals/999999",
        "/v1/rooms/Lobby/intervals/" + "9" * 40,
        "/v1/checks/starleaf/F99",
    ):
        problem = await server.get(path, status=404)
        assert problem["status"] == 404 and problem["detail"], path


async def test_questions_that_cannot_be_are_refused(server: Running) -> None:
    for path in (
        "/v1/rooms?page=0",
        "/v1/rooms?page=x",
        "/v1/rooms?size=501",
        "/v1/rooms?size=1e3",
        "/v1/rooms?state=fine",
        "/v1/rooms?q=" + "x" * 513,
        "/v1/changes?before=1",
        "/v1/changes?before=1.x",
        "/v1/changes?kind=x",
        "/v1/changes?since=-1",
        "/v1/changes?since=99999999999999999999999",
        "/metrics?checks=2",
    ):
        assert (await server.get(path, status=400))["status"] == 400, path


async def test_the_fleet_is_sorted_filtered_and_paged(server: Running) -> None:
    await filled(server)
    found = await server.get("/v1/rooms")
    assert [(one["room"], one["state"]) for one in found["rooms"]] == [
        ("Lobby", "broken"),
        ("Attic", "silent"),
        ("Boardroom 4", "full"),
    ]
    assert await server.get("/v1/summary") == {
        "total": 3,
        "full": 1,
        "degraded": 0,
        "broken": 1,
        "unknown": 0,
        "silent": 1,
    }
    for question, names in (
        ({"state": "silent"}, ["Attic"]),
        ({"state": "full"}, ["Boardroom 4"]),
        ({"silent": 1}, ["Attic"]),
        ({"silent": 0}, ["Lobby", "Boardroom 4"]),
        ({"q": "lob"}, ["Lobby"]),
        ({"q": "UMBRELLA"}, ["Lobby"]),
        ({"q": "%"}, []),
        ({"site": "Oxford"}, ["Lobby"]),
        ({"size": 1, "page": 2}, ["Attic"]),
        ({"size": 1, "page": 9}, []),
    ):
        page = await server.get("/v1/rooms", **question)
        assert [one["room"] for one in page["rooms"]] == names, question
    page = await server.get("/v1/rooms", size=2)
    assert (page["total"], page["pages"]) == (3, 2)


async def test_history_changes_and_evidence_of_a_room(server: Running) -> None:
    begin = await filled(server)
    room = await server.get("/v1/rooms/Boardroom 4")
    assert room["now"]["services"][0]["since"] == begin + 60 * MINUTE
    check = room["document"]["checks"][0]["id"]
    found = await server.get(f"/v1/rooms/Boardroom 4/checks/{check}/history")
    assert [(one["outcome"], one["since"], one["until"]) for one in found["intervals"]] == [
        ("open", begin, begin + 30 * MINUTE),
        ("filtered", begin + 30 * MINUTE, begin + 60 * MINUTE),
        ("open", begin + 60 * MINUTE, None),
    ]
    seen = await server.get(f"/v1/rooms/Boardroom 4/intervals/{found['intervals'][1]['id']}")
    assert seen["evidence"]["evidence"] == {"type": "x", "of": 3}
    await server.get(f"/v1/rooms/Lobby/intervals/{found['intervals'][1]['id']}", status=404)
    part = await server.get(f"/v1/rooms/Boardroom 4/checks/{check}/history", **{"from": begin + 61 * MINUTE})
    assert [one["outcome"] for one in part["intervals"]] == ["open"]
    points = (await server.get(f"/v1/rooms/Boardroom 4/checks/{room['document']['checks'][1]['id']}/history"))["points"]
    assert sum(one["n"] for one in points) == 9 and {one["most"] for one in points} >= {20.0}
    for of in (f"checks/{check}", "services/starleaf/calls"):  # nothing in these minutes is no missing check
        early = await server.get(f"/v1/rooms/Boardroom 4/{of}/history", to=begin - 6 * MINUTE)
        assert set(map(str, early.values())) == {"[]"}
    changes = (await server.get("/v1/rooms/Boardroom 4/changes"))["changes"]
    assert [(one["kind"], one["id"], one["before"]["outcome"], one["after"]["outcome"]) for one in reversed(changes)] in (
        [("check", check, "open", "filtered"), ("service", "calls", "full", "broken"),
         ("check", check, "filtered", "open"), ("service", "calls", "broken", "full")],
        [("service", "calls", "full", "broken"), ("check", check, "open", "filtered"),
         ("service", "calls", "broken", "full"), ("check", check, "filtered", "open")],
    )  # fmt: skip
    page = await server.get("/v1/changes", limit=2)
    rest = await server.get("/v1/changes", before=page["next"])
    everything = (await server.get("/v1/changes"))["changes"]
    assert page["changes"] + rest["changes"] == everything and len(everything) == 6 and rest["next"] is None
    assert len((await server.get("/v1/changes", kind="service"))["changes"]) == 3
    assert (await server.get("/v1/changes", since=begin + 90 * MINUTE))["changes"] == []


async def test_one_row_across_all_rooms(server: Running) -> None:
    await filled(server)
    found = await server.get("/v1/checks/starleaf/F1")
    assert [(one["room"], one["outcome"]) for one in found["rooms"]] == [("Lobby", "filtered"), ("Boardroom 4", "open")]
    assert found["counts"] == {"filtered": 1, "open": 1} and found["total"] == 2
    late = await server.collector.reader.ask(_across_late, server.collector.now() + 10**9)
    assert late == {"silent": 2}


def _across_late(db: Any, now: int) -> dict[str, int]:
    from roomprobe.collector.across import check_across

    found = check_across(db, now, "starleaf", "F1")
    assert found is not None
    return found.counts


async def test_runs_are_paged_and_lead_to_their_documents(server: Running) -> None:
    await filled(server)
    first = await server.get("/v1/rooms/Boardroom 4/runs", limit=5)
    rest = await server.get("/v1/rooms/Boardroom 4/runs", before=first["next"])
    assert [one["seq"] for one in first["runs"] + rest["runs"]] == list(range(8, -1, -1)) and rest["next"] is None
    last = await server.get(f"/v1/rooms/Boardroom 4/runs/{first['runs'][0]['run']}")
    assert last["own"] is False and last["document"]["run"]["seq"] == 6
    own = await server.get(f"/v1/rooms/Boardroom 4/runs/{first['runs'][2]['run']}")
    assert own["own"] is True and own["document"]["run"]["id"] == own["run"]["run"]


async def test_a_new_spool_or_a_new_box_is_no_change(server: Running) -> None:
    begin = await filled(server)
    first = full(0, {"F1": "open", "F3": "open"}, agent=server.agent, epoch=OTHER, at=begin + 92 * MINUTE)
    assert (await server.post([first]))[0] == 200
    made = await server.enrol()
    box = full(0, {"F1": "open", "F3": "rejected/reset"}, agent=made.agent, epoch=EPOCH, at=begin + 95 * MINUTE)
    assert (await server.post([box], token=made.token))[0] == 200
    room = await server.get("/v1/rooms/Boardroom 4")
    assert room["now"]["agent"] == made.agent and len(room["agents"]) == 2
    assert room["now"]["services"][0]["since"] == begin + 60 * MINUTE
    found = await server.get(f"/v1/rooms/Boardroom 4/checks/{room['document']['checks'][0]['id']}/history")
    assert [one["since"] - begin for one in found["intervals"]] == [0, 30 * MINUTE, 60 * MINUTE]
    changes = (await server.get("/v1/rooms/Boardroom 4/changes", since=begin + 91 * MINUTE))["changes"]
    assert [(one["row"], one["before"]["outcome"], one["after"]["outcome"]) for one in changes] == [
        ("F3", "open", "rejected")
    ]


async def test_a_check_that_is_gone_is_a_change_and_its_interval_ends(server: Running) -> None:
    begin = server.collector.now() - 100 * MINUTE
    one = full(0, {"F1": "open", "F3": "open"}, agent=server.agent, at=begin)
    two = full(1, {"F1": "open"}, agent=server.agent, at=begin + 5 * MINUTE)
    await server.post([one, two])
    (change,) = (await server.get("/v1/changes"))["changes"]
    assert change["row"] == "F3" and change["after"] is None
    found = await server.get(f"/v1/rooms/Boardroom 4/checks/{one.document['checks'][1]['id']}/history")
    assert [(i["since"], i["until"]) for i in found["intervals"]] == [(begin, begin + 5 * MINUTE)]
    assert (await server.get("/v1/checks/starleaf/F3"))["rooms"] == []


async def test_a_check_that_the_new_box_does_not_have_has_ended(server: Running) -> None:
    begin = server.collector.now() - 100 * MINUTE
    one = full(0, {"F1": "open", "F3": "open"}, agent=server.agent, at=begin)
    await server.post([one])
    made = await server.enrol()
    await server.post([full(0, {"F1": "open"}, agent=made.agent, at=begin + 5 * MINUTE)], token=made.token)
    ends = []
    for check in one.document["checks"]:
        found = await server.get(f"/v1/rooms/Boardroom 4/checks/{check['id']}/history")
        ends.append([(one["since"], one["until"]) for one in found["intervals"]])
    assert ends == [[(begin, None)], [(begin, begin)]]


async def test_gaps_are_seen_and_explained_by_loss_records(server: Running) -> None:
    first = full(0, {"F1": "open"}, agent=server.agent, at=server.collector.now())
    await server.post([first, same(5, first), same(9, first), loss(10, 6, 8, agent=server.agent)])
    room = await server.get("/v1/rooms/Boardroom 4")
    assert [(gap["first"], gap["last"], gap["explained"]) for gap in room["gaps"]] == [(6, 8, True), (1, 4, False)]
    assert [(one["seq"], one["count"], one["reason"]) for one in room["losses"]] == [(10, 3, "spool-full")]
    await server.post([same(seq, first) for seq in range(1, 5)])
    assert [gap["first"] for gap in (await server.get("/v1/rooms/Boardroom 4"))["gaps"]] == [6]


async def test_metrics_are_read_by_prometheus_own_parser(server: Running) -> None:
    await filled(server)
    await server.enrol('quo"te\\back\nline')
    await server.post([], token="wrong")
    headers = {"Authorization": f"Bearer {server.reader}"}
    async with server.http.get(f"{server.url}/metrics?checks=1", headers=headers) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await answer.text()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    states = {(s.labels["room"], s.labels["state"]): s.value for s in found["roomprobe_service_state"].samples}
    assert states == {("Boardroom 4", "full"): 1.0, ("Lobby", "broken"): 1.0}
    silent = {s.labels["room"]: s.value for s in found["roomprobe_room_silent"].samples}
    assert silent == {"Boardroom 4": 0.0, "Lobby": 0.0, "Attic": 1.0, 'quo"te\\back\nline': 1.0}
    outcomes = {
        (s.labels["room"], s.labels["row"], s.labels["outcome"]) for s in found["roomprobe_check_outcome"].samples
    }
    assert ("Lobby", "F1", "filtered") in outcomes
    refused = {(s.labels["status"], s.labels["why"]): s.value for s in found["roomprobe_collector_refused"].samples}
    assert refused["401", "other"] == 1.0
    stored = {s.labels["result"]: s.value for s in found["roomprobe_collector_records"].samples}
    assert stored["stored"] == 15.0


async def test_revoked_boxes_are_silent(server: Running) -> None:
    await filled(server)
    await server.collector.write(people.revoke, server.collector.now(), room="Lobby")
    assert (await server.get("/v1/rooms", q="Lobby"))["rooms"][0]["state"] == "silent"


async def test_reads_cannot_write(server: Running) -> None:
    with pytest.raises(sqlite3.OperationalError):
        await server.collector.reader.ask(lambda db: db.execute("DELETE FROM run"))
    assert await server.collector.reader.ask(queries.counters) is not None
    assert await server.collector.reader.ask(history.changes) == []
