"""Exporters of a real collector process, turned on by flags: over HTTPS, over kill -9, and an end that waits for nobody."""

from __future__ import annotations

import asyncio
import datetime
import json
import random
import signal
import ssl
import time
from pathlib import Path
from typing import Any

import aiohttp

from roomprobe.collector import tls
from tests.collector.making import full
from tests.collector.test_process import enrol, post, process
from tests.exporters.receiver import Receiver, receiving
from tests.exporters.test_otlp import logs, read, until

KEY = "0123456789abcdef"


def changes(receiver: Receiver) -> list[tuple[str, str]]:
    """(id of the delivery, state) of every change of a service that was taken."""
    found = []
    for path, headers, body in receiver.taken:
        if path == "/hook":
            found += [(headers["webhook-id"], one["after"]["outcome"]) for one in json.loads(body)["changes"]]
    return found


def record(agent: str, seq: int, state: str) -> Any:
    outcome = {"full": "open", "broken": "filtered/path-ends"}[state]
    now = time.time_ns() // 1_000_000
    return full(seq, {"F1": outcome}, state=state, agent=agent, at=now - 60_000 + seq)


def flags(tmp_path: Path, url: str) -> list[str]:
    key, headers = tmp_path / "key", tmp_path / "headers"
    key.write_text(KEY)
    headers.write_text("Authorization: Bearer s3cret\n")
    return [
        "--webhook", f"{url}/hook", "--webhook-secret", str(key),
        "--otlp", f"{url}/", "--otlp-headers", str(headers), "--otlp-every", "1",
    ]  # fmt: skip


async def test_webhook_and_otlp_over_https_of_an_authority_of_the_site(tmp_path: Path) -> None:
    certificate, key = tls.own(tmp_path, ["127.0.0.1"], datetime.datetime.now(datetime.UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    state = tmp_path / "state"
    agent, token = enrol(state)
    async with receiving(context) as receiver, aiohttp.ClientSession() as http:
        arguments = flags(tmp_path, receiver.url)
        async with process(state, *arguments) as running:  # the public authorities do not know it
            assert (await post(http, running.url, token, [record(agent, 0, "full")]))[0] == 200
            assert (await post(http, running.url, token, [record(agent, 1, "broken")]))[0] == 200
            await asyncio.sleep(2)
            assert not receiver.requests
        async with process(state, *arguments, "--export-ca", str(certificate)):
            await until(lambda: changes(receiver) and len(logs(receiver)) == 2)
            await until(lambda: any(path == "/v1/metrics" for path, _, _ in receiver.taken))
    assert [state for _, state in changes(receiver)] == ["broken"]
    for path, headers, body in receiver.taken:
        if path != "/hook":
            assert headers["authorization"] == "Bearer s3cret"
            read(path, headers, body)


async def test_killed_at_any_moment_every_change_is_told(tmp_path: Path) -> None:
    """The last state of a room always arrives, and what arrives twice is the same delivery."""
    chance = random.Random(11)
    state = tmp_path / "state"
    agent, token = enrol(state)
    said = ["full"]
    async with receiving() as receiver, aiohttp.ClientSession() as http:
        arguments = flags(tmp_path, receiver.url)
        async with process(state, *arguments) as running:
            assert (await post(http, running.url, token, [record(agent, 0, "full")]))[0] == 200
        for _ in range(4):
            async with process(state, *arguments) as running:
                said.append("broken" if said[-1] == "full" else "full")
                sent = record(agent, len(said) - 1, said[-1])
                assert (await post(http, running.url, token, [sent]))[0] == 200
                await asyncio.sleep(chance.uniform(0.0, 1.5))
                running.child.send_signal(signal.SIGKILL)
                await running.child.wait()
        async with process(state, *arguments):
            await until(lambda: changes(receiver) and changes(receiver)[-1][1] == said[-1])
            await until(lambda: len({r.time_unix_nano for r in logs(receiver)}) == len(said) - 1)
    by_id: dict[str, set[bytes]] = {}
    for path, headers, body in receiver.taken:
        if path == "/hook":
            by_id.setdefault(headers["webhook-id"], set()).add(body)
    assert all(len(bodies) == 1 for bodies in by_id.values())


async def test_the_end_waits_for_no_receiver(tmp_path: Path) -> None:
    state = tmp_path / "state"
    agent, token = enrol(state)
    async with receiving() as receiver, aiohttp.ClientSession() as http:
        receiver.gate.clear()
        async with process(state, *flags(tmp_path, receiver.url)) as running:
            assert (await post(http, running.url, token, [record(agent, 0, "full")]))[0] == 200
            assert (await post(http, running.url, token, [record(agent, 1, "broken")]))[0] == 200
            await until(lambda: {path for path, _, _ in receiver.requests} == {"/hook", "/v1/metrics", "/v1/logs"})
            running.child.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(running.child.wait(), 5) == 0
            assert running.child.stderr is not None
            assert KEY.encode() not in (said := await running.child.stderr.read()) and b"s3cret" not in said
        receiver.gate.set()
