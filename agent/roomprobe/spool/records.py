"""Which record a report document becomes: full or same, filled in, and never longer than the wire allows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roomprobe import changes
from roomprobe.model import Frozen
from roomprobe.wire import upload

FULL_EVERY_S = 3600.0


class Position(Frozen, frozen=True, kw_only=True):
    """Where a record stands in the order of what this agent produced. `revision` counts how often a loss record has grown."""

    epoch: str
    seq: int
    revision: int = 0


class Last(Frozen, frozen=True, kw_only=True):
    """The last full record that is delivered or in the spool: its hash, and when (monotonic seconds)."""

    hash: str
    at: float


def full_wanted(last: Last | None, digest: str, now: float) -> bool:
    """Whether a run with this outcome hash is to be sent whole. `last` None: after a start, or when one was asked for."""
    return last is None or last.hash != digest or not 0 <= now - last.at < FULL_EVERY_S


def record(
    document: Mapping[str, Any], digest: str, agent: str, epoch: str, seq: int, *, full: bool
) -> upload.Full | upload.Same:
    """The record of a document: whole, or its run part and round-trip times alone."""
    run = {**document["run"], "epoch": epoch, "seq": seq}
    if full:
        whole = {**document, "agent": {**document["agent"], "id": agent}, "run": run}
        return upload.Full(agent=agent, epoch=epoch, seq=seq, hash=digest, document=whole)
    numbers = {c["id"]: c["rtt_ms"] for c in document["checks"] if c["rtt_ms"] is not None}
    return upload.Same(agent=agent, epoch=epoch, seq=seq, hash=digest, run=run, numbers=numbers)


def line(made: upload.Full | upload.Same) -> bytes:
    """The record as a line. What is too long goes without its paths and links, then without evidence; else upload.TooLarge."""
    for slimmer in (_whole, _without_paths, _without_evidence):
        try:
            return upload.build(slimmer(made))
        except upload.TooLarge:
            pass
        except UnicodeEncodeError:
            return line(_clean(made))
    raise upload.TooLarge("a run that does not fit into a record")


def prepared(document: Mapping[str, Any]) -> tuple[str, str]:
    """A document's outcome hash, and when its run began."""
    return changes.outcome_hash(document), str(document["run"]["started"])


def _whole(made: upload.Full | upload.Same) -> upload.Full | upload.Same:
    return made


def _without_paths(made: upload.Full | upload.Same) -> upload.Full | upload.Same:
    if isinstance(made, upload.Same):
        return made
    return _with(made, paths=[], links=[])


def _without_evidence(made: upload.Full | upload.Same) -> upload.Full | upload.Same:
    if isinstance(made, upload.Same):
        return made
    return _with(made, paths=[], links=[], checks=[{**check, "evidence": None} for check in made.document["checks"]])


def _with(made: upload.Full, **parts: Any) -> upload.Full:
    whole = {**made.document, **parts}
    return upload.Full(agent=made.agent, epoch=made.epoch, seq=made.seq, hash=made.hash, document=whole)


def _clean(made: upload.Full | upload.Same) -> upload.Full | upload.Same:
    """Half surrogates cannot be written as UTF-8 (they come from undecodable names of this box): U+FFFD in their place."""
    if isinstance(made, upload.Full):
        return _with(made, **_text(made.document))
    same = made
    return upload.Same(
        agent=same.agent,
        epoch=same.epoch,
        seq=same.seq,
        hash=same.hash,
        run=_text(same.run),
        numbers=_text(same.numbers),
    )


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8") if not value.isascii() else value
    if isinstance(value, Mapping):
        return {_text(key): _text(item) for key, item in value.items()}
    return [_text(item) for item in value] if isinstance(value, list | tuple) else value
