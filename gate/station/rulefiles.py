"""Where a station's rules, issuers and code keys come from: the shipped data, its own folder, its own file."""

import logging
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path

from gate import config
from gate.credential.forms import FormError, Issuers, parse_issuers
from gate.credential.transit import Verifier
from gate.policy.rules import RuleError, RuleSet, parse_rules
from gate.policy.verdict import Reason
from gate.sync.codekeys import load_code_keys

log = logging.getLogger(__name__)


def station_rules(policy: config.Policy) -> RuleSet:
    """The rules that a station decides by. Raises RuleError, OSError."""
    rules = read_rules(policy.rules_dir)
    if policy.rules_of is None:
        return rules
    if rules.terms_on(policy.rules_of) is None:
        first = rules.terms[0].valid_from
        raise RuleError(f"policy.rules_of: {policy.rules_of} is before the first terms: give {first} or later")
    log.warning("deciding by the rules of %s, whatever today is", policy.rules_of)
    return rules.as_of(policy.rules_of)


def unheard(rules: RuleSet, issuers: Sequence[str]) -> list[str]:
    """Those whose green no rule counts on any day: their feeds cannot let anybody through."""
    greens = [rule for rule in rules.rules if rule.reason is Reason.STATUS_GREEN]
    return [one for one in issuers if not any(rule.counts is None or one in rule.counts for rule in greens)]


def unsound(rules: RuleSet, issuers: Issuers, with_cases: Collection[str]) -> list[str]:
    """Rules that name an issuer that is none, or stand without cases: silent where they are thought to speak."""
    problems = [f"{rule.id}: has no cases.toml beside it" for rule in rules.rules if rule.id not in with_cases]
    for rule in rules.rules:
        named = sorted({*(rule.counts or ()), *rule.issuers_read} - set(issuers.by_id))
        problems += [f"{rule.id}: names {name!r}, and no issuer.toml has that id" for name in named]
    return problems


def read_rules(rules_dir: Path | None) -> RuleSet:
    """The rules in `rules_dir`, or those shipped. Raises RuleError, OSError."""
    texts = rule_texts(rules_dir)
    if not texts:
        raise RuleError(f"{rules_dir}: holds no rule.toml: give the folder of the rules, as gate/policy/recognition is")
    # Rules of one's own need no terms of their own: the shipped ones hold then.
    return parse_rules(texts, rule_texts(rules_dir, "terms.toml") or rule_texts(None, "terms.toml"))


def read_issuers(rules_dir: Path | None) -> Issuers:
    """The issuers shipped; those of `rules_dir` join them, or replace the one of the same folder. Raises RuleError."""
    texts = rule_texts(None, "issuer.toml") | (rule_texts(rules_dir, "issuer.toml") if rules_dir else {})
    try:
        return parse_issuers(texts)
    except FormError as error:
        raise RuleError(str(error)) from error


def station_issuers(settings: config.Config) -> Issuers:
    """All issuers, with the patterns that the station's file gives for codes whose string is not public."""
    issuers = read_issuers(settings.policy.rules_dir)
    for index, one in enumerate(settings.issuers):
        for number, code in enumerate(one.codes):
            try:
                issuers = issuers.with_pattern(one.id, code.host, code.pattern, code.form)
            except FormError as error:
                raise config.ConfigError(f"issuer[{index}].code[{number}]", str(error)) from error
    return issuers


def read_code_keys(settings: config.Config) -> Mapping[tuple[str, int], Verifier]:
    """The keys of signed codes. Raises KeyFileError."""
    keys: dict[tuple[str, int], Verifier] = {}
    for one in settings.issuers:
        if one.code_keys_file:
            keys |= load_code_keys(one.code_keys_file)
    return keys


def rule_texts(rules_dir: Path | None, name: str = "rule.toml") -> dict[str, str]:
    """All files called `name` below `rules_dir` (None: the shipped rules), by their path."""
    root = rules_dir or Path(str(resources.files("gate.policy").joinpath("recognition")))
    return {str(path.relative_to(root)): path.read_text("utf-8") for path in sorted(root.rglob(name))}
