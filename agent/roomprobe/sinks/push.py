"""From the spool to the collector, for as long as the daemon runs: what is sent, when, and what each answer leads to (docs/upload.md).

Nothing leaves the spool before the receipt; nothing that the collector refuses holds up the rest.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

from roomprobe import __version__, files
from roomprobe.model import Frozen
from roomprobe.net.https import Client, Trust, Unreachable
from roomprobe.sinks import answers
from roomprobe.sinks.backoff import Backoff
from roomprobe.spool import Position, Queued, wall_time
from roomprobe.text import escape
from roomprobe.wire import reply, upload

MOST_RECORDS = 200
MOST_BYTES = 1 << 20  # of lines in one batch: this box may be a small one
RATE_PER_S = 200.0
MOST_TOKEN = 4096

Status = Literal["starting", "idle", "sending", "waiting", "refused"]


class Queue(Protocol):
    """What push needs of the spool."""

    arrived: asyncio.Event

    async def next_batch(self, most_records: int, most_bytes: int, *, newest: bool = False) -> tuple[Queued, ...]: ...
    async def acknowledge(self, positions: list[Position]) -> None: ...
    async def set_aside_all(self, refused: dict[Position, str]) -> None: ...
    async def want_full(self) -> None: ...


class Target(Frozen, frozen=True, kw_only=True):
    """The collector: its URL without a path's final slash, the bearer token's file (None with a client certificate), the proxy."""

    url: str
    token_file: str | None = None
    trust: Trust = Trust()
    proxy: str | None = None


class PushState(Frozen, frozen=True, kw_only=True):
    """The push for `status`. `sentence` says what is wrong, None while all is well; `failures` counts tries in a row without success.

    `last_delivery` is this box's wall time, `collector_time` the collector's at that moment. `next_try_s`: seconds until the next try.
    """

    url: str
    status: Status = "starting"
    sentence: str | None = None
    failures: int = 0
    next_try_s: float | None = None
    delivered: int = 0
    set_aside: int = 0
    last_delivery: str | None = None
    collector_time: str | None = None


class Push:
    """Sends what `spool` holds to `target`. `every_s`: the seconds between two full sweeps, which the collector is told.

    `chance`, `clock` (monotonic seconds), `sleep` and `wall` are the world; `state` can be read at any time.
    """

    def __init__(
        self,
        spool: Queue,
        target: Target,
        every_s: int,
        *,
        chance: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        wall: Callable[[], str] = wall_time,
        answer_s: float = 60.0,
    ) -> None:
        self._spool, self._target, self._every_s = spool, target, every_s
        self._clock, self._sleep, self._wall, self._answer_s = clock, sleep, wall, answer_s
        self._backoff = Backoff(chance or random.Random())
        self._most = MOST_RECORDS
        self._newest_first = True
        self._newest_due = True  # the far end may not know what is so now
        self._poke = asyncio.Event()
        self._next_try: float | None = None
        self._state = PushState(url=target.url)

    @property
    def state(self) -> PushState:
        """How it stands."""
        if self._next_try is None:
            return self._state
        return _changed(self._state, next_try_s=round(max(0.0, self._next_try - self._clock()), 1))

    def retry_now(self) -> None:
        """Ends a wait: the network is back, or the token is another one."""
        self._poke.set()

    async def run(self) -> None:
        """Until it is cancelled. OSError at once when a file of `target.trust` cannot be used."""
        client = Client(self._target.url, self._target.trust, self._target.proxy, answer_s=self._answer_s)
        try:
            while True:
                await self._round(client)
        finally:
            await client.close()

    async def _round(self, client: Client) -> None:
        """One batch on its way, or a wait for the next run."""
        self._spool.arrived.clear()
        batch = await self._spool.next_batch(self._most, MOST_BYTES, newest=self._newest_first)
        if not batch and self._newest_first:
            self._newest_first = self._newest_due = False  # loss records may still wait
            return
        if not batch:
            self._set(status="idle")
            await self._spool.arrived.wait()
            return
        batch = batch[: self._most]
        begun = self._clock()
        self._set(status="sending")
        wait = await self._carry_out(await self._sent(client, batch), batch)
        if wait is None:
            # Not faster than the collector was promised, whatever lies in the spool after an outage.
            await self._sleep(max(0.0, begun + len(batch) / RATE_PER_S - self._clock()))
        else:
            await self._pause(wait)

    async def _sent(self, client: Client, batch: tuple[Queued, ...]) -> answers.Step:
        headers = {
            "Content-Type": upload.CONTENT_TYPE,
            "Content-Encoding": "gzip",
            "Idempotency-Key": upload.idempotency_key((q.position.epoch, q.position.seq) for q in batch),
            "User-Agent": f"roomprobe/{__version__}",
            "X-Roomprobe-Every": str(self._every_s),
            "Date": email.utils.formatdate(usegmt=True),  # against it the collector sees how wrong this box's clock is
        }
        try:
            if self._target.token_file is not None:
                headers["Authorization"] = f"Bearer {token(self._target.token_file)}"
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            return answers.Refused(
                sentence=f"The token in {escape(self._target.token_file or '')} cannot be used ({why})."
            )
        body = await asyncio.to_thread(upload.pack, [queued.line for queued in batch])
        try:
            answer = await client.post(upload.PATH_RUNS, body, headers, reply.MOST_PROBLEM)
        except Unreachable as error:
            sentence = f"The collector at {escape(self._target.url)} cannot be reached ({error})."
            return answers.Later(sentence=sentence, sent=error.sent)
        return answers.step(answer, len(batch))

    async def _carry_out(self, step: answers.Step, batch: tuple[Queued, ...]) -> float | None:
        """Does what the answer asks for; seconds to wait before the next try, None for at once."""
        match step:
            case answers.Delivered():
                await self._delivered(step.receipt, batch)
            case answers.Faulty():
                await self._set_aside({batch[index].position: detail for index, detail in step.lines.items()})
            case answers.Halve() if len(batch) == 1:
                await self._set_aside({batch[0].position: step.sentence})
            case answers.Halve():
                self._most = max(1, len(batch) // 2)
            case answers.Refused():
                self._failed("refused", step.sentence)
                return self._backoff.refused()
            case answers.Later():
                self._failed("waiting", step.sentence, sent=step.sent)
                return self._backoff.failed(step.retry_after)
        return None

    async def _delivered(self, receipt: reply.Receipt, batch: tuple[Queued, ...]) -> None:
        await self._spool.acknowledge([queued.position for queued in batch])
        if receipt.want_full:
            await self._spool.want_full()
        self._backoff.succeeded()
        if self._newest_first:
            self._newest_due = False
        self._newest_first = self._newest_due
        self._most = min(MOST_RECORDS, self._most * 2)
        self._set(
            sentence=None,
            failures=0,
            delivered=self._state.delivered + len(batch),
            last_delivery=self._wall(),
            collector_time=receipt.time,
        )

    async def _set_aside(self, refused: dict[Position, str]) -> None:
        await self._spool.set_aside_all(refused)
        self._set(set_aside=self._state.set_aside + len(refused))

    def _failed(self, status: Status, sentence: str, *, sent: bool = True) -> None:
        # By turns: the newest state is what people look for, and a record that the collector chokes on must not be all that is tried.
        self._newest_first = not self._newest_first or not sent
        self._newest_due = True
        self._set(status=status, sentence=sentence, failures=self._backoff.failures + 1)

    async def _pause(self, seconds: float) -> None:
        self._next_try = self._clock() + seconds
        waits = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._poke.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._next_try = None
            self._poke.clear()
            for wait in waits:
                wait.cancel()  # not awaited: a cancellation of our own would be taken for theirs, and lost

    def _set(self, **changed: object) -> None:
        self._state = _changed(self._state, **changed)


def _changed(state: PushState, **changed: object) -> PushState:
    told = {name: getattr(state, name) for name in state.__struct_fields__}
    return PushState(**{**told, **changed})


def token(file: str) -> str:
    """The bearer token of a file: its only line. OSError, or ValueError with a few words, when it cannot be used."""
    text = files.read(file, MOST_TOKEN).decode("ascii", "replace").strip()
    if not text or not all("!" <= char <= "~" for char in text):
        raise ValueError("it is not one line of printable ASCII")
    return text
