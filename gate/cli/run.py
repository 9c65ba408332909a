"""`gate run`, `demo`, `check-config`, `check-rules`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.errors import NOT_SO

if TYPE_CHECKING:
    from gate.config import Config


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
    journey: Annotated[bool, typer.Option("--journey", help="A trip of 1 March 2020 through six gates.")] = False,
) -> None:
    """Watch a station work: simulated devices on real ports, made-up passengers, real decisions.

    Example: gate demo --lanes 6 --seconds 60
    """
    from rich.console import Console

    from gate.config import ConfigError
    from gate.sim.demo import Options, run_demo

    if keep is not None:
        keep = keep.absolute()  # the station's own file stands in it, and its paths start there
        if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
            raise ConfigError("--keep", f"{keep} is there already: give a folder that is new or empty")
    if journey:
        from gate.sim.journey import run_journey

        good = run_journey(Console(), keep)
    else:
        good = run_demo(Options(lanes, seconds, passengers_per_minute, seed, keep), Console())
    if not good:
        raise typer.Exit(NOT_SO)


def check_config(file: Annotated[Path, typer.Argument(help="The station's TOML file.")]) -> None:
    """Check a station file: say file, place, what is wrong and what is allowed.

    Example: gate check-config station.toml
    """
    from gate.config import load

    config = load(file)
    _open_files(file, config)
    print(f"{file}: {len(config.lanes)} lanes, {len(config.feeds)} feeds: good")


def _open_files(file: Path, config: "Config") -> None:
    """Read every file that the station would at its start, so that good here is good there."""
    from gate.config import ConfigError
    from gate.issuersettings import read_secrets
    from gate.policy.rules import RuleError
    from gate.station.rulefiles import read_code_keys, station_issuers, station_rules
    from gate.sync.certkeys import load_community_keys
    from gate.sync.keyring import KeyFileError, load_peppers, load_public_keys

    path = "policy.rules_dir"
    try:
        station_rules(config.policy)
        station_issuers(config)
        path = "policy.certificate_keys"
        if config.policy.certificate_keys:
            load_community_keys(config.policy.certificate_keys)
        path = "issuer"
        read_code_keys(config)
        for issuer in config.issuers:
            if issuer.query:
                read_secrets(issuer.query)
        for index, feed in enumerate(config.feeds):
            path = f"feed[{index}].public_keys_file"
            load_public_keys(feed.public_keys_file, feed.issuer)
            path = f"feed[{index}].pepper_file"
            load_peppers(feed.pepper_file, feed.issuer)
        if config.grpc.tls is not None:
            from gate.rpc.tls import server_credentials

            server_credentials(config.grpc.tls)
    except ConfigError as error:
        raise ConfigError(str(file), str(error)) from error
    except (RuleError, KeyFileError, OSError) as error:
        raise ConfigError(f"{file}: {path}", str(error)) from error


def check_rules(
    folder: Annotated[Path | None, typer.Argument(help="Folder with rules; without it, those shipped.")] = None,
) -> None:
    """Check rules and run every case that stands beside them.

    Example: gate check-rules recognition
    """
    from gate.config import ConfigError
    from gate.policy.cases import parse_cases
    from gate.station.rulefiles import read_issuers, read_rules, rule_texts, unsound

    if folder is not None and not folder.is_dir():
        raise ConfigError("folder", f"{folder} is not a folder: give the one that holds the rules")
    if folder is not None and not rule_texts(folder):
        raise ConfigError("folder", f"{folder} holds no rule.toml: give the one that holds the rules")
    rules = read_rules(folder)
    issuers = read_issuers(folder)
    count = 0
    problems = []
    decided: set[str] = set()
    for name, text in rule_texts(folder, "cases.toml").items():
        for case in parse_cases(text, name):
            count += 1
            problems += [f"{name}: {problem}" for problem in (case.problem(rules),) if problem]
            decided.add(case.decided(rules).rule_id)
    problems += unsound(rules, issuers, [name.removesuffix("/cases.toml") for name in rule_texts(folder, "cases.toml")])
    problems += [
        f"{rule.id}: decides no case: write one in its cases.toml" for rule in rules.rules if rule.id not in decided
    ]
    for problem in problems:
        print(problem)
    good = f"{len(problems)} wrong" if problems else "good"
    print(f"{len(issuers.by_id)} issuers, {len(rules.rules)} rules, {count} cases: {good}")
    if problems:
        raise typer.Exit(NOT_SO)
