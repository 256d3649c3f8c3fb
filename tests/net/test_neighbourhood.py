"""Links and addresses that are not there; tests/lab/test_neighbours.py looks around in a real network."""

from __future__ import annotations

import pytest

from roomprobe.net import neighbourhood, netlink
from roomprobe.net.netlink import Link
from roomprobe.net.pace import Bucket
from roomprobe.net.poke import Pokes

GONE = Link(index=2**31 - 1, name="gone0", up=True, loopback=False, carrier=True)


def test_only_links_that_can_have_neighbours_are_usable() -> None:
    names = [link.name for link in netlink.read_links()]
    found = neighbourhood.usable(names)
    assert all(link.up and link.mac and not link.loopback for link in found)
    assert neighbourhood.usable(names, only="lo") == [] == neighbourhood.usable([])
    for link in found:
        assert neighbourhood.usable(names, only=link.name) == [link]


async def test_a_link_that_went_away() -> None:
    bucket = Bucket()
    (found,) = await neighbourhood.survey([GONE], bucket, wait_s=0.2, poke=["fe80::1%gone0", "codec", ""])
    assert (found.interface, found.own, found.near, found.heard, found.gateway4) == ("gone0", (), (), None, None)
    assert found.untried is not None and found.untried.endswith(".")


async def test_nothing_to_look_at() -> None:
    assert await neighbourhood.survey([], Bucket()) == ()


@pytest.mark.parametrize(
    "address", ["", "%", "codec", "fe80::1", "fe80::1%", "fe80::1%gone0", "fe80::1%99999999999", "::1%\0"]
)
async def test_towards_what_is_no_address_sends_nothing(address: str) -> None:
    bucket = Bucket()
    found = await neighbourhood.towards(address, bucket, wait_s=0.1)
    assert (found.interface, found.source, found.near, bucket.taken) == (None, None, (), 0)


async def test_only_a_neighbour_can_be_poked() -> None:
    bucket = Bucket()
    with Pokes() as pokes:
        for address in ("", "codec", "::", "::1", "ff02::1", "192.0.2.1", "fe80::1%lo"):
            await pokes.send(address, 1, bucket)
        pokes.drain()
    assert (bucket.taken, pokes.answered) == (0, set())
