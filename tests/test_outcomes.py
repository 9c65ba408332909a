"""What the shipped rules say: every issuer, form and outcome of the README's table, at every station of it."""

from collections.abc import Iterator

import pytest

from gate.policy.verdict import Reason, Verdict, VerdictKind
from gate.station.prompts import explained
from gate.station.rulefiles import read_issuers, read_rules
from tests.support import outcomes

RULES, ISSUERS = read_rules(None), read_issuers(None)
LANGUAGES = ("zh", "en")


def _refusals() -> Iterator[Verdict]:
    every = outcomes.verdicts(RULES, ISSUERS)
    return (each for each in every if each.kind is not VerdictKind.GRANT)


@pytest.mark.requirement("R1")
def test_every_refusal_is_explained_to_holder_and_staff_in_two_languages() -> None:
    """A sentence and a next step each, in Chinese in Chinese letters and in English in English ones."""
    refusals = list(_refusals())
    assert {VerdictKind.DENY, VerdictKind.REFER} == {each.kind for each in refusals}
    for refusal in refusals:
        words = explained(refusal.reason, RULES.rule(refusal.rule_id), LANGUAGES)
        for said in (words.holder, words.staff, words.next_step):
            assert set(said) == set(LANGUAGES)
            assert not said["zh"].isascii(), refusal
            assert said["en"].isascii(), refusal


@pytest.mark.requirement("R2")
def test_what_we_do_not_know_never_sounds_like_a_no() -> None:
    """No REFER tells the passenger what a DENY tells, in any language."""
    told: dict[VerdictKind, set[str]] = {VerdictKind.DENY: set(), VerdictKind.REFER: set()}
    for refusal in _refusals():
        told[refusal.kind] |= set(explained(refusal.reason, RULES.rule(refusal.rule_id), LANGUAGES).holder.values())
    assert told[VerdictKind.DENY].isdisjoint(told[VerdictKind.REFER])


@pytest.mark.requirement("R2")
def test_only_a_status_told_now_is_granted_or_denied() -> None:
    """Whatever is absent, old, damaged or unanswered ends at staff, however it is shown and wherever."""
    told_now = {"GREEN", "YELLOW", "RED"}
    for shown, form, outcome in outcomes.questions(ISSUERS):
        for region in outcomes.REGIONS:
            kind = outcomes.verdict(RULES, shown, form, outcome, region).kind
            assert kind is VerdictKind.REFER or outcome in told_now, (shown, form.id, outcome, region)


@pytest.mark.requirement("R4")
def test_any_delta_code_or_card_is_enough_at_any_gate_of_the_delta() -> None:
    """A green of any of its systems, shown once: by card, or by the code alone where it is no paper."""
    delta = {"SSM", "SKM", "SCM", "XKM", "NGL", "ZJ", "AKM"}
    asked = 0
    for shown, form, outcome in outcomes.questions(ISSUERS):
        paper_alone = shown == "code alone" and getattr(form, "needs_card", False)
        if outcome != "GREEN" or paper_alone or getattr(form, "issuer", form.id) not in delta:
            continue
        for region in outcomes.REGIONS:
            decided = outcomes.verdict(RULES, shown, form, outcome, region)
            assert (decided.kind, decided.reason) == (VerdictKind.GRANT, Reason.STATUS_GREEN)
            asked += 1
    assert asked == (7 + 11 + 9) * len(outcomes.REGIONS)  # cards, forms beside a card, forms that are no paper
