"""A survey: the ladders of one address taken together, so that each flow is the other's control.

First pass: every flow once at every TTL, a few TTLs at a time. Then rounds at the boundary alone, suspects first and the
control last, until loss cannot explain the silence (ladder.proven_silent) or the time is over. Routers limit ICMP (a Linux
router answers six at once, then one a second): a control that is answered *after* the suspects shows that the router still
had an answer to give.
"""

from __future__ import annotations

import asyncio
import time

from roomprobe import ladder
from roomprobe.evidence import Flow, PathEvidence
from roomprobe.net import Net
from roomprobe.net.flow import FULL_TTL, FlowSpec, Ladder

WAVE = 6
MOST_TTL = 30
PATIENCE_S = 0.8
QUICK_S, SLOW_S = 0.4, 1.0
MOST_ROUNDS = 24


async def survey(address: str, specs: tuple[FlowSpec, ...], net: Net, deadline: float) -> PathEvidence:
    """Takes the ladders of one address; `deadline` on the monotonic clock. Controls come last among the flows."""
    started = time.monotonic()
    ladders = [Ladder(spec, address) for spec in sorted(specs, key=lambda s: s.role == "control")]
    taken = _Survey(address, ladders, net, deadline)
    try:
        await taken.first_pass()
        complete = await taken.rounds()
        return taken.evidence(complete, time.monotonic() - started)
    finally:
        for one in ladders:
            one.close()


class _Survey:
    def __init__(self, address: str, ladders: list[Ladder], net: Net, deadline: float) -> None:
        self.address, self.ladders, self.net, self.deadline = address, ladders, net, deadline

    def evidence(self, complete: bool = False, duration: float = 0.0) -> PathEvidence:
        flows = tuple(one.flow() for one in self.ladders)
        return PathEvidence(address=self.address, flows=flows, complete=complete, duration_s=round(duration, 3))

    async def _send(self, one: Ladder, ttl: int, round_: int) -> None:
        if one.budget > 0:
            await self.net.bucket.take()
            one.fire(ttl, round_)

    async def _wait(self, since: float, patience: float) -> None:
        """Until everything sent since then has come to something, or the patience is over."""
        end = min(time.monotonic() + patience, self.deadline)
        while time.monotonic() < end and any(one.outstanding(since) for one in self.ladders):
            await asyncio.sleep(0.01)
        for one in self.ladders:
            one.expire()

    def _patience(self) -> float:
        """How long a repeat may take: well above what the slowest answer of the first pass took."""
        slowest = max((s.step.ms or 0.0 for one in self.ladders for s in one.sent if s.step), default=0.0)
        return min(PATIENCE_S, 0.3 + 3 * slowest / 1000)

    async def first_pass(self) -> None:
        for first in range(1, MOST_TTL + 1, WAVE):
            open_ones = [one for one in self.ladders if not self._ended(one)]
            if not open_ones or time.monotonic() >= self.deadline:
                return
            ttls = range(first, min(first + WAVE, MOST_TTL + 1))
            begun = time.monotonic()
            for ttl in ttls:
                for one in open_ones:
                    await self._send(one, ttl, 0)
            await self._wait(begun, PATIENCE_S)
            if not any(s.ttl in ttls and s.result == "hop" for one in self.ladders for s in one.flow().steps):
                return  # nobody is a router any more at these distances

    def _ended(self, one: Ladder) -> bool:
        """A flow that somebody ended, or that is past the distance where another one reached the target."""
        path = self.evidence()
        sent = max((s.ttl for s in one.sent), default=0)
        reached = min((t for t in map(ladder.answer_ttl, path.flows) if t is not None), default=None)
        floor = ladder.floor(path)
        enough = floor + WAVE if reached is None else max(reached, floor + 1)
        return ladder.settled(one.flow(), self.address) or sent >= enough

    async def rounds(self) -> bool:
        """The boundary repeats; True when no suspect is left in doubt."""
        pause = QUICK_S
        for number in range(1, MOST_ROUNDS + 1):
            wanted = self._wanted(self.evidence())
            if not wanted:
                return True
            if time.monotonic() + pause >= self.deadline:
                return False
            begun = time.monotonic()
            heard = True
            for ttl, suspects, control in wanted:
                for one in suspects:
                    await self._send(one, ttl, number)
                await self._send(control, ttl, number)
            await self._wait(begun, self._patience())
            for ttl, _, control in wanted:
                step = control.seen(ttl, number)
                heard = heard and step is not None and step.result in ("hop", "answer")
            if not heard:
                pause = SLOW_S
            await asyncio.sleep(max(0.0, begun + pause - time.monotonic()))
        return not self._wanted(self.evidence())

    def _wanted(self, path: PathEvidence) -> list[tuple[int, list[Ladder], Ladder]]:
        """(TTL, suspects, control) of the next round: each suspect at its boundary, and in full where a sibling answers."""
        wanted: dict[tuple[int, int], tuple[int, list[Ladder], Ladder]] = {}
        for one, flow in zip(self.ladders, path.flows, strict=True):
            if flow.role != "suspect" or ladder.settled(flow, self.address) or one.budget <= 0:
                continue
            for ttl in self._doubtful(path, flow):
                control = self._control(path, flow, ttl)
                if control is not None and control.budget > 0:
                    wanted.setdefault((ttl, id(control)), (ttl, [], control))[1].append(one)
        return list(wanted.values())

    def _doubtful(self, path: PathEvidence, flow: Flow) -> list[int]:
        edge = ladder.boundary(path, flow)
        doubtful = [] if edge is None or ladder.proven_silent(path, flow, edge) else [edge]
        sibling = flow.transport == "udp" and any(one.spec.answering for one in self.ladders)
        if sibling and not ladder.proven_silent(path, flow, FULL_TTL):
            doubtful.append(FULL_TTL)
        return doubtful

    def _control(self, path: PathEvidence, flow: Flow, ttl: int) -> Ladder | None:
        """The flow that was answered at that TTL, best a control; for the full way the sibling that answers."""
        for one, other in sorted(zip(self.ladders, path.flows, strict=True), key=lambda p: p[1].role != "control"):
            if ladder.key(other) == ladder.key(flow):
                continue
            if ttl == FULL_TTL:
                if one.spec.answering and one.spec.payload == flow.payload:
                    return one
            elif any(s.ttl == ttl and s.result == "hop" for s in other.steps):
                return one
        return None
