"""POST /v1/runs over real HTTP: what is stored, and every way to be refused. Nothing is ever half stored."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import json
import threading
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
import pytest
import yarl

from roomprobe.changes import outcome_hash
from roomprobe.collector import people, queries, serve
from roomprobe.wire import reply, upload
from tests.collector.conftest import Running, running
from tests.collector.making import EPOCH, full, loss, same

DAY_S = 86_400


async def stored(server: Running) -> tuple[int, int]:
    def count(db: Any) -> tuple[int, int]:
        return tuple(db.execute("SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM span)").fetchone())  # type: ignore[return-value]

    return await server.collector.reader.ask(count)


def records(server: Running, many: int = 3) -> list[Any]:
    first = full(0, {"F1": "open"}, agent=server.agent)
    return [first, *(same(seq, first, {"starleaf/F1/x": 3.5}) for seq in range(1, many))]


async def test_an_upload_is_stored_once_however_often_it_comes(server: Running) -> None:
    sent = records(server)
    status, receipt = await server.post(sent)
    assert (status, receipt["stored"], receipt["repeated"], receipt["want_full"]) == (200, 3, 0, False)
    reply.parse_receipt(json.dumps(receipt).encode())
    status, receipt = await server.post([*sent, loss(3, 1, 1, agent=server.agent)])
    assert (status, receipt["stored"], receipt["repeated"]) == (200, 1, 3)
    assert (await stored(server))[0] == 3


async def test_the_document_behind_a_hash_is_asked_for(server: Running) -> None:
    first, *rest = records(server)
    assert (await server.post(rest))[1]["want_full"] is True
    assert (await server.post([first]))[1]["want_full"] is False


async def test_many_at_once_share_commits_and_are_all_there(server: Running) -> None:
    sent = records(server, 41)
    answers = await asyncio.gather(*(server.post([one]) for one in sent))
    assert {status for status, _ in answers} == {200}
    assert (await stored(server))[0] == 41


packed = functools.partial(
    gzip.compress, mtime=0
)  # without the time: tests are named after these, in each worker alike
BOMB = packed(b"\n" * (40 << 20))


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 400, "gzip"),
        (b"not gzip at all", 400, "gzip"),
        (packed(b"{}\n")[:-4], 400, "gzip"),
        (packed(b"{}\n") + b"more", 400, "gzip"),
        (packed(b""), 400, "gzip"),
        (BOMB, 413, "plain"),
        (packed(b"[" + b"1," * (1 << 19) + b"1]\n"), 413, "line"),
        (packed(b"{}\n" * 2001), 413, "plain"),
        (b"\0" * (upload.MOST_COMPRESSED + 1), 413, "compressed"),
        (packed(b"{\n"), 400, "json"),
        (packed(b'{"a": 1' + b"\xff}\n"), 400, "json"),
        (packed(b"[" * 100_000 + b"\n"), 400, "json"),
        (packed(b"{}\n"), 422, "schema"),
        (packed(b"[]\n"), 422, "schema"),
        (packed(b"null\n"), 422, "schema"),
    ],
)
async def test_a_body_that_is_no_upload(server: Running, body: bytes, status: int, word: str) -> None:
    got, problem = await server.post([], body=body)
    assert got == problem["status"] == status, problem
    reply.parse_problem(json.dumps(problem).encode())
    assert server.collector.counts[f"refused_{status}_{word}"] == 1
    assert await stored(server) == (0, 0)


def test_the_bomb_is_one() -> None:
    assert len(BOMB) < 100_000 < upload.MOST_PLAIN < 40 << 20


async def test_a_body_that_says_no_length_is_cut_all_the_same(server: Running) -> None:
    async def drip() -> Any:
        for _ in range(6):
            yield b"\0" * (1 << 20)

    headers = {
        "Authorization": f"Bearer {server.token}",
        "Content-Type": upload.CONTENT_TYPE,
        "Content-Encoding": "gzip",
    }
    async with server.http.post(f"{server.url}/v1/runs", data=drip(), headers=headers) as answer:
        assert answer.status == 413


def change(record: Any, **more: Any) -> bytes:
    """A record's line with other values in it, whatever they are."""
    plain = msgspec.to_builtins(record)
    for place, value in more.items():
        *way, last = place.split("__")
        part = plain
        for name in way:
            part = part[int(name)] if isinstance(part, list) else part[name]
        part[last] = value
    return json.dumps(plain).encode() + b"\n"


@pytest.mark.parametrize(
    "more",
    [
        {"hash": "0" * 32},
        {"seq": -1},
        {"seq": 1 << 60},
        {"epoch": "zz"},
        {"v": 2},
        {"kind": "more"},
        {"document__schema": 2},
        {"document__checks__0__outcome": "great"},
        {"document__checks__0__rtt_ms": -1},
        {"document__checks__0__rtt_ms": 1e300},
        {"document__checks__0__port": 70_000},
        {"document__checks__0__more": 1},
        {"document__checks": {}},
        {"document__services__0__state": "fine"},
        {"document__run__id": "1"},
        {"document__run__seq": 7},
        {"document__run__started": "yesterday"},
        {"document__run__started": "2026-02-31T00:00:00Z"},
        {"document__run__duration_s": -1},
    ],
)
async def test_a_record_that_is_not_in_the_schema_is_named(server: Running, more: dict[str, Any]) -> None:
    good = records(server)
    status, problem = await server.post([good[1], change(good[0], **more), good[2]])
    assert (status, [fault["index"] for fault in problem["records"]]) == (422, [1]), problem
    assert await stored(server) == (0, 0)


async def test_two_checks_with_one_id_are_refused(server: Running) -> None:
    document = full(0, {"F1": "open", "F2": "open"}, agent=server.agent).document
    document["checks"][1]["id"] = document["checks"][0]["id"]
    twice = upload.Full(agent=server.agent, epoch=EPOCH, seq=0, hash=outcome_hash(document), document=document)
    assert (await server.post([twice]))[0] == 422


@pytest.mark.parametrize(
    "key", [("services", "id"), ("services", "profile"), ("checks", "id"), ("checks", "profile"), ("checks", "row")]
)
@pytest.mark.parametrize("name", ["", ".", ".."])
async def test_an_id_that_no_address_can_hold_is_refused(server: Running, key: tuple[str, str], name: str) -> None:
    document = full(0, {"F1": "open"}, agent=server.agent).document
    document[key[0]][0][key[1]] = name
    one = upload.Full(agent=server.agent, epoch=EPOCH, seq=0, hash=outcome_hash(document), document=document)
    status, problem = await server.post([one])
    assert (status, problem["records"][0]["detail"]) == (422, "an id that is empty, . or ..")


async def test_evidence_of_any_depth_hurts_nobody(server: Running) -> None:
    for depth in (100, 400, 800, 1200):
        deep: Any = {}
        for _ in range(depth):
            deep = {"a": deep}
        document = full(depth, {"F1": "open"}, agent=server.agent).document
        document["checks"][0]["evidence"] = None
        line = change(upload.Full(agent=server.agent, epoch=EPOCH, seq=depth, hash="0" * 32, document=document))
        line = line.replace(b'"' + b"0" * 32 + b'"', f'"{outcome_hash(document)}"'.encode())
        line = line.replace(b'"evidence": null', b'"evidence": ' + b'{"a":' * depth + b"{}" + b"}" * depth)
        status, _ = await server.post([line])
        assert status in (200, 400, 422), depth


async def test_a_record_of_another_box_is_refused(server: Running) -> None:
    assert (await server.post([full(0, {"F1": "open"})]))[0] == 403


async def test_a_copied_storage_is_seen(server: Running) -> None:
    first = records(server)[0]
    assert (await server.post([first]))[0] == 200
    clone = same(0, first, id="00000000-0000-4000-8000-000000000000")
    status, problem = await server.post([same(1, first), clone])
    assert (status, [fault["index"] for fault in problem["records"]]) == (422, [1])
    assert (await stored(server))[0] == 1


async def test_who_may_upload(server: Running) -> None:
    for token, status in (("", 401), ("x" * 43, 401), ("x" * 5000, 401), (server.reader, 401)):
        assert (await server.post(records(server), token=token))[0] == status
    await server.collector.write(people.revoke, server.collector.now(), room="Boardroom 4")
    assert (await server.post(records(server)))[0] == 403
    assert await stored(server) == (0, 0)


async def test_media_types(server: Running) -> None:
    assert (await server.post(records(server), Content_Type="application/json"))[0] == 415
    assert (await server.post(records(server), Content_Encoding="identity"))[0] == 415
    assert (await server.post(records(server), Content_Encoding="br"))[0] == 415


async def test_too_many_uploads_are_told_to_wait(tmp_path: Path) -> None:
    async with running(tmp_path, uploads_per_s=0.01, uploads_burst=2) as server:
        made = await server.enrol()
        server.token, server.agent = made.token, made.agent
        answers = [await server.post(records(server)) for _ in range(3)]
        assert [status for status, _ in answers] == [200, 200, 429]
        assert server.collector.counts["refused_429_uploads"] == 1


async def test_too_many_records_are_told_to_wait(tmp_path: Path) -> None:
    async with running(tmp_path, records_per_s=0.01, records_burst=4) as server:
        made = await server.enrol()
        server.token, server.agent = made.token, made.agent
        answers = [await server.post(records(server)) for _ in range(2)]
        assert [status for status, _ in answers] == [200, 429]


async def test_guessing_tokens_is_slowed_down(server: Running) -> None:
    statuses = [(await server.post([], token=f"guess {number}", body=b""))[0] for number in range(40)]
    assert statuses[0] == 401 and statuses[-1] == 429
    assert (await server.post(records(server)))[0] == 200  # who has a good token is not held up


async def raw(server: Running, text: bytes, *, half: bool = False) -> bytes:
    """Bytes to the collector, and all that it says until it closes."""
    place = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(text)
    if half:
        writer.write_eof()
    said = await reader.read()
    writer.close()
    return said


def head(server: Running, length: int) -> bytes:
    return (
        f"POST /v1/runs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nContent-Type: {upload.CONTENT_TYPE}\r\n"
        f"Content-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


async def test_half_an_upload_is_none(server: Running) -> None:
    body = upload.pack([upload.build(one) for one in records(server)])
    await raw(server, head(server, len(body)) + body[: len(body) // 2], half=True)
    assert await stored(server) == (0, 0)


async def test_slow_bodies_and_slow_heads_are_cut(tmp_path: Path) -> None:
    async with running(tmp_path, chunk_s=0.2, head_s=0.4) as server:
        made = await server.enrol()
        server.token = made.token
        assert b" 408 " in (await raw(server, head(server, 100) + b"\x1f"))[:20]
        assert await raw(server, b"GET /healthz HTTP/1.1\r\nHost:") == b""
        assert await raw(server, b"") == b""
        for path in ("/v1/enrol", "/login"):
            form = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n"
            assert b" 408 " in (await raw(server, form.encode() + b"pass"))[:20]
        assert server.collector.counts["refused_408_body"] == 3


async def test_slow_boxes_do_not_hold_up_the_others(server: Running) -> None:
    place = urlsplit(server.url)
    slow = [await asyncio.open_connection(place.hostname, place.port) for _ in range(12)]
    for _, writer in slow:
        writer.write(head(server, 1000) + b"\x1f")
    for _ in range(100):
        if server.collector.held == 12:
            break
        await asyncio.sleep(0.02)
    assert server.collector.held == 12
    assert (await server.post(records(server)))[0] == 200
    for _, writer in slow:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    for _ in range(100):
        if server.collector.held == 0:
            break
        await asyncio.sleep(0.02)
    assert server.collector.held == 0


async def test_what_is_held_at_once_is_bounded(tmp_path: Path) -> None:
    async with running(tmp_path, most_held=50) as server:
        made = await server.enrol()
        server.token, server.agent = made.token, made.agent
        assert (await server.post(records(server)))[0] == 503
        assert server.collector.counts["refused_503_held"] == 1 and server.collector.held == 0


async def test_one_box_cannot_hold_the_place_of_all(tmp_path: Path) -> None:
    async with running(tmp_path, most_held=40_000) as server:
        server.token = (await server.enrol("Lobby")).token
        place = urlsplit(server.url)
        slow = [await asyncio.open_connection(place.hostname, place.port) for _ in range(10)]
        for _, writer in slow:
            writer.write(head(server, 4_000) + b"\x1f" * 3_900)
        refused = [asyncio.create_task(reader.readline()) for reader, _ in slow]
        async with asyncio.timeout(10):
            while sum(one.done() for one in refused) < 9:
                await asyncio.sleep(0.02)
        assert all(b" 429 " in one.result() for one in refused if one.done())
        made = await server.enrol()
        server.token, server.agent = made.token, made.agent
        assert (await server.post(records(server)))[0] == 200
        for one, (_, writer) in zip(refused, slow, strict=True):
            one.cancel()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        async with asyncio.timeout(10):
            while server.collector.held or server.collector.held_by:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("tls", [False, True])
async def test_connections_that_are_gone_take_no_place(tmp_path: Path, tls: bool) -> None:
    context = serve.plan_tls(serve.Serve(address="0.0.0.0", state=tmp_path)).context if tls else None  # type: ignore[union-attr]
    async with running(tmp_path, context=context, most_connections=20) as server:
        place = urlsplit(server.url)
        for _ in range(40):
            _, writer = await asyncio.open_connection(place.hostname, place.port)
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(5):
            while not await answered(server):
                await asyncio.sleep(0.02)


async def answered(server: Running) -> bool:
    try:
        async with server.http.get(f"{server.url}/healthz", ssl=False) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_many_uploads_of_one_box_do_not_go_before_that_of_another(server: Running) -> None:
    other, collector, order = await server.enrol("Other"), server.collector, list[str]()
    gate = threading.Event()
    for _ in range(2):  # both threads are busy until all stand in line
        collector.parsers.submit(gate.wait, 30)

    async def sent(agent: str, token: str, body: bytes) -> None:
        assert (await server.post([], token=token, body=body))[0] == 200
        order.append(agent)

    boxes = [(server.agent, server.token, seq) for seq in range(8)] + [(other.agent, other.token, 0)]
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for agent, token, seq in boxes:
            body = upload.pack([upload.build(full(seq, {"F1": "open"}, agent=agent))])
            there = collector.held + len(body)
            group.create_task(sent(agent, token, body))
            while collector.held < there:
                await asyncio.sleep(0.01)
        gate.set()
    assert order.index(other.agent) < 4, order


async def test_more_connections_than_allowed_are_closed(tmp_path: Path) -> None:
    async with running(tmp_path, most_connections=3) as server:
        place = urlsplit(server.url)
        held = [await asyncio.open_connection(place.hostname, place.port) for _ in range(3)]
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        for _, one in [*held, (reader, writer)]:
            one.close()
            with contextlib.suppress(ConnectionError):
                await one.wait_closed()


async def test_hostile_text_comes_back_as_it_came(server: Running) -> None:
    hostile = (
        "'; DROP TABLE run; -- <script>alert(1)</script> ../../etc/passwd \x00\x1b[2J \u202e {{7*7}} %s \U0001f4a5"
    )
    room = "../<b>'\"&%2F\\;--"
    made = await server.enrol(room, site=hostile, org=hostile)
    one = full(0, {"F1'--": "open"}, agent=made.agent, sentence=hostile, host="<img src=x onerror=alert(1)>/../..")
    assert (await server.post([one], token=made.token))[0] == 200
    place = f"{server.url}/v1/rooms/{quote(room, safe='')}"

    async def get(path: str) -> Any:
        headers = {"Authorization": f"Bearer {server.reader}"}
        async with server.http.get(yarl.URL(path, encoded=True), headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.headers["Content-Type"].startswith("application/json")
            return await answer.json()

    page = await get(place)
    assert page["now"]["room"] == room and page["now"]["site"] == hostile
    assert page["document"] == one.document
    check = one.document["checks"][0]["id"]
    history = await get(f"{place}/checks/{quote(check, safe='')}/history")
    assert history["intervals"][0]["sentence"].endswith(hostile)
    found = await server.get("/v1/rooms", q=hostile.partition("\0")[0])
    await server.get("/v1/rooms", status=400, q="\0")
    assert [one["room"] for one in found["rooms"]] == [room]


async def test_a_clock_that_is_a_year_off_harms_nothing(server: Running) -> None:
    now = server.collector.now()
    first = full(0, {"F1": "open"}, agent=server.agent, at=now + 365 * DAY_S * 1000)
    then = full(1, {"F1": "filtered/path-ends"}, agent=server.agent, state="broken", at=now - 500 * DAY_S * 1000)
    last = full(2, {"F1": "open"}, agent=server.agent, at=now)
    for one in (first, then, last):
        assert (await server.post([one]))[0] == 200
    page = await server.get("/v1/rooms/Boardroom 4")
    assert page["now"]["state"] == "full" and page["document"]["run"]["seq"] == 2
    check = first.document["checks"][0]["id"]
    found = (await server.get(f"/v1/rooms/Boardroom 4/checks/{check}/history"))["intervals"]
    assert [one["outcome"] for one in found] == ["open", "filtered", "open"]
    times = [one["since"] for one in found]
    assert times == sorted(times) and times[0] >= now and found[-1]["until"] is None


async def test_a_clock_that_is_wrong_and_says_so_is_set_right(server: Running) -> None:
    now = server.collector.now()
    slow = 3 * 3600 * 1000
    one = full(0, {"F1": "open"}, agent=server.agent, at=now - slow - 60_000, clock_synced=False)
    assert (await server.post([one], Date=formatdate((now - slow) / 1000, usegmt=True)))[0] == 200
    (found,) = (await server.get("/v1/rooms/Boardroom 4/runs"))["runs"]
    assert abs(found["at"] - (now - 60_000)) < 30_000 and found["started"] == now - slow - 60_000


@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_new_spool_with_a_clock_that_is_behind_is_what_the_room_is_shown_by(
    server: Running, newest_first: bool
) -> None:
    now = server.collector.now()
    assert (await server.post([full(n, {"F1": "open"}, agent=server.agent, at=now) for n in range(3)]))[0] == 200
    epoch, behind = "ffeeddccbbaa9988", now - 365 * DAY_S * 1000
    lost = msgspec.structs.replace(loss(0, 3, 3, agent=server.agent, epoch=epoch), of=EPOCH, reason="reset")
    bad = full(1, {"F1": "filtered/path-ends"}, agent=server.agent, epoch=epoch, at=behind, state="broken")
    for one in (bad, lost) if newest_first else (lost, bad):
        assert (await server.post([one]))[0] == 200
    page = await server.get("/v1/rooms/Boardroom 4")
    assert page["now"]["state"] == "broken" and page["document"]["run"]["epoch"] == epoch
    found = (await server.get(f"/v1/rooms/Boardroom 4/checks/{bad.document['checks'][0]['id']}/history"))["intervals"]
    assert [(one["outcome"], one["until"] is None) for one in found] == [("open", False), ("filtered", True)]
    assert all(one["until"] is None or one["since"] <= one["until"] for one in found)


async def test_a_box_is_not_set_right_by_a_clock_that_was_just_set_forward(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = server.collector.now()
    sent = [full(n, {"F1": "open"}, agent=server.agent, at=now, clock_synced=None) for n in range(2)]
    date = formatdate(now / 1000, usegmt=True)
    assert (await server.post(sent[:1], Date=date))[0] == 200
    monkeypatch.setattr(server.collector, "now", lambda: now + 365 * DAY_S * 1000)
    assert (await server.post(sent[1:], Date=date))[0] == 200
    found = (await server.get("/v1/rooms/Boardroom 4/runs"))["runs"]
    assert [one["at"] for one in found] == [now, now]


async def test_a_room_is_silent_after_three_of_its_own_intervals(server: Running) -> None:
    assert (await server.post(records(server), X_Roomprobe_Every="10"))[0] == 200
    ask = server.collector.reader.ask
    seen = (await ask(queries.fleet, server.collector.now())).rooms[0].last_seen
    assert seen is not None
    assert (await ask(queries.fleet, seen + 29_000)).rooms[0].state == "full"
    assert (await ask(queries.fleet, seen + 31_000)).rooms[0].state == "silent"


async def test_a_room_is_not_healthy_for_a_year_when_the_collectors_clock_was_set_back(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = server.collector.now()
    year = 365 * DAY_S * 1000
    sent = records(server)
    monkeypatch.setattr(server.collector, "now", lambda: now + year)
    assert (await server.post(sent[:2]))[0] == 200
    monkeypatch.setattr(server.collector, "now", lambda: now)
    assert (await server.get("/v1/rooms"))["rooms"][0]["state"] == "silent"
    assert (await server.post(sent[2:]))[0] == 200
    assert (await server.get("/v1/rooms"))["rooms"][0]["state"] == "full"
