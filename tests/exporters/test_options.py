"""The flags: mistakes are one sentence, secrets come from files, and what is off is not even imported."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roomprobe.collector import command
from roomprobe.collector.exporters import options
from roomprobe.config import ConfigError

AGENT = Path(__file__).resolve().parents[2] / "agent"


def chosen(*arguments: str) -> options.Export:
    parser = argparse.ArgumentParser()
    options.add(parser)
    return options.chosen(parser.parse_args(arguments))


def test_nothing_is_on_by_itself() -> None:
    assert not chosen().any


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    key, headers = tmp_path / "key", tmp_path / "headers"
    key.write_text("0123456789abcdef\n")
    headers.write_text("# for the gateway\nAuthorization: Bearer a:b\n\nX-Scope-OrgID: acme\n")
    found = chosen(
        "--webhook", "https://h.example/x?y=1", "--webhook-secret", str(key), "--otlp", "http://127.0.0.1:4318/",
        "--otlp-headers", str(headers), "--export-file", "/x", "--export-file-size", "1",
    )  # fmt: skip
    assert found.webhook_key == b"0123456789abcdef"
    assert found.otlp == "http://127.0.0.1:4318"
    assert found.otlp_headers == (("Authorization", "Bearer a:b"), ("X-Scope-OrgID", "acme"))
    assert found.file_bytes == 1 << 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--webhook", "https://h.example"], "--webhook needs --webhook-secret"),
        (["--webhook", "https://h.example", "--webhook-secret", "/nowhere"], "/nowhere cannot be read"),
        (["--webhook", "https://h.example", "--webhook-secret", "KEY"], "shorter than 16 bytes"),
        (["--webhook", "ftp://h.example"], "must begin with https:// or http://"),
        (["--otlp", "h.example:4318"], "must begin with https:// or http://"),
        (["--otlp", "https://h.example", "--otlp-headers", "KEY"], "is not `name: value`"),
        (["--otlp-every", "0"], "from 1 to 86400"),
        (["--export-file-size", "0"], "from 1 to 1048576"),
        (["--otlp", "http://127.0.0.1:9", "--export-ca", "KEY"], "PEM file of certificates"),
        (["--otlp", "http://127.0.0.1:9", "--export-ca", "FIFO"], "PEM file of certificates"),
        (["--webhook", "https://h.example", "--webhook-secret", "FIFO"], "it is not a regular file"),
        (["--cert", "FIFO", "--key", "KEY"], "it is not a regular file"),
        (["--export-file", "/"], "is not a regular file; give the name of a file."),
        (["--export-file", ""], "argument --export-file: must not be empty"),
        (["--state", ""], "argument --state: must not be empty"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    key = tmp_path / "key"
    key.write_text("tiny secret")
    os.mkfifo(tmp_path / "fifo")
    places = {"KEY": str(key), "FIFO": str(tmp_path / "fifo")}
    given = [places.get(one, one) for one in arguments]
    with pytest.raises(ConfigError) as error:
        command.main(["--state", str(tmp_path / "state"), "--listen", "127.0.0.1:0", *given])
    assert said in str(error.value) and "\n" not in str(error.value) and "tiny secret" not in str(error.value)


def test_what_is_off_is_not_imported() -> None:
    script = "import json, sys\nimport roomprobe.collector.serve\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=AGENT)
    loaded = {name for name in json.loads(done.stdout) if name.startswith("roomprobe.collector.exporters.")}
    assert "roomprobe.collector.exporters.running" in loaded
    assert not {name.rpartition(".")[2] for name in loaded} & {"webhook", "otlp", "files", "http"}
