"""The maker of a network card, by its address."""

from __future__ import annotations

import pytest

from roomprobe.vendor import MAKERS, mac_prefix


@pytest.mark.parametrize(
    "mac, said",
    [
        ("d8:3a:dd:00:aa:01", "d8:3a:dd (Raspberry Pi)"),
        ("B8:27:EB:00:AA:01", "b8:27:eb (Raspberry Pi)"),
        ("00:22:33:44:55:66", "00:22:33"),
        ("02:fc:00:00:00:01", "02:fc:00 (made up, no maker)"),
        ("52:54:00:12:34:56", "52:54:00 (made up, no maker)"),
        ("", ""),
        ("d8:3a:dd", ""),
        ("d8:3a:dd:00:aa:01:02:03", ""),
        ("d8:3a:dd:00:aa:0\n", ""),
        ("d8:3a:dd:00:aa:٠١", ""),
    ],
)
def test_prefixes(mac: str, said: str) -> None:
    assert mac_prefix(mac) == said


def test_the_table_holds_whole_prefixes_of_makers_only() -> None:
    for prefix, maker in MAKERS.items():
        assert mac_prefix(f"{prefix}:00:00:01") == f"{prefix} ({maker})"
