"""The events of `roomprobe codec` as lines for people: the clock of this box, who, which port, what."""

from __future__ import annotations

import datetime

from roomprobe.farend import events
from roomprobe.farend.events import AnyEvent
from roomprobe.farend.limits import MOST_PEERS_SHOWN
from roomprobe.text import escape, table


def started(event: events.Started) -> str:
    """What it listens on, and the addresses by which it can be reached; several lines."""
    lines = [f"roomprobe {event.version} stands in for a Teamline 5141, until Ctrl-C"]
    for one in event.ports:
        which = "" if one.port == one.stands_for else f"  for port {one.stands_for}"
        tls = f"  TLS, certificate SHA-256 {event.fingerprint}" if one.stands_for == 443 else ""
        lines.append(f"listening on [::]:{one.port}{which}{tls}")
    offset = event.ports[0].port - event.ports[0].stands_for
    also = f" --port-offset {offset}" if offset else ""
    where = f" on {escape(event.interface)}" if event.interface else ""
    if not event.addresses:
        lines.append(f"no IPv6 address{where} by which another box could reach this one")
        return "\n".join(lines)
    lines.append("another roomprobe reaches it with --once --profile teamline-5141 and one of")
    for own in event.addresses:
        # The interface in a link-local address is always that of the box which uses it (RFC 4007 section 11).
        local = own.address.startswith("fe80")
        note = f"{escape(own.interface)} here; IF is the interface there" if local else f"{escape(own.interface)} here"
        lines.append(f"  --codec {own.address}{'%IF' if local else ''}{also}  ({note})")
    return "\n".join(lines)


def line(event: AnyEvent) -> str:
    """One event; `peer` events are collected by `summary` instead."""
    match event:
        case events.Started():
            return started(event)
        case events.Connected():
            return f"{_met(event)}  connected"
        case events.Saw():
            return f"{_met(event)}  {events.KINDS[event.kind]}"
        case events.Closed():
            return f"{_met(event)}  {_ending(event)}"
        case events.Refused():
            return f"{_met(event)}  closed at once: {events.REFUSALS[event.why]}"
        case events.More():
            return f"{_clock(event.time)}  {_more(event)}"
        case events.Log():
            return f"{_clock(event.time)}  the log gets nothing more: {event.why}"
        case events.Peer():
            return f"{event.address or 'others'} {event.port or ''} {event.connections}"
        case events.Stopped():
            lost = f", {event.unsaid:,} lines not shown" if event.unsaid else ""
            many = _plural(event.connections, "connection")
            refused = f", {event.refused:,} of them closed at once" if event.refused else ""
            return f"stopped after {event.seconds:.0f} s: {many}{refused}{lost}"


def summary(peers: list[events.Peer]) -> str:
    """Who connected to which port, how often, when first and last; an empty text when nobody did."""
    rows = [
        (
            one.address or "others",
            "" if one.port is None else str(one.port),
            f"{one.connections:,}",
            f"{one.refused:,}",
            _clock(one.first),
            _clock(one.last),
        )
        for one in peers[:MOST_PEERS_SHOWN]
    ]
    text = table(("from", "port", "connections", "closed at once", "first", "last"), rows) if rows else ""
    left = len(peers) - len(rows)
    return f"{text}\n… and {left:,} more lines, which --json shows" if left > 0 else text


def _met(event: events.Met) -> str:
    return f"{_clock(event.time)}  {escape(event.address, 80)} port {event.source_port} → {event.port}"


def _ending(event: events.Closed) -> str:
    parts = [f"{events.ENDS[event.by, event.why]} after {event.seconds:.1f} s"]
    if event.kinds == ("unknown",):
        parts.append(f"{event.received:,} bytes of no known kind")
    elif event.kinds == ("nothing",):
        parts.append(events.KINDS["nothing"])
    if event.requests:
        parts.append(_plural(event.requests, "HTTP request"))
    if event.commands:
        parts.append(_plural(event.commands, "command"))
    return ", ".join(parts)


def _more(event: events.More) -> str:
    kinds = ", ".join(f"{count:,} × {events.KINDS[kind]}" for kind, count in sorted(event.kinds.items()))
    if not event.connections:
        return f"of those before, ended: {kinds}"
    refused = f", {event.refused:,} of them closed at once" if event.refused else ""
    ended = f"; ended: {kinds}" if kinds else ""
    return f"and {event.connections:,} more connection{'s' * (event.connections != 1)}{refused}{ended}"


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _clock(time: str) -> str:
    return datetime.datetime.fromisoformat(time).astimezone().strftime("%H:%M:%S")
