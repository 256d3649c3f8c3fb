"""What the repository itself promises: pinned locks, the scripts' manners, the documents people look for."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import roomprobe

ROOT = Path(__file__).resolve().parents[1]
OURS = ("scripts/run", "scripts/test", "scripts/check", "scripts/lab", "scripts/bench")
SCRIPTS = (*OURS, ".ci/run")
LOCKS = ("build", "run", "test")


def locked(name: str) -> dict[str, list[str]]:
    """Package → hashes, of one lock file."""
    found: dict[str, list[str]] = {}
    for entry in (ROOT / f"requirements/{name}.txt").read_text().replace("\\\n", " ").splitlines():
        pin = re.match(r"([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==[\w.]+", entry)
        assert pin, f"{entry[:60]!r} is no pinned package"
        found[pin[0]] = re.findall(r"--hash=sha256:[0-9a-f]{64}", entry)
    return found


def asked(name: str) -> set[str]:
    """Packages of one .in file, without the files that it refers to."""
    lines = (ROOT / f"requirements/{name}.in").read_text().splitlines()
    return {line for line in lines if line and not line.startswith(("#", "-"))}


@pytest.mark.parametrize("name", LOCKS)
def test_everything_installed_is_pinned_with_hashes(name: str) -> None:
    assert all(locked(name).values())
    assert asked(name) <= {pin.partition("==")[0] for pin in locked(name)}


@pytest.mark.parametrize("name", LOCKS)
def test_locks_name_no_server_and_no_folder(name: str) -> None:
    text = (ROOT / f"requirements/{name}.txt").read_text()
    assert not re.search(r"https?:|file:|/|--index|--extra|--find-links|--trusted", text)


def test_the_tests_run_what_is_shipped() -> None:
    assert locked("run").items() <= locked("test").items()


def test_setup_cfg_asks_for_what_the_lock_pins() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    always = set(setup["options"]["install_requires"].split())
    extra = {package for packages in setup["options.extras_require"].values() for package in packages.split()}
    assert always | extra == asked("run")
    assert not always & extra


def test_the_version_stands_in_the_changelog_or_is_unreleased() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[(Unreleased|{re.escape(roomprobe.__version__)})\]", text, re.M)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_can_be_started_and_parsed(script: str) -> None:
    assert (ROOT / script).stat().st_mode & stat.S_IXUSR
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "systemd", "packaging", "docs/decisions"]
)
def test_what_people_look_for_is_there(name: str) -> None:
    assert (ROOT / name).exists()


# A Python that plays at making environments and notes what it was asked; `-c` is the real one.
FAKE_PYTHON = """#!/bin/sh
case "$1 $2" in
    -c*) exec "{real}" "$@" ;;
    "-m venv")
        mkdir -p "$4/bin" && ln -sf "$0" "$4/bin/python" && echo venv >>{log} ;;
    "-m pip")
        echo "pip $*" >>{log}
        case "$*" in
            *{broken}*) echo "no such package here"; exit 1 ;;
            *--editable*) printf '#!/bin/sh\\nprintf "%%s\\\\n" ran "$@"\\n' >"${{0%/python}}/roomprobe" ;
                          chmod +x "${{0%/python}}/roomprobe" ;;
        esac
        echo "chatter of pip" ;;
esac
"""


class Copy:
    """The scripts and locks in a folder of their own, with the fake Python in front of the real ones."""

    def __init__(self, place: Path) -> None:
        self.root = place / "a tree with spaces"
        for name in ("scripts", "requirements"):
            shutil.copytree(ROOT / name, self.root / name)
        for name in ("setup.cfg", "pyproject.toml"):
            shutil.copy(ROOT / name, self.root)
        self.log = place / "log"
        self.python = place / "python"
        self.pip_works()

    def pip_works(self, broken: str = "nothing-is-broken") -> None:
        self.python.unlink(missing_ok=True)
        self.python.write_text(FAKE_PYTHON.format(real=sys.executable, log=self.log, broken=broken))
        self.python.chmod(0o755)

    def run(
        self, *arguments: str, script: Path | None = None, cwd: Path = Path("/"), **more: str
    ) -> tuple[int, str, str]:
        env = {k: v for k, v in os.environ.items() if k not in ("ROOMPROBE_VENV", "CI")}
        env |= {"ROOMPROBE_PYTHON": str(self.python), **more}
        done = subprocess.run(
            [str(script or self.root / "scripts/run"), *arguments],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    @property
    def steps(self) -> list[str]:
        """What the fake Python was asked since the last look."""
        if not self.log.exists():
            return []
        text = self.log.read_text()
        self.log.unlink()
        return ["editable" if "--editable" in line else line.split()[0] for line in text.splitlines()]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


SET_UP = ["venv", "pip", "editable"]


def test_run_sets_up_once_and_then_only_runs(copy: Copy) -> None:
    status, out, err = copy.run("--version", "two words")
    assert (status, out) == (0, "ran\n--version\ntwo words\n")
    assert err == f"roomprobe: setting up {copy.root}/.venv, this once\n"
    assert copy.steps == SET_UP
    assert copy.run("--version") == (0, "ran\n--version\n", "")
    assert copy.steps == []


def test_run_without_arguments_is_the_demo(copy: Copy) -> None:
    assert copy.run()[:2] == (0, "ran\ndemo\n")


def test_run_works_through_a_link_from_any_folder(copy: Copy, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("a tree with spaces/scripts/run")
    assert copy.run("plan", script=link, cwd=tmp_path)[:2] == (0, "ran\nplan\n")


def _started(copy: Copy, *command: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("ROOMPROBE_VENV", "CI")}
    env |= {"ROOMPROBE_PYTHON": str(copy.python), **more}
    return subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )


def test_run_can_be_started_in_every_way(copy: Copy, tmp_path: Path) -> None:
    scripts = copy.root / "scripts"
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "scripts").mkdir(parents=True)
    for command, cwd, more in (
        (("bash", "run"), scripts, {}),
        (("sh", "run"), scripts, {}),
        (("sh", "scripts/run"), copy.root, {}),
        (("bash", "run"), scripts, {"PATH": f"{scripts}:{os.environ['PATH']}"}),
        (("run",), elsewhere, {"PATH": f"{scripts}:{os.environ['PATH']}"}),
        (("bash", "scripts/run"), copy.root, {"CDPATH": f".:{elsewhere}"}),
        (("bash", "scripts/run"), copy.root, {"CDPATH": str(elsewhere)}),
    ):
        done = _started(copy, *command, "plan", cwd=cwd, **more)
        assert (done.returncode, done.stdout) == (0, "ran\nplan\n"), (command, done.stderr)


@pytest.mark.parametrize("script", OURS)
def test_every_script_finds_itself_the_same_way(script: str) -> None:
    begin = (ROOT / "scripts/run").read_text().split("\n", 2)[2].partition("\nvenv=")[0]
    assert "BASH_SOURCE" in begin
    assert (ROOT / script).read_text().split("\n", 2)[2].startswith(begin)


def test_a_script_whose_parts_are_missing_does_not_look_like_an_answer(copy: Copy) -> None:
    (copy.root / "scripts/common.sh").unlink()
    status, out, err = copy.run("plan")
    assert (status, out) == (3, "")
    assert "common.sh" in err
    (copy.root / "requirements/run.txt").unlink()
    shutil.copy(ROOT / "scripts/common.sh", copy.root / "scripts")
    status, out, err = copy.run("plan")
    assert (status, out) == (3, "")
    assert "requirements/run.txt" in err


def test_set_up_needs_no_temporary_folder_and_leaves_nothing_in_one(copy: Copy, tmp_path: Path) -> None:
    assert copy.run("plan", TMPDIR="/no/such/folder")[:2] == (0, "ran\nplan\n")
    assert copy.steps == SET_UP
    _python_gone(copy)
    place = tmp_path / "temporary"
    place.mkdir()
    slow = copy.python.read_text().replace('echo "pip $*"', f'ls -A "{place}" >>"{tmp_path}/seen"; echo "pip $*"')
    copy.python.write_text(slow)
    assert copy.run("plan", TMPDIR=str(place))[:2] == (0, "ran\nplan\n")
    assert (tmp_path / "seen").read_text() == ""


def test_a_failed_set_up_says_so_and_heals(copy: Copy) -> None:
    copy.pip_works(broken="--editable")
    status, out, err = copy.run("plan")
    assert (status, out) == (3, "")
    assert "no such package here" in err
    assert "what pip said stands above" in err
    assert copy.steps == SET_UP
    copy.pip_works()
    assert copy.run("plan")[:2] == (0, "ran\nplan\n")
    assert copy.steps == SET_UP


def _other_lock(copy: Copy) -> None:
    with (copy.root / "requirements/run.txt").open("a") as file:
        file.write("\n")


def _moved(copy: Copy) -> None:
    copy.root = copy.root.rename(copy.root.with_name("moved"))


def _python_gone(copy: Copy) -> None:
    (copy.root / ".venv/bin/python").unlink()


def _stamp_torn(copy: Copy) -> None:
    (copy.root / ".venv/roomprobe-run").write_text("")


@pytest.mark.parametrize("change", [_other_lock, _moved, _python_gone, _stamp_torn])
def test_a_change_makes_the_environment_again(copy: Copy, change: Callable[[Copy], None]) -> None:
    copy.run("plan")
    assert copy.steps == SET_UP
    change(copy)
    assert copy.run("plan")[:2] == (0, "ran\nplan\n")
    assert copy.steps == SET_UP


def test_a_python_asked_for_by_name_is_the_only_one_tried(copy: Copy) -> None:
    status, out, err = copy.run("plan", ROOMPROBE_PYTHON="/no/such/python")
    assert (status, out) == (3, "")
    assert err == (
        "roomprobe: ROOMPROBE_PYTHON is /no/such/python, which is no Python 3.11 or newer"
        " that can make a virtual environment.\n"
    )


def test_two_at_once_set_up_once(copy: Copy) -> None:
    command = [str(copy.root / "scripts/run"), "plan"]
    env = {**os.environ, "ROOMPROBE_PYTHON": str(copy.python)}
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [p.communicate(timeout=60)[0] for p in both] == ["ran\nplan\n"] * 2
    assert copy.steps == SET_UP


def test_a_folder_that_cannot_be_written_is_said(copy: Copy) -> None:
    place = copy.root / "no such folder"
    status, out, err = copy.run("plan", ROOMPROBE_VENV=str(place / "venv"))
    assert (status, out) == (3, "")
    assert err.startswith(f"roomprobe: {place} cannot be written by you; ")
    assert copy.steps == []


@pytest.mark.skipif(os.geteuid() != 0, reason="scripts/test asks for root before anything else")
def test_packages_are_never_installed_unasked(copy: Copy) -> None:
    (copy.root / "scripts/peers.txt").write_text("no-such-package-at-all\n")
    (copy.root.parent / "apt-get").write_text(f"#!/bin/sh\necho apt-get >>{copy.log}\n[ $1 = update ]\n")
    (copy.root.parent / "apt-get").chmod(0o755)
    path = f"{copy.root.parent}:{os.environ['PATH']}"
    status, out, err = copy.run(script=copy.root / "scripts/test", PATH=path)
    assert (status, out) == (3, "")
    assert "missing here: no-such-package-at-all" in err
    assert err.endswith("nobody is here to ask whether they may be installed; run it with --yes if they may.\n")
    assert set(copy.steps) == {"apt-get"}
