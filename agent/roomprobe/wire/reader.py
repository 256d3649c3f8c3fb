"""The one bounds-checked reader that every codec reads through, and the one error that a codec may raise for bad bytes."""

from __future__ import annotations


class Malformed(ValueError):
    """These bytes are not what they should be; the text says in a few of our own words why, never theirs."""


class Reader:
    """Reads big-endian fields from `data`, front to back; every read past the end is Malformed."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if not 0 <= count <= self.remaining:
            raise Malformed(f"{count} bytes wanted, {self.remaining} left")
        self._at += count
        return self._data[self._at - count : self._at]

    def rest(self) -> bytes:
        """Everything not read yet, possibly nothing."""
        return self.take(self.remaining)

    def u8(self) -> int:
        """The next byte."""
        return int.from_bytes(self.take(1), "big")

    def u16(self) -> int:
        """The next 2 bytes as a number."""
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        """The next 4 bytes as a number."""
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        """The next 8 bytes as a number."""
        return int.from_bytes(self.take(8), "big")
