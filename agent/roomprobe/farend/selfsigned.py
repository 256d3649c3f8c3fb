"""A self-signed certificate made at start, and a file in memory for it: the key stands on no disk and dies with us."""

from __future__ import annotations

import contextlib
import datetime
import os
import pathlib
from collections.abc import Iterator, Sequence

from roomprobe.config import ConfigError


def certificate(common_name: str, names: Sequence[str] = (), days: int = 1) -> bytes:
    """A certificate (P-256) that has signed itself, with its key, as PEM. Good for these DNS names and so many days."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    made = builder.sign(key, hashes.SHA256())
    own = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(serialization.Encoding.PEM) + own


@contextlib.contextmanager
def in_memory(data: bytes, who: str) -> Iterator[pathlib.Path]:
    """A file that needs no directory and is gone when the process is, as Python loads keys from files alone.

    ConfigError when there is no such thing here; its sentence begins with `who`.
    """
    try:
        number = os.memfd_create("roomprobe")
        path = pathlib.Path(f"/proc/self/fd/{number}")
        path.stat()
    except OSError as error:
        raise ConfigError(f"{who} needs a file in memory, and none can be made ({error.strerror}).") from None
    with os.fdopen(number, "wb", buffering=0) as file:
        file.write(data)
        yield path
