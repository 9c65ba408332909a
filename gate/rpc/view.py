"""What the gRPC surface needs of a station: values in, values out."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from gate.credential.documents import Document
from gate.passage.record import PassageRecord
from gate.station.far import FarLane
from gate.station.handover import Handover
from gate.station.state import NOW_AND_HERE, FeedState, LaneState, StatusAnswer, Travel


class StationView(Protocol):
    """The station as its callers see it; `gate.station.station.Station` is one."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The station's languages."""

    def lanes(self) -> Sequence[LaneState]:
        """All lanes."""

    def lane(self, lane_id: str) -> LaneState:
        """One lane. Raises UnknownLaneError."""

    def watch_lanes(self) -> AsyncIterator[LaneState]:
        """Lanes as they change. Raises TooManySubscribersError, SubscriberTooSlowError."""

    def set_mode(self, lane_id: str, mode: str, operator: str) -> LaneState:
        """Set a lane's mode. Raises UnknownLaneError."""

    def release(self, lane_id: str, direction: str, operator: str, why: str, paper: bool = False) -> LaneState:
        """Let one person through; `paper`: staff saw certificate and ID. Raises UnknownLaneError, StateRefusedError."""

    def reset_emergency(self, lane_id: str, operator: str) -> LaneState:
        """End an emergency. Raises UnknownLaneError, StateRefusedError."""

    def newest_passages(self, count: int) -> Sequence[PassageRecord]:
        """The last passages, newest first."""

    def watch_passages(self) -> AsyncIterator[PassageRecord]:
        """Passages from now on. Raises TooManySubscribersError, SubscriberTooSlowError."""

    def far_lane(self, lane_id: str) -> FarLane | None:
        """Where a lane agent attaches; None for a lane whose devices hang here. Raises UnknownLaneError."""

    @property
    def handover(self) -> Handover:
        """Where passages go that a lane's agent decided while it was cut off."""

    def feeds(self) -> Sequence[FeedState]:
        """All feeds."""

    def check_status(self, document: Document, travel: Travel = NOW_AND_HERE) -> StatusAnswer:
        """What a gate would say of this document, on that journey."""

    def check_code(self, content: str, travel: Travel = NOW_AND_HERE) -> StatusAnswer:
        """What a gate would say of this code's text, on that journey."""
