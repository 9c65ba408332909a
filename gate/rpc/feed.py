"""FeedService."""

from typing import Any

import grpc

from gate.policy.verdict import Reason
from gate.rpc import convert
from gate.rpc.errors import CallError
from gate.rpc.lane import required
from gate.rpc.view import StationView
from gate.v1 import feed_pb2, feed_pb2_grpc


class FeedServicer(feed_pb2_grpc.FeedServiceServicer):
    """See protos/gate/v1/feed.proto."""

    def __init__(self, view: StationView) -> None:
        self._view = view

    async def ListFeeds(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """All subscribed feeds."""
        return feed_pb2.ListFeedsResponse(feeds=map(convert.feed, self._view.feeds()))

    async def GetFeed(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """One feed."""
        issuer = required(request, "issuer")
        for state in self._view.feeds():
            if state.issuer == issuer:
                return feed_pb2.GetFeedResponse(feed=convert.feed(state))
        text = "no feed of this issuer is subscribed: ListFeeds names all"
        raise CallError(grpc.StatusCode.NOT_FOUND, Reason.FEED_NOT_FOUND, text)
