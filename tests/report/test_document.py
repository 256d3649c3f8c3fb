"""The JSON report against its schema, and the schema against the vocabulary and the documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from roomprobe.evidence import Connect, ProxyAnswer, TlsEvidence
from roomprobe.outcome import Confidence, Need, Outcome, Reason, State, Where
from roomprobe.report.document import document, schema, to_json, to_ndjson
from tests.report import samples

SCHEMA = schema()
WHOLE = jsonschema.Draft202012Validator(SCHEMA)
LINE = jsonschema.Draft202012Validator({"$ref": "#/$defs/line", "$defs": SCHEMA["$defs"]})
DOCS = Path(__file__).parents[2] / "docs" / "report.md"


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", samples.ALL)
def test_every_sample_keeps_the_schema(name: str) -> None:
    WHOLE.validate(document(samples.ALL[name]()))
    for line in to_ndjson(samples.ALL[name]()).splitlines():
        LINE.validate(json.loads(line))


@pytest.mark.parametrize("name", samples.ALL)
def test_json_is_ascii_and_safe_to_print_and_loses_nothing(name: str) -> None:
    text = to_json(samples.ALL[name]())
    assert text.isascii()
    assert not [c for c in text if c != "\n" and not c.isprintable()]
    assert json.loads(text) == document(samples.ALL[name]())


def test_network_text_stands_raw_in_the_document() -> None:
    (liar, *_) = document(samples.hostile())["checks"]
    assert liar["sentence"] == samples.HOSTILE


def test_delete_character_is_escaped_too() -> None:
    report = msgspec.structs.replace(samples.full(), notes=("a\x7fb",))
    assert "\x7f" not in to_json(report)
    assert json.loads(to_json(report))["notes"] == ["a\x7fb"]


def test_lines_hold_the_same_as_the_document() -> None:
    report = samples.degraded()
    head, *rest = [json.loads(line) for line in to_ndjson(report).splitlines()]
    assert head.pop("type") == "run"
    kinds: dict[str, list[Any]] = {"service": [], "check": [], "path": [], "link": []}
    for line in rest:
        assert line.pop("run_id") == report.run.id
        kinds[line.pop("type")].append(line)
    assert kinds["path"] and "type" not in kinds["path"][0]
    whole = {**head, **{f"{kind}s": lines for kind, lines in kinds.items()}}
    assert whole == document(report)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("outcome", Outcome),
        ("confidence", Confidence),
        ("where", Where),
        ("state", State),
        ("need", Need),
        ("reason", Reason),
    ],
)
def test_schema_knows_every_word(name: str, words: Any) -> None:
    assert SCHEMA["$defs"][name]["enum"] == [word.value for word in words]


def objects(part: Any) -> list[dict[str, Any]]:
    """Every object of a schema that names its properties."""
    if isinstance(part, list):
        return [found for item in part for found in objects(item)]
    if not isinstance(part, dict):
        return []
    mine = [part] if isinstance(part.get("properties"), dict) and part.get("type") == "object" else []
    return mine + [found for item in part.values() for found in objects(item)]


def test_schema_is_strict_everywhere() -> None:
    for found in objects(SCHEMA):
        assert found["additionalProperties"] is False
        assert set(found["required"]) == set(found["properties"])


@pytest.mark.parametrize("at", [(), ("run",), ("host",), ("services", 1), ("checks", 0), ("services", 1, "walk")])
def test_an_unknown_key_is_refused(at: tuple[Any, ...]) -> None:
    value = document(samples.degraded())
    part: Any = value
    for step in at:
        part = part[step]
    part["surprise"] = 1
    assert not WHOLE.is_valid(value)


@pytest.mark.parametrize(
    ("key", "wrong"), [("outcome", "blocked"), ("reason", "because"), ("port", 65536), ("need", 1)]
)
def test_a_wrong_value_is_refused(key: str, wrong: Any) -> None:
    value = document(samples.degraded())
    value["checks"][0][key] = wrong
    assert not WHOLE.is_valid(value)


def test_source_is_our_own_end() -> None:
    by_row = {check["row"]: check["source"] for check in document(samples.degraded())["checks"]}
    assert by_row["F2"] == {"address": "10.20.4.17", "port": 50_123}
    assert by_row["F3"] == {"address": "10.20.4.17", "port": 40_001}
    assert by_row["F0"] == by_row["P2"] == {"address": None, "port": None}


def test_source_through_the_proxy_is_that_of_the_connect_to_the_proxy() -> None:
    to_proxy = Connect(result="connected", source="10.20.4.17", source_port=51_000)
    seen = TlsEvidence(connect=Connect(result="proxy"), proxy=ProxyAnswer(proxy="proxy:8080", connect=to_proxy))
    result = msgspec.structs.replace(samples.tls("F2", "acme.call.sl", Outcome.OPEN, Reason.VERIFIED), evidence=seen)
    (check,) = document(samples.report((), (result,)))["checks"]
    assert check["source"] == {"address": "10.20.4.17", "port": 51_000}


def test_every_field_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    missing = {name for found in objects(SCHEMA) for name in found["properties"] if f"`{name}`" not in text}
    assert not missing
