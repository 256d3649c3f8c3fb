"""What happened at the ports: which events are said, which are only counted, and who came how often.

A port scan must fill neither the screen nor the disk: connections are listed at a limited rate, the others counted.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import sys
import time
from collections.abc import Callable
from typing import TypedDict

import msgspec

from roomprobe.farend import events, say
from roomprobe.farend.events import AnyEvent
from roomprobe.farend.limits import LISTED_BURST, LISTED_PER_S, MOST_COUNTED

Put = Callable[[bytes, bytes], None]
Key = tuple[str | None, int | None]
OTHERS: Key = (None, None)


@dataclasses.dataclass(slots=True)
class Visit:
    """One accepted connection, as the journal and the ports know it. `port` is ours, `stands_for` that of a 5141."""

    connection: int
    address: str
    source_port: int
    port: int
    stands_for: int
    began: float = dataclasses.field(default_factory=time.monotonic)
    kinds: list[str] = dataclasses.field(default_factory=list)
    requests: int = 0
    commands: int = 0
    listed: bool = False


@dataclasses.dataclass(slots=True)
class Count:
    """How often one address came to one port; moments are UTC, RFC 3339."""

    first: str
    last: str
    connections: int = 0
    refused: int = 0


class Rate:
    """Room for LISTED_BURST lines at once, and LISTED_PER_S a second."""

    def __init__(self) -> None:
        self._left, self._at = float(LISTED_BURST), time.monotonic()

    def room(self) -> bool:
        """Whether there is room for one more; takes it."""
        moment = time.monotonic()
        self._left = min(float(LISTED_BURST), self._left + (moment - self._at) * LISTED_PER_S)
        self._at = moment
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Journal:
    """Says events through `put` (for stdout, for the log); `as_json` chooses what stdout gets."""

    def __init__(self, put: Put, *, as_json: bool) -> None:
        self._put = put
        self._as_json = as_json
        # Another roomprobe must not go unseen among the connects of a scan: exchanges have a rate of their own.
        self._rate, self._exchanges = Rate(), Rate()
        self._began = time.monotonic()
        self._counts: dict[Key, Count] = {}
        self._more, self._more_refused = 0, 0
        self._more_kinds: collections.Counter[str] = collections.Counter()

    def say(self, event: AnyEvent) -> None:
        """One event, whatever the rate."""
        self._put(*rendered(event, as_json=self._as_json))

    def connected(self, visit: Visit) -> None:
        """Somebody has connected."""
        self._counted(visit).connections += 1
        visit.listed = self._rate.room()
        if visit.listed:
            self.say(events.Connected(time=now(), connection=visit.connection, **_who(visit)))
        else:
            self._more += 1

    def refused(self, visit: Visit, why: str) -> None:
        """Somebody has connected and was sent away."""
        count = self._counted(visit)
        count.connections += 1
        count.refused += 1
        if self._rate.room():
            self.say(events.Refused(time=now(), why=why, **_who(visit)))
        else:
            self._more += 1
            self._more_refused += 1

    def saw(self, visit: Visit, kind: str) -> None:
        """A connection has turned out to be something; each kind counts once."""
        if kind in visit.kinds:
            return
        visit.kinds.append(kind)
        if kind == "exchange" and not visit.listed and self._exchanges.room():
            visit.listed = True
            self._more = max(0, self._more - 1)
        if visit.listed and kind not in (
            "nothing",
            "unknown",
        ):  # these are said when it closes, with the number of bytes
            self.say(events.Saw(time=now(), connection=visit.connection, kind=kind, **_who(visit)))

    def closed(self, visit: Visit, by: str, why: str, received: int, sent: int) -> None:
        """A connection has ended."""
        if not visit.kinds:
            visit.kinds.append("unknown" if received else "nothing")
        if not visit.listed:
            self._more_kinds[visit.kinds[-1]] += 1
            return
        event = events.Closed(
            time=now(),
            connection=visit.connection,
            kinds=tuple(visit.kinds),
            by=by,
            why=why,
            seconds=round(time.monotonic() - visit.began, 3),
            received=received,
            sent=sent,
            requests=visit.requests,
            commands=visit.commands,
            **_who(visit),
        )
        self.say(event)

    def tell_more(self) -> None:
        """One line about those that got none of their own since the last call."""
        if not self._more and not self._more_kinds:
            return
        self.say(
            events.More(
                time=now(),
                connections=self._more,
                refused=self._more_refused,
                kinds=dict(sorted(self._more_kinds.items())),
            )
        )
        self._more, self._more_refused = 0, 0
        self._more_kinds.clear()

    def stopped(self, unsaid: int) -> None:
        """The summary."""
        self.tell_more()
        peers = [
            events.Peer(
                time=now(),
                address=address,
                port=port,
                connections=count.connections,
                refused=count.refused,
                first=count.first,
                last=count.last,
            )
            for (address, port), count in self._counts.items()
        ]
        last = events.Stopped(
            time=now(),
            seconds=round(time.monotonic() - self._began, 3),
            connections=sum(peer.connections for peer in peers),
            refused=sum(peer.refused for peer in peers),
            unsaid=unsaid,
        )
        everything: list[AnyEvent] = [*peers, last]
        lines = b"".join(map(_json, everything))
        text = "\n".join(part for part in (say.line(last), say.summary(peers)) if part)
        self._put(lines if self._as_json else encoded(text), lines)

    def _counted(self, visit: Visit) -> Count:
        key: Key = (visit.address, visit.port)
        if key not in self._counts and len(self._counts) >= MOST_COUNTED:
            key = OTHERS
        moment = now()
        count = self._counts.setdefault(key, Count(first=moment, last=moment))
        count.last = moment
        return count


def rendered(event: AnyEvent, *, as_json: bool) -> tuple[bytes, bytes]:
    """An event for stdout and for the log."""
    line = _json(event)
    return (line if as_json else encoded(say.line(event))), line


def encoded(text: str) -> bytes:
    """A text for people, with its end of line, in the encoding of their terminal."""
    return f"{text}\n".encode(sys.stdout.encoding or "utf-8", "backslashreplace")


def now() -> str:
    """This moment, as events say it."""
    return events.rfc3339(datetime.datetime.now(datetime.UTC))


class _Who(TypedDict):
    address: str
    source_port: int
    port: int
    stands_for: int


def _who(visit: Visit) -> _Who:
    return _Who(address=visit.address, source_port=visit.source_port, port=visit.port, stands_for=visit.stands_for)


def _json(event: AnyEvent) -> bytes:
    return msgspec.json.encode(event) + b"\n"
