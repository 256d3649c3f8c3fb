"""How `roomprobe codec` begins and ends: mistakes, signals, what it prints, the log, an output that nobody reads."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing
from pathlib import Path

import pytest

from roomprobe import __version__
from roomprobe.farend import events
from roomprobe.farend.limits import MOST_LOG_BYTES

from .running import AGENT, PATIENCE_S, Codec, connected, free_offset, greet, line, rest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "codec.md"


def run(*arguments: str, wrap: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*wrap, sys.executable, "-m", "roomprobe", "codec", *arguments],
        env={**os.environ, "PYTHONPATH": str(AGENT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


# --- mistakes ------------------------------------------------------------------------------------------------------

MISTAKES = [
    (("--ports", "80"), "argument --ports: must be some of 69, 443, 5000, 5152, 23456, with commas between them."),
    (("--ports", ""), "argument --ports: must be some of 69, 443"),
    (("--ports", "443,,69"), "argument --ports: must be some of 69, 443"),
    (("--ports", "443;69"), "argument --ports: must be some of 69, 443"),
    (("--ports", "٦٩"), "argument --ports: must be some of 69, 443"),
    (("--port-offset", "42080"), "argument --port-offset: must be a whole number from 0 to 42079."),
    (("--port-offset", "-1"), "argument --port-offset: must be a whole number from 0 to 42079."),
    (("--port-offset", "1e3"), "argument --port-offset: must be a whole number from 0 to 42079."),
    (("--interface", "nope\x1b"), '--interface: this box has no interface "nope\\x1b"; it has '),
    (("--interface", "x" * 300), '--interface: this box has no interface "xxx'),
    (("--log", ""), "argument --log: must be a file name."),
    (("--port-offset", "OFFSET", "--log", "/"), "--log / cannot be written (Is a directory)."),
    (("--port-offset", "OFFSET", "--log", "/nonexistent/x"), "--log /nonexistent/x cannot be written (No such file or directory)."),
    (("--port-offset", "OFFSET", "--log", "/dev/null"), "--log /dev/null is not a regular file; give the name of a file."),
    (("--ndjson",), '"--ndjson" is not an argument of roomprobe codec; did you mean --json?'),
    (("now",), '"now" is not an argument of roomprobe codec.'),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_sentence_and_status_3(arguments: tuple[str, ...], sentence: str) -> None:
    done = run(*(str(free_offset()) if word == "OFFSET" else word for word in arguments))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("roomprobe: ") and sentence in done.stderr
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr and len(done.stderr.splitlines()) <= 2


def test_a_port_that_is_in_use_is_named() -> None:
    offset = free_offset()
    port = 5000 + offset
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", port))
        taken.listen()
        done = run("--port-offset", str(offset))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"roomprobe: Port {port} is in use by another program on this box;")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(
    int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 69,
    reason="every port is free for all here",
)
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_a_low_port_without_the_capability() -> None:
    wrap = (
        ("setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service")
        if os.geteuid() == 0
        else ()
    )
    done = run("--interface", "lo", "--ports", "69", wrap=wrap)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "roomprobe: Port 69 needs the capability CAP_NET_BIND_SERVICE, which this process does not have; "
        "give it that, or move all ports up with --port-offset 20000 here and at the other end.\n"
    )


def test_too_few_files() -> None:
    if shutil.which("prlimit") is None:
        pytest.skip("prlimit is not installed")
    done = run("--interface", "lo", "--port-offset", str(free_offset()), wrap=("prlimit", "--nofile=40:40"))
    assert (done.returncode, done.stdout) == (3, "")
    assert "may open 40 files, and 80 are needed (ulimit -n)." in done.stderr


# --- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_a_summary_and_status_0(number: int) -> None:
    with Codec("--interface", "lo") as codec:
        codec.wait("started")
        with (
            connected(codec, 69),
            connected(codec, 69) as one,
            connected(codec, 443) as two,
            connected(codec, 5000) as three,
        ):
            two.sendall(b"\x16\x03\x01")
            number_of = greet(one)[4]
            three.sendall(b"x")
            mine = three.getsockname()[1]
            codec.wait("connected", source_port=mine)
            status, left, said = codec.stop(number)
            assert (status, said) == (0, "")
            assert rest(one) == b""
    ends = {event["connection"]: event for event in left if event["event"] == "closed"}
    assert len(ends) == 4 and all((end["by"], end["why"]) == ("codec", "stop") for end in ends.values())
    assert ends[int(number_of)]["kinds"] == ["exchange"]
    peers = {event["port"] - codec.offset: event for event in left if event["event"] == "peer"}
    assert {port: (p["address"], p["connections"], p["refused"]) for port, p in peers.items()} == {
        69: ("::1", 2, 0), 443: ("::1", 1, 0), 5000: ("::1", 1, 0),
    }  # fmt: skip
    assert peers[69]["first"] <= peers[69]["last"]
    assert left[-1]["event"] == "stopped" and left[-1]["connections"] == 4 and left[-1]["unsaid"] == 0


def test_many_signals_are_as_good_as_one() -> None:
    with Codec("--interface", "lo") as codec:
        codec.wait("started")
        while codec.process.poll() is None:
            codec.process.send_signal(signal.SIGINT)
            time.sleep(0.005)  # as an impatient finger, and a little faster
        status, left, said = codec.stop()
        assert (status, said, left[-1]["event"]) == (0, "", "stopped")


def test_nohup_is_respected() -> None:
    with Codec("--interface", "lo", wrap=("sh", "-c", 'trap "" HUP; exec "$@"', "sh")) as codec:
        codec.wait("started")
        codec.process.send_signal(signal.SIGHUP)
        with connected(codec, 69) as sock:
            assert greet(sock)[1] == "CODEC"
        assert codec.stop()[0] == 0


def test_a_restart_gets_its_ports_at_once_and_is_another_instance() -> None:
    with Codec("--interface", "lo") as first:
        started = first.wait("started")
        with connected(first, 69) as sock:
            assert greet(sock)[3] == started["instance"]
            first.stop()
    with Codec("--interface", "lo", offset=first.offset) as second:
        again = second.wait("started")
        assert again["instance"] != started["instance"] and again["fingerprint"] != started["fingerprint"]


# --- what it says --------------------------------------------------------------------------------------------------


def test_text_for_people() -> None:
    with Codec("--interface", "lo", "--ports", "23456,69", as_json=False) as codec:
        assert codec.wait_line("") == f"roomprobe {__version__} stands in for a Teamline 5141, until Ctrl-C"
        assert codec.wait_line("listening") == f"listening on [::]:{codec.at(23456)}  for port 23456"
        assert codec.wait_line("listening") == f"listening on [::]:{codec.at(69)}  for port 69"
        codec.wait_line("no IPv6 address on lo by which another box could reach this one")
        with connected(codec, 69) as sock:
            sock.sendall(b"\x1b[31mhello")
            mine = sock.getsockname()[1]
            who = f"  ::1 port {mine} → {codec.at(69)}  "
            assert re.fullmatch(r"\d\d:\d\d:\d\d" + re.escape(who) + "connected", codec.wait_line(who))
        assert ", 10 bytes of no known kind" in codec.wait_line(who + "closed by the client after ")
        with connected(codec, 23456) as sock:
            sock.sendall(b"GET /auth HTTP/1.0\r\n\r\n")
            rest(sock)
        assert codec.wait_line("GET /auth").endswith("GET /auth")
        with connected(codec, 23456) as sock:
            greet(sock)
        codec.wait_line("roomprobe exchange")
        codec.wait_line("closed by the client")
        assert codec.stop()[0] == 0
    assert any(re.fullmatch(r"stopped after \d+ s: 3 connections", one) for one in codec.lines)
    head, *rows = codec.lines[-3:]
    assert head.split() == ["from", "port", "connections", "closed", "at", "once", "first", "last"]
    assert [row.split()[:4] for row in rows] == [
        ["::1", str(codec.at(69)), "1", "0"],
        ["::1", str(codec.at(23456)), "2", "0"],
    ]
    assert not any("hello" in one or "\x1b" in one for one in codec.lines), "what was sent is never shown"


def test_the_fingerprint_is_shown_with_443() -> None:
    with Codec("--interface", "lo", "--ports", "443", as_json=False) as codec:
        assert re.search(r"TLS, certificate SHA-256 [0-9a-f]{64}$", codec.wait_line("listening"))
    with Codec("--interface", "lo", "--ports", "69") as codec:
        assert codec.wait("started")["fingerprint"] is None


def _documented() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `([a-z]+)` \| (.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: set(re.findall(r"`([a-z_]+)`", keys)) for name, keys in rows}


def test_the_page_names_every_key_of_every_event() -> None:
    shapes = {
        str(shape.__struct_config__.tag): set(shape.__struct_fields__) - {"time"}
        for shape in typing.get_args(events.AnyEvent)
    }
    assert len(shapes) == 9
    documented = _documented()
    assert {name: documented.get(name) for name in shapes} == shapes


def test_the_page_names_every_word() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for word in [*events.KINDS, *events.REFUSALS, *(why for _, why in events.ENDS)]:
        assert f"`{word}`" in text, word


def test_events_have_the_documented_keys_and_nothing_that_was_sent(tmp_path: Path) -> None:
    log = tmp_path / "codec.ndjson"
    with Codec("--interface", "lo", "--log", str(log)) as codec:
        codec.wait("started")
        for port in (69, 443, 23456):
            with connected(codec, port) as sock:
                sock.sendall(b"GET /secret HTTP/1.1\r\nHost: secret\r\n\r\n")
                mine = sock.getsockname()[1]
                if port == 23456:
                    line(sock)
            codec.wait("closed", source_port=mine)
        codec.stop()
    documented = _documented()
    for event in codec.seen:
        assert set(event) == documented[event["event"]] | {"event", "time"}
    assert "secret" not in json.dumps(codec.seen)
    assert [json.loads(one) for one in log.read_text().splitlines()] == codec.seen


# --- the log and an output that does not take it -------------------------------------------------------------------


def test_a_log_is_appended_to(tmp_path: Path) -> None:
    log = tmp_path / "codec.ndjson"
    log.write_text('{"event":"mine"}\n')
    for _ in range(2):
        with Codec("--interface", "lo", "--log", str(log), as_json=False) as codec:
            codec.wait_line("listening")
            codec.stop()
    names = [json.loads(one)["event"] for one in log.read_text().splitlines()]
    assert names == ["mine", "started", "stopped", "started", "stopped"]


def test_a_full_log_says_so_in_its_last_line(tmp_path: Path) -> None:
    log = tmp_path / "codec.ndjson"
    log.write_bytes(b" " * (MOST_LOG_BYTES - 2500) + b"\n")
    with Codec("--interface", "lo", "--log", str(log)) as codec:
        codec.wait("started")
        while not any(event["event"] == "log" for event in codec.seen):
            with connected(codec, 69) as sock:
                mine = sock.getsockname()[1]
            codec.wait("closed", source_port=mine)
        with connected(codec, 69) as sock:
            assert greet(sock)[1] == "CODEC", "it goes on"
        codec.stop()
    assert log.stat().st_size <= MOST_LOG_BYTES
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["event"], last["why"]) == ("log", "full")
    done = run("--interface", "lo", "--port-offset", str(free_offset()), "--log", str(log))
    assert done.returncode == 3 and "already has 10 MiB, the most that is written" in done.stderr


@pytest.mark.lab
def test_a_log_on_a_full_disk() -> None:
    script = 'mount -t tmpfs -o size=4k none /mnt && head -c 4000 /dev/zero > /mnt/log && exec "$@"'
    with Codec("--interface", "lo", "--log", "/mnt/log", wrap=("unshare", "-m", "sh", "-c", script, "sh")) as codec:
        assert codec.wait("log")["why"] == "No space left on device"
        assert codec.stop()[0] == 0


def test_an_output_that_nobody_reads_keeps_nobody_waiting() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "roomprobe", "codec", "--interface", "lo", "--port-offset", str(free_offset()), "--json"],
        env={**os.environ, "PYTHONPATH": str(AGENT)},
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), True)
        started = json.loads(process.stdout.readline())
        port = next(one["port"] for one in started["ports"] if one["stands_for"] == 69)
        # A pipe of one page, as after `| less`; then more events than it can take.
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
        for _ in range(60):
            with socket.create_connection(("::1", port), timeout=PATIENCE_S) as sock:
                greet(sock)
                sock.sendall(b"PING a\r\n")
                assert line(sock) == b"PONG a\r\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_a_reader_that_goes_away_ends_it() -> None:
    offset = free_offset()
    script = f'"$@" --interface lo --port-offset {offset}; echo "status $?" >&2'
    with subprocess.Popen(
        ["sh", "-c", f"({script}) | head -1", "sh", sys.executable, "-m", "roomprobe", "codec"],
        env={**os.environ, "PYTHONPATH": str(AGENT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as shell:
        assert shell.stdout is not None and shell.stdout.readline().startswith("roomprobe")
        until = time.monotonic() + PATIENCE_S
        while shell.poll() is None and time.monotonic() < until:
            try:
                with socket.create_connection(("::1", 69 + offset), timeout=5):
                    pass
            except OSError:
                pass
            time.sleep(0.1)
        assert shell.stderr is not None and shell.stderr.read() == "status 3\n"


def test_a_full_disk_under_stdout() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "roomprobe", "codec", "--interface", "lo", "--port-offset", str(free_offset())],
            env={**os.environ, "PYTHONPATH": str(AGENT)}, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S,
            check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        3,
        "roomprobe: The report could not be written: No space left on device.\n",
    )
