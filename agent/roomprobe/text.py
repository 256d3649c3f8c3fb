"""Text for people: what came from outside is made harmless here before it is printed, and tables are laid out.

Pure; no colours, no terminal. `escape` is for everything that a server, a certificate, DNS or a file said.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

# Control, format (bidi overrides too), surrogate, private, unassigned, and the two separators that break lines.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _one(char: str) -> str:
    if unicodedata.category(char) not in _HARMFUL:
        return char
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def escape(s: str, limit: int = 200) -> str:
    """`s` with every control, format and bidi character written as \\xNN, \\uNNNN or \\UNNNNNNNN.

    At most `limit` characters come back; a cut is shown by a final "…", and never falls inside an escape.
    """
    parts: list[str] = []
    length = 0
    for index, char in enumerate(s):
        part = _one(char)
        room = limit - (0 if index == len(s) - 1 else 1)
        if length + len(part) > room:
            return "".join(parts) + "…"
        parts.append(part)
        length += len(part)
    return "".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns two blanks apart, without trailing blanks; cells are escaped."""
    cells = [[escape(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)
