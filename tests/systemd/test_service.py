"""The service under real systemd, in the room of a real network: installed as people install it, then everything that can happen.

The tests are one story and run in this order: each stands on what the one before left behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import peers, product
from tests.lab.network import Lab
from tests.systemd import denied
from tests.systemd.machine import PROJECT, Machine, machine

pytestmark = [pytest.mark.lab, pytest.mark.fresh]

TOKEN = "never-to-be-seen-in-a-journal-0123456789"
AGENT = "0f0e0d0c-0000-4000-8000-000000000001"
COLLECTOR = f"""
[collector]
url = "https://192.0.2.1:8443"
agent = "{AGENT}"
token_file = "/etc/roomprobe/collector.token"
pin = "{"a" * 64}"
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Lab() as lab, machine(tmp_path_factory.mktemp("machine")) as made:
        peers.everything(lab)
        made.lab = lab  # type: ignore[attr-defined]
        # The watchdog's minute is too long for a test; nothing else differs from what is shipped.
        made.write("/etc/systemd/system/roomprobe.service.d/quick.conf", "[Service]\nWatchdogSec=4\nRestartSec=1\n")
        shutil.copyfile(peers.authority(lab).cert, made.tree / "etc/site-ca.pem")
        (made.tree / "etc/site-ca.pem").chmod(0o644)
        made.good = '[site]\norg = "acme"\nroom = "Boardroom 4"\n[network]\nca_file = "/etc/site-ca.pem"\n'  # type: ignore[attr-defined]
        done = made.bare.run([f"{PROJECT}/scripts/install", "--agent", "--no-start"], timeout_s=600)
        assert done.returncode == 0, done.stderr
        made.write("/etc/roomprobe/roomprobe.toml", made.good)  # type: ignore[attr-defined]
        made.write("/etc/roomprobe/conf.d/50-collector.toml", COLLECTOR)
        made.write("/etc/roomprobe/collector.token", TOKEN + "\n", 0o600)
        made.boot(lab)
        yield made


def status(box: Machine) -> dict[str, Any]:
    done = box.run("roomprobe", "status", "--json", check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def ran(box: Machine) -> bool:
    return bool(status(box).get("last_run"))


def test_it_starts_with_the_machine_and_is_ready(box: Machine) -> None:
    box.until(lambda: box.state() == "active")
    assert box.show("roomprobe", "Type", "User") == {"Type": "notify", "User": "roomprobe"}


def test_a_run_happens_and_is_told(box: Machine) -> None:
    box.until(lambda: ran(box))
    told = status(box)
    assert {s["id"]: s["state"] for s in told["services"]}["sign-in"] == "full", told
    assert told["spool"]["depth"] >= 1 and told["push"]["url"] == "https://192.0.2.1:8443"
    line = box.show("roomprobe", "StatusText")["StatusText"]
    assert " · " in line and "acme.call.sl udp/" in line
    assert "Boardroom 4" in box.journal()


def test_killed_it_comes_back_and_asks_nothing_too_early(box: Machine) -> None:
    before = box.pid()
    box.run("kill", "-9", str(before))
    box.until(lambda: box.state() == "active" and box.pid() not in (0, before) and ran(box))
    told = status(box)
    assert {s["id"]: s["state"] for s in told["services"]}["sign-in"] == "full", told


def test_a_hang_ends_in_a_restart(box: Machine) -> None:
    before = box.pid()
    box.run("kill", "-STOP", str(before))
    box.until(lambda: box.state() == "active" and box.pid() not in (0, before))
    assert "watchdog" in box.run("journalctl", "-u", "roomprobe", "--no-pager").stdout.lower()
    box.until(lambda: ran(box))


def test_a_bad_configuration_is_refused_at_a_reload(box: Machine) -> None:
    before = box.pid()
    box.write("/etc/roomprobe/roomprobe.toml", "[site]\norgg = 1\n")
    box.run("systemctl", "reload", "roomprobe")
    box.until(lambda: status(box).get("refused"))
    assert "did you mean org?" in status(box)["refused"]
    assert (box.state(), box.pid()) == ("active", before)
    assert "refused" in box.show("roomprobe", "StatusText")["StatusText"]


def test_a_good_one_is_taken(box: Machine) -> None:
    before = box.pid()
    box.write("/etc/roomprobe/roomprobe.toml", box.good.replace("Boardroom 4", "Boardroom 5"))  # type: ignore[attr-defined]
    box.run("systemctl", "reload", "roomprobe")
    box.until(lambda: "refused" in status(box) and status(box)["refused"] is None)
    assert (box.state(), box.pid()) == ("active", before)


def test_it_weighs_little_with_every_profile_and_a_collector(box: Machine) -> None:
    every = box.good + '[profiles]\nenabled = ["starleaf", "teamline-5141"]\n[schedule]\nfull_s = 5\n'  # type: ignore[attr-defined]
    box.write("/etc/roomprobe/roomprobe.toml", every)
    box.run("systemctl", "stop", "roomprobe")
    box.run("rm", "-f", "/run/roomprobe/memory.json")  # all rows are due, so that all of the program is in it
    box.run("systemctl", "start", "roomprobe")
    box.until(lambda: status(box)["runs"].get("full completed", 0) >= 3)
    resident = re.search(r"VmRSS:\s+(\d+) kB", box.run("cat", f"/proc/{box.pid()}/status").stdout)
    assert resident is not None
    print(f"\nresident {int(resident[1]) / 1024:.1f} MiB")
    assert int(resident[1]) <= 56 << 10


def collector(lab: Lab, *words: str) -> subprocess.Popen[str]:
    """`roomprobe collector` beside the room, as nobody."""
    place = lab.work / "collector"
    place.mkdir(exist_ok=True)
    os.chown(place, 65534, 65534)
    argv, env = product.command(lab, ("demo",), None)
    argv[-1:] = ["collector", *words, "--state", str(place)]
    return product.popen(lab, argv, ns="codec", env=env)


def test_a_run_is_in_the_collector(box: Machine) -> None:
    lab: Lab = box.lab  # type: ignore[attr-defined]
    with collector(lab, "--listen", f"{lab.address('codec')}:8443") as server:
        try:
            link = None
            end = time.monotonic() + 30
            while link is None:
                assert server.poll() is None and time.monotonic() < end
                with collector(lab, "enrol", "--room", "Boardroom 5") as asked:
                    found = re.search(r"^(https://\S+/enrol#\S+)$", asked.communicate(timeout=30)[0], re.M)
                link = found[1] if found else None
            said = box.run("roomprobe", "enrol", link).stdout
            assert "Boardroom 5" in said
            box.run("systemctl", "restart", "roomprobe")
            box.until(lambda: (status(box).get("push") or {}).get("delivered"))
            told = status(box)
            assert told["push"]["status"] in ("idle", "sending") and told["push"]["sentence"] is None
        finally:
            server.terminate()
            server.communicate(timeout=30)


def test_no_token_stands_in_the_journal_or_the_environment(box: Machine) -> None:
    said = box.run("journalctl", "--no-pager", "-o", "verbose").stdout
    said += box.run("systemctl", "show", "roomprobe").stdout
    said += box.run("cat", f"/proc/{box.pid()}/environ", f"/proc/{box.pid()}/cmdline").stdout
    enrolled = (box.tree / "etc/roomprobe/collector.token").read_text().strip()
    assert "roomprobe" in said and enrolled != TOKEN and len(enrolled) >= 20
    assert TOKEN not in said and enrolled not in said


def test_the_sandbox_denies(box: Machine) -> None:
    # systemd-timesyncd sets no clock in a container, so what it would leave there is put there.
    box.run("mkdir", "-p", "/run/systemd/timesync")
    box.run("touch", "/run/systemd/timesync/synchronized")
    said = denied.tried(box, "roomprobe")
    assert "token ok" in said and "clock None True" in said, said


def test_it_stops_within_two_seconds(box: Machine) -> None:
    begun = time.monotonic()
    box.run("systemctl", "stop", "roomprobe")
    took = time.monotonic() - begun
    assert took < 2, box.journal()[-3000:]
    assert box.show("roomprobe", "Result")["Result"] == "success"


def test_it_is_installed_twice_and_taken_off(box: Machine) -> None:
    kept = Path("etc/roomprobe/roomprobe.toml")
    before = (box.tree / kept).read_text()
    box.run(f"{PROJECT}/scripts/install", "--agent", timeout_s=300)
    box.until(lambda: box.state() == "active")
    assert (box.tree / kept).read_text() == before
    box.run(f"{PROJECT}/scripts/uninstall")
    assert box.state() == "inactive" and not (box.tree / "opt/roomprobe").exists()
    assert (box.tree / kept).exists() and (box.tree / "var/lib/roomprobe/spool").is_dir()
    assert not os.path.lexists(box.tree / "usr/local/bin/roomprobe")
    box.run(f"{PROJECT}/scripts/uninstall", "--purge")
    assert not (box.tree / kept).exists() and not (box.tree / "var/lib/roomprobe").exists()
    assert "roomprobe" not in (box.tree / "etc/passwd").read_text()
