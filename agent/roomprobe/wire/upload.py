"""What an agent sends its collector: records (full, same, loss). What comes back stands in reply.py.

One JSON object a line, gzip around the lines; the page is docs/upload.md. A document is looked into only as far as its identity
goes: whether it is a report is for the report's own schema.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import msgspec

from roomprobe.model import Frozen
from roomprobe.wire.reader import Malformed

VERSION = 1
MOST_LINE = 1 << 20  # bytes of one record, its newline included
MOST_COMPRESSED = 4 << 20
MOST_PLAIN = 32 << 20
MOST_RECORDS = 2_000
MOST_SEQ = (1 << 53) - 1  # what every JSON reader holds exactly

PATH_RUNS = "/v1/runs"
PATH_ENROL = "/v1/enrol"
CONTENT_TYPE = "application/x-ndjson"

# \Z, as $ would let a newline follow.
_UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|\+00:00)\Z"

Agent = Annotated[str, msgspec.Meta(pattern=_UUID)]
Epoch = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
Seq = Annotated[int, msgspec.Meta(ge=0, le=MOST_SEQ)]
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
Time = Annotated[str, msgspec.Meta(pattern=_TIME, max_length=40)]
LossReason = Literal["spool-full", "spool-corrupt", "rejected", "reset"]

_Word = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class TooLarge(Malformed):
    """More than the limits of this module allow: the collector's answer is 413."""


class Unfit(Malformed):
    """JSON, but not a record: the collector's answer is 422; any other Malformed is 400."""


class _Record(Frozen, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """Common to all: whose, and where in the order of what that agent produced."""

    v: Literal[1] = 1
    agent: Agent
    epoch: Epoch
    seq: Seq


class Full(_Record, frozen=True, kw_only=True, tag="full"):
    """A whole report document (schema 1); `hash` is `changes.outcome_hash` of it."""

    hash: Hash
    document: dict[str, Any]

    @property
    def run(self) -> dict[str, Any]:
        """The document's run part."""
        found: dict[str, Any] = self.document["run"]
        return found

    @property
    def run_id(self) -> str:
        """The identity of the run: what a repeat is told by."""
        return str(self.run["id"])


class Same(_Record, frozen=True, kw_only=True, tag="same"):
    """A run that found what the last full document found: its run part, and rtt_ms per check id where there is one."""

    hash: Hash
    run: dict[str, Any]
    numbers: dict[str, _Milliseconds]

    @property
    def run_id(self) -> str:
        """The identity of the run: what a repeat is told by."""
        return str(self.run["id"])


class Loss(_Record, frozen=True, kw_only=True, tag="loss"):
    """Runs that will never come: `count` of those between `first` and `last`, both included, of the epoch `of`.

    None is unknown; `last` None: all that followed. Within the range stand also numbers of loss records, and of runs that did come.
    A loss record can only grow: of two with the same (agent, epoch, seq) the one with the larger count holds. Times: when the lost
    runs began.
    """

    of: Epoch | None
    first: Seq | None
    last: Seq | None
    count: Seq | None
    since: Time | None
    until: Time | None
    reason: LossReason


Record = Full | Same | Loss


class _Run(Frozen, frozen=True, kw_only=True):
    """The run part as far as a collector leans on it (report.schema.json, $defs/run)."""

    id: Annotated[str, msgspec.Meta(pattern=_UUID)]
    epoch: Epoch
    seq: Seq
    trigger: _Word
    started: Time
    started_mono: float
    duration_s: _Seconds
    clock_synced: bool | None
    interrupted: bool


class _Agent(Frozen, frozen=True, kw_only=True):
    id: Agent
    version: Annotated[str, msgspec.Meta(max_length=64)]


class _Document(Frozen, frozen=True, kw_only=True):
    schema: Literal[1]
    agent: _Agent
    run: _Run


NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NO_OBJECT = "not one JSON object"
_DECODER: msgspec.json.Decoder[Full | Same | Loss] = msgspec.json.Decoder(Record)


def build(record: Record) -> bytes:
    """One line with its newline; TooLarge when it is longer than MOST_LINE."""
    line = msgspec.json.encode(record) + b"\n"
    if len(line) > MOST_LINE:
        raise TooLarge(f"a record of {len(line)} bytes; {MOST_LINE} is the most")
    return line


def parse(line: bytes) -> Record:
    """The record of one line, with or without its newline. Malformed: not JSON; Unfit: not a record; TooLarge."""
    if len(line) > MOST_LINE:
        raise TooLarge(f"a record longer than {MOST_LINE} bytes")
    try:
        record = _DECODER.decode(line)
    except msgspec.ValidationError as error:
        _json(line)  # the decoder complains of the first thing it meets, which may stand before the end of the JSON
        raise Unfit(_why(error)) from None
    except NOT_JSON:
        raise Malformed(_NO_OBJECT) from None
    if not isinstance(record, Loss):
        run, agent = _identity(record)
        if (run.epoch, run.seq, agent) != (record.epoch, record.seq, record.agent):
            raise Unfit("a run of another agent, epoch or number than its record's")
    return record


def _json(line: bytes) -> None:
    try:
        msgspec.json.decode(line)
    except msgspec.ValidationError:
        pass  # a number beyond any range
    except NOT_JSON:
        raise Malformed(_NO_OBJECT) from None


def _identity(record: Full | Same) -> tuple[_Run, str]:
    try:
        if isinstance(record, Same):
            return msgspec.convert(record.run, _Run), record.agent
        document = msgspec.convert(record.document, _Document)
    except msgspec.ValidationError as error:
        raise Unfit(_why(error)) from None
    return document.run, document.agent.id


def _why(error: msgspec.ValidationError) -> str:
    """Where and what, in words that hold nothing of the line itself (msgspec quotes values, and keys as [...])."""
    found = re.search(r"at `(\$[A-Za-z0-9_.\[\]]{0,60})`", str(error))
    return f"not a record: {found.group(1)} is not as it should be" if found else "not a record"


# --- many records --------------------------------------------------------------------------------------------------


def pack(lines: Iterable[bytes]) -> bytes:
    """Lines of `build`, as the gzip body of an upload. The same lines give the same bytes."""
    coder = zlib.compressobj(6, wbits=31)
    return b"".join([*(coder.compress(line) for line in lines), coder.flush()])


def unpack(body: bytes) -> list[bytes]:
    """The lines of a gzip body, without their newlines; TooLarge beyond any limit, other Malformed for no gzip.

    Never holds more than MOST_PLAIN bytes, whatever the body would grow to.
    """
    if len(body) > MOST_COMPRESSED:
        raise TooLarge(f"a body longer than {MOST_COMPRESSED} bytes")
    coder = zlib.decompressobj(wbits=31)
    try:
        plain = coder.decompress(body, MOST_PLAIN + 1)
    except zlib.error:
        raise Malformed("not gzip") from None
    if len(plain) > MOST_PLAIN:
        raise TooLarge(f"more than {MOST_PLAIN} bytes unpacked")
    if not coder.eof or coder.unused_data:
        raise Malformed("not one whole gzip member")
    lines = list(_lines(plain))
    if not lines:
        raise Malformed("no records")
    return lines


def _lines(plain: bytes) -> Iterator[bytes]:
    begin = 0
    number = 0
    while begin < len(plain):
        end = plain.find(b"\n", begin)
        end = len(plain) if end < 0 else end
        number += 1
        if number > MOST_RECORDS:
            raise TooLarge(f"more than {MOST_RECORDS} records")
        yield plain[begin:end]
        begin = end + 1


def idempotency_key(records: Iterable[tuple[str, int]]) -> str:
    """The header's value for records told by (epoch, seq): "<epoch>-<first seq>-<last seq>" of the first one's epoch."""
    told = list(records)
    numbers = [seq for _, seq in told]
    return f"{told[0][0]}-{min(numbers)}-{max(numbers)}"
