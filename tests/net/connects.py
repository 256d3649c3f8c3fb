"""Run inside a namespace by test_stream_lab.py: connects to each ADDRESS:PORT given and prints the Connects as JSON lines."""

import asyncio
import sys

import msgspec

from roomprobe.net.pace import Bucket
from roomprobe.net.stream import connect


async def main(targets: list[str]) -> None:
    for target in targets:
        address, _, port = target.rpartition(":")
        made, _ = await connect(address, int(port), bucket=Bucket())
        print(msgspec.json.encode(made).decode(), flush=True)


asyncio.run(main(sys.argv[1:]))
