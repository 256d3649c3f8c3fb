"""The plain TCP probe against loopback servers."""

from __future__ import annotations

import time

import pytest

from roomprobe.evidence import TcpEvidence
from roomprobe.facts import Facts
from roomprobe.model import Verdict
from roomprobe.outcome import Outcome, Reason
from roomprobe.probes import tcp
from tests.probes import peers
from tests.probes.peers import check, net, serve


async def seen(handler: peers.Handler, address: str = "127.0.0.1") -> tuple[TcpEvidence, Verdict]:
    with serve(handler, address) as port:
        asked = check("tcp", port, address=address)
        evidence = await tcp.run(asked, net())
        return evidence, tcp.judge(asked, evidence, Facts())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_banner_is_reached_and_escaped(address: str) -> None:
    evidence, verdict = await seen(peers.greets(b"220 \x1b[2Jmail " + b"x" * 500), address)
    assert (verdict.outcome, verdict.reason, verdict.where) == (Outcome.REACHED, Reason.ANSWERED, None)
    assert evidence.banner is not None and len(evidence.banner) == 128
    assert "\x1b" not in verdict.sentence and evidence.connect.source == address


async def test_silence_after_the_handshake_proves_nothing() -> None:
    started = time.monotonic()
    evidence, verdict = await seen(peers.silent)
    assert (verdict.outcome, verdict.reason) == (Outcome.UNANSWERED, Reason.HANDSHAKE_ONLY)
    assert evidence.banner is None and 0.25 < time.monotonic() - started < 1.0


async def test_an_immediate_reset_is_not_a_refused_connect() -> None:
    def at_once(connection: peers.socket.socket, _over: object) -> None:
        connection.setsockopt(peers.socket.SOL_SOCKET, peers.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    evidence, verdict = await seen(at_once)
    assert evidence.connect.result == "connected" and evidence.closed == "reset"
    assert verdict.reason is Reason.HANDSHAKE_ONLY


async def test_refused() -> None:
    with serve(peers.closes) as port:
        pass
    asked = check("tcp", port)
    evidence = await tcp.run(asked, net())
    assert evidence.connect.result == "refused" and evidence.connect.errors == ()
    assert tcp.judge(asked, evidence, Facts()).outcome is Outcome.REFUSED


async def test_through_the_proxy_the_first_bytes_are_the_far_ends() -> None:
    handler, _ = peers.connect_proxy(b"HTTP/1.1 200 OK\r\n\r\n220 mail")
    with serve(handler) as port:
        asked = check("tcp", 25, address=None, via="proxy")
        evidence = await tcp.run(asked, net(proxy=f"http://127.0.0.1:{port}"))
    assert bytes.fromhex(evidence.banner or "") == b"220 mail"
    assert "through the proxy" in tcp.judge(asked, evidence, Facts()).sentence
