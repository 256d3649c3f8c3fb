"""Fixtures of the lab. Everything here is marked `lab`, and fails (never skips) where a lab cannot be built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from . import peers
from .network import Lab
from .scenario import ONE_EACH

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="module")
def open_lab() -> Iterator[Lab]:
    """A healthy network, shared by the tests of a module: names, TLS and UDP answer. `_as_it_was` mends after each."""
    with Lab() as lab:
        peers.everything(lab)
        yield lab


@pytest.fixture(scope="module")
def narrow_lab() -> Iterator[Lab]:
    """A healthy network with IPv4 only and one address a name, shared like `open_lab`: each run speaks of one path."""
    with Lab(families=(4,)) as lab:
        peers.dns(lab, hosts=ONE_EACH)
        peers.tls(lab)
        peers.udp(lab)
        yield lab


@pytest.fixture(autouse=True)
def _as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: no fault stays in a shared lab, and its servers are those that it had before."""
    shared = {"open_lab", "narrow_lab"} & set(request.fixturenames)
    if not shared:
        yield
        return
    lab: Lab = request.getfixturevalue(shared.pop())
    before = {role: process.spec for role, process in lab.running.items()}
    yield
    lab.mend()
    for role in [role for role in lab.running if role not in before]:
        lab.stop(role)
    for role, spec in before.items():
        if role not in lab.running or lab.running[role].spec != spec:
            lab.start(spec)


@pytest.fixture
def make_lab() -> Iterator[Callable[..., Lab]]:
    """Build labs of other shapes: `make_lab(nat=("fw",))`, with the healthy far side unless `bare=True`."""
    with ExitStack() as labs:

        def make(*, bare: bool = False, **options: Any) -> Lab:
            lab = labs.enter_context(Lab(**options))
            if not bare:
                peers.everything(lab)
            return lab

        yield make
