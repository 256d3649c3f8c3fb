"""What the collector logs: not what strangers send, and with the journal's priorities under systemd."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.collector.test_process import ENV, process


@pytest.mark.parametrize("line", [b"Authorization: Bearer s3cret\x01", b"Content-Length: s3cret"])
async def test_a_request_that_is_none_is_not_in_the_log(tmp_path: Path, line: bytes) -> None:
    async with process(tmp_path) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2]))
        writer.write(b"GET /v1/rooms HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()
        running.child.send_signal(signal.SIGTERM)
        _, err = await running.child.communicate()
    assert err == b""


def test_each_line_of_a_mistake_has_its_priority_in_the_journal() -> None:
    program = """
import logging
from roomprobe.collector import logs
logs.set_up()
logging.getLogger("roomprobe").warning("one")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("roomprobe").exception("two")
"""
    for env, first, rest in (({"JOURNAL_STREAM": "8:1"}, "<4>one", "<3>"), ({}, "one", "")):
        said = subprocess.run([sys.executable, "-c", program], env=ENV | env, capture_output=True, text=True).stderr
        head, *more = said.splitlines()
        assert head == first and more[0] == f"{rest}two" and len(more) > 3
        assert all(line.startswith(rest) for line in more)
