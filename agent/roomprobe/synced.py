"""Whether a time source keeps this box's clock right: the kernel's word, and where it may not be asked, systemd-timesyncd's."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

TIMESYNC = Path("/run/systemd/timesync")


class _Timex(ctypes.Structure):
    """The beginning of struct timex (adjtimex(2)); the rest is room for the kernel to write."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


def clock() -> bool | None:
    """None when neither tells."""
    told = _kernel()
    return timesyncd(TIMESYNC) if told is None else told


def timesyncd(place: Path) -> bool | None:
    """Whether systemd-timesyncd has set the clock since it was started; None where it does not run.

    systemd-timesyncd.service(8): `synchronized` is touched on each success. The directory comes and goes with the service.
    """
    if os.access(place / "synchronized", os.F_OK):
        return True
    return False if os.access(place, os.X_OK) else None


def _kernel() -> bool | None:
    """Whether STA_UNSYNC is clear; None when the kernel does not say, or the service's sandbox forbids to ask."""
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else not timex.status & 0x40
