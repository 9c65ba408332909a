"""The words for every reason: complete in both languages, and of use to the person who reads them."""

import re

import pytest

from gate.policy.verdict import Reason
from gate.station.prompts import APPEAL_CONTACT, prompts

LANGUAGES = {"zh", "en"}
# health-codes.md R1: a non-open says what to do and where. One of these must stand in the next step.
ACTIONS = {
    "zh": ("请", "12345"),
    "en": (
        "please",
        "tap",
        "go to",
        "show",
        "use",
        "hold",
        "scan",
        "wait",
        "walk",
        "speak",
        "renew",
        "refresh",
        "leave",
    ),
}
GOES = {
    Reason.STATUS_GREEN,
    Reason.STAFF_RELEASE,
    Reason.PAPER_CONFIRMED,
    Reason.CROWD_RELEASE,
    Reason.EMERGENCY_OPEN,
    Reason.CERTIFICATE_VALID,
    Reason.WITH_GUARDIAN,
    Reason.CHECKING_ENDED,
}
OF_A_CALLER = {reason for reason in Reason if prompts()[reason].code.startswith("A")}


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_speaks_both_languages(reason: Reason) -> None:
    """Sentence and next step in zh and en, of real words: Chinese in zh, none in en, no placeholder in either."""
    prompt = prompts()[reason]
    for texts in (prompt.sentence, prompt.next_step):
        assert set(texts) == LANGUAGES
        assert re.search(r"[\u4e00-\u9fff]", texts["zh"])
        assert not re.search(r"[\u3000-\u9fff\uff00-\uffef]", texts["en"])
        for text in texts.values():
            assert text.strip() == text
            assert not re.search(r"[{}<>%_]|TODO|xxx|[A-Z]{3,}", text)


def test_codes_can_be_read_over_the_radio_and_are_unique() -> None:
    """One letter for the stage and two digits."""
    codes = [prompt.code for prompt in prompts().values()]
    assert len(set(codes)) == len(codes) == len(Reason)
    assert all(re.fullmatch(r"[GRDCQPLA]\d\d", code) for code in codes)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in GOES | OF_A_CALLER])
def test_each_refusal_says_what_to_do(reason: Reason) -> None:
    """Whoever is not let through reads in both languages what to do next."""
    for language, text in prompts()[reason].next_step.items():
        assert any(action in text.lower() for action in ACTIONS[language])


def test_only_green_and_releases_have_a_code_of_going() -> None:
    """G stands for go, and nothing else begins with it: a radio message cannot be mistaken."""
    assert {reason for reason in Reason if prompts()[reason].code.startswith("G")} == GOES


def test_not_knowing_never_sounds_like_red() -> None:
    """health-codes.md R2: what we do not know has its own words, distinct from red, and from each other."""
    for language in LANGUAGES:
        sentences = [prompts()[reason].sentence[language] for reason in Reason]
        assert len(set(sentences)) == len(sentences)


def test_red_names_whom_to_call() -> None:
    """A denial that a person may object to carries the hotline in both languages."""
    assert all(APPEAL_CONTACT in text for text in prompts()[Reason.STATUS_RED].next_step.values())
