"""Changes, POSTed as signed JSON to one URL (the Standard Webhooks headers): one delivery at a time, again until it is taken.

Only what is so now is told: what came and went while the receiver was away is left out. A delivery keeps its id and its body in the
store, so that a repeat, also after a restart, is the same delivery.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import random
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import aiohttp

from roomprobe import __version__
from roomprobe.collector.context import Collector
from roomprobe.collector.exporters import feed
from roomprobe.collector.exporters.events import Event, as_json, stamp
from roomprobe.collector.exporters.http import Answer, post
from roomprobe.config import ConfigError
from roomprobe.sinks.backoff import Backoff, retry_after

GIVE_UP_S = 24 * 3600.0
# The receiver read it and does not want it: asking for a day will not change that.
UNWANTED = frozenset({400, 410, 413, 415, 422})
MOST_UNWANTED = 5
MOST_TOLD = 100_000
LEAST_SECRET = 16


class Webhook:
    """The sink. `checks`: changes of single checks too, not of services and rooms alone."""

    name = "webhook"
    batch = 100

    def __init__(
        self,
        collector: Collector,
        http: aiohttp.ClientSession,
        url: str,
        secret: bytes,
        *,
        checks: bool = False,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._collector = collector
        self._http = http
        self._url = url
        self._secret = secret
        self._kinds = ("service", "room", "check") if checks else ("service", "room")
        self._backoff = backoff or Backoff(random.Random())
        self._sleep = sleep
        self._told: OrderedDict[tuple[object, ...], object] = OrderedDict()

    def wants(self, event: Event) -> bool:
        """Changes that nothing later has undone, and that are news: older runs that come late only say since when."""
        return event.kind in self._kinds and event.current and self._told.get(_thing(event)) != _value(event)

    async def resume(self) -> None:
        """Delivers what was under way when the collector ended."""
        left: Any = await self._collector.reader.ask(feed.flight, self.name)
        if left is not None:
            await self._until_taken(str(left["id"]), str(left["body"]).encode())
            await self._collector.write(feed.done, self.name, int(left["upto"]))

    async def deliver(self, found: list[Event], upto: int) -> None:
        """One delivery; back when it is taken or given up."""
        number = f"msg_{secrets.token_hex(16)}"
        body = json.dumps(
            {
                "schema": 1,
                "type": "roomprobe.changes",
                "id": number,
                "at": stamp(self._collector.now()),
                "changes": [as_json(event) for event in found],
            },
            ensure_ascii=True,
            separators=(",", ":"),
        )
        await self._collector.write(feed.take_off, self.name, {"id": number, "upto": upto, "body": body})
        await self._until_taken(number, body.encode())
        for event in found:
            self._told[_thing(event)] = _value(event)
            self._told.move_to_end(_thing(event))
        while len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)

    async def _until_taken(self, number: str, body: bytes) -> None:
        begun = self._collector.mono()
        unwanted = 0
        said = None
        while True:
            answer = await self._once(number, body)
            if 200 <= answer.status < 300:
                self._backoff.succeeded()
                self._collector.count("export_webhook_sent")
                return
            self._collector.count("export_webhook_failed")
            unwanted += answer.status in UNWANTED
            if unwanted >= MOST_UNWANTED or self._collector.mono() - begun > GIVE_UP_S:
                self._collector.count("export_webhook_dropped")
                logging.getLogger("roomprobe").warning("webhook: delivery %s is given up (%s)", number, answer.why)
                return
            if said != answer.why:
                logging.getLogger("roomprobe").warning("webhook: %s; it is tried again", answer.why)
            said = answer.why
            await self._sleep(self._backoff.failed(retry_after(answer.headers)))

    async def _once(self, number: str, body: bytes) -> Answer:
        at = self._collector.now() // 1000
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"roomprobe/{__version__}",
            "webhook-id": number,
            "webhook-timestamp": str(at),
            "webhook-signature": sign(self._secret, number, at, body),
        }
        return await post(self._http, self._url, body, headers)


def _thing(event: Event) -> tuple[object, ...]:
    return event.room, event.kind, event.profile, event.row, event.name


def _value(event: Event) -> object:
    after = event.after
    return "gone" if after is None else (after.outcome, after.reason, after.where, after.at_least)


def sign(secret: bytes, number: str, at: int, body: bytes) -> str:
    """HMAC-SHA256 over "id.timestamp.body", as `webhook-signature` carries it."""
    signed = hmac.new(secret, f"{number}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode()


def read_secret(text: str) -> bytes:
    """The key of a secret file: `whsec_` and base64, or any other line of text as it is. ConfigError."""
    line = text.strip()
    try:
        key = base64.b64decode(line[6:], validate=True) if line.startswith("whsec_") else line.encode()
    except binascii.Error:
        raise ConfigError("The webhook's secret begins with whsec_, but what follows is no base64.") from None
    if len(key) < LEAST_SECRET:
        raise ConfigError(
            f"The webhook's secret is shorter than {LEAST_SECRET} bytes; make one with openssl rand -hex 32."
        )
    return key
