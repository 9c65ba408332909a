"""Puts the controller together: the station, its gRPC surface, signals, and the loop that carries them."""

import asyncio
import signal
from pathlib import Path

from gate import config
from gate.cli.process import LOOPS, forbid_core_files
from gate.rpc.server import RpcServer
from gate.station.station import Station


def serve(path: Path, event_loop: str) -> None:
    """Run the controller of `path` until it is told to stop. Raises ConfigError and what the station raises."""
    settings = config.load(path)
    forbid_core_files()
    try:
        with asyncio.Runner(loop_factory=LOOPS[event_loop]) as runner:
            runner.run(_run(settings))
    except config.ConfigError as error:  # found only when the file's files were opened
        raise config.ConfigError(str(path), str(error)) from error


async def _run(settings: config.Config) -> None:
    station = Station(settings)
    loop = asyncio.get_running_loop()
    rpc = RpcServer(settings.grpc, station, station.metrics.status_request)

    def stop() -> None:
        rpc.stopping()  # whoever sends passengers or calls here learns of it before the last passages have ended
        station.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    await rpc.start()
    try:
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(rpc.run(), name="gRPC"), group.create_task(_announce(station), name="ready")]
            await station.run()
            for task in beside:
                task.cancel()
    finally:
        await rpc.stop()


async def _announce(station: Station) -> None:
    await station.ready.wait()
    print("ready", flush=True)
