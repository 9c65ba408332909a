"""PassageService."""

from collections.abc import AsyncGenerator
from typing import Any

from gate.rpc import convert
from gate.rpc.errors import invalid
from gate.rpc.lane import named_errors
from gate.rpc.view import StationView
from gate.v1 import passage_pb2, passage_pb2_grpc

PAGE_MAX = 1_000
PAGE_DEFAULT = 100


class PassageServicer(passage_pb2_grpc.PassageServiceServicer):
    """See protos/gate/v1/passage.proto."""

    def __init__(self, view: StationView) -> None:
        self._view = view

    async def ListPassages(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """The last passages, newest first."""
        if not 0 <= request.page_size <= PAGE_MAX:
            raise invalid("page_size", f"must be 1 to {PAGE_MAX}, or absent")
        newest = self._view.newest_passages(request.page_size or PAGE_DEFAULT)
        return passage_pb2.ListPassagesResponse(passages=map(convert.passage, newest))

    async def WatchPassages(self, request: Any, context: Any) -> AsyncGenerator[Any, None]:  # noqa: N802 - the proto's name
        """Every passage from now on."""
        wanted = set(request.lane_ids)
        with named_errors():
            for lane_id in wanted:
                self._view.lane(lane_id)
            passages = self._view.watch_passages()
            await context.send_initial_metadata(())  # from here on nothing is missed
            async for record in passages:
                if not wanted or record.lane in wanted:
                    yield passage_pb2.WatchPassagesResponse(passage=convert.passage(record))
