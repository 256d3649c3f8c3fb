"""kill -9 at random moments while runs come and go: what was kept is there afterwards, what was dropped is counted.

Ten times; ROOMPROBE_KILLS=50 in the environment for more.
"""

from __future__ import annotations

import os
import random
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

from roomprobe.wire import upload
from roomprobe.wire.upload import Loss
from tests.spool.helpers import drained, run, store

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("ROOMPROBE_KILLS", "10"))


def killed_after(directory: Path, seed: int, seconds: float) -> list[str]:
    """Every whole line that the busy process wrote until it was killed."""
    command = [sys.executable, "-m", "tests.spool.busy", str(directory), str(seed)]
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'agent'}{os.pathsep}{ROOT}"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=env)
    assert child.stdout is not None
    os.set_blocking(child.stdout.fileno(), False)
    written = b""
    deadline = None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        begun = time.monotonic()
        while deadline is None or time.monotonic() < deadline:
            assert time.monotonic() - begun < 60 and child.poll() is None
            selector.select(0.01 if deadline is None else max(0.0, deadline - time.monotonic()))
            written += child.stdout.read() or b""
            if deadline is None and b"ready\n" in written:
                deadline = time.monotonic() + seconds
    child.send_signal(signal.SIGKILL)
    child.wait()
    written += child.stdout.read() or b""
    child.stdout.close()
    return [line.decode() for line in written.split(b"\n")[:-1]]


def test_kill_9_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    chance = random.Random(9)
    kept: dict[int, str] = {}
    arrived: list[upload.Record] = []
    spool = store(tmp_path)
    for number in range(30):  # as much as it holds and more, so that each run has to make room
        made = run(number, outcome="fault" if number % 2 else "open", size=400_000)
        kept[spool.append(made).seq] = made["run"]["id"]
    spool.close()
    for round_ in range(KILLS):
        for line in killed_after(tmp_path, round_, chance.uniform(0.02, 0.5)):
            what, _, rest = line.partition(" ")
            if what == "A":
                seq, _, run_id = rest.partition(" ")
                assert int(seq) not in kept, "a number was given twice"
                kept[int(seq)] = run_id
            elif what == "D":
                arrived.append(upload.parse(rest.encode()))
    spool = store(tmp_path)
    arrived += drained(spool)
    assert not list(tmp_path.glob("*.corrupt")) and {record.epoch for record in arrived} == {spool.epoch}
    stored = {record.seq: record.run_id for record in arrived if not isinstance(record, Loss)}
    losses: dict[int, Loss] = {}
    for record in arrived:
        if isinstance(record, Loss):  # of one number the larger count holds
            losses[record.seq] = max(losses.get(record.seq, record), record, key=lambda loss: loss.count or 0)
    ranges = [range(loss.first or 0, (loss.last or 0) + 1) for loss in losses.values()]
    for seq, run_id in kept.items():
        assert stored.get(seq) == run_id or any(seq in span for span in ranges)
    lost = sum(loss.count or 0 for loss in losses.values())
    # What had arrived when the acknowledgement died with the process may have been dropped and counted after that.
    both = sum(1 for seq in stored if any(seq in span for span in ranges))
    accounted = len(stored) + len(losses) + lost
    assert 0 <= accounted - spool.state().next_seq <= both, "every number is accounted for"
    assert len(kept) > 30 + KILLS and lost > 0
