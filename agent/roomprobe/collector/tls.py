"""The collector's own certificate, made once and kept in the state directory, or one that was given; and the pin of either."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

from roomprobe import files
from roomprobe.config import ConfigError
from roomprobe.net import netlink
from roomprobe.text import escape

CERTIFICATE, KEY = "certificate.pem", "key.pem"
MOST_FILE = 1 << 20
DAYS = 3652  # ten years: boxes pin it, so a new one means enrolling them again


def own(state: Path, names: Sequence[str], now: datetime.datetime) -> tuple[Path, Path]:
    """The files of our own certificate and key; made when they are not there. ConfigError."""
    certificate, key = state / CERTIFICATE, state / KEY
    if not (certificate.exists() and key.exists()):
        try:
            made, secret = make(names, now)
            write(key, secret, 0o600)
            write(certificate, made, 0o644)
        except OSError as error:
            raise ConfigError(
                f"The certificate cannot be written to {escape(str(state))} ({error.strerror})."
            ) from None
    return certificate, key


def make(names: Sequence[str], now: datetime.datetime) -> tuple[bytes, bytes]:
    """A certificate that signs itself (P-256), and its key, as PEM. `names` are DNS names and addresses."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "roomprobe collector")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName(found), critical=False)
    )
    made = builder.sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), secret


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context: TLS 1.2 or newer. ConfigError when the two files are no certificate and its key."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    try:
        for file in (certificate, key):  # OpenSSL would wait for a FIFO
            files.read(file, MOST_FILE)
        # A key with a password would ask for it on the terminal, and a service has none.
        made.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
        raise ConfigError(
            f"{escape(str(certificate))} and {escape(str(key))} must be a PEM certificate and its key without password"
            f"{f' ({why})' if why else ''}."
        ) from None
    return made


class Chain:
    """A certificate and its key that can be read anew while the server listens. ConfigError as for `context`."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self.renew()
        self.context = context(certificate, key)
        # Asked in every handshake, with and without a name: OpenSSL itself would keep half of a pair that does not match.
        self.context.sni_callback = self._newest

    def renew(self) -> None:
        """Takes what the files hold now, for connections from now on; when they are no pair, all stays as it was."""
        made, pinned = context(self._certificate, self._key), pin(self._certificate)
        self._now, self.pin = made, pinned

    def _newest(self, link: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        link.context = self._now


def pin(certificate: Path) -> str:
    """SHA-256 of the first certificate of a PEM file (DER), hex. ConfigError."""
    try:
        text = files.read(certificate, MOST_FILE).decode("ascii", "replace")
        begin = text.index("-----BEGIN CERTIFICATE-----")
        end = text.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[begin:end])).hexdigest()
    except (OSError, ValueError):
        raise ConfigError(f"{escape(str(certificate))} must be a readable PEM certificate.") from None


def host_names(listen: str) -> tuple[str, ...]:
    """What this machine is called and reached by, for its certificate. First stands what others reach it by: a full name, else
    an address (boxes pin the certificate, so they need no name)."""
    names = [socket.gethostname()]
    with contextlib.suppress(OSError):
        names.insert(0, socket.getfqdn())
    addresses = [] if ipaddress.ip_address(listen).is_unspecified else [listen]
    with contextlib.suppress(OSError):
        addresses += [str(one.address).partition("%")[0] for one in netlink.read_addresses()]
    names = [name for name in names if name.isascii() and 0 < len(name) < 254 and not name.endswith(".arpa")]
    found = [ipaddress.ip_address(one) for one in addresses]
    found.sort(key=lambda one: (one.is_loopback, one.version))
    keep = [str(one) for one in found if not one.is_link_local]
    full = [name for name in names if "." in name and not name.startswith("localhost")]
    return tuple(dict.fromkeys([*full, *keep, *names, "localhost"]))


def write(path: Path, data: bytes, mode: int) -> None:
    """A file of the state directory: whole, or as it was before. OSError."""
    new = path.with_name(path.name + ".new")
    number = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(number, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
