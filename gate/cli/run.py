"""`gate run`, `demo`, `check-config`, `check-rules`."""

from pathlib import Path
from typing import Annotated

import typer

from gate.cli.errors import NOT_SO


def run(
    config: Annotated[Path, typer.Option(help="The station's TOML file.")],
    event_loop: Annotated[str, typer.Option(help="uvloop or asyncio; `make bench` compares them.")] = "uvloop",
) -> None:
    """Run the station controller until SIGTERM or Ctrl-C.

    Example: gate run --config station.toml
    """
    from gate.cli.serve import serve

    if event_loop not in ("uvloop", "asyncio"):
        raise typer.BadParameter(f"{event_loop!r} is not uvloop or asyncio")
    serve(config, event_loop)


def demo(
    lanes: Annotated[int, typer.Option(min=1, max=100, help="Number of lanes.")] = 4,
    seconds: Annotated[float | None, typer.Option(min=1, help="Stop by itself after this many seconds.")] = None,
    passengers_per_minute: Annotated[float, typer.Option(min=0.1, max=120, help="Arrivals at each lane.")] = 30.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same people and habits.")] = 1,
    keep: Annotated[Path | None, typer.Option(help="Keep feeds, journal and logs in this new folder.")] = None,
) -> None:
    """Watch a station work: simulated devices on real ports, made-up passengers, real decisions.

    Example: gate demo --lanes 6 --seconds 60
    """
    from rich.console import Console

    from gate.sim.demo import Options, run_demo

    if not run_demo(Options(lanes, seconds, passengers_per_minute, seed, keep), Console()):
        raise typer.Exit(NOT_SO)


def check_config(file: Annotated[Path, typer.Argument(help="The station's TOML file.")]) -> None:
    """Check a station file: say file, place, what is wrong and what is allowed.

    Example: gate check-config station.toml
    """
    from gate.config import load

    config = load(file)
    print(f"{file}: {len(config.lanes)} lanes, {len(config.feeds)} feeds: good")


def check_rules(
    folder: Annotated[Path | None, typer.Argument(help="Folder with rules; without it, those shipped.")] = None,
) -> None:
    """Check rules and run every case that stands beside them.

    Example: gate check-rules recognition
    """
    from gate.policy.cases import parse_cases
    from gate.station.station import read_rules, rule_texts

    rules = read_rules(folder)
    count = 0
    problems = []
    for name, text in rule_texts(folder, "cases.toml").items():
        for case in parse_cases(text, name):
            count += 1
            problems += [f"{name}: {problem}" for problem in (case.problem(rules),) if problem]
    for problem in problems:
        print(problem)
    print(f"{len(rules.rules)} rules, {count} cases: {f'{len(problems)} wrong' if problems else 'good'}")
    if problems:
        raise typer.Exit(NOT_SO)
