"""One TCP port asked directly or through the web proxy: connect, listen for a moment, close. Nothing is sent.

Rules: docs/probes/tcp.md.
"""

from __future__ import annotations

import time

from roomprobe.evidence import TcpEvidence
from roomprobe.facts import Facts
from roomprobe.model import Check, Verdict
from roomprobe.net import Net
from roomprobe.net.connect_proxy import reach
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.refusals import of_connect, of_proxy, rtt, title, untold
from roomprobe.text import escape

WHOLE_S = 5.0
LISTEN_S = 0.3
MOST_BANNER = 64


async def run(check: Check, net: Net) -> TcpEvidence:
    """Connects and listens for LISTEN_S or until bytes come."""
    started = time.monotonic()
    made, proxy, stream = await reach(check, net, started + WHOLE_S)
    banner = None
    if stream is not None:
        try:
            banner = await stream.read(MOST_BANNER, time.monotonic() + LISTEN_S)
        finally:
            stream.close()
    return TcpEvidence(
        connect=made,
        proxy=proxy,
        banner=banner.hex() if banner else None,
        closed=stream.ended if stream else None,
        duration_s=round(time.monotonic() - started, 4),
    )


def judge(check: Check, evidence: TcpEvidence, facts: Facts) -> Verdict:
    """The verdict on the connection's own evidence: a plain connect never proves who answered."""
    what = title(check, evidence.proxy)
    proxy = evidence.proxy
    first = of_proxy(what, proxy, facts) if proxy else of_connect(what, evidence.connect, check.address or "", facts)
    if first is not None:
        return first
    if evidence.banner:
        text = escape(bytes.fromhex(evidence.banner).decode("latin-1").strip(), 60)
        return Verdict(
            outcome=Outcome.REACHED,
            confidence=Confidence.INFERRED,
            reason=Reason.ANSWERED,
            rtt_ms=rtt(evidence.connect, proxy),
            sentence=f'{what} connects and is greeted with "{text}"; who that is was not verified.',
        )
    how = f"the connection was {evidence.closed} at once" if evidence.closed else "nothing was said"
    return untold(
        Outcome.UNANSWERED,
        Reason.HANDSHAKE_ONLY,
        f"Cannot tell: {what} connects, but {how}, so nothing shows who accepted it.",
        Where.UNKNOWN,
    )
