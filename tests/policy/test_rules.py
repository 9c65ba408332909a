"""Rules as data: what is a rule, what is none and how that is told, when it is in force, and what it overrides."""

from datetime import date, timedelta
from typing import Any

import pytest

from gate.moment import Moment
from gate.policy.decide import decide
from gate.policy.rules import LANGUAGES, RULES_MAX, RuleError, parse_rules
from gate.policy.verdict import Ask, Reason, VerdictKind
from gate.station.rulefiles import rule_texts
from tests.policy.making import GREEN, NOW, TERMS, asked, files, rule_set, rule_text, told
from tests.policy.questions import instant

SAYS_GREEN = {"var": "says.GREEN"}


def test_a_rule_is_read_whole() -> None:
    """Every key of rule.toml becomes what it says."""
    text = rule_text(
        "delta/green",
        when=SAYS_GREEN,
        version="1.2.3",
        valid_until="2022-12-07",
        regions=["31", "3205", "330106"],
        counts=["SSM", "ZJ"],
        overrides=["common/grey", "common/*"],
        ask_first=["ISSUER", "CODE"],
    )
    rule = rule_set(text, rule_text("common/grey")).rule("delta/green")
    assert rule is not None
    assert (rule.version, rule.valid_from, rule.valid_until) == ("1.2.3", date(2020, 2, 1), date(2022, 12, 7))
    assert (rule.regions, rule.counts) == (("31", "3205", "330106"), {"SSM", "ZJ"})
    assert (rule.then, rule.reason) == (VerdictKind.REFER, Reason.SLIP_NEEDED)
    assert (rule.overrides, rule.ask_first) == ({"common/grey", "common/*"}, (Ask.ISSUER, Ask.CODE))
    assert set(rule.words.holder) == set(LANGUAGES) == {"zh", "en"}


_WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"valid_form": "2020-01-01"}, "unknown key 'valid_form'; allowed are ask_first, counts, "),
    "no id": ({"id": None}, "id: must be a text of 1 to 200 characters"),
    "id not small": ({"id": "Made/Up"}, "id: must be folder/rule in small letters, digits and '-'"),
    "id elsewhere": ({"id": "made/down"}, "id: 'made/down' must be the folder that it stands in"),
    "version": ({"version": "1.0"}, "version: must be three numbers, e.g. 1.0.0"),
    "version a number": ({"version": 1}, "version: must be a text"),
    "no issuer": ({"issuer": None}, "issuer: must be a text"),
    "empty source": ({"source": ""}, "source: must be a text of 1 to 200 characters"),
    "no day": ({"valid_from": None}, "valid_from: must be a day, e.g. 2020-03-26"),
    "an instant": ({"valid_from": "2020-03-26T00:00:00Z"}, "valid_from: must be a day"),
    "ends an instant": ({"valid_until": "2020-03-26T00:00:00Z"}, "valid_until: must be a day"),
    "ends at once": ({"valid_until": "2020-02-01"}, "valid_until: must be after valid_from"),
    "region of one digit": ({"regions": ["3"]}, "regions: must be a list of GB/T 2260 prefixes of 2, 4 or 6 digits"),
    "region of twelve": ({"regions": ["330100000000"]}, "regions: must be a list of"),
    "regions a text": ({"regions": "33"}, "regions: must be a list of"),
    "no region": ({"regions": []}, "regions: is empty: leave it out instead"),
    "issuer small": ({"counts": ["zj"]}, "counts: must be a list of issuers in capitals"),
    "counts nobody": ({"counts": []}, "counts: is empty"),
    "no when": ({"when_text": None}, "when: must be a text of 1 to 10000 characters"),
    "when too long": ({"when_text": f'"{"x" * 10_000}"'}, "when: must be a text"),
    "when not JSON": ({"when_text": "{"}, "when: is not JSON: "),
    "when no CertLogic": ({"when_text": '{"or": [true, false]}'}, "when: $: "),
    "when too deep": ({"when_text": '{"!": [' * 1200 + "true" + "]}" * 1200}, "when: "),
    "then": ({"then": "ALLOW"}, "then: 'ALLOW' is not one of GRANT, DENY, REFER"),
    "no then": ({"then": None}, "then: None is not one of GRANT"),
    "reason": ({"reason": "GREEN"}, "reason: 'GREEN' is not one of STATUS_GREEN, "),
    "refer for green": ({"reason": "STATUS_GREEN"}, "reason: CERTIFICATE_VALID, CHECKING_ENDED, STATUS_GREEN, WITH_G"),
    "grant for red": ({"then": "GRANT", "reason": "STATUS_RED"}, "are for GRANT, and nothing else is"),
    "grant for absence": ({"then": "GRANT", "reason": "NOT_LISTED"}, "are for GRANT, and nothing else is"),
    "deny for us": ({"then": "DENY", "reason": "FEED_EXPIRED"}, "FEED_EXPIRED is about us, not about the passenger"),
    "ask": ({"ask_first": ["MOTHER"]}, "ask_first: 'MOTHER' is not one of ISSUER, CARD, CODE"),
    "ask a text": ({"ask_first": "CARD"}, "ask_first: must be a list"),
    "ask and deny": ({"then": "DENY", "reason": "STATUS_RED", "ask_first": ["CARD"]}, "only a REFER may wait"),
    "override": ({"overrides": ["common"]}, "overrides: must be a list of rules, folders as common/*, or *"),
    "override nothing": ({"overrides": []}, "overrides: is empty"),
}


@pytest.mark.parametrize(("keys", "says"), _WRONG.values(), ids=_WRONG)
def test_a_rule_that_is_none_says_where_and_what_is_allowed(keys: dict[str, Any], says: str) -> None:
    """File, key, what is wrong, what would be right."""
    with pytest.raises(RuleError) as caught:
        parse_rules({"made/up/rule.toml": rule_text(**keys)}, {"terms.toml": TERMS})
    assert str(caught.value).startswith("made/up/rule.toml: ")
    assert says in str(caught.value)


_OURS = (
    "NOT_LISTED NOT_COVERED STORE_DAMAGED LOOKUP_LATE CLOCK_UNTRUSTED JOURNAL_FULL ISSUER_UNREACHABLE STATUS_UNKNOWN"
)
_OURS += " CODE_KEY_MISSING CODE_TIME_UNCHECKED RULE_SILENT RULE_FAILED RULES_CONTRADICT TEMPERATURE_HIGH"


@pytest.mark.parametrize("reason", _OURS.split())
@pytest.mark.requirement("R2")
def test_what_is_our_fault_can_never_be_a_no(reason: str) -> None:
    """No rule that denies somebody for it can even be written."""
    with pytest.raises(RuleError, match="is about us, not about the passenger: use REFER"):
        rule_set(rule_text(then="DENY", reason=reason))


@pytest.mark.requirement("R1")
@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[staff]", "[stuff]", "unknown key 'stuff'"),
        ('zh = "staff一"\n', "", "[staff]: needs exactly zh and en"),
        ('en = "staff one"', 'en = ""', "en: must be a text of 1 to 200 characters"),
        ('en = "staff one"', f'en = "{"x" * 201}"', "en: must be a text of 1 to 200 characters"),
        ('en = "staff one"', 'en = "staff one"\nfr = "un"', "[staff]: needs exactly zh and en"),
        ("[staff]", "[staff", "made/up/rule.toml: "),
    ],
)
def test_a_rule_without_its_words_is_refused(old: str, new: str, says: str) -> None:
    """Holder, staff and next step, in Chinese and English, as long as a sign can show."""
    text = rule_text()
    assert old in text
    with pytest.raises(RuleError) as caught:
        rule_set(text.replace(old, new, 1))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("says.GREN", "'says.GREN' is no fact: says has GREEN, "),
        ("say.GREEN", "'say.GREEN' is no fact: known are issuer.ISSUER, today, "),
        ("issuer.zj", "'issuer.zj' is no fact"),
        ("station.town", "'station.town' is no fact: station has city, province, region"),
        ("presented.number", "'presented.number' is no fact"),
        ("holder.name", "'holder.name' is no fact: holder has age"),
        ("guardian.age", "'guardian.age': guardian has no parts"),
        ("rejected.HOLDER_MUST_UPDATE", "'rejected.HOLDER_MUST_UPDATE' is no fact"),
        ("silent.LATE", "'silent.LATE' is no fact"),
        ("certified.x", "'certified.x': certified has no parts"),
        ("says.GREEN.first", "'says.GREEN.first' is no fact"),
    ],
)
@pytest.mark.parametrize("inside", [lambda one: one, lambda one: {"if": [{"!": [one]}, True, {"and": [True, one]}]}])
def test_a_mistyped_path_is_refused_when_the_rule_is_read(path: str, says: str, inside: Any) -> None:
    """However deep it stands: at the gate it would be null for ever, and the rule silent or always speaking."""
    with pytest.raises(RuleError) as caught:
        rule_set(rule_text(when=inside({"var": path})))
    assert str(caught.value).startswith("made/up/rule.toml: when: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "path", ["today", "says.RED", "says.RED.0", "issuer.ZJ", "certified.0", "degraded", "expired", "holder.age"]
)
def test_the_facts_that_there_are_may_be_read(path: str) -> None:
    """Whole, by part, and by number in a list."""
    assert len(rule_set(rule_text(when={"!": [{"var": path}]})).rules) == 1


def test_no_rules_too_many_rules_and_two_terms_are_no_rule_set() -> None:
    """An empty folder is an error, not a policy; so are a thousand and one rules, and a second or no terms.toml."""
    one = files(rule_text())
    many = {f"made/r{n}/rule.toml": rule_text(f"made/r{n}") for n in range(RULES_MAX + 1)}
    for texts, terms, says in (
        ({}, {"terms.toml": TERMS}, "no rule.toml found: without a rule every passenger is referred to staff"),
        (many, {"terms.toml": TERMS}, "1001 rules: at most 1000"),
        (one, {}, "0 files terms.toml found: exactly one"),
        (one, {"terms.toml": TERMS, "a/terms.toml": TERMS}, "2 files terms.toml found"),
    ):
        with pytest.raises(RuleError) as caught:
            parse_rules(texts, terms)
        assert says in str(caught.value)


# --- overrides -------------------------------------------------------------------------------------------------------


def _over(*texts: str) -> dict[str, set[str]]:
    return {name: set(over) for name, over in rule_set(*texts).over.items()}


def test_a_rule_overrides_by_name_by_folder_and_by_star() -> None:
    """A name is that rule, a folder all in it, a star all that have no star and do not name this rule."""
    others = [rule_text("common/a"), rule_text("common/b"), rule_text("commoner/c")]
    assert _over(rule_text("x/x", overrides=["common/a"]), *others)["x/x"] == {"common/a"}
    assert _over(rule_text("x/x", overrides=["common/*"]), *others)["x/x"] == {"common/a", "common/b"}
    assert _over(rule_text("x/x", overrides=["*"]), *others)["x/x"] == {"common/a", "common/b", "commoner/c"}


def test_a_star_gives_way_to_who_names_it_and_to_another_star() -> None:
    """By name or by folder; two stars override each other only by name."""
    star, other = rule_text("x/star", overrides=["*"]), rule_text("y/star", overrides=["*"])
    assert _over(star, rule_text("y/named", overrides=["x/star"])) == {"x/star": set(), "y/named": {"x/star"}}
    assert _over(star, rule_text("y/folder", overrides=["x/*"])) == {"x/star": set(), "y/folder": {"x/star"}}
    assert _over(star, other) == {"x/star": set(), "y/star": set()}
    by_name = rule_text("y/star", overrides=["*", "x/star"])
    assert _over(star, by_name) == {"x/star": set(), "y/star": {"x/star"}}


def test_two_stars_that_differ_contradict_each_other() -> None:
    """Neither is above the other, so a person decides."""
    rules = rule_set(
        rule_text("x/star", then="GRANT", when=SAYS_GREEN, overrides=["*"]), rule_text("y/star", overrides=["*"])
    )
    assert decide(asked(told("ZJ", GREEN)), rules, NOW).reason is Reason.RULES_CONTRADICT


def test_a_rule_of_its_own_folder_does_not_override_itself() -> None:
    """Neither by its folder nor by a star."""
    assert _over(rule_text("x/a", overrides=["x/*"]), rule_text("x/b")) == {"x/a": {"x/b"}, "x/b": set()}


@pytest.mark.parametrize("name", ["common/gray", "comon/*", "made/u"])
def test_an_override_that_names_nothing_is_refused(name: str) -> None:
    """A mistyped one would leave a contradiction for the passenger to find."""
    with pytest.raises(RuleError, match=r"made/up: overrides '.*', which is no rule here"):
        rule_set(rule_text(overrides=[name]), rule_text("common/grey"))


def test_a_ring_of_overrides_is_refused_by_name() -> None:
    """Two that override each other, and a ring by way of a third, would decide nothing."""
    pair = (rule_text("a/a", overrides=["b/b"]), rule_text("b/b", overrides=["a/a"]))
    with pytest.raises(RuleError, match="a/a: overrides itself by way of b/b"):
        rule_set(*pair)
    ring = (
        rule_text("a/a", overrides=["b/b"]),
        rule_text("b/b", overrides=["c/*"]),
        rule_text("c/c", overrides=["a/a"]),
    )
    with pytest.raises(RuleError, match="a/a: overrides itself by way of b/b, c/c"):
        rule_set(*ring)


def test_two_rules_of_one_id_are_refused() -> None:
    """Of two folders that end alike, only one may be there."""
    with pytest.raises(RuleError, match="two rules have one id"):
        parse_rules({"made/up/rule.toml": rule_text(), "old/made/up/rule.toml": rule_text()}, {"terms.toml": TERMS})


# --- in force --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R18")
def test_days_are_those_of_beijing() -> None:
    """2020-03-25T16:00Z is the 26th of March, the first day of one rule and the day after the last of another."""
    rules = rule_set(rule_text("early/rule", valid_until="2020-03-26"), rule_text("late/rule", valid_from="2020-03-26"))
    switch = instant("2020-03-25T16:00:00+00:00")
    assert decide(asked(), rules, switch).rule_id == "late/rule"
    assert decide(asked(), rules, switch.plus(-1)).rule_id == "early/rule"


def test_a_rule_holds_where_its_regions_say() -> None:
    """A province, a city, a district, by prefix; a station that does not say where it is has them all."""
    rules = rule_set(
        rule_text("a/province", regions=["32"]),
        rule_text("b/city", regions=["3205", "3301"]),
        rule_text("c/district", regions=["320509"]),
        rule_text("d/all"),
    )
    day = date(2020, 5, 20)
    holding = {
        "320509": "abcd", "320505": "abd", "320100": "ad", "330106": "bd", "310112": "d", "": "abcd"
    }  # fmt: skip
    for region, expected in holding.items():
        assert "".join(rule.id[0] for rule in rules.in_force(day, region)) == expected, region


def test_rules_of_a_day_speak_whatever_day_is_asked_about() -> None:
    """`as_of` pins rules and terms; the rule set itself stays as it was."""
    later = TERMS.replace("2020-02-01", "2020-03-26").replace("repeat_after_s = 120", "repeat_after_s = 60")
    rules = rule_set(
        rule_text("early/rule", valid_until="2020-03-26"),
        rule_text("late/rule", valid_from="2020-03-26"),
        terms=TERMS + later,
    )
    pinned = rules.as_of(date(2020, 3, 1))
    for one, rule_id, repeat_s in ((pinned, "early/rule", 120), (rules, "late/rule", 60)):
        assert decide(asked(), one, NOW).rule_id == rule_id
        terms = one.terms_on(NOW.beijing_day)
        assert terms is not None
        assert terms.repeat_after_s == repeat_s


def test_many_days_and_regions_are_asked_about_and_few_remembered() -> None:
    """A till that asks for every day of a year and every region gets each right, in bounded memory."""
    rules = rule_set(rule_text("a/spring", valid_until="2020-06-01"), rule_text("b/later", valid_from="2020-06-01"))
    for number in range(400):
        day = date(2020, 2, 1) + timedelta(days=number)
        (rule,) = rules.in_force(day, f"{110000 + number}")
        assert rule.id == ("a/spring" if day < date(2020, 6, 1) else "b/later")
    assert len(rules._in_force) <= 64


def test_before_the_first_terms_nothing_is_decided() -> None:
    """A clock that stands in 2019, or a journey into the past, is nobody's rule: staff."""
    verdict = decide(asked(told("ZJ", GREEN)), rule_set(rule_text(when=SAYS_GREEN, then="GRANT")), Moment(1.5e9, 0.0))
    assert (verdict.kind, verdict.reason, verdict.rule_id) == (VerdictKind.REFER, Reason.RULE_SILENT, "")


def test_a_new_province_joins_by_a_folder_alone() -> None:
    """Beside the shipped rules, all of them unchanged: its green opens a gate from its day on, and did not before."""
    shipped = rule_texts(None)
    sichuan = rule_text(
        "memoranda/sichuan-code-in-zhejiang",
        when=SAYS_GREEN,
        then="GRANT",
        valid_from="2020-04-01",
        regions=["33"],
        counts=["SC"],
        overrides=["common/not-recognised"],
    )
    terms = rule_texts(None, "terms.toml")
    joined = parse_rules(shipped | files(sichuan), terms)
    green = asked(told("SC", GREEN, asserted_by="510000"), region="330100")
    for rules, day, expected in (
        (parse_rules(shipped, terms), NOW, Reason.NOT_RECOGNISED_HERE),
        (joined, NOW, Reason.STATUS_GREEN),
        (joined, instant("2020-03-31T23:59+08:00"), Reason.FEED_EXPIRED),
    ):
        assert decide(green, rules, day).reason is expected


# --- instead of a grant ----------------------------------------------------------------------------------------------

LOOK = rule_text("x/look", reason="TEMPERATURE_HIGH", instead_of="GRANT")
GREEN_PASSES = rule_text("a/green", when=SAYS_GREEN, then="GRANT")


def test_a_second_look_takes_a_grant_and_adds_nothing_to_the_rest() -> None:
    """It speaks alone where all others grant; not beside a refusal, nor beside silence, nor where it is overridden."""
    green = asked(told("ZJ", GREEN))
    taken = decide(green, rule_set(LOOK, GREEN_PASSES), NOW)
    assert (taken.kind, taken.reason, taken.rule_id) == (VerdictKind.REFER, Reason.TEMPERATURE_HIGH, "x/look")
    assert [str(one) for one in taken.spoken] == ["a/green GRANT STATUS_GREEN", "x/look REFER TEMPERATURE_HIGH"]
    refused = rule_text("a/no", then="DENY", reason="LOCAL_CODE_REQUIRED")
    assert decide(green, rule_set(LOOK, refused), NOW).reason is Reason.LOCAL_CODE_REQUIRED
    assert decide(green, rule_set(LOOK, GREEN_PASSES, refused), NOW).reason is Reason.RULES_CONTRADICT
    assert decide(green, rule_set(LOOK), NOW).reason is Reason.RULE_SILENT
    over = rule_text("a/green", when=SAYS_GREEN, then="GRANT", overrides=["x/*"])
    assert decide(green, rule_set(LOOK, over), NOW).kind is VerdictKind.GRANT


@pytest.mark.parametrize(
    "keys", [{"instead_of": "DENY"}, {"instead_of": True}, {"then": "DENY"}, {"then": "GRANT"}, {"overrides": ["*"]}]
)
def test_a_second_look_that_is_more_than_one_is_refused(keys: dict[str, Any]) -> None:
    """It stands in place of a grant, refers, and overrides nobody."""
    with pytest.raises(RuleError, match="instead_of"):
        rule_set(rule_text(**({"instead_of": "GRANT"} | keys)))
