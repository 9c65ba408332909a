"""`gate replay`: decide again what a journal holds, and list every record whose verdict would differ."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gate.cli.errors import NOT_SO

if TYPE_CHECKING:
    from gate.passage.record import PassageRecord
    from gate.policy.rules import RuleSet
    from gate.policy.verdict import Verdict


def replay(
    journal: Annotated[Path, typer.Argument(help="A journal file, or a journal's folder.")],
    rules: Annotated[Path | None, typer.Option(help="Folder with the rules to try; without it, those shipped.")] = None,
    as_of: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="By the rules of that day, as policy.rules_of does.")
    ] = None,
    region: Annotated[
        str, typer.Option(help="Where records of release 0.1 are from, which do not say: GB/T 2260.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Decide every recorded passage again; exit 1 when a verdict would differ or the chain is broken.

    Example: gate replay /var/lib/gate/journal --rules new-rules
    """
    from json import dumps

    from gate.config import ConfigError
    from gate.station.chain import JournalError, read_records, segments, verify_chain
    from gate.station.rulefiles import read_rules

    rule_set = read_rules(rules)
    if as_of is not None:
        if rule_set.terms_on(as_of.date()) is None:
            raise ConfigError("--as-of", f"is before the first terms: give {rule_set.terms[0].valid_from} or later")
        rule_set = rule_set.as_of(as_of.date())
    if journal.is_dir() and not segments(journal):
        raise JournalError(f"{journal}: holds no journal: give a journal file, or the folder data_dir/journal")
    problems = verify_chain(journal)
    for problem in problems:
        print(f"chain: {problem}")
    count = different = 0
    for record in read_records(journal):
        if record.decided_utc_s is None:
            continue  # nothing was looked up: an unread card, staff, crowd
        if record.rule_id == "" and record.reason not in _OF_RULES:
            continue  # refused for the credential itself, e.g. card and code of two people, before any rule
        count += 1
        verdict = _again(record, rule_set, region)
        # Anti-passback spoke after the rules had granted.
        was = ("GRANT", None) if record.reason == "ALREADY_PASSED" else (record.verdict, record.reason)
        if (verdict.kind, verdict.reason if was[1] else None) == was:
            continue
        different += 1
        row = {
            "passage_id": record.passage_id,
            "lane": record.lane,
            "was": f"{record.verdict} {record.reason}",
            "would_be": f"{verdict.kind} {verdict.reason}",
            "rule_id": verdict.rule_id,
        }
        print(dumps(row) if json else "{passage_id} lane {lane}: {was}, would be {would_be} by {rule_id}".format(**row))
    if not json:
        print(f"{count} decisions, {different} would differ, chain {'broken' if problems else 'whole'}")
    if different or problems:
        raise typer.Exit(NOT_SO)


# What `decide` answers without a rule to name.
_OF_RULES = frozenset({"RULE_SILENT", "RULES_CONTRADICT", "ALREADY_PASSED"})


def _again(record: "PassageRecord", rules: "RuleSet", region: str) -> "Verdict":
    from gate.moment import Moment
    from gate.policy.condition import Cause, Condition
    from gate.policy.decide import decide
    from gate.policy.question import Question, circumstances_from

    present = set()
    for text in record.conditions:
        cause, _, of = text.rstrip(")").partition("(")
        present.add(Condition(Cause(cause), of))
    given = circumstances_from({"region": region} | dict(record.circumstances))
    question = Question(tuple(map(_finding, record.findings)), frozenset(present), given)
    assert record.decided_utc_s is not None  # noqa: S101 - the caller leaves the others out
    return decide(question, rules, Moment(record.decided_utc_s, 0.0))


def _finding(noted: Mapping[str, Any]) -> Any:
    from gate.feed.noted import from_note

    return from_note({name: _seconds(value) if name.endswith("_utc_s") else value for name, value in noted.items()})


def _seconds(value: Any) -> float | None:
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value
