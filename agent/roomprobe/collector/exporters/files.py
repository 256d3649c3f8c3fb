"""Every stored run, every change and every loss record as a line of JSON in a file, for whoever collects logs.

Rotated by size (FILE.1 is the one before), and opened anew after SIGHUP or when it was renamed.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from roomprobe.collector.context import Collector
from roomprobe.collector.exporters.events import Event, as_json
from roomprobe.sinks.ndjson import NdjsonFile

RETRY_S = 5.0


class File:
    """The sink; `reopen` from a signal handler."""

    name = "file"
    batch = 500

    def __init__(self, collector: Collector, path: Path, most_bytes: int) -> None:
        self._collector = collector
        self._file = NdjsonFile(path, most_bytes=most_bytes)
        self._reopen = False

    def wants(self, event: Event) -> bool:
        """All of it."""
        return True

    def reopen(self) -> None:
        """Before the next line."""
        self._reopen = True

    async def resume(self) -> None:
        """Lines that were not passed on are written again; their id is the same."""

    async def deliver(self, found: list[Event], upto: int) -> None:
        """Each as a line; a disk that is full is waited for."""
        said = None
        for event in found:
            while not await self._line(event):
                self._collector.count("export_file_failed")
                if said != self._file.trouble:
                    logging.getLogger("roomprobe").warning("the file exporter: %s", self._file.trouble)
                said = self._file.trouble
                await asyncio.sleep(RETRY_S)
            self._collector.count("export_file_sent")

    async def _line(self, event: Event) -> bool:
        if self._reopen:
            self._reopen = False
            self._file.close()
        return await self._file.write(as_json(event))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
