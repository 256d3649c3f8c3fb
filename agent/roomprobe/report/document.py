"""The JSON report: one `Report` as plain values, in the shape that others rely on (docs/report.md).

The shape is held by report.schema.json. Names once shipped stay; new ones are added.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import msgspec

from roomprobe.evidence import Connect, PathEvidence, TcpEvidence, TlsEvidence, UdpEvidence
from roomprobe.link.evidence import ControllerEvidence, LinkEvidence, Search
from roomprobe.model import Host, Result, Service
from roomprobe.report.run import Report

SCHEMA = 1


def document(report: Report) -> dict[str, Any]:
    """The whole run as one dictionary of plain values. Text from the network stands in it raw, never escaped."""
    return {
        **_head(report),
        "services": [_service(service) for service in report.services],
        "checks": [_check(result) for result in report.results],
        "paths": [_path(path) for path in report.paths],
        "links": [_path(link) for link in report.links],
        "search": None if report.search is None else _path(report.search),
    }


def to_json(report: Report) -> str:
    """`--json`: the document, indented, pure ASCII (JSON escapes do the rest), with a newline at the end."""
    return _text(document(report), indent=2) + "\n"


def to_ndjson(report: Report) -> str:
    """`--ndjson`: a line of type "run", then one a service, a check, a path and a link; each carries the run's id as `run_id`."""
    whole = document(report)
    services, checks, paths, links = (whole.pop(name) for name in ("services", "checks", "paths", "links"))
    lines = [{"type": "run", **whole}]
    lines += [{"type": "service", "run_id": report.run.id, **service} for service in services]
    lines += [{"type": "check", "run_id": report.run.id, **check} for check in checks]
    lines += [{"type": "path", "run_id": report.run.id, **path} for path in paths]
    lines += [{"type": "link", "run_id": report.run.id, **link} for link in links]
    return "".join(_text(line) + "\n" for line in lines)


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `document`; `$defs/line` is that of one NDJSON line."""
    text = resources.files("roomprobe.report").joinpath("report.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _text(value: Any, indent: int | None = None) -> str:
    # ASCII, so that no control or bidi character reaches a terminal as itself.
    return json.dumps(value, ensure_ascii=True, allow_nan=False, indent=indent)


def _plain(value: Any) -> Any:
    """A frozen value as what a JSON reader would give back: dictionaries, lists, text, numbers, None."""
    return _lists(msgspec.to_builtins(value))


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, list | tuple) else value


def _head(report: Report) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "agent": {"id": report.agent_id, "version": report.agent_version},
        "site": _plain(report.site),
        "run": _plain(report.run),
        "host": _host(report.host),
        "notes": list(report.notes),
    }


def _host(host: Host) -> dict[str, Any]:
    return {
        "interface": host.interface,
        "addresses": [f"{address.address}/{address.prefix}" for address in host.addresses],
        "gateway": {"ipv4": host.gateways.get(4), "ipv6": host.gateways.get(6)},
        "resolvers": list(host.resolvers),
        "proxy": host.proxy,
        "vpn": host.vpn,
        "vantage": _plain(host.vantage),
    }


def _service(service: Service) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(service)
    return plain


def _check(result: Result) -> dict[str, Any]:
    check, verdict = result.check, result.verdict
    return {
        "id": check.id,
        "profile": check.profile,
        "row": check.row,
        "purpose": check.purpose,
        "document": check.document,
        "need": check.need.value,
        "group": check.group,
        "host": check.host,
        "address": check.address,
        "port": check.port,
        "source": _source(result.evidence),
        "transport": check.transport,
        "kind": check.kind,
        "via": check.via,
        "direction": check.direction,
        "outcome": verdict.outcome.value,
        "confidence": verdict.confidence.value,
        "where": verdict.where.value if verdict.where else None,
        "reason": verdict.reason.value,
        "sentence": verdict.sentence,
        "hop": _plain(verdict.hop),
        "rtt_ms": verdict.rtt_ms,
        "evidence": _plain(result.evidence),
    }


def _path(path: PathEvidence | LinkEvidence | Search) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(path)
    return {key: value for key, value in plain.items() if key != "type"}


def _source(evidence: Any) -> dict[str, Any]:
    """Our own address and port of the first flow of a check, as far as the evidence knows them."""
    if isinstance(evidence, UdpEvidence):
        ports = (exchange.source_port for exchange in evidence.exchanges if exchange.source_port is not None)
        return {"address": evidence.source, "port": next(ports, None)}
    if isinstance(evidence, ControllerEvidence):
        return {"address": evidence.connect.source, "port": evidence.connect.source_port}
    if isinstance(evidence, TlsEvidence | TcpEvidence):
        connect: Connect = evidence.proxy.connect if evidence.proxy else evidence.connect
        return {"address": connect.source, "port": connect.source_port}
    return {"address": None, "port": None}
