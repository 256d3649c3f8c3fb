"""The push against a real HTTP server with fault switches: whatever it answers, each run arrives once or is kept or counted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from roomprobe.net.https import Trust
from roomprobe.sinks.push import Push, PushState, Target, token
from roomprobe.spool import Spool
from tests.sinks.collectors import (
    TOKEN,
    Collector,
    Fault,
    certificate,
    endless,
    half,
    resets,
    says,
    server_tls,
    serving,
    slow,
)
from tests.spool.helpers import AGENT, run


class Time:
    """A clock that only sleeping moves; `slept` are the waits that were asked for, those of no length left out."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.slept.append(seconds)
            self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    made = Spool(tmp_path / "spool", AGENT)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


@contextlib.asynccontextmanager
async def pushing(
    spool: Spool, url: str, token_file: Path | None, time: Time | None = None, answer_s: float = 60.0, **target: Any
) -> AsyncIterator[Push]:
    time = time or Time()
    push = Push(
        spool,
        Target(url=url, token_file=str(token_file) if token_file else None, **target),
        300,
        chance=random.Random(4),
        clock=time,
        sleep=time.sleep,
        wall=lambda: "2026-11-21T00:00:00Z",
        answer_s=answer_s,
    )
    task = asyncio.create_task(push.run())
    try:
        yield push
        assert not task.done(), task.exception() if not task.cancelled() else "cancelled"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def filled(spool: Spool, count: int) -> list[str]:
    ids = []
    for number in range(count):
        made = run(number, outcome="fault" if number % 3 else "open")
        await spool.append(made)
        ids.append(made["run"]["id"])
    return ids


def written(file: Path, content: bytes | None) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)


def idle(push: Push) -> Callable[[], bool]:
    return lambda: push.state.status == "idle"


async def test_everything_arrives_once_the_newest_first(spool: Spool, token_file: Path) -> None:
    ids = await filled(spool, 5)
    collector = Collector()
    async with serving(collector) as url, pushing(spool, url, token_file) as push:
        await until(idle(push))
        assert list(collector.runs) == [ids[3], ids[4], *ids[:3]] or list(collector.runs) == [ids[4], *ids[:4]]
        assert collector.batches[0] <= 2
        more = run(9)
        await spool.append(more)
        await until(lambda: more["run"]["id"] in collector.runs and push.state.status == "idle")
        assert len(collector.runs) == 6 and sorted(collector.order) == list(range(6))
        state = push.state
    assert (state.status, state.sentence, state.failures, state.delivered) == ("idle", None, 0, 6)
    assert (state.last_delivery, state.collector_time) == ("2026-11-21T00:00:00Z", "2026-11-21T12:00:00Z")
    assert (await spool.state()).depth == 0


async def test_the_headers(spool: Spool, token_file: Path) -> None:
    await filled(spool, 1)
    collector = Collector()
    async with serving(collector) as url, pushing(spool, url, token_file) as push:
        await until(idle(push))
    (told,) = collector.requests
    assert told["path"] == "/v1/runs" and told["authorization"] == f"Bearer {TOKEN}"
    assert told["content-type"] == "application/x-ndjson" and told["content-encoding"] == "gzip"
    assert told["x-roomprobe-every"] == "300" and told["user-agent"].startswith("roomprobe/")
    assert told["date"].endswith(" GMT")
    assert told["idempotency-key"] == f"{(await spool.state()).epoch}-0-0"


LATER: dict[str, tuple[Fault, str]] = {
    "500": (says(500), "The collector cannot store now (500): As asked."),
    "503 of a proxy": (says(503, b"<html>"), "The collector cannot store now (503)."),
    "429": (says(429), "The collector asks to wait (429): As asked."),
    "400": (says(400), "What answers is not this version's collector (400): As asked."),
    "415": (says(415), "What answers is not this version's collector (415): As asked."),
    "404": (says(404, b"not here"), "What answers is not this version's collector (404)."),
    "201": (says(201, b"{}"), "What answers is not this version's collector (201)."),
    "204": (says(204), "What answers is not this version's collector (204)."),
    "422 of somebody else": (says(422, b"<html>"), "What answers is not this version's collector (422)."),
    "200 with garbage": (
        says(200, b"<html>Welcome to our guest network"),
        "not the collector (200 without a receipt).",
    ),
    "200 with nothing": (says(200), "not the collector (200 without a receipt)."),
    "200 for another number": (
        says(200, b'{"stored": 7, "repeated": 0, "want_full": false, "time": "2026-11-21T12:00:00Z"}'),
        "The collector's receipt is for another number of records than were sent.",
    ),
    "a huge body": (endless, "not the collector (200 without a receipt)."),
    "half an answer": (half, "cannot be reached (its answer broke off)."),
    "a reset": (resets, "cannot be reached (it closed the connection without an answer)."),
    "a detail full of escapes": (
        says(
            503, b'{"title":"x","status":503,"detail":"\\u001b[31mred"}', {"Content-Type": "application/problem+json"}
        ),
        r"The collector cannot store now (503): \x1b[31mred.",
    ),
}


@pytest.mark.parametrize("name", LATER)
async def test_whatever_goes_wrong_nothing_is_lost(spool: Spool, token_file: Path, name: str) -> None:
    ids = await filled(spool, 4)
    fault, sentence = LATER[name]
    collector, time, seen = Collector(), Time(), []
    collector.faults = [fault, fault, fault]
    async with serving(collector) as url, pushing(spool, url, token_file, time) as push:
        original = push._failed

        def failed(status: Any, said: str, **more: bool) -> None:
            original(status, said, **more)
            seen.append(push.state)

        push._failed = failed  # type: ignore[method-assign]
        await until(lambda: len(collector.runs) == 4 and push.state.status == "idle")
        assert sorted(collector.runs) == sorted(ids)
    assert [state.failures for state in seen] == [1, 2, 3]
    assert all(state.status == "waiting" and (state.sentence or "").endswith(sentence) for state in seen), seen[
        0
    ].sentence
    assert push.state.sentence is None and push.state.set_aside == 0
    waits = time.slept[:3]
    assert all(0 <= wait <= bound for wait, bound in zip(waits, (1, 2, 4), strict=True))


async def test_no_answer_in_time(spool: Spool, token_file: Path) -> None:
    ids = await filled(spool, 1)
    collector = Collector()
    collector.faults = [slow]
    async with serving(collector) as url, pushing(spool, url, token_file, answer_s=0.3) as push:
        await until(lambda: len(collector.runs) == 1)
    assert list(collector.runs) == ids and push.state.set_aside == 0


async def test_a_collector_that_is_not_there(spool: Spool, token_file: Path) -> None:
    await filled(spool, 3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    time, collector = Time(), Collector()
    collector.port = port
    async with pushing(spool, f"http://127.0.0.1:{port}", token_file, time) as push:
        await until(lambda: push.state.failures >= 12)
        assert "cannot be reached (" in (push.state.sentence or "") and "Connect" in (push.state.sentence or "")
        assert max(time.slept) <= 300 and max(time.slept) > 60, "full jitter up to the cap"
        async with serving(collector):
            await until(lambda: len(collector.runs) == 3)


async def test_a_name_that_is_not_there(spool: Spool, token_file: Path) -> None:
    await filled(spool, 1)
    async with pushing(spool, "https://collector.invalid", token_file) as push:
        await until(lambda: push.state.failures > 0)
        assert push.state.sentence == (
            "The collector at https://collector.invalid cannot be reached (its name cannot be resolved)."
        )


async def test_retry_after_is_honoured(spool: Spool, token_file: Path) -> None:
    await filled(spool, 1)
    date = {"Date": "Sat, 21 Nov 2026 12:00:00 GMT", "Retry-After": "Sat, 21 Nov 2026 12:02:00 GMT"}
    collector, time = Collector(), Time()
    collector.faults = [
        says(429, b"", {"Retry-After": "77"}),
        says(503, b"", date),
        says(503, b"", {"Retry-After": "999999"}),
    ]
    async with serving(collector) as url, pushing(spool, url, token_file, time):
        await until(lambda: len(collector.runs) == 1)
    assert 77 <= time.slept[0] <= 78 and 120 <= time.slept[1] <= 122 and 3600 <= time.slept[2] <= 3604


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_keeps_everything_and_waits_long(spool: Spool, token_file: Path, status: int) -> None:
    ids = await filled(spool, 3)
    collector, time = Collector(), Time()
    collector.faults = [says(status)] * 3
    states: list[PushState] = []
    async with serving(collector) as url, pushing(spool, url, token_file, time) as push:

        def looked() -> bool:
            states.append(push.state)
            return len(collector.runs) == 3

        await until(looked)
    assert sorted(collector.runs) == sorted(ids)
    assert next(wait for wait in time.slept if wait >= 30) <= 60 and time.slept[2] >= 120
    assert push.state.set_aside == 0


async def test_a_refused_token_is_told_and_a_new_one_is_taken_at_once(spool: Spool, token_file: Path) -> None:
    ids = await filled(spool, 2)
    written(token_file, b"revoked")
    collector = Collector()
    task_time = Time()

    async def never(seconds: float) -> None:
        await asyncio.sleep(3600 if seconds >= 30 else 0)

    task_time.sleep = never  # type: ignore[method-assign]
    async with serving(collector) as url, pushing(spool, url, token_file, task_time) as push:
        await until(lambda: push.state.status == "refused")
        assert push.state.sentence == (
            "The collector does not know this agent's token (401); enrol this box again: No such token."
        )
        assert 30 <= (push.state.next_try_s or 0) <= 60
        assert "revoked" not in repr(push.state)
        written(token_file, TOKEN.encode())
        push.retry_now()
        await until(lambda: len(collector.runs) == 2)
    assert sorted(collector.runs) == sorted(ids)


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff\xfe", b"x" * 5000])
async def test_a_token_that_cannot_be_used_is_one_sentence(
    spool: Spool, token_file: Path, content: bytes | None
) -> None:
    await filled(spool, 1)
    written(token_file, content)
    collector = Collector()
    async with serving(collector) as url, pushing(spool, url, token_file) as push:
        await until(lambda: push.state.failures > 0)
        assert (push.state.sentence or "").startswith(f"The token in {token_file} cannot be used (")
    assert collector.requests == []


def test_a_token_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    before = len([*Path("/proc/self/fd").iterdir()])
    for name in ("fifo", "."):
        with pytest.raises((OSError, ValueError)):
            token(str(tmp_path / name))
    assert len([*Path("/proc/self/fd").iterdir()]) == before, "each try left a descriptor open"


async def test_it_ends_at_whatever_moment_it_is_cancelled(spool: Spool, token_file: Path) -> None:
    await filled(spool, 1)
    written(token_file, b"two words")
    time = Time()
    for moment in range(150):
        target = Target(url="http://127.0.0.1:1", token_file=str(token_file))
        push = Push(spool, target, 300, chance=random.Random(4), clock=time, sleep=time.sleep)
        task = asyncio.create_task(push.run())
        async with asyncio.timeout(10):
            while moment and not push.state.failures:
                await asyncio.sleep(0)
            for _ in range(moment):
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=10)
        assert task.cancelled(), moment


async def test_refused_records_are_set_aside_and_the_rest_arrives_at_once(spool: Spool, token_file: Path) -> None:
    await filled(spool, 10)
    collector, time = Collector(), Time()
    collector.refuse = {2, 5, 9}
    async with serving(collector) as url, pushing(spool, url, token_file, time) as push:
        await until(lambda: len(collector.runs) == 7 and bool(collector.losses) and push.state.status == "idle")
    assert sorted(record.seq for record in collector.runs.values()) == [0, 1, 3, 4, 6, 7, 8]
    assert max(loss.count or 0 for loss in collector.losses.values()) + 0 >= 1
    assert sum(loss.count or 0 for loss in collector.losses.values()) == 3
    assert {loss.reason for loss in collector.losses.values()} == {"rejected"}
    assert push.state.set_aside == 3 and push.state.failures == 0
    assert max(time.slept, default=0) <= 0.1, "no back-off"
    state = await spool.state()
    assert (state.rejected, state.depth, state.lost) == (3, 0, 0)
    assert state.last_refusal == "number 9 is not wanted"


async def test_a_refusal_without_names_is_found_by_halving(spool: Spool, token_file: Path) -> None:
    await filled(spool, 16)
    collector = Collector()

    async def bad(request: Any) -> Any:
        from roomprobe.wire import upload
        from tests.sinks.collectors import problem

        records = [upload.parse(line) for line in upload.unpack(await request.read())]
        if any(record.seq == 6 for record in records):
            return problem(422, "Something is not wanted.")
        return await collector._store(request)

    collector.always = bad
    async with serving(collector) as url, pushing(spool, url, token_file) as push:
        await until(lambda: len(collector.runs) == 15 and push.state.status == "idle")
    assert push.state.set_aside == 1
    (loss,) = collector.losses.values()
    assert (loss.first, loss.last, loss.count) == (6, 6, 1)


async def test_too_large_is_halved_and_a_single_one_set_aside(spool: Spool, token_file: Path) -> None:
    ids = await filled(spool, 20)
    collector = Collector()
    collector.most_records = 3
    async with serving(collector) as url, pushing(spool, url, token_file) as push:
        await until(lambda: len(collector.runs) == 20 and push.state.status == "idle")
        assert set(collector.runs) == set(ids) and max(collector.batches) <= 3 and push.state.set_aside == 0
        collector.most_records = 0
        await spool.append(run(99))
        await until(lambda: push.state.set_aside >= 1)
        collector.most_records = 3
        await until(lambda: push.state.status == "idle")
    refusal = (await spool.state()).last_refusal
    assert refusal == "Too large for the collector (413): Too many."


async def test_a_wanted_whole_document_follows(spool: Spool, token_file: Path) -> None:
    collector = Collector()
    await spool.append(run(0))
    await spool.append(run(1))
    async with serving(collector) as url, pushing(spool, url, token_file) as push:
        await until(idle(push))
        collector.want_full = True
        await spool.append(run(2))
        await until(lambda: len(collector.runs) == 3 and push.state.status == "idle")
        collector.want_full = False
        await spool.append(run(3))
        await spool.append(run(4))
        await until(lambda: len(collector.runs) == 5)
    kinds = {record.seq: type(record).__name__ for record in collector.runs.values()}
    assert kinds == {0: "Full", 1: "Same", 2: "Same", 3: "Full", 4: "Same"}


async def test_it_catches_up_at_a_bounded_rate(spool: Spool, token_file: Path) -> None:
    ids = await filled(spool, 450)
    collector, time = Collector(), Time()
    async with serving(collector) as url, pushing(spool, url, token_file, time) as push:
        await until(lambda: len(collector.runs) == 450 and push.state.status == "idle")
    assert set(collector.runs) == set(ids)
    assert sum(time.slept) >= 450 / 200 - 0.01
    assert max(collector.batches) <= 200
    assert collector.order[1:] == sorted(collector.order[1:]) or collector.order[2:] == sorted(collector.order[2:])


async def test_a_redirect_is_not_followed(spool: Spool, token_file: Path) -> None:
    await filled(spool, 1)
    other, collector, seen = Collector(), Collector(), []
    async with serving(other) as elsewhere, serving(collector) as url:
        collector.faults = [says(code, b"", {"Location": f"{elsewhere}/v1/runs"}) for code in (301, 302, 307, 308)]
        async with pushing(spool, url, token_file) as push:

            def looked() -> bool:
                seen.append(push.state.sentence)
                return len(collector.runs) == 1

            await until(looked)
    assert other.requests == []
    assert len(collector.requests) == 5


# --- TLS -----------------------------------------------------------------------------------------------------------


async def test_a_pinned_certificate(spool: Spool, token_file: Path, tmp_path: Path) -> None:
    pem, pin = certificate(tmp_path)
    await filled(spool, 2)
    collector = Collector()
    async with serving(collector, server_tls(pem)) as url:
        async with pushing(spool, url, token_file, trust=Trust(pin=pin)) as push:
            await until(idle(push))
        assert len(collector.runs) == 2
        await spool.append(run(7))
        async with pushing(spool, url, token_file, trust=Trust(pin="0" * 64)) as push:
            await until(lambda: push.state.failures > 0)
            assert (push.state.sentence or "").endswith(
                "cannot be reached (its certificate is not accepted: another certificate than the pinned one)."
            )
    assert len(collector.requests) == 2, "nothing was sent to the other one, the token least of all"


async def test_an_authority_of_the_site(spool: Spool, token_file: Path, tmp_path: Path) -> None:
    pem, _ = certificate(tmp_path)
    await filled(spool, 1)
    collector = Collector()
    async with serving(collector, server_tls(pem)) as url:
        async with pushing(spool, url, token_file, trust=Trust(ca_file=str(pem))) as push:
            await until(lambda: push.state.failures > 0)
            assert "its certificate is not accepted: IP address mismatch" in (push.state.sentence or "")
        async with pushing(spool, url, token_file) as push:
            await until(lambda: push.state.failures > 0)
            assert "its certificate is not accepted: self-signed certificate" in (push.state.sentence or "")
        assert collector.requests == []
        named = url.replace("127.0.0.1", "localhost")
        async with pushing(spool, named, token_file, trust=Trust(ca_file=str(pem))) as push:
            await until(idle(push))
    assert len(collector.runs) == 1


async def test_a_client_certificate_instead_of_a_token(spool: Spool, tmp_path: Path) -> None:
    pem, pin = certificate(tmp_path)
    client, _ = certificate(tmp_path, "client")
    await filled(spool, 1)
    collector = Collector()
    collector.always = says(401)
    async with serving(collector, server_tls(pem, client_ca=client)) as url:
        async with pushing(spool, url, None, trust=Trust(pin=pin)) as push:
            await until(lambda: push.state.failures > 0)
        assert collector.requests == []
        trust = Trust(pin=pin, client_cert=str(client), client_key=str(client))
        async with pushing(spool, url, None, trust=trust) as push:
            await until(lambda: push.state.status == "refused" or bool(collector.requests))
    assert "authorization" not in collector.requests[0]


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def proxying(lines: list[bytes], status: int = 200) -> AsyncIterator[str]:
    """A web proxy that opens tunnels; `lines` gets the first line of each request."""
    tunnels: set[asyncio.Task[None] | None] = set()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnels.add(asyncio.current_task())
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                head = await reader.readuntil(b"\r\n\r\n")
                lines.append(head.split(b"\r\n")[0])
                writer.write(f"HTTP/1.1 {status} As asked\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                if status != 200:
                    await reader.read()
                else:
                    host, _, port = head.split()[1].decode().rpartition(":")
                    far_reader, far_writer = await asyncio.open_connection(host, int(port))
                    try:
                        await asyncio.gather(relay(reader, far_writer), relay(far_reader, writer))
                    finally:
                        await closed(far_writer)
        finally:
            await closed(writer)

    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for task in tunnels:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tunnels if task is not None), return_exceptions=True)


async def test_through_the_proxy_with_the_pin_at_its_end(spool: Spool, token_file: Path, tmp_path: Path) -> None:
    pem, pin = certificate(tmp_path)
    await filled(spool, 1)
    collector, lines = Collector(), []  # type: ignore[var-annotated]
    async with serving(collector, server_tls(pem)) as url, proxying(lines) as proxy:
        async with pushing(spool, url, token_file, trust=Trust(pin="1" * 64), proxy=proxy) as push:
            await until(lambda: push.state.failures > 0)
            assert "another certificate than the pinned one" in (push.state.sentence or "")
        assert collector.requests == []
        async with pushing(spool, url, token_file, trust=Trust(pin=pin), proxy=proxy) as push:
            await until(idle(push))
    assert len(collector.runs) == 1
    assert set(lines) == {f"CONNECT 127.0.0.1:{collector.port} HTTP/1.1".encode()}


async def test_a_proxy_that_refuses_or_is_not_there(spool: Spool, token_file: Path) -> None:
    await filled(spool, 1)
    async with proxying([], status=407) as proxy:
        async with pushing(spool, "https://collector.example", token_file, proxy=proxy) as push:
            await until(lambda: push.state.failures > 0)
            assert "cannot be reached (the proxy refuses with 407)." in (push.state.sentence or "")
    async with pushing(spool, "https://collector.example", token_file, proxy=proxy) as push:
        await until(lambda: push.state.failures > 0)
        assert "cannot be reached (the proxy cannot be reached: " in (push.state.sentence or "")


async def test_plain_http_where_tls_is_expected(spool: Spool, token_file: Path) -> None:
    await filled(spool, 1)
    collector = Collector()
    async with serving(collector) as url, pushing(spool, url.replace("http:", "https:"), token_file) as push:
        await until(lambda: push.state.failures > 0)
        assert "cannot be reached (no TLS" in (push.state.sentence or "") or "certificate" in (
            push.state.sentence or ""
        )


async def test_files_that_cannot_be_used_end_it_at_once(spool: Spool, token_file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    named = (Trust(ca_file=str(tmp_path / "none")), Trust(ca_file=str(tmp_path / "fifo")))
    for trust in (*named, Trust(client_cert=str(token_file)), Trust(client_cert=str(tmp_path))):
        push = Push(spool, Target(url="https://localhost", token_file=str(token_file), trust=trust), 300)
        with pytest.raises(OSError, match=re.escape(trust.ca_file or trust.client_cert or "")):
            await push.run()
