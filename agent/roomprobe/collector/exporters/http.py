"""One POST to a receiver that may do anything: bounded in time and size, no redirect followed, no proxy of the environment."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import aiohttp
import certifi

from roomprobe import files
from roomprobe.config import ConfigError
from roomprobe.model import Frozen
from roomprobe.net import https
from roomprobe.text import escape

MOST_ANSWER = 64 << 10
MOST_CA = 4 << 20
TIMEOUT_S = 15.0


class Answer(Frozen, frozen=True, kw_only=True):
    """`status` 0: there was none, and `why` says why. Header names in lower case."""

    status: int
    why: str
    headers: dict[str, str]
    body: bytes = b""


def session(ca_file: str | None) -> aiohttp.ClientSession:
    """For one exporter; `ca_file` names the issuers that it trusts instead of the public ones. ConfigError."""
    try:
        if ca_file is not None:
            files.read(ca_file, MOST_CA)
        context = ssl.create_default_context(cafile=ca_file or certifi.where())
    except (OSError, ValueError):
        raise ConfigError(f"{escape(ca_file or '')} cannot be read as a PEM file of certificates.") from None
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=4, force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


async def post(
    http: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float = TIMEOUT_S
) -> Answer:
    """The answer, or why there is none; never raises for anything that the receiver does."""
    try:
        async with http.post(
            url,
            data=body,
            headers={**headers, "Accept-Encoding": "identity"},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as answer:
            parts, size = [], 0
            async for part in answer.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > MOST_ANSWER:
                    break
            told = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(
                status=answer.status, why=f"HTTP {answer.status}", headers=told, body=b"".join(parts)[:MOST_ANSWER]
            )
    except TimeoutError:
        return Answer(status=0, why=f"no answer within {timeout_s:g} s", headers={})
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(status=0, why=https.why(error), headers={})  # never aiohttp's words: the URL may be a secret
