"""`roomprobe enrol URL`: this box trades the link that the collector printed for a name and a token of its own (docs/enrol.md).

The link carries the fingerprint of the collector's certificate, so that the token goes to that collector and to nobody else. What is needed
to keep the answer is made ready before the link is used up: it works once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import json
import os
import pwd
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from roomprobe import config
from roomprobe.config import ConfigError
from roomprobe.model import Frozen
from roomprobe.net.https import Client, Trust, Unreachable
from roomprobe.text import escape
from roomprobe.wire import reply, upload
from roomprobe.wire.reader import Malformed

MOST_URL = 1000
CONFIG_NAME = "50-collector.toml"
TOKEN_NAME = "collector.token"
SERVICE_USER = "roomprobe"
EXAMPLE = "https://collector.acme.example:8443/enrol#TOKEN.FINGERPRINT"

_FRAGMENT = re.compile(r"([A-Za-z0-9_-]{20,128})(?:\.([0-9a-f]{64}))?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}|[0-9a-f:.]{2,45}", re.ASCII)


class Invitation(Frozen, frozen=True, kw_only=True):
    """What a link says: the collector's URL, the token that works once, the fingerprint (None: the usual authorities vouch)."""

    url: str
    token: str
    pin: str | None


class Enrolled(Frozen, frozen=True, kw_only=True):
    """The collector's answer: who this box is, for which room, and its token from now on."""

    agent: upload.Agent
    room: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    token: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{20,256}\Z")]


def invitation(link: str) -> Invitation:
    """A link taken apart, strictly; ConfigError with one sentence for each mistake, without the link's secret in it."""
    if len(link) > MOST_URL or not link.isascii() or not link.isprintable() or " " in link:
        raise _bad("is not one line of plain characters")
    try:
        parts = urlsplit(link)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _bad("has no host and port that can be read") from None
    if parts.scheme not in ("https", "http"):
        raise _bad("does not begin with https://")
    if not _HOST.fullmatch(host) or port == 0 or parts.username is not None or parts.password is not None:
        raise _bad("has no host and port that can be read")
    if parts.scheme == "http" and not _is_loopback(host):
        raise _bad("begins with http://, which is for a collector on this machine alone")
    if parts.query or not parts.path.endswith("/enrol"):
        raise _bad('does not have "/enrol" after the host')
    if not parts.fragment:
        raise _bad('has nothing after a "#": copy all of it, and put it in quotes')
    found = _FRAGMENT.fullmatch(parts.fragment)
    if found is None:
        raise _bad('is cut or changed after the "#": copy all of it, and put it in quotes')
    base = parts.path.removesuffix("/enrol")
    return Invitation(url=f"{parts.scheme}://{parts.netloc}{base}", token=found[1], pin=found[2])


def _bad(why: str) -> ConfigError:
    return ConfigError(f"The enrolment link {why}; it looks like {EXAMPLE}.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def ask(given: Invitation, hostname: str, *, ca_file: str | None = None, proxy: str | None = None) -> Enrolled:
    """Uses the link up. ConfigError: the collector cannot be reached, is another one, or does not take it."""
    where = escape(given.url)
    trust = Trust(pin=given.pin) if given.pin else Trust(ca_file=ca_file)
    try:
        client = Client(given.url, trust, proxy)
    except OSError as error:
        raise ConfigError(f"The collector at {where} cannot be asked ({error.strerror}).") from None
    body = msgspec.json.encode({"token": given.token, "hostname": hostname})
    try:
        answer = await client.post(upload.PATH_ENROL, body, {"Content-Type": "application/json"}, reply.MOST_PROBLEM)
    except Unreachable as error:
        raise ConfigError(f"The collector at {where} cannot be reached ({error}).") from None
    finally:
        await client.close()
    if answer.status != 200:
        raise ConfigError(_refusal(answer.status, answer.body, where))
    try:
        return msgspec.json.decode(answer.body, type=Enrolled)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ConfigError(f"What answers at {where} is not a roomprobe collector.") from None


_REFUSALS = {
    401: "does not know this link; ask for a new one",
    409: "says that this link was used before; it works once, so ask for a new one",
    410: "says that this link is too old; ask for a new one",
    429: "asks to wait a minute and to try again",
}


def _refusal(status: int, body: bytes, where: str) -> str:
    if status in _REFUSALS:
        return f"The collector at {where} {_REFUSALS[status]} ({status})."
    try:
        said = reply.parse_problem(body).detail
    except Malformed:
        said = None
    more = f": {escape(said, 300).rstrip('.')}" if said else ""
    return f"The collector at {where} refuses with {status}{more}."


# --- keeping the answer --------------------------------------------------------------------------------------------


class Place:
    """The two files in a configuration directory, made ready before and put in place after. Modes 0644 and 0600.

    As root the token belongs to the service's user, where there is one.
    """

    def __init__(self, directory: Path) -> None:
        self.config = directory / "conf.d" / CONFIG_NAME
        self.token = directory / TOKEN_NAME
        self._new = {file: file.with_name(f".{file.name}.{secrets.token_hex(4)}") for file in (self.config, self.token)}

    def prepare(self) -> None:
        """Makes the directories, and both files under other names with room for what will stand in them. ConfigError."""
        try:
            for directory in reversed(self.config.parents):
                if not directory.is_dir():  # each by itself: `parents` would leave their modes to the umask
                    directory.mkdir(mode=0o755, exist_ok=True)
            if self.token.is_dir() and not self.token.is_symlink():
                raise IsADirectoryError(errno.EISDIR, f"{self.token.name} is a directory")
            for file, mode in ((self.config, 0o644), (self.token, 0o600)):
                _write(self._new[file], b"\n" * 4096, mode)
        except OSError as error:
            self.discard()
            raise ConfigError(
                f"{escape(str(self.config.parent.parent))} cannot be written ({error.strerror}); the link is not used up."
            ) from None

    def keep(self, given: Invitation, got: Enrolled) -> None:
        """Writes both files and puts them in place, the token first. ConfigError."""
        keys = {"url": given.url, "agent": got.agent, "token_file": str(self.token)}
        if given.pin:
            keys["pin"] = given.pin
        head = "# Written by roomprobe enrol; the next enrolment replaces it.\n[collector]\n"
        text = head + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        try:
            _write(self._new[self.config], text.encode(), 0o644)
            _write(self._new[self.token], f"{got.token}\n".encode(), 0o600)
            _give_to_service(self._new[self.token])
            for file in (self.token, self.config):
                self._new[file].replace(file)
                _sync(file.parent)
        except OSError as error:
            raise ConfigError(
                f"{escape(str(self.config.parent.parent))} cannot be written ({error.strerror}), and the link is used up; ask for a new one."
            ) from None

    def discard(self) -> None:
        """Removes what was made ready and not put in place."""
        for file in self._new.values():
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)


def _write(file: Path, data: bytes, mode: int) -> None:
    number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(number, "wb") as opened:
        os.fchmod(number, mode)
        opened.write(data)
        opened.flush()
        os.fsync(number)


def _sync(directory: Path) -> None:
    number = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _give_to_service(file: Path) -> None:
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(SERVICE_USER)
            os.chown(file, user.pw_uid, user.pw_gid)


def enrol(link: str, env: Mapping[str, str]) -> str:
    """Enrols this box and says so in one line. ConfigError for everything that goes wrong."""
    given = invitation(link)
    known = config.load(env=env).collector
    place = Place(config.default_directories(env)[-1])
    place.prepare()
    try:
        got = asyncio.run(ask(given, os.uname().nodename[:253], ca_file=known.ca_file, proxy=known.proxy))
        place.keep(given, got)
    finally:
        place.discard()
    return f'This box is "{escape(got.room)}" at {given.url} from now on ({place.config}, {place.token}).'
