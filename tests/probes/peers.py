"""Far ends on loopback with fault switches: a certificate authority, socket servers in threads, a DNS server.

Threads and blocking sockets on purpose: the real OpenSSL server writes its alerts there, and nothing is shared with the code
under test.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

import dns.message
import dns.rdatatype
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from roomprobe.model import Check
from roomprobe.net import Net
from roomprobe.net.pace import Bucket
from roomprobe.outcome import Need

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
HOST = "config.example.test"


def check(kind: str, port: int, *, host: str | None = HOST, address: str | None = "127.0.0.1", **more: object) -> Check:
    """A planned check towards loopback."""
    fields: dict[str, object] = {
        "id": "c", "profile": "starleaf", "row": "F1", "purpose": "sign-in", "document": "d", "services": ("sign-in",),
        "need": Need.REQUIRED, "kind": kind, "transport": "tcp", "host": host, "address": address, "port": port,
    }  # fmt: skip
    return Check(**(fields | more))  # type: ignore[arg-type]


def net(**more: object) -> Net:
    """A Net with nothing configured."""
    return Net(bucket=Bucket(), **more)  # type: ignore[arg-type]


# --- certificates --------------------------------------------------------------------------------------------------


class Identity:
    """A certificate with its key; `chain` is PEM, leaf first."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, above: bytes = b"") -> None:
        self.certificate, self.key = certificate, key
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.chain = self.pem + above

    def write(self, path: Path) -> Path:
        """One PEM file with chain and key."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(self.chain + key)
        return path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def issue(
    common: str,
    *names: str,
    by: Identity | None = None,
    ca: bool = False,
    begin: datetime.datetime = NOW - 30 * DAY,
    end: datetime.datetime = NOW + 60 * DAY,
    basic: bool = True,
) -> Identity:
    """A certificate signed `by` another (itself without); CA certificates hold the extensions that the web asks for."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common))
        .issuer_name(by.certificate.subject if by else _name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    )
    if basic:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
    if ca:
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
             "decipher_only"), False
        )  # fmt: skip
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **usage), True
        )
    else:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_alternative, names))), False)
    made = builder.sign(signer, hashes.SHA256())
    return Identity(made, key, by.chain if by and by.certificate.issuer != by.certificate.subject else b"")


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


# --- TCP -----------------------------------------------------------------------------------------------------------

Handler = Callable[[socket.socket, threading.Event], None]


@contextlib.contextmanager
def serve(handler: Handler, address: str = "127.0.0.1") -> Generator[int]:
    """A listener that plays `handler(connection, over)` for each connection in a thread; gives its port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    over = threading.Event()
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(8)
            handler(connection, over)

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=one, args=(connection,)))
                threads[-1].start()

    with socket.create_server((address, 0), family=family) as listener:
        listener.settimeout(0.05)
        threads.append(threading.Thread(target=accept))
        threads[0].start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            for thread in threads:
                thread.join()


def says(data: bytes) -> Handler:
    """Reads something, says `data`, closes."""

    def handler(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(4096)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        over.wait(0.2)

    return handler


def greets(data: bytes) -> Handler:
    """Says `data` at once and holds the connection."""

    def handler(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(data)
        over.wait(5)

    return handler


def silent(connection: socket.socket, over: threading.Event) -> None:
    """Accepts and never says a word."""
    over.wait(8)


def closes(connection: socket.socket, over: threading.Event) -> None:
    """Takes the first bytes and closes."""
    connection.recv(4096)


def resets(connection: socket.socket, over: threading.Event) -> None:
    """Takes the first bytes and resets."""
    connection.recv(4096)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def drips(data: bytes) -> Handler:
    """Slow-loris: one byte of `data` every 0.1 s."""

    def handler(connection: socket.socket, over: threading.Event) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            if over.wait(0.1):
                return

    return handler


def tls(
    certificate: Path,
    *,
    answer: bytes | None = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    client_ca: Path | None = None,
    newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    alpn: tuple[str, ...] = (),
) -> Handler:
    """A TLS server; `answer` None holds the connection silently, b"" closes it; `client_ca` asks for a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.maximum_version = newest
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)

    def handler(connection: socket.socket, over: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(4096)
            if answer is None:
                over.wait(5)
            elif answer:
                secure.sendall(answer)
                over.wait(0.2)

    return handler


def connect_proxy(reply: bytes, then: Handler | None = None) -> tuple[Handler, list[bytes]]:
    """A web proxy that gives `reply` to every request and then plays `then`; also what it was asked."""
    asked: list[bytes] = []

    def handler(connection: socket.socket, over: threading.Event) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(reply)
        if then:
            then(connection, over)
        else:
            over.wait(0.2)

    return handler, asked


# --- DNS -----------------------------------------------------------------------------------------------------------

Answerer = Callable[[dns.message.Message], bytes | None]


def answers(records: dict[tuple[str, str], tuple[str, ...]], rcode: int = 3, wildcard: str | None = None) -> Answerer:
    """Answers from a table (name, type) → record texts; other names get `rcode`, or the wildcard's address for A."""

    def answer(query: dns.message.Message) -> bytes | None:
        reply = dns.message.make_response(query)
        name, kind = query.question[0].name.to_text(True), dns.rdatatype.to_text(query.question[0].rdtype)
        known = {host for host, _ in records}
        owner = name
        while (alias := records.get((owner, "CNAME"))) is not None and len(reply.answer) < 20:
            reply.answer.append(dns.rrset.from_text(f"{owner}.", 60, "IN", "CNAME", f"{alias[0]}."))
            owner = alias[0]
        if found := records.get((owner, kind)):
            reply.answer.append(dns.rrset.from_text(f"{owner}.", 60, "IN", kind, *found))
        elif owner not in known and wildcard is None:
            reply.set_rcode(rcode)
        elif owner not in known and kind == "A":
            reply.answer.append(dns.rrset.from_text(f"{owner}.", 60, "IN", "A", wildcard))
        return reply.to_wire()

    return answer


@contextlib.asynccontextmanager
async def resolver(answer: Answerer, *, drop_first: int = 0) -> AsyncGenerator[tuple[int, list[str]]]:
    """A name server on one loopback port, UDP and TCP; gives the port and the names that it was asked."""
    asked: list[str] = []
    left = drop_first

    def handle(wire: bytes) -> bytes | None:
        nonlocal left
        query = dns.message.from_wire(wire)
        asked.append(query.question[0].name.to_text(True))
        if left > 0:
            left -= 1
            return None
        return answer(query)

    class Udp(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            reply = handle(data)
            if reply is not None:
                self.transport.sendto(reply, addr)  # type: ignore[attr-defined]

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            size = int.from_bytes(await reader.readexactly(2), "big")
            reply = handle(await reader.readexactly(size))
            if reply is not None:
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(stream, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Udp, local_addr=("127.0.0.1", port))
    try:
        yield port, asked
    finally:
        transport.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)
