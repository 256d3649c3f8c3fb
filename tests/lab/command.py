"""`scripts/lab`: a lab that stays until it is taken down, for people who want to break networks by hand."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import faults, peers, peers_link, product
from .fault import TABLE, take_back
from .network import WORK, Lab, sweep
from .procs import LabError, Process, namespaces
from .topology import HOSTS

# More than one may stand at a time: ROOMPROBE_LAB=b scripts/lab up
NAME = os.environ.get("ROOMPROBE_LAB", "")
PREFIX = f"rplab.{NAME}-" if NAME else "rplab-"
SWITCHES = ("inner_hop", "default_icmp_limits", "second_codec", "controller", "second_interface")
USAGE = """\
usage: scripts/lab COMMAND

  up [OPTION]...         build the lab and start its servers; options: families=4 families=6 lan=shared lan=public
                         inner_hop nat=fw nat=isp nat=fw,isp default_icmp_limits
                         codec=routed second_codec controller second_interface no_ipv6=room no_ipv6=codec
  status                 what runs, what is broken
  shell [NS] [COMMAND]   a root shell (or a command) in a namespace: room codec lan fw isp core net ...
  probe [ARGS]           roomprobe in the room, as nobody (`--once --org acme` unless given)
  break FAULT [ROUTER] [KEY=VALUE]...
                         break something; without FAULT, the list. `break mtu-hole size=1300 direction=in`
  mend                   mend everything
  peer NAME [KEY=VALUE]...
                         put somebody at the codec's address; without NAME, the list. `peer one-controller limit=oldest`
  stop ROLE              end a server that `status` shows
  down                   take the lab down, and what killed labs left behind

ROOMPROBE_LAB=NAME in the environment means a second lab of that name: 1 to 8 of a-z and 0-9."""


class Standing(Lab):
    """The lab of scripts/lab: it has a fixed name, outlives the process that built it and can be found again."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.prefix, self.outlives = PREFIX, True
        self.work = Path(tempfile.gettempdir()) / (WORK + PREFIX)
        self.state = self.work / "state.json"
        self.undo: list[list[str]] = []

    def save(self) -> None:
        """Write down what the next command has to know."""
        running = {role: process.saved() for role, process in self.running.items()}
        undo = [*self.undo, *(step for fault in self.faults for step in fault.undo)]
        self.state.write_text(json.dumps({"topology": asdict(self.topology), "running": running, "undo": undo}))

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
        lab.undo = saved["undo"]
        return lab

    def broken(self) -> list[tuple[str, str, str]]:
        """The tables of faults that are in place: namespace, family, name."""
        listed = {ns: self.exec(ns, "nft", "list", "tables").splitlines() for ns in self.topology.namespaces}
        tables = [(ns, *line.split()[1:]) for ns, lines in listed.items() for line in lines]
        return [(ns, family, table) for ns, family, table in tables if table.startswith(TABLE)]

    def mend(self) -> None:
        """Mend whatever another command broke, in its own way, and then what one that was killed may have left."""
        super().mend()
        while self.undo:
            with suppress(LabError):  # gone already, by hand
                take_back(self, self.undo.pop())
        for ns, family, table in self.broken():
            self.exec(ns, "nft", "delete", "table", family, table)
        for role in [role for role in self.running if role.startswith(TABLE)]:
            self.stop(role)
        for ns in self.topology.namespaces:
            for kind in ("prohibit", "blackhole"):
                for family in ("-4", "-6"):
                    self.ip(ns, f"{family} route flush type {kind}")
            self.configure(ns)
        self.save()


def options_of(words: list[str]) -> dict[str, Any]:
    """The topology that the options of `up` ask for; LabError for one that is none."""
    options: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        names = set(value.split(","))
        if key == "families" and names <= {"4", "6"}:
            options[key] = tuple(int(family) for family in value.split(","))
        elif (key == "nat" and names <= {"fw", "isp"}) or (key == "no_ipv6" and names <= HOSTS.keys()):
            options[key] = tuple(value.split(","))
        elif word in ("lan=private", "lan=shared", "lan=public", "codec=bridge", "codec=routed"):
            options[key] = value
        elif word in SWITCHES:
            options[key] = True
        else:
            raise LabError(f"unknown option {word!r}\n{USAGE}")
    return options


def up(words: list[str]) -> None:
    """Build it; `words` are the options of USAGE."""
    options = options_of(words)
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
    for ns, _, table in lab.broken():
        print(f"broken: {ns}: {table}")


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


def chosen(
    function: Callable[..., object], name: str, routers: Sequence[str], words: Sequence[str]
) -> dict[str, object]:
    """The options among `words`, written KEY=VALUE; LabError when the function does not take them, or the routers."""
    options = {key: _value(key, value) for key, found, value in (word.partition("=") for word in words) if found}
    names = [one for one in inspect.signature(function).parameters if one != "lab"]
    try:
        inspect.signature(function).bind(None, *routers, **options)
        if routers and names[0] not in ("router", "routers", "ns"):
            raise TypeError
    except TypeError:
        raise LabError(f"{name} takes {', '.join(names) or 'no router and no option'}") from None
    return options


def _value(key: str, value: str) -> object:
    """What a KEY=VALUE means: numbers, lists of them for plural keys, else the word itself."""
    if key in ("ports", "kinds"):
        return tuple(int(word) for word in value.split(",") if word.isdecimal())
    return float(value) if re.fullmatch(r"\d+\.\d+", value) else int(value) if value.isdecimal() else value


def break_(words: list[str]) -> None:
    """Break something and leave it so."""
    if not words:
        for name, function in faults.NAMED.items():
            print(f"{name:18}{(function.__doc__ or '').splitlines()[0]}")
        return
    if words[0] not in faults.NAMED:
        raise LabError(f"no fault called {words[0]!r}; scripts/lab break lists them")
    lab = Standing.found()
    routers = [word for word in words[1:] if "=" not in word]
    for router in routers:
        lab.name(router)
    function = faults.NAMED[words[0]]
    options = chosen(function, words[0], routers, words[1:])
    try:
        function(lab, *routers, **options)
    except (LabError, TypeError, ValueError) as failed:
        Lab.mend(lab)  # what it had begun, and not what stood before
        raise LabError(str(failed)) from None
    lab.save()


def peer(words: list[str]) -> None:
    """Start one of those that can stand at the codec's address, or a controller."""
    if not words:
        for name, function in peers_link.NAMED.items():
            print(f"{name:18}{(function.__doc__ or '').splitlines()[0]}")
        return
    if words[0] not in peers_link.NAMED:
        raise LabError(f"no peer called {words[0]!r}; scripts/lab peer lists them")
    lab = Standing.found()
    function = peers_link.NAMED[words[0]]
    started = function(lab, **chosen(function, words[0], [], words[1:]))
    lab.save()
    print(f"{started.spec.role} runs in {started.spec.ns}, pid {started.process.pid}")
    if isinstance(started, peers_link.Watched):
        print(f"what it sees goes to {started.file}")


def stop(words: list[str]) -> None:
    """End a server."""
    lab = Standing.found()
    if len(words) != 1 or words[0] not in lab.running:
        raise LabError(f"stop takes one of {', '.join(lab.running)}")
    lab.stop(words[0])
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


WITH_WORDS = {"up": up, "shell": shell, "probe": probe, "break": break_, "peer": peer, "stop": stop}


def main(words: list[str]) -> int:
    """Run one command; 0, or 1 with a sentence on stderr."""
    name, rest = (words[0], words[1:]) if words else ("help", [])
    if name in ("help", "-h", "--help"):
        print(USAGE)
        return 0
    try:
        if not re.fullmatch("[a-z0-9]{0,8}", NAME):
            raise LabError(f"ROOMPROBE_LAB is {NAME!r}; a lab's name is 1 to 8 of a-z and 0-9")
        if name in WITH_WORDS:
            WITH_WORDS[name](rest)
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
