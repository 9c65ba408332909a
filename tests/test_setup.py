"""Set-up says what it lacks in one line, the locks are whole, and `make` tells what there is."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# contract.md "Two commands"
TARGETS = "setup run test format check bench fuzz conformance soak protos protos-check clean"
OLD_PYTHON = '#!/bin/sh\n[ "$1" = --version ] && { echo "Python 3.10.12"; exit; }\nexit 1\n'
NO_VENV = '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexit 0\n'


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    given = [f"{name}={value}" for name, value in variables.items()]
    # MAKEFLAGS of the make that runs this test would be obeyed by ours.
    command = ["env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "make", "-C", str(folder), *arguments, *given]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As much of a fresh clone as set-up looks at before it installs anything."""
    folder = tmp_path / "a fresh clone"
    shutil.copytree(ROOT / ".locks", folder / ".locks")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


def _python(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("", "python3.77 is missing: sudo apt install python3 python3-venv"),
        (OLD_PYTHON, "Python 3.10.12 is too old, 3.11 or newer is needed: sudo apt install python3.11 python3.11-venv"),
        (NO_VENV, "python3.77-venv is missing: sudo apt install python3.77-venv"),
    ],
    ids=["no python", "old python", "no venv"],
)
def test_what_is_missing_is_said_with_its_remedy(clone: Path, tmp_path: Path, script: str, said: str) -> None:
    """One line with the apt command and make's own, no venv left half made."""
    python = _python(tmp_path, "python3.77", script) if script else "python3.77"
    done = make(clone, "run", PYTHON=python)
    first, second = done.stderr.splitlines()
    assert (done.returncode, first) == (2, said)
    assert second.startswith("make: ***")
    assert not (clone / ".venv").exists()


def test_make_alone_lists_every_target() -> None:
    """All of the contract, each with what it does, and no target is listed that is not there."""
    listed = dict(re.findall(r"^  make (\S+) +(\S.*)$", make(ROOT).stdout, re.MULTILINE))
    assert set(TARGETS.split()) <= set(listed)
    for name in listed:
        assert "No rule" not in make(ROOT, "--dry-run", name).stderr


@pytest.mark.parametrize("name", ["run", "test"])
def test_locks_are_hashed_and_name_no_index(name: str) -> None:
    """Every pin has its digests; where packages come from is the machine's own affair."""
    text = (ROOT / ".locks" / f"{name}.txt").read_text("utf-8")
    assert "://" not in text
    assert not re.search(
        r"^\s*-", re.sub(r"^ +--hash=sha256:[0-9a-f]{64}.*$", "", text, flags=re.MULTILINE), re.MULTILINE
    )
    pins = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(pins) > 20
    assert [pin.split()[0] for pin in pins if "==" not in pin.split()[0] or "--hash=sha256:" not in pin] == []


def test_what_the_package_needs_is_what_is_pinned() -> None:
    """The dependencies of pyproject.toml stand in run.in, and a pin for each in run.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needed = {_name(line) for line in project["project"]["dependencies"]}
    asked, pinned = (
        {_name(line) for line in (ROOT / ".locks" / file).read_text("utf-8").splitlines() if line[:1].isalpha()}
        for file in ("run.in", "run.txt")
    )
    assert needed <= asked <= pinned


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")
