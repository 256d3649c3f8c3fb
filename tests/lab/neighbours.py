"""Run in the room by looking.py, as nobody: calls one function of net/ and prints its result as JSON.

neighbours.py CALL [JSON]: `survey`, `towards`, `ping`, `find`, `route_to`, `tables`; the JSON object holds its arguments.
"""

import asyncio
import json
import sys
from typing import Any

import msgspec

from roomprobe.net import names, neighbourhood, netlink, way
from roomprobe.net.pace import Bucket
from roomprobe.net.ping import ping


async def call(what: str, given: dict[str, Any], bucket: Bucket) -> Any:
    links = netlink.read_links()
    if what == "survey":
        return await neighbourhood.survey(neighbourhood.usable([link.name for link in links]), bucket, **given)
    if what == "towards":
        return await neighbourhood.towards(given.pop("address"), bucket, **given)
    if what == "ping":
        index = next((link.index for link in links if link.name == given.get("interface")), None)
        return await ping(given["address"], interface_index=index, count=given["count"], wait_s=1.0, bucket=bucket)
    if what == "find":
        on = [link for link in links if link.name in given["interfaces"]]
        return await names.find(given["name"], on, 1.0, bucket)
    return way.route_to(**given) if what == "route_to" else netlink.read()


sent = Bucket()
result = asyncio.run(call(sys.argv[1], json.loads("".join(sys.argv[2:]) or "{}"), sent))
print(json.dumps({"result": msgspec.to_builtins(result), "taken": sent.taken}))
