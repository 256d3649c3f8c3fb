"""The part that the loop talks to: it waits for the writer thread, and never makes the loop wait."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from roomprobe.spool import NotKept, Position, Spool, SpoolError
from roomprobe.wire import upload
from tests.spool.helpers import AGENT, run


async def test_a_run_on_its_way(tmp_path: Path) -> None:
    spool = Spool(tmp_path, AGENT)
    await spool.open()
    assert not spool.arrived.is_set()
    positions = [await spool.append(run(number)) for number in range(3)]
    assert spool.arrived.is_set() and spool.agent == AGENT
    batch = await spool.next_batch(10, 1 << 20)
    assert [item.position for item in batch] == positions
    await spool.acknowledge(item.position for item in batch[:1])
    await spool.set_aside(positions[1], "no")
    await spool.want_full()
    await spool.append(run(3))
    (loss, last, whole) = [upload.parse(item.line) for item in await spool.next_batch(10, 1 << 20)]
    assert (loss.seq, last.seq, whole.seq) == (3, 2, 4) and isinstance(whole, upload.Full)
    state = await spool.state()
    assert (state.depth, state.lost, state.rejected, state.trouble) == (2, 1, 1, None)
    assert state.oldest == "2026-11-20T00:00:02Z" and state.next_seq == 5
    await spool.close()
    again = Spool(tmp_path, AGENT)
    await again.open()
    assert (await again.state()).depth == 2
    await again.close()


async def test_a_slow_disk_does_not_hold_the_loop(tmp_path: Path) -> None:
    spool = Spool(tmp_path, AGENT)
    await spool.open()
    slow = threading.Event()
    spool._thread.submit(slow.wait)
    waiting = asyncio.create_task(spool.append(run()))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not waiting.done()
    slow.set()
    assert (await waiting).seq == 0
    await spool.close()


async def test_a_cancelled_append_is_carried_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path, AGENT)
    await spool.open()
    slow = threading.Event()
    spool._thread.submit(slow.wait)
    waiting = asyncio.create_task(spool.append(run()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    slow.set()
    batch = await spool.next_batch(10, 1 << 20)
    assert [item.position for item in batch] in ([], [Position(epoch=batch[0].position.epoch if batch else "", seq=0)])
    await spool.close()


async def test_a_spool_in_use_is_one_sentence(tmp_path: Path) -> None:
    spool, second = Spool(tmp_path, AGENT), Spool(tmp_path, AGENT)
    await spool.open()
    with pytest.raises(SpoolError, match="in use by another"):
        await second.open()
    await second.close()
    await spool.append(run())
    await spool.close()


async def test_a_run_that_could_not_be_kept_says_so(tmp_path: Path) -> None:
    spool = Spool(tmp_path, AGENT)
    await spool.open()
    spool._store.files.ready = lambda: (_ for _ in ()).throw(OSError(28, "No space left on device"))  # type: ignore[method-assign]
    spool._thread.submit(spool._store._shut).result()
    with pytest.raises(NotKept, match=r"^The spool cannot be written \(No space left on device\)\.$"):
        await spool.append(run())
    del spool._store.files.ready  # type: ignore[attr-defined]
    assert (await spool.append(run())).seq == 1
    assert (await spool.state()).lost == 1
    await spool.close()
