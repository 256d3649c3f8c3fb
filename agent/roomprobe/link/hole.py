"""How a black hole for large packets is told: which way, and from which size on. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from roomprobe.link import words
from roomprobe.link.evidence import Blocks
from roomprobe.model import Result, Verdict
from roomprobe.outcome import Confidence, Outcome, Reason, Where
from roomprobe.rejection import replaced


def stuck(what: str, blocks: Blocks) -> Verdict:
    """The first verdict on a port whose large blocks did not get through."""
    return Verdict(
        outcome=Outcome.FILTERED,
        confidence=Confidence.PROVEN if blocks.sure else Confidence.INFERRED,
        reason=Reason.MTU_BLACK_HOLE,
        where=Where.LAN,
        sentence=_sentence(what, blocks),
    )


def settled(result: Result, others: Sequence[Result]) -> Verdict:
    """Only one port looks for the size that still passes; what it found goes for all. Without it a stuck block may be chance."""
    found = [b for r in (result, *others) if (b := getattr(r.evidence, "blocks", None)) is not None]
    what = f"TCP {result.check.port}"
    if not any(b.sure for b in found):
        lost = (
            f"Cannot tell: {what} connects, but a large block was stuck, and when it was looked for again no packet size was stuck "
            "each time: packets are lost on this link, or the codec side no longer answers."
        )
        return words.cannot_tell(result.verdict, Reason.LOSS, Where.UNKNOWN, lost)
    up = next((b.largest_up for b in found if b.largest_up is not None), None)
    down = next((b.largest_down for b in found if b.largest_down is not None), None)
    blocks = msgspec.structs.replace(result.evidence.blocks, largest_up=up, largest_down=down)
    return replaced(result.verdict, confidence=Confidence.PROVEN, sentence=_sentence(what, blocks))


def _sentence(what: str, blocks: Blocks) -> str:
    """How a port is described that carries small packets only, with the sizes where they are known."""
    ways = [
        (name, largest)
        for name, passed, largest in (
            ("to the codec", blocks.up, blocks.largest_up),
            ("from the codec", blocks.down, blocks.largest_down),
        )
        if passed is False
    ]
    sizes = {largest for _, largest in ways}
    known = sizes.pop() if len(sizes) == 1 else None
    if known is not None:
        lost = f"IPv6 packets of more than {known} bytes {' and '.join(name for name, _ in ways)}"
    else:
        lost = " and ".join(
            f"{f'those of more than {largest} bytes' if largest else 'large ones'} {name}" for name, largest in ways
        )
    return (
        f"{what} connects and carries small packets, but {lost} vanish without a message: something on the way has a smaller MTU "
        "than this box's network and does not say so."
    )
