"""A room is taken away with all that was kept of it, beside a collector that takes runs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from roomprobe.collector import command, ledger, people, removal
from roomprobe.collector.exporters import feed
from roomprobe.collector.intervals import Names
from roomprobe.wire import upload
from roomprobe.wire.upload import Record
from tests.collector.conftest import Running
from tests.collector.making import full, loss, same
from tests.collector.test_access import ask, session
from tests.collector.test_order import RECEIVED, fresh, put
from tests.collector.test_process import enrol, one_sentence, run

TYPO = "Bordroom 4"
# What all rooms share, or what only ever grows.
SHARED = {"meta", "subject", "series", "content", "audit", "counter", "sqlite_sequence"}


def records(agent: str) -> list[Record]:
    first = full(0, {"F1": "open"}, agent=agent)
    second = full(2, {"F1": "filtered/path-ends"}, state="broken", agent=agent)
    return [first, same(1, first, {"starleaf/F1/x": 1.5}), second, loss(3, 3, 3, agent=agent)]


def kept(db: sqlite3.Connection) -> dict[str, list[Any]]:
    """Every row of every table that belongs to a room."""
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} - SHARED
    return {
        table: sorted((tuple(row) for row in db.execute(f"SELECT * FROM {table}")), key=repr)
        for table in sorted(tables)
    }


async def remove(server: Running, room: str) -> str:
    done = await asyncio.to_thread(run, "remove", "--state", str(server.collector.settings.state), "--room", room)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout


async def test_a_room_goes_with_all_that_was_kept_of_it_and_the_others_stay(server: Running) -> None:
    collector = server.collector
    assert (await server.post(records(server.agent)))[0] == 200
    cookie, _ = await session(server)
    before = await collector.reader.ask(kept)
    made = await server.enrol(TYPO)
    assert (await server.post(records(made.agent), token=made.token))[0] == 200
    unused = await collector.write(people.mint, collector.now(), TYPO, minutes=60)
    _, link = await collector.write(people.share, collector.now(), name=TYPO, label="x", days=7)
    grown = await collector.reader.ask(kept)
    same_size = {table for table in grown if len(grown[table]) == len(before[table])}
    assert same_size == {"user", "session", "token"}  # everything else has something of the room
    assert TYPO in await (await ask(server, "GET", "/changes", headers=cookie)).text()

    assert await remove(server, TYPO) == f"room {TYPO} removed: 1 box, 3 runs\n"

    assert await collector.reader.ask(kept) == before
    trail = {note.what for note in await collector.reader.ask(ledger.audit)}
    assert {f"enrolled for {TYPO}", f"removed {made.agent}", f"room {TYPO} removed: 1 box, 3 runs"} <= trail
    assert (await server.post([full(4, {"F1": "open"}, agent=made.agent)], token=made.token))[0] == 401
    assert (await ask(server, "GET", "/v1/summary", headers={"Authorization": f"Bearer {link}"})).status == 401
    with pytest.raises(people.Nobody):
        await collector.write(people.enrol, collector.now(), unused, "box")
    for page in ("/", "/changes"):
        assert TYPO not in await (await ask(server, "GET", page, headers=cookie)).text()
    assert (await ask(server, "GET", f"/rooms/{TYPO}", headers=cookie)).status == 404
    assert [room["room"] for room in (await server.get("/v1/rooms"))["rooms"]] == ["Boardroom 4"]
    assert (await server.post([full(4, {"F1": "open"}, agent=server.agent)]))[0] == 200


async def test_an_upload_that_was_on_its_way_goes_to_no_other_box(server: Running) -> None:
    removed, going = asyncio.Event(), upload.pack([upload.build(one) for one in records(server.agent)])

    async def body() -> AsyncIterator[bytes]:
        yield going[:10]
        await removed.wait()
        yield going[10:]

    headers = {"Content-Type": upload.CONTENT_TYPE, "Content-Encoding": "gzip"}
    headers["Authorization"] = f"Bearer {server.token}"
    sent = asyncio.create_task(server.http.post(f"{server.url}/v1/runs", data=body(), headers=headers))
    async with asyncio.timeout(20):
        while not server.collector.held:
            await asyncio.sleep(0.01)
    assert await remove(server, "Boardroom 4") == "room Boardroom 4 removed: 1 box, 0 runs\n"
    await server.enrol("Lobby")  # takes the number that is free again
    removed.set()
    answer = await asyncio.wait_for(sent, 20)
    assert (answer.status, answer.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
    found = await server.collector.reader.ask(kept)
    assert not found["run"] and not found["chain"] and [row[0] for row in found["agent"]] == [1]


def test_much_goes_bite_by_bite_and_what_was_cut_short_is_finished_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(tmp_path, TYPO)
    words = ["remove", "--state", str(tmp_path), "--room", TYPO]
    many: list[Record] = [full(seq, {"F1": ("open", "filtered/path-ends")[seq % 2]}) for seq in range(10)]
    command._write(tmp_path, lambda db: put(db, Names(), many))
    before = command._write(tmp_path, sent)
    monkeypatch.setattr(removal, "A_BITE", 4)
    monkeypatch.setattr(removal, "PAUSE_S", 0.0)
    bite, bites = removal.bite, 0

    def cut_short(db: sqlite3.Connection, name: str) -> tuple[int, bool]:
        nonlocal bites
        bites += 1
        if bites == 4:
            raise KeyboardInterrupt
        return bite(db, name)

    monkeypatch.setattr(removal, "bite", cut_short)
    with pytest.raises(KeyboardInterrupt):
        command.main(words)
    left = command._write(tmp_path, sent)
    assert sum(before.values()) - sum(left.values()) == 3 * 4 and 0 < left["run"] < 10
    room = "SELECT name, revoked IS NULL FROM room JOIN agent ON agent.room = room.id"
    assert command._write(tmp_path, lambda db: db.execute(room).fetchall()) == [(TYPO, 0)]
    assert command.main(words) == 0
    assert capsys.readouterr().out == f"room {TYPO} removed: 1 box, {left['run']} runs\n"
    assert not any(command._write(tmp_path, sent).values()) and bites > 4 + 3


def sent(db: sqlite3.Connection) -> dict[str, int]:
    """How many rows there are of what boxes sent."""
    return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table, _, _ in removal._SENT}


def test_an_unknown_room_is_one_sentence_that_names_what_is_near(tmp_path: Path) -> None:
    for room in ("Boardroom 4", "Boardroom 5", "Lobby"):
        enrol(tmp_path, room)
    state = ["--state", str(tmp_path)]
    said = one_sentence(run("remove", *state, "--room", "bordroom 4"))
    assert said == 'roomprobe: No room has the name "bordroom 4" (did you mean "Boardroom 4" or "Boardroom 5"?).\n'
    assert one_sentence(run("remove", *state, "--room", "x")) == 'roomprobe: No room has the name "x".\n'
    assert "--room" in one_sentence(run("remove", *state))
    assert "share, revoke, remove, password" in " ".join(run("--help").stdout.split())


def test_exporters_are_told_nothing_more_of_it() -> None:
    db = fresh()
    feed.begin(db, ["webhook"], ["run", "loss", "interval"])
    now = RECEIVED + people.DAY_MS
    feed.hush(db, RECEIVED, 0)
    put(db, Names(), records("7a0c3a52-6fd6-41c8-aca5-bfc8ebc98737"))
    assert feed.hush(db, now, people.DAY_MS) == 1 and {row[1] for row in feed.read(db, "webhook", 99)} >= {
        "run",
        "silent",
    }
    removal.close(db, now, "Boardroom 4")
    runs, more = removal.bite(db, "Boardroom 4")
    assert (runs, more) == (3, False)
    removal.finish(db, now, "Boardroom 4", runs)
    assert feed.read(db, "webhook", 99) == [] and feed.hush(db, now, people.DAY_MS) == 0
