"""OTLP/HTTP 1.x with JSON: the metrics of /metrics (without single checks) at a set pace, and each change as a log record.

The JSON mapping is protobuf's with OTLP's own rules: 64-bit integers are strings, enums are numbers, names are lowerCamelCase.
`metrics_request` and `logs_request` are pure; the rest delivers them.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import aiohttp

from roomprobe import __version__
from roomprobe.collector import metrics
from roomprobe.collector.context import Collector
from roomprobe.collector.exporters.events import Event
from roomprobe.collector.exporters.http import Answer, post
from roomprobe.collector.metrics import Family
from roomprobe.model import Frozen
from roomprobe.sinks.backoff import Backoff, retry_after
from roomprobe.text import escape

RETRY = frozenset({0, 429, 502, 503, 504})  # the specification's; 0: no answer. Anything else must not be sent again
MOST_POINTS = 5_000  # data points of one request, about 2 MB before gzip
GIVE_UP_S = 24 * 3600.0
CUMULATIVE = 2  # AGGREGATION_TEMPORALITY_CUMULATIVE
_SEVERITY = {"broken": (17, "ERROR"), "silent": (17, "ERROR"), "degraded": (13, "WARN"), "unknown": (13, "WARN")}
_INFO = (9, "INFO")
_NOT_MET = frozenset({"closed", "filtered", "rejected", "intercepted", "no-target"})
_UNITS = {"_seconds": "s", "_bytes": "By"}

log = logging.getLogger("roomprobe")


class Sent(Frozen, frozen=True, kw_only=True):
    """What became of a request: how many points or records were taken and how many not; `wait` asks for another try."""

    taken: int = 0
    refused: int = 0
    wait: bool = False
    answer: Answer


class Receiver:
    """Where it all goes. `headers` hold its secrets."""

    def __init__(self, http: aiohttp.ClientSession, url: str, headers: Sequence[tuple[str, str]]) -> None:
        self._http = http
        self._url = url
        self._headers = dict(headers) | {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "User-Agent": f"roomprobe/{__version__}",
        }

    async def send(self, signal: str, request: Mapping[str, Any], many: int) -> Sent:
        """`signal` is "metrics" or "logs", `many` how many points or records the request holds."""
        body = await asyncio.to_thread(_packed, request)
        answer = await post(self._http, f"{self._url}/v1/{signal}", body, self._headers)
        if not 200 <= answer.status < 300:
            return Sent(refused=many, wait=answer.status in RETRY, answer=answer)
        refused, message = partial(answer.body)
        if refused or message:
            log.warning("otlp: of %d %s %d were refused: %s", many, signal, refused, escape(message))
        return Sent(taken=max(0, many - refused), refused=min(refused, many), answer=answer)


class Logs:
    """Changes of services, checks and rooms as log records: a sink of the feed."""

    name = "otlp_logs"
    batch = 500

    def __init__(
        self,
        collector: Collector,
        receiver: Receiver,
        *,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._collector = collector
        self._receiver = receiver
        self._backoff = backoff or Backoff(random.Random())
        self._sleep = sleep

    def wants(self, event: Event) -> bool:
        """Changes; runs are not news."""
        return event.facts is None

    async def resume(self) -> None:
        """Records that were under way come again."""

    async def deliver(self, found: list[Event], upto: int) -> None:
        """One request, again while the receiver asks for that."""
        begun = self._collector.mono()
        request = logs_request(found, self._collector.now())
        while True:
            sent = await self._receiver.send("logs", request, len(found))
            late = self._collector.mono() - begun > GIVE_UP_S
            if not sent.wait or late:
                break
            self._collector.count("export_otlp_logs_failed")
            await self._sleep(self._backoff.failed(retry_after(sent.answer.headers)))
        self._backoff.succeeded()
        _count(self._collector, self.name, sent)


async def metrics_for_ever(
    collector: Collector, receiver: Receiver, every_s: float, sleep: Callable[[float], Any] = asyncio.sleep
) -> None:
    """Sends all metrics every so often. What cannot be sent before the next round is dropped: newer values take its place."""
    backoff = Backoff(random.Random())
    while True:
        due = collector.mono() + every_s
        try:
            writer = {
                "commits": collector.writer.commits,
                "jobs": collector.writer.jobs,
                "waiting": collector.writer.waiting,
            }
            now = collector.now()
            found = await collector.reader.ask(metrics.families, now, dict(collector.counts), writer, checks=False)
            for part in _parts(found):
                many = sum(len(family.samples) for family in part)
                sent = await receiver.send("metrics", metrics_request(part, now), many)
                while sent.wait and collector.mono() < due:
                    collector.count("export_otlp_metrics_failed")
                    wait = backoff.failed(retry_after(sent.answer.headers))
                    await sleep(min(wait, max(0.0, due - collector.mono())))
                    sent = await receiver.send("metrics", metrics_request(part, now), many)
                if not sent.wait:
                    backoff.succeeded()
                _count(collector, "otlp_metrics", sent)
        except Exception:
            log.exception("internal error in the otlp exporter; it goes on")
        await sleep(max(0.0, due - collector.mono()))


def metrics_request(found: Iterable[Family], now: int) -> dict[str, Any]:
    """ExportMetricsServiceRequest; `now` in milliseconds."""
    return {
        "resourceMetrics": [
            {
                "resource": _RESOURCE,
                "scopeMetrics": [{"scope": _SCOPE, "metrics": [_metric(family, now) for family in found]}],
            }
        ]
    }


def logs_request(found: Iterable[Event], now: int) -> dict[str, Any]:
    """ExportLogsServiceRequest."""
    records = [_record(event, now) for event in found]
    return {"resourceLogs": [{"resource": _RESOURCE, "scopeLogs": [{"scope": _SCOPE, "logRecords": records}]}]}


def partial(body: bytes) -> tuple[int, str]:
    """How many the receiver refused of a request that it took, and what it says of that. Anything else is (0, "")."""
    try:
        told = json.loads(body or b"{}")["partialSuccess"]
        numbers = [told.get(name, 0) for name in ("rejectedDataPoints", "rejectedLogRecords")]
        return max(0, *(int(number) for number in numbers)), str(told.get("errorMessage", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0, ""


def _metric(family: Family, now: int) -> dict[str, Any]:
    points = [
        {"attributes": _attributes(labels), "timeUnixNano": _nanos(now), "asDouble": float(value)}
        for labels, value in family.samples
    ]
    common = {"name": family.name, "description": family.help, "unit": _unit(family.name)}
    if family.kind == "gauge":
        return common | {"gauge": {"dataPoints": points}}
    # No startTimeUnixNano: most of these counters last over a restart, and when they began is not kept.
    return common | {"sum": {"dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": True}}


def _record(event: Event, now: int) -> dict[str, Any]:
    after, before = event.after, event.before
    state = after.outcome if after else "gone"
    number, text = _SEVERITY.get(state, (13, "WARN") if state in _NOT_MET else _INFO)
    said = {
        "event.name": "roomprobe.change",
        "roomprobe.id": event.id,
        "roomprobe.kind": event.kind,
        "roomprobe.room": event.room,
        "roomprobe.site": event.site,
        "roomprobe.org": event.org,
        "roomprobe.agent": event.agent,
        "roomprobe.profile": event.profile,
        "roomprobe.row": event.row,
        "roomprobe.name": event.name,
        "roomprobe.before": before.outcome if before else None,
        "roomprobe.after": after.outcome if after else None,
        "roomprobe.reason": after.reason if after else None,
        "roomprobe.where": after.where if after else None,
    }
    sentence = after.sentence if after and after.sentence else f"{event.name} is {state}"
    return {
        "timeUnixNano": _nanos(event.at),
        "observedTimeUnixNano": _nanos(now),
        "severityNumber": number,
        "severityText": text,
        "body": {"stringValue": f"{event.room}: {sentence}"},
        "attributes": _attributes({name: value for name, value in said.items() if value is not None}),
    }


def _attributes(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": name, "value": {"stringValue": value}} for name, value in labels.items()]


_RESOURCE = {"attributes": _attributes({"service.name": "roomprobe-collector", "service.version": __version__})}
_SCOPE = {"name": "roomprobe.collector", "version": __version__}


def _parts(found: Iterable[Family]) -> Iterator[list[Family]]:
    """The families in pieces of at most MOST_POINTS; a family without series is left out."""
    part: list[Family] = []
    room = MOST_POINTS
    for family in found:
        samples = family.samples
        while samples:
            piece, samples = samples[:room], samples[room:]
            part.append(Family(name=family.name, kind=family.kind, help=family.help, samples=piece))
            room -= len(piece)
            if not room:
                yield part
                part, room = [], MOST_POINTS
    if part:
        yield part


def _count(collector: Collector, name: str, sent: Sent) -> None:
    if sent.taken:
        collector.count(f"export_{name}_sent", sent.taken)
    if sent.refused:
        collector.count(f"export_{name}_dropped", sent.refused)
    if not 200 <= sent.answer.status < 300:
        log.warning("otlp: %d of %s are dropped (%s)", sent.refused, name, sent.answer.why)


def _unit(name: str) -> str:
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "1")


def _nanos(at: int) -> str:
    return str(at * 1_000_000)


def _packed(request: Mapping[str, Any]) -> bytes:
    return gzip.compress(json.dumps(request, ensure_ascii=True, separators=(",", ":")).encode("ascii"), 6, mtime=0)
