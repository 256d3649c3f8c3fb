"""Echo from this very machine, whatever it allows; tests/lab/test_neighbours.py has neighbours and hostile ones."""

from __future__ import annotations

import pytest

from roomprobe.net.pace import Bucket
from roomprobe.net.ping import ping


@pytest.mark.parametrize(
    "address", ["", "codec", "192.0.2.1", "fe80::1%no-such-port", "fe80::1%", "::1%" + "x" * 40, "::1\0"]
)
async def test_what_is_no_address_is_a_failure_and_nothing_is_sent(address: str) -> None:
    bucket = Bucket()
    found = await ping(address, interface_index=None, count=1, wait_s=0.1, bucket=bucket)
    assert found.failure is not None and found.failure.errno == "EINVAL"
    assert (found.answers, found.sent, found.refused, bucket.taken) == ((), 0, None, 0)


async def test_this_box_answers_itself_or_says_why_it_was_not_asked() -> None:
    bucket = Bucket()
    found = await ping("::1", interface_index=None, count=100, wait_s=2.0, bucket=bucket)
    if found.refused is not None:
        assert found.refused.startswith("ICMPv6 echo could not be asked: ") and (found.sent, bucket.taken) == (0, 0)
    elif found.failure is not None:
        assert (found.failure.operation, found.sent) == ("send", 0)
    else:
        assert [address for address, _ in found.answers] == ["::1"]
        assert found.sent == bucket.taken == 16
