"""A tunnel through the site's web proxy: HTTP/1.1 CONNECT with the name unresolved (RFC 9110 9.3.6).

The proxy's own refusal, silence and status are told apart in ProxyAnswer; what comes after a 2xx is the far end's.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import urllib.parse

from roomprobe.evidence import Connect, Failure, ProxyAnswer
from roomprobe.model import Check
from roomprobe.net import Net
from roomprobe.net.pace import Bucket
from roomprobe.net.stream import CONNECT_S, Stream, connect
from roomprobe.net.tls import http_status

MOST_HEAD = 16 * 1024
ANSWER_S = 4.0  # the proxy looks the name up and connects before it answers
MOST_ADDRESSES = 2


def split(proxy: str) -> tuple[str, int]:
    """Host and port of http://host:port; the port is 3128 where none is given. ValueError for anything else."""
    parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    if not parts.hostname:
        raise ValueError("a proxy is written http://host:port")
    return parts.hostname, parts.port or 3128


async def reach(check: Check, net: Net, until: float) -> tuple[Connect, ProxyAnswer | None, Stream | None]:
    """The TCP connection of a check, direct or as a tunnel; for the kinds `tls` and `tcp`."""
    port = check.port or 0
    if check.via == "proxy" and net.proxy:
        host = check.host or check.address or ""
        answer, stream = await open_tunnel(
            net.proxy, host, port, until=until, bucket=net.bucket, interface=net.interface
        )
        return Connect(result="proxy"), answer, stream
    made, stream = await connect(
        check.address or "", port, deadline_s=CONNECT_S, bucket=net.bucket, interface=net.interface
    )
    return made, None, stream


async def open_tunnel(
    proxy: str, host: str, port: int, *, until: float, bucket: Bucket, interface: str | None = None
) -> tuple[ProxyAnswer, Stream | None]:
    """Asks `proxy` for host:port, at the latest until the monotonic time `until`; the stream is there after a 2xx."""
    proxy_host, proxy_port = split(proxy)
    addresses = await _lookup(proxy_host, until)
    if isinstance(addresses, Failure):
        return ProxyAnswer(proxy=proxy, connect=Connect(result="failure", failure=addresses)), None
    made, stream = Connect(result="timeout"), None
    for address in addresses:
        left = min(CONNECT_S, until - time.monotonic())
        made, stream = await connect(address, proxy_port, deadline_s=left, bucket=bucket, interface=interface)
        if stream is not None:
            break
    if stream is None:
        return ProxyAnswer(proxy=proxy, connect=made), None
    try:
        status, detail = await _ask(stream, host, port, min(until, time.monotonic() + ANSWER_S))
    except BaseException:
        stream.close()
        raise
    answer = ProxyAnswer(proxy=proxy, connect=made, status=status, detail=detail)
    if status is None or not 200 <= status < 300:
        stream.close()
        return answer, None
    return answer, stream


async def _ask(stream: Stream, host: str, port: int, until: float) -> tuple[int | None, str | None]:
    """The status and the reason phrase; without a status, what happened instead."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: roomprobe\r\n\r\n"
    await stream.write(request.encode("ascii", "replace"), until)
    head = b""
    while b"\r\n\r\n" not in head:
        if len(head) >= MOST_HEAD:
            return None, "the header is too long"
        data = await stream.read(4096, until)
        if data is None:
            return None, "no answer in time" if not head else "the answer does not end"
        if not data:
            status = http_status(head)
            if status is not None and status >= 300:
                break
            return None, f"the connection was {stream.ended or 'closed'}"
        head += data
        if not b"HTTP/".startswith(head[:5]):
            return None, "the answer is not HTTP"
    head, _, rest = head.partition(b"\r\n\r\n")
    stream.unread(rest)
    status = http_status(head)
    line = head.split(b"\n", 1)[0].strip()
    return status, (line[13:].decode("latin-1")[:200] or None) if status else "the answer is not HTTP"


async def _lookup(host: str, until: float) -> tuple[str, ...] | Failure:
    """The proxy's addresses by the system's resolver, in a thread that nobody has to wait for."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[tuple[str, ...] | Failure] = loop.create_future()

    def settle(answer: tuple[str, ...] | Failure) -> None:
        if not found.done():
            found.set_result(answer)

    def look() -> None:
        answer: tuple[str, ...] | Failure
        try:
            infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answer = Failure(operation="resolve", errno="EAI", detail=str(error)[:120])
        else:
            answer = tuple(dict.fromkeys(str(info[4][0]) for info in infos))[:MOST_ADDRESSES]
        with contextlib.suppress(RuntimeError):  # the loop ended in the meantime
            loop.call_soon_threadsafe(settle, answer)

    threading.Thread(target=look, daemon=True, name="proxy-lookup").start()
    try:
        async with asyncio.timeout(max(0.0, min(until - time.monotonic(), CONNECT_S))):
            return await found
    except TimeoutError:
        return Failure(operation="resolve", errno="ETIMEDOUT", detail="the name lookup took too long")
