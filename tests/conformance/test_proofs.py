"""What a driver claims to have been proved by is on a closed list, and a test by name meets the named peer."""

import ast
from pathlib import Path

import pytest

from drivers import registry

TESTS = Path(__file__).parents[1]
# Independent peers: the module that a test of a driver must use to have met one, or the program that it starts. The
# test's module says so in `PROVES`, as ("modbus-relay", "pymodbus server").
PEERS = {
    "pymodbus server": "pymodbus.server",
    "minimalmodbus": "minimalmodbus",
    "libosdp PD": "osdp",
    "vpcd": "vpcd",
    "uhppoted encoder": "uhppoted",
}
PROGRAMS = ("vpcd",)  # not imported: started or connected to, so a test that names it in code has met it
Proofs = dict[tuple[str, str], list[str]]  # driver and peer: the tests that meet it


def problems(name: str, claims: tuple[str, ...], proofs: Proofs) -> list[str]:
    """What of a driver's claims does not hold."""
    found = [] if claims else [f"{name} claims nothing: at least its simulator must have run"]
    for claim in claims:
        kind, _, what = claim.partition(": ")
        if kind not in registry.PROOFS or bool(what) is (kind == "simulated"):
            found.append(f"{name}: {claim!r} is none of {', '.join(registry.PROOFS)} with what it was after a colon")
        elif kind == "independent peer" and not proofs.get((name, what)):
            found.append(f"{name}: no test runs it against {what!r}")
    return found


def proofs_of(source: str) -> Proofs:
    """The proofs that a test module names in `PROVES`, each with its tests that use the peer: code, not comments."""
    tree = ast.parse(source)
    found: Proofs = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "PROVES" for t in node.targets):
            named = ast.literal_eval(node.value)
            for driver, peer in [named] if isinstance(named, tuple) else named:
                found[driver, peer] = _tests_that_use(tree, PEERS.get(peer, ""))
    return found


def _tests_that_use(tree: ast.Module, module: str) -> list[str]:
    """Test functions that reach a name imported from `module`: by themselves, by their file's, or by a bench."""
    return sorted(name for name in _meeting(tree, module) if name.startswith("test_")) if module else []


def _meeting(tree: ast.Module, module: str) -> set[str]:
    """The functions and classes of a file, and those it takes from a bench beside the tests, that reach the peer."""
    local = {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    meets = {name for name, node in local.items() if _uses(node, module, _imported(tree, module))}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests.drivers."):
            bench = ast.parse(TESTS.joinpath(*node.module.split(".")[1:]).with_suffix(".py").read_text("utf-8"))
            there = _meeting(bench, module)
            meets |= {alias.asname or alias.name for alias in node.names if alias.name in there}
    for _ in local:  # as many steps as there are names: then nothing more is reached
        meets |= {
            name for name, node in local.items() if meets & {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        }
    return meets


def _imported(tree: ast.AST, module: str) -> set[str]:
    """The names that imports from `module`, or from below it, bind."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{module}."):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {(a.asname or a.name).split(".")[0] for a in node.names if f"{a.name}.".startswith(f"{module}.")}
    return names


def _uses(node: ast.AST, module: str, names: set[str]) -> bool:
    """Whether it uses such a name, or names such a program otherwise than in a docstring."""
    said = {id(inner.value) for inner in ast.walk(node) if isinstance(inner, ast.Expr)}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and inner.id in names:
            return True
        name = inner.id if isinstance(inner, ast.Name) else inner.attr if isinstance(inner, ast.Attribute) else ""
        if module in PROGRAMS and module in name.lower():
            return True
        text = inner.value if isinstance(inner, ast.Constant) and id(inner) not in said else None
        if module in PROGRAMS and isinstance(text, str) and module in text:
            return True
    return False


def _all() -> Proofs:
    found: Proofs = {}
    for path in sorted((TESTS / "drivers").glob("test_*.py")):
        for key, tests in proofs_of(path.read_text("utf-8")).items():
            found.setdefault(key, []).extend(tests)
    return found


@pytest.mark.parametrize("info", registry.drivers().values(), ids=list(registry.drivers()))
def test_a_driver_claims_what_was_done(info: registry.DriverInfo) -> None:
    """At least its simulator; a peer only if a test of the driver meets it; bench and field name what it was."""
    assert problems(info.name, info.proved_by, _all()) == []
    assert "simulated" in info.proved_by
    bench = [claim for claim in info.proved_by if claim.startswith(("bench", "field"))]
    assert bench or info.unproved, "never met a real device, and yet nothing is unproved"


@pytest.mark.parametrize(
    "claims",
    [
        (),
        ("field",),
        ("works",),
        ("independent peer: pymodbus server",),
        ("independent peer: mine",),
        ("simulated: x",),
    ],
)
def test_a_claim_too_much_is_found(claims: tuple[str, ...]) -> None:
    """No claim, one without what it was, one that is on no list, a peer that no test of this driver meets."""
    assert problems("samv", claims, _all())


def test_every_proof_that_a_test_names_is_a_test_s_and_a_claim() -> None:
    """A `PROVES` whose file meets no such peer, or whose driver does not claim it, is a left-over."""
    for (driver, peer), tests in _all().items():
        assert tests, f"PROVES names {peer} for {driver}, and no test of that file uses it"
        assert f"independent peer: {peer}" in registry.driver(driver).proved_by


@pytest.mark.parametrize(
    ("source", "tests"),
    [
        ("# osdp.PeripheralDevice\ndef test_a(): pass", []),
        ("import osdp\ndef test_a(): pass", []),
        ("import osdp\ndef test_a(): osdp.PeripheralDevice()", ["test_a"]),
        ("from osdp import PeripheralDevice\ndef device(): PeripheralDevice()\ndef test_a(): device()", ["test_a"]),
        ('def test_a():\n    """Against osdp."""', []),
        ("import osdp_sys\ndef test_a(): osdp_sys.PeripheralDevice()", []),
        ("from tests.drivers.pcsc_bench import service\ndef test_a(): service()", []),
    ],
)
def test_a_proof_is_a_test_that_uses_the_peer(source: str, tests: list[str]) -> None:
    """Not a comment, not an import that no test reaches, not another module, not a bench without the peer."""
    assert proofs_of(f'PROVES = [("osdp", "libosdp PD")]\n{source}') == {("osdp", "libosdp PD"): tests}


def test_a_bench_that_tests_share_counts_where_a_test_uses_what_meets_the_peer() -> None:
    """pcscd with vpcd stands in pcsc_bench: `service` starts it, `needed` only looks whether it could."""
    source = 'PROVES = ("pcsc", "vpcd")\nfrom tests.drivers.pcsc_bench import needed, service as pcscd\n'
    source += "def test_a(): pcscd()\ndef test_b(): needed()"
    assert proofs_of(source) == {("pcsc", "vpcd"): ["test_a"]}
