"""Lines, blocks and HTTP heads out of anything that reads like a Stream; what came too early is kept for the next question."""

from __future__ import annotations

from typing import Protocol

from roomprobe.wire import http1
from roomprobe.wire.reader import Malformed

CHUNK = 16 * 1024


class Channel(Protocol):
    """A Stream, or the application's side of a TLS conversation."""

    async def read(self, most: int, until: float) -> bytes | None: ...

    async def write(self, data: bytes, until: float) -> bool: ...


class Lines:
    """A channel with a buffer; `over` once the far end has ended it.

    Every wait ends at the monotonic time `until`; None: it did not come by then, or never can."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._kept = b""
        self.over = False

    async def write(self, data: bytes, until: float) -> bool:
        """Whether all of it was taken for sending."""
        return await self._channel.write(data, until)

    async def line(self, most: int, until: float) -> bytes | None:
        """One line of at most `most` bytes, its end included."""
        while b"\n" not in self._kept:
            if len(self._kept) >= most or not await self.more(until):
                return None
        line, end, self._kept = self._kept.partition(b"\n")
        return line + end

    async def exactly(self, count: int, until: float) -> bytes | None:
        """So many bytes, no fewer."""
        while len(self._kept) < count:
            if not await self.more(until):
                return None
        data, self._kept = self._kept[:count], self._kept[count:]
        return data

    async def head(self, until: float) -> http1.Head | Malformed | None:
        """The head of an HTTP answer; Malformed when what came is none."""
        while True:
            try:
                found = http1.parse_head(self._kept)
            except Malformed as error:
                return error
            if found is not None:
                self._kept = self._kept[found.length :]
                return found
            if not await self.more(until):
                return None

    @property
    def kept(self) -> bytes:
        """What came and nobody asked for yet."""
        return self._kept

    async def more(self, until: float) -> bool:
        """Waits for more; whether anything came."""
        data = await self._channel.read(CHUNK, until)
        self.over = self.over or data == b""
        self._kept += data or b""
        return bool(data)
