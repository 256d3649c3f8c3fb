"""The JSON at /auth of StarLeaf's endpoint control API (seed rows R10, I5): what a client needs to prove a password.

roomprobe reads it and goes no further: no password is known here, and no answer to the challenge is ever made.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from roomprobe.model import Frozen
from roomprobe.wire.reader import Malformed

PATH = "/auth"
MOST_BODY = 4 * 1024
MOST_ITERATIONS = 10_000_000
MOST_TEXT = 256

# The salt is documented as hex; the challenge only as text.
_SALT = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_TEXT)]


class Auth(Frozen, frozen=True, kw_only=True):
    """`salt` (hex) and `iterations` of PBKDF2-HMAC-SHA256, `challenge` to be answered once, whether we are let in."""

    salt: _Text
    iterations: Annotated[int, msgspec.Meta(ge=1, le=MOST_ITERATIONS)]
    challenge: _Text
    authenticated: bool


def parse(body: bytes) -> Auth:
    """The four fields of a body of at most MOST_BODY bytes, other fields left aside; Malformed when it has not them."""
    if len(body) > MOST_BODY:
        raise Malformed("an /auth body too long")
    try:
        found = msgspec.json.decode(body, type=Auth)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed("not the JSON of /auth") from None
    if not _SALT.fullmatch(found.salt) or not (found.challenge.isascii() and found.challenge.isprintable()):
        raise Malformed("a salt or challenge that cannot be one")
    return found


def build(salt: str, iterations: int, challenge: str) -> bytes:
    """The body for a client that is not let in yet; `salt` and `challenge` are hex."""
    return msgspec.json.encode(Auth(salt=salt, iterations=iterations, challenge=challenge, authenticated=False))
