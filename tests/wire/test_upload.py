"""Records: what is built is read back; anything else is Malformed, and of which kind."""

from __future__ import annotations

import json
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomprobe import changes
from roomprobe.report.document import document
from roomprobe.wire import reply, upload
from roomprobe.wire.reader import Malformed
from roomprobe.wire.upload import Full, Loss, Same, TooLarge, Unfit
from tests.report import samples

AGENT = "5f0c2c3e-8a51-4bb1-9c55-0d6f3f1b2a01"
RUN_ID = "0c3a1f7e-2f0a-4a58-8f1f-aaaaaaaaaaaa"
EPOCH = "00112233445566ff"
HASH = "ab" * 16
TIME = "2026-11-20T14:03:00.125Z"


def run(**changed: Any) -> dict[str, Any]:
    told = {"trigger": "schedule", "started": TIME, "started_mono": 12.5, "duration_s": 3, "clock_synced": None}
    return {"id": RUN_ID, "epoch": EPOCH, "seq": 7, **told, "interrupted": False, **changed}


def full() -> Full:
    whole = document(samples.degraded())
    whole["agent"]["id"] = AGENT
    whole["run"] = run()
    return Full(agent=AGENT, epoch=EPOCH, seq=7, hash=changes.outcome_hash(whole), document=whole)


def same() -> Same:
    return Same(agent=AGENT, epoch=EPOCH, seq=7, hash=HASH, run=run(), numbers={"starleaf/F1": 18.25})


def loss() -> Loss:
    return Loss(
        agent=AGENT, epoch=EPOCH, seq=9, of=EPOCH, first=0, last=8, count=8, since=TIME, until=TIME, reason="spool-full"
    )


GOOD = {"full": full, "same": same, "loss": loss}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_built_is_read_back(name: str) -> None:
    record = GOOD[name]()
    line = upload.build(record)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert upload.parse(line) == record == upload.parse(line[:-1])
    assert json.loads(line)["kind"] == name and json.loads(line)["v"] == 1


def test_the_identity_of_a_run_is_at_hand() -> None:
    assert full().run_id == same().run_id == RUN_ID
    assert full().run["trigger"] == "schedule"


# --- any record ----------------------------------------------------------------------------------------------------

SEQS = st.integers(0, upload.MOST_SEQ)
HEX = st.sampled_from("0123456789abcdef")
EPOCHS = st.text(HEX, min_size=16, max_size=16)
AGENTS = st.uuids().map(str)
NUMBERS = st.floats(0, 1e9, allow_nan=False)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TIMES = st.datetimes().map(lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0"))
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def runs(draw: st.DrawFn, epoch: str, seq: int) -> dict[str, Any]:
    more = draw(st.dictionaries(TEXT, ANY, max_size=2))
    told = {"id": draw(AGENTS), "trigger": draw(st.sampled_from(["schedule", "quick"])), "started": draw(TIMES)}
    numbers = {"started_mono": draw(NUMBERS), "duration_s": draw(NUMBERS)}
    flags = {"clock_synced": draw(st.none() | st.booleans()), "interrupted": draw(st.booleans())}
    return {**more, "epoch": epoch, "seq": seq, **told, **numbers, **flags}


@st.composite
def records(draw: st.DrawFn) -> upload.Record:
    agent, epoch, seq = draw(AGENTS), draw(EPOCHS), draw(SEQS)
    kind = draw(st.sampled_from(["full", "same", "loss"]))
    if kind == "loss":
        some = st.none() | SEQS
        times = st.none() | TIMES
        reason = draw(st.sampled_from(["spool-full", "spool-corrupt", "rejected", "reset"]))
        numbers = {"first": draw(some), "last": draw(some), "count": draw(some)}
        when = {"since": draw(times), "until": draw(times)}
        return Loss(agent=agent, epoch=epoch, seq=seq, of=draw(st.none() | EPOCHS), reason=reason, **numbers, **when)
    digest = draw(st.text(HEX, min_size=32, max_size=32))
    told = draw(runs(epoch, seq))
    if kind == "same":
        numbers = draw(st.dictionaries(TEXT, NUMBERS, max_size=3))
        return Same(agent=agent, epoch=epoch, seq=seq, hash=digest, run=told, numbers=numbers)
    whole = {**draw(st.dictionaries(TEXT, ANY, max_size=2)), "schema": 1, "run": told}
    whole["agent"] = {"id": agent, "version": "1"}
    return Full(agent=agent, epoch=epoch, seq=seq, hash=digest, document=whole)


@given(records())
def test_any_record_comes_back(record: upload.Record) -> None:
    assert upload.parse(upload.build(record)) == record


@given(st.lists(records(), min_size=1, max_size=4))
def test_any_batch_comes_back(batch: list[upload.Record]) -> None:
    body = upload.pack(upload.build(record) for record in batch)
    assert [upload.parse(line) for line in upload.unpack(body)] == batch


@given(st.binary(max_size=300) | ANY.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_malformed_and_nothing_else(data: bytes) -> None:
    for read in (upload.parse, upload.unpack, reply.parse_receipt, reply.parse_problem):
        try:
            read(data)
        except Malformed as error:
            assert len(str(error)) < 120 and str(error).isprintable()


@given(st.data(), st.sampled_from(list(GOOD)))
def test_a_changed_byte_gives_a_record_or_malformed(data: st.DataObject, name: str) -> None:
    line = bytearray(upload.build(GOOD[name]()))
    line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    try:
        upload.parse(bytes(line))
    except Malformed as error:
        assert len(str(error)) < 120 and str(error).isprintable()


# --- not records ---------------------------------------------------------------------------------------------------


def changed(record: upload.Record, **fields: Any) -> bytes:
    plain = {**msgspec.to_builtins(record), **fields}
    return json.dumps({key: value for key, value in plain.items() if value is not ...}).encode()


UNFIT: dict[str, bytes] = {
    "no kind": changed(same(), kind=...),
    "another kind": changed(same(), kind="half"),
    "another version": changed(same(), v=2),
    "one key more": changed(same(), more=1),
    "no hash": changed(same(), hash=...),
    "hash in capitals": changed(same(), hash="AB" * 16),
    "hash and a newline": changed(same(), hash=HASH + "\n"),
    "epoch too short": changed(same(), epoch="0" * 15),
    "agent no uuid": changed(same(), agent="room 4"),
    "agent and a newline": changed(same(), agent=AGENT + "\n"),
    "seq negative": changed(same(), seq=-1),
    "seq too large": changed(same(), seq=2**53),
    "seq true": changed(same(), seq=True),
    "seq text": changed(same(), seq="7"),
    "seq of another run": changed(same(), seq=8),
    "epoch of another run": changed(same(), epoch="f" * 16),
    "run without id": changed(same(), run={k: v for k, v in run().items() if k != "id"}),
    "run id a path": changed(same(), run=run(id="../../etc/passwd")),
    "run without a date": changed(same(), run=run(started="yesterday")),
    "run of negative length": changed(same(), run=run(duration_s=-1)),
    "a number that is none": changed(same(), numbers={"a": "1"}),
    "a negative number": changed(same(), numbers={"a": -1}),
    "a document that is a list": changed(full(), document=[]),
    "a document without run": changed(full(), document={"schema": 1, "agent": {"id": AGENT, "version": "1"}}),
    "a document of schema 2": changed(full(), document={**full().document, "schema": 2}),
    "a document of nobody": changed(full(), document={**full().document, "agent": {"id": None, "version": "1"}}),
    "another agent's": changed(full(), agent=AGENT.replace("5", "6")),
    "loss for no reason": changed(loss(), reason="bored"),
    "loss of less than nothing": changed(loss(), count=-1),
    "loss of nobody knows what": changed(loss(), of=...),
    "a list": b"[]",
    "a number": b"1",
}


@pytest.mark.parametrize("name", UNFIT)
def test_json_that_is_no_record_is_unfit(name: str) -> None:
    with pytest.raises(Unfit) as caught:
        upload.parse(UNFIT[name])
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("line", [b"", b"{", b"{}{}", b"\xff", b'{"kind":"\\ud800"}', b"<html>", b"[" * 100_000])
def test_what_is_not_json_is_only_malformed(line: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        upload.parse(line)
    assert not isinstance(caught.value, Unfit | TooLarge)


def test_a_sentence_names_the_place_and_nothing_of_the_line() -> None:
    with pytest.raises(Unfit, match=r"\$\.hash"):
        upload.parse(changed(same(), hash="\x1b[31mred"))
    with pytest.raises(Unfit) as caught:
        upload.parse(changed(same(), **{"\x1b[31mred": 1}))
    assert "red" not in str(caught.value)


def test_a_line_of_the_greatest_length_and_one_more() -> None:
    short = upload.build(msgspec.structs.replace(full(), document={**full().document, "notes": [""]}))
    pad = "x" * (upload.MOST_LINE - len(short))
    longest = upload.build(msgspec.structs.replace(full(), document={**full().document, "notes": [pad]}))
    assert len(longest) == upload.MOST_LINE and upload.parse(longest)
    with pytest.raises(TooLarge):
        upload.build(msgspec.structs.replace(full(), document={**full().document, "notes": [pad + "x"]}))
    with pytest.raises(TooLarge):
        upload.parse(longest + b" ")


# --- bodies --------------------------------------------------------------------------------------------------------


def test_a_batch_is_the_same_bytes_each_time() -> None:
    lines = [upload.build(same()), upload.build(loss())]
    assert upload.pack(lines) == upload.pack(lines)
    assert upload.unpack(upload.pack(lines)) == [line[:-1] for line in lines]


def test_a_bomb_is_too_large_and_never_unpacked() -> None:
    coder = zlib.compressobj(9, wbits=31)
    bomb = b"".join(coder.compress(bytes(1 << 20)) for _ in range(200)) + coder.flush()
    assert len(bomb) < upload.MOST_COMPRESSED
    with pytest.raises(TooLarge):
        upload.unpack(bomb)


def test_too_many_records_are_too_large() -> None:
    assert len(upload.unpack(upload.pack([b"{}\n"] * upload.MOST_RECORDS))) == upload.MOST_RECORDS
    with pytest.raises(TooLarge):
        upload.unpack(upload.pack([b"{}\n"] * (upload.MOST_RECORDS + 1)))
    with pytest.raises(TooLarge):
        upload.unpack(bytes(upload.MOST_COMPRESSED + 1))


ONE = upload.pack([b"{}\n"])


@pytest.mark.parametrize("body", [b"", b"plain", ONE[:-1], ONE[:-8], ONE + b"x", ONE + ONE, upload.pack([])])
def test_a_body_that_is_not_one_whole_gzip_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        upload.unpack(body)
    assert not isinstance(caught.value, Unfit | TooLarge)


def test_the_key_names_the_span_whatever_the_order() -> None:
    assert upload.idempotency_key([(EPOCH, 9), (EPOCH, 3), (EPOCH, 4)]) == f"{EPOCH}-3-9"
