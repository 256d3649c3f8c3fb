"""Every refusal, as a problem document (RFC 9457): status, a title, one sentence, and the counter that it is counted under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from aiohttp import web

from roomprobe.wire.reply import PROBLEM_TYPE, Fault, Problem, build_problem


class Refusal(Exception):
    """Raised anywhere below a handler; the middleware answers it. `word` is what it is counted under."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        word: str | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        records: Sequence[tuple[int, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.word = word or str(status)
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
        self.records = tuple(records)


def response(refusal: Refusal) -> web.Response:
    """The problem document of a refusal."""
    body = build_problem(
        Problem(
            title=HTTPStatus(refusal.status).phrase,
            status=refusal.status,
            detail=refusal.detail[:2000],
            records=tuple(Fault(index=index, detail=detail[:1000]) for index, detail in refusal.records),
        )
    )
    return web.Response(status=refusal.status, body=body, content_type=PROBLEM_TYPE, headers=refusal.headers)
