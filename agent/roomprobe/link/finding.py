"""The controller link as one finding: what the sentence about one port leaves out about the other four. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from roomprobe.link.evidence import ControllerEvidence
from roomprobe.meets import Meets
from roomprobe.model import Requirement, Result
from roomprobe.outcome import Reason
from roomprobe.unit import Unit


def is_link(results: Sequence[Result]) -> bool:
    """Whether these are all ports of the controller link."""
    return bool(results) and all(r.check.kind == "controller" for r in results)


def others(found: Unit, counted: Sequence[Unit]) -> str:
    """What goes for the other ports, after a sentence about the port of `found`; empty for no more than one."""
    one = found.witness
    rest = [u for u in counted if u is not found and u.witness is not None]
    if one is None or not rest or one.evidence is None:
        return ""
    same = [u for u in rest if _alike(u.witness, one)]
    works = [u for u in rest if u.state is Meets.MET]
    differs = [u for u in rest if u not in same and u not in works]
    parts = []
    if same:
        parts.append(f"The same goes for {_ports(same)}.")
    if works:
        parts.append(f"{_ports(works)} {'works' if len(works) == 1 else 'work'}.")
    if differs:
        parts.append(f"{_ports(differs)} came to another end, see below.")
    return " ".join(parts)


def telling(units: Sequence[Unit]) -> Unit | None:
    """Of the ports in one state the one whose sentence says most: that the device is something else comes first."""
    strangers = [u for u in units if u.witness is not None and u.witness.verdict.reason is Reason.NOT_A_CODEC]
    return next(iter((*strangers, *units)), None)


def moved(counted: Sequence[Unit], rows: Sequence[Requirement]) -> int:
    """By how much the ports were moved (--port-offset)."""
    base = {row.id: row.port or 0 for row in rows}
    return next(((u.witness.check.port or 0) - base.get(u.witness.check.row, 0) for u in counted if u.witness), 0)


def works(counted: Sequence[Unit], rows: Sequence[Requirement]) -> str:
    """What a link that works showed: with whom, and what could not be shown. `rows` are all that the profile has."""
    evidence = [u.witness.evidence for u in counted if u.witness is not None]
    seen = [e for e in evidence if isinstance(e, ControllerEvidence)]
    parts = []
    if seen and all(e.emulator is not None for e in seen):
        whole = "All ports were" if len(seen) == len(rows) else "It was"
        parts.append(f"{whole} tried with the roomprobe that plays the codec; a real codec was not there.")
    if len(seen) < len(rows):
        parts.insert(0, f"Only {_ports(counted)} {'was' if len(seen) == 1 else 'were'} tried.")
    if offset := moved(counted, rows):
        parts.append(
            f"The ports were moved by {offset} (--port-offset); a filter for the real ones would not have shown."
        )
    silent = [u for u in counted if u.witness is not None and u.witness.verdict.reason is Reason.HANDSHAKE_ONLY]
    if silent:
        take = "takes" if len(silent) == 1 else "take"
        parts.append(f"{_ports(silent)} {take} connections; what is spoken there is not published.")
    held = [e.hold for e in seen if e.hold is not None and e.hold.end == "alive"]
    if held and len(held) == len(seen):
        quiet = "" if any(h.noisy for h in held) else " without traffic"
        parts.append(f"All lasted {held[0].asked_s:g} s{quiet}.")
    if any(e.timing is not None and e.timing.repeats for e in seen):
        parts.append("Packets were lost on the way and had to be repeated.")
    return " ".join(parts)


def _alike(one: Result | None, other: Result) -> bool:
    if one is None:
        return False
    return (one.verdict.outcome, one.verdict.reason) == (other.verdict.outcome, other.verdict.reason)


def _ports(units: Sequence[Unit]) -> str:
    ports = [str(u.witness.check.port) for u in units if u.witness is not None]
    return "TCP " + (f"{', '.join(ports[:-1])} and {ports[-1]}" if len(ports) > 1 else ports[0])
