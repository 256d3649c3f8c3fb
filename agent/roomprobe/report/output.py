"""Where a finished run goes: stdout as text, JSON or NDJSON, and a JUnit file beside it; gives the exit status."""

from __future__ import annotations

from typing import TextIO

from roomprobe.options import Options
from roomprobe.report import exit_status
from roomprobe.report.run import Report


def check_outputs(options: Options) -> None:
    """Finds a file that cannot be written before anything is sent. ConfigError with one sentence."""
    if options.junit is not None:
        from roomprobe.report import junit

        junit.check_writable(options.junit)


def write(report: Report, options: Options, stream: TextIO) -> int:
    """Writes everything that was asked for; the exit status of the run. ConfigError when a file cannot be written."""
    if options.json or options.ndjson:
        from roomprobe.report import document

        stream.write(document.to_json(report) if options.json else document.to_ndjson(report))
        stream.flush()
    else:
        from roomprobe.report import terminal

        terminal.write(report, stream)
    if options.junit is not None:
        from roomprobe.report import junit

        junit.write(options.junit, report)
    return exit_status(report)
