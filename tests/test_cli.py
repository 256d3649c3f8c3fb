"""The command line as people and scripts meet it: exit status, one sentence, no traceback, nothing heavy imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from roomprobe import __version__, cli, commands, explain, profile
from roomprobe.config import Config
from roomprobe.model import Address, Host, Skip
from roomprobe.options import Options
from roomprobe.outcome import Reason
from roomprobe.probes import PROBES

AGENT = Path(cli.__file__).parent.parent
# Without asyncio's debug mode, which would report its slow steps on stderr.
ENV = {**os.environ, "PYTHONPATH": str(AGENT), "HOME": "/nonexistent", "PYTHONASYNCIODEBUG": ""}
HOST = Host(addresses=(Address(address="192.0.2.9", prefix=24),), families=(4,), resolvers=("192.0.2.53",))


@pytest.fixture(autouse=True)
def no_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This machine's own configuration must not decide what a test sees."""
    monkeypatch.setattr("roomprobe.config.SYSTEM_DIRECTORY", tmp_path / "etc")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


def run(*arguments: str | bytes, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "roomprobe", *arguments],
        env={**ENV, **more},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )


MISTAKES: list[tuple[tuple[str | bytes, ...], str]] = [
    (("--onse",), '"--onse" is not an argument of roomprobe; did you mean --once?\n'),
    (("explain", "F3", "ro"), '"ro" is not an argument of roomprobe explain.\n'),
    (("plan", "--config", ""), "argument --config: must be a file name."),
    (("explain", "f3"), 'there is no row "f3" (did you mean F3?)'),
    (("plan", "--org", "acme", "--only", "f3"), "(did you mean F3?)"),
    (("--org", "acme"), "say --once to judge the network now, or name a command first."),
    (("--org", "acme", "plan"), '"plan" is not an argument of roomprobe; a command comes first: roomprobe plan.'),
    (
        ("pln",),
        'there is no command "pln" (did you mean plan?); the commands are plan, profiles, explain, config, codec, run, '
        "status, enrol, collector, demo.",
    ),
    (("--once", "--timeout", "0"), "argument --timeout: must be a number of seconds from 1 to 600."),
    (("--once", "--timeout", "nan"), "argument --timeout: must be a number of seconds from 1 to 600."),
    (("--once", "--json", "--ndjson"), "--json and --ndjson exclude each other."),
    (("--once", "--org"), "argument --org: expected one argument."),
    (("plan", "--junit", "x"), '"--junit" is not an argument of roomprobe plan'),
    (("explain",), "the following arguments are required: ROW."),
    (("config", "chek"), "invalid choice: 'chek' (choose from 'check')."),
    (("plan",), "The StarLeaf profile needs the organisation for {org}.call.sl: give --org ORG, or set org in [site]"),
    (("plan", "--org", "a b"), "command line: --org must be one DNS label (letters a-z, digits and hyphens, at most"),
    (("plan", "--org", "a\x1b[31m"), 'not "a\\x1b[31m".'),
    (("plan", "--org", b"caf\xe9"), 'not "caf\\udce9".'),
    (
        ("plan", "--org", "acme", "--profile", "starleef"),
        'there is no profile "starleef" (did you mean starleaf?); allow',
    ),
    (
        ("plan", "--org", "acme", "--only", "F99"),
        '--only: the profiles in use have no row "F99" (did you mean F9?); allo',
    ),
    (
        ("plan", "--org", "acme", "--opt-in", "dhcp"),
        '--opt-in: there is no "dhcp"; allowed: openvpn, i',
    ),
    (("explain", "X1"), 'there is no row "X1"'),
    (("plan", "--config", "/nonexistent/r.toml"), "/nonexistent/r.toml cannot be read (No such file or directory)."),
    (("config", "check", "--config", "/"), "/ is a directory; a TOML file is needed."),
    (("config", "check", "--config", "/dev/null"), "/dev/null is not a regular file; a TOML file is needed."),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_one_sentence_and_status_3(arguments: tuple[str | bytes, ...], sentence: str) -> None:
    done = run(*arguments)
    assert done.returncode == 3
    assert done.stdout == ""
    assert sentence in done.stderr and done.stderr.startswith("roomprobe: ")
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2


ONCE = [
    (("--profile", "nope"), 'there is no profile "nope"; allowed: starleaf, teamline-5141.'),
    ((), "The StarLeaf profile needs the organisation for {org}.call.sl"),
    (("--org", "acme", "--only", "X1"), '--only: the profiles in use have no row "X1"'),
    (("--org", "a.b"), "--org must be one DNS label"),
    (("--interface", "x" * 16), "--interface must be a network interface name"),
    (("--config", "/nonexistent"), "/nonexistent cannot be read"),
    (("--codec", "192.0.2.1"), 'the controller link is IPv6 only, and "192.0.2.1" is IPv4.'),
    (("--codec", "::ffff:192.0.2.1"), "the controller link is IPv6 only"),
    (("--codec", "fe80::1"), '--codec is link-local, so it must name the interface too, as in "fe80::1%eth0".'),
    (("--codec", "fe80::1%"), 'must name an interface after the "%"'),
    (("--codec", "fe80::1%a%b"), 'must name an interface after the "%"'),
    (("--codec", "fd00::1%lo"), 'must not name an interface: "fd00::1%lo" is not link-local; write "fd00::1".'),
    (("--codec", "ff02::1%lo"), "must be the address of one device"),
    (("--codec", "codec.acme.example"), "a name ending in .local or a name without dots"),
    (("--codec", ""), "--codec must be an IPv6 address"),
    (("--profile", "teamline-5141", "--codec", "fe80::1%eth9"), '--codec: this box has no interface "eth9"; it has '),
    (("--hold", "0"), "--hold: must be a number of seconds from 1 to 14400."),
    (("--port-offset", "-1"), "--port-offset: must be a whole number from 0 to 42079."),
    (("--port-offset", "50000"), "--port-offset: must be a whole number from 0 to 42079."),
]


@pytest.mark.parametrize(("arguments", "sentence"), ONCE, ids=range(len(ONCE)))
def test_bad_input_to_once_sends_nothing(arguments: tuple[str, ...], sentence: str) -> None:
    pytest.importorskip("roomprobe.pipeline")
    done = run("--once", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert sentence in done.stderr and "Traceback" not in done.stderr


def test_a_configuration_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "r\n.toml"
    for content, sentence in {
        b"\xff\xfe": "line 1: not UTF-8 text; save the file as UTF-8.",
        b"[site]\norgg = 1": 'unknown key in [site]: "orgg" (did you mean org?)',
        b"#" * 300_000: "is larger than 256 KiB, the most that is read.",
        b"[network]\nproxy = 5": "network.proxy must be the web proxy",
    }.items():
        file.write_bytes(content)
        done = run("config", "check", "--config", str(file))
        assert done.returncode == 3 and done.stdout == ""
        assert sentence in done.stderr and "r\\x0a.toml" in done.stderr and "Traceback" not in done.stderr


def test_version_and_help_are_quick_and_import_nothing_heavy() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"roomprobe {__version__}\n", "")
    program = (
        "import sys; from roomprobe.cli import main; main(['--version']); main(['plan', '--help']);"
        "heavy = {'asyncio', 'aiohttp', 'rich', 'msgspec', 'cryptography', 'dns', 'ssl', 'socket', 'logging'};"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    seen = subprocess.run([sys.executable, "-c", program], env=ENV, capture_output=True, text=True)
    assert seen.stdout.splitlines()[-1] == "[]", seen


def test_no_arguments_print_the_summary() -> None:
    done = run()
    assert done.returncode == 0 and "roomprobe --once --org ORG" in done.stdout


def test_profiles() -> None:
    done = run("profiles")
    assert done.returncode == 0
    assert "F0 F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 P1 P2 P3" in done.stdout
    assert "legacy" in done.stdout and "may not be StarLeaf." in done.stdout
    read = json.loads(run("profiles", "--json").stdout)
    assert [(p["id"], p["enabled"], p["origin"], len(p["row"])) for p in read["profiles"]] == [
        ("starleaf", True, "shipped", 15),
        ("teamline-5141", False, "shipped", 5),
    ]


def test_plan_names_every_row_and_sends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.plan_command(Options(org="acme"), HOST) == 0
    out = capsys.readouterr().out
    for row in ("F0", *(f"F{n}" for n in range(1, 11)), "P1", "P2", "P3"):
        assert any(line.split(maxsplit=1)[:1] == [row] for line in out.splitlines()), row
    assert "acme.call.sl udp 24704 at each address" in out
    assert "config.starleaf.com at 192.0.2.53 tcp 53" in out
    assert "Nothing was sent." in out
    trouble = Skip(reason=Reason.NO_CARRIER, sentence="No cable\x07.")
    assert commands.plan_command(Options(org="acme"), Host(trouble=trouble)) == 0
    assert "A run would send nothing now: No cable\\x07." in capsys.readouterr().out


def test_plan_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    commands.plan_command(Options(org="acme", json=True, only=("F2",)), HOST)
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [c["row"] for c in checks] == ["F0", "F0", "F2"]
    assert checks[-1]["id"] == "starleaf/F2/acme.call.sl/*/tcp/443"
    commands.plan_command(Options(org="acme", json=True, daily=True), HOST)
    targets = json.loads(capsys.readouterr().out)["targets"]
    assert targets[0]["target"] == "resolver 192.0.2.53"
    commands.plan_command(Options(org="acme", daily=True), HOST)
    out = capsys.readouterr().out
    assert "at most" in out and "Log lines" in out and "Nothing was sent." in out


def test_explain_says_everything_about_every_row() -> None:
    shipped = profile.load(("starleaf",), [])[0]
    for row in {r.id for r in shipped.row}:
        text = explain.row(shipped, row, Config())
        assert text is not None
        for label in ("profile", "needed for", "source", "rule to ask", "note"):
            assert f"\n  {label}" in text, (row, label)
        first = next(r for r in shipped.row if r.id == row)
        assert ("what a result means" in text) is (first.unproven is None)
        assert ("not asked" in text) is (first.unproven is not None)
    f6 = explain.row(shipped, "F6", Config()) or ""
    assert "UDP 500 outbound from the room system to {org}.call.sl" in f6 and "--opt-in ike" in f6
    assert "F3, F4, F5, F6, F7: one is enough" in f6 and "at most once every 5 minutes" in f6
    assert explain.MEANINGS.keys() == explain.SENT.keys() == PROBES.keys()


def test_explain_command() -> None:
    done = run("explain", "F0", "--org", "acme")
    assert done.returncode == 0 and done.stderr == ""
    assert "config.starleaf.com, at every resolver" in done.stdout and "acme.call.sl, at every resolver" in done.stdout


def test_config_check(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('[site]\nroom = "A"\n[targets]\n"other.example" = ["192.0.2.1"]\n')
    done = run("config", "check", "--config", str(file))
    assert done.returncode == 0
    assert f"read      {file}" in done.stdout
    assert "[site] org is not set: every run will need --org" in done.stdout
    assert "[targets] other.example is used by no row of the enabled profiles" in done.stdout
    assert "MiB" not in done.stdout, "without a collector nothing waits for it"
    file.write_text(f"[daemon]\nspool_mib = 16\n{COLLECTOR}")
    done = run("config", "check", "--config", str(file))
    assert "spool     at most 16 MiB wait for the collector (daemon.spool_mib)" in done.stdout, done.stderr


COLLECTOR = """[collector]
url = "https://127.0.0.1:1"
agent = "7a0c3a52-6fd6-41c8-aca5-bfc8ebc98737"
token_file = "token"
"""


@pytest.mark.parametrize("key", ["ca_file", "client_cert", "client_key"])
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("fifo", "it is not a regular file"),
        (".", "it is not a regular file"),
        ("huge", "it is larger than 4096 KiB"),
        ("none", "No such file or directory"),
        ("text", "must hold PEM certificates and, of a client, the key without password"),
    ],
)
def test_config_check_waits_for_no_file_of_the_collector(tmp_path: Path, key: str, name: str, why: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "text").write_text("no certificate\n")
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(1 << 30)
    pair = 'client_cert = "text"\n' if key == "client_key" else ""
    (tmp_path / "r.toml").write_text(f'{COLLECTOR}{pair}{key} = "{name}"\n')
    done = run("config", "check", "--config", str(tmp_path / "r.toml"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert str(tmp_path / name) in done.stderr and why in done.stderr, done.stderr


def test_config_check_misses_what_the_daemon_would_miss(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('[collector]\nurl = "https://127.0.0.1:1"\n')
    done = run("config", "check", "--config", str(tmp_path / "r.toml"))
    assert done.returncode == 3 and "[collector] needs agent, too" in done.stderr


def test_a_reader_that_goes_away_is_met_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "roomprobe", "profiles", "--json"],
        env=ENV,
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (3, b"")


def shell(script: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script.replace("roomprobe", f"'{sys.executable}' -m roomprobe")],
        env={**ENV, **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "command", ["", "--help", "--version", "plan --help", "profiles --json", "explain F3", "demo", "demo --json"]
)
def test_a_full_disk_is_one_sentence_and_status_3(command: str, unbuffered: str) -> None:
    done = shell(f"roomprobe {command} >/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 3, done.stderr
    assert done.stderr == "roomprobe: The report could not be written: No space left on device.\n"


def test_an_output_that_may_not_be_written(tmp_path: Path) -> None:
    assert shell("roomprobe profiles 1</dev/null").stderr == (
        "roomprobe: The report could not be written: Bad file descriptor.\n"
    )
    done = shell(f"ulimit -f 1; roomprobe profiles --json >{tmp_path}/out")
    assert (done.returncode, done.stderr) == (3, "roomprobe: The report could not be written: File too large.\n")


@pytest.mark.parametrize("command", ["--onse", "plan --profile nope", "demo --timeout 0"])
def test_a_full_stderr_still_gives_the_status(command: str) -> None:
    assert shell(f"roomprobe {command} 2>/dev/full").returncode == 3


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_status(closed: str) -> None:
    for command, status in {"profiles": 0, "--version": 0, "--onse": 3}.items():
        done = shell(f"roomprobe {command} {closed}")
        assert done.returncode == status, (command, done)
        assert "Traceback" not in done.stderr


def test_an_internal_error_of_the_system_is_not_taken_for_a_full_disk(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Options) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setitem(commands.COMMANDS, "profiles", fail)
    assert cli.main(["profiles"]) == 3
    assert "could not be written" not in capfd.readouterr().err


def signalled_early(number: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The package's own first module is as early as anybody can be: the signal comes while the imports are still to do.
    program = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from roomprobe.__main__ import main\n"
        "class Early:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == 'roomprobe.cli': os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Early()); "
        f"sys.argv[1:] = {list(arguments)!r}; sys.exit(main())"
    )
    return subprocess.run(
        [sys.executable, "-c", program], env=ENV, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("arguments", [("profiles",), ("collector", "token", "--list")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_run_is_one_word_and_status_3(number: int, arguments: tuple[str, ...]) -> None:
    done = signalled_early(number, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "roomprobe: interrupted.\n")


@pytest.mark.parametrize("arguments", [("run",), ("collector",), ("collector", "--listen", "127.0.0.1:0")])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_that_is_stopped_while_it_starts_ends_well(number: int, arguments: tuple[str, ...]) -> None:
    done = signalled_early(number, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_service_that_is_to_read_anew_while_it_starts_goes_on() -> None:
    done = signalled_early(signal.SIGHUP, "run", "--config", "/nowhere")
    assert done.returncode == 3 and done.stderr.startswith("roomprobe: /nowhere "), done.stderr


def test_the_demo_needs_no_directory_to_write_in() -> None:
    program = (
        "import sys, tempfile; from roomprobe import cli\n"
        "def none(): raise FileNotFoundError(2, 'No usable temporary directory found')\n"
        "tempfile.gettempdir = tempfile._get_default_tempdir = none; sys.exit(cli.main(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=ENV,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and "This was a demonstration." in done.stdout, done.stderr


def test_a_demo_that_cannot_have_its_file_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(_: str) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", none)
    assert cli.main(["demo"]) == 3
    said = "roomprobe: The demo needs a file in memory, and none can be made (Too many open files).\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_the_last_word_changes_no_status(number: int) -> None:
    program = (
        "import atexit, os, sys; from roomprobe.__main__ import main\n"
        f"atexit.register(os.kill, os.getpid(), {int(number)}); sys.argv[1:] = ['--version']; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=ENV,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"roomprobe {__version__}\n", "")


def test_nohup_is_kept() -> None:
    done = shell("trap '' HUP; roomprobe profiles & pid=$!; kill -HUP $pid; wait $pid")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_that_cannot_show_a_letter() -> None:
    done = run("plan", "--org", "é", PYTHONIOENCODING="ascii")
    assert done.returncode == 3 and 'not "\\xe9".' in done.stderr


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 3), (ZeroDivisionError("boom"), 3)])
def test_what_escapes_a_command_is_status_3(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Options) -> int:
        raise error

    monkeypatch.setitem(commands.COMMANDS, "profiles", fail)
    assert cli.main(["profiles"]) == status
    assert capsys.readouterr().out == ""
