"""`scripts/lab`: a lab that stays until it is taken down, for people who want to break networks by hand."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import faults, peers, product
from .network import WORK, Lab, sweep
from .procs import LabError, Process, namespaces

# More than one may stand at a time: ROOMPROBE_LAB=b scripts/lab up
NAME = os.environ.get("ROOMPROBE_LAB", "")
PREFIX = f"rplab.{NAME}-" if NAME else "rplab-"
USAGE = """\
usage: scripts/lab COMMAND

  up [OPTION]...         build the lab and start its servers; options: families=4 families=6 lan=shared lan=public
                         inner_hop nat=fw nat=isp nat=fw,isp default_icmp_limits
  status                 what runs, what is broken
  shell [NS] [COMMAND]   a root shell (or a command) in a namespace: room codec lan fw isp core net
  probe [ARGS]           roomprobe in the room, as nobody (`--once --org acme` unless given)
  break FAULT [ROUTER]   break something; without FAULT, the list
  mend                   mend everything
  down                   take the lab down, and what killed labs left behind

ROOMPROBE_LAB=NAME in the environment means a second lab of that name: 1 to 8 of a-z and 0-9."""


class Standing(Lab):
    """The lab of scripts/lab: it has a fixed name, outlives the process that built it and can be found again."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.prefix, self.outlives = PREFIX, True
        self.work = Path(tempfile.gettempdir()) / (WORK + PREFIX)
        self.state = self.work / "state.json"

    def save(self) -> None:
        """Write down what the next command has to know."""
        running = {role: process.saved() for role, process in self.running.items()}
        self.state.write_text(json.dumps({"topology": asdict(self.topology), "running": running}))

    @classmethod
    def found(cls) -> Standing:
        """The lab that stands; LabError when there is none."""
        path = Path(tempfile.gettempdir()) / (WORK + PREFIX) / "state.json"
        try:
            if path.lstat().st_uid != 0 or path.parent.lstat().st_uid != 0:
                raise LabError(f"{path} does not belong to root")
            saved = json.loads(path.read_text())
        except FileNotFoundError:
            raise LabError("there is no lab; scripts/lab up builds one") from None
        options = {key: tuple(v) if isinstance(v, list) else v for key, v in saved["topology"].items()}
        lab = cls(**options)
        lab.running = {role: Process.restored(one) for role, one in saved["running"].items()}
        return lab

    def broken(self) -> list[str]:
        """The tables of faults that are in place, as `fw: fault123x1`."""
        place = f"table inet {faults.TABLE}"
        lines = [
            (ns, line)
            for ns in self.topology.namespaces
            for line in self.exec(ns, "nft", "list", "tables").splitlines()
        ]
        return [f"{ns}: {line.removeprefix('table inet ')}" for ns, line in lines if line.startswith(place)]

    def mend(self) -> None:
        """Mend whatever another command broke: rules, their helpers, links, addresses and routes."""
        for entry in self.broken():
            ns, table = entry.split(": ")
            self.exec(ns, "nft", "delete", "table", "inet", table)
        for role in [role for role in self.running if role.startswith(faults.TABLE)]:
            self.stop(role)
        for ns in self.topology.namespaces:
            for kind in ("prohibit", "blackhole"):
                for family in ("-4", "-6"):
                    self.ip(ns, f"{family} route flush type {kind}")
            self.configure(ns)
        self.save()


def up(words: list[str]) -> None:
    """Build it; `words` are the options of USAGE."""
    options: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key == "families" and set(value.split(",")) <= {"4", "6"}:
            options[key] = tuple(int(family) for family in value.split(","))
        elif key == "nat" and set(value.split(",")) <= {"fw", "isp"}:
            options[key] = tuple(value.split(","))
        elif word in ("lan=private", "lan=shared", "lan=public"):
            options[key] = value
        elif word in ("inner_hop", "default_icmp_limits"):
            options[key] = True
        else:
            raise LabError(f"unknown option {word!r}\n{USAGE}")
    if namespaces(PREFIX):
        raise LabError("the lab is up already; scripts/lab down takes it down")
    with Standing(**options) as lab:
        peers.everything(lab)
        lab.save()
        lab.release()
    status()
    print("\nscripts/lab probe     runs roomprobe in the room\nscripts/lab break     lists what can be broken")


def status() -> None:
    """Say what there is."""
    lab = Standing.found()
    print("path:   room -> " + " -> ".join((*lab.routers, "net")))
    for role, process in lab.running.items():
        print(f"{'runs' if process.alive() else 'DEAD'}:   {role} in {process.spec.ns}, pid {process.pid}")
    for entry in lab.broken():
        print(f"broken: {entry}")


def shell(words: list[str]) -> None:
    """Become a shell, or a command, in a namespace; it sees the site's resolver."""
    lab = Standing.found()
    ns, command = (words[0], words[1:]) if words else ("room", [])
    if not command:
        ours, needed = product.command(lab, ["--once", "--org", "acme"], None)
        settings = [f"{key}={value}" for key, value in needed.items()]
        print(
            f"roomprobe with the lab's configuration, from here:\n  {shlex.join(['env', *settings, *ours])}",
            file=sys.stderr,
        )
    argv = command or [os.environ.get("SHELL", "/bin/sh")]
    prompt = {"PS1": f"lab {ns} # ", "TERM": os.environ.get("TERM", "dumb")}
    product.become(lab, argv, ns=ns, uid=0, env={**os.environ, **prompt})


def probe(words: list[str]) -> None:
    """Become roomprobe in the room."""
    lab = Standing.found()
    argv, needed = product.command(lab, words or ["--once", "--org", "acme"], None)
    product.become(lab, argv, env={**needed, "TERM": os.environ.get("TERM", "dumb")})


def break_(words: list[str]) -> None:
    """Break something and leave it so."""
    if not words:
        for name, function in faults.NAMED.items():
            print(f"{name:18}{(function.__doc__ or '').splitlines()[0]}")
        return
    if words[0] not in faults.NAMED:
        raise LabError(f"no fault called {words[0]!r}; scripts/lab break lists them")
    lab = Standing.found()
    for router in words[1:]:
        lab.name(router)
    try:
        faults.NAMED[words[0]](lab, *words[1:])
    except TypeError:
        raise LabError(f"{words[0]} takes no router: it is in the room") from None
    except LabError:
        Lab.mend(lab)  # what it had begun, and not what stood before
        raise
    lab.save()


def down() -> None:
    """Take down the standing lab, if any, and sweep up after killed ones."""
    try:
        lab = Standing.found()
    except LabError:
        lab = Standing()  # half built or half gone: its names and folder still go
    lab.close()
    for prefix in sweep():
        print(f"removed {prefix}, whose owner is dead")


def main(words: list[str]) -> int:
    """Run one command; 0, or 1 with a sentence on stderr."""
    name, rest = (words[0], words[1:]) if words else ("help", [])
    if name in ("help", "-h", "--help"):
        print(USAGE)
        return 0
    try:
        if not re.fullmatch("[a-z0-9]{0,8}", NAME):
            raise LabError(f"ROOMPROBE_LAB is {NAME!r}; a lab's name is 1 to 8 of a-z and 0-9")
        if name in ("up", "shell", "probe", "break"):
            {"up": up, "shell": shell, "probe": probe, "break": break_}[name](rest)
        elif name in ("status", "mend", "down") and not rest:
            {"status": status, "mend": lambda: Standing.found().mend(), "down": down}[name]()
        else:
            raise LabError(f"cannot do {' '.join(words)!r}\n{USAGE}")
    except LabError as failed:
        print(f"lab: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main(sys.argv[1:]))
