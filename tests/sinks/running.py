"""Both ends of the line as processes: a collector, an agent that it knows, and what stands in its store afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from roomprobe.collector import command, people
from roomprobe.model import Frozen

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'agent'}{os.pathsep}{ROOT}"}
ENV.pop("NOTIFY_SOCKET", None)
LONG_AGO = 1_700_000_000_000  # when the boxes were enrolled: before all of their runs
ROOM = "Boardroom 4"


@contextlib.asynccontextmanager
async def child(*arguments: str, env: Mapping[str, str] = ENV) -> AsyncIterator[asyncio.subprocess.Process]:
    made = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=env, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield made
    finally:
        if made.returncode is None:
            made.kill()
        await made.wait()


@contextlib.asynccontextmanager
async def collector(
    state: Path,
    *,
    listen: str = "127.0.0.1:0",
    program: tuple[str, ...] = ("-m", "roomprobe.collector"),
    env: Mapping[str, str] = ENV,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    async with child(*program, "--state", str(state), "--listen", listen, env=env) as made:
        assert made.stdout is not None
        async with asyncio.timeout(60):
            found = re.search(rb"https?://\S+", await made.stdout.readline())
        assert found is not None
        yield made, found[0].decode()


async def lines(of: asyncio.subprocess.Process, kept: dict[int, str]) -> str:
    """Reads what an agent says until it ends; its last line."""
    assert of.stdout is not None
    last = ""
    while (line := (await of.stdout.readline()).decode()).endswith("\n"):
        last = line.strip()
        if last.startswith("A "):
            _, seq, run_id = last.split()
            assert int(seq) not in kept
            kept[int(seq)] = run_id
    return last


def link(state: Path) -> str:
    arguments = [sys.executable, "-m", "roomprobe.collector", "enrol", "--room", ROOM, "--state", str(state)]
    done = subprocess.run(arguments, env=ENV, capture_output=True, text=True, check=True, timeout=60)
    found = re.search(r"^https?://\S+$", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    return found[0]


class Box(Frozen, frozen=True, kw_only=True):
    """An agent that a store knows: its id, its token's file; and a token of a program that reads."""

    agent: str
    token_file: Path
    reader: str


def enrolled(state: Path, at: int = LONG_AGO) -> Box:
    """A box, enrolled long ago straight into the store of a collector that does not run."""

    def job(db: sqlite3.Connection) -> tuple[people.Enrolled, str]:
        made = people.enrol(db, at, people.mint(db, at, ROOM, minutes=60), "box")
        return made, people.api_token(db, LONG_AGO, "tests")[1]

    made, reader = command._write(state, job)
    token_file = state / "token"
    token_file.write_text(made.token)
    return Box(agent=made.agent, token_file=token_file, reader=reader)


async def asked(url: str, box: Box, path: str, **params: Any) -> Any:
    """An answer of the collector's API."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {box.reader}"}) as http:
        async with http.get(f"{url}{path}", params=params) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


def kept(state: Path) -> dict[str, int]:
    """Run id → number, of every run in a store. Each run stands there once, or this fails."""
    with contextlib.closing(sqlite3.connect(state / "collector.sqlite3")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = db.execute("SELECT id, seq FROM run").fetchall()
    found = {str(uuid.UUID(bytes=run_id)): seq for run_id, seq in rows}
    assert len(found) == len(rows)
    return found
