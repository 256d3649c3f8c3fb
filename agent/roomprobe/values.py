"""What a single value may be: each function takes what TOML (or a flag) gave and returns the value in one normal form.

A value that is not allowed raises ValueError whose text finishes the sentence "KEY ...": "must be ...". Pure.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from roomprobe.text import escape

Rule = Callable[[Any], Any]

MOST_TEXT = 200
MOST_ITEMS = 256

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.ASCII)
_INTERFACE = re.compile(r"[^/\s]{1,15}")
_NAMES = {bool: "true or false", str: "text", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


def shown(value: Any) -> str:
    """A value as an error sentence quotes it: short and escaped."""
    return f'"{escape(value, 60)}"' if isinstance(value, str) else _NAMES.get(type(value), "a date or time")


def bad(allowed: str, value: Any) -> ValueError:
    """The error for a value that is not allowed."""
    return ValueError(f"must be {allowed}, not {shown(value)}")


def text(value: Any) -> str:
    """One line of text, 1 to MOST_TEXT characters."""
    allowed = f"one line of text of 1 to {MOST_TEXT} characters"
    if not isinstance(value, str) or not 1 <= len(value) <= MOST_TEXT:
        raise bad(allowed, value)
    if not value.strip() or any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value):
        raise bad(f"{allowed} without control characters", value)
    return value


def label(value: Any) -> str:
    """One DNS label (RFC 1123 section 2.1), in lower case."""
    if not isinstance(value, str) or not _LABEL.fullmatch(value.lower()):
        raise bad("one DNS label (letters a-z, digits and hyphens, at most 63, no hyphen at either end)", value)
    return value.lower()


def hostname(value: Any) -> str:
    """A DNS name of at most 253 characters, in lower case, without the final dot."""
    name = value.lower().removesuffix(".") if isinstance(value, str) else ""
    if not 1 <= len(name) <= 253 or not all(_LABEL.fullmatch(part) for part in name.split(".")):
        raise bad('a DNS name such as "acme.example"', value)
    return name


def address(value: Any) -> str:
    """An IPv4 or IPv6 address in its shortest text form."""
    try:
        if isinstance(value, str) and len(value) <= 80 and _plain(value):
            return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    raise bad("an IPv4 or IPv6 address", value)


def target(value: Any) -> str:
    """An address that a packet for one far end can be sent to."""
    text = address(value)
    found = ipaddress.ip_address(text)
    what = ""
    if found.is_unspecified:
        what = "the unspecified address"
    elif found.is_multicast or text == "255.255.255.255":
        what = "for many hosts at once"
    elif found.version == 6 and found.is_link_local and "%" not in text:
        what = 'link-local: name the interface, such as "fe80::1%eth0"'
    if what:
        raise ValueError(f"must be an address of one far end, and {shown(value)} is {what}")
    return text


def codec(value: Any) -> str:
    """The Teamline 5141: an IPv6 address, a link-local one with its interface, or a name that neighbours answer for."""
    allowed = 'an IPv6 address such as "fe80::1%eth0", a name ending in .local or a name without dots'
    if not isinstance(value, str) or not 1 <= len(value) <= MOST_TEXT or not _plain(value):
        raise bad(allowed, value)
    if ":" not in value:
        if _is_v4(value):
            raise ValueError(f"must be {allowed}; the controller link is IPv6 only, and {shown(value)} is IPv4")
        name = value.lower().removesuffix(".")
        if not _LABEL.fullmatch(name.removesuffix(".local")):
            raise bad(allowed, value)
        return name
    text, percent, scope = value.partition("%")
    try:
        found = ipaddress.IPv6Address(text)
    except ValueError:
        raise bad(allowed, value) from None
    if percent and (not _INTERFACE.fullmatch(scope) or "%" in scope):
        raise ValueError(f'must name an interface after the "%", as in "fe80::1%eth0", not {shown(value)}')
    if found.is_unspecified or found.is_multicast:
        raise ValueError(f"must be the address of one device, and {shown(value)} is not")
    if found.ipv4_mapped is not None:
        raise ValueError(f"must be {allowed}; the controller link is IPv6 only, and {shown(value)} is IPv4")
    if found.is_link_local and not percent:
        raise ValueError(f'is link-local, so it must name the interface too, as in "{found}%eth0"')
    if percent and not found.is_link_local:
        raise ValueError(f'must not name an interface: {shown(value)} is not link-local; write "{found}"')
    return f"{found}{percent}{scope}"


def _is_v4(value: str) -> bool:
    try:
        ipaddress.IPv4Address(value.partition("%")[0])
    except ValueError:
        return False
    return True


def prefix(value: Any) -> str:
    """A network in CIDR form, without bits beyond its length."""
    if not isinstance(value, str) or "/" not in value or "%" in value or len(value) > 80:
        raise bad('a network in CIDR form such as "10.20.0.0/16"', value)
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise bad('a network in CIDR form such as "10.20.0.0/16"', value) from None
    if str(network.network_address) != str(ipaddress.ip_address(value.partition("/")[0])):
        raise ValueError(f"must be a network without host bits, not {shown(value)}: write {network}")
    return str(network)


def proxy(value: Any) -> str:
    """The web proxy as http://host:port; no user name, path or query."""
    allowed = 'the web proxy as "http://host:port"'
    if not isinstance(value, str) or len(value) > MOST_TEXT or not _plain(value):
        raise bad(allowed, value)
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise bad(f"{allowed} with a port from 1 to 65535", value) from None
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"must be {allowed} without a user name or password: this release cannot log in to a proxy")
    if parts.scheme != "http" or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise bad(allowed, value)
    if not port:
        raise bad(f"{allowed} with a port from 1 to 65535", value)
    host = address(host) if ":" in host else hostname(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def fingerprint(value: Any) -> str:
    """A SHA-256 fingerprint as 64 lower-case hex digits; colons are allowed and dropped."""
    digits = value.replace(":", "").lower() if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f]{64}", digits, re.ASCII):
        raise bad("a SHA-256 fingerprint of 64 hex digits", value)
    return digits


def interface(value: Any) -> str:
    """A network interface name as Linux allows it: 1 to 15 characters, no blank, no slash."""
    if not isinstance(value, str) or not _INTERFACE.fullmatch(value) or value in (".", "..") or not _plain(value):
        raise bad('a network interface name of at most 15 characters such as "eth0"', value)
    return value


def whole(low: int, high: int) -> Rule:
    """A rule: a whole number from `low` to `high`."""

    def rule(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            number = shown(value)
            if type(value) is int:
                number = str(value) if abs(value) < 10**12 else f"one so {'large' if value > 0 else 'small'}"
            raise ValueError(f"must be a whole number from {low} to {high}, not {number}")
        return value

    return rule


def many(rule: Rule, *, least: int = 0) -> Rule:
    """A rule: a list of at most MOST_ITEMS values, each allowed by `rule`; repeats are dropped."""

    def each(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list, not {shown(value)}; each item {_allowed(rule)}")
        if not least <= len(value) <= MOST_ITEMS:
            raise ValueError(f"must be a list of {least} to {MOST_ITEMS} items, not {len(value)}")
        return tuple(dict.fromkeys(rule(item) for item in value))

    return each


def by_name(rule: Rule) -> Rule:
    """A rule: a table of at most MOST_ITEMS host names, each with a value allowed by `rule`."""

    def each(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"must be a table of host names, not {shown(value)}")
        if len(value) > MOST_ITEMS:
            raise ValueError(f"must be a table of at most {MOST_ITEMS} host names, not {len(value)}")
        done: dict[str, Any] = {}
        for key, item in value.items():
            if isinstance(item, dict):
                raise ValueError(f'must be a table of host names: put "{_undotted(key, item)}" in quotes')
            try:
                name, allowed = hostname(key), rule(item)
            except ValueError as error:
                raise ValueError(f"{shown(key)} {error}") from None
            if name in done:
                raise ValueError(f"{shown(key)} stands twice")
            done[name] = allowed
        return done

    return each


def _undotted(key: str, item: Any) -> str:
    """The name that TOML took apart at its dots."""
    while isinstance(item, dict) and len(key) <= MOST_TEXT:
        part, item = next(iter(item.items()), ("…", None))
        key = f"{key}.{part}"
    return escape(key, 60)


def _allowed(rule: Rule) -> str:
    """What a rule allows, asked of the rule itself with a value that none allows."""
    try:
        rule(None)
    except ValueError as error:
        return str(error).rpartition(", not ")[0]
    return "anything"


def _plain(value: str) -> bool:
    return value.isprintable() and not any(c.isspace() for c in value)
