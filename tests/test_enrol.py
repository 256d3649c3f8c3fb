"""Enrolment on the box: the link taken apart, the collector that it names asked and nobody else, the files as they must be."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from roomprobe import cli, config, enrol
from roomprobe.config import ConfigError
from roomprobe.enrol import Invitation
from tests.sinks.collectors import Collector, certificate, endless, half, problem, resets, says, server_tls, serving

TOKEN = "T0ken_for-once" * 3
PIN = "0f" * 32
BEARER = "b" * 43
ANSWER = {"agent": "5f0c2c3e-8a51-4bb1-9c55-0d6f3f1b2a01", "room": "Boardroom 4", "token": BEARER}


# --- the link ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "url", "pin"),
    [
        (f"https://collector.acme.example:8443/enrol#{TOKEN}.{PIN}", "https://collector.acme.example:8443", PIN),
        (f"https://192.0.2.7:8443/enrol#{TOKEN}.{PIN}", "https://192.0.2.7:8443", PIN),
        (f"https://[2001:db8::7]:8443/enrol#{TOKEN}.{PIN}", "https://[2001:db8::7]:8443", PIN),
        (f"https://acme.example/roomprobe/enrol#{TOKEN}", "https://acme.example/roomprobe", None),
        (f"http://127.0.0.1:8080/enrol#{TOKEN}", "http://127.0.0.1:8080", None),
        (f"http://localhost:8080/enrol#{TOKEN}", "http://localhost:8080", None),
        (f"http://[::1]:8080/enrol#{TOKEN}", "http://[::1]:8080", None),
    ],
)
def test_a_link(link: str, url: str, pin: str | None) -> None:
    assert enrol.invitation(link) == Invitation(url=url, token=TOKEN, pin=pin)


GOOD = f"https://collector.acme.example/enrol#{TOKEN}.{PIN}"
MISTAKES = {
    "": "does not begin with https://",
    "collector.acme.example": "does not begin with https://",
    f"ftp://collector.acme.example/enrol#{TOKEN}": "does not begin with https://",
    f"http://collector.acme.example/enrol#{TOKEN}": "begins with http://, which is for a collector on this machine alone",
    f"http://127.0.0.1.acme.example/enrol#{TOKEN}": "begins with http://",
    f"https:///enrol#{TOKEN}": "has no host and port that can be read",
    f"https://h:99999/enrol#{TOKEN}": "has no host and port that can be read",
    f"https://h:0/enrol#{TOKEN}": "has no host and port that can be read",
    f"https://[::1/enrol#{TOKEN}": "has no host and port that can be read",
    f"https://u:p@h/enrol#{TOKEN}": "has no host and port that can be read",
    f"https://h_o/enrol#{TOKEN}": "has no host and port that can be read",
    f"https://h/enroll#{TOKEN}": 'does not have "/enrol" after the host',
    f"https://h/#{TOKEN}": 'does not have "/enrol" after the host',
    f"https://h/enrol?x#{TOKEN}": 'does not have "/enrol" after the host',
    "https://h/enrol": 'has nothing after a "#": copy all of it, and put it in quotes',
    "https://h/enrol#": 'has nothing after a "#"',
    "https://h/enrol#short": 'is cut or changed after the "#"',
    GOOD[:-1]: 'is cut or changed after the "#"',
    GOOD + "0": 'is cut or changed after the "#"',
    GOOD.upper().replace("HTTPS", "https").replace("ENROL", "enrol"): 'is cut or changed after the "#"',
    GOOD + " ": "is not one line of plain characters",
    GOOD + "\n": "is not one line of plain characters",
    GOOD + "é": "is not one line of plain characters",
    GOOD + "\x1b[31m": "is not one line of plain characters",
    GOOD + "x" * 1000: "is not one line of plain characters",
}


@pytest.mark.parametrize("link", MISTAKES)
def test_a_mistake_in_the_link_is_one_sentence_without_the_secret(link: str) -> None:
    with pytest.raises(ConfigError) as caught:
        enrol.invitation(link)
    sentence = str(caught.value)
    assert sentence.startswith(f"The enrolment link {MISTAKES[link]}") and sentence.endswith(f"like {enrol.EXAMPLE}.")
    assert TOKEN not in sentence


@given(st.text(max_size=200) | st.text(max_size=80).map(lambda more: GOOD[:30] + more + GOOD[30:]))
def test_any_link(link: str) -> None:
    try:
        found = enrol.invitation(link)
    except ConfigError as error:
        assert str(error).isprintable()
    else:
        assert found.url.isascii() and "#" not in found.url and "@" not in found.url


# --- against a server ----------------------------------------------------------------------------------------------


class Server:
    """A collector in a thread of its own: the command runs its own loop."""

    def __init__(self, directory: Path) -> None:
        self.collector = Collector()
        self.asked: list[dict[str, Any]] = []
        self.answer: Callable[[], web.Response] = lambda: web.json_response(ANSWER)
        self.collector.always = self._answer
        pem, self.pin = certificate(directory)
        self._tls = server_tls(pem)
        self._loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.url = self._do(self._stack.enter_async_context(serving(self.collector, self._tls)))

    @property
    def link(self) -> str:
        return f"{self.url}/enrol#{TOKEN}.{self.pin}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append({"path": request.path, **json.loads(await request.read())})
        return self.answer()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        self._do(self._stack.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.close()


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration directory: the system's for root, XDG's for a plain user; here neither is this machine's."""
    place = tmp_path / "xdg" / "roomprobe"
    system = place if os.geteuid() == 0 else tmp_path / "etc"
    monkeypatch.setattr(config, "SYSTEM_DIRECTORY", system)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return place


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_box_is_enrolled(server: Server, etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["enrol", server.link]) == 0
    out, err = capsys.readouterr()
    assert err == "" and BEARER not in out and TOKEN not in out
    settings, token = etc / "conf.d" / "50-collector.toml", etc / "collector.token"
    assert out == f'This box is "Boardroom 4" at {server.url} from now on ({settings}, {token}).\n'
    assert server.asked == [{"path": "/v1/enrol", "token": TOKEN, "hostname": os.uname().nodename}]
    assert (mode(settings), mode(token), token.read_text()) == (0o644, 0o600, BEARER + "\n")
    read = config.load(env=os.environ).collector
    assert (read.url, read.pin, read.agent, read.token_file) == (server.url, server.pin, ANSWER["agent"], str(token))
    assert [file.name for file in (*etc.iterdir(), *settings.parent.iterdir())].count("50-collector.toml") == 1
    assert not [file for file in etc.rglob(".*") if file.is_file()], "nothing half-made is left"


def test_nobody_else_may_write_there_whatever_the_umask(server: Server, etc: Path) -> None:
    before = os.umask(0)
    try:
        assert cli.main(["enrol", server.link]) == 0
    finally:
        os.umask(before)
    assert {mode(place) & 0o022 for place in (etc.parent, etc, *etc.rglob("*"))} == {0}


def test_enrolled_again_the_old_one_is_replaced(server: Server, etc: Path) -> None:
    enrol.enrol(server.link, os.environ)
    (etc / "collector.token").chmod(0o644)
    server.answer = lambda: web.json_response({**ANSWER, "token": "c" * 43})
    enrol.enrol(server.link, os.environ)
    assert (etc / "collector.token").read_text() == "c" * 43 + "\n" and mode(etc / "collector.token") == 0o600


def test_another_certificate_gets_nothing(server: Server, etc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["enrol", server.link.replace(server.pin, PIN)]) == 3
    assert capsys.readouterr().err == (
        f"roomprobe: The collector at {server.url} cannot be reached "
        "(its certificate is not accepted: another certificate than the pinned one).\n"
    )
    assert server.asked == [] and server.collector.requests == []
    assert not [file for file in etc.rglob("*") if file.is_file()]


def test_without_a_pin_an_authority_must_vouch(server: Server, etc: Path, tmp_path: Path) -> None:
    link = server.link.removesuffix(f".{server.pin}").replace("127.0.0.1", "localhost")
    with pytest.raises(ConfigError, match="its certificate is not accepted: self-signed certificate"):
        enrol.enrol(link, os.environ)
    (etc / "conf.d").mkdir(parents=True, exist_ok=True)
    (etc / "roomprobe.toml").write_text(f'[collector]\nca_file = "{tmp_path / "server.pem"}"\n')
    enrol.enrol(link, os.environ)
    read = config.load(env=os.environ).collector
    assert read.pin is None and read.ca_file == str(tmp_path / "server.pem") and len(server.asked) == 1


REFUSALS: dict[str, tuple[Callable[[], web.Response], str]] = {
    "unknown": (lambda: problem(401, "x"), "does not know this link; ask for a new one (401)."),
    "used": (
        lambda: problem(409, "x"),
        "says that this link was used before; it works once, so ask for a new one (409).",
    ),
    "expired": (lambda: problem(410, "x"), "says that this link is too old; ask for a new one (410)."),
    "too many": (lambda: problem(429, "x"), "asks to wait a minute and to try again (429)."),
    "full": (lambda: problem(503, "The disk is \x1b[31mfull."), r"refuses with 503: The disk is \x1b[31mfull."),
    "a page": (lambda: web.Response(status=404, text="<html>"), "refuses with 404."),
    "a redirect": (lambda: web.Response(status=307, headers={"Location": "https://h/"}), "refuses with 307."),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_one_sentence(server: Server, etc: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    server.answer, sentence = REFUSALS[name]
    assert cli.main(["enrol", server.link]) == 3
    assert capsys.readouterr().err == f"roomprobe: The collector at {server.url} {sentence}\n"
    assert len(server.asked) == 1 and not [file for file in etc.rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        {**ANSWER, "agent": "x"},
        {**ANSWER, "agent": "../../../../../../etc/passwd/aaaaaaaa"},
        {**ANSWER, "token": "a b"},
        {**ANSWER, "token": ""},
        {**ANSWER, "token": BEARER + "\n[site]"},
        {**ANSWER, "room": ""},
        {**ANSWER, "room": "x" * 300},
    ],
)
def test_an_answer_that_is_none_is_one_sentence(server: Server, etc: Path, answer: Any) -> None:
    server.answer = lambda: web.json_response(answer)
    with pytest.raises(ConfigError, match=r"^What answers at .* is not a roomprobe collector\.$"):
        enrol.enrol(server.link, os.environ)
    assert not [file for file in etc.rglob("*") if file.is_file()]


@pytest.mark.parametrize("fault", [resets, half, endless, says(200, b"<html>")])
def test_a_broken_answer_is_one_sentence(server: Server, etc: Path, fault: Any) -> None:
    server.collector.always = fault
    with pytest.raises(ConfigError, match=r"^(The collector at .* cannot be reached \(.*\)|What answers at .*)\.$"):
        enrol.enrol(server.link, os.environ)


def test_a_room_s_name_may_try_what_it_likes(server: Server, etc: Path) -> None:
    server.answer = lambda: web.json_response({**ANSWER, "room": 'a"\x1b[31m\n[site]'})
    assert r'"a"\x1b[31m\x0a[site]"' in enrol.enrol(server.link, os.environ)
    assert "site" not in (etc / "conf.d" / "50-collector.toml").read_text()


def test_the_link_is_not_used_up_where_nothing_can_be_kept(server: Server, etc: Path) -> None:
    etc.parent.mkdir(parents=True)
    etc.write_text("a file")
    with pytest.raises(ConfigError, match=r"cannot be (written|read) \((File exists|Not a directory)\)"):
        enrol.enrol(server.link, os.environ)
    assert server.asked == []


@pytest.mark.lab
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_the_link_is_not_used_up_on_a_full_disk(server: Server, etc: Path) -> None:
    etc.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", etc], check=True)
    try:
        with pytest.raises(
            ConfigError, match=r"cannot be written \(No space left on device\); the link is not used up"
        ):
            enrol.enrol(server.link, os.environ)
        assert server.asked == [] and not [file for file in etc.rglob("*") if file.is_file()]
    finally:
        subprocess.run(["umount", "--lazy", etc], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_as_root_the_token_is_the_service_s(server: Server, etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrol, "SERVICE_USER", "nobody")
    enrol.enrol(server.link, os.environ)
    assert (etc / "collector.token").stat().st_uid == pwd.getpwnam("nobody").pw_uid
    assert (etc / "conf.d" / "50-collector.toml").stat().st_uid == 0


def test_the_link_is_not_used_up_where_a_directory_is_in_the_way(server: Server, etc: Path) -> None:
    (etc / "collector.token").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"is a directory\); the link is not used up"):
        enrol.enrol(server.link, os.environ)
    assert server.asked == [] and not [file for file in etc.rglob("*") if file.is_file()]


def test_a_link_through_a_symlink_is_not_written_elsewhere(server: Server, etc: Path, tmp_path: Path) -> None:
    etc.mkdir(parents=True)
    (tmp_path / "precious").write_text("untouched")
    (etc / "collector.token").symlink_to(tmp_path / "precious")
    enrol.enrol(server.link, os.environ)
    assert (tmp_path / "precious").read_text() == "untouched" and not (etc / "collector.token").is_symlink()
