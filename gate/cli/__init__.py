"""`gate …`: one module a group of commands. Everything heavy is imported inside the command that needs it.

Exit status: 0 done, 1 the thing checked is not so, 2 wrong use or configuration, 3 something outside failed.
"""

import logging
import sys
from typing import Annotated

import typer

from gate.cli import devices, feed, replay, run, watch
from gate.cli.errors import exit_status

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
app.command("check-config")(run.check_config)
app.command("check-rules")(run.check_rules)
app.command("status")(watch.status)
app.command("watch")(watch.watch)
app.command("query")(watch.query)
app.command("replay")(replay.replay)
app.add_typer(devices.app, name="devices")
app.add_typer(feed.app, name="feed")


def main() -> None:
    """Run a command; every error becomes one line on stderr and the right exit status."""
    try:
        app(standalone_mode=True)
    except Exception as error:
        if _VERBOSE["on"]:
            raise
        status, line = exit_status(error)
        print(f"gate: {line}", file=sys.stderr)
        sys.exit(status)
