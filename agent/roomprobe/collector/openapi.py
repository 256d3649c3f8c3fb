"""The OpenAPI 3.1 document: one table of routes, with the schemas of views.py. A test holds it against the routes and real answers."""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from roomprobe import __version__
from roomprobe.collector import queries, views
from roomprobe.collector.access import Ask
from roomprobe.collector.people import Enrolled
from roomprobe.wire.reply import Problem, Receipt

_PAGE = ("page", "size")
_TIMES = ("from", "to")
PARAMETERS: dict[str, tuple[str, dict[str, Any]]] = {
    "q": ("A part of the room's name, site or organisation.", {"type": "string", "maxLength": 512}),
    "state": ("Only rooms in this state.", {"enum": list(queries.STATES)}),
    "silent": ("1: only silent rooms; 0: only the others.", {"type": "integer", "minimum": 0, "maximum": 1}),
    "site": ("Only rooms of this site.", {"type": "string", "maxLength": 512}),
    "page": ("Which page, from 1.", {"type": "integer", "minimum": 1, "default": 1}),
    "size": (
        "Lines of a page.",
        {"type": "integer", "minimum": 1, "maximum": queries.MOST_PAGE, "default": queries.PAGE},
    ),
    "limit": ("The most lines.", {"type": "integer", "minimum": 1, "maximum": queries.MOST_PAGE, "default": 100}),
    "before": ("Goes on after the page whose answer held this.", {"type": "string"}),
    "since": ("Not before this, milliseconds since 1970.", {"type": "integer", "minimum": 0}),
    "from": ("Not before this, milliseconds since 1970.", {"type": "integer", "minimum": 0}),
    "to": ("Before this, milliseconds since 1970.", {"type": "integer", "minimum": 0}),
    "kind": ("Only these.", {"enum": ["check", "service"]}),
    "every_ms": ("The length of one point, at least five minutes.", {"type": "integer", "minimum": 300_000}),
}
# path → summary, answer, query parameters
READS: dict[str, tuple[str, type, tuple[str, ...]]] = {
    "/v1/summary": ("How many rooms are in which state", views.Summary, ()),
    "/v1/rooms": ("The fleet, the worst first", views.Rooms, ("q", "state", "silent", "site", *_PAGE)),
    "/v1/rooms/{room}": ("One room with its newest report", views.RoomPage, ()),
    "/v1/rooms/{room}/runs": ("The stored runs of a room", views.Runs, ("limit", "before")),
    "/v1/rooms/{room}/runs/{run}": ("The report behind a run", views.Document, ()),
    "/v1/rooms/{room}/changes": ("What changed in a room", views.Changes, ("since", "before", "kind", "limit")),
    "/v1/rooms/{room}/checks/{check}/history": ("One check over time", views.CheckHistory, (*_TIMES, "every_ms")),
    "/v1/rooms/{room}/services/{profile}/{service}/history": ("One service over time", views.ServiceHistory, _TIMES),
    "/v1/rooms/{room}/intervals/{interval}": ("What was seen when an interval began", views.Evidence, ()),
    "/v1/changes": ("What changed anywhere", views.Changes, ("since", "before", "kind", "limit")),
    "/v1/checks/{profile}/{row}": ("One row in all rooms", views.AcrossRooms, _PAGE),
    "/v1/openapi.json": ("This document", dict, ()),
    "/healthz": ("Whether the collector and its store answer; open to anybody", views.Health, ()),
}


@functools.cache
def document() -> dict[str, Any]:
    """The whole document."""
    kinds = [answer for _, answer, _ in READS.values() if answer is not dict]
    _, schemas = msgspec.json.schema_components(
        [*kinds, Receipt, Problem, Enrolled, Ask], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Any] = {path: {"get": _read(path, *said)} for path, said in READS.items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "roomprobe collector",
            "version": __version__,
            "description": "Times are milliseconds since 1970 UTC. Refusals are problem documents (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths | _writes(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "reader": {"type": "http", "scheme": "bearer", "description": "An API token or a share link's token."},
                "session": {"type": "apiKey", "in": "cookie", "name": "roomprobe"},
                "box": {"type": "http", "scheme": "bearer", "description": "The token that a box got at enrolment."},
            },
        },
        "security": [{"reader": []}, {"session": []}],
    }


def _read(path: str, summary: str, answer: type, query: tuple[str, ...]) -> dict[str, Any]:
    inside = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]
    asked = [
        {"name": name, "in": "query", "description": PARAMETERS[name][0], "schema": PARAMETERS[name][1]}
        for name in query
    ]
    found: dict[str, Any] = {
        "summary": summary,
        "operationId": re.sub(r"\W+", "_", path.removeprefix("/v1")).strip("_"),
        "parameters": inside + asked,
        "responses": {"200": _answer(summary, answer), "default": _problem()},
    }
    return found | ({"security": []} if path == "/healthz" else {})


def _writes() -> dict[str, Any]:
    return {
        "/v1/runs": {
            "post": {
                "summary": "Stores an upload of a box, all of it or none",
                "operationId": "upload",
                "security": [{"box": []}],
                "requestBody": {
                    "required": True,
                    "description": "Records, one JSON object a line, gzip (docs/upload.md).",
                    "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
                },
                "responses": {"200": _answer("Stored and committed", Receipt), "default": _problem()},
            }
        },
        "/v1/enrol": {
            "post": {
                "summary": "Enrols a box, by a token that works once",
                "operationId": "enrol",
                "security": [],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ask"}}},
                },
                "responses": {"200": _answer("Enrolled", Enrolled), "default": _problem()},
            }
        },
        "/v1/shares": {"post": _form("Makes a read-only link", "share", ("room", "label", "days", "csrf"))},
        "/v1/shares/{number}/revoke": {
            "post": _form("Revokes a link", "unshare", ("csrf",))
            | {"parameters": [{"name": "number", "in": "path", "required": True, "schema": {"type": "integer"}}]}
        },
    }


def _form(summary: str, name: str, fields: tuple[str, ...]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {field: {"type": "string"} for field in fields}}
    return {
        "summary": summary,
        "operationId": name,
        "security": [{"session": []}],
        "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": schema}}},
        "responses": {"200": _answer("Done", dict), "default": _problem()},
    }


def _answer(summary: str, answer: type) -> dict[str, Any]:
    schema = {"type": "object"} if answer is dict else {"$ref": f"#/components/schemas/{answer.__name__}"}
    return {"description": summary, "content": {"application/json": {"schema": schema}}}


def _problem() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": "Refused, and why", "content": {"application/problem+json": {"schema": schema}}}
