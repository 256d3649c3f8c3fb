"""A real web server between agent and collector, as sites put one there: TLS, its own limits, its own error pages."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roomprobe.net.https import Trust
from roomprobe.spool import Spool
from tests.ports import free_port
from tests.sinks.collectors import Collector, certificate, serving
from tests.sinks.test_push import filled, idle, pushing, until
from tests.spool.helpers import AGENT

pytestmark = pytest.mark.lab

CONFIG = """
daemon off; master_process off; pid {home}/pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off; client_max_body_size {most};
    client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {pem}; ssl_certificate_key {pem};
        location / {{ proxy_pass {behind}; }}
    }}
}}
"""


@contextlib.asynccontextmanager
async def nginx(home: Path, behind: str, most: str = "8m") -> AsyncIterator[tuple[str, str]]:
    """nginx on loopback in front of `behind`; its URL and its pin."""
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not installed")
    pem, pin = certificate(home)
    port = free_port()
    (home / "nginx.conf").write_text(CONFIG.format(home=home, port=port, pem=pem, behind=behind, most=most))
    child = await asyncio.create_subprocess_exec(program, "-p", str(home), "-c", str(home / "nginx.conf"))
    try:
        async with asyncio.timeout(20):
            while True:
                assert child.returncode is None
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        yield f"https://127.0.0.1:{port}", pin
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def test_runs_arrive_through_nginx_and_its_error_pages_lose_none(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-the-agent")
    spool, collector = Spool(tmp_path / "spool", AGENT), Collector()
    await spool.open()
    ids = await filled(spool, 30)
    collector.port = free_port()
    behind = f"http://127.0.0.1:{collector.port}"
    async with (
        nginx(tmp_path, behind) as (url, pin),
        pushing(spool, url, token, trust=Trust(pin=pin)) as push,
    ):
        await until(lambda: push.state.failures >= 3)
        assert push.state.sentence == "The collector cannot store now (502)." and push.state.set_aside == 0
        async with serving(collector):
            await until(idle(push))
    assert set(collector.runs) == set(ids)
    await spool.close()


async def test_a_limit_of_nginx_is_met_by_smaller_batches(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-the-agent")
    spool, collector = Spool(tmp_path / "spool", AGENT), Collector()
    await spool.open()
    ids = await filled(spool, 60)
    async with (
        serving(collector) as behind,
        nginx(tmp_path, behind, most="12k") as (url, pin),
        pushing(spool, url, token, trust=Trust(pin=pin)) as push,
    ):
        await until(idle(push))
        assert set(collector.runs) == set(ids) and push.state.set_aside == 0
        assert max(collector.batches) < 60
    await spool.close()
