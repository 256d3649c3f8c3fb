"""The exporters that are on, beside a running collector: their feed, their tasks, and an end without waiting."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from roomprobe.collector.context import Collector
from roomprobe.collector.exporters import feed
from roomprobe.collector.exporters.follow import follow, look_after
from roomprobe.collector.exporters.options import Export
from roomprobe.collector.problems import Refusal
from roomprobe.config import ConfigError

Job = Callable[[], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def exporting(collector: Collector, export: Export) -> AsyncIterator[Callable[[], None]]:
    """Runs them while the block runs; with none on it only takes their traces out of the store. ConfigError.

    Gives what opens the file anew; without a file it does nothing.
    """
    names = [n for n, on in (("webhook", export.webhook), ("otlp_logs", export.otlp), ("file", export.file)) if on]
    kinds = (["interval"] if names else []) + (["run", "loss"] if export.file else [])
    try:
        await collector.write(feed.begin, names, kinds)
    except Refusal as refusal:
        if names:
            raise ConfigError(f"The exporters cannot begin. {refusal}") from None
    async with AsyncExitStack() as stack:
        jobs = await _jobs(collector, export, stack) if names else []
        reopen: Callable[[], None] = _nothing
        if export.file:
            from roomprobe.collector.exporters.files import File

            file = File(collector, export.file, export.file_bytes)
            stack.callback(file.close)
            jobs.append(partial(follow, collector, file))
            reopen = file.reopen
        tasks = [asyncio.create_task(job()) for job in jobs]
        try:
            yield reopen
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _jobs(collector: Collector, export: Export, stack: AsyncExitStack) -> list[Job]:
    jobs: list[Job] = [partial(look_after, collector)]
    if export.webhook:
        from roomprobe.collector.exporters import http, webhook

        session = await stack.enter_async_context(http.session(export.ca_file))
        hook = webhook.Webhook(
            collector,
            session,
            export.webhook,
            export.webhook_key,
            checks=export.webhook_checks,
        )
        jobs.append(partial(follow, collector, hook))
    if export.otlp:
        from roomprobe.collector.exporters import http, otlp

        session = await stack.enter_async_context(http.session(export.ca_file))
        receiver = otlp.Receiver(session, export.otlp, export.otlp_headers)
        jobs.append(partial(otlp.metrics_for_ever, collector, receiver, export.otlp_every_s))
        jobs.append(partial(follow, collector, otlp.Logs(collector, receiver)))
    return jobs


def _nothing() -> None:
    """There is no file."""
