"""Who may import whom: the table of architecture.md, compared with what the code imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

_PURE = {"credential", "feed", "policy", "passage", "moment"}
# Room -> rooms of ours that it may import. "driver contract" and so on stand for modules of drivers/.
MAY: dict[str, set[str]] = {
    "moment": set(),
    "credential": {"moment"},
    "feed": {"moment"},
    "policy": {"credential", "feed", "moment"},
    "passage": {"credential", "feed", "policy", "moment"},
    "tomltable": {"drivers.registry"},
    "places": {"drivers.registry", "tomltable"},
    "cardschemes": {"drivers.registry", "tomltable", "credential"},
    "lanesettings": {"drivers.registry", "tomltable", "places", "cardschemes"},
    "config": {"drivers.registry", "tomltable", "issuersettings", "policysettings", "places", "lanesettings"},
    "devicewire": {"v1", "drivers.contract"},
    "agent": {"config", "tomltable", "devicewire", "v1", "drivers", "station", "rpc"},  # its deputy is a small station
    "issuersettings": {"tomltable"},
    "policysettings": {"tomltable"},
    "sync": {"feed", "moment", "config"},
    "issuers": {"credential", "feed", "moment", "config", "issuersettings"},
    "station": _PURE | {"sync", "issuers", "config", "issuersettings", "drivers.contract", "drivers.registry"},
    "rpc": _PURE | {"station", "config", "devicewire", "v1", "drivers.contract"},
    "sim": {"*"},
    "cli": {"*"},
    "__main__": {"cli"},
    "v1": {"v1"},
}
_DRIVER_PARTS = {"contract", "registry", "transport"}
# What only computes. A pure room imports nothing else from outside.
_COMPUTES = {
    "abc", "base64", "binascii", "bisect", "collections", "csv", "dataclasses", "datetime", "decimal", "enum",
    "functools", "hashlib", "hmac", "itertools", "json", "math", "operator", "re", "stdnum", "string", "struct",
    "tomllib", "typing", "unicodedata", "urllib.parse", "zlib", "cryptography", "numpy",
}  # fmt: skip
_READS_FILES = {"open", "read_text", "read_bytes", "write_text", "write_bytes"}
_CLOCKS = {
    ("time", "time"), ("time", "monotonic"), ("time", "time_ns"), ("time", "monotonic_ns"), ("time", "perf_counter"),
    ("datetime", "now"), ("datetime", "utcnow"), ("date", "today"),
}  # fmt: skip
# Not a controller's decisions: what a person runs by hand, the demonstration, and processes of their own, whose
# clock is monotonic (the feed process judges by the station's clock, handed over as an offset).
_OWN_CLOCK = ("gate/cli/", "gate/sim/", "gate/sync/worker.py", "gate/station/clock.py", "drivers/")


def imported(source: str) -> Iterator[str]:
    """Full names of all modules that a source imports, wherever the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide their room"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: str) -> str:
    """The room of a file of gate/, e.g. "policy" for gate/policy/rules.py."""
    return path.removeprefix("gate/").split("/")[0].removesuffix(".py")


def problems(path: str, source: str) -> list[str]:
    """What a file imports or does that its room may not."""
    if path.startswith("drivers/"):
        return _driver_problems(path, source)
    room = room_of(path)
    if room == "__init__":
        return []
    found = [f"{path} imports {name}" for name in imported(source) if not _allowed(room, name)]
    if room in _PURE:
        found += [f"{path} imports {name}, which does not only compute" for name in imported(source) if _acts(name)]
        found += [f"{path} reads a file" for call in _calls(source) if call[1] in _READS_FILES]
    if not path.startswith(_OWN_CLOCK):
        found += [f"{path} reads a clock: {'.'.join(call)}" for call in _calls(source) if call in _CLOCKS]
    return found


def _allowed(room: str, name: str) -> bool:
    parts = name.split(".")
    if parts[0] not in ("gate", "drivers") or "*" in MAY[room]:
        return True
    if parts == ["gate"]:
        return True
    if parts[0] == "drivers":
        return len(parts) == 1 or any(name.startswith(each) for each in MAY[room] if each.startswith("drivers"))
    return parts[1] in MAY[room] | {room}


def _acts(name: str) -> bool:
    if name.split(".")[0] in ("gate", "drivers"):
        return False
    return not any(name == each or name.startswith(f"{each}.") for each in _COMPUTES)


def _driver_problems(path: str, source: str) -> list[str]:
    names = list(imported(source))
    found = [f"{path} imports {name}" for name in names if name.split(".")[0] == "gate"]
    stdlib_only = path == "drivers/contract.py" or path.endswith("/codec.py")
    if stdlib_only:
        ours = [name for name in names if name.startswith("drivers.") and not name.startswith("drivers.contract")]
        found += [f"{path} imports {name}" for name in ours]
        found += [f"{path} imports {name}" for name in names if not name.startswith("drivers") and _acts(name)]
    return found


def _calls(source: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield getattr(node.func.value, "id", getattr(node.func.value, "attr", "")), node.func.attr
            elif isinstance(node.func, ast.Name):
                yield "", node.func.id


def _sources() -> list[str]:
    files = [*(ROOT / "gate").rglob("*.py"), *(ROOT / "drivers").rglob("*.py")]
    return sorted(str(file.relative_to(ROOT)) for file in files if "/v1/" not in str(file))


def test_every_file_keeps_to_its_room() -> None:
    """The import table, purity and the one clock, over every file."""
    sources = _sources()
    assert len(sources) > 60
    assert {room_of(path) for path in sources if path.startswith("gate/")} - {"__init__"} <= set(MAY)
    assert [found for path in sources for found in problems(path, (ROOT / path).read_text("utf-8"))] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("gate/credential/x.py", "import gate.feed.records"),
        ("gate/feed/x.py", "from gate.policy import decide"),
        ("gate/policy/x.py", "import time"),
        ("gate/policy/x.py", "import logging"),
        ("gate/passage/x.py", "def f():\n    import asyncio"),
        ("gate/passage/x.py", "import random"),
        ("gate/policy/x.py", "text = open('rules')"),
        ("gate/sync/x.py", "from gate.credential import documents"),
        ("gate/station/x.py", "from gate.rpc import server"),
        ("gate/station/x.py", "import time\nnow = time.monotonic()"),
        ("gate/rpc/x.py", "from datetime import datetime\nx = datetime.now()"),
        ("gate/rpc/x.py", "from drivers.transport import open_link"),
        ("gate/agent/x.py", "from gate.policy import decide"),
        ("gate/agent/x.py", "import gate.policy.verdict"),
        ("drivers/readers/samv/device.py", "from gate import moment"),
        ("drivers/readers/samv/codec.py", "import serial"),
        ("drivers/readers/samv/codec.py", "from drivers.transport import ByteLink"),
        ("drivers/contract.py", "import grpc"),
    ],
)
def test_the_check_sees_a_planted_violation(path: str, source: str) -> None:
    """Each kind of trespass is found, so that silence means something."""
    assert problems(path, source)


def test_no_file_is_too_long_and_no_function_either() -> None:
    """Files below 500 lines, functions of at most 80 (architecture.md)."""
    for path in _sources():
        text = (ROOT / path).read_text("utf-8")
        assert text.count("\n") < 500, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 80, f"{path}: {node.name}"
