"""The units as files: systemd understands them, finds little to complain of, and the installer puts them where they belong."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"roomprobe": 1.1, "roomprobe-collector": 1.3}
pytestmark = pytest.mark.lab  # needs systemd's own tools


def settings(unit: str) -> list[tuple[str, str]]:
    text = (ROOT / f"systemd/{unit}.service").read_text()
    return [(m[1], m[2]) for m in re.finditer(r"^([A-Za-z]+)=(.*)$", text, re.M)]


@pytest.mark.parametrize(("unit", "most"), UNITS.items())
def test_the_sandbox_leaves_little_open(unit: str, most: float) -> None:
    """In tenths, from the same table that the overall figure is made of; --threshold counts in tenths of it, too."""
    file = ROOT / f"systemd/{unit}.service"
    command = [
        "systemd-analyze",
        "security",
        "--offline=yes",
        "--no-pager",
        f"--threshold={round(most * 10)}",
        str(file),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    overall = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert overall is not None and float(overall[1]) <= most


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_the_unit(unit: str, tmp_path: Path) -> None:
    text = (ROOT / f"systemd/{unit}.service").read_text()
    file = tmp_path / f"{unit}.service"  # the program is not installed here, and verify would look for it
    file.write_text(text.replace("/opt/roomprobe/venv/bin/roomprobe", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_service_needs(unit: str) -> None:
    found = settings(unit)
    for wanted in (
        ("Type", "notify"),
        ("Restart", "always"),
        ("WatchdogSec", "60"),
        ("User", unit),
        ("StateDirectory", unit),
        ("CapabilityBoundingSet", ""),
        ("PrivateUsers", "yes"),
        ("ExecReload", "/bin/kill -HUP $MAINPID"),
    ):
        assert wanted in found, wanted
    assert not any("time-sync" in value for key, value in found if key in ("After", "Wants", "Requires"))


@pytest.mark.parametrize("unit", UNITS)
def test_four_families_may_be_used(unit: str) -> None:
    families = dict(settings(unit))["RestrictAddressFamilies"]
    assert set(families.split()) == {"AF_NETLINK", "AF_INET", "AF_INET6", "AF_UNIX"}


def test_the_agents_token_comes_as_a_credential() -> None:
    found = dict(settings("roomprobe"))
    assert found["LoadCredential"] == "collector-token:/etc/roomprobe/collector.token"


def test_users_and_directories_are_understood() -> None:
    users = ["systemd-sysusers", "--dry-run", str(ROOT / "systemd/roomprobe.sysusers.conf")]
    assert subprocess.run(users, capture_output=True, text=True, check=False).returncode == 0
    lines = (ROOT / "systemd/roomprobe.tmpfiles.conf").read_text().splitlines()
    assert all(len(line.split()) == 6 for line in lines if not line.startswith("#"))
