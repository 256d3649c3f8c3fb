"""Secrets and what is stored of them: SHA-256 of random tokens, scrypt of passwords. No secret itself is ever stored."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

# RFC 7914 and OWASP's present advice: 16 MiB and tens of milliseconds a guess.
_N, _R, _P = 1 << 14, 8, 5
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look like another
MOST_PASSWORD = 1024
LEAST_PASSWORD = 10


def token() -> str:
    """256 random bits, base64url."""
    return secrets.token_urlsafe(32)


def digest(text: str) -> bytes:
    """What is stored of a token, and looked up: 256 random bits need neither salt nor stretching."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def password() -> str:
    """A first password that can be typed: 20 letters and digits in four groups, 98 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))


def stretch(text: str, salt: bytes | None = None) -> str:
    """A password as it is stored: "scrypt$n$r$p$salt$hash", base64."""
    salt = salt if salt is not None else secrets.token_bytes(16)
    made = _scrypt(text, salt, _N, _R, _P)
    return "$".join(("scrypt", str(_N), str(_R), str(_P), _text(salt), _text(made)))


def matches(text: str, stored: str) -> bool:
    """Whether a password is the stored one; takes the same time whatever is wrong with it."""
    _, n, r, p, salt, made = stored.split("$")
    guess = _scrypt(text, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(guess, base64.b64decode(made))


def equal(one: str, other: str) -> bool:
    """Constant-time comparison of two secrets."""
    return hmac.compare_digest(digest(one), digest(other))


def _scrypt(text: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(raw, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
