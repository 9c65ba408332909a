"""A circuit breaker: after failures in a row nobody is asked for a while, then one question tries. Time is an argument.

Written by hand because it is this small and the libraries for it wrap functions, count by time windows or keep threads.
Xi'an's platform fell twice under ten times its load (health-codes.md 2.7): what is down is left in peace.
"""

import enum
import random
from collections.abc import Callable

FAILURES_MAX = 5  # in a row: one lost packet or one restart of theirs is no collapse
FIRST_S = 2.0  # a restart of a web server is over by then
MOST_S = 60.0  # an issuer that came back is asked again within a minute
DOUBLINGS_MAX = 16  # beyond MOST_S; keeps the power a small number
DRAW = random.SystemRandom().random  # 0 to 1; tests bring their own


class State(enum.Enum):
    """Whether questions go out."""

    CLOSED = enum.auto()
    OPEN = enum.auto()
    PROBING = enum.auto()  # one question is under way to see whether it is over


class Circuit:
    """The circuit of one issuer."""

    def __init__(self, draw: Callable[[], float] = DRAW) -> None:
        self._draw = draw
        self._state = State.CLOSED
        self._failures = 0  # in a row
        self._openings = 0  # since it last closed
        self._due_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the issuer counts as unreachable: until a probe has worked."""
        return self._state is not State.CLOSED

    def lets(self, now_s: float) -> bool:
        """Whether a question may go out now."""
        return self._state is State.CLOSED or (self._state is State.OPEN and now_s >= self._due_s)

    def begin(self) -> bool:
        """A question goes out; whether it is the probe. Only after `lets`."""
        if self._state is State.CLOSED:
            return False
        self._state = State.PROBING
        return True

    def worked(self, probe: bool) -> bool:
        """It was answered; whether that closed the circuit. A straggler of before the opening changes nothing."""
        if self._state is not State.CLOSED and not probe:
            return False
        closed = self._state is not State.CLOSED
        self._state, self._failures, self._openings = State.CLOSED, 0, 0
        return closed

    def failed(self, probe: bool, now_s: float) -> bool:
        """It was not; whether that opened the circuit anew."""
        if self._state is not State.CLOSED:
            if probe:
                self._open(now_s)
            return False
        self._failures += 1
        if self._failures < FAILURES_MAX:
            return False
        self._open(now_s)
        return True

    def abandoned(self, probe: bool) -> None:
        """It was broken off by us and proves nothing: the next question is the probe."""
        if probe:
            self._state = State.OPEN

    def _open(self, now_s: float) -> None:
        limit_s = min(MOST_S, FIRST_S * 2.0 ** min(self._openings, DOUBLINGS_MAX))
        # Between half the limit and all of it: never at once, and stations that saw one collapse do not come in step.
        self._due_s = now_s + limit_s * (1.0 + self._draw()) / 2.0
        self._openings += 1
        self._state = State.OPEN
