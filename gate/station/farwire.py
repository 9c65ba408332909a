"""What goes between a far lane and its agent, as plain values, and one connection's queue of it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from drivers import contract

OUT_MAX = 64  # messages to an agent; one that does not take them for many beats is cut off anyway


@dataclass(frozen=True, slots=True)
class Mark:
    """An instant of the agent, by its own clock; only handed back."""

    number: int = 0
    since_start_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Ref:
    """One command of one run of a controller."""

    run: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Hello:
    """Who attaches: its session, its devices as (name, driver, side), and the last command it received."""

    session: bytes
    devices: tuple[tuple[str, str, str], ...]
    last_command: Ref | None = None
    wait_s: float = 0.0  # how long its turnstile itself keeps a release
    refuses: bool = False  # whether its turnstile can stand open and close on a refusal


@dataclass(frozen=True, slots=True)
class Command:
    """What the agent's turnstile is to do: `order` is a command of `drivers.contract`, "release" with a direction."""

    ref: Ref
    device: str
    cites: Mark
    lifetime_s: float
    order: str
    direction: contract.Direction | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """Answers a message; `lease`: and renews what is held open."""

    newest: Mark
    lease: bool = False


@dataclass(frozen=True, slots=True)
class Prompting:
    """What a prompt is to "say" (a reason) or to "show" (a sign)."""

    device: str
    order: str
    what: str


@dataclass(frozen=True, slots=True)
class LaneIs:
    """The lane's mode, and whether an emergency holds: an agent that decides by itself goes on from there."""

    mode: str
    emergency: bool


@dataclass(frozen=True, slots=True)
class Taken:
    """The passages that the agent's message of this number handed over are on the disk."""

    number: int


Downward = Command | Heard | Prompting | LaneIs | Taken


class Stream:
    """One connection of an agent: what waits to be sent on it."""

    def __init__(self, heard_number: int) -> None:
        self.heard_number = heard_number  # the agent sends again what counts and came after this
        # A key stands for the newest of its kind: only what is true when it is sent helps.
        self._queue: asyncio.Queue[Downward | str | None] = asyncio.Queue(OUT_MAX + 1)
        self._newest: dict[str, Downward] = {}
        self._ended = False

    def send(self, message: Downward | str) -> bool:
        """Queue a message; False when it will not be sent."""
        if self._ended or self._queue.qsize() >= OUT_MAX:
            self.end()
            return False
        self._queue.put_nowait(message)
        return True

    def send_newest(self, kind: str, message: Downward) -> None:
        """Queue a message in place of one of its kind that is not sent yet."""
        waits = kind in self._newest
        if waits or self.send(kind):
            self._newest[kind] = message

    def end(self) -> None:
        """Nothing more is sent. Safe to call twice."""
        if not self._ended:
            self._ended = True
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(None)

    async def messages(self) -> AsyncIterator[Downward]:
        """What is to be sent, until the end."""
        while (message := await self._queue.get()) is not None:
            yield self._newest.pop(message) if isinstance(message, str) else message
