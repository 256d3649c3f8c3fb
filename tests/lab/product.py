"""roomprobe as a person in the room would run it: user nobody, no capabilities, the room's network and resolvers.

`Lab.run`, `Lab.popen` and `Lab.roomprobe` are the way in. Files for it live in the lab's work directory; what must
stand elsewhere (/etc/resolv.conf, the system's certificates) is bound there in a mount namespace of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from .procs import PATH, LabError, program, run

if TYPE_CHECKING:
    from .network import Lab

AGENT = Path(__file__).resolve().parents[2] / "agent"
CERTIFICATES = Path("/etc/ssl/certs")
NOBODY = 65534
BASE_ENV = {"PATH": PATH, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
_BIND = """
mount --bind "$1" /etc/resolv.conf
[ -z "$2" ] || mount --bind "$2" /etc/ssl/certs
cd /
shift 2
exec "$@"
"""


class Run(NamedTuple):
    """What a run gave: exit status, the JSON report as it came, and both outputs."""

    returncode: int
    report: dict[str, Any]
    stdout: str
    stderr: str

    def rows(self, row: str, **wanted: Any) -> list[dict[str, Any]]:
        """The checks of a row whose keys have those values: `rows("F3", address="203.0.113.10")`."""
        checks: list[dict[str, Any]] = self.report["checks"]
        return [c for c in checks if c["row"] == row and all(c[key] == value for key, value in wanted.items())]

    def outcomes(self, row: str, **wanted: Any) -> set[str]:
        """The outcomes of those checks, those that were skipped left out."""
        return {check["outcome"] for check in self.rows(row, **wanted)} - {"skipped"}

    def service(self, service: str) -> dict[str, Any]:
        """The judgement on one service: `service("calls")["state"]`."""
        found: list[dict[str, Any]] = [entry for entry in self.report["services"] if entry["id"] == service]
        assert len(found) == 1, f"{len(found)} services called {service}"
        return found[0]


def config_text(lab: Lab, overrides: Mapping[str, Mapping[str, object]]) -> str:
    """The lab's default configuration (organisation and CA, nothing pinned) with tables or keys of your own."""
    from . import peers

    tables: dict[str, dict[str, object]] = {
        "site": {"org": "acme"},
        "network": {"ca_file": str(peers.authority(lab).cert)},
    }
    for table, values in overrides.items():
        tables.setdefault(table, {}).update(values)
    # A string, list, number or boolean is written in TOML just as in JSON.
    return "".join(
        f"[{table}]\n"
        + "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in values.items() if value is not None)
        for table, values in tables.items()
    )


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def popen(
    lab: Lab,
    argv: Sequence[str],
    *,
    ns: str = "room",
    uid: int = NOBODY,
    env: Mapping[str, str] | None = None,
    resolv: Sequence[str] | None = None,
    ca: Path | None = None,
) -> subprocess.Popen[str]:
    """Start a command in a namespace as `uid` without capabilities (0: as root with all), not waiting for it.

    `resolv`: the name servers it finds in /etc/resolv.conf. `ca`: a CA that the system's certificate store also has.
    The pid of what this gives is the command's own, so signals reach it.
    """
    return subprocess.Popen(
        entered(lab, argv, ns, uid, lab.resolvers if resolv is None else resolv, ca),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**BASE_ENV, **(env or {})},
    )


def become(
    lab: Lab, argv: Sequence[str], *, ns: str = "room", uid: int = NOBODY, env: Mapping[str, str] | None = None
) -> NoReturn:
    """Replace this very process by a command in a namespace, terminal and all."""
    # Nobody is left to tidy up afterwards, so every such command shares one folder.
    shared = lab.work / "by-hand"
    shared.mkdir(exist_ok=True)
    whole = entered(lab, argv, ns, uid, lab.resolvers, None, shared)
    os.execve(whole[0], whole, {**BASE_ENV, **(env or {})})


def entered(
    lab: Lab,
    argv: Sequence[str],
    ns: str,
    uid: int,
    resolv: Sequence[str],
    ca: Path | None,
    files: Path | None = None,
) -> list[str]:
    """The whole command line that ends in `argv`, inside the namespace; every step execs the next, so the pid stays.

    `files` is the folder for what is bound over /etc, a new one unless given: resolv.conf, and with `ca` certificates.
    """
    files = files or Path(tempfile.mkdtemp(dir=lab.work))
    files.chmod(0o755)
    names = files / "resolv.conf"
    names.write_text("".join(f"nameserver {server}\n" for server in resolv) + "options timeout:2 attempts:1\n")
    store = "" if ca is None else str(_store(files / "certs", ca))
    drop = [program("setpriv", "util-linux"), "--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    drop += ["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
    enter = [program("ip", "iproute2"), "netns", "exec", lab.name(ns), program("unshare", "util-linux"), "-m"]
    return [*enter, "sh", "-euc", _BIND, "sh", str(names), store, *(drop if uid else []), *argv]


def finish(child: subprocess.Popen[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Wait for a started command; TimeoutExpired, and the command is ended, when it takes longer (seconds)."""
    with child:
        try:
            out, err = child.communicate(timeout=timeout)
        except BaseException:
            child.kill()
            raise
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def command(lab: Lab, args: Sequence[str], config: str | None) -> tuple[list[str], dict[str, str]]:
    """The command line of roomprobe, and the environment it needs, for a user who may read little."""
    interpreter, path = _interpreter(lab)
    handle, name = tempfile.mkstemp(suffix=".toml", dir=lab.work)
    os.write(handle, (config_text(lab, {}) if config is None else config).encode())
    os.fchmod(handle, 0o644)
    os.close(handle)
    if config is None:  # always the same text: one file is enough, and people can find it
        name = str(Path(name).replace(lab.work / "roomprobe.toml"))
    given = [] if "--config" in args or not _takes_config(args) else ["--config", name]
    return [interpreter, "-m", "roomprobe", *args, *given], {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _takes_config(args: Sequence[str]) -> bool:
    return bool(args) and not {"--version", "--help", "-h"} & set(args) and args[0] not in ("demo", "codec")


def parsed(done: subprocess.CompletedProcess[str]) -> Run:
    """A run with its report; AssertionError with everything it said when stdout is no JSON object."""
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = None
    said = f"exit {done.returncode}\nstdout: {done.stdout}\nstderr: {done.stderr}"
    assert isinstance(report, dict), f"no JSON report came: {said}"
    return Run(done.returncode, report, done.stdout, done.stderr)


def _store(folder: Path, ca: Path) -> Path:
    """A copy of the system's certificate store with one more CA in it."""
    if CERTIFICATES.is_dir():
        shutil.copytree(CERTIFICATES, folder, symlinks=True)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    text = ca.read_text()
    bundle = folder / "ca-certificates.crt"
    old = bundle.read_text() if bundle.exists() else ""
    bundle.unlink(missing_ok=True)
    bundle.write_text(old + text)
    hashed = run([program("openssl", "openssl"), "x509", "-noout", "-hash", "-in", str(ca)]).strip()
    (folder / f"{hashed}.0").write_text(text)
    return folder


def _open_to_all(path: Path) -> bool:
    """Whether any user may read the file or folder, by the permissions on the way to it."""
    real = path.resolve()
    wanted = stat.S_IROTH | (stat.S_IXOTH if real.is_dir() else 0)
    ways = all(parent.stat().st_mode & stat.S_IXOTH for parent in real.parents)
    return ways and real.stat().st_mode & wanted == wanted


@cache
def _base_interpreter() -> str | None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/{version}"):
        library = Path(os.__file__ if candidate == sys.executable else f"/usr/lib/{version}/os.py")
        if all(path.exists() and _open_to_all(path) for path in (Path(candidate), library)):
            return candidate
    return None


def _interpreter(lab: Lab) -> tuple[str, str]:
    """An interpreter and a PYTHONPATH that nobody can read; what is closed is copied into the lab's work directory."""
    interpreter = _base_interpreter()
    if interpreter is None:
        raise LabError(
            f"{sys.executable} cannot be read by the user that the lab runs roomprobe as, and there is no Python of "
            "the same version in /usr/bin: please make the virtual environment with Debian's python3 in a readable folder"
        )
    packages = [Path(entry) for entry in sys.path if entry.endswith("site-packages")]
    paths = []
    for folder in (AGENT, *packages):
        where = folder
        # The virtual environment's own interpreter finds its packages itself.
        if not all(_open_to_all(path) for path in (folder, *sorted(folder.glob("*/__init__.py"))[:1])):
            where = lab.work / "readable" / folder.name
            if not where.exists():
                shutil.copytree(folder, where, ignore=shutil.ignore_patterns("__pycache__"))
                run(["chmod", "-R", "a+rX", str(lab.work / "readable")])
        elif folder is not AGENT and interpreter == sys.executable:
            continue
        paths.append(str(where))
    return interpreter, ":".join(paths)
