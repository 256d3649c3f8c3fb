"""What refusals mean, a connect that did not come about or a packet that was sent back: shared by all judges. Pure.

First verdicts only: by whom a refusal was made is told later from the path (verdict.refine).
"""

from __future__ import annotations

from roomprobe.evidence import Connect, Failure, Icmp, ProxyAnswer
from roomprobe.facts import Facts
from roomprobe.icmp import REASONS, WORDS, decisive, is_v6, meaning, same_address
from roomprobe.model import Check, Hop, Place, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.site import outside, where_sender
from roomprobe.text import escape

_NOT_ALLOWED = frozenset({"EPERM", "EACCES"})
_NO_ROUTE = frozenset({"ENETUNREACH", "EHOSTUNREACH"})


def title(check: Check, proxy: ProxyAnswer | None) -> str:
    """How sentences name a TCP check."""
    return f"TCP {check.port}" + (f" through the proxy {escape(proxy.proxy, 80)}" if proxy else "")


def rtt(made: Connect, proxy: ProxyAnswer | None) -> float | None:
    """The TCP connect time in ms: to the proxy where there is one."""
    seconds = (proxy.connect if proxy else made).seconds
    return None if seconds is None else round(seconds * 1000, 3)


def untold(outcome: Outcome, reason: Reason, sentence: str, where: Where = Where.UNKNOWN) -> Verdict:
    """A verdict that proves nothing."""
    return Verdict(outcome=outcome, confidence=Confidence.NONE, reason=reason, where=where, sentence=sentence)


def of_connect(what: str, connect: Connect, address: str, facts: Facts) -> Verdict | None:
    """The first verdict on a connect towards `address`; None when it did connect."""
    match connect.result:
        case "connected" | "proxy":
            return None
        case "refused":
            return untold(
                Outcome.REFUSED, Reason.RESET, f"{what} is refused in the far end's name; by whom cannot be told."
            )
        case "icmp":
            return of_icmp(what, connect.errors, address, facts, connect.source)
        case "failure":
            return of_failure(what, connect.failure, address)
    return silence(what)


def nobody_there(what: str, codec: str, router: Place) -> Verdict:
    """A router says that neighbour discovery for the codec got no answer on its own network."""
    return Verdict(
        outcome=Outcome.UNANSWERED,
        confidence=Confidence.NONE,
        reason=Reason.NEIGHBOUR_SILENT,
        where=Where.FAR_END,
        hop=Hop(sender=router),
        sentence=f"Cannot tell: {what} does not arrive: the router {router.address} says that nobody answers at {codec} on its network. "
        "The codec is off or elsewhere, or that router's rules answer so.",
    )


def silence(what: str) -> Verdict:
    """Nothing came at all."""
    return untold(
        Outcome.UNANSWERED, Reason.SILENCE, f"Cannot tell: {what} gets no answer, and nothing shows where it ends."
    )


def of_icmp(what: str, errors: tuple[Icmp, ...], address: str, facts: Facts, source: str | None = None) -> Verdict:
    """The first verdict on ICMP errors: the first one that ends a check decides. `source` is the local address used."""
    v6 = is_v6(address)
    mine = next((e for e in errors if _own(e, address, (*facts.addresses, source))), None)
    if mine is not None:
        if not mine.local and meaning(mine.type, mine.code, v6) == "unreachable":
            return untold(
                Outcome.UNANSWERED,
                Reason.GATEWAY_SILENT,
                f"{what} does not leave: the next device on the way does not answer this box.",
            )
        return untold(
            Outcome.FAULT,
            Reason.LOCAL_FIREWALL,
            f"{what} was refused by this box itself: its own rules reject it.",
            Where.THIS_BOX,
        )
    error = next((e for e in errors if decisive(e, v6)), None)
    if error is None:
        if any(meaning(e.type, e.code, v6) == "time-exceeded" for e in errors):
            return untold(
                Outcome.UNANSWERED,
                Reason.UNREACHABLE,
                f"{what} never arrives: a router says that its packets travel too far (in a circle, usually).",
            )
        return silence(what)
    kind = meaning(error.type, error.code, v6)
    if kind == "port-unreachable" and same_address(error.offender, address):
        return untold(
            Outcome.REFUSED,
            Reason.PORT_UNREACHABLE,
            f"{what} is refused in the far end's name; by whom cannot be told.",
        )
    return Verdict(
        outcome=Outcome.REJECTED,
        confidence=Confidence.PROVEN,
        reason=REASONS[kind],
        where=where_sender(error.offender, address, facts),
        hop=Hop(sender=Place(address=error.offender)),
        sentence=f"{what} is refused on the way: {error.offender} {WORDS[kind]}.",
    )


def of_failure(what: str, failure: Failure | None, address: str) -> Verdict:
    """The first verdict on a socket call that this box itself refused."""
    name, operation = (failure.errno, failure.operation) if failure else ("unknown", "socket")
    if name in _NOT_ALLOWED:
        # A local rule that drops a datagram shows as EPERM at its sending; a SYN it drops does not show at all.
        firewall = operation == "send"
        return untold(
            Outcome.FAULT,
            Reason.LOCAL_FIREWALL if firewall else Reason.PERMISSION,
            f"{what} was not sent: {'a rule of this box itself drops it' if firewall else 'this box does not allow it'} "
            f"({name} at {operation}).",
            Where.THIS_BOX,
        )
    if name in _NO_ROUTE:
        return untold(
            Outcome.UNANSWERED,
            Reason.UNREACHABLE,
            f"{what} was not sent: this box has no route to {address}.",
            Where.THIS_BOX,
        )
    return untold(
        Outcome.FAULT, Reason.RESOURCE, f"{what} was not sent: this box failed ({name} at {operation}).", Where.THIS_BOX
    )


def of_proxy(what: str, answer: ProxyAnswer, facts: Facts) -> Verdict | None:
    """The first verdict on a proxy that gave no tunnel; None when it gave one. `what` ends in "through the proxy X"."""
    connect, status, detail = answer.connect, answer.status, answer.detail
    where = _proxy_where(answer.proxy, facts)
    if status is not None and 200 <= status < 300:
        return None
    said = f"{status} {escape(detail or '', 80)}".strip()
    if status == 407:
        return _by_proxy(
            Outcome.REJECTED,
            Reason.PROXY_AUTHENTICATION,
            where,
            f"{what} is refused: the proxy wants somebody to sign in first ({said}).",
        )
    if status is not None and 400 <= status < 500:
        return _by_proxy(
            Outcome.REJECTED, Reason.PROXY_REFUSES, where, f"{what} is refused: the proxy does not allow it ({said})."
        )
    if status is not None:
        return untold(
            Outcome.UNANSWERED,
            Reason.PROXY_FAILS,
            f"Cannot tell: {what} fails: the proxy itself could not do it ({said}).",
            where,
        )
    if connect.result == "connected":
        quiet = detail == "no answer in time"
        reason = Reason.PROXY_SILENT if quiet else Reason.PROXY_FAILS
        return untold(
            Outcome.UNANSWERED, reason, f"Cannot tell: {what} fails: {escape(detail or 'no answer', 80)}.", where
        )
    return _unreachable_proxy(what, connect, where)


def _unreachable_proxy(what: str, connect: Connect, where: Where) -> Verdict:
    if connect.result == "refused":
        return Verdict(
            outcome=Outcome.CLOSED,
            confidence=Confidence.INFERRED,
            reason=Reason.PROXY_FAILS,
            where=where,
            sentence=f"{what} does not work: nothing listens at the proxy's address and port.",
        )
    if connect.result == "timeout":
        return untold(
            Outcome.UNANSWERED, Reason.PROXY_SILENT, f"Cannot tell: {what} gets no answer from the proxy.", where
        )
    if connect.result == "icmp":
        offenders = ", ".join(dict.fromkeys(e.offender for e in connect.errors if e.offender)) or "this box"
        return untold(
            Outcome.UNANSWERED,
            Reason.PROXY_FAILS,
            f"Cannot tell: {what} fails: the proxy cannot be reached, says {offenders}.",
            where,
        )
    if connect.failure is not None and connect.failure.operation == "resolve":
        return untold(
            Outcome.UNANSWERED,
            Reason.PROXY_FAILS,
            f"Cannot tell: {what} fails: the proxy's own name cannot be looked up.",
            where,
        )
    return of_failure(what, connect.failure, "the proxy")


def _by_proxy(outcome: Outcome, reason: Reason, where: Where, sentence: str) -> Verdict:
    return Verdict(outcome=outcome, confidence=Confidence.PROVEN, reason=reason, where=where, sentence=sentence)


def _proxy_where(proxy: str, facts: Facts) -> Where:
    """A proxy is on the LAN or beyond; its address is known only where the configuration names it by address."""
    host = proxy.rpartition("//")[2].rpartition(":")[0].strip("[]")
    try:
        place = outside(host, facts)
    except ValueError:
        return Where.UNKNOWN
    return Where.UNKNOWN if place is None else Where.BEYOND if place else Where.LAN


def _own(error: Icmp, address: str, own: tuple[str | None, ...]) -> bool:
    """An error made by this box; not when the target is this box too."""
    if error.local:
        return True
    if same_address(error.offender, address):
        return False
    return any(same_address(error.offender, one) for one in own)
