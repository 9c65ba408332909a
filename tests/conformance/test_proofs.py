"""What a driver claims to have been proved by is on a closed list, and a test that meets the named peer is there."""

from pathlib import Path

import pytest

from drivers import registry

TESTS = Path(__file__).parents[1]
# Independent peers: what a test must import or start to have met one. The test's module says so in `PROVES`, as
# ("modbus-relay", "pymodbus server").
PEERS = {
    "pymodbus server": "pymodbus.server",
    "minimalmodbus": "import minimalmodbus",
    "libosdp PD": "osdp.PeripheralDevice",
    "vpcd": "vpcd",
    "uhppoted encoder": "uhppoted",
}


def problems(name: str, claims: tuple[str, ...], sources: list[str]) -> list[str]:
    """What of a driver's claims does not hold."""
    found = [] if claims else [f"{name} claims nothing: at least its simulator must have run"]
    for claim in claims:
        kind, _, what = claim.partition(": ")
        if kind not in registry.PROOFS or bool(what) is (kind == "simulated"):
            found.append(f"{name}: {claim!r} is none of {', '.join(registry.PROOFS)} with what it was after a colon")
        elif kind == "independent peer" and not _met(what, name, sources):
            found.append(f"{name}: no test runs it against {what!r}")
    return found


def _met(peer: str, driver: str, sources: list[str]) -> bool:
    mark = PEERS.get(peer, "")
    return bool(mark) and any(mark in source and f'("{driver}", "{peer}")' in source for source in sources)


def _sources() -> list[str]:
    return [path.read_text("utf-8") for path in (TESTS / "drivers").glob("test_*.py")]


@pytest.mark.parametrize("info", registry.drivers().values(), ids=list(registry.drivers()))
def test_a_driver_claims_what_was_done(info: registry.DriverInfo) -> None:
    """At least its simulator; a peer only if a test of the driver meets it; bench and field name what it was."""
    assert problems(info.name, info.proved_by, _sources()) == []
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
    assert problems("samv", claims, _sources())
