"""`gate lane-agent`: drives one lane's devices from that lane's own computer."""

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gate.agent.agent import Agent


def lane_agent(
    config: Annotated[Path, typer.Option(help="The lane's TOML file: its [[lane]] with id and devices.")],
    controller: Annotated[str, typer.Option(help="HOST:PORT of the controller, or unix:PATH of its lane socket.")],
    ca: Annotated[Path | None, typer.Option(help="PEM: whom the controller's certificate must be signed by.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM: our certificate, with the role lane.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM: its private key.")] = None,
    with_feed: Annotated[
        bool, typer.Option("--with-feed", help="Decide here while cut off. Puts pepper and feed at the gate line.")
    ] = False,
) -> None:
    """Drive one lane's devices for a controller elsewhere, until SIGTERM or Ctrl-C.

    Example: gate lane-agent --config lane.toml --controller gate:50051 --ca ca.pem --certificate a1.crt --key a1.key
    """
    from gate.agent.agent import Agent
    from gate.agent.link import Link
    from gate.cli.process import LOOPS, forbid_core_files
    from gate.config import ConfigError, load_deputy, load_lane

    settings = load_deputy(config) if with_feed else None
    lane = settings.lanes[0] if settings else load_lane(config)
    link = Link(controller, ca, certificate, key)
    link.check()
    forbid_core_files()

    async def work() -> None:
        deputy = None
        if settings:
            from gate.agent.deputy import StationDeputy

            try:
                deputy = StationDeputy(settings)
            except ConfigError as error:  # found only when the file's files were opened
                raise ConfigError(str(config), str(error)) from error
        await _until_stopped(Agent(lane, link, deputy))

    with asyncio.Runner(loop_factory=LOOPS["uvloop"]) as runner:
        runner.run(work())


async def _until_stopped(agent: "Agent") -> None:
    running = asyncio.create_task(agent.run())
    saying = asyncio.create_task(_say_ready(agent))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    await asyncio.wait({running})
    saying.cancel()
    if not running.cancelled():
        running.result()


async def _say_ready(agent: "Agent") -> None:
    await agent.attached.wait()
    print("ready", flush=True)
