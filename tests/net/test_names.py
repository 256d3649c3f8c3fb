"""Names that nobody can be asked for, and links that are not there; tests/lab/test_neighbours.py asks real responders."""

from __future__ import annotations

import pytest

from roomprobe.net import names
from roomprobe.net.names import LLMNR, MDNS, Method, NameResult, method_for
from roomprobe.net.netlink import Link
from roomprobe.net.pace import Bucket

GONE = Link(index=2**31 - 1, name="gone\n0", up=True, loopback=False, carrier=True)


@pytest.mark.parametrize(
    "name", ["", "codec.example.org", "192.0.2.1", "x" * 64, "a..local", "\x1b[2J.example", "\ud800"]
)
async def test_a_name_that_is_not_asked_for_on_a_link(name: str) -> None:
    bucket = Bucket()
    found = await names.find(name, [GONE], 0.1, bucket)
    assert found.addresses == () and len(found.untried) == 1 and bucket.taken == 0
    assert found.untried[0].endswith("cannot be asked for on a link: it must end in .local or be a single label.")
    assert found.untried[0].isprintable()


@pytest.mark.parametrize("name, called", [("codec.local", "mDNS"), ("codec", "LLMNR")])
async def test_a_link_that_went_away_is_named(name: str, called: str) -> None:
    found = await names.find(name, [GONE], 5.0, Bucket())
    assert found.addresses == () and len(found.untried) == 1
    assert found.untried[0].startswith(f"{called} could not be asked at gone\\x0a0 (E")


async def test_no_link_no_question() -> None:
    assert await names.find("codec.local", [], 5.0, Bucket()) == NameResult()


async def test_at_most_eight_links() -> None:
    found = await names.find("codec.local", [GONE] * 100, 5.0, Bucket())
    assert len(found.untried) == names.MOST_INTERFACES


@pytest.mark.parametrize(
    "name, method",
    [
        ("codec.local", MDNS),
        ("Codec.LOCAL.", MDNS),
        ("a.b.local", MDNS),
        ("codec", LLMNR),
        ("local", LLMNR),
        ("codec.example.org", None),
        (".local", None),
        ("", None),
        (".", None),
    ],
)
def test_who_is_asked_for_a_name(name: str, method: Method | None) -> None:
    assert method_for(name) == method
