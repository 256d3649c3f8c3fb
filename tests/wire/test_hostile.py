"""Every decoder against any bytes, and against good packets that were cut, changed or lengthened: a value or Malformed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roomprobe.wire import ntp, shapes, stun
from roomprobe.wire.reader import Malformed

from . import vectors
from .test_shapes import ike_answer, notify, ntp_answer, openvpn_answer, stun_answer

T = vectors.TRANSACTION
DECODERS: dict[str, Callable[[bytes], object]] = {
    "stun": stun.decode,
    "stun integrity": lambda data: stun.integrity_ok(data, b"key"),
    "stun answer": lambda data: stun.binding_answer(data[8:20], data),
    "stun mapped": stun.mapped_address,
    "stun xor mapped": lambda data: stun.xor_mapped_address(data, T),
    "stun error": stun.error_code,
    "stun text": stun.text,
    "ntp": ntp.decode,
    "ntp words": lambda data: ntp.words(ntp.decode(data)),
    "openvpn": shapes.decode_openvpn,
    "ike": shapes.decode_ike,
}
SAMPLES = (
    *(data for data, _ in vectors.VECTORS.values()),
    stun_answer(),
    stun.encode(1, stun.Class.ERROR, T, [(stun.ERROR_CODE, b"\0\0\4\1no"), (stun.REALM, b"r")], fingerprint=False),
    ntp_answer(),
    openvpn_answer(),
    ike_answer((33, b"x"), notify(14)),
    *(shape.build(bytes(32)) for shape in shapes.SHAPES.values()),
)


def accepts(name: str, data: bytes) -> bool:
    try:
        DECODERS[name](data)
    except Malformed as error:
        assert len(str(error)) < 100
        return False
    return True


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.binary(max_size=400))
@example(data=b"")
def test_any_bytes(name: str, data: bytes) -> None:
    accepts(name, data)


@pytest.mark.parametrize("name", DECODERS)
def test_every_cut(name: str) -> None:
    for sample in SAMPLES:
        for size in range(len(sample)):
            accepts(name, sample[:size])


@pytest.mark.parametrize("name", DECODERS)
def test_every_byte_changed(name: str) -> None:
    for sample in SAMPLES:
        for place, old in enumerate(sample):
            for new in {0, 1, 0x7F, 0x80, 0xFF, old ^ 0x01, old ^ 0x80} - {old}:
                accepts(name, sample[:place] + bytes((new,)) + sample[place + 1 :])


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.data())
def test_pieces_of_packets(name: str, data: st.DataObject) -> None:
    pieces = data.draw(st.lists(st.sampled_from(SAMPLES).flatmap(slices), max_size=6))
    accepts(name, b"".join(pieces))


def slices(sample: bytes) -> st.SearchStrategy[bytes]:
    end = st.integers(0, len(sample))
    return st.tuples(end, end).map(lambda ends: sample[min(ends) : max(ends)])


@pytest.mark.parametrize("sample", [*vectors.VECTORS, "answer"])
def test_no_message_survives_a_cut(sample: str) -> None:
    whole = stun_answer() if sample == "answer" else vectors.VECTORS[sample][0]
    assert accepts("stun", whole)
    assert not any(accepts("stun", whole[:size]) for size in range(len(whole)))


@pytest.mark.parametrize("sample", ["request", "ipv4", "ipv6"])
def test_a_fingerprint_notices_every_changed_byte(sample: str) -> None:
    whole, _ = vectors.VECTORS[sample]
    for place in range(len(whole)):
        changed = whole[:place] + bytes((whole[place] ^ 0x10,)) + whole[place + 1 :]
        if accepts("stun", changed):
            assert stun.decode(changed).fingerprint_ok is not True


def test_a_message_full_of_empty_attributes_is_read_in_one_go() -> None:
    many = [(0x8000, b"")] * 16_000
    assert len(stun.decode(stun.encode(1, stun.Class.SUCCESS, T, many)).attributes) == 16_001
