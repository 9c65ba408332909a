"""The README's tables of codes: what each form needs; every issuer, form and outcome as the shipped rules decide it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby

from gate.credential.forms import CTID, SSM_TRANSIT, Form, IssuerInfo, Issuers
from gate.feed.finding import (
    Finding,
    Freshness,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Rejected,
    Rejection,
    Silence,
    Unanswered,
    Uncovered,
    Unknown,
)
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.policy.decide import decide
from gate.policy.question import Circumstances, Presented, Question
from gate.policy.rules import RuleSet
from gate.policy.verdict import Reason, Verdict

NOW = Moment(datetime(2020, 4, 1, tzinfo=UTC).timestamp(), 0.0)  # a week after the Delta rule came into force
REGIONS = {  # a station of every province of the Delta, and of every city whose own rules are shipped
    "310112": "Shanghai",
    "320100": "Nanjing",
    "320200": "Wuxi",
    "320500": "Suzhou",
    "330100": "Hangzhou",
    "340100": "Hefei",
}
_PROVINCES = {"31": "Shanghai", "32": "Jiangsu", "33": "Zhejiang", "34": "Anhui"}
_FRESH, _OLD = (Freshness(NOW.utc_s - hours * 3600) for hours in (1, 72))  # terms.toml: expired after 50 h
_CARD, _BOTH, _CODE = "ID card", "ID card and code", "code alone"
_KINDS = {_CARD: Presented.CARD, _BOTH: Presented.CARD_AND_CODE, _CODE: Presented.CODE}


def _listed(issuer: str, status: CredentialStatus, freshness: Freshness) -> Finding:
    return Listed(issuer, status, "000000", int(freshness.as_of_utc_s), None, 1, freshness)


def _says(status: CredentialStatus, freshness: Freshness) -> Callable[[str], Finding]:
    return lambda issuer: _listed(issuer, status, freshness)


# What the one issuer says that anybody has heard of this person from; the others' feeds do not have the person.
OUTCOMES: Mapping[str, Callable[[str], Finding]] = {
    **{str(status): _says(status, _FRESH) for status in CredentialStatus},
    "not listed": lambda issuer: NotListed(issuer, 1, _FRESH),
    "not covered": lambda issuer: NotCovered(issuer, 1, _FRESH, Uncovered.UNKNOWN_PERSON),
    "no feed": lambda issuer: Unknown(issuer, Missing.NO_FEED),
    "damaged store": lambda issuer: Unknown(issuer, Missing.STORE_DAMAGED),
    "expired feed: GREEN": _says(CredentialStatus.GREEN, _OLD),
    "expired feed: RED": _says(CredentialStatus.RED, _OLD),
    "expired feed: YELLOW": _says(CredentialStatus.YELLOW, _OLD),
    "issuer unreachable": lambda issuer: Unanswered(issuer, Silence.UNREACHABLE),
    "issuer: code expired": lambda issuer: Rejected(issuer, Rejection.CODE_EXPIRED),
    "issuer: nobody known": lambda issuer: Rejected(issuer, Rejection.PERSON_UNKNOWN),
}


def verdict(rules: RuleSet, shown: str, form: Form | IssuerInfo, outcome: str, region: str) -> Verdict:
    """What is decided at a station of `region` when `form` is shown so; of an issuer, when only the card is."""
    code = form if isinstance(form, Form) else None
    issuer = code.issuer if code else form.id
    given = Circumstances(
        _KINDS[shown],
        issuer if code else "",
        code.id if code else "",
        region=region,
        code_needs_card=bool(code and code.needs_card),
    )
    return decide(Question((OUTCOMES[outcome](issuer),), circumstances=given), rules, NOW)


# --- every issuer, form and outcome ----------------------------------------------------------------------------------


def outcome_table(rules: RuleSet, issuers: Issuers) -> str:
    """Rows and columns that are alike stand together."""
    rows = _grouped(rules, issuers)
    columns = [list(group) for _, group in groupby(OUTCOMES, key=lambda outcome: [cells[outcome] for cells, _ in rows])]
    lines = [f"| shown | {' | '.join(', '.join(names) for names in columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {who} | {' | '.join(cells[names[0]] for names in columns)} |" for cells, who in rows]
    unread = [f"`{form.id}`" for form in _forms(issuers) if form.layout == CTID]
    lines.append(f"| code alone: {', '.join(unread)} |" + f" REFER `{Reason.CODE_NATIONAL}` |" * len(columns))
    return "\n".join(lines)


def _grouped(rules: RuleSet, issuers: Issuers) -> list[tuple[Mapping[str, str], str]]:
    groups: dict[tuple[str, ...], list[tuple[str, Form | IssuerInfo]]] = {}
    for shown, form in _shown(issuers):
        cells = tuple(_cell(rules, shown, form, outcome) for outcome in OUTCOMES)
        groups.setdefault(cells, []).append((shown, form))
    return [(dict(zip(OUTCOMES, cells, strict=True)), _who(members)) for cells, members in groups.items()]


def _shown(issuers: Issuers) -> list[tuple[str, Form | IssuerInfo]]:
    """All that can be decided about; a code that nobody can read adds nothing to the card."""
    forms = [form for form in _forms(issuers) if form.layout != CTID]
    infos = sorted(issuers.by_id.values(), key=lambda info: info.region)
    return [(_CARD, info) for info in infos] + [(shown, form) for shown in (_BOTH, _CODE) for form in forms]


def _forms(issuers: Issuers) -> list[Form]:
    infos = sorted(issuers.by_id.values(), key=lambda info: info.region)
    return [form for info in infos for form in info.forms]


def _who(members: Sequence[tuple[str, Form | IssuerInfo]]) -> str:
    """`ID card: SSM ZJ`, then what is shown with it or instead of it."""
    lines = []
    for shown, group in groupby(members, key=lambda member: member[0]):
        names = ", ".join(f"`{form.id}`" for _, form in group)
        lines.append(f"{shown}: {names}")
    return "<br>".join(lines)


def _cell(rules: RuleSet, shown: str, form: Form | IssuerInfo, outcome: str) -> str:
    """The verdict; its reason where it is not the status itself; where it differs by region, each with its regions."""
    by_region = {region: _words(verdict(rules, shown, form, outcome, region), outcome) for region in REGIONS}
    said: dict[str, list[str]] = {}
    for region, words in by_region.items():
        said.setdefault(words, []).append(region)
    usual, *others = sorted(said, key=lambda words: -len(said[words]))
    return "; ".join([usual, *(f"{words} in {_places(said[words])}" for words in others)])


def _words(decided: Verdict, outcome: str) -> str:
    return str(decided.kind) if decided.reason == f"STATUS_{outcome}" else f"{decided.kind} `{decided.reason}`"


def _places(regions: Sequence[str]) -> str:
    """Provinces where all their stations here agree, else cities."""
    names = []
    for province, name in _PROVINCES.items():
        mine = [region for region in regions if region.startswith(province)]
        whole = mine == [region for region in REGIONS if region.startswith(province)]
        names += [name] if whole else [REGIONS[region] for region in mine]
    return ", ".join(names)


def questions(issuers: Issuers) -> list[tuple[str, Form | IssuerInfo, str]]:
    """All that the table asks, at each station of it."""
    return [(shown, form, outcome) for shown, form in _shown(issuers) for outcome in OUTCOMES]


def verdicts(rules: RuleSet, issuers: Issuers) -> Iterator[Verdict]:
    """All that the table is made of."""
    return (verdict(rules, *each, region) for each in questions(issuers) for region in REGIONS)


def deciding_rules(rules: RuleSet, issuers: Issuers) -> frozenset[str]:
    """The rules that the table is made of."""
    return frozenset(each.rule_id for each in verdicts(rules, issuers))


# --- what each form needs --------------------------------------------------------------------------------------------


def form_table(issuers: Issuers) -> str:
    """Forms that are alike stand in one line."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for form in _forms(issuers):
        name = issuers.by_id[form.issuer].name
        rows.setdefault((_recognised(form), _time(form), _offline(form)), []).append(f"`{form.id}` {name['zh']}")
    lines = ["| form | recognised by | its time | decided offline when it is shown alone |", "|---" * 4 + "|"]
    return "\n".join([*lines, *(f"| {', '.join(forms)} | {' | '.join(needs)} |" for needs, forms in rows.items())])


def _recognised(form: Form) -> str:
    if not form.known:
        return "string not public: `[[issuer.code]]`"
    if form.layout == CTID:
        return "200 bytes of CTID in base64"
    return "<br>".join(form.hosts) + (", two SM2 seals" if form.layout == SSM_TRANSIT else "")


def _time(form: Form) -> str:
    if not form.dynamic:
        return "static: never judged by time"
    own = "what the code says, else " if form.layout == SSM_TRANSIT else ""
    return f"dynamic: {own}{form.max_age_s:g} s"


def _offline(form: Form) -> str:
    """A static token is looked up in its issuer's feed whatever the form; `decides` tells where to expect one."""
    if form.needs_card:
        return "no: it counts only beside the ID card"
    if form.layout == CTID:
        return "no: only licensed readers decode it; the ID card"
    if form.dynamic:
        proof = "seals and time yes" if form.layout == SSM_TRANSIT else "time yes"
        return f"{proof}, status no: the issuer's answer or the ID card"
    if form.decides == "token-index":
        return "yes, by the token in the issuer's feed; else the issuer's answer or the ID card"
    if form.known:
        return "only where the issuer's feed has such tokens; else the issuer's answer or the ID card"
    return "no: the ID card; with `[[issuer.code]]` as far as the issuer's feed has its tokens"
