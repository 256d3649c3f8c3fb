"""The HTTPS client for the collector: whom it trusts, who it says it is, what it never does.

No redirect is followed, no cookie kept, nothing unpacked, no proxy taken from the environment, and no more of an answer read
than asked for. aiohttp is imported on first use.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

from roomprobe import files
from roomprobe.model import Frozen
from roomprobe.text import escape

if TYPE_CHECKING:
    import aiohttp

CONNECT_S = 15.0
ANSWER_S = 60.0
KEEP_S = 10.0
MOST_HEADERS = 8190
MOST_FILE = 4 << 20


class Trust(Frozen, frozen=True, kw_only=True):
    """Whom to believe and who to be. `pin` is the SHA-256 of the far end's own certificate (64 hex digits), and then nothing else
    counts: neither names, dates nor authorities. Else `ca_file`, or the system's authorities. Paths are absolute.
    """

    pin: str | None = None
    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


class Answer(Frozen, frozen=True, kw_only=True):
    """An HTTP answer, its body cut at what was asked for. `headers` have lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes


class Unreachable(Exception):
    """No whole answer came; `str` says why, in words for people, without a full stop. `sent`: the far end may have heard something."""

    def __init__(self, why: str, *, sent: bool = True) -> None:
        super().__init__(why)
        self.sent = sent


def context(trust: Trust) -> ssl.SSLContext:
    """The TLS settings. OSError, whose `strerror` names the file, when one cannot be read or holds nothing of use."""
    try:
        return _context(trust)
    except ssl.SSLError:
        named = " and ".join(escape(file) for file in _files(trust))
        raise OSError(
            errno.EINVAL, f"{named} must hold PEM certificates and, of a client, the key without password"
        ) from None


def _context(trust: Trust) -> ssl.SSLContext:
    for file in _files(trust):  # OpenSSL reads whatever it is, and for as long as it takes
        try:
            files.read(file, MOST_FILE)
        except OSError as error:
            raise OSError(error.errno, f"{escape(file)}: {error.strerror}") from None
    made = ssl.create_default_context(cafile=trust.ca_file) if trust.pin is None else _pinned(trust.pin)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if trust.client_cert:
        made.load_cert_chain(trust.client_cert, trust.client_key, password=_no_password)
    return made


def _files(trust: Trust) -> list[str]:
    named = (None if trust.pin else trust.ca_file, trust.client_cert, trust.client_key)
    return [file for file in named if file is not None]


def _no_password() -> str:
    """Instead of OpenSSL's question at the terminal."""
    raise ssl.SSLError("the key is encrypted")


def _pinned(pin: str) -> ssl.SSLContext:
    class Pinned(ssl.SSLObject):
        """A connection whose handshake ends only when the pinned certificate was shown: nothing is sent to another peer."""

        def do_handshake(self) -> None:
            super().do_handshake()
            shown = hashlib.sha256(self.getpeercert(binary_form=True) or b"").hexdigest()
            if not hmac.compare_digest(shown, pin):
                raise ssl.SSLCertVerificationError(1, "another certificate than the pinned one")

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.sslobject_class = Pinned
    return made


class Client:
    """Requests to one server; made inside a running loop, closed with `close`."""

    def __init__(self, url: str, trust: Trust, proxy: str | None, *, answer_s: float = ANSWER_S) -> None:
        import aiohttp

        self._url = url.rstrip("/")
        self._proxy = proxy
        secure = self._url.startswith("https:")
        connector = aiohttp.TCPConnector(
            ssl=context(trust) if secure else False, limit=2, keepalive_timeout=KEEP_S, ttl_dns_cache=60
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=answer_s, sock_connect=CONNECT_S),
            auto_decompress=False,
            trust_env=False,
            max_line_size=MOST_HEADERS,
            max_field_size=MOST_HEADERS,
        )

    async def post(self, path: str, body: bytes, headers: Mapping[str, str], most: int) -> Answer:
        """One POST, `most` bytes of its answer. Unreachable when none came, or only half of it."""
        import aiohttp

        told = {"Accept-Encoding": "identity", **headers}
        try:
            async with self._session.post(
                self._url + path, data=body, headers=told, allow_redirects=False, proxy=self._proxy
            ) as answer:
                return Answer(
                    status=answer.status,
                    headers={name.lower(): value for name, value in answer.headers.items()},
                    body=await _read(answer, most),
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unreachable(why(error), sent=not isinstance(error, aiohttp.ClientConnectorError)) from None

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()


async def _read(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """At most `most` bytes of the body; the connection is not used again when there are more."""
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most:
            answer.close()
            break
    return b"".join(parts)[:most]


def why(error: BaseException) -> str:
    """What went wrong, in a few words; nothing of what the far end sent stands in it unescaped."""
    import aiohttp

    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", None) or error.certificate_error.args[-1]
            return f"its certificate is not accepted: {escape(str(reason), 100)}"
        case aiohttp.ClientConnectorDNSError():
            return "its name cannot be resolved"
        case aiohttp.ClientProxyConnectionError():
            return f"the proxy cannot be reached: {escape(error.os_error.strerror or 'no connection', 100)}"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy refuses with {error.status}"
        case aiohttp.ClientSSLError():
            return f"no TLS: {escape(error.os_error.strerror or str(error.os_error), 100)}"
        case aiohttp.ClientConnectorError():
            return escape(error.os_error.strerror or "no connection", 100)
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            return "its answer broke off"
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientResponseError():
            return "its answer is not HTTP"
        case OSError():
            return escape(error.strerror or type(error).__name__, 100)
    return f"no answer: {type(error).__name__}"
