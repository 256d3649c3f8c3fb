"""The piece that every server of the lab is made of: it takes the place of another one, and gives it back."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Self

from .network import Lab
from .procs import Process, Spec


class Peer:
    """A running server; `stop` ends it, leaving a `with` block also brings back the one it replaced."""

    def __init__(self, lab: Lab, spec: Spec) -> None:
        self.lab, self.spec = lab, spec
        before = lab.running.get(spec.role)
        self.replaced = before.spec if before else None
        self.process: Process = lab.start(spec)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self.replaced:
            self.lab.start(self.replaced)

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self.lab.work / f"{self.spec.role}.log").read_text(errors="replace")

    def stop(self) -> None:
        """End it."""
        if self.lab.running.get(self.spec.role) is self.process:
            self.lab.stop(self.spec.role)


class Without:
    """`with peers.without(lab, "tls"):` a server is away for the length of the block."""

    def __init__(self, lab: Lab, role: str) -> None:
        self.lab, self.process = lab, lab.running[role]
        lab.stop(role)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lab.start(self.process.spec)


def without(lab: Lab, role: str) -> Without:
    """Stop the server of that role (a key of `lab.running`) now; the `with` block brings it back."""
    return Without(lab, role)


def folder_for(lab: Lab, name: str) -> Path:
    """A folder of its own for every start: a server that is put back must find its own files again."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=lab.work))
    folder.chmod(0o755)
    return folder
