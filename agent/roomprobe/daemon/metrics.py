"""The daemon's /metrics: a small HTTP server for one page in Prometheus' text format (exposition format 0.0.4).

What is unknown is not told as a number: a check that is neither met nor failed has no probe_success.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from roomprobe import __version__
from roomprobe.daemon.board import Board
from roomprobe.daemon.clients import bounded
from roomprobe.meets import Meets, meets
from roomprobe.outcome import Outcome, State
from roomprobe.report.run import Report
from roomprobe.sections import OFF

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_CLIENTS = 8
MOST_REQUEST = 8192
PATIENCE_S = 5.0

Sample = tuple[Mapping[str, str], float]
Expose = Callable[[], Awaitable[tuple[Board, dict[str, Any]]]]


class Metrics:
    """The server; `listen` may be called again with another address."""

    def __init__(self, expose: Expose) -> None:
        self._expose = expose
        self._address = OFF
        self._server: asyncio.Server | None = None
        self.trouble: str | None = None

    async def listen(self, address: str) -> None:
        """Serves at this address and no other; "off" for none. When it cannot, `trouble` says so, and the daemon goes on without."""
        self.trouble = None
        if address == self._address:
            return
        await self.close()
        if address == OFF:
            return
        host, _, port = address.rpartition(":")
        try:
            self._server = await asyncio.start_server(
                bounded(self._client, MOST_CLIENTS, PATIENCE_S),
                host.strip("[]"),
                int(port),
                limit=MOST_REQUEST,
                backlog=MOST_CLIENTS,
            )
        except OSError as error:
            self.trouble = f"[daemon] metrics: {address} cannot be listened on ({os.strerror(error.errno or 0)})."
            return
        self._address = address

    async def close(self) -> None:
        """Listens no more."""
        if self._server is not None:
            self._server.close()
        self._server, self._address = None, OFF

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await self._answer(await reader.readuntil(b"\r\n\r\n")))
        await writer.drain()

    async def _answer(self, request: bytes) -> bytes:
        words = request.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _http("400 Bad Request", "not an HTTP request\n")
        if words[0] not in (b"GET", b"HEAD"):
            return _http("405 Method Not Allowed", "only GET\n", extra="Allow: GET, HEAD\r\n")
        if words[1].split(b"?", 1)[0] != b"/metrics":
            return _http("404 Not Found", "only /metrics\n")
        whole = _http("200 OK", page(*await self._expose()))
        return whole if words[0] == b"GET" else whole[: whole.index(b"\r\n\r\n") + 4]


def _http(status: str, body: str, extra: str = "") -> bytes:
    data = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(data)}\r\n{extra}Connection: close\r\n\r\n"
    return head.encode() + data


def page(board: Board, outlet: Mapping[str, Any]) -> str:
    """The whole page."""
    parts = [
        _family("roomprobe_build_info", "gauge", "The release that runs.", [({"version": __version__}, 1)]),
        _family("roomprobe_start_time_seconds", "gauge", "When the daemon started (this box's clock).", [({}, board.started.wall)]),
        _family(
            "roomprobe_runs_total", "counter", "Runs by trigger and result.",
            [({"trigger": trigger, "result": result}, n) for (trigger, result), n in sorted(board.runs.items())],
        ),
        _family("roomprobe_configuration_refused", "gauge", "1 when the last reload was refused.", [({}, board.refused is not None)]),
    ]  # fmt: skip
    if board.report is not None:
        parts += _run(board.report)
    parts += _outlet(outlet)
    parts += [
        _family("process_resident_memory_bytes", "gauge", "Resident memory.", [({}, n) for n in _resident()]),
        _family("process_open_fds", "gauge", "Open file descriptors.", [({}, n) for n in _open_files()]),
    ]
    return "".join(parts)


def _run(report: Report) -> list[str]:
    outcomes: list[Sample] = []
    success: list[Sample] = []
    durations: list[Sample] = []
    for result in report.results:
        check, verdict = result.check, result.verdict
        labels = {
            "profile": check.profile,
            "row": check.row,
            "check": check.id,
            "target": check.host or "",
            "address": check.address or "",
            "transport": check.transport or "",
            "port": str(check.port or ""),
        }
        outcomes.append(({**labels, "outcome": verdict.outcome.value, "reason": verdict.reason.value}, 1))
        state = meets(verdict)
        if verdict.outcome is not Outcome.SKIPPED and state in (Meets.MET, Meets.NOT_MET):
            success.append((labels, state is Meets.MET))
        if verdict.rtt_ms is not None:
            durations.append((labels, verdict.rtt_ms / 1000))
    states = [
        ({"profile": s.profile, "service": s.id, "state": state.value}, s.state is state)
        for s in report.services
        for state in State
    ]
    return [
        _family("probe_success", "gauge", "1: the requirement is met, 0: it is not. Absent: cannot be told.", success),
        _family("probe_duration_seconds", "gauge", "Round-trip time of the last answer in this run.", durations),
        _family("roomprobe_check_outcome", "gauge", "Always 1; the labels say what was found.", outcomes),
        _family("roomprobe_service_state", "gauge", "1 for the state that the service is in.", states),
        _family(
            "roomprobe_run_duration_seconds", "gauge", "How long the last run took.", [({}, report.run.duration_s)]
        ),
    ]


def _outlet(outlet: Mapping[str, Any]) -> list[str]:
    spool, push = outlet["spool"], outlet["push"]
    parts = []
    if spool is not None:
        for name, key, text in (
            ("roomprobe_spool_records", "depth", "Records that wait for the collector."),
            ("roomprobe_spool_bytes", "bytes", "Bytes that the spool uses."),
            ("roomprobe_spool_rejected", "rejected", "Records that the collector refused."),
            ("roomprobe_spool_lost", "lost", "Runs lost that no loss record has told the collector yet."),
        ):
            value = spool.get(key)
            parts.append(_family(name, "gauge", text, [] if value is None else [({}, value)]))
    if push is not None:
        parts.append(
            _family("roomprobe_push_failures", "gauge", "Tries in a row without success.", [({}, push["failures"])])
        )
        parts.append(
            _family("roomprobe_push_delivered_total", "counter", "Records delivered.", [({}, push["delivered"])])
        )
    return parts


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    """A metric with its samples; nothing without samples."""
    lines = [f"{name}{_labels(labels)} {_number(value)}\n" for labels, value in samples]
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{''.join(lines)}" if lines else ""


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    plain = value.encode("utf-8", "replace").decode()
    return plain.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return repr(float(value)) if value != int(value) else str(int(value))


def _resident() -> list[int]:
    try:
        return [int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")]
    except (OSError, ValueError, IndexError):
        return []


def _open_files() -> list[int]:
    try:
        return [len(os.listdir("/proc/self/fd"))]  # noqa: PTH208  numbers, not paths
    except OSError:
        return []
