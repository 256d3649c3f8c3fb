"""Who stands at the codec's address in the lab: each is what it says, and the stand-in serves one controller.

Seen with openssl, linktest.py and a few lines of their own; what roomprobe makes of them is for the other tests here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import faults, peers
from .faults_link import CODEC_PORTS
from .network import Lab
from .peers_link import Controller, Watched
from .procs import LabError, program
from .test_lab_link import ask, held

SEEN_S = 5.0
GET = """\
import socket, sys
host, port, path = sys.argv[1:]
with socket.create_connection((host, int(port)), 3) as far:
    far.sendall(f"GET {path} HTTP/1.1\\r\\nHost: codec\\r\\nConnection: close\\r\\n\\r\\n".encode())
    while data := far.recv(4096):
        sys.stdout.write(data.decode())
"""


@pytest.fixture(scope="module")
def _built() -> Iterator[Lab]:
    with Lab(controller=True, second_codec=True) as lab:
        yield lab


@pytest.fixture
def lab(_built: Lab) -> Iterator[Lab]:
    """A codec's place with nobody in it, a controller's too."""
    yield _built
    _built.mend()
    for role in list(_built.running):
        _built.stop(role)


def get(lab: Lab, path: str, port: int = 23456) -> tuple[str, str]:
    """Head and body of an answer over plain HTTP."""
    head, _, body = lab.exec("room", sys.executable, "-c", GET, lab.codec_addresses()[1], str(port), path).partition(
        "\n\n"
    )
    return head, body


def certificate(lab: Lab, port: int = 443) -> str:
    """What openssl says about TLS on the codec, with the answer to a request for the page."""
    where = f"[{lab.codec_addresses()[1]}]:{port}"
    request = "GET / HTTP/1.1\r\nHost: codec\r\nConnection: close\r\n\r\n"
    return lab.exec("room", program("openssl", "openssl"), "s_client", "-quiet", "-connect", where, stdin=request)


def fingerprint(lab: Lab) -> str:
    """Of the certificate on 443."""
    openssl, where = program("openssl", "openssl"), f"[{lab.codec_addresses()[1]}]:443"
    shown = lab.exec("room", openssl, "s_client", "-connect", where)
    return lab.exec("room", openssl, "x509", "-noout", "-fingerprint", "-sha256", "-subject", "-issuer", stdin=shown)


def wait_for(what: Callable[[], bool]) -> None:
    """Come back as soon as it is so; it has to be at some time."""
    end = time.monotonic() + SEEN_S
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def test_our_own_emulator(lab: Lab) -> None:
    with peers.codec(lab) as codec:
        assert ask(lab) == ["open"] * 5
        head, body = get(lab, "/auth")
        assert "Server: roomprobe-codec/1" in head and {"salt", "iterations", "challenge"} <= json.loads(body).keys()
        wait_for(lambda: bool(codec.seen("closed", stands_for=23456)))
        assert {one["stands_for"] for one in codec.seen("connected")} == set(CODEC_PORTS)
    assert set(ask(lab)) == {"refused"}


def test_our_own_emulator_elsewhere(lab: Lab) -> None:
    with peers.codec(lab, "codec2", port_offset=20000, ports=(69, 443), interface="eth0"):
        second = lab.codec_addresses("codec2")[1]
        assert ask(lab, 69, 20069, 20443, 25000, to=second) == ["refused", "open", "open", "refused"]
        assert set(ask(lab)) == {"refused"}


def test_a_web_server_instead(lab: Lab) -> None:
    with peers.web_instead(lab):
        assert ask(lab) == ["open" if port == 443 else "refused" for port in CODEC_PORTS]
        assert "Server: nginx" in certificate(lab)
        assert fingerprint(lab).count("CN = web.example") == 2  # its own issuer


def test_one_replaces_the_other(lab: Lab) -> None:
    with peers.codec(lab):
        with peers.web_instead(lab):
            assert ask(lab, 443, 69) == ["open", "refused"]
        assert ask(lab) == ["open"] * 5


def test_the_device_answers_as_the_ports_page_says(lab: Lab) -> None:
    with peers.one_controller(lab, limit="none") as codec:
        head, body = get(lab, "/auth")
        assert head.startswith("HTTP/1.1 200 OK") and "application/json" in head and "erver:" not in head
        first, second = json.loads(body), json.loads(get(lab, "/auth")[1])
        assert sorted(first) == ["authenticated", "challenge", "iterations", "salt"] and not first["authenticated"]
        assert first["salt"] == second["salt"] and first["challenge"] != second["challenge"]
        assert get(lab, "/other")[0].startswith("HTTP/1.1 404 ")
        page = certificate(lab)
        assert "200 OK" in page and "Teamline 5141" in page and "erver:" not in page
        assert ask(lab, *(f"{port}/16/1" for port in (69, 5000, 5152))) == ["open"] * 3
        assert ask(lab, "23456/16/1") == ["open"]  # half a request: no answer, and it is written down
        wait_for(lambda: len(codec.seen("close")) == 8)
        assert codec.seen("received", port=23456)[-1]["bytes"] == 16
        assert {one["bytes"] for one in codec.seen("received", port=69)} == {16}
        assert bytes.fromhex(codec.seen("received", port=5000)[0]["data"]) == b"     16       1\n"
        before = fingerprint(lab)
        assert before == fingerprint(lab)
        faults.codec_rebooted(lab)
        assert fingerprint(lab) == before
    with peers.one_controller(lab):
        assert fingerprint(lab) != before


def test_garbage_is_written_down_and_survived(lab: Lab) -> None:
    script = (
        "import socket, sys\n"
        "for port in map(int, sys.argv[2:]):\n"
        "    with socket.create_connection((sys.argv[1], port), 3) as far:\n"
        "        far.sendall(bytes(range(256)) * 64)\n"
        "        far.shutdown(1)\n"
        "        try:\n            far.recv(10)\n"
        "        except OSError:\n            pass"
    )
    with peers.one_controller(lab) as codec:
        lab.exec("room", sys.executable, "-c", script, lab.codec_addresses()[1], *map(str, CODEC_PORTS))
        wait_for(lambda: len(codec.seen("close")) == 5)
        assert all(
            codec.seen("received", port=port)[0]["data"].startswith("000102") for port in (69, 5000, 5152, 23456)
        )
        assert codec.seen("tls") == [] and "Traceback" not in codec.log
        assert ask(lab) == ["open"] * 5


@pytest.fixture
def watched(lab: Lab, request: pytest.FixtureRequest) -> tuple[Lab, Watched, Controller]:
    """The device with that limit, and a controller that holds its five connections."""
    codec = peers.one_controller(lab, limit=request.param)
    return lab, codec, peers.controller(lab)


@pytest.mark.parametrize("watched", ("newest",), indirect=True)
def test_a_newer_connection_takes_the_place_of_the_controllers(watched: tuple[Lab, Watched, Controller]) -> None:
    lab, codec, controller = watched
    with held(lab, 5000) as connection:
        wait_for(lambda: len(controller.outages()) == 1)
        assert controller.outages()[0]["port"] == 5000
        wait_for(lambda: controller.holds() == set(CODEC_PORTS))  # it has come back, and so taken the place again
        assert connection("look") == "eof"
    assert len(codec.seen("close", why="replaced", port=5000)) == 2
    assert len(controller.outages()) == 1 and len(controller.seen("connected")) == 6


@pytest.mark.parametrize(
    ("watched", "word"), (("oldest", {"reset", "eof"}), ("closed", {"refused"})), indirect=["watched"]
)
def test_a_newer_connection_is_turned_away(watched: tuple[Lab, Watched, Controller], word: set[str]) -> None:
    lab, codec, controller = watched
    assert set(ask(lab, *(f"{port}/16/1" for port in CODEC_PORTS))) <= word
    assert controller.outages() == [] and controller.holds() == set(CODEC_PORTS)
    assert len(codec.seen("connect")) == (10 if word != {"refused"} else 5)
    controller.stop()
    wait_for(lambda: len(codec.seen("close", why="peer")) == 5)
    wait_for(lambda: ask(lab) == ["open"] * 5)


@pytest.mark.parametrize("watched", ("none",), indirect=True)
def test_a_device_without_limit_serves_both(watched: tuple[Lab, Watched, Controller]) -> None:
    lab, codec, controller = watched
    assert ask(lab) == ["open"] * 5
    wait_for(lambda: len(codec.seen("close")) == 5)
    assert controller.outages() == []
    assert {one["source"] >= 1024 for one in codec.seen("connect", peer=lab.link_local("controller"))} == {True}


@pytest.mark.parametrize("watched", ("newest",), indirect=True)
def test_the_controller_counts_outages_and_comes_back(watched: tuple[Lab, Watched, Controller]) -> None:
    lab, _, controller = watched
    faults.codec_rebooted(lab)
    wait_for(lambda: len(controller.outages()) == 5)
    controller.settled()
    faults.codec_rebooted(lab, away=0.3)  # noticed by keepalives only
    wait_for(lambda: len(controller.outages()) == 10)
    controller.settled()
    with faults.bridge_port_drop(lab, (5000,)):
        wait_for(lambda: len(controller.outages()) == 11)
        wait_for(lambda: bool(controller.seen("failed", port=5000)))
        assert controller.holds() == set(CODEC_PORTS) - {5000}
    controller.settled()


def test_a_controller_needs_a_codec(lab: Lab) -> None:
    before = peers.codec(lab, ports=(69,))
    with pytest.raises(LabError, match=re.escape("the controller holds only [69]")):
        peers.controller(lab)
    assert set(lab.running) == {"codec"} and before.process.alive()


def test_the_command_breaks_and_mends_the_link() -> None:
    script = str(Path(__file__).resolve().parents[2] / "scripts" / "lab")
    env = {**os.environ, "ROOMPROBE_LAB": f"l{os.getpid()}"}

    def lab(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([script, *words], capture_output=True, text=True, timeout=60, check=False, env=env)

    def room(*argv: str) -> str:
        return lab("shell", "room", *argv).stdout

    try:
        assert lab("up", "codec=routed", "controller", "second_interface", "no_ipv6=controller").returncode == 0
        started = lab("peer", "one-controller", "limit=none")
        assert started.stdout.startswith("codec runs in codec, pid ") and "seen.json" in started.stdout, started.stderr
        before = room(*"ip -6 -o route".split())
        for words in (
            ["stray-ra", "how=source"],
            ["mtu-hole", "size=1300", "where=fw", "direction=in"],
            ["nd-filtered", "kinds=136", "only=room"],
            ["client-isolation"],
            ["codec-rebooted", "away=0.1"],
            ["codec-off", "how=down"],
            ["idle-timeout", "seconds=3"],
        ):
            done = lab("break", *words)
            assert (done.returncode, done.stderr) == (0, ""), words
        assert "fault" in lab("status").stdout and not room(*"ping -6 -c1 -W1 fd00:50::1".split()).count("ttl=")
        assert "default via fe80:" in room(*"ip -6 -o route".split())
        assert lab("mend").returncode == 0
        status = lab("status").stdout
        assert "codec in codec" in status and "fault" not in status
        assert room(*"ip -6 -o route".split()) == before
        assert "ttl=63" in room(*"ping -6 -c1 -W1 fd00:60::20".split())
        assert "tcp-segmentation-offload: on" in room("ethtool", "-k", "eth0")
        assert lab("stop", "codec").returncode == 0 and "codec in" not in lab("status").stdout
        for words, said in (
            (["peer", "x"], "no peer called 'x'"),
            (["peer", "codec", "x=1"], "codec takes ns, port_offset, ports, interface"),
            (["stop", "x"], "stop takes one of dns-fw, tls, udp"),
            (["break", "mtu-hole", "size=1500"], "allowed is 1280 to 1499"),
            (["break", "mtu-hole", "size=many"], "not supported"),
            (["break", "mtu-hole", "fw"], "mtu-hole takes size, where, direction"),
            (["break", "codec-off", "how=x"], "allowed are down and silent"),
            (["up", "no_ipv6=net"], "unknown option 'no_ipv6=net'"),
        ):
            done = lab(*words)
            assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, words
        assert "fault" not in lab("status").stdout
    finally:
        assert lab("down").returncode == 0
    assert set(lab("peer").stdout.split()) >= {"codec", "web-instead", "one-controller", "controller"}
