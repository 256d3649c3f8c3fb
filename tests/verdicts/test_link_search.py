"""Which of the devices that were found is the codec, and when none is taken."""

from __future__ import annotations

import pytest

from roomprobe.link import candidates
from roomprobe.outcome import Confidence, Outcome, Reason
from tests.verdicts.linking import ALL, device


def test_the_only_device_that_answers_like_a_codec_is_taken_and_said() -> None:
    found = candidates.choose([device(1), device(2, 443), device(3, *ALL)], 23456, ())
    assert found.chosen == "fe80::3%eth0" and found.reason is None
    assert "found by itself" in found.sentence and "3 neighbours" in found.sentence
    assert candidates.choose([device(1, 23456)], 23456, ()).chosen == "fe80::1%eth0"
    assert candidates.choose([device(1, 69, 5000, 5152)], 23456, ()).chosen == "fe80::1%eth0"


def test_one_device_with_two_addresses_is_one_device() -> None:
    both = [device(3, *ALL, address="fd00:50::3"), device(3, *ALL)]
    assert candidates.choose(both, 23456, ()).chosen == "fe80::3%eth0"


def test_two_codecs_are_asked_about() -> None:
    found = candidates.choose([device(1, *ALL), device(2, *ALL)], 23456, ())
    assert (found.chosen, found.reason) == (None, Reason.SEVERAL_CODECS)
    assert "fe80::1%eth0" in found.sentence and "fe80::2%eth0" in found.sentence and "--codec" in found.sentence
    verdict = candidates.unfound(found)
    assert (verdict.outcome, verdict.confidence) == (Outcome.UNANSWERED, Confidence.NONE)


@pytest.mark.parametrize(
    ("asked", "words"), [([], "no neighbour"), ([device(1)], "none answers"), ([device(1, 443)], "not like one")]
)
def test_no_codec_is_never_a_guess(asked, words) -> None:
    found = candidates.choose(asked, 23456, ("eth0: not allowed.",))
    assert (found.chosen, found.reason) == (None, Reason.NO_CODEC)
    assert words in found.sentence
    assert any("not allowed" in note for note in candidates.notes(found))


def test_a_device_that_refuses_the_control_api_is_no_codec() -> None:
    nas = device(1, 443, 5000, 5152, refused=(69, 23456))
    found = candidates.choose([nas, device(2, 443, 5000)], 23456, ())
    assert (found.chosen, found.reason) == (None, Reason.NO_CODEC)
    found = candidates.choose([device(1, 69, 443, 5000), device(2, 443, 5000)], 23456, ())
    assert (found.chosen, found.reason) == (None, Reason.SEVERAL_CODECS)


def test_no_choice_is_made_while_some_were_not_asked() -> None:
    found = candidates.choose([device(1, *ALL)], 23456, (), unasked=8)
    assert (found.chosen, found.reason) == (None, Reason.SEVERAL_CODECS) and "8 more devices" in found.sentence
    assert "8 more devices" in candidates.choose([device(1)], 23456, (), unasked=8).sentence
