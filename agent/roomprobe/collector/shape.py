"""The report's JSON Schema compiled to closures: the same answer as jsonschema gives, in a fraction of the time.

Knows exactly the keywords that report.schema.json uses and refuses to compile any other, so that none is ever passed over.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from roomprobe.report.document import schema

# None: it fits. Otherwise the way to what does not fit, innermost first.
Path = list[str]
Check = Callable[[Any], Path | None]
_SAYS_NOTHING = frozenset({"$schema", "$defs", "title", "description"})


@functools.cache
def report() -> Check:
    """The check of a whole report document."""
    whole = schema()
    return compiled(whole, whole)


def fault(document: Any) -> str | None:
    """None for a report of schema 1, else one sentence that names the place and quotes nothing."""
    path = report()(document)
    if path is None:
        return None
    place = "".join(reversed(path)).lstrip(".")[:200]
    return f"the document is not a report of schema 1: {place or 'it'} is not as it should be"


def compiled(part: Mapping[str, Any], root: Mapping[str, Any]) -> Check:
    """The check of one subschema. ValueError for a keyword that is not known here."""
    checks: list[Check] = []
    types = part.get("type", [])
    for word, value in part.items():
        if word in _SAYS_NOTHING or word in ("additionalProperties", "required", "maxItems", "maximum"):
            if word == "additionalProperties" and value is not False:
                raise ValueError("additionalProperties can only be false")
        elif word == "type":
            checks.append(_type([types] if isinstance(types, str) else types))
        elif word == "$ref":
            checks.append(_ref(value, root))
        elif word == "enum":
            checks.append(_among(value))
        elif word == "const":
            checks.append(_among([value]))
        elif word in ("anyOf", "oneOf"):
            checks.append(_of([compiled(one, root) for one in value], most=1 if word == "oneOf" else len(value)))
        elif word == "pattern":
            checks.append(_pattern(value))
        elif word not in ("properties", "items", "minItems", "minimum"):
            raise ValueError(f"{word} is not known here")
    if part.keys() & {"properties", "required", "additionalProperties"}:
        checks.append(_object(part, {name: compiled(one, root) for name, one in part.get("properties", {}).items()}))
    if part.keys() & {"items", "minItems", "maxItems"}:
        checks.append(_array(part, compiled(part.get("items", {}), root)))
    if part.keys() & {"minimum", "maximum"}:
        checks.append(_between(part.get("minimum", -float("inf")), part.get("maximum", float("inf"))))
    return _all(checks)


def _all(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]

    def check(value: Any) -> Path | None:
        for one in checks:
            if (path := one(value)) is not None:
                return path
        return None

    return check


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    # JSON Schema 2020-12, 4.2.3: a number without a fraction is an integer however it is written
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())
    ),
}


def _type(names: list[str]) -> Check:
    tests = [_TYPES[name] for name in names]
    return lambda value: None if any(test(value) for test in tests) else []


def _ref(name: str, root: Mapping[str, Any]) -> Check:
    if not name.startswith("#/$defs/"):
        raise ValueError(f"{name} is not a reference within the schema")
    return compiled(root["$defs"][name.removeprefix("#/$defs/")], root)


def _among(values: list[Any]) -> Check:
    words = frozenset(value for value in values if isinstance(value, str))
    rest = [value for value in values if not isinstance(value, str)]

    def check(value: Any) -> Path | None:
        if isinstance(value, str):
            return None if value in words else []
        fits = any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in rest)
        return None if fits else []

    return check


def _of(checks: list[Check], most: int) -> Check:
    def check(value: Any) -> Path | None:
        return None if 1 <= sum(one(value) is None for one in checks) <= most else []

    return check


def _pattern(text: str) -> Check:
    search = re.compile(text).search
    return lambda value: [] if isinstance(value, str) and search(value) is None else None


def _object(part: Mapping[str, Any], properties: dict[str, Check]) -> Check:
    required = part.get("required", [])
    closed = "additionalProperties" in part

    def check(value: Any) -> Path | None:
        if not isinstance(value, dict):
            return None
        for name in required:
            if name not in value:
                return [f".{name}"]
        for name, one in value.items():
            test = properties.get(name)
            if test is None:
                if closed:
                    return []
            elif (path := test(one)) is not None:
                path.append(f".{name}")
                return path
        return None

    return check


def _array(part: Mapping[str, Any], item: Check) -> Check:
    least, most = part.get("minItems", 0), part.get("maxItems", float("inf"))

    def check(value: Any) -> Path | None:
        if not isinstance(value, list):
            return None
        if not least <= len(value) <= most:
            return []
        for number, one in enumerate(value):
            if (path := item(one)) is not None:
                path.append(f"[{number}]")
                return path
        return None

    return check


def _between(least: float, most: float) -> Check:
    def check(value: Any) -> Path | None:
        return [] if _TYPES["number"](value) and not least <= value <= most else None

    return check
