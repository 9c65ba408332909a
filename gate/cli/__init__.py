"""`gate …`: one module a group of commands. Everything heavy is imported inside the command that needs it.

Exit status: 0 done, 1 the thing checked is not so, 2 wrong use or configuration, 3 something outside failed.
"""

import logging
import os
import sys
from typing import Annotated

import typer

from gate.cli import agent, certificate, correction, devices, feed, prompts, replay, run, watch
from gate.cli.errors import DONE, exit_status, traced

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="The station smart gate: one card or code is enough, decided from a local feed.",
    epilog="Example: gate demo --seconds 20",
)
_VERBOSE = {"on": False}


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say everything, with tracebacks.")] = False,
) -> None:
    """The station smart gate: one card or code is enough, decided from a local feed."""
    _VERBOSE["on"] = verbose
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    # Libraries may log what they carry: frames and requests of passengers.
    for noisy in ("asyncio", "grpc", "pymodbus"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


app.command("run")(run.run)
app.command("demo")(run.demo)
app.command("lane-agent")(agent.lane_agent)
app.command("check-config")(run.check_config)
app.command("check-rules")(run.check_rules)
app.command("status")(watch.status)
app.command("watch")(watch.watch)
app.command("query")(watch.query)
app.command("replay")(replay.replay)
app.add_typer(devices.app, name="devices")
app.add_typer(prompts.app, name="prompts")
feed.app.command("trace")(correction.trace)
app.add_typer(feed.app, name="feed", epilog="Example: gate feed keygen AKM --folder keys")
app.add_typer(
    certificate.app, name="certificate", epilog="Example: gate certificate keygen XIHU --region 330106 --folder keys"
)


def main() -> None:
    """Run a command; every error becomes one line on stderr and the right exit status."""
    # gRPC's own lines would stand between ours: errors reach us as exceptions. Nobody here forks without exec.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        status = app(_verbose_first(sys.argv[1:]), prog_name="gate", standalone_mode=False)
    except Exception as error:
        status, line = exit_status(error)
        if _VERBOSE["on"]:
            print(traced(error), file=sys.stderr)
        if line:
            print(f"gate: {line}", file=sys.stderr)
    sys.exit(status if isinstance(status, int) else DONE)


def _verbose_first(arguments: list[str]) -> list[str]:
    """`gate status --verbose` is `gate --verbose status`: whoever met an error adds it at the end of the line."""
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--verbose" not in words:
        return arguments
    at = words.index("--verbose")
    return ["--verbose", *arguments[:at], *arguments[at + 1 :]]
