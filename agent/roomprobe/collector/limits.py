"""How often: token buckets by agent and by address, and the wait after a wrong password. Time is an argument; nothing is stored."""

from __future__ import annotations

from collections import OrderedDict

MOST_KEYS = 50_000


class Bucket:
    """Tokens per key: `burst` at first, then `per_s` more each second. The keys used longest ago are forgotten."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float, cost: float = 1.0) -> float:
        """0.0 when it may go on; otherwise the seconds to wait, and nothing is taken. More than a burst is let through alone."""
        left, at = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + max(0.0, now - at) * self._per_s)
        wait = 0.0 if left >= min(cost, self._burst) else (min(cost, self._burst) - left) / self._per_s
        self._left[key] = (left if wait else left - cost, now)
        while len(self._left) > MOST_KEYS:
            self._left.popitem(last=False)
        return wait


class Backoff:
    """Failures per key: after `free` of them the wait doubles from one second up to `most`; success forgets."""

    def __init__(self, free: int = 5, most: float = 300.0) -> None:
        self._free = free
        self._most = most
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, key: str, now: float) -> float:
        """Seconds until the next attempt may be made; 0.0: now."""
        _, until = self._failed.get(key, (0, 0.0))
        return max(0.0, until - now)

    def failed(self, key: str, now: float) -> None:
        """One more failure."""
        times = self._failed.pop(key, (0, 0.0))[0] + 1
        over = times - self._free
        self._failed[key] = (times, now + min(self._most, 2.0 ** min(over, 30)) if over >= 0 else 0.0)
        while len(self._failed) > MOST_KEYS:
            self._failed.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forgets its failures."""
        self._failed.pop(key, None)
