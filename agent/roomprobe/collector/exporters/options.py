"""The flags of `roomprobe collector` that turn exporters on. Light: nothing of an exporter is imported here."""

from __future__ import annotations

import argparse
from pathlib import Path

from roomprobe import files
from roomprobe.config import ConfigError
from roomprobe.model import Frozen
from roomprobe.text import escape

MOST_FILE = 64 << 10


class Export(Frozen, frozen=True, kw_only=True):
    """What is asked for; None and empty: nothing. Secrets are read from their files at the start."""

    webhook: str | None = None
    webhook_key: bytes = b""
    webhook_checks: bool = False
    otlp: str | None = None
    otlp_headers: tuple[tuple[str, str], ...] = ()
    otlp_every_s: float = 60.0
    file: Path | None = None
    file_bytes: int = 64 << 20
    ca_file: str | None = None

    @property
    def any(self) -> bool:
        """Whether one is on."""
        return bool(self.webhook or self.otlp or self.file)


def add(parser: argparse.ArgumentParser) -> None:
    """The flags."""
    group = parser.add_argument_group("other systems", "all off by default; docs/monitoring.md")
    group.add_argument("--webhook", metavar="URL", type=_url, help="POST changes of services and rooms as signed JSON")
    group.add_argument("--webhook-secret", metavar="FILE", type=path, help="the file with the key that signs them")
    group.add_argument("--webhook-checks", action="store_true", help="and the changes of single checks")
    group.add_argument(
        "--otlp", metavar="URL", type=_url, help="send metrics and logs to URL/v1/metrics and URL/v1/logs"
    )
    group.add_argument("--otlp-headers", metavar="FILE", type=path, help="lines of `name: value` to send along")
    group.add_argument(
        "--otlp-every", metavar="S", type=_seconds, default=60.0, help="seconds between metrics (default 60)"
    )
    group.add_argument("--export-file", metavar="FILE", type=path, help="append runs and changes as lines of JSON")
    group.add_argument(
        "--export-file-size", metavar="MIB", type=_mib, default=64, help="rename it to FILE.1 beyond this (default 64)"
    )
    group.add_argument(
        "--export-ca", metavar="FILE", help="issuers (PEM) that webhook and OTLP trust, not the public ones"
    )


def chosen(given: argparse.Namespace) -> Export:
    """What the flags ask for. ConfigError."""
    if given.webhook and not given.webhook_secret:
        raise ConfigError("--webhook needs --webhook-secret FILE: deliveries are always signed.")
    key = b""
    if given.webhook:
        from roomprobe.collector.exporters.webhook import read_secret

        key = read_secret(_read(given.webhook_secret))
    return Export(
        webhook=given.webhook,
        webhook_key=key,
        webhook_checks=given.webhook_checks,
        otlp=given.otlp,
        otlp_headers=_headers(_read(given.otlp_headers)) if given.otlp and given.otlp_headers else (),
        otlp_every_s=given.otlp_every,
        file=_appended(given.export_file),
        file_bytes=given.export_file_size << 20,
        ca_file=given.export_ca,
    )


def _appended(file: Path | None) -> Path | None:
    if file is not None and file.exists() and not file.is_file():
        raise ConfigError(f"--export-file {escape(str(file))} is not a regular file; give the name of a file.")
    return file


def _read(file: Path) -> str:
    shown = escape(str(file))
    try:
        return files.read(file, MOST_FILE).decode()
    except OSError as error:
        raise ConfigError(f"{shown} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{shown} is not text (UTF-8).") from None


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    found = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if not (colon and plain and value.isascii() and value.isprintable()):
            raise ConfigError("A line of --otlp-headers is not `name: value`.")  # the line may be a secret
        found.append((name, value))
    return tuple(found)


def path(text: str) -> Path:
    """The type of a flag that names a file or a directory."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return Path(text)


def _url(text: str) -> str:
    if not text.startswith(("https://", "http://")) or any(c.isspace() or not c.isprintable() for c in text):
        raise argparse.ArgumentTypeError("must begin with https:// or http:// and hold no blank")
    return text.rstrip("/") if "?" not in text else text


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 86_400):
        raise argparse.ArgumentTypeError("must be a whole number of seconds from 1 to 86400")
    return float(text)


def _mib(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 1 << 20):
        raise argparse.ArgumentTypeError("must be a whole number of MiB from 1 to 1048576")
    return int(text)
