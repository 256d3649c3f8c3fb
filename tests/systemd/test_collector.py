"""The collector's service under real systemd, with an agent's service beside it that is enrolled: then everything that can happen.

The tests are one story and run in this order: each stands on what the one before left behind.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import ssl
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from roomprobe.collector import tls
from tests.lab.network import Lab
from tests.systemd import denied
from tests.systemd.machine import PROJECT, Machine, machine

pytestmark = [pytest.mark.lab, pytest.mark.fresh]

UNIT = "roomprobe-collector"
STATE = f"var/lib/{UNIT}"
ASK = """
import ssl, sys, urllib.request
url, header, body = sys.argv[1:]
tls = ssl._create_unverified_context()
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None
ask = urllib.request.build_opener(Stay, urllib.request.HTTPSHandler(context=tls))
headers = dict([header.split(": ", 1)]) if header else {}
try:
    answer = ask.open(urllib.request.Request(url, headers=headers, data=body.encode() or None), timeout=10)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
"""
secrets: set[str] = set()


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Lab() as lab, machine(tmp_path_factory.mktemp("machine")) as made:
        made.lab = lab  # type: ignore[attr-defined]
        # The watchdog's minute is too long for a test; nothing else differs from what is shipped.
        made.write(f"/etc/systemd/system/{UNIT}.service.d/quick.conf", "[Service]\nWatchdogSec=4\nRestartSec=1\n")
        done = made.bare.run([f"{PROJECT}/scripts/install", "--agent", "--collector", "--no-start"], timeout_s=600)
        assert done.returncode == 0, done.stderr
        made.boot(lab)
        yield made


def ask(box: Machine, url: str, header: str = "", body: str = "") -> tuple[int, str]:
    """An answer, asked inside the machine: status and text."""
    status, _, text = box.run("/opt/roomprobe/venv/bin/python", "-c", ASK, url, header, body).stdout.partition(" ")
    return int(status), text


def address(box: Machine) -> str:
    lab: Lab = box.lab  # type: ignore[attr-defined]
    return f"https://{lab.address('room')}:8443"


def collector(box: Machine, *words: str) -> str:
    """The last line that a sub-word says; it is a secret."""
    said: str = box.run("roomprobe", "collector", *words).stdout.splitlines()[-1]
    secrets.add(re.split(r"[#/ ]", said)[-1].partition(".")[0])
    return said


def stored(box: Machine) -> list[int]:
    """The numbers of the runs that are in the store, the newest first."""
    url = f"{address(box)}/v1/rooms/Boardroom%204/runs?limit=500"
    status, text = ask(box, url, f"Authorization: Bearer {box.reader}")  # type: ignore[attr-defined]
    assert status == 200, text
    return [run["seq"] for run in json.loads(text)["runs"]]


def push(box: Machine) -> dict[str, Any]:
    done = box.run("roomprobe", "status", "--json", check=False)
    told: dict[str, Any] = (json.loads(done.stdout).get("push") if done.returncode == 0 else None) or {}
    return told


def test_it_is_there_for_its_own_machine(box: Machine) -> None:
    box.until(lambda: box.state(UNIT) == "active", UNIT)
    assert box.show(UNIT, "Type", "User") == {"Type": "notify", "User": UNIT}
    assert ask(box, "http://127.0.0.1:8080/healthz")[0] == 200
    assert "<form" in ask(box, "http://127.0.0.1:8080/login")[1]


def test_its_first_password_stands_in_a_file_until_it_was_used(box: Machine) -> None:
    file = box.tree / STATE / "first-password"
    assert box.run("stat", "-c", "%a %U", f"/{STATE}/first-password").stdout == f"600 {UNIT}\n"
    password = file.read_text().strip()
    secrets.add(password)
    assert f"/{STATE}/first-password" in box.journal(UNIT)
    assert ask(box, "http://127.0.0.1:8080/login", body=f"password={password}")[0] == 303
    assert not file.exists()
    collector(box, "password")


def test_the_network_is_served_when_the_environment_says_so(box: Machine) -> None:
    box.write("/etc/roomprobe/collector.env", "ARGUMENTS=--listen 0.0.0.0:8443\n")
    box.run("systemctl", "restart", UNIT)
    lab: Lab = box.lab  # type: ignore[attr-defined]
    assert lab.exec("codec", sys.executable, "-c", ASK, f"{address(box)}/healthz", "", "").startswith("200 ")
    assert f"roomprobe collector: {address(box)}\n" in box.journal(UNIT)
    assert box.show(UNIT, "StatusText")["StatusText"] == address(box)


def test_the_runs_of_an_enrolled_agent_arrive(box: Machine) -> None:
    box.reader = collector(box, "token", "--label", "tests")  # type: ignore[attr-defined]
    box.write("/etc/roomprobe/roomprobe.toml", '[site]\norg = "acme"\n[schedule]\nfull_s = 5\nquick_s = 5\n')
    box.run("roomprobe", "enrol", collector(box, "enrol", "--room", "Boardroom 4"))
    secrets.add((box.tree / "etc/roomprobe/collector.token").read_text().strip())
    box.run("systemctl", "start", "roomprobe")
    box.until(lambda: push(box).get("delivered"))
    assert stored(box)


def test_killed_it_comes_back_with_all_that_it_acknowledged(box: Machine) -> None:
    before, delivered = box.pid(UNIT), push(box)["delivered"]
    box.run("kill", "-9", str(before))
    box.until(lambda: box.state(UNIT) == "active" and box.pid(UNIT) not in (0, before), UNIT)
    box.until(lambda: push(box).get("delivered", 0) > delivered)
    found = stored(box)
    assert len(found) >= delivered and sorted(found) == list(range(len(found)))


def test_a_hang_ends_in_a_restart(box: Machine) -> None:
    before = box.pid(UNIT)
    box.run("kill", "-STOP", str(before))
    box.until(lambda: box.state(UNIT) == "active" and box.pid(UNIT) not in (0, before), UNIT)
    assert "watchdog" in box.run("journalctl", "-u", UNIT, "--no-pager").stdout.lower()
    assert box.show(UNIT, "NRestarts") == {"NRestarts": "2"}  # killed, and hung; all other time it was fed


def shown(box: Machine) -> str:
    """The pin of the certificate that it serves."""
    lab: Lab = box.lab  # type: ignore[attr-defined]
    program = "import ssl, sys; print(ssl.get_server_certificate(tuple(sys.argv[1:])))"
    pem = lab.exec("codec", sys.executable, "-c", program, lab.address("room"), "8443")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()


def test_a_restart_keeps_certificate_and_store(box: Machine) -> None:
    pin, runs, before = shown(box), stored(box), box.pid(UNIT)
    box.run("systemctl", "restart", UNIT)
    assert box.pid(UNIT) != before
    assert shown(box) == pin == tls.pin(box.tree / STATE / "certificate.pem")
    assert set(runs) <= set(stored(box))


def put(box: Machine) -> None:
    """Another certificate of the site's own, as a renewal leaves it."""
    made, key = tls.make(["room"], datetime.datetime.now(datetime.UTC))
    for name, data in (("cert", made), ("key", key)):
        box.write(f"/etc/roomprobe/tls/{name}.pem", data.decode(), 0o600)
        box.run("chown", UNIT, f"/etc/roomprobe/tls/{name}.pem")


def test_a_renewed_certificate_is_served_after_a_reload(box: Machine) -> None:
    before = box.pid(UNIT)
    box.run("systemctl", "reload", UNIT)  # nothing is new
    put(box)
    files = "--cert /etc/roomprobe/tls/cert.pem --key /etc/roomprobe/tls/key.pem"
    box.write("/etc/roomprobe/collector.env", f"ARGUMENTS=--listen 0.0.0.0:8443 {files}\n")
    assert (box.state(UNIT), box.pid(UNIT)) == ("active", before)
    box.run("systemctl", "restart", UNIT)
    before, first = box.pid(UNIT), shown(box)
    put(box)
    box.run("systemctl", "reload", UNIT)
    box.until(lambda: shown(box) != first, UNIT)
    box.write("/etc/roomprobe/tls/key.pem", "no key\n", 0o644)
    box.run("systemctl", "reload", UNIT)
    refused = ("journalctl", "-u", UNIT, "-p", "warning", "-o", "cat", "--no-pager")
    box.until(lambda: "the certificate stays as it was" in box.run(*refused).stdout, UNIT)
    assert shown(box) not in (first, "") and box.pid(UNIT) == before


def test_the_sandbox_denies(box: Machine) -> None:
    denied.tried(box, UNIT)


def test_it_stops_at_once_and_without_a_word_of_trouble(box: Machine) -> None:
    for unit in (UNIT, "roomprobe"):
        box.run("systemctl", "stop", unit)
        assert box.show(unit, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    assert "Traceback" not in box.journal(UNIT) + box.journal()


def test_no_password_and_no_token_stands_in_the_journal(box: Machine) -> None:
    said = box.run("journalctl", "--no-pager", "-o", "verbose").stdout
    assert UNIT in said and len(secrets) == 5 and all(len(secret) > 20 for secret in secrets)
    assert not [secret for secret in secrets if secret in said]


def test_it_is_installed_twice_and_taken_off(box: Machine) -> None:
    box.write("/etc/roomprobe/collector.env", "")
    box.run(f"{PROJECT}/scripts/install", "--collector", timeout_s=300)
    assert box.state(UNIT) == "active" and (box.tree / "etc/roomprobe/collector.env").read_text() == ""
    assert ask(box, "http://127.0.0.1:8080/healthz")[0] == 200
    assert not (box.tree / STATE / "first-password").exists()  # the password that was set stays
    box.run(f"{PROJECT}/scripts/uninstall")
    assert box.state(UNIT) == "inactive" and not (box.tree / "opt/roomprobe").exists()
    assert (box.tree / STATE / "collector.sqlite3").exists()
    box.run(f"{PROJECT}/scripts/uninstall", "--purge")
    assert not (box.tree / STATE).exists() and not (box.tree / "etc/roomprobe").exists()
    assert "roomprobe" not in (box.tree / "etc/passwd").read_text()
