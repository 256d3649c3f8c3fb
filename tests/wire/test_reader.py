"""The reader: right numbers, and no read past the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from roomprobe.wire.reader import Malformed, Reader


def test_fields_come_in_order_and_big_endian() -> None:
    reader = Reader(bytes(range(1, 19)))
    assert (reader.u8(), reader.u16(), reader.u32(), reader.u64()) == (1, 0x0203, 0x04050607, 0x08090A0B0C0D0E0F)
    assert reader.take(1) == b"\x10"
    assert reader.remaining == 2
    assert reader.rest() == b"\x11\x12"
    assert (reader.remaining, reader.rest(), reader.take(0)) == (0, b"", b"")


READS: dict[str, tuple[int, Callable[[Reader], object]]] = {
    "u8": (1, Reader.u8),
    "u16": (2, Reader.u16),
    "u32": (4, Reader.u32),
    "u64": (8, Reader.u64),
    "take": (5, lambda reader: reader.take(5)),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_past_the_end_is_malformed_and_moves_nothing(name: str) -> None:
    size, read = READS[name]
    reader = Reader(bytes(size - 1))
    with pytest.raises(Malformed):
        read(reader)
    assert reader.remaining == size - 1
    read(Reader(bytes(size)))


def test_nobody_reads_backwards() -> None:
    reader = Reader(b"ab")
    reader.u8()
    with pytest.raises(Malformed):
        reader.take(-1)


def test_malformed_is_a_value_error() -> None:
    assert issubclass(Malformed, ValueError)
