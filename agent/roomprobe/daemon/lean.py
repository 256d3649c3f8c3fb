"""Keeping a process small that sleeps most of the time: one heap for all threads, and what a run leaves goes back to the kernel.

glibc's own calls (mallopt(3), malloc_trim(3)); with another C library nothing happens.
"""

from __future__ import annotations

import ctypes
import gc

from roomprobe import trust

_M_ARENA_MAX = -8


def one_heap() -> None:
    """To be called before there are threads: each would otherwise get a heap of its own."""
    _libc("mallopt", _M_ARENA_MAX, 1)


def give_back() -> None:
    """After a run: what it used is collected and given back, the parsed authorities included."""
    trust.forget()
    gc.collect()
    _libc("malloc_trim", 0)


def _libc(name: str, *arguments: int) -> None:
    try:
        getattr(ctypes.CDLL(None), name)(*arguments)
    except (OSError, AttributeError):
        pass
