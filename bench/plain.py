"""What an upload costs at the very least: a plain aiohttp handler that appends the body to a file and flushes it to the disk."""

from __future__ import annotations

import asyncio
import os
import sys

from aiohttp import web


async def main(file: str) -> None:
    """Serves until it is killed; its first line of output is where."""
    opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def runs(request: web.Request) -> web.Response:
        os.write(opened, await request.read())
        os.fdatasync(opened)
        return web.json_response({"stored": 1})

    app = web.Application()
    app.router.add_post("/v1/runs", runs)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
