"""The controller's side of the link against far ends on loopback that play the emulator and do not keep to it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from roomprobe.evidence import Timing
from roomprobe.facts import Facts
from roomprobe.link import diagnosis
from roomprobe.link.evidence import ControllerEvidence
from roomprobe.model import Result, Verdict
from roomprobe.net import emulator
from roomprobe.net.controller import Link
from roomprobe.net.stream import Stream
from roomprobe.outcome import Outcome, Reason
from roomprobe.probes import controller
from tests.probes import peers
from tests.probes.peers import check, net, serve

Answer = bytes | None
Play = Callable[[str, bytes], Answer]
QUIET = None  # no answer, and the connection stays
FACTS = Facts(addresses=("fd00:50::10",))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("ANSWER_S", 0.2), ("AGAIN_S", 0.2), ("LATE_S", 0.3)):
        monkeypatch.setattr(emulator, name, seconds)


def plays(play: Play) -> peers.Handler:
    """An emulator; `play` may put another answer in the place of the right one: b"" ends the connection, QUIET says nothing."""

    def talk(connection: peers.socket.socket, _over: threading.Event) -> None:
        lines, number = connection.makefile("rb"), id(connection)
        while line := lines.readline():
            words = line.decode().split()
            word, said = (words[1] if words[0] == "ROOMPROBE/1" else words[0]), words[-1]
            if word == "SINK":
                lines.read(int(said) - len(line))
            right = {
                "HELLO": f"ROOMPROBE/1 CODEC {said} {'a' * 16} {number % 1000} 1.0 ::1 {connection.getpeername()[1]}",
                "PORTS": "PORTS 443",
                "PING": f"PONG {said}",
                "SINK": f"SUNK {said}",
                "SOURCE": f"DATA {said}",
                "HOLD": f"HELD {said}",
                "ALIVE": f"ALIVE {said} open",
            }[word].encode()
            answer = play(word, (right + b"\r\n").ljust(int(said) if word == "SOURCE" else 0, b"."))
            if answer == b"":
                return
            connection.sendall(answer or b"")

    return talk


async def seen(play: Play) -> tuple[ControllerEvidence, Verdict]:
    """What one port shows, and the verdict on it as if it stood on another machine."""
    with serve(plays(play), "::1") as port:
        asked = check("controller", port, address="::1", params={"ask": ["listen"], "hold_s": 0.2})
        own = net()
        own.links["::1"] = Link()
        own.links["::1"].named.set()
        evidence = await controller.run(asked, own)
    elsewhere = replace(evidence.connect, source="fd00:50::10")
    evidence = replace(evidence, connect=elsewhere)
    first = Result(check=asked, evidence=evidence, verdict=controller.judge(asked, evidence, FACTS))
    return evidence, diagnosis.refine(first, None, ())


def instead(of: str, answer: Answer, after: str = "HELLO") -> Play:
    """Right until `after` was asked; from then on `answer` in the place of the answers to `of`."""
    asked: set[str] = set()

    def play(word: str, right: bytes) -> Answer:
        asked.add(word)
        return answer if word == of and after in asked else right

    return play


async def test_an_emulator_that_keeps_to_it_is_open() -> None:
    _, verdict = await seen(lambda _, right: right)
    assert verdict.outcome is Outcome.OPEN, verdict.sentence


@pytest.mark.parametrize("of", ["SINK", "SOURCE"])
@pytest.mark.parametrize("answer", [QUIET, b"x" * 500, b"DATA 4096\r\n", b"DA", b"SUNK 1\r\n"])
async def test_a_far_end_that_takes_no_block_at_all_is_no_hole(
    of: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ethernet = Timing(rtt_ms=0.1, path_mtu=1500, segment=1428)  # loopback's own sizes are not searched
    monkeypatch.setattr(Stream, "timing", lambda _: ethernet)
    _, verdict = await seen(instead(of, answer))
    assert (verdict.outcome, verdict.reason) == (Outcome.UNANSWERED, Reason.LOSS), verdict.sentence


@pytest.mark.parametrize("answer", [b"PONG 0\r\n", b"x" * 500, b"ERROR line\r\n", b"x"])
async def test_a_wrong_answer_after_the_hold_is_no_idle_timeout(answer: Answer) -> None:
    evidence, verdict = await seen(instead("PING", answer, after="HOLD"))
    assert evidence.hold is not None and evidence.hold.end == "unproven"
    assert (verdict.outcome, verdict.reason) == (Outcome.UNANSWERED, Reason.NOT_A_CODEC)


@pytest.mark.parametrize("of", ["HOLD", "PING"])
async def test_a_program_that_hangs_is_no_idle_timeout(of: str) -> None:
    """Its kernel acknowledges what we sent, so nothing was dropped on the way."""
    evidence, verdict = await seen(instead(of, QUIET, after="HOLD"))
    assert evidence.hold is not None and evidence.hold.end == "unproven" and evidence.hold.far_side == "open"
    assert (verdict.outcome, verdict.reason) == (Outcome.UNANSWERED, Reason.NOT_A_CODEC)


async def test_an_end_as_the_hold_begins_is_told_as_an_end() -> None:
    evidence, verdict = await seen(instead("HOLD", b""))
    assert evidence.hold is not None and (evidence.hold.end, evidence.hold.again) == ("closed", "same")
    assert verdict.outcome is Outcome.UNANSWERED and "closed" in verdict.sentence


@pytest.mark.parametrize("of", ["PORTS", "PING", "SINK", "SOURCE"])
async def test_an_end_in_the_middle_is_told_as_an_end(of: str) -> None:
    _, verdict = await seen(instead(of, b""))
    assert (verdict.outcome, verdict.reason) == (Outcome.UNANSWERED, Reason.CODEC_RESTARTED)
    assert "is closed before the exchange is over" in verdict.sentence
