"""A TLS client over a Stream that keeps everything: chain, alert, what came when it was not TLS.

The ssl module runs on memory buffers, so that each byte that came is ours to look at. Nothing is verified here
(trust.py does that on the captured chain); RFC 8446 6 for alerts and 5.1 for records.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ssl
import sys
import time
from typing import Any, Literal

from roomprobe.net.stream import Stream

MOST_HANDSHAKE = 128 * 1024
MOST_CHAIN, MOST_CHAIN_BYTES = 10, 64 * 1024
MOST_ANSWER = 4096
CHUNK = 16 * 1024

# OpenSSL names each alert that it received; the number is what RFC 8446 6 calls it.
ALERTS = {
    "SSLV3_ALERT_UNEXPECTED_MESSAGE": 10,
    "SSLV3_ALERT_BAD_RECORD_MAC": 20,
    "TLSV1_ALERT_DECRYPTION_FAILED": 21,
    "TLSV1_ALERT_RECORD_OVERFLOW": 22,
    "SSLV3_ALERT_DECOMPRESSION_FAILURE": 30,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": 40,
    "SSLV3_ALERT_NO_CERTIFICATE": 41,
    "SSLV3_ALERT_BAD_CERTIFICATE": 42,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": 43,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": 44,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": 45,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": 46,
    "SSLV3_ALERT_ILLEGAL_PARAMETER": 47,
    "TLSV1_ALERT_UNKNOWN_CA": 48,
    "TLSV1_ALERT_ACCESS_DENIED": 49,
    "TLSV1_ALERT_DECODE_ERROR": 50,
    "TLSV1_ALERT_DECRYPT_ERROR": 51,
    "TLSV1_ALERT_EXPORT_RESTRICTION": 60,
    "TLSV1_ALERT_PROTOCOL_VERSION": 70,
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": 71,
    "TLSV1_ALERT_INTERNAL_ERROR": 80,
    "TLSV1_ALERT_INAPPROPRIATE_FALLBACK": 86,
    "TLSV1_ALERT_USER_CANCELLED": 90,
    "TLSV1_ALERT_NO_RENEGOTIATION": 100,
    "TLSV13_ALERT_MISSING_EXTENSION": 109,
    "TLSV1_UNSUPPORTED_EXTENSION": 110,
    "TLSV1_CERTIFICATE_UNOBTAINABLE": 111,
    "TLSV1_UNRECOGNIZED_NAME": 112,
    "TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE": 113,
    "TLSV1_BAD_CERTIFICATE_HASH_VALUE": 114,
    "TLSV1_ALERT_UNKNOWN_PSK_IDENTITY": 115,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": 116,
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": 120,
}

Stage = Literal["connect", "handshake", "certificate", "established", "answered"]


@dataclasses.dataclass(slots=True)
class Talk:
    """What one TLS conversation showed; the fields mean what those of TlsEvidence mean. `chain` is DER, leaf first."""

    stage: Stage = "handshake"
    chain: tuple[bytes, ...] = ()
    version: str | None = None
    alpn: str | None = None
    alert: int | None = None
    closed: Literal["closed", "reset"] | None = None
    not_tls: bool = False
    first: bytes = b""
    http_status: int | None = None
    handshake_s: float | None = None


def context(alpn: tuple[str, ...]) -> ssl.SSLContext:
    """A context that captures and verifies nothing; weak keys and old signatures are let through to be seen."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


def is_record(data: bytes) -> bool:
    """Whether bytes may begin a TLS record: a content type of 20 to 23 and major version 3."""
    return not data or (data[0] in range(20, 24) and data[1:2] in (b"", b"\x03"))


class Conversation:
    """One handshake and one request over `stream`; `talk` fills up as things happen."""

    def __init__(self, stream: Stream, made: ssl.SSLContext, sni: str | None) -> None:
        self.talk = Talk()
        self._stream = stream
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = made.wrap_bio(self._in, self._out, server_hostname=sni)
        self._came = 0

    async def handshake(self, until: float) -> bool:
        """Shakes hands until the monotonic time `until`; True when it is complete."""
        talk, started = self.talk, time.monotonic()
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                if await self._turn(until, MOST_HANDSHAKE):
                    continue
            except ssl.SSLError as error:
                await self._failed(error, until)
            else:
                talk.stage, talk.handshake_s = "established", round(time.monotonic() - started, 6)
                talk.version, talk.alpn = self._tls.version(), self._tls.selected_alpn_protocol()
            break
        talk.chain = self._chain()
        if talk.chain and talk.stage == "handshake":
            talk.stage = "certificate"
        return talk.stage == "established"

    async def ask(self, request: bytes, until: float) -> None:
        """Sends a request and reads until a status line, an alert, an end or the time `until`."""
        try:
            self._tls.write(request)
        except ssl.SSLError as error:
            await self._failed(error, until)
            return
        answer = b""
        while len(answer) < MOST_ANSWER:
            try:
                piece = self._tls.read(MOST_ANSWER - len(answer))
            except ssl.SSLWantReadError:
                if not await self._turn(until, MOST_HANDSHAKE + CHUNK):
                    break
                continue
            except ssl.SSLError as error:
                await self._failed(error, until)
                break
            if not piece:
                self.talk.closed = "closed"
                break
            answer += piece
            self.talk.stage = "answered"
            if b"\n" in answer or not b"HTTP/".startswith(answer[:5]):
                break
        self.talk.http_status = http_status(answer)

    async def read(self, most: int, until: float) -> bytes | None:
        """Application data once the handshake is complete, as Stream.read gives it."""
        while True:
            try:
                return self._tls.read(most)
            except ssl.SSLWantReadError:
                await self._flush(until)
                data = await self._stream.read(CHUNK, until)
                if not data:
                    return data
                self._in.write(data)
            except ssl.SSLError:
                self._stream.ended = self._stream.ended or "closed"
                return b""

    async def write(self, data: bytes, until: float) -> bool:
        """Sends application data, as Stream.write does."""
        try:
            self._tls.write(data)
        except ssl.SSLError:
            return False
        return await self._stream.write(self._out.read(), until)

    async def close(self, until: float) -> None:
        """Says close_notify (RFC 8446 6.1); the connection itself stays."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        await self._flush(until)

    async def _turn(self, until: float, most: int) -> bool:
        """Sends what waits and takes in what comes; False when nothing more can come."""
        await self._flush(until)
        if self._came > most:
            return False
        data = await self._stream.read(CHUNK, until)
        if data is None:
            return False
        if not data:
            self.talk.closed = self._stream.ended
            return False
        self._came += len(data)
        self.talk.first = (self.talk.first + data)[:16]
        if not is_record(self.talk.first):
            self.talk.not_tls = True
            return False
        self._in.write(data)
        return True

    async def _flush(self, until: float) -> None:
        if self._out.pending:
            await self._stream.write(self._out.read(), until)

    async def _failed(self, error: ssl.SSLError, until: float) -> None:
        self.talk.alert = ALERTS.get(error.reason or "")
        if isinstance(error, ssl.SSLZeroReturnError):
            self.talk.closed = "closed"
        await self._flush(until)

    def _chain(self) -> tuple[bytes, ...]:
        # Public from Python 3.13 on; before that the same method stands on the inner object.
        inner: Any = self._tls
        if sys.version_info < (3, 13):
            inner = inner._sslobj
        found: list[bytes] = []
        room = MOST_CHAIN_BYTES
        for one in (inner.get_unverified_chain() or ())[:MOST_CHAIN]:
            der = one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes())
            room -= len(der)
            if room < 0:
                break
            found.append(der)
        return tuple(found)


def http_status(answer: bytes) -> int | None:
    """The status of an HTTP/1 answer (RFC 9112 4), None when it does not begin with a status line."""
    line = answer.split(b"\n", 1)[0].strip()
    if not line.startswith(b"HTTP/1.") or len(line) < 12 or line[8:9] != b" " or not line[9:12].isdigit():
        return None
    return int(line[9:12])
