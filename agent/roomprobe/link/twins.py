"""Two devices that both have the codec's address: then nothing says which of them did what. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from roomprobe.link import words
from roomprobe.link.evidence import ControllerEvidence
from roomprobe.model import Result
from roomprobe.outcome import Reason, Where
from roomprobe.rejection import replaced
from roomprobe.text import escape


def doubted(results: Sequence[Result]) -> tuple[Result, ...]:
    """The results, those of a codec whose address was claimed more than once with a verdict that says so."""
    claims: dict[str | None, dict[str, None]] = {}
    for result in results:
        if isinstance(result.evidence, ControllerEvidence):
            claims.setdefault(result.check.address, {}).update(dict.fromkeys(result.evidence.macs))
    return tuple(_doubted(result, tuple(claims.get(result.check.address, ()))) for result in results)


def _doubted(result: Result, macs: Sequence[str]) -> Result:
    if len(macs) < 2 or not isinstance(result.evidence, ControllerEvidence):
        return result
    sentence = (
        f"Cannot tell: more than one device on this network has the address {escape(result.check.address or '', 60)} "
        f"({' and '.join(macs)}), so which of them TCP {result.check.port} went to is chance. Give each an address of its own."
    )
    verdict = words.cannot_tell(replaced(result.verdict, hop=None), Reason.ADDRESS_TWICE, Where.LAN, sentence)
    return Result(check=result.check, evidence=result.evidence, verdict=verdict)
