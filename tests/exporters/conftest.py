"""A collector with a box, a receiver, and exporters that do not wait long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from roomprobe.collector.exporters import files, follow
from roomprobe.collector.exporters import http as exporters_http
from roomprobe.sinks import backoff
from roomprobe.wire.upload import Record
from tests.collector.conftest import Running, server
from tests.collector.making import full
from tests.exporters.receiver import Receiver, receiving

__all__ = ["server"]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits, only shorter."""
    monkeypatch.setattr(follow, "POLL_S", 0.02)
    monkeypatch.setattr(follow, "TRIM_S", 0.05)
    monkeypatch.setattr(files, "RETRY_S", 0.05)
    monkeypatch.setattr(backoff, "BASE_S", 0.01)
    monkeypatch.setattr(backoff, "CAP_S", 0.05)
    monkeypatch.setattr(exporters_http.post, "__defaults__", (0.3,))


class Room:
    """A box that says one thing after the other."""

    def __init__(self, server: Running, agent: str, token: str) -> None:
        self.server, self.agent, self.token = server, agent, token
        self.seq = 0
        self.begin = server.collector.now() - 3_600_000

    async def says(self, *states: str, **more: Any) -> None:
        """One run for each state, in one upload."""
        sent: list[Record] = []
        for state in states:
            outcome = {"full": "open", "broken": "filtered/path-ends"}.get(state, "unanswered/silence")
            at = self.begin + self.seq * 1000
            sent.append(full(self.seq, {"F1": outcome}, state=state, agent=self.agent, at=at, **more))
            self.seq += 1
        status, answer = await self.server.post(sent, token=self.token)
        assert status == 200, answer


@pytest.fixture
async def box(server: Running) -> Room:
    return Room(server, server.agent, server.token)
