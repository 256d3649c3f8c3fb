"""What the tables of the controller link are made of: ports, neighbours and far ends written by hand, and their judging."""

from __future__ import annotations

from typing import Any

import msgspec

from roomprobe.evidence import Certificate, Connect, Failure
from roomprobe.facts import Facts
from roomprobe.link import diagnosis
from roomprobe.link.evidence import (
    Api,
    Blocks,
    Candidate,
    ControllerEvidence,
    Emulator,
    Hold,
    LinkEvidence,
    Near,
    OwnAddress,
    Router,
)
from roomprobe.link.settle import settle
from roomprobe.model import Check, Host, Profile, Requirement, Result, Service, ServiceSpec
from roomprobe.outcome import Need, Outcome, Reason, Where
from roomprobe.probes import controller
from roomprobe.rollup import services

CODEC = "fe80::20%eth0"
ROUTED = "fd00:60::20"
PORTS = {
    "I1": (69, "listen"),
    "I2": (443, "tls"),
    "I3": (5000, "listen"),
    "I4": (5152, "listen"),
    "I5": (23456, "auth"),
}
FACTS = Facts(addresses=("fe80::10", "fd00:50::10"), networks=("fe80::10/64", "fd00:50::10/64"))
OWN = (
    OwnAddress(address="fe80::10", prefix=64, usable=True),
    OwnAddress(address="fd00:50::10", prefix=64, usable=True),
)
THERE = Near(address=CODEC, mac="02:00:00:00:00:20", state="reachable", router=False, confirmed_s=1.0)
GONE = Near(address=CODEC, mac=None, state="failed", router=False)
HOST = Near(address="fe80::30%eth0", mac="02:00:00:00:00:30", state="reachable", router=False, confirmed_s=1.0)
ROUTER = Near(address="fe80::1%eth0", mac="02:00:00:00:00:01", state="reachable", router=True, confirmed_s=1.0)
LOST_ROUTER = msgspec.structs.replace(ROUTER, state="failed")
LOST_HOST = msgspec.structs.replace(HOST, state="failed")
OLD_HOST = msgspec.structs.replace(HOST, state="stale", confirmed_s=60.0)
EMULATOR = Emulator(instance="0" * 16, connection=1, version="0.1", seen_address="fe80::10", seen_port=40000)
BOTH = Blocks(size=4096, up=True, down=True)
ALIVE = Hold(asked_s=2, after_s=2, end="alive")
CERTIFICATE = Certificate(sha256="ab" * 32, subject="CN=5141", issuer="CN=5141", names=(), not_before="", not_after="")
NO_NEIGHBOUR = Connect(result="failure", failure=Failure(operation="connect", errno="EHOSTUNREACH", detail=""))


def seen(row: str, result: str | Connect = "connected", **more: Any) -> ControllerEvidence:
    result = more.pop("connect", result)
    connect = result if isinstance(result, Connect) else Connect(result=result, source="fe80::10", source_port=40000)
    stage = "connected" if connect.result == "connected" else "connect"
    return ControllerEvidence(connect=connect, ask=PORTS[row][1], **{"stage": stage, **more})


def emulated(row: str, **more: Any) -> ControllerEvidence:
    return seen(row, **{"emulator": EMULATOR, "blocks": BOTH, "hold": ALIVE, **more})


def real(row: str) -> ControllerEvidence:
    """A real 5141's port."""
    return {
        "tls": lambda: seen(row, certificate=CERTIFICATE, tls_stage="established", stage="answered"),
        "auth": lambda: seen(row, http_status=200, api=Api(documented=True, iterations=1000), stage="answered"),
        "listen": lambda: seen(row),
    }[PORTS[row][1]]()


def link(*near: Near, **more: Any) -> LinkEvidence:
    fields = {
        "interface": "eth0",
        "gateway": None,
        "source": "fe80::10",
        "carrier": True,
        "own": OWN,
        "near": near,
        "since_s": 5.0,
    }
    return LinkEvidence(**{"address": CODEC, **fields, **more})


def judged(
    evidence: dict[str, ControllerEvidence], between: LinkEvidence | None, *, address: str = CODEC, facts: Facts = FACTS
) -> dict[str, Result]:
    first = []
    for row, one in evidence.items():
        check = Check(
            id=row,
            profile="teamline-5141",
            row=row,
            purpose=row,
            document="",
            services=("touch-controller",),
            need=Need.REQUIRED,
            kind="controller",
            transport="tcp",
            address=address,
            port=PORTS[row][0],
            params={"ask": [PORTS[row][1]]},
        )
        first.append(Result(check=check, evidence=one, verdict=controller.judge(check, one, facts)))
    done = diagnosis.refine_all(first, {} if between is None else {address: between})
    return {r.check.row: r for r in done}


def all_ports(make: Any) -> dict[str, ControllerEvidence]:
    return {row: make(row) for row in PORTS}


def service(results: dict[str, Result]) -> Service:
    rows = tuple(
        Requirement(
            id=r,
            purpose=r,
            document="d",
            services=("touch-controller",),
            need=Need.REQUIRED,
            kind="controller",
            port=PORTS[r][0],
        )
        for r in PORTS
    )
    spec = (ServiceSpec(id="touch-controller", title="Touch controller"),)
    profile = Profile(
        schema=1, id="teamline-5141", title="5141", version="1", documents={"d": "d"}, service=spec, row=rows
    )
    return services(profile, tuple(results.values()), (), Host(), FACTS)[0]


def told(result: Result) -> tuple[Outcome, Reason, Where | None]:
    return result.verdict.outcome, result.verdict.reason, result.verdict.where


REFUSED, SILENT = Connect(result="refused", source="fe80::10"), Connect(result="timeout", source="fe80::10")
ADVERTISED = Router(address="fe80::bad", interface="eth0", advertised=True, metric=1024)
OURS = Router(address="fe80::1", interface="eth0", advertised=False, metric=1024)
STRAY = OwnAddress(address="2001:db8:bad::10", prefix=64, usable=True, dynamic=True)


def routed(**more: Any) -> LinkEvidence:
    return link(
        **{
            "address": ROUTED,
            "gateway": "fe80::1",
            "source": "2001:db8:bad::10",
            "own": (*OWN, STRAY),
            "routers": (OURS, ADVERTISED),
            **more,
        }
    )


ALL = (69, 443, 5000, 5152, 23456)


def device(number: int, *ports: int, **more: Any) -> Candidate:
    address = more.pop("address", f"fe80::{number}%eth0")
    return Candidate(address=address, mac=f"02:00:00:00:00:{number:02x}", open=ports, **more)


LISTENING = msgspec.structs.replace(EMULATOR, listening=tuple(port for port, _ in PORTS.values()))


def settled(evidence: dict[str, ControllerEvidence], between: LinkEvidence | None, **more: Any) -> dict[str, Result]:
    return {r.check.row: r for r in settle(tuple(judged(evidence, between, **more).values()), FACTS)}


def knowing(row: str) -> ControllerEvidence:
    return emulated(row, emulator=LISTENING)
