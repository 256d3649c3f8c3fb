"""OTLP/HTTP JSON against the published protobuf schema: what is sent parses into it field by field, under OTLP's own JSON rules."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from roomprobe.collector.exporters import otlp
from roomprobe.collector.exporters.options import Export
from roomprobe.collector.exporters.running import exporting
from roomprobe.collector.metrics import Family
from tests.collector.conftest import Running
from tests.exporters.conftest import Room
from tests.exporters.receiver import Receiver, unpacked

pytestmark = pytest.mark.usefixtures("hasty")
KINDS = {"/v1/metrics": ExportMetricsServiceRequest, "/v1/logs": ExportLogsServiceRequest}
_WIDE = {
    FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64
}  # fmt: skip


def conform(message: Message, said: Any) -> None:
    """What protobuf's own parser lets pass and OTLP does not: names in lowerCamelCase, 64-bit integers as strings, enums as
    numbers, bytes (ids) in hex."""
    for name, value in said.items():
        fields = [one for one in message.DESCRIPTOR.fields if one.json_name == name]
        assert fields, f"{name} is no name of {message.DESCRIPTOR.name}"
        field = fields[0]
        many = isinstance(value, list)
        for number, one in enumerate(value if many else [value]):
            if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
                inner = getattr(message, field.name)
                conform(inner[number] if many else inner, one)
            elif field.cpp_type in _WIDE:
                assert isinstance(one, str) and re.fullmatch(r"-?[0-9]+", one), (name, one)
            elif field.cpp_type in (FieldDescriptor.CPPTYPE_ENUM, FieldDescriptor.CPPTYPE_INT32):
                assert type(one) is int, (name, one)
            elif field.type == FieldDescriptor.TYPE_BYTES:
                assert re.fullmatch(r"([0-9a-f]{2})*", one), (name, one)


def read(path: str, headers: dict[str, str], body: bytes) -> Any:
    """A request as a strict receiver reads it."""
    assert headers["content-type"] == "application/json"
    assert headers["content-encoding"] == "gzip"
    said = json.loads(unpacked(body))
    message = json_format.ParseDict(said, KINDS[path](), ignore_unknown_fields=False)
    conform(message, said)
    return message


def to(receiver: Receiver, **more: Any) -> Export:
    return Export(otlp=receiver.url, **more)


def logs(receiver: Receiver) -> list[Any]:
    found = [read(*one) for one in receiver.taken if one[0] == "/v1/logs"]
    return [r for m in found for rl in m.resource_logs for sl in rl.scope_logs for r in sl.log_records]


def attributes(one: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in one.attributes}


async def until(found: Any) -> None:
    for _ in range(1000):
        if found():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


def count(server: Running, name: str) -> int:
    return server.collector.counts[f"export_otlp_{name}"]


async def test_metrics_are_those_of_the_page(server: Running, box: Room, receiver: Receiver) -> None:
    await box.says("broken")
    async with exporting(server.collector, to(receiver, otlp_headers=(("Authorization", "Bearer s3cret"),))):
        await receiver.until(1)
    path, headers, body = receiver.taken[0]
    assert (path, headers["authorization"]) == ("/v1/metrics", "Bearer s3cret")
    message = read(path, headers, body)
    resource = message.resource_metrics[0]
    assert attributes(resource.resource)["service.name"] == "roomprobe-collector"
    found = {one.name: one for one in resource.scope_metrics[0].metrics}
    state = found["roomprobe_service_state"].gauge.data_points[0]
    assert attributes(state)["room"] == "Boardroom 4" and attributes(state)["state"] == "broken"
    assert state.as_double == 1.0
    assert abs(state.time_unix_nano / 1e6 - server.collector.now()) < 60_000
    uploads = found["roomprobe_collector_uploads_total"].sum
    assert uploads.is_monotonic and uploads.aggregation_temporality == 2
    assert uploads.data_points[0].as_double == 1.0
    assert found["roomprobe_collector_store_bytes"].unit == "By"


async def test_changes_are_log_records(server: Running, box: Room, receiver: Receiver) -> None:
    await box.says("full")
    async with exporting(server.collector, to(receiver)):
        await box.says("broken", "full")
        await until(lambda: len(logs(receiver)) >= 4)
    found = {(attributes(r)["roomprobe.name"], attributes(r)["roomprobe.after"]): r for r in logs(receiver)}
    broken = found["calls", "broken"]
    assert (broken.severity_number, broken.severity_text) == (17, "ERROR")
    assert broken.body.string_value == "Boardroom 4: as of run 1"
    assert broken.time_unix_nano == (box.begin + 1000) * 1_000_000
    assert found["calls", "full"].severity_number == 9
    check = "starleaf/F1/config.starleaf.com/203.0.113.10/tcp/443"
    assert found[check, "filtered"].severity_number == 13
    assert attributes(found[check, "filtered"])["roomprobe.row"] == "F1"


@pytest.mark.parametrize("fault", [429, 502, 503, 504, "slow", "reset", "half"])
async def test_what_may_be_sent_again_is(server: Running, box: Room, receiver: Receiver, fault: Any) -> None:
    await box.says("full")
    async with exporting(server.collector, to(receiver, otlp_every_s=3600.0)):
        await receiver.until(1)
        receiver.faults = [fault, fault]
        receiver.headers = {"Retry-After": "0"}
        await box.says("broken")
        await until(lambda: logs(receiver))
    assert len(logs(receiver)) == 2
    assert count(server, "logs_failed") == 2
    assert len({body for path, _, body in receiver.requests if path == "/v1/logs"}) == 1 or fault == "slow"


@pytest.mark.parametrize("fault", [400, 401, 404, 413, 500, "redirect"])
async def test_what_may_not_is_dropped_and_counted(server: Running, box: Room, receiver: Receiver, fault: Any) -> None:
    await box.says("full")
    async with exporting(server.collector, to(receiver, otlp_every_s=3600.0)):
        await receiver.until(1)
        receiver.faults = [fault]
        await box.says("broken")
        await until(lambda: count(server, "logs_dropped"))
        await box.says("full")
        await until(lambda: logs(receiver))
    assert count(server, "logs_dropped") == 2
    assert {attributes(one)["roomprobe.after"] for one in logs(receiver)} == {"full", "open"}
    assert sum(path == "/v1/logs" for path, _, _ in receiver.requests) == 2


async def test_a_partial_success_is_counted_and_not_sent_again(server: Running, box: Room, receiver: Receiver) -> None:
    await box.says("full")
    async with exporting(server.collector, to(receiver, otlp_every_s=3600.0)):
        await receiver.until(1)
        receiver.body = b'{"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "too old\\u0000"}}'
        await box.says("broken")
        await until(lambda: count(server, "logs_dropped"))
        await asyncio.sleep(0.1)
    assert (count(server, "logs_sent"), count(server, "logs_dropped")) == (1, 1)
    assert sum(path == "/v1/logs" for path, _, _ in receiver.requests) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", (0, "")),
        (b"{}", (0, "")),
        (b"nonsense", (0, "")),
        (b"[" * 20_000, (0, "")),
        (b'{"partialSuccess": 3}', (0, "")),
        (b'{"partialSuccess": {"rejectedDataPoints": 7}}', (7, "")),
        (b'{"partialSuccess": {"rejectedDataPoints": "7", "errorMessage": "x"}}', (7, "x")),
        (b'{"partialSuccess": {"rejectedDataPoints": "-7"}}', (0, "")),
    ],
)
def test_answers(body: bytes, said: tuple[int, str]) -> None:
    assert otlp.partial(body) == said


def test_large_fleets_go_in_pieces() -> None:
    big = Family(name="a", kind="gauge", help="", samples=tuple(({"n": str(n)}, 1.0) for n in range(12_000)))
    few = Family(name="b", kind="counter", help="", samples=(({}, 1.0),))
    none = Family(name="c", kind="gauge", help="", samples=())
    parts = list(otlp._parts([few, big, none, few]))
    assert [sum(len(family.samples) for family in part) for part in parts] == [5_000, 5_000, 2_002]
    assert [s for p in parts for f in p for s in f.samples if f.name == "a"] == list(big.samples)


async def test_metrics_wait_for_nothing_older(server: Running, box: Room, receiver: Receiver) -> None:
    receiver.faults = [503] * 5
    async with exporting(server.collector, to(receiver, otlp_every_s=0.1)):
        await receiver.until(2)
    sent = [read(*one).resource_metrics[0].scope_metrics[0].metrics[0] for one in receiver.taken]
    times = [one.gauge.data_points[0].time_unix_nano for one in sent]
    assert times == sorted(set(times))
