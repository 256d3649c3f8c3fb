"""The webhook against a real receiver with faults: signed, once, in order, never in the way of an upload."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sqlite3
import subprocess
import textwrap
import time
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from roomprobe.collector import metrics, people
from roomprobe.collector.exporters import feed, webhook
from roomprobe.collector.exporters.options import Export
from roomprobe.collector.exporters.running import exporting
from roomprobe.config import ConfigError
from tests.collector.conftest import Running
from tests.exporters.conftest import Room
from tests.exporters.receiver import Receiver

pytestmark = pytest.mark.usefixtures("hasty")
KEY = b"0123456789abcdef0123456789abcdef"
SCHEMA = json.loads(resources.files("roomprobe.collector.exporters").joinpath("event.schema.json").read_text())


def hook(receiver: Receiver, **more: Any) -> Export:
    return Export(webhook=f"{receiver.url}/hook?team=av", webhook_key=KEY, **more)


def told(receiver: Receiver) -> list[tuple[str, str | None, str | None]]:
    """(name, before, after) of everything that was taken."""
    found = []
    for _, _, body in receiver.taken:
        delivery = json.loads(body)
        jsonschema.validate(delivery, SCHEMA)
        for one in delivery["changes"]:
            before, after = one["before"], one["after"]
            found.append((one["name"], before and before["outcome"], after and after["outcome"]))
    return found


def count(server: Running, name: str) -> int:
    return server.collector.counts[f"export_webhook_{name}"]


def openssl(signed: bytes) -> bytes:
    command = ["openssl", "dgst", "-sha256", "-hmac", KEY.decode(), "-binary"]
    return subprocess.run(command, input=signed, capture_output=True, check=True).stdout


async def caught_up(server: Running) -> None:
    for _ in range(1000):
        if not await server.collector.reader.ask(feed.read, "webhook", 1):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the webhook never caught up")


async def test_a_change_is_told_once_and_signed(server: Running, box: Room, receiver: Receiver) -> None:
    await box.says("full")
    async with exporting(server.collector, hook(receiver)):
        await box.says("broken")
        await receiver.until(1)
        await caught_up(server)
    assert told(receiver) == [("calls", "full", "broken")]
    path, headers, body = receiver.taken[0]
    assert path == "/hook"
    delivery = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert headers["webhook-id"] == delivery["id"]
    number, at = headers["webhook-id"], headers["webhook-timestamp"]
    assert abs(int(at) - server.collector.now() / 1000) < 60
    # The example of docs/monitoring.md, with openssl in place of our own code.
    made = openssl(f"{number}.{at}.".encode() + body)
    assert headers["webhook-signature"] == "v1," + base64.b64encode(made).decode()
    change = delivery["changes"][0]
    assert change["room"] == "Boardroom 4" and change["after"]["sentence"] == "as of run 1"


def test_the_signature_is_that_of_the_standard() -> None:
    """The example that the libraries of Standard Webhooks test themselves with."""
    key = webhook.read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    body = b'{"test": 2432232314}'
    made = webhook.sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["short", "whsec_%%%", "whsec_MfKQ9r8G", ""])
def test_secrets_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError):
        webhook.read_secret(text)


@pytest.mark.parametrize("fault", [500, 503, 429, 404, 302, "slow", "reset", "half", "nonsense", "redirect"])
async def test_a_fault_is_retried_with_the_same_delivery(
    server: Running, box: Room, receiver: Receiver, fault: Any
) -> None:
    await box.says("full")
    receiver.faults = [fault, fault]
    async with exporting(server.collector, hook(receiver)):
        await box.says("broken")
        await receiver.until(1)
        await caught_up(server)
    assert told(receiver) == [("calls", "full", "broken")]
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1
    assert len({body for _, _, body in receiver.requests}) == 1
    assert {path for path, _, _ in receiver.requests} == {"/hook"}, "a redirect was followed"
    assert (count(server, "sent"), count(server, "failed"), count(server, "dropped")) == (1, 2, 0)


async def test_neither_the_url_nor_what_is_said_stands_in_the_log(
    server: Running, box: Room, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    await box.says("full")
    receiver.faults = ["nonsense"]
    async with exporting(server.collector, hook(receiver)):
        await box.says("broken")
        await receiver.until(1)
    said = [one.message for one in caplog.records if one.name == "roomprobe"]
    assert said == ["webhook: its answer is not HTTP; it is tried again"]


async def test_uploads_do_not_wait_for_a_receiver(server: Running, box: Room, receiver: Receiver) -> None:
    receiver.gate.clear()
    async with exporting(server.collector, hook(receiver)):
        await box.says("full", "broken")
        for _ in range(20):
            await box.says("full", "broken")
        assert not receiver.taken
        receiver.gate.set()
        await caught_up(server)
    assert told(receiver)[-1] == ("calls", "full", "broken")


async def test_what_nobody_wants_is_given_up_and_the_next_comes_through(
    server: Running, box: Room, receiver: Receiver
) -> None:
    await box.says("full")
    receiver.faults = [422] * webhook.MOST_UNWANTED
    async with exporting(server.collector, hook(receiver)):
        await box.says("broken")
        await caught_up(server)
        await box.says("full")
        await receiver.until(1)
    assert told(receiver) == [("calls", "broken", "full")]
    assert count(server, "dropped") == 1


async def test_only_what_is_so_now_is_told(server: Running, box: Room, receiver: Receiver) -> None:
    await box.says("full")
    async with exporting(server.collector, hook(receiver)):
        await box.says("broken", "degraded", "full", "broken")
        await receiver.until(1)
        await caught_up(server)
    assert told(receiver) == [("calls", "full", "broken")]


async def test_older_runs_that_come_late_are_no_news(server: Running, box: Room, receiver: Receiver) -> None:
    """A box that was cut off sends its newest run first."""
    await box.says("full")
    async with exporting(server.collector, hook(receiver)):
        for seq, state in ((9, "broken"), (1, "full"), (3, "broken"), (2, "full"), (4, "broken")):
            box.seq = seq
            await box.says(state)
            await caught_up(server)
        box.seq = 10
        await box.says("full")
        await receiver.until(2)
        await caught_up(server)
    assert told(receiver) == [("calls", "full", "broken"), ("calls", "broken", "full")]


async def test_nothing_is_missed_while_the_exporter_is_away(server: Running, box: Room, receiver: Receiver) -> None:
    receiver.gate.clear()
    await box.says("full")
    async with exporting(server.collector, hook(receiver)):
        await box.says("broken")
        while not receiver.requests:
            await asyncio.sleep(0.01)
    # It ended with a delivery under way; the store went on for a moment.
    await box.says("full")
    receiver.gate.set()
    await asyncio.sleep(0)
    receiver.taken.clear()
    async with exporting(server.collector, hook(receiver)):
        await receiver.until(2)
        await caught_up(server)
    assert told(receiver) == [("calls", "full", "broken"), ("calls", "broken", "full")]
    assert receiver.taken[0][1]["webhook-id"] == receiver.requests[0][1]["webhook-id"]
    assert receiver.taken[0][2] == receiver.requests[0][2]


async def test_checks_are_told_when_asked_for(server: Running, box: Room, receiver: Receiver) -> None:
    await box.says("full")
    async with exporting(server.collector, hook(receiver, webhook_checks=True)):
        await box.says("broken")
        await receiver.until(1)
        await caught_up(server)
    check = "starleaf/F1/config.starleaf.com/203.0.113.10/tcp/443"
    assert sorted(told(receiver)) == [("calls", "full", "broken"), (check, "open", "filtered")]


async def test_a_room_that_falls_silent_and_is_heard_again(server: Running, box: Room, receiver: Receiver) -> None:
    await box.says("full")
    retired = await server.enrol("Retired")
    await Room(server, retired.agent, retired.token).says("full")

    def begin(db: sqlite3.Connection) -> None:
        feed.begin(db, ["webhook"], ["interval"])
        feed.hush(db, server.collector.now(), 0)

    await server.collector.write(begin)
    later = server.collector.now() + 16 * 60_000
    assert await server.collector.write(feed.hush, later, 60_000) == 0, "the collector was away, not the room"
    await server.collector.write(people.revoke, server.collector.now(), room="Retired")
    assert await server.collector.write(feed.hush, later, 3_600_000) == 1
    assert await server.collector.write(feed.hush, later, 3_600_000) == 0
    assert await server.collector.write(feed.hush, server.collector.now(), 3_600_000) == 1
    async with exporting(server.collector, hook(receiver)):
        await receiver.until(1)
    assert told(receiver) == [("Boardroom 4", "heard", "silent"), ("Boardroom 4", "silent", "heard")]


async def test_a_receiver_that_is_away_for_good_does_not_fill_the_disk(
    server: Running, box: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.collector.write(feed.begin, ["webhook"], ["interval", "run"])
    await box.says(*["full", "broken"] * 20)
    monkeypatch.setattr(feed, "A_BITE", 10)
    missed, more = await server.collector.write(feed.trim, 30)
    assert missed["webhook"] > 30
    while more:
        again, more = await server.collector.write(feed.trim, 30)
        assert again == {}
    rows = await server.collector.reader.ask(feed.read, "webhook", 1000)
    assert len(rows) == 30
    assert await server.collector.reader.ask(lambda db: db.execute("SELECT count(*) FROM feed").fetchone()[0]) == 30


async def test_off_means_gone(server: Running, box: Room, receiver: Receiver) -> None:
    async with exporting(server.collector, hook(receiver)):
        pass
    async with exporting(server.collector, Export()):
        await box.says("full", "broken")

    def traces(db: sqlite3.Connection) -> Any:
        return db.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE 'feed%' UNION SELECT name FROM meta WHERE name LIKE 'export.%'"
        ).fetchall()

    assert await server.collector.reader.ask(traces) == []
    assert not receiver.requests


async def test_what_was_done_stands_in_the_metrics(server: Running, box: Room, receiver: Receiver) -> None:
    await box.says("full")
    async with exporting(server.collector, hook(receiver)):
        await box.says("broken")
        await caught_up(server)
    text = await server.collector.reader.ask(
        metrics.text, server.collector.now(), dict(server.collector.counts),
        {"commits": 0, "jobs": 0, "waiting": 0}, checks=False,
    )  # fmt: skip
    assert 'roomprobe_exporter_events_total{exporter="webhook",result="sent"} 1\n' in text


def test_the_page_verifies_what_is_sent() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "monitoring.md").read_text()
    code = re.search(r"^    import base64.*?(?=\n\n\S)", page, re.DOTALL | re.MULTILINE)
    assert code is not None
    names: dict[str, Any] = {}
    exec(textwrap.dedent(code[0]), names)  # the page is ours
    at = int(time.time())
    headers = {
        "webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": webhook.sign(KEY, "msg_1", at, b"{}")
    }  # fmt: skip
    genuine = names["genuine"]
    assert genuine(KEY, headers, b"{}")
    assert not genuine(KEY, headers, b"{ }")
    assert not genuine(b"another key of some length", headers, b"{}")
    assert not genuine(KEY, headers | {"webhook-id": "msg_2"}, b"{}")
    old = {**headers, "webhook-timestamp": str(at - 600)}
    assert not genuine(KEY, old | {"webhook-signature": webhook.sign(KEY, "msg_1", at - 600, b"{}")}, b"{}")
