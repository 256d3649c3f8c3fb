"""One running `roomprobe codec` for the tests of a module, on loopback alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .running import Codec


@pytest.fixture(scope="module")
def codec() -> Iterator[Codec]:
    """Listens on lo with an offset, so that it needs no privilege; says everything as JSON."""
    with Codec("--interface", "lo") as running:
        running.wait("started")
        yield running
