"""What health-codes.md demands and which tests prove it: `python -m tests.support.requirements` (`make conformance`).

A test says so with `@pytest.mark.requirement("R5")`, at a function, a class or as the module's `pytestmark`.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support import certlogic

ROOT = Path(__file__).parents[2]
# health-codes.md (c), in a few words.
REQUIREMENTS: Mapping[str, str] = {
    "R1": "every refusal is explained, in two languages",
    "R2": "green is never invented",
    "R3": "the code is never the sole credential",
    "R4": "one presentation is enough",
    "R5": "status comes from issuers' data only; no replay of a dynamic code",
    "R6": "no stale colour",
    "R7": "an issuer's collapse is survived",
    "R8": "provenance is kept; many sudden reds are told",
    "R9": "no look-up of persons",
    "R10": "nothing worth stealing is held",
    "R11": "what is displayed is masked",
    "R12": "a reference leads to the record and to nobody's name",
    "R13": "the region of a document number decides nothing",
    "R14": "speed; one result, one passage",
    "R15": "safety comes before the health check",
    "R16": "parsing is robust",
    "R17": "every vendor's numbers are mapped one by one",
    "R18": "no expiry by a clock in doubt",
    "R19": "children and dependants pass with their guardian",
    "R20": "one switch ends it all",
}
# health-codes.md (b): what a gate must do with each system.
ROWS: Mapping[str, str] = {
    "row:SSM": "Shanghai: three forms; seals and time offline; paper only with ID",
    "row:ZJ": "Zhejiang: parameters before '#'; the ID where the token is not known",
    "row:SKM": "Jiangsu: the complete string, a named verifier; yellow and red barred",
    "row:SCM": "Suzhou: green-pending to staff; local people without a code to staff",
    "row:XKM": "Wuxi: green and red; no code, no ride; paper needs ID",
    "row:NGL": "Nanjing: what is unknown goes to staff, never through",
    "row:AKM": "Anhui: parameters after '#'; yellow is checked again",
    "row:NATIONAL": "national: recognised only; the ID card is asked for",
}
KNOWN: Mapping[str, str] = {**REQUIREMENTS, **ROWS}
# Issue 4 begins: "R1-R6, R13, R14 (the decision's part) and R16-R19 here, R7 and R8 begun here"; and every row of (b).
ASSIGNED = frozenset({*(f"R{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 13, 14, 16, 17, 18, 19)), *ROWS})


def proofs(folder: Path = ROOT / "tests") -> Mapping[str, list[str]]:
    """Requirement -> the tests that claim to prove it, as pytest names them."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        for requirement, name in _claims(ast.parse(path.read_text("utf-8"))):
            found.setdefault(requirement, []).append(f"{path.relative_to(folder.parent)}::{name}")
    return found


def _claims(module: ast.Module) -> Iterator[tuple[str, str]]:
    """(requirement, test) of every test in a module; marks of a module or class are marks of its tests."""
    of_module = [mark for node in module.body if _is_pytestmark(node) for mark in _marks(node)]
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            of_class = of_module + [mark for each in node.decorator_list for mark in _marks(each)]
            tests = [(f"{node.name}::", each, of_class) for each in node.body]
        else:
            tests = [("", node, of_module)]
        for before, test, marks in tests:
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and test.name.startswith("test_"):
                own = marks + [mark for each in test.decorator_list for mark in _marks(each)]
                yield from ((mark, before + test.name) for mark in dict.fromkeys(own))


def _is_pytestmark(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else ()
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in targets)


def _marks(node: ast.AST) -> list[str]:
    """What `….mark.requirement(…)` names within `node`; pytest.param(…, marks=…) counts, as a part of its test."""
    calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "requirement"]
    return [str(arg.value) for call in named for arg in call.args if isinstance(arg, ast.Constant)]


def missing(found: Mapping[str, list[str]]) -> list[str]:
    """What issue 4 assigns and no test proves."""
    return [each for each in KNOWN if each in ASSIGNED and each not in found]


def unknown(found: Mapping[str, list[str]]) -> list[str]:
    """What tests claim to prove and nobody demands."""
    return sorted(set(found) - set(KNOWN))


def main() -> int:
    """Print CertLogic's counts and requirement -> tests; 1 when something assigned is not proven."""
    good = True
    for suite, (passed, total) in certlogic.counts().items():
        print(f"CertLogic {suite}: {passed} of {total}")
        good &= passed == total > 0
    found = proofs()
    for requirement, sentence in KNOWN.items():
        tests = found.get(requirement, [])
        lacks = "" if tests else ": NO TEST" if requirement in ASSIGNED else ": not of this stage"
        print(f"\n{requirement} {sentence}{lacks}")
        print("".join(f"    {test}\n" for test in tests), end="")
    wrong = [f"no test proves {each}" for each in missing(found)]
    wrong += [f"{each} is no requirement: {', '.join(found[each])}" for each in unknown(found)]
    print("\n" + ("\n".join(wrong) or "every assigned requirement has its tests"))
    return 0 if good and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
