"""The sub-words of `roomprobe collector`: what they hand out, list and take back."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from roomprobe.collector import command, people
from roomprobe.config import ConfigError
from tests.collector.test_process import enrol, run

LONG_AGO = 1_700_000_000_000  # twice as much is long hence


def test_the_sub_words_hand_out_and_take_back(tmp_path: Path) -> None:
    state = ["--state", str(tmp_path)]
    agent, _ = enrol(tmp_path)
    made = run("token", *state, "--label", "prometheus").stdout.splitlines()
    assert made[0].startswith("Number 1") and len(made[1]) == 43
    assert re.fullmatch(r"1  prometheus  made \S+ \S+ UTC\n", run("token", *state, "--list").stdout)
    assert run("token", *state, "--revoke", "1").stdout == "Revoked 1.\n"
    assert run("token", *state, "--list").stdout.endswith(" UTC  (revoked)\n")
    assert "/share/" in run("share", *state, "--label", "firewall", "--room", "Boardroom 4").stdout
    assert run("revoke", *state, "--room", "Boardroom 4").stdout == f"Revoked {agent}.\n"
    assert run("revoke", *state, "--agent", agent).stdout == "It was revoked before.\n"
    assert run("password", *state, "--stdin", stdin="a long enough one\n").returncode == 0
    assert run("--help").returncode == run("enrol", "--help").returncode == 0


def test_a_list_says_what_a_link_shows_and_until_when(tmp_path: Path) -> None:
    enrol(tmp_path)
    state = ["--state", str(tmp_path)]

    def hand_out(db: sqlite3.Connection) -> None:
        people.share(db, LONG_AGO, name="Boardroom 4", label="firewall team", days=30)
        people.share(db, 2 * LONG_AGO, name=None, label="operators", days=7)
        people.share(db, 2 * LONG_AGO, name=None, label="a guest", days=7)
        people.end(db, 2 * LONG_AGO, "share", 3)
        people.api_token(db, LONG_AGO, "prometheus")

    command._write(tmp_path, hand_out)
    assert run("share", *state, "--list").stdout.splitlines() == [
        "3  a guest  all rooms  until 2077-10-04 20:26 UTC  (revoked)",
        "2  operators  all rooms  until 2077-10-04 20:26 UTC",
        "1  firewall team  Boardroom 4  until 2023-12-14 22:13 UTC  (over)",
    ]
    assert run("token", *state, "--list").stdout == "1  prometheus  made 2023-11-14 22:13 UTC\n"


def test_mistakes_are_config_errors_for_the_command_line() -> None:
    with pytest.raises(ConfigError):
        command.main(["dance"])
