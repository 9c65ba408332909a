"""The shipped issuers, the same with made-up strings for forms whose real one is not known, and keys of both seals."""

from functools import cache
from pathlib import Path

import pytest

from gate.credential.forms import Issuers, parse_issuers
from gate.sim.codes import SealKeys, make_seal_keys, with_made_up

RECOGNITION = Path(__file__).parents[2] / "gate" / "policy" / "recognition"
HEX = "0123456789abcdef0123456789abcdef"
NOW_S = 1_585_200_000.0  # 26 March 2020, 05:20 UTC


def texts() -> dict[str, str]:
    return {str(path.relative_to(RECOGNITION)): path.read_text("utf-8") for path in RECOGNITION.rglob("issuer.toml")}


@cache
def shipped() -> Issuers:
    return parse_issuers(texts())


@cache
def with_all() -> Issuers:
    return with_made_up(shipped())


@cache
def seal_keys() -> SealKeys:
    pytest.importorskip("tongsuopy", reason="tongsuopy (the extra sm) has no wheel for this machine")
    return make_seal_keys()
