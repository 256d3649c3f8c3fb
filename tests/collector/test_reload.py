"""SIGHUP at a real collector: its certificate is read anew, a bad one is refused, and without anything to read it goes on."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import signal
import ssl
from pathlib import Path

import aiohttp

from roomprobe.collector import tls
from tests.collector.test_process import Process, process, run


def put(place: Path) -> str:
    """Another certificate and key; the pin."""
    made, key = tls.make(["localhost", "127.0.0.1"], datetime.datetime.now(datetime.UTC))
    (place / "cert.pem").write_bytes(made)
    (place / "key.pem").write_bytes(key)
    return tls.pin(place / "cert.pem")


async def shown(running: Process, name: str | None = None) -> str:
    """The pin of the certificate that a new connection is shown; with or without a server's name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = int(running.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "")
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return hashlib.sha256(found).hexdigest()


async def reloaded(running: Process, stream: asyncio.StreamReader | None, word: str) -> None:
    """SIGHUP, until the collector says this."""
    assert stream is not None
    running.child.send_signal(signal.SIGHUP)
    async with asyncio.timeout(20):
        while word.encode() not in await stream.readline():
            assert not stream.at_eof()


async def test_a_renewed_certificate_is_served_and_a_bad_one_is_not(tmp_path: Path) -> None:
    first = put(tmp_path)
    state, files = tmp_path / "state", ("--cert", str(tmp_path / "cert.pem"), "--key", str(tmp_path / "key.pem"))
    async with process(state, *files) as running:
        assert await shown(running) == await shown(running, "localhost") == first
        old = aiohttp.TCPConnector(ssl=aiohttp.Fingerprint(bytes.fromhex(first)))
        async with aiohttp.ClientSession(connector=old) as http:
            await (await http.get(f"{running.url}/healthz")).read()
            second = put(tmp_path)
            await reloaded(running, running.child.stdout, "enrolled again")
            assert await shown(running) == await shown(running, "localhost") == second != first
            link = run("enrol", "--state", str(state), "--room", "Lobby").stdout.splitlines()[-1]
            assert link.endswith(f".{second}")
            await (await http.get(f"{running.url}/healthz")).read()  # a connection that is open goes on
        kept = (tmp_path / "key.pem").read_bytes()
        put(tmp_path)
        (tmp_path / "key.pem").write_bytes(kept)  # the key of the one before
        await reloaded(running, running.child.stderr, "must be a PEM certificate and its key")
        assert await shown(running) == await shown(running, "localhost") == second
        (tmp_path / "cert.pem").unlink()
        await reloaded(running, running.child.stderr, "stays as it was")
        assert await shown(running) == second
        third = put(tmp_path)
        await reloaded(running, running.child.stdout, "enrolled again")
        assert await shown(running) == third


async def test_without_anything_to_read_anew_it_goes_on(tmp_path: Path) -> None:
    async with process(tmp_path) as running, aiohttp.ClientSession() as http:
        for _ in range(3):
            running.child.send_signal(signal.SIGHUP)
            async with http.get(f"{running.url}/healthz") as answer:
                assert answer.status == 200
        running.child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.child.wait(), 20) == 0
