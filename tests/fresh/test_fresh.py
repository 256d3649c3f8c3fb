"""The two commands on a machine that has nothing: a bare Debian tree, first as a plain user, then as root.

The tests are one story and run in this order: each stands on what the one before left behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.fresh.bare import Bare, remove

pytestmark = pytest.mark.fresh

MINE = "/home/person/roomprobe"
ROOTS = "/srv/a room probe"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    place = tmp_path_factory.mktemp("fresh")
    try:
        bare = Bare.made_at(place)
        bare.run(["useradd", "--create-home", "person"], check=True)
        bare.put_project(MINE, "person")
        bare.put_project(ROOTS)
        yield bare
    finally:
        remove(place)


def test_without_python_a_plain_user_is_told_what_to_install(bare: Bare) -> None:
    done = bare.run(["scripts/run", "--version"], person="person", folder=MINE)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "roomprobe: there is no Python here; please install Python 3.11 or newer"
        " (on Debian: apt-get install python3-venv).\n"
    )


def test_without_venv_a_plain_user_is_told_what_to_install(bare: Bare) -> None:
    bare.run(["apt-get", "update"], check=True)
    bare.run(["apt-get", "install", "-y", "--no-install-recommends", "python3"], check=True)
    done = bare.run(["scripts/run", "--version"], person="person", folder=MINE)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "roomprobe: this Python cannot make a virtual environment;"
        " please install it as root: apt-get install python3-venv.\n"
    )


def test_root_gets_what_is_missing_and_then_the_answer(bare: Bare) -> None:
    done = bare.run([f"{ROOTS}/scripts/run", "--version"])
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"roomprobe \d+\.\d+\.\d+\n", done.stdout)
    said = done.stderr.splitlines()
    assert said == [
        "roomprobe: installing Debian's python3-venv, which is missing here",
        f"roomprobe: setting up {ROOTS}/.venv, this once",
    ]


def test_without_arguments_it_is_the_demo(bare: Bare) -> None:
    done = bare.run(["scripts/run"], folder=ROOTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "setting up" not in done.stderr
    assert re.search(r"^ *F1 .*\bopen\b", done.stdout, re.M), done.stdout


def test_a_plain_user_sets_up_a_copy_of_their_own(bare: Bare) -> None:
    done = bare.run(["scripts/run", "--version"], person="person", folder=MINE)
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"roomprobe: setting up {MINE}/.venv, this once\n"


def test_packages_are_not_installed_unasked(bare: Bare) -> None:
    done = bare.run(["scripts/test"], folder=ROOTS)
    assert (done.returncode, done.stdout) == (3, "")
    assert "missing here" in done.stderr
    assert "coturn" in done.stderr
    assert done.stderr.endswith("run it with --yes if they may.\n")


def test_the_tests_set_themselves_up(bare: Bare) -> None:
    done = bare.run(["scripts/test", "--yes", "--collect-only", "-q"], folder=ROOTS, timeout_s=600)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert "installing them" in done.stderr
    assert re.search(r"^\d+ tests collected", done.stdout.splitlines()[-1])


def test_the_plain_tests_pass_without_a_network(bare: Bare) -> None:
    command = ["scripts/test", "-m", "not lab and not fresh and not browser", "-q"]
    done = bare.run(command, folder=ROOTS, env={"PYTHONASYNCIODEBUG": "1"}, network=False, timeout_s=600)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert done.stderr == ""
    assert re.search(r"\d+ passed", done.stdout.splitlines()[-1])


def test_nothing_is_left_that_keeps_services_from_starting(bare: Bare) -> None:
    assert not list((bare.tree / "usr/sbin").glob("policy-rc.d*"))
