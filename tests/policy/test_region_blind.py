"""R13: the region inside a document's number decides nothing, and nothing of it reaches a rule."""

import ast
from pathlib import Path
from random import Random

import pytest
from stdnum.iso7064 import mod_11_2

import gate
from gate.credential.documents import Document, DocumentType, document
from gate.credential.idcard import IdCard
from gate.credential.presentation import Presentation
from gate.credential.subject import subject_key
from gate.feed.records import CredentialStatus, Kind, StatusEntry
from gate.issuers.desk import IssuerDesk
from gate.policy.condition import Cause, Condition
from gate.policy.decide import decide
from gate.policy.facts import FactBook, path_problem, weigh
from gate.policy.question import Day
from gate.station.lookup import Lookup, Scene
from gate.station.rulefiles import read_rules
from gate.sync.keyring import load_peppers
from gate.sync.store import open_store
from tests.policy.questions import REGIONS
from tests.support.region import MOMENT, NOW, NOW_S, Region, Station

RULES = read_rules(None)
PEOPLE = 120
# Hubei, Xinjiang, the four of the Delta and more: whom a gate would wrong if it looked.
_PLACES = ("420106", "650104", "310105", "330106", "320102", "340104", "110101", "440106", "210102", "540102")


def _number(place: str, born_and_sequence: str) -> str:
    body = place + born_and_sequence
    return body + mod_11_2.calc_check_digit(body)


def _pair(random: Random) -> tuple[Document, Document]:
    """Two resident's numbers that differ in the six digits of the region and the check digit alone."""
    year = random.choice([NOW.year - 70, NOW.year - 40, NOW.year - 10])
    rest = f"{year}{random.randint(1, 12):02d}{random.randint(1, 28):02d}{random.randint(0, 999):03d}"
    one, other = (document(DocumentType.RESIDENT_ID, _number(p, rest)) for p in random.sample(_PLACES, 2))
    return one, other


@pytest.mark.requirement("R13")
def test_two_documents_that_differ_in_their_region_get_the_same_verdict(tmp_path: Path) -> None:
    """Looked up in a real feed that says the same of both: question, facts and verdict are equal, field by field."""
    random, region = Random(13), Region(tmp_path, "ZJ", kind=Kind.NON_GREEN_WITH_ENROLMENT)
    peppers = load_peppers(region.pepper_file, "ZJ")
    (pepper,) = peppers.values()
    pairs, rows = [_pair(random) for _ in range(PEOPLE)], {}
    for pair in pairs:
        status = random.choice([None, *CredentialStatus])
        for one in pair if status else ():
            key = subject_key(pepper, one)
            rows[key] = StatusEntry(key, status, "330100", NOW_S - 86_400, None, partition="330100")
    Station(tmp_path / "store", region).take(region.snapshot(1, rows))
    store = open_store(tmp_path / "store", ["ZJ"])
    lookup = Lookup(store, RULES, IssuerDesk((), lambda: MOMENT), {"ZJ": peppers}, {})
    lookup.use_held_peppers()
    reasons = set()
    for pair in pairs:
        conditions = frozenset(map(Condition, random.sample(tuple(Cause), 1)))
        scene = Scene(random.choice(REGIONS), Day.CHECKING, conditions, random.random() < 0.5)
        found = [lookup.find(Presentation(IdCard(one, None, None)), scene, MOMENT) for one in pair]
        assert found[0].question == found[1].question
        assert found[0].problem is found[1].problem is None
        first, second = (decide(one.question, RULES, MOMENT) for one in found)
        assert first == second
        reasons.add(first.reason)
        _says_nothing_of(pair, found[0].question, scene)
    store.close()
    assert len(reasons) >= 8, "the claim is made of many outcomes"


def _says_nothing_of(pair: tuple[Document, Document], question: object, scene: Scene) -> None:
    terms = RULES.terms_on(MOMENT.beijing_day)
    assert terms is not None
    book = FactBook(question, weigh(question, terms, MOMENT, MOMENT), MOMENT.beijing_day)  # type: ignore[arg-type]
    told = f"{question!r} {book.counting(None)!r}"
    for place in {one.number[:6] for one in pair} - {scene.region}:
        assert place not in told, "the region of a number reached a rule"


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("path", ["holder.region", "holder.type", "holder.number", "document.type", "subject"])
def test_no_rule_can_ask_for_a_document(path: str) -> None:
    """Neither its kind nor its number nor where it was registered is a fact: such a rule cannot be read."""
    assert "is no fact" in path_problem(path)


# --- and nobody looks ------------------------------------------------------------------------------------------------

_ROOT = Path(gate.__file__).parent
# v1 is generated; sim makes people up, and judges nobody.
_SOURCES = [path for path in _ROOT.rglob("*.py") if path.relative_to(_ROOT).parts[0] not in ("v1", "sim")]
# file -> what of a number it takes apart, and why that is right.
_TAKEN_APART = {
    "credential/documents.py": {
        "number[6:14]",  # date of birth, and the age from it
        "number[:6]",  # 81, 82, 83: which kind of document it is; and the 15-digit number made 18
        "number[0]",  # 9: a foreigner's card of 2023
        "number[6:]",  # the rest of a 15-digit number
    },
}


def _slices_of_numbers(path: Path) -> set[str]:
    """Every `…number[…]` in a file, `document.number` too, and `number.startswith`, as it is written."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        value = node.value if isinstance(node, ast.Subscript | ast.Attribute) else None
        name = value.attr if isinstance(value, ast.Attribute) else value.id if isinstance(value, ast.Name) else ""
        if name != "number" or isinstance(getattr(node, "ctx", None), ast.Store):
            continue
        if isinstance(node, ast.Subscript):
            found.add(f"number[{ast.unparse(node.slice)}]")
        elif isinstance(node, ast.Attribute) and node.attr in ("startswith", "partition", "removeprefix"):
            found.add(f"number.{node.attr}")
    return found


@pytest.mark.requirement("R13")
def test_no_other_file_takes_a_number_apart() -> None:
    """Only documents.py does, for type, birth and the old form; whoever adds one more must say here why."""
    found = {str(path.relative_to(_ROOT)): _slices_of_numbers(path) for path in _SOURCES}
    assert {name: slices for name, slices in found.items() if slices} == _TAKEN_APART


def test_the_search_for_slices_sees_one(tmp_path: Path) -> None:
    """In each way that somebody might write it."""
    for text in ("region = document.number[:6]", "x = number[0:2]", "y = card.document.number.startswith('42')"):
        (tmp_path / "one.py").write_text(text)
        assert _slices_of_numbers(tmp_path / "one.py"), text
