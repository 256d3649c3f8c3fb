"""How long to wait after a failure: full jitter (each agent of a fleet somewhere else in the interval), and Retry-After. Pure."""

from __future__ import annotations

import email.utils
import random
import re
from collections.abc import Mapping

BASE_S = 1.0
CAP_S = 300.0
# After 401 and 403 nothing will change by itself within seconds, and asking looks like guessing.
REFUSED_BASE_S = 60.0
REFUSED_CAP_S = 3600.0
MOST_RETRY_AFTER_S = 3600.0


class Backoff:
    """Counts failures in a row; `chance` is the randomness."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.failures = 0

    def succeeded(self) -> None:
        """The next failure is the first again."""
        self.failures = 0

    def failed(self, retry_after: float | None = None) -> float:
        """Seconds until the next try: anywhere up to 1, 2, 4 ... 300, and not before `retry_after`."""
        bound = min(CAP_S, BASE_S * 2 ** min(self.failures, 30))
        self.failures += 1
        jittered = self._chance.uniform(0, bound)
        if retry_after is None:
            return jittered
        # All agents were told the same second: the jitter comes on top.
        return min(retry_after, MOST_RETRY_AFTER_S) + jittered

    def refused(self) -> float:
        """The same after 401 or 403: between half a minute and an hour, never soon."""
        bound = min(REFUSED_CAP_S, REFUSED_BASE_S * 2 ** min(self.failures, 30))
        self.failures += 1
        return self._chance.uniform(bound / 2, bound)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for (RFC 9110 10.2.3), None without one that can be read.

    A date is taken relative to the answer's own Date: this box's clock may be wrong by years.
    """
    told = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", told):
        return float(told)
    try:
        until = email.utils.parsedate_to_datetime(told)
        now = email.utils.parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
