"""Lines of text for a terminal: styled pieces, wrapping, and the escape that everything printed goes through.

A `Page` is plain text first; styles are marks beside it, and only `coloured` turns them into colour, by rich.
"""

from __future__ import annotations

import io
import textwrap

from roomprobe.text import escape

Piece = tuple[str, str]

_ASCII = str.maketrans({"·": "-", "…": "...", "–": "-", "—": "-", "’": "'"})
_LIMIT = 600


class Page:
    """Lines made of (text, style) pieces; a style is a rich style name or "" and never changes the text."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines: list[list[Piece]] = []

    def add(self, *pieces: Piece) -> None:
        """One line as it is. Whatever is still unsafe in it is escaped here, so that nothing slips by."""
        self.lines.append([(escape(text, _LIMIT), style) for text, style in pieces])

    def blank(self) -> None:
        """One empty line, never two."""
        if self.lines and self.lines[-1]:
            self.lines.append([])

    def flow(self, text: str, indent: int, style: str = "", first: Piece = ("", "")) -> None:
        """`text` wrapped and indented by `indent`; `first` is a label that stands before the first line."""
        safe = escape(text, _LIMIT)
        room = max(self.width - indent, 20)
        label = first[0].ljust(indent)
        for line in textwrap.wrap(safe, room, break_on_hyphens=False) or [""]:
            self.add((label, first[1]), (line, style))
            label = " " * indent

    def plain(self) -> str:
        """The page as text, without trailing spaces, with a newline at the end."""
        return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in self.lines)

    def coloured(self) -> str:
        """The same text with ANSI colour. rich is imported here, because only a terminal needs it."""
        from rich.console import Console
        from rich.text import Text

        out = io.StringIO()
        console = Console(file=out, force_terminal=True, color_system="standard", width=10_000, highlight=False)
        for line in self.lines:
            text = Text.assemble(*line)
            text.rstrip()
            console.print(text, soft_wrap=True, markup=False, emoji=False)
        return out.getvalue()


def cut(text: str, width: int) -> str:
    """`text` in at most `width` columns; a longer one loses its middle, because names differ at both ends."""
    if len(text) <= width:
        return text
    if width < 5:
        return text[:width]
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def for_encoding(text: str, encoding: str | None) -> str:
    """`text` as an output of this encoding can carry it: as it is, else ASCII signs and escapes."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
    return text
