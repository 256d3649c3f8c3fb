"""The TCP connect: what the kernel says, in our words; nothing leaks, nothing spins."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from roomprobe.net.pace import Bucket
from roomprobe.net.ports import RESERVED
from roomprobe.net.stream import connect
from tests.probes.peers import serve, silent


@contextlib.contextmanager
def full_listener() -> Generator[int]:
    """A listener whose queue is full: further SYNs are dropped, as a firewall would."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        port = listener.getsockname()[1]
        for _ in range(3):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        time.sleep(0.05)
        yield port


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_timeout_and_no_spinning() -> None:
    with full_listener() as port:
        before, cpu = descriptors(), time.process_time()
        made, stream = await connect("127.0.0.1", port, deadline_s=0.4, bucket=Bucket())
        assert made.result == "timeout" and stream is None
        assert made.seconds is not None and 0.4 <= made.seconds < 0.7
        assert time.process_time() - cpu < 0.1
        assert descriptors() == before


async def test_cancelled_connect_closes_its_socket() -> None:
    with full_listener() as port:
        before = descriptors()
        task = asyncio.create_task(connect("127.0.0.1", port, bucket=Bucket()))
        await asyncio.sleep(0.05)
        assert descriptors() == before + 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert descriptors() == before


async def test_source_ports() -> None:
    with serve(silent) as port:
        made, stream = await connect("127.0.0.1", port, bucket=Bucket(), source_port=RESERVED[7])
        assert stream is not None and made.source_port == RESERVED[7]
        stream.close()
        for _ in range(50):
            made, stream = await connect("127.0.0.1", port, bucket=Bucket())
            assert stream is not None and made.source_port not in RESERVED
            stream.close()
        made, stream = await connect("127.0.0.1", port, bucket=Bucket(), source_port=port)
        assert stream is None and made.failure is not None
        assert (made.failure.operation, made.failure.errno) == ("bind", "EADDRINUSE")


async def test_a_far_end_that_the_kernel_gave_up_on_did_not_close() -> None:
    with serve(silent) as port:
        _, stream = await connect("127.0.0.1", port, bucket=Bucket())
        assert stream is not None
        stream._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)  # type: ignore[attr-defined]
        assert not await stream.write(bytes(50_000_000), time.monotonic() + 0.1), (
            "nobody reads, so it cannot all be taken"
        )
        assert await stream.read(9, time.monotonic() + 10) == b""
        assert (stream.ended, stream.timed_out) == ("reset", True)
        stream.close()


async def test_a_reset_that_a_write_was_told_of_is_no_close() -> None:
    def resets(connection: socket.socket, _over: object) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with serve(resets) as port:
        _, stream = await connect("127.0.0.1", port, bucket=Bucket())
        assert stream is not None and await stream.write(b"x", time.monotonic() + 1)
    # the far end is gone, reset and all
    assert not await stream.write(b"x", time.monotonic() + 1)
    assert await stream.read(9, time.monotonic() + 1) == b""
    assert (stream.ended, stream.timed_out) == ("reset", False)
    stream.close()


@pytest.mark.parametrize("name", ["EMFILE", "EPERM"])
async def test_a_refused_socket_call_is_evidence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(getattr(errno, name), "no")

    monkeypatch.setattr("roomprobe.net.stream.socket.socket", refuse)
    made, stream = await connect("127.0.0.1", 9, bucket=Bucket())
    assert stream is None and made.result == "failure" and made.failure is not None
    assert (made.failure.operation, made.failure.errno) == ("socket", name)


async def test_an_unknown_scope_is_a_failure() -> None:
    made, stream = await connect("fe80::1%no-such-interface", 9, bucket=Bucket())
    assert (made.result, stream) == ("failure", None)


async def test_read_waits_no_longer_than_asked() -> None:
    with serve(silent) as port:
        _, stream = await connect("127.0.0.1", port, bucket=Bucket())
        assert stream is not None
        stream.unread(b"kept")
        assert await stream.read(2, 0.0) == b"ke" and await stream.read(9, 0.0) == b"pt"
        assert await stream.read(9, time.monotonic() + 0.1) is None and stream.ended is None
        stream.close()
        stream.close()
