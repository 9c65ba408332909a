"""A small station on the lane's own computer, which decides while the controller is cut off (`--with-feed`).

It is the station of gate/station as it is: its lane is a far one, and the agent attaches to it by a socket, as it does
to the controller. So rules, journal, anti-passback and the lifetime of commands are those of every station. It knows no
claims of other lanes, nor do they know its: who passes here may pass elsewhere until the controller is back.
"""

import asyncio
import logging
from dataclasses import replace

from gate import config
from gate.agent.backlog import Backlog
from gate.agent.link import Link
from gate.rpc.server import RpcServer
from gate.station.state import StateRefusedError
from gate.station.station import Station

log = logging.getLogger(__name__)

OPERATOR = "controller"  # who sets the lane's mode here: staff did it there


class StationDeputy:
    """Runs that station. Make it inside a loop, with a file that `gate.config.load_deputy` read."""

    def __init__(self, settings: config.Config) -> None:
        (lane,) = settings.lanes
        self._lane_id = lane.id
        self._own_mode = {"entry": "ENTRY", "exit": "EXIT", "both": "BOTH"}[lane.direction]
        socket = settings.data_dir / "lane.sock"
        grpc = config.Grpc(listen=(), lane_socket=socket, operator_socket=settings.grpc.operator_socket)
        self._station = Station(replace(settings, lanes=(replace(lane, remote=True),), grpc=grpc))
        self._rpc = RpcServer(grpc, self._station, self._station.metrics.status_request)
        self._backlog = Backlog(settings.data_dir / "journal", settings.data_dir / "handed-over.json")
        self.link = Link(f"unix:{socket}")
        self.listens = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop`, and end in good order. Raises what a station raises."""
        await self._rpc.start()
        self.listens.set()
        health = asyncio.create_task(self._rpc.run())
        try:
            await self._station.run()
        finally:
            health.cancel()
            await self._rpc.stop()

    def stop(self) -> None:
        """Begin to end: nobody new."""
        self._station.stop()

    @property
    def ready(self) -> bool:
        """Whether it has looked at its feeds and can decide."""
        return self._station.ready.is_set()

    @property
    def idle(self) -> bool:
        """Whether nobody is under way at its lane."""
        lane = self._station.lane(self._lane_id)
        return lane.front == "IDLE" and lane.barrier != "RELEASED"

    def take_charge(self, mode: str, emergency: bool) -> None:
        """Go on where the controller was; `mode` "": the lane's own."""
        lane = self._station.lane(self._lane_id)
        if (mode or self._own_mode) != lane.mode:
            self._station.set_mode(self._lane_id, mode or self._own_mode, OPERATOR)
        if lane.emergency and not emergency:
            try:
                self._station.reset_emergency(self._lane_id, OPERATOR)
            except StateRefusedError as error:
                log.warning("%s", error)  # it acts now: the controller will hear of it

    async def decided(self) -> list[bytes]:
        """The next passages that were not handed over. Only what is on the disk: a line there does not change."""
        there = len(await asyncio.to_thread(self._backlog.next))
        if not there:
            return []  # looked at often: a disk is not made to sync for nothing
        if not await self._station.handover.written_down():
            return []
        return await asyncio.to_thread(self._backlog.next, there)  # those: what came since may still be lost

    async def handed_over(self) -> None:
        """What `decided` gave last is on the controller's disk."""
        await asyncio.to_thread(self._backlog.done)
