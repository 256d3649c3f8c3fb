"""The daemon's unix socket: one line asks ("status"), one line of JSON answers. Who may open the socket may know."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from roomprobe.config import ConfigError
from roomprobe.daemon.clients import bounded
from roomprobe.text import escape

SOCKET = "roomprobe.sock"
MODE = 0o660
MOST_CLIENTS = 16
MOST_QUESTION = 256
MOST_ANSWER = 4 << 20
PATIENCE_S = 2.0

Ask = Callable[[], Awaitable[dict[str, Any]]]


async def serve(place: Path, status: Ask) -> asyncio.Server:
    """Listens in the directory `place`. ConfigError when it cannot, or when another daemon does."""
    path = place / SOCKET
    try:
        os.makedirs(place, 0o750, exist_ok=True)  # noqa: PTH103  a moment at the start
        if await _answers(path):
            raise ConfigError(f"Another roomprobe runs already: {escape(str(path))} answers.")

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _answer(reader, writer, status)

        client = bounded(answer, MOST_CLIENTS, PATIENCE_S)
        server = await asyncio.start_unix_server(client, path, limit=MOST_QUESTION)
        path.chmod(MODE)
        return server
    except OSError as error:
        raise ConfigError(f"{escape(str(path))} cannot be listened on ({error.strerror}).") from None


async def _answers(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: Ask) -> None:
    word = (await reader.readline()).strip()
    answer = await status() if word == b"status" else {"error": "the only question is: status"}
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()


def places(env: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a daemon's socket may be: this user's own, then the system's."""
    base = env.get("XDG_RUNTIME_DIR", "")
    own = (Path(base) / "roomprobe",) if base.startswith("/") and os.geteuid() != 0 else ()
    return tuple(place / SOCKET for place in (*own, Path("/run/roomprobe")))


async def ask(paths: tuple[Path, ...]) -> dict[str, Any]:
    """What the daemon says. ConfigError when none answers."""
    why = "no socket"
    for path in paths:
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                reader, writer = await asyncio.open_unix_connection(path, limit=MOST_ANSWER)
                try:
                    writer.write(b"status\n")
                    answer: dict[str, Any] = json.loads(await reader.readline())
                    return answer
                finally:
                    writer.close()
        except FileNotFoundError:
            continue
        except PermissionError:
            raise ConfigError(
                f"{escape(str(path))} does not answer this user; ask as root, or as a member of the socket's group."
            ) from None
        except TimeoutError:
            why = f"{path}: no answer in time"
        except OSError as error:
            why = f"{path}: {error.strerror}"
        except ValueError:
            why = f"{path}: the answer is not a status"
    raise ConfigError(
        f"No daemon answers here ({escape(why)}); `roomprobe run` or `systemctl start roomprobe` starts one."
    )
