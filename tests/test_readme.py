"""The README stays true: its station.toml loads, its commands and drivers exist, its links lead somewhere."""

import re
from pathlib import Path
from typing import Any

import typer

from drivers import registry
from gate.cli import app
from gate.config import parse
from gate.passage.commands import LaneMode
from gate.policy.condition import Cause

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_its_station_file_loads(tmp_path: Path) -> None:
    """The sample that a reader copies."""
    (tmp_path / "akm.keys").write_text("{}")
    (tmp_path / "akm.pepper").write_text("{}")
    sample = README.split("```toml")[1].split("```")[0]
    assert len(parse(sample, tmp_path).lanes) == 1


def test_every_command_it_names_exists() -> None:
    """`gate …` and `make …` as written, with their subcommands and options."""
    written = re.findall(r"`gate ([a-z][^`]*)`", README)
    assert written
    for line in written:
        words = iter(line.split())
        command: Any = typer.main.get_command(app)
        while commands := getattr(command, "commands", None):
            word = next(words, None)
            assert word in commands, line
            command = commands[word]
        known = {option for each in command.params for option in each.opts}
        assert set(re.findall(r"--[a-z-]+", line)) <= known, line
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for name in set(re.findall(r"\bmake ([a-z-]+)(?=[` ]|$)", "\n".join(_code()), re.MULTILINE)):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


def _code() -> list[str]:
    """What stands in the README as something to type."""
    return re.findall(r"`([^`\n]+)`", README) + re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def test_its_driver_table_is_complete() -> None:
    """Every driver has its row, and no row is of none."""
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", README, re.MULTILINE))
    assert rows == set(registry.drivers())


def test_it_names_every_mode_and_every_cause() -> None:
    """What an operator may meet."""
    for name in (*LaneMode, *Cause):
        assert str(name) in README, name


def test_the_files_it_names_are_there() -> None:
    """Paths in its straight path and its layout."""
    for path in set(re.findall(r"\b(?:gate|drivers|tests|protos|dashboards)/[\w/]+\.(?:py|toml)\b", README)):
        assert (ROOT / path).exists() or "<" in path, path
