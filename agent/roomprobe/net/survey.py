"""A survey: the ladders of a family's addresses taken together, so that each flow is the others' control.

First pass: every flow once at every TTL, a few TTLs at a time, the first address alone. Then rounds at the boundaries alone,
suspects first and a control last, until loss cannot explain the silence (ladder.proven_silent) or the time is over. Routers limit
ICMP (a Linux router answers six at once, then one a second): a control that is answered *after* the suspects shows that the
router still had an answer to give. One such control a router and round serves every address (PathEvidence.witnesses).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from roomprobe import ladder
from roomprobe.evidence import PathEvidence, Step
from roomprobe.ladder import FULL_TTL
from roomprobe.net import Net
from roomprobe.net.flow import FlowSpec, Ladder

WAVE = 6
MOST_TTL = 30
PATIENCE_S = 0.8
QUICK_S, SLOW_S = 0.4, 1.0
MOST_ROUNDS = 24


async def survey(wanted: Mapping[str, tuple[FlowSpec, ...]], net: Net, deadline: float) -> dict[str, PathEvidence]:
    """Takes the ladders of these addresses (of one family); `deadline` on the monotonic clock."""
    taken = _Survey(wanted, net, deadline)
    try:
        await taken.first_passes()
        await taken.rounds()
        return {address: taken.evidence(address, final=True) for address in wanted}
    finally:
        taken.close()


class _Survey:
    def __init__(self, wanted: Mapping[str, tuple[FlowSpec, ...]], net: Net, deadline: float) -> None:
        self.net, self.deadline, self.started = net, deadline, time.monotonic()
        # Controls come last among the flows of an address.
        self.ladders = {
            address: [Ladder(spec, address) for spec in sorted(specs, key=lambda s: s.role == "control")]
            for address, specs in wanted.items()
        }
        self.first = next(iter(wanted))
        self.witnesses: list[tuple[str, Step]] = []

    def close(self) -> None:
        for one in self._all():
            one.close()

    def _all(self) -> list[Ladder]:
        return [one for ladders in self.ladders.values() for one in ladders]

    def evidence(self, address: str, *, final: bool = False) -> PathEvidence:
        """What is known of an address; `complete` is worked out when it is `final`."""
        path = PathEvidence(
            address=address,
            flows=tuple(one.flow() for one in self.ladders[address]),
            complete=False,
            duration_s=round(time.monotonic() - self.started, 3),
            witnesses=tuple(step for where, step in self.witnesses if where != address),
        )
        if not final:
            return path
        in_doubt = any(self._doubtful(path, one) for one in self.ladders[address])
        return PathEvidence(
            address=address,
            flows=path.flows,
            complete=not in_doubt,
            duration_s=path.duration_s,
            witnesses=path.witnesses,
        )

    async def _send(self, one: Ladder, ttl: int, round_: int) -> None:
        if one.budget > 0:
            await self.net.bucket.take()
            one.fire(ttl, round_)

    async def _wait(self, since: float, patience: float) -> None:
        """Until everything sent since then has come to something, or the patience is over."""
        end = min(time.monotonic() + patience, self.deadline)
        while time.monotonic() < end and any(one.outstanding(since) for one in self._all()):
            await asyncio.sleep(0.01)
        for one in self._all():
            one.expire()

    def _patience(self) -> float:
        """How long a repeat may take: well above what the slowest answer of the first pass took."""
        slowest = max((s.step.ms or 0.0 for one in self._all() for s in one.sent if s.step), default=0.0)
        return min(PATIENCE_S, 0.3 + 3 * slowest / 1000)

    # --- the first pass ---

    async def first_passes(self) -> None:
        """The first address alone, while every router still has its answers; then the others side by side."""
        await self._first_pass([self.first])
        rest = [address for address in self.ladders if address != self.first]
        if rest:
            await self._first_pass(rest)

    async def _first_pass(self, addresses: list[str]) -> None:
        for first in range(1, MOST_TTL + 1, WAVE):
            open_ones = [one for address in addresses for one in self.ladders[address] if not self._ended(one)]
            if not open_ones or time.monotonic() >= self.deadline:
                return
            ttls = range(first, min(first + WAVE, MOST_TTL + 1))
            begun = time.monotonic()
            for ttl in ttls:
                for one in open_ones:
                    await self._send(one, ttl, 0)
            await self._wait(begun, PATIENCE_S)
            if not any(s.ttl in ttls and s.result == "hop" for one in open_ones for s in one.flow().steps):
                return  # nobody is a router any more at these distances

    def _ended(self, one: Ladder) -> bool:
        """A flow that somebody ended, or that is past the distance where another one reached the target."""
        path = self.evidence(one.address)
        sent = max((s.ttl for s in one.sent), default=0)
        reached = min((t for t in map(ladder.answer_ttl, path.flows) if t is not None), default=None)
        floor = ladder.floor(path)
        enough = floor + WAVE if reached is None else max(reached, floor + 1)
        return ladder.settled(one.flow(), one.address) or sent >= enough

    # --- the rounds ---

    async def rounds(self) -> None:
        """The boundary repeats, until no suspect is left in doubt or the time is over."""
        pause = QUICK_S
        for number in range(1, MOST_ROUNDS + 1):
            wanted = self._wanted()
            if not wanted or time.monotonic() + pause >= self.deadline:
                return
            begun = time.monotonic()
            controls: dict[tuple[int, str | None], list[Ladder]] = {}
            for ttl, one, control, router in wanted:
                await self._send(one, ttl, number)
                mine = controls.setdefault((ttl, router), [])
                if control not in mine:
                    mine.append(control)
            fired = []
            for (ttl, router), mine in controls.items():
                # One control a router and round, each address in its turn; in full, each sibling answers for itself.
                for control in mine if ttl == FULL_TTL else [mine[number % len(mine)]]:
                    await self._send(control, ttl, number)
                    fired.append((ttl, router, control))
            await self._wait(begun, self._patience())
            heard = [self._note(ttl, router, control, number) for ttl, router, control in fired]
            if not all(heard):
                pause = SLOW_S
            await asyncio.sleep(max(0.0, begun + pause - time.monotonic()))

    def _note(self, ttl: int, router: str | None, control: Ladder, number: int) -> bool:
        """Keeps what became of a control, for the other addresses; whether it was answered."""
        step = control.seen(ttl, number)
        if ttl == FULL_TTL:
            return step is not None and step.result == "answer"
        hop = step if step is not None and step.result == "hop" else None
        kept = hop or Step(ttl=ttl, round=number, result="silent", address=router)
        self.witnesses.append((control.address, kept))
        return hop is not None

    def _wanted(self) -> list[tuple[int, Ladder, Ladder, str | None]]:
        """(TTL, suspect, control, router) of the next round: each suspect at its edge, and in full where a sibling answers."""
        wanted = []
        for address, ladders in self.ladders.items():
            path = self.evidence(address)
            for one in ladders:
                if one.budget <= 0:
                    continue
                for ttl in self._doubtful(path, one):
                    control = self._control(path, one, ttl)
                    if control is not None and control.budget > 0:
                        wanted.append((ttl, one, control, self._router(address, ttl)))
        return wanted

    def _doubtful(self, path: PathEvidence, one: Ladder) -> list[int]:
        """The TTLs at which this flow's silence is not proven yet; none for a control or a flow that came to an end."""
        flow = one.flow()
        if flow.role != "suspect" or ladder.settled(flow, one.address):
            return []
        if any(ladder.proven_silent(path, flow, ttl) for ttl in ladder.edges(path, flow)):
            doubtful = []
        else:
            edge = self._edge(path, one)
            doubtful = [] if edge is None else [edge]
        sibling = flow.transport == "udp" and any(o.spec.answering for o in self.ladders[one.address])
        if sibling and not ladder.proven_silent(path, flow, FULL_TTL):
            doubtful.append(FULL_TTL)
        return doubtful

    def _edge(self, path: PathEvidence, one: Ladder) -> int | None:
        """Where to look next: this flow's own boundary, or where the same flow to the first address ended.

        The routers' limits leave little of a later address' first pass; its boundary is looked for where the first one's was.
        """
        own = ladder.boundary(path, one.flow())
        if one.address == self.first:
            return own
        there = self.evidence(self.first)
        same = ladder.find(there, *one.spec.key)
        last = ladder.last_hop(path, one.flow())
        start = last.distance or 0 if last else 0
        hint = None if same is None or ladder.settled(same, self.first) else ladder.boundary(there, same)
        if hint is not None and hint > start:
            return hint
        missing = next((ttl for ttl in ladder.routers(there) if ttl > start), None)
        return own if own is not None else missing

    def _router(self, address: str, ttl: int) -> str | None:
        own = ladder.routers(self.evidence(address)).get(ttl)
        return own or ladder.routers(self.evidence(self.first)).get(ttl)

    def _control(self, path: PathEvidence, one: Ladder, ttl: int) -> Ladder | None:
        """The flow to hold it against, best a control that was answered there; in full the sibling that answers."""
        rest = [other for other in self.ladders[one.address] if other is not one]
        if ttl == FULL_TTL:
            return next((o for o in rest if o.spec.answering and o.spec.payload == one.spec.payload), None)
        heard = [o for o in rest if any(s.ttl == ttl and s.result == "hop" for s in o.flow().steps)]
        ranked = sorted(heard or rest, key=lambda o: o.spec.role != "control")
        return next(iter(ranked), None)
