"""One token bucket for every datagram and every new connection of a run, so that a run never looks like an attack."""

from __future__ import annotations

import asyncio


class Bucket:
    """`await take()` before each packet. Starts full with `burst` tokens, refilled at `rate` a second."""

    def __init__(self, rate: int = 200, burst: int = 200) -> None:
        self.rate = rate
        self.burst = burst
        self.taken = 0
        self._tokens = float(burst)
        self._at: float | None = None

    async def take(self, count: int = 1) -> None:
        """Waits until `count` tokens are there; callers are served in the order in which they asked."""
        now = asyncio.get_running_loop().time()
        if self._at is not None:
            self._tokens = min(float(self.burst), self._tokens + (now - self._at) * self.rate)
        self._at = now
        self.taken += count
        self._tokens -= count
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self.rate)
