"""`python -m roomprobe`, and the `roomprobe` command.

From the first moment on a signal ends it with status 3 and one word; while a run is under way, the run's own way of
stopping early stands in its place (pipeline.py). A service that is stopped while it starts has ended well, and what SIGHUP
asks of it, to read everything anew, it is about to do.
"""

import os
import signal
import sys

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """The command line of this process, guarded before anything else is imported; returns the exit status."""
    for number in STOPS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, and what a shell put into the background
            signal.signal(number, _interrupted)
    from roomprobe import cli

    status = cli.main()
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)  # all is said: while Python clears up, nothing may change the status
    return status


def _is_service() -> bool:
    """Whether the command line is that of a service: `collector` with a word of its own is none."""
    return sys.argv[1:2] == ["run"] or (sys.argv[1:2] == ["collector"] and all(a[:1] == "-" for a in sys.argv[2:3]))


def _interrupted(number: int, _frame: object) -> None:
    if _is_service():
        if number == signal.SIGHUP:
            return
        os._exit(0)
    # No exception: one that is raised in the midst of an import may be printed and lost.
    try:
        if sys.stderr is not None:
            os.write(2, b"roomprobe: interrupted.\n")
    finally:
        os._exit(3)


if __name__ == "__main__":
    raise SystemExit(main())
