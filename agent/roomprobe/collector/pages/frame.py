"""What every page shares: the templates, the escaping of all that is printed, the address of every page, the static files.

Nothing a box said reaches a page as it is: `finalize` writes out control and bidi characters, autoescape the signs of HTML.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.resources
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from aiohttp import web
from markupsafe import Markup

from roomprobe import __version__
from roomprobe.collector import auth
from roomprobe.collector.pages import words
from roomprobe.text import escape

LONGEST = 2000
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_HERE = importlib.resources.files("roomprobe.collector.pages")


class Frame:
    """Templates and static files, read once."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, str]] = {}
        for folder in (_HERE / "static", _HERE / "static" / "uPlot"):
            for file in folder.iterdir():
                kind = TYPES.get("." + file.name.rpartition(".")[2])
                if kind is not None:
                    self.files[file.name] = (file.read_bytes(), kind)
        whole = hashlib.sha256(b"".join(body for _, (body, _) in sorted(self.files.items())))
        self.version = whole.hexdigest()[:12]
        self.env = jinja2.Environment(
            loader=jinja2.PackageLoader("roomprobe.collector.pages", "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            finalize=harmless,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.env.globals.update(
            version=__version__,
            static=lambda name: f"/static/{self.version}/{name}",
            room_url=room_url,
            row_url=row_url,
            check_url=check_url,
            with_query=with_query,
            moment=moment,
            iso=iso,
            span=span,
            state=words.state,
            outcome=words.outcome,
            reason=words.reason,
            where=words.where,
            title=words.title,
            profile_title=words.profile_title,
        )
        self.env.filters["clip"] = escape

    def render(self, name: str, **values: Any) -> str:
        """A page as text."""
        return self.env.get_template(name).render(**values)


FRAME: web.AppKey[Frame] = web.AppKey("frame", Frame)


def harmless(value: Any) -> Any:
    """What is printed for a value: text with every control and bidi character written out."""
    return escape(value, LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value


def answer(request: web.Request, name: str, *, status: int = 200, secret: bool = False, **values: Any) -> web.Response:
    """A page, or 304 when the asker has it. `secret`: it holds a form's token, so it is not packed (its size would tell of it)."""
    who = auth.who(request)
    body = request.app[FRAME].render(name, who=who, path=request.path, **values).encode("utf-8", "replace")
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if status == 200 and request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers={"ETag": tag})
    response = web.Response(status=status, body=body, content_type="text/html", charset="utf-8", headers={"ETag": tag})
    if not secret:
        response.enable_compression()
    return response


async def static(request: web.Request) -> web.Response:
    """A file of the dashboard; its address changes with its content, so it may be kept for ever."""
    frame = request.app[FRAME]
    found = frame.files.get(request.match_info["name"])
    if found is None or request.match_info["version"] != frame.version:
        raise web.HTTPNotFound
    body, kind = found
    response = web.Response(body=body, content_type=kind, charset="utf-8")
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    response.enable_compression()
    return response


def room_url(name: str, *more: str) -> str:
    """The path of a room's page, or of one below it."""
    return "/".join(["/rooms", *(quote(part, safe="") for part in (name, *more))])


def check_url(name: str, check: str) -> str:
    """The path of one check of a room."""
    return room_url(name, "checks", check)


def row_url(profile: str, row: str) -> str:
    """The path of a row across all rooms."""
    return f"/checks/{quote(profile, safe='')}/{quote(row, safe='')}"


def with_query(path: str, **values: Any) -> str:
    """A path with those of the values that say something."""
    said = {name: value for name, value in values.items() if value not in (None, "")}
    return f"{path}?{urlencode(said)}" if said else path


def moment(at: int) -> str:
    """Milliseconds since 1970 for people without JavaScript: "20 Nov 2026 14:03 UTC"."""
    try:
        told = datetime.datetime.fromtimestamp(at / 1000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return "an impossible time"
    return f"{told.day} {_MONTHS[told.month - 1]} {told.year} {told:%H:%M} UTC"


def iso(at: int) -> str:
    """Milliseconds since 1970 for `<time datetime>`."""
    try:
        return datetime.datetime.fromtimestamp(at / 1000, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""


def span(ms: int) -> str:
    """A length of time: "40 s", "12 min", "3 h 20 min", "5 days"."""
    seconds = max(0, ms // 1000)
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"
