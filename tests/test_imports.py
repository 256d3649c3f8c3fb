"""The import rules of the layout: who may use sockets, who stays pure, what a start must not load."""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomprobe.probes import PROBES

AGENT = Path(__file__).resolve().parents[1] / "agent"

# What must give the same answer from the same values: no sockets, no loop, no clock, no chance.
PURE = ("roomprobe.plan", "roomprobe.judging", "roomprobe.verdict", "roomprobe.rollup", "roomprobe.wire")
IMPURE = {"asyncio", "random", "secrets", "select", "selectors", "socket", "ssl", "subprocess", "threading", "time"}

# Sockets and TLS are for net/ alone; each exception says what for.
SOCKETS = {"socket", "ssl", "select", "selectors", "socketserver"}
MAY_USE_SOCKETS = {
    "roomprobe.collector": "serves HTTP and HTTPS to boxes and people",
    "roomprobe.config": "reads a CA file, to refuse a bad one before anything is sent",
    "roomprobe.daemon.notify": "tells systemd that it is alive",
    "roomprobe.demo": "plays the far ends on loopback",
    "roomprobe.farend": "plays far ends",
    "roomprobe.host": "asks the kernel for this box's interfaces, addresses and routes",
    "roomprobe.trust": "asks where the system keeps its certificate store",
}

HEAVY = {"aiohttp", "asyncio", "cryptography", "dns", "rich", "scapy", "structlog"}


@functools.cache
def modules() -> dict[str, Path]:
    """Every module under agent/, by its dotted name."""
    found = {}
    for file in AGENT.rglob("*.py"):
        parts = file.relative_to(AGENT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def within(module: str, *roots: str) -> bool:
    return any(module == root or module.startswith(root + ".") for root in roots)


def _nodes(tree: ast.AST, inside: bool) -> Iterator[ast.AST]:
    """Every node of a tree; those inside functions only when asked."""
    for node in ast.iter_child_nodes(tree):
        if inside or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _nodes(node, inside)


@functools.cache
def imports(module: str, inside: bool = True) -> frozenset[str]:
    """Dotted names that a module imports; `inside` counts what it imports inside functions too."""
    file = modules()[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in _nodes(ast.parse(file.read_text(encoding="utf-8")), inside):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.add(base)
            found.update(f"{base}.{a.name}" for a in node.names if f"{base}.{a.name}" in modules())
    return frozenset(found)


def reach(module: str) -> set[str]:
    """The module, and all of the project's own modules that importing it loads."""
    seen: set[str] = set()
    wanted = [module]
    while wanted:
        name = wanted.pop()
        while name and name not in seen:
            if name in modules():
                seen.add(name)
                wanted.extend(imports(name, inside=False))
            name = name.rpartition(".")[0]
    return seen


def tops(module: str, inside: bool = True) -> set[str]:
    return {name.partition(".")[0] for name in imports(module, inside)}


def outside_of(package: str) -> Iterator[str]:
    return (m for m in modules() if not within(m, package))


@pytest.mark.parametrize("root", PURE)
def test_the_pure_part_and_what_it_imports_is_pure(root: str) -> None:
    members = [m for m in modules() if within(m, root)]
    assert members, f"{root} is gone; this rule must follow it to its new name"
    for member in members:
        assert not tops(member) & IMPURE, member
        for module in reach(member):
            assert not tops(module, inside=False) & IMPURE, f"{member} reaches {module}"
            assert not within(module, "roomprobe.net"), f"{member} reaches {module}"


def test_only_net_uses_sockets() -> None:
    for module in outside_of("roomprobe.net"):
        if not within(module, *MAY_USE_SOCKETS, "roomprobe_packet"):
            assert not tops(module) & SOCKETS, module


def test_probes_know_nothing_of_where_results_go() -> None:
    for module in modules():
        if within(module, "roomprobe.probes"):
            ends = [name for name in reach(module) if within(name, "roomprobe.sinks", "roomprobe.report")]
            assert not ends, f"{module} reaches {ends}"


def test_the_collector_is_an_extra() -> None:
    for module in outside_of("roomprobe.collector"):
        assert not any(within(name, "roomprobe.collector") for name in imports(module)), module


def test_the_packet_helper_stands_alone() -> None:
    for module in outside_of("roomprobe_packet"):
        assert not any(within(name, "roomprobe_packet", "scapy") for name in imports(module)), module
    for module in modules():
        if within(module, "roomprobe_packet"):
            assert not any(within(name, "roomprobe") for name in imports(module)), module


def test_the_table_of_probes_matches_the_files() -> None:
    files = {m for m in modules() if m.startswith("roomprobe.probes.")}
    assert set(PROBES.values()) == files
    assert all(module == f"roomprobe.probes.{kind}" for kind, module in PROBES.items())


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["--no-such-thing"]])
def test_a_start_loads_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import json, sys\n"
        "from roomprobe.__main__ import main\n"
        "sys.argv[0] = 'roomprobe'\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=AGENT)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert "roomprobe" in loaded
    assert not loaded & HEAVY
