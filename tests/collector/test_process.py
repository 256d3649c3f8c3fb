"""Real collector processes: killed under load, stopped, started where they cannot, on a full disk."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import random
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from roomprobe.collector import command, people
from roomprobe.config import ConfigError
from roomprobe.wire import reply, upload
from roomprobe.wire.upload import Record
from tests.collector.making import full, same
from tests.disks import disk, stuff
from tests.ports import free_port

AGENT = Path(__file__).resolve().parents[2] / "agent"
KILLS = int(os.environ.get("ROOMPROBE_KILLS", "10"))
ENV = {**os.environ, "PYTHONPATH": str(AGENT)}
for _name in ("NOTIFY_SOCKET", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE"):  # asyncio would report its slow steps on stderr
    ENV.pop(_name, None)


def start(state: Path, *arguments: str, listen: str = "127.0.0.1:0") -> tuple[str, ...]:
    return (sys.executable, "-m", "roomprobe.collector", "--state", str(state), "--listen", listen, *arguments)


class Process:
    """A collector of its own; `url` is where it says that it is."""

    def __init__(self, child: asyncio.subprocess.Process, url: str, said: str) -> None:
        self.child = child
        self.url = url
        self.said = said


@contextlib.asynccontextmanager
async def process(
    state: Path, *arguments: str, listen: str = "127.0.0.1:0", files: int = 1024
) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        *start(state, *arguments, listen=listen),
        env=ENV,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, 256), files)),
    )
    assert child.stdout is not None and child.stderr is not None
    first = (await child.stdout.readline()).decode()
    found = re.search(r"(https?://\S+)", first)
    if found is None:
        raise AssertionError(first + (await child.stderr.read()).decode())
    try:
        yield Process(child, found[1], first)
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


def enrol(state: Path, room: str = "Boardroom 4") -> tuple[str, str]:
    """A box straight into the store: (id, token)."""

    def job(db: sqlite3.Connection) -> tuple[str, str]:
        made = people.enrol(db, 1_700_000_000_000, people.mint(db, 1_700_000_000_000, room, minutes=60), "box")
        return made.agent, made.token

    return command._write(state, job)


async def post(http: aiohttp.ClientSession, url: str, token: str, records: list[Record]) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": upload.CONTENT_TYPE, "Content-Encoding": "gzip"}
    body = io.BytesIO(upload.pack([upload.build(one) for one in records]))
    async with http.post(f"{url}/v1/runs", data=body, headers=headers, timeout=aiohttp.ClientTimeout(20)) as answer:
        return answer.status, await answer.json(content_type=None)


class Box:
    """Plays an agent: produces runs, sends them, and remembers which were acknowledged. Unacknowledged ones are sent again."""

    def __init__(self, agent: str, token: str, chance: random.Random) -> None:
        self.agent, self.token, self.chance = agent, token, chance
        self.next = 0
        self.waiting: list[Record] = []
        self.acknowledged: set[str] = set()
        self.base: Any = None

    def produce(self) -> None:
        for _ in range(self.chance.randint(1, 4)):
            if self.base is None or self.chance.random() < 0.3:
                outcome = self.chance.choice(("open", "filtered/path-ends"))
                self.base = full(self.next, {"F1": outcome, "F3": "open"}, agent=self.agent)
                self.waiting.append(self.base)
            else:
                self.waiting.append(same(self.next, self.base))
            self.next += 1

    async def push(self, http: aiohttp.ClientSession, url: str) -> None:
        sent = list(self.waiting)
        status, _ = await post(http, url, self.token, sent)
        if status == 200:
            self.acknowledged |= {one.run_id for one in sent if not isinstance(one, upload.Loss)}
            self.waiting = self.waiting[len(sent) :]

    async def work(self, url: str) -> None:
        async with aiohttp.ClientSession() as http:
            while True:
                self.produce()
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    await self.push(http, url)


async def test_killed_at_any_moment_every_acknowledged_run_is_there_once(tmp_path: Path) -> None:
    chance = random.Random(4)
    boxes = []
    for number in range(4):
        boxes.append(Box(*enrol(tmp_path, f"Room {number}"), chance))
    for _ in range(KILLS):
        async with process(tmp_path, listen="127.0.0.1:0") as running:
            work = [asyncio.create_task(box.work(running.url)) for box in boxes]
            await asyncio.sleep(chance.uniform(0.05, 0.6))
            running.child.send_signal(signal.SIGKILL)
            await running.child.wait()
            for one in work:
                one.cancel()
            await asyncio.gather(*work, return_exceptions=True)
    acknowledged = set().union(*(box.acknowledged for box in boxes))
    assert len(acknowledged) > KILLS
    with contextlib.closing(sqlite3.connect(tmp_path / "collector.sqlite3")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = [str(uuid.UUID(bytes=row[0])) for row in db.execute("SELECT id FROM run")]
    assert len(stored) == len(set(stored)) and acknowledged <= set(stored)
    async with process(tmp_path) as running, aiohttp.ClientSession() as http:
        for box in boxes:
            if box.waiting:
                await box.push(http, running.url)
    with contextlib.closing(sqlite3.connect(tmp_path / "collector.sqlite3")) as db:
        assert db.execute("SELECT count(*) FROM run").fetchone()[0] == sum(box.next for box in boxes)
        holes = db.execute(
            "SELECT count(*) FROM (SELECT chain FROM span GROUP BY chain HAVING sum(last - first + 1) <> max(last) + 1)"
        )
        assert holes.fetchone()[0] == 0


async def test_it_starts_with_nothing_and_stops_when_told_whoever_holds_a_connection(tmp_path: Path) -> None:
    state = tmp_path / "a" / "b"
    async with process(state) as running, aiohttp.ClientSession() as http:
        async with http.get(f"{running.url}/healthz") as answer:
            assert answer.status == 200
        running.child.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(running.child.communicate(), 20)
        assert running.child.returncode == 0 and err == b""
    assert (state / "collector.sqlite3").stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700


async def test_for_the_network_it_makes_a_certificate_and_enrolment_carries_its_pin(tmp_path: Path) -> None:
    async with process(tmp_path, listen="0.0.0.0:0") as running:
        assert running.url.startswith("https://")
    done = run("enrol", "--state", str(tmp_path), "--room", "Lobby")
    link = done.stdout.splitlines()[-1]
    token, _, pin = link.partition("#")[2].partition(".")
    assert re.fullmatch(r"[0-9a-f]{64}", pin) and len(token) == 43 and done.returncode == 0


async def test_a_box_enrols_by_the_link_and_pushes_over_pinned_tls(tmp_path: Path) -> None:
    from roomprobe import enrol as box

    async with process(tmp_path, listen="0.0.0.0:0") as running:
        url = f"https://127.0.0.1:{running.url.rpartition(':')[2]}"
        done = await asyncio.to_thread(run, "enrol", "--state", str(tmp_path), "--room", "Lobby", "--url", url)
        link = done.stdout.splitlines()[-1]
        given = box.invitation(link)
        made = await box.ask(given, "box")
        assert made.room == "Lobby" and given.pin is not None
        pinned = aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(bytes.fromhex(given.pin)))
        async with aiohttp.ClientSession(connector=pinned) as http:
            one = full(0, {"F1": "open"}, agent=made.agent)
            assert (await post(http, url, made.token, [one]))[0] == 200
        with pytest.raises(ConfigError, match="used before"):
            await box.ask(given, "box")


@pytest.mark.parametrize("family", ["127.0.0.1", "[::1]"])
async def test_all_addresses_are_those_of_both_families(tmp_path: Path, family: str) -> None:
    port = free_port()
    async with process(tmp_path, listen=f"[::]:{port}"), aiohttp.ClientSession() as http:
        async with http.get(f"https://{family}:{port}/healthz", ssl=False) as answer:
            assert answer.status == 200


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "roomprobe.collector", *arguments]
    return subprocess.run(command, env=ENV, input=stdin, capture_output=True, text=True, timeout=60)


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 3 and done.stdout == "", done
    assert done.stderr.startswith("roomprobe: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


async def test_what_hinders_a_start_is_one_sentence(tmp_path: Path) -> None:
    async with process(tmp_path / "one") as running:
        place = running.url.partition("//")[2]
        assert "address already in use" in one_sentence(run("--state", str(tmp_path / "two"), "--listen", place))
        assert "Another collector runs" in one_sentence(
            run("--state", str(tmp_path / "one"), "--listen", "127.0.0.1:0")
        )
    (tmp_path / "file").write_text("x")
    assert "state directory" in one_sentence(run("--state", str(tmp_path / "file" / "x")))
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "collector.sqlite3").write_text("this is no database at all, but a text" * 100)
    assert "cannot be used" in one_sentence(run("--state", str(tmp_path / "three")))
    with contextlib.closing(sqlite3.connect(tmp_path / "other.sqlite3")) as db:
        db.execute("CREATE TABLE x (y)")
    (tmp_path / "four").mkdir()
    (tmp_path / "other.sqlite3").rename(tmp_path / "four" / "collector.sqlite3")
    assert "another program" in one_sentence(run("--state", str(tmp_path / "four")))
    with contextlib.closing(sqlite3.connect(tmp_path / "one" / "collector.sqlite3")) as db:
        db.execute("PRAGMA user_version = 99")
    assert "newer roomprobe" in one_sentence(run("--state", str(tmp_path / "one")))
    for arguments in (
        ["--listen", "here"],
        ["--listen", "127.0.0.1:99999"],
        ["--listen", "192.0.2.77:0"],
        ["--cert", "x"],
        ["--cert", "/nowhere", "--key", "/nowhere"],
        ["--keep-runs", "-1"],
        ["--more"],
        ["dance"],
        ["enrol"],
        ["enrol", "--room", "x\ny"],
        ["enrol", "--room", "Lobby"],
        ["enrol", "--room", "Lobby", "--minutes", "0"],
        ["enrol", "--room", "Lobby", "--url", "ftp://x"],
        ["token"],
        ["enrol", "--room", " .. ", "--url", "https://c.example"],
        *(
            ["enrol", "--room", "x", "--url", url]
            for url in ("https://", "http://c.example", "https://c:0", "https://u@c")
        ),
        ["token", "--revoke", "7"],
        ["share", "--revoke", "9" * 30],
        ["revoke", "--room", os.fsdecode(b"\xff")],
        ["revoke", "--agent", os.fsdecode(b"\xff")],
        ["revoke", "--room", "nowhere"],
        ["share", "--label", "x", "--room", "nowhere"],
        ["share", "--label", "x", "--days", "0"],
        ["share", "--label", "x", "--days", "367"],
        ["password", "--stdin"],
    ):
        one_sentence(run(*arguments, *(["--state", str(tmp_path / "five")] if arguments != ["dance"] else [])))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk(tmp_path / "disk", 2) as place:
        yield place


@pytest.mark.lab
@pytest.mark.parametrize("leave", [0, 65536, 200_000])
def test_a_first_start_on_a_full_disk_is_one_sentence(small_disk: Path, leave: int) -> None:
    stuff(small_disk, leave)
    assert "store" in one_sentence(run("--state", str(small_disk)))


@pytest.mark.lab
async def test_a_full_disk_refuses_and_loses_nothing_and_heals(small_disk: Path) -> None:
    agent, token = enrol(small_disk)
    ballast = small_disk / "ballast"
    async with process(small_disk) as running, aiohttp.ClientSession() as http:
        ballast.write_bytes(b"\0" * 300_000)
        acknowledged: list[str] = []
        status, seq, refused = 200, 0, 0
        while refused < 5 and seq < 3000:
            batch: list[Record] = [
                full(seq + n, {"F1": ("open", "filtered/path-ends")[n % 2], "F3": "open"}, agent=agent)
                for n in range(20)
            ]
            status, answer = await post(http, running.url, token, batch)
            if status == 200:
                acknowledged += [one.run_id for one in batch if isinstance(one, upload.Full)]
                seq += 20
            else:
                refused += 1
                assert status == 503 and answer["status"] == 503, answer
        assert refused == 5 and acknowledged
        async with http.get(f"{running.url}/healthz") as health:
            assert health.status == 200
        ballast.unlink()
        status, _ = await post(http, running.url, token, batch)
        assert status == 200
        acknowledged += [one.run_id for one in batch if isinstance(one, upload.Full)]
        running.child.send_signal(signal.SIGTERM)
        await running.child.wait()
    with contextlib.closing(sqlite3.connect(small_disk / "collector.sqlite3")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = [str(uuid.UUID(bytes=row[0])) for row in db.execute("SELECT id FROM run ORDER BY seq")]
    assert stored == acknowledged


async def test_strangers_cannot_use_up_its_files_or_its_log(tmp_path: Path) -> None:
    async with process(tmp_path, files=300) as running:
        place = ("127.0.0.1", urlsplit(running.url).port)
        held = [await asyncio.open_connection(*place) for _ in range(400)]
        gone = asyncio.gather(*(reader.read(1) for reader, _ in held[200:]))
        assert await asyncio.wait_for(gone, 10) == [b""] * 200  # there is no place for these
        for number, nonsense in enumerate(
            (b"GET /\xff HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/9\r\n\r\n")
        ):
            reader, writer = held[number]
            writer.write(nonsense)
            head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
            assert b"nosniff" in head and b"aiohttp" not in head
            assert reply.parse_problem(body).status == 400
        held[3][1].write(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n")
        held[3][1].write(b"Content-Length: 9\r\n\r\nx")
        for _, writer in held:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in held), return_exceptions=True)
        async with aiohttp.ClientSession() as http, http.get(f"{running.url}/healthz") as answer:
            assert answer.status == 200
        running.child.terminate()
        assert running.child.stderr is not None and await running.child.stderr.read() == b""
