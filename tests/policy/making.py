"""Rules and findings made up for a test, in one line each."""

import json
from collections.abc import Mapping
from typing import Any

from gate.feed.finding import Freshness, Listed
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.policy.question import Circumstances, Question
from gate.policy.rules import RuleSet, parse_rules

GREEN, YELLOW, RED = CredentialStatus.GREEN, CredentialStatus.YELLOW, CredentialStatus.RED
NOW = Moment(1_590_000_000.0, 0.0)  # 2020-05-20T18:40Z
TERMS = """
[[terms]]
valid_from = 2020-02-01
repeat_after_s = 120
code_skew_s = 30
answers_kept_s = 60
guardian_window_s = 20
guardian_dependants_max = 3
minor_below = 18
senior_from = 60
fever_from_c = 37.3
temperature_within_s = 3
[terms.freshness]
aged_after_h = 26
expired_after_h = 50
"""
WORDS = "".join(f'[{key}]\nzh = "{key}一"\nen = "{key} one"\n' for key in ("holder", "staff", "next_step"))


def rule_text(rule_id: str = "made/up", when: Any = True, then: str = "REFER", **keys: Any) -> str:
    """A whole rule.toml. `when` is CertLogic as Python values, or `when_text` as it stands; None leaves a key out."""
    plain: dict[str, Any] = {
        "id": rule_id,
        "version": "1.0.0",
        "issuer": "a test",
        "source": "a test",
        "valid_from": "2020-02-01",
        "when": keys.pop("when_text", json.dumps(when)),
        "then": then,
        "reason": {"GRANT": "STATUS_GREEN", "DENY": "STATUS_RED", "REFER": "SLIP_NEEDED"}.get(then, "SLIP_NEEDED"),
    }
    lines = []
    for key, value in (plain | keys).items():
        if value is not None:  # JSON's texts and lists of texts are TOML's; days stand without quotes
            lines.append(f"{key} = {value if key.startswith('valid_') else json.dumps(value)}\n")
    return "".join(lines) + WORDS


def rule_set(*texts: str, terms: str = TERMS) -> RuleSet:
    """The rules of these texts, each in the folder that its id names."""
    return parse_rules(files(*texts), {"terms.toml": terms})


def files(*texts: str) -> Mapping[str, str]:
    """The texts by the path that each belongs to."""
    return {f"{text.split(chr(34))[1]}/rule.toml": text for text in texts}


def told(issuer: str, status: CredentialStatus, age_h: float = 1, **more: Any) -> Listed:
    """What a feed says of somebody."""
    values: dict[str, Any] = {"asserted_by": "310000", "effective_utc_s": 0, "valid_until_utc_s": None, "sequence": 1}
    return Listed(issuer, status, **(values | more), freshness=Freshness(NOW.utc_s - age_h * 3600))


def asked(*findings: Any, **circumstances: Any) -> Question:
    """These findings, under these circumstances."""
    return Question(findings, circumstances=Circumstances(**circumstances))
