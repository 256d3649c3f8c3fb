"""Who signed what a server showed: the chain held against certifi, the site's CA file and the system's store.

Pure but for reading the anchor files, each once a run. RFC 5280 6. cryptography is imported on first use: 16 MiB.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import ipaddress
import ssl
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from roomprobe import files
from roomprobe.evidence import Certificate, Trust

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509 import verification

Anchors = Literal["certifi", "site", "system"]
Problem = Literal["name", "not-yet-valid", "expired", "issuer"]

MOST_NAMES = 20
MOST_TEXT = 200
MOST_ANCHOR_BYTES = 4 * 1024 * 1024
UNREADABLE = "(unreadable)"
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate as lower-case hex."""
    return hashlib.sha256(der).hexdigest()


def describe(der: bytes) -> Certificate:
    """A certificate in words, bounded; UNREADABLE stands where it could not be parsed."""
    found = _load(der)
    if found is None:
        return Certificate(
            sha256=fingerprint(der), subject=UNREADABLE, issuer=UNREADABLE, names=(), not_before="", not_after=""
        )
    return Certificate(
        sha256=fingerprint(der),
        subject=_text(found.subject),
        issuer=_text(found.issuer),
        names=tuple(name[:MOST_TEXT] for name in _names(found)[:MOST_NAMES]),
        not_before=_date(found.not_valid_before_utc),
        not_after=_date(found.not_valid_after_utc),
    )


def judge_chain(
    chain: tuple[bytes, ...], name: str, now: datetime.datetime, ca_file: str | None, pins: tuple[str, ...] | None
) -> tuple[tuple[Trust, ...], bool | None]:
    """How a chain (DER, leaf first) verifies for `name` at `now`, per set of anchors, and whether a pin matches.

    Pinned means: the leaf itself is pinned, or the chain verifies for the name up to a pinned certificate; a pinned
    certificate that merely lies in what was presented proves nothing. None: no pins for the name. The sets are tried in
    order until one verifies; a file that cannot be read holds no anchors.
    """
    certificates = [c for c in map(_load, chain) if c is not None]
    readable = bool(chain) and len(certificates) == len(chain)
    stores: list[tuple[Anchors, str | None]] = [("certifi", _certifi_file())]
    if ca_file:
        stores.append(("site", ca_file))
    stores.append(("system", _system_file()))
    trust: list[Trust] = []
    for anchors, path in stores:
        if readable:
            trust.append(_trust(anchors, _anchors(path), certificates, name, now, strict=anchors == "certifi"))
        elif chain:
            trust.append(Trust(anchors=anchors, verified=False, problem="issuer"))
        if trust and trust[-1].verified:
            break  # who else would vouch for it makes no difference, and reading a store costs memory
    return tuple(trust), _pinned(chain, certificates if readable else [], name, now, pins)


def _pins(pins: tuple[str, ...]) -> frozenset[str]:
    return frozenset(pin.replace(":", "").lower() for pin in pins)


def _pinned(
    chain: tuple[bytes, ...],
    certificates: list[x509.Certificate],
    name: str,
    now: datetime.datetime,
    pins: tuple[str, ...] | None,
) -> bool | None:
    if pins is None:
        return None
    wanted = _pins(pins)
    if not chain:
        return False
    if fingerprint(chain[0]) in wanted:
        return True
    if not certificates:
        return False
    from cryptography.x509 import verification

    anchors = [c for der, c in zip(chain[1:], certificates[1:], strict=True) if fingerprint(der) in wanted]
    return bool(anchors) and _verifies(verification.Store(anchors), certificates, name, now, strict=False)


def _trust(
    anchors: Anchors,
    store: verification.Store | None,
    chain: list[x509.Certificate],
    name: str,
    now: datetime.datetime,
    *,
    strict: bool,
) -> Trust:
    if store is None:
        return Trust(anchors=anchors, verified=False, problem="issuer")
    if _verifies(store, chain, name, now, strict=strict):
        return Trust(anchors=anchors, verified=True)
    leaf = chain[0]
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    in_time = (begin + (end - begin) / 2, min(begin + datetime.timedelta(days=1), end))
    problem: Problem = "issuer"
    own = _own_name(leaf)
    if any(_verifies(store, chain, name, at, strict=strict) for at in in_time):
        problem = "not-yet-valid" if now < begin else "expired"
    elif own is not None and any(_verifies(store, chain, own, at, strict=strict) for at in (now, *in_time)):
        problem = "name"
    return Trust(anchors=anchors, verified=False, problem=problem)


def _verifies(
    store: verification.Store, chain: list[x509.Certificate], name: str, at: datetime.datetime, *, strict: bool
) -> bool:
    """Whether the chain reaches an anchor for that name at that time. `strict`: the rules of the public web."""
    from cryptography import x509
    from cryptography.x509 import verification

    builder = verification.PolicyBuilder().store(store).time(at.replace(tzinfo=None)).max_chain_depth(8)
    if not strict:
        builder = builder.extension_policies(
            ca_policy=verification.ExtensionPolicy.permit_all().require_present(
                x509.BasicConstraints, verification.Criticality.AGNOSTIC, None
            ),
            ee_policy=verification.ExtensionPolicy.permit_all().require_present(
                x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
            ),
        )
    try:
        subject = _subject(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            builder.build_server_verifier(subject).verify(chain[0], chain[1:])
    except (verification.VerificationError, ValueError):
        return False
    return True


def _subject(name: str) -> x509.DNSName | x509.IPAddress:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        return x509.DNSName(name.rstrip("."))


def _own_name(leaf: x509.Certificate) -> str | None:
    """A name that the certificate is surely for: the first of its own, a wildcard filled in."""
    return next((name.replace("*", "rp", 1) for name in _alternatives(leaf)), None)


def _alternatives(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return []
    return [str(n.value) for n in found if isinstance(n, x509.DNSName | x509.IPAddress)]


def _names(certificate: x509.Certificate) -> list[str]:
    """The names a certificate is for: its alternative names, or the common name where it has none."""
    from cryptography.x509.oid import NameOID

    try:
        common = [str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except ValueError:
        common = []
    return _alternatives(certificate) or common


def _load(der: bytes) -> x509.Certificate | None:
    from cryptography import x509

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = x509.load_der_x509_certificate(der)
            _ = found.not_valid_before_utc, found.not_valid_after_utc, found.subject, found.issuer
    except (ValueError, OverflowError):
        return None
    return found


def _text(name: x509.Name) -> str:
    try:
        return name.rfc4514_string()[:MOST_TEXT]
    except ValueError:
        return UNREADABLE


def _date(at: datetime.datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _certifi_file() -> str:
    import certifi

    # Not certifi.where(): what it imports for programs in archives is 1 MiB that an idle daemon would keep.
    return str(Path(certifi.__file__).with_name("cacert.pem"))


def _system_file() -> str | None:
    """The bundle this computer trusts: OpenSSL's own (SSL_CERT_FILE included), else where distributions keep it."""
    own = ssl.get_default_verify_paths().cafile
    return own or next((path for path in SYSTEM_BUNDLES if Path(path).is_file()), None)


def _anchors(path: str | None) -> verification.Store | None:
    """The anchors of a PEM file, parsed once as long as the file stays the same; None when there are none."""
    if path is None:
        return None
    try:
        return _store(path, Path(path).stat().st_mtime_ns)
    except OSError:
        return None


def forget() -> None:
    """Lets go of the parsed anchors, some MiB: for a daemon that needs them only now and then."""
    _store.cache_clear()


@functools.lru_cache(maxsize=4)
def _store(path: str, _changed: int) -> verification.Store | None:
    from cryptography import x509
    from cryptography.x509 import verification

    try:
        data = files.read(path, MOST_ANCHOR_BYTES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = x509.load_pem_x509_certificates(data)
    except (OSError, ValueError):
        return None
    return verification.Store(found) if found else None
