"""The first password: shown on a terminal, else in a file that goes away with its first use; never in what a service prints."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from pathlib import Path

import aiohttp

from tests.collector.test_process import ENV, one_sentence, process, run, start


async def login(url: str, password: str) -> int:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/login", data={"password": password}, allow_redirects=False) as answer,
    ):
        return answer.status


async def test_it_stands_in_a_file_until_somebody_logged_in(tmp_path: Path) -> None:
    file = tmp_path / "first-password"
    said = b""
    for _ in range(2):  # the second start changes nothing
        async with process(tmp_path) as running:
            password = file.read_text().strip()
            assert await login(running.url, "not this one") == 401 and file.exists()
            running.child.send_signal(signal.SIGTERM)
            out, err = await running.child.communicate()
            said += out + err
    assert file.stat().st_mode & 0o777 == 0o600 and len(password) == 23
    assert str(file) in said.decode() and password not in said.decode()
    async with process(tmp_path) as running:
        assert await login(running.url, password) == 303
    assert not file.exists()


async def test_another_password_takes_its_file_away(tmp_path: Path) -> None:
    async with process(tmp_path) as running:
        first = (tmp_path / "first-password").read_text().strip()
        another = run("password", "--state", str(tmp_path)).stdout.split()[-1]
        assert not (tmp_path / "first-password").exists()
        assert [await login(running.url, one) for one in (another, first)] == [303, 401]


def test_on_a_terminal_it_is_shown_and_stands_nowhere(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen(start(tmp_path), env=ENV, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            said = b""
            while b"sets another.\r\n" not in said:
                said += terminal.read(4096)
        finally:
            child.terminate()
            assert child.wait(20) == 0
    assert b"The first password is " in said
    assert not (tmp_path / "first-password").exists()


async def test_one_that_cannot_be_kept_is_none(tmp_path: Path) -> None:
    """Nobody could know it, so the next start makes another."""
    (tmp_path / "first-password").mkdir()
    assert "first-password cannot be written" in one_sentence(run("--state", str(tmp_path), "--listen", "127.0.0.1:0"))
    (tmp_path / "first-password").rmdir()
    async with process(tmp_path) as running:
        assert await login(running.url, (tmp_path / "first-password").read_text().strip()) == 303
