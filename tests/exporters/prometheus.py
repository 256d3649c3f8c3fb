"""A real Prometheus (Debian's) on a port of loopback that scrapes one collector process, and is asked over its HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.ports import free_port

MONITORING = Path(__file__).resolve().parents[2] / "packaging" / "monitoring"
RULES = MONITORING / "roomprobe.rules.yml"


def installed() -> bool:
    return shutil.which("prometheus") is not None and shutil.which("promtool") is not None


class Prometheus:
    """What it answers."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def ask(self, path: str, **params: str) -> Any:
        async with self._http.get(f"{self._url}/api/v1/{path}", params=params) as answer:
            said = await answer.json()
        assert said["status"] == "success", f"{params}: {said}"
        return said["data"]

    async def query(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of an instant vector."""
        data = await self.ask("query", query=expr)
        assert data["resultType"] == "vector", data
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    async def until(self, expr: str, many: int = 1) -> list[tuple[dict[str, str], float]]:
        """Asks again until there are as many."""
        for _ in range(300):
            found = await self.query(expr)
            if len(found) >= many:
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(f"{expr} has {found}; targets: {await self.ask('targets')}")


@contextlib.asynccontextmanager
async def prometheus(home: Path, target: str, token: str, *, checks: bool) -> AsyncIterator[Prometheus]:
    """Scrapes `target` each second; ends with the block."""
    port = free_port()
    child = await asyncio.create_subprocess_exec(
        "prometheus",
        *_prepared(home, target, token, checks),
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert child.stderr is not None
    try:
        async with aiohttp.ClientSession() as http:
            for _ in range(300):
                assert child.returncode is None, (await child.stderr.read()).decode()
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"http://127.0.0.1:{port}/-/ready") as answer:
                        if answer.status == 200:
                            break
                await asyncio.sleep(0.1)
            yield Prometheus(http, f"http://127.0.0.1:{port}")
    finally:
        if child.returncode is None:
            child.terminate()
        await child.communicate()


def _prepared(home: Path, target: str, token: str, checks: bool) -> tuple[str, ...]:
    """Its files, and the arguments that name them."""
    home.mkdir()
    place = urlsplit(target)
    secret = home / "token"
    secret.write_text(token)
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": "roomprobe",
                "scheme": place.scheme,
                "authorization": {"credentials_file": str(secret)},
                "params": {"checks": ["1"]} if checks else {},
                "static_configs": [{"targets": [place.netloc]}],
            }
        ],
    }
    (home / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    return f"--config.file={home / 'prometheus.yml'}", f"--storage.tsdb.path={home / 'data'}", "--log.level=error"
