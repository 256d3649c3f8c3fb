"""The rows under the answer: what was asked, of whom, what came of it and how that is known.

Addresses, resolvers and transports of one row that came to the same are folded into one line; the others stand apart.
"""

from __future__ import annotations

import itertools
import textwrap

from roomprobe.model import Check, Frozen, Hop, Place, Result
from roomprobe.outcome import Outcome, Reason
from roomprobe.report.page import Page, cut
from roomprobe.report.run import Report
from roomprobe.text import escape

STYLE = {
    Outcome.OPEN: "green",
    Outcome.REACHED: "green",
    Outcome.PASSES: "green",
    Outcome.CLOSED: "red",
    Outcome.REJECTED: "red",
    Outcome.FILTERED: "red",
    Outcome.INTERCEPTED: "red",
    Outcome.NO_TARGET: "red",
    Outcome.REFUSED: "yellow",
    Outcome.UNANSWERED: "yellow",
    Outcome.FAULT: "yellow",
}

PROOF = {
    Reason.ANSWERED: "answered",
    Reason.VERIFIED: "TLS, verified",
    Reason.WANTS_CLIENT_CERTIFICATE: "wants its own client certificate",
    Reason.HANDSHAKE_ONLY: "connects, protocol not shown",
    Reason.LEAVES_SITE: "leaves the site; the far end is silent",
    Reason.CERTIFICATE_EXPIRED: "certificate expired",
    Reason.PORT_CLOSED: "nothing listens there; the path is open",
    Reason.PORT_UNREACHABLE: "port unreachable",
    Reason.RESET: "reset",
    Reason.ADMIN_PROHIBITED: "prohibited, says a firewall",
    Reason.UNREACHABLE: "unreachable",
    Reason.PATH_ENDS: "the path ends early",
    Reason.SIBLING_ANSWERS: "silent, while a sibling port answers",
    Reason.NATIVE_ONLY: "only the usual service of this port answered",
    Reason.SILENCE: "silence; nothing shows a block",
    Reason.LOSS: "too much loss to tell",
    Reason.UNPROVEN: "cannot be proven here",
    Reason.ISSUER_UNEXPECTED: "certificate from an unexpected issuer",
    Reason.NAME_MISMATCH: "certificate for another name",
    Reason.HANDSHAKE_SHORT: "answered short of the target",
    Reason.NOT_TLS: "answers, but not in TLS",
    Reason.WILDCARD_DNS: "this resolver invents names",
    Reason.NXDOMAIN: "the name does not exist, says the resolver",
    Reason.NO_ADDRESS: "the name has no address",
    Reason.RESOLVER_FILTERS: "this resolver hides the name",
    Reason.RESOLVER_REFUSES: "the resolver refuses",
    Reason.RESOLVER_FAILS: "the resolver fails",
    Reason.RESOLVER_SILENT: "the resolver is silent",
    Reason.RESOLVERS_DIFFER: "the resolvers differ",
    Reason.PROXY_AUTHENTICATION: "the proxy wants a login",
    Reason.PROXY_REFUSES: "the proxy refuses",
    Reason.PROXY_FAILS: "the proxy cannot get there",
    Reason.PROXY_SILENT: "the proxy is silent",
    Reason.NO_CARRIER: "not sent, no link",
    Reason.NO_LOCAL_ADDRESS: "not sent, no address",
    Reason.NO_GATEWAY: "not sent, no gateway",
    Reason.GATEWAY_SILENT: "the gateway is silent",
    Reason.PERMISSION: "this box may not send that",
    Reason.LOCAL_FIREWALL: "a firewall on this box refuses it",
    Reason.RESOURCE: "this box ran out of something",
    Reason.CLOCK: "the clock of this box is wrong",
    Reason.TLS_ALERT: "turned away in TLS",
    Reason.ADDRESS_UNUSABLE: "the address is none that a far end can have",
    Reason.INTERFACE_DOWN: "not sent, the interface is off",
    Reason.NO_CODEC: "no codec was found",
    Reason.SEVERAL_CODECS: "more than one device may be the codec",
    Reason.NOT_A_CODEC: "answers, but not as a 5141 does",
    Reason.CODEC_BUSY: "ended by the codec; it may serve one controller only",
    Reason.CODEC_RESTARTED: "the codec restarted in the meantime",
    Reason.CERTIFICATE_CHANGED: "TLS, with another certificate than before",
    Reason.NO_LINK_LOCAL: "this box has no IPv6 link-local address",
    Reason.NEIGHBOUR_SILENT: "no answer to neighbour discovery",
    Reason.STRAY_ROUTER: "a stray router advertisement leads it astray",
    Reason.MTU_BLACK_HOLE: "large packets vanish",
    Reason.NEIGHBOUR_ANSWERS: "silent, while the device itself is there",
    Reason.ADDRESS_TWICE: "more than one device has this address",
    Reason.IDLE_TIMEOUT: "an idle connection does not last",
}

HEADINGS = ("row", "purpose", "target", "result")
WIDE = 76


class Line(Frozen, frozen=True):
    """One line of the table, every cell escaped."""

    row: str
    purpose: str
    target: str
    outcome: Outcome
    rtt: str
    proof: str


def draw(page: Page, report: Report) -> None:
    """The table on `page`. From 76 columns on, the target stands beside the purpose; below, on a line of its own."""
    groups = fold(report.results)
    lines = [cells(group, groups) for group in groups]
    if not lines:
        return
    whole = all(group[0].check.kind != "controller" for group in groups)  # a cut address cannot be copied
    wide = page.width >= (WIDE if whole else max(WIDE, 60 + max(len(line.target) for line in lines)))
    rows = _widest("row", [line.row for line in lines])
    outcomes = _widest("result", [line.outcome.value for line in lines])
    free = page.width - 2 - rows - outcomes - len("99-999 ms")
    targets = min(_widest("target", [line.target for line in lines]), free * 3 // 5) if wide else 0
    purposes = min(_widest("purpose", [line.purpose for line in lines]), free - targets)
    headings = zip(HEADINGS, (rows, purposes, targets, outcomes), strict=True)
    page.blank()
    page.add(("  " + "".join(heading.ljust(width) for heading, width in headings if width), "dim"))
    before = ""
    for line in lines:
        purpose = textwrap.wrap(line.purpose, purposes - 2) or [""]
        left = f"  {line.row.ljust(rows)}{purpose[0].ljust(purposes)}"
        left += cut(line.target, targets - 2).ljust(targets) if wide else ""
        proof = "as above" if line.proof == before else line.proof
        facts = "  ".join(fact for fact in (line.rtt, proof) if fact)
        fits = (wide or proof == "as above") and len(left) + outcomes + len(facts) <= page.width
        page.add(
            (left, ""), (line.outcome.value.ljust(outcomes), STYLE[line.outcome]), (facts if fits else line.rtt, "")
        )
        rest = [] if fits else [proof]
        if wide:
            _beside(page, 2 + rows, purposes, purpose[1:], rest)
        else:
            _beside(page, 2 + rows, 0, [], [*purpose[1:], line.target, *rest])
        before = line.proof


def _beside(page: Page, indent: int, purposes: int, purpose: list[str], texts: list[str]) -> None:
    """The rest of a line: what is left of the purpose in its column, and beside it each text, wrapped."""
    room = page.width - indent - purposes
    wrapped = [piece for text in texts for piece in textwrap.wrap(text, room, break_on_hyphens=False)]
    for left, right in itertools.zip_longest(purpose, wrapped, fillvalue=""):
        page.add((" " * indent + left.ljust(purposes) + right, ""))


def _widest(heading: str, cells: list[str]) -> int:
    return max(len(cell) for cell in (heading, *cells)) + 2


def cells(group: tuple[Result, ...], groups: list[tuple[Result, ...]]) -> Line:
    """The line of one group of `fold`; `groups` are all of them."""
    check = group[0].check
    alone = sum(_line(other[0].check) == _line(check) for other in groups) == 1
    return Line(
        row=escape(check.row, 8),
        purpose=escape(check.purpose, 60),
        target=_target(group),
        outcome=group[0].verdict.outcome,
        rtt=_rtt(group),
        proof=_proof(group, alone),
    )


def fold(results: tuple[Result, ...]) -> list[tuple[Result, ...]]:
    """Results that read the same, together; skipped ones are left out, because they are listed under the table.

    A row is folded only as a whole: when its addresses came to different ends, each line names its own.
    """
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        if result.verdict.outcome is not Outcome.SKIPPED:
            groups.setdefault((*_line(result.check), _finding(result)), []).append(result)
    return [tuple(group) for group in groups.values()]


def _line(check: Check) -> tuple[object, ...]:
    if check.kind == "dns":
        return check.profile, check.row, check.host, check.via
    return check.profile, check.row, check.host, check.via, check.transport, check.port


def _finding(result: Result) -> tuple[object, ...]:
    verdict = result.verdict
    return verdict.outcome, verdict.reason, verdict.where, verdict.hop, result.evidence is None


def _target(group: tuple[Result, ...]) -> str:
    check = group[0].check
    host = escape(check.host or check.address or "", 100)
    if check.kind == "controller":
        return f"[{host}]:{check.port}" if host else f"codec:{check.port}"
    if check.kind == "dns":
        return host
    if check.transport == "udp":
        return f"{host} udp {check.port}"
    return f"{host}:{check.port}" if check.port is not None else host


def _rtt(group: tuple[Result, ...]) -> str:
    times = [result.verdict.rtt_ms for result in group if result.verdict.rtt_ms is not None]
    if not times:
        return ""
    low, high = (f"{time:.0f}" if time >= 1 else "<1" for time in (min(times), max(times)))
    return f"{low} ms" if low == high else f"{low}-{high} ms"


def _proof(group: tuple[Result, ...], alone: bool) -> str:
    verdict = group[0].verdict
    proof = _place(verdict.hop) if verdict.reason is Reason.PATH_ENDS else ""
    proof = proof or PROOF.get(verdict.reason, verdict.reason.value)
    if verdict.hop is not None and verdict.hop.sender is not None:
        proof += f", by {place(verdict.hop.sender)}"
    return ", ".join(part for part in (proof, _which(group, alone)) if part)


def _place(hop: Hop | None) -> str:
    """The interval of a silence: between the last that answered and the next one on the control."""
    if hop is None or hop.last_answering is None:
        return "nothing answers on the way" if hop is not None and hop.next_on_control else ""
    last = place(hop.last_answering)
    return f"between {last} and {place(hop.next_on_control)}" if hop.next_on_control else f"silent behind {last}"


def place(where: Place) -> str:
    """A device on the path in words: "hop 2 (100.64.0.1)"."""
    address = escape(where.address, 60) if where.address else ""
    if where.distance is None:
        return address or "an unknown hop"
    if where.distance == 0:
        return "this box"
    return f"hop {where.distance} ({address})" if address else f"hop {where.distance}"


def _which(group: tuple[Result, ...], alone: bool) -> str:
    """Which of a row's addresses, resolvers and ways the line stands for; `alone`: the line is the whole row."""
    checks = [result.check for result in group]
    addresses = list(dict.fromkeys(escape(c.address, 60) for c in checks if c.address is not None))
    if checks[0].kind == "dns":
        over = " and ".join(dict.fromkeys(c.transport.upper() for c in checks if c.transport))
        asked = addresses[0] if len(addresses) == 1 else f"{len(addresses)} resolvers"
        return f"{asked} over {over}" if over else asked
    parts = ["through the proxy"] if checks[0].via == "proxy" else []
    if alone and len(addresses) > 1:
        parts.append(f"{len(addresses)} addresses")
    elif not alone:
        parts += addresses[:4] + (["…"] if len(addresses) > 4 else [])
    return ", ".join(parts)
