"""A bare Debian tree to try the project's own commands in, as somebody with a new machine would.

The tree is made once with debootstrap and kept; every use gets a copy. Commands run in it with mount and process
namespaces of their own, so whatever they mount or leave running ends with them, on every exit path.
"""

from __future__ import annotations

import configparser
import contextlib
import dataclasses
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITE = "bookworm"
KEPT = Path("/var/tmp/roomprobe-fresh")
CA_INSIDE = "/etc/registries.pem"

LOOPBACK = "ip link set lo up || exit 125"
ENTER = """
mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" && mount -t sysfs -o ro sysfs "$1/sys" || exit 125
tree=$1 person=$2 folder=$3; shift 3
exec chroot --userspec="$person" "$tree" sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""


def mirror() -> list[str]:
    """The Debian mirror that this machine itself uses, or nothing (debootstrap then takes its own default)."""
    for file in sorted(Path("/etc/apt").glob("sources.list.d/*.sources")):
        text = file.read_text()
        if re.search(r"^Suites:.*\bbookworm\b", text, re.M) and (uri := re.search(r"^URIs:\s*(\S+)", text, re.M)):
            return [uri[1]]
    for file in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt").glob("sources.list.d/*.list"))):
        if file.exists() and (line := re.search(r"^deb\s+(?:\[.*?\]\s+)?(\S+)\s+bookworm\s", file.read_text(), re.M)):
            return [line[1]]
    return []


def kept_tree() -> Path:
    """The tree as debootstrap left it; made when it is not there yet (about half a minute)."""
    KEPT.mkdir(mode=0o755, exist_ok=True)
    if KEPT.is_symlink() or KEPT.stat().st_uid != os.getuid():
        raise PermissionError(f"{KEPT} belongs to somebody else")
    tree = KEPT / SUITE
    with being_made(tree) as place:
        if place is not None:
            command = ["debootstrap", "--variant=minbase", SUITE, str(place / "tree"), *mirror()]
            path = "/usr/sbin:/usr/bin:/sbin:/bin"
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PATH": path})
    return tree


@contextlib.contextmanager
def being_made(tree: Path) -> Iterator[Path | None]:
    """Where "tree" is to be made, which is put in its place when it is whole; None when it is there. Others wait."""
    with (tree.parent / f"{tree.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if tree.exists():
            yield None
            return
        place = Path(tempfile.mkdtemp(prefix="making-", dir=tree.parent))
        try:
            yield place
            (place / "tree").rename(tree)
        finally:
            shutil.rmtree(place)


def _host_ca() -> Path | None:
    named = [os.environ.get("PIP_CERT"), os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt"]
    return next((Path(n) for n in named if n and Path(n).is_file()), None)


def _pip_settings() -> dict[str, str]:
    """How this machine's pip reaches its registry: only what names servers, never what names local folders."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        key, value = name.rpartition(".")[2], value.strip("'\"")
        if key in ("index-url", "extra-index-url", "proxy", "trusted-host", "timeout", "default-timeout"):
            words = [w for w in value.split() if not w.startswith(("/", "file:"))]
            if words:
                found[key] = " ".join(words)
    return found


def remove(place: Path) -> None:
    """Removes a copy; nothing is mounted in it outside the namespaces of `Bare.run`, so it is only files."""
    subprocess.run(["rm", "-rf", "--one-file-system", str(place)], check=True)


@dataclasses.dataclass(frozen=True)
class Bare:
    """One copy of the bare tree, with this machine's way to its registries and nothing else of it."""

    tree: Path

    @classmethod
    def made_at(cls, place: Path) -> Bare:
        tree = place / "tree"
        subprocess.run(["cp", "-a", "--reflink=auto", str(kept_tree()), str(tree)], check=True)
        for name in ("resolv.conf", "hosts"):
            shutil.copyfile(f"/etc/{name}", tree / "etc" / name)
        if authority := _host_ca():
            shutil.copyfile(authority, tree / CA_INSIDE[1:])
            (tree / CA_INSIDE[1:]).chmod(0o644)
        pip = configparser.RawConfigParser()
        pip["global"] = _pip_settings() | ({"cert": CA_INSIDE} if authority else {})
        with (tree / "etc/pip.conf").open("w") as file:
            pip.write(file)
        dump = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
        ways = [line for line in dump.splitlines() if re.match(r"Acquire::(http|https|Check|Retries|Force)", line)]
        if authority:
            ways.append(f'Acquire::https::CaInfo "{CA_INSIDE}";')
        (tree / "etc/apt/apt.conf.d/90registries").write_text("\n".join(ways) + "\n")
        return cls(tree)

    def put_project(self, folder: str, owner: str = "root") -> None:
        """A copy of the working tree at `folder` inside: what git tracks or would track, nothing that was built."""
        listing = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
        names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split("\0")
        target = self.tree / folder[1:]
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
        self.run(["chown", "-R", f"{owner}:", folder], check=True)

    def run(
        self,
        command: list[str],
        *,
        person: str = "root",
        folder: str = "/",
        env: Mapping[str, str] | None = None,
        network: bool = True,
        check: bool = False,
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command inside with an almost empty environment and no standard input; its output is captured.

        Without `network` there is a loopback of its own and nothing else.
        """
        home = "/root" if person == "root" else f"/home/{person}"
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "LANG": "C.UTF-8", **(env or {})}
        private = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        return subprocess.run(
            [
                *private,
                *([] if network else ["--net"]),
                "sh",
                "-c",
                ENTER if network else LOOPBACK + ENTER,
                "enter",
                str(self.tree),
                f"{person}:",
                folder,
                *command,
            ],
            env=clean,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout_s,
        )
