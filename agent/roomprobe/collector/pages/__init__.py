"""The dashboard: pages made on the server, which work without JavaScript and ask no other host (docs/dashboard.md).

`setup` is all that the application needs to know. Login, sessions and tokens stand in auth.py and access.py.
"""

from __future__ import annotations

from aiohttp import web

from roomprobe.collector import auth
from roomprobe.collector.auth import Access, Handler
from roomprobe.collector.pages import check as check
from roomprobe.collector.pages import entry as entry
from roomprobe.collector.pages import fleet as fleet
from roomprobe.collector.pages import frame as frame
from roomprobe.collector.pages import history as history
from roomprobe.collector.pages import room as room
from roomprobe.collector.pages import shares as shares

ROUTES: tuple[tuple[str, str, Handler, Access], ...] = (
    ("GET", "/", fleet.page, Access.READ),
    ("GET", "/changes", history.changes, Access.READ),
    ("GET", "/checks", check.listing, Access.READ),
    ("GET", "/checks/{profile}/{row}", check.page, Access.READ),
    ("GET", "/rooms/{room}", room.page, Access.READ),
    ("GET", "/rooms/{room}/changes", history.changes, Access.READ),
    ("GET", "/rooms/{room}/runs", history.runs, Access.READ),
    ("GET", "/rooms/{room}/compare", history.compare, Access.READ),
    ("GET", "/rooms/{room}/checks/{check:[\\s\\S]+}", room.check, Access.READ),
    ("GET", "/rooms/{room}/evidence/{interval:[0-9]+}", history.evidence, Access.READ),
    ("GET", "/shares", shares.page, Access.READ),
    ("POST", "/shares", shares.make, Access.WRITE),
    ("POST", "/shares/{number:[0-9]{1,18}}/end", shares.end, Access.WRITE),
    ("GET", "/login", entry.login, Access.OPEN),
    ("GET", "/logout", entry.logout, Access.READ),
    ("GET", "/static/{version}/{name}", frame.static, Access.OPEN),
)


def setup(app: web.Application) -> None:
    """Adds the pages, and turns refusals into pages for people."""
    app[frame.FRAME] = frame.Frame()
    app.middlewares.insert(0, entry.refusals)
    for method, path, handler, rule in ROUTES:
        auth.add(app, method, path, handler, rule)
