"""The web application: every route with its access rule, problem documents for every refusal, security headers on every answer."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import quote

from aiohttp import web

from roomprobe.collector import access, api, auth, forms, ingest, pages
from roomprobe.collector.auth import Access, Handler
from roomprobe.collector.context import COLLECTOR, Collector
from roomprobe.collector.problems import Refusal, response

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # a share link is a secret; with less, browsers hide a form's own Origin
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "roomprobe",
}
# docs/collector.md lists them; openapi.py describes those of /v1.
ROUTES: tuple[tuple[str, str, Handler, Access], ...] = (
    ("POST", "/v1/runs", ingest.runs, Access.AGENT),
    ("POST", "/v1/enrol", access.enrol, Access.OPEN),
    ("GET", "/v1/summary", api.summary, Access.READ),
    ("GET", "/v1/rooms", api.rooms, Access.READ),
    ("GET", "/v1/rooms/{room}", api.room, Access.READ),
    ("GET", "/v1/rooms/{room}/runs", api.runs, Access.READ),
    ("GET", "/v1/rooms/{room}/runs/{run}", api.run, Access.READ),
    ("GET", "/v1/rooms/{room}/changes", api.room_changes, Access.READ),
    ("GET", "/v1/rooms/{room}/checks/{check:[\\s\\S]+}/history", api.check_history, Access.READ),
    ("GET", "/v1/rooms/{room}/services/{profile}/{service}/history", api.service_history, Access.READ),
    ("GET", "/v1/rooms/{room}/intervals/{interval:[0-9]+}", api.evidence, Access.READ),
    ("GET", "/v1/changes", api.changes, Access.READ),
    ("GET", "/v1/checks/{profile}/{row}", api.check, Access.READ),
    ("POST", "/v1/shares", access.make_share, Access.WRITE),
    ("POST", "/v1/shares/{number:[0-9]{1,18}}/revoke", access.end_share, Access.WRITE),
    ("GET", "/v1/openapi.json", api.openapi, Access.READ),
    ("GET", "/metrics", api.prometheus, Access.READ),
    ("GET", "/healthz", api.healthz, Access.OPEN),
    ("POST", "/login", access.login, Access.OPEN),
    ("POST", "/logout", access.logout, Access.WRITE),
    ("GET", "/share/{token}", access.open_share, Access.OPEN),
)


def make(collector: Collector) -> web.Application:
    """The application of one collector; more routes come through `auth.add` alone."""
    app = web.Application(middlewares=[answered, auth.guard], client_max_size=forms.MOST)
    app[COLLECTOR] = collector
    app[auth.RULES] = {}
    for method, path, handler, rule in ROUTES:
        auth.add(app, method, path, handler, rule)
    pages.setup(app)
    app.on_response_prepare.append(_headers)
    return app


@web.middleware
async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into an answer, and counts every refusal."""
    try:
        return await handler(request)
    except Refusal as error:
        refusal = error
    except web.HTTPException as error:
        if error.status < 400:
            raise
        detail = {404: "There is no such page.", 405: "This method is not allowed here.", 413: "That is too much."}
        refusal = Refusal(error.status, detail.get(error.status, f"{error.reason}."))
        if isinstance(error, web.HTTPMethodNotAllowed):
            refusal.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
    except TimeoutError:
        refusal = Refusal(408, "The body came too slowly.", word="408_body", headers={"Connection": "close"})
    except (asyncio.CancelledError, ConnectionError):
        raise  # whoever asked has gone
    except Exception:
        logging.getLogger("roomprobe").exception("internal error in the collector; the request was refused")
        refusal = Refusal(500, "The collector made a mistake; it stands in its log.", retry_after=60)
    _, _, why = refusal.word.partition("_")
    request.app[COLLECTOR].count(f"refused_{refusal.status}_{why or 'other'}")
    if refusal.status == 401 and request.method == "GET" and _by_a_person(request):
        return web.Response(status=303, headers={"Location": f"/login?next={quote(request.path_qs, safe='')}"})
    return response(refusal)


def unread(collector: Collector, status: int) -> web.Response:
    """The answer to what is no HTTP request: it never reaches the middlewares."""
    collector.count(f"refused_{status}_http")
    answer = response(Refusal(status, "This is not an HTTP request that can be read."))
    answer.headers.update(HEADERS)
    return answer


def _by_a_person(request: web.Request) -> bool:
    return "text/html" in request.headers.get("Accept", "") and not request.path.startswith(("/v1/", "/metrics"))


async def _headers(request: web.Request, answer: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        answer.headers[name] = value
    answer.headers.setdefault("Cache-Control", "no-store")
    if auth.secure(request):
        answer.headers["Strict-Transport-Security"] = "max-age=31536000"
