"""The words for every reason, in the station's languages, from `prompts.toml` beside this file."""

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

from gate.policy.rules import Rule, Words
from gate.policy.verdict import Reason

APPEAL_CONTACT = "12345"  # the hotline that every Delta city answers (health-codes.md (a), field guide)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one reason is called and says. All texts are by language ("zh", "en")."""

    code: str  # short, to be read over the radio
    sentence: Mapping[str, str]
    next_step: Mapping[str, str]
    spoken: Mapping[str, str] = field(default_factory=dict)  # aloud instead of both; none: both are for all to hear


@functools.cache
def prompts() -> Mapping[Reason, Prompt]:
    """All of them. Raises KeyError when a reason has no words: a test makes sure that none is missing."""
    raw = tomllib.loads(resources.files("gate.station").joinpath("prompts.toml").read_text("utf-8"))
    return {reason: Prompt(**raw[reason.name]) for reason in Reason}


def explained(reason: Reason, rule: Rule | None, languages: Sequence[str]) -> Words:
    """What holder and staff are told: the rule's words where the rule gave this reason, else the reason's."""
    if rule is not None and rule.reason is reason:
        holder, staff, next_step = rule.words.holder, rule.words.staff, rule.words.next_step
    else:
        prompt = prompts()[reason]
        holder, staff, next_step = prompt.sentence, prompt.sentence, prompt.next_step
    return Words(*({language: text[language] for language in languages} for text in (holder, staff, next_step)))
