"""When the agent acts on a command: its own clock is an argument here, the turnstile writes down what it is told."""

import asyncio
from collections.abc import Callable

import pytest

from drivers.contract import Answer, Direction, Emergency, Passed, Up
from gate import config
from gate.agent.chief import BEAT_S, CUT_OFF_S, Chief
from gate.agent.hands import LEASE_S, LIFETIME_S_MAX, Hands
from gate.agent.outbox import KEPT_MAX, Outbox
from gate.devicewire import mark, set_duration
from gate.station.far import LEASE_EVERY_S, FarLane
from gate.station.farwire import Heard, Hello, Mark
from gate.v1 import device_pb2, lane_pb2

RUN = b"run of a"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Written:
    """A turnstile that does everything and writes it down."""

    def __init__(self) -> None:
        self.done: list[tuple[str, float]] = []

    async def run(self, report: object) -> None:
        await asyncio.Event().wait()

    async def release(self, direction: Direction, lifetime_s: float, sent: Callable[[], None] | None = None) -> Answer:
        self.done.append(("release", round(lifetime_s, 3)))
        return Answer.ACCEPTED

    async def hold_open(self) -> Answer:
        self.done.append(("hold", 0.0))
        return Answer.ACCEPTED

    async def end_hold(self) -> Answer:
        self.done.append(("end", 0.0))
        return Answer.ACCEPTED


class OpenAtRest(Written):
    """It closes on a refusal, once the walkway is clear."""

    refuses = True

    def __init__(self) -> None:
        super().__init__()
        self.clear = asyncio.Event()

    async def refuse(self) -> Answer:
        self.done.append(("refuse", 0.0))
        await self.clear.wait()
        return Answer.ACCEPTED

    async def stand_closed(self) -> Answer:
        self.done.append(("closed", 0.0))
        return Answer.ACCEPTED

    async def stand_open(self) -> Answer:
        self.done.append(("open", 0.0))
        return Answer.ACCEPTED


def command(number: int, order: str, cites: tuple[int, float], lifetime_s: float = 8.0) -> device_pb2.DeviceCommand:
    made = device_pb2.DeviceCommand(
        ref=device_pb2.CommandRef(run_id=RUN, number=number), device="board", cites=mark(*cites)
    )
    set_duration(made.lifetime_duration, lifetime_s)
    if order == "release":
        made.release.direction = lane_pb2.DIRECTION_ENTRY
    else:
        getattr(made, order).SetInParent()
    return made


class Scene:
    def __init__(self) -> None:
        self.clock, self.turnstile = Clock(), Written()
        self.outbox = Outbox(self.clock)
        self.chief = Chief(self.outbox)
        self.hands = Hands("board", self.turnstile, self.chief, self.clock)

    def alarm(self, active: bool) -> None:
        """As the agent takes it: the hands first, and the message's number."""
        self.hands.reported(Emergency(active))
        self.chief.alarm_number = self.outbox.last_number + 1
        self.outbox.report("board", Emergency(active))

    async def do(self, *commands: device_pb2.DeviceCommand, for_s: float = 0.0) -> list[str]:
        """Take commands and carry them out; what the controller is answered, as far as anything is."""
        for one in commands:
            self.hands.take(self.chief, one)
        running = asyncio.create_task(self.hands.run())
        for _ in range(20):
            await asyncio.sleep(for_s / 20)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        answers = []
        self.outbox.attach(0)
        while self.outbox._waiting:
            message = await self.outbox.next()
            if message.WhichOneof("body") == "answered":
                answers.append(device_pb2.CommandAnswer.Name(message.answered.answer).rpartition("_")[2])
        return answers


@pytest.mark.parametrize(
    ("cites_s", "lifetime_s", "left_s"),
    [
        (100.0, 8.0, 8.0),
        (100.0, 1.0, 1.0),
        (99.0, 1.1, 0.1),
        (99.5, 8.0, 7.5),
        (100.0, 3600.0, LIFETIME_S_MAX),
        (99.0, 1.0, None),  # its lifetime has just ended
        (100.0 - CUT_OFF_S, 8.0, None),  # by now the controller may have called it failed
        (90.0, 60.0, None),
    ],
)
def test_a_release_acts_within_its_lifetime_or_never(cites_s: float, lifetime_s: float, left_s: float | None) -> None:
    """Counted by our clock from the message that it cites; one that was delayed is refused and never acts."""

    async def story() -> None:
        scene = Scene()
        answers = await scene.do(command(1, "release", (7, cites_s), lifetime_s))
        assert scene.turnstile.done == ([] if left_s is None else [("release", pytest.approx(left_s, abs=0.001))])
        assert answers == ["REFUSED" if left_s is None else "ACCEPTED"]

    asyncio.run(story())


def test_what_the_controller_heard_since_extends_the_time() -> None:
    """A release for 8 s that cites an older message acts while we know ourselves to be heard."""

    async def story() -> None:
        scene = Scene()
        scene.hands.heard(scene.chief, mark(9, 99.9))
        assert await scene.do(command(1, "release", (7, 98.0))) == ["ACCEPTED"]
        assert scene.turnstile.done == [("release", pytest.approx(6.0, abs=0.001))]

    asyncio.run(story())


@pytest.mark.parametrize(("sends", "answer"), [(False, "REFUSED"), (True, "UNKNOWN")])
def test_a_release_is_not_begun_when_the_controller_may_have_called_it_failed(sends: bool, answer: str) -> None:
    """A port that does not open in time is given up while the release would still live, and never acts."""

    async def story() -> None:
        scene = Scene()
        ended = asyncio.Event()

        async def stuck(direction: Direction, lifetime_s: float, sent: Callable[[], None]) -> Answer:
            if sends:
                sent()
            try:
                await asyncio.sleep(lifetime_s)
            finally:
                ended.set()
            return Answer.ACCEPTED

        scene.turnstile.release = stuck  # type: ignore[method-assign, assignment]
        answers = await scene.do(command(1, "release", (7, 100.02 - CUT_OFF_S)), for_s=0.5)
        assert answers == [answer]
        assert ended.is_set()

    asyncio.run(story())


def test_no_command_acts_twice() -> None:
    """The same number again, and an earlier one, do nothing and are answered by nothing."""

    async def story() -> None:
        scene = Scene()
        one, two = command(1, "release", (7, 100.0)), command(2, "release", (7, 100.0))
        assert await scene.do(two, two, one) == ["ACCEPTED"]
        assert len(scene.turnstile.done) == 1

    asyncio.run(story())


def test_who_is_not_in_charge_is_refused_and_told_what_counts_for_it_alone() -> None:
    """A late command of the other controller does nothing; alarms reach both, a passage whom it belongs to."""

    async def story() -> None:
        scene = Scene()
        other = Chief(Outbox(scene.clock, in_charge=False))
        other.outbox.attach(0)
        scene.hands.take(other, command(1, "release", (7, 100.0)))
        assert await scene.do(command(1, "release", (7, 100.0))) == ["ACCEPTED"]
        assert len(scene.turnstile.done) == 1
        assert not scene.hands.idle  # somebody may still walk on it
        other.outbox.report("board", Up())
        other.outbox.report("board", Emergency(True))
        bodies = [(message.WhichOneof("body"), message.report.WhichOneof("said")) for message in other.outbox._waiting]
        assert bodies == [("beat", None), ("answered", None), ("report", "emergency")]
        assert other.outbox._waiting[1].answered.answer == device_pb2.COMMAND_ANSWER_REFUSED
        followed = scene.hands.reported(Passed(Direction.ENTRY))
        assert followed
        assert followed[0] is scene.chief
        assert scene.hands.idle

    asyncio.run(story())


def test_what_waited_when_the_stream_ended_is_refused() -> None:
    """A command not yet begun is dropped with its stream."""

    async def story() -> None:
        scene = Scene()
        scene.hands.take(scene.chief, command(1, "release", (7, 100.0)))
        scene.hands.detached(scene.chief)
        assert await scene.do() == ["REFUSED"]
        assert scene.turnstile.done == []

    asyncio.run(story())


def test_an_end_of_holding_that_knew_nothing_of_the_alarm_is_refused() -> None:
    """Neither while it acts nor after, before the controller has heard of it; then it ends."""

    async def story() -> None:
        scene = Scene()
        scene.alarm(True)
        assert await scene.do(command(1, "end_hold", (1, 100.0))) == ["REFUSED"]
        scene.alarm(False)
        told = scene.outbox.last_number
        assert await scene.do(command(2, "end_hold", (1, 100.0))) == ["REFUSED", "REFUSED"]
        assert scene.turnstile.done == []
        assert (await scene.do(command(3, "end_hold", (told, 100.0))))[-1] == "ACCEPTED"
        assert scene.turnstile.done == [("end", 0.0)]

    asyncio.run(story())


def test_a_hold_lasts_as_long_as_its_lease() -> None:
    """Renewed it stays; past 3 s after the last message heard it is ended, once."""

    async def story() -> None:
        scene = Scene()
        scene.hands.take(scene.chief, command(1, "hold_open", (7, 100.0)))
        running = asyncio.create_task(scene.hands.run())
        try:
            async with asyncio.timeout(10):
                while not scene.turnstile.done:
                    await asyncio.sleep(0)
            scene.clock.now_s += LEASE_S - 0.1
            scene.hands.renewed(scene.chief, mark(8, scene.clock.now_s))
            scene.clock.now_s += LEASE_S - 0.1
            scene.hands.take(scene.chief, command(2, "hold_open", (8, scene.clock.now_s)))  # wakes it; still held
            async with asyncio.timeout(10):
                while len(scene.turnstile.done) < 2:
                    await asyncio.sleep(0)
            assert [done for done, _ in scene.turnstile.done] == ["hold", "hold"]
            scene.clock.now_s += 10 * LEASE_S
            scene.hands.take(scene.chief, command(3, "hold_open", (8, 0.0)))  # too old: wakes it only
            async with asyncio.timeout(10):
                while len(scene.turnstile.done) < 3:
                    await asyncio.sleep(0)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert [done for done, _ in scene.turnstile.done] == ["hold", "hold", "end"]

    asyncio.run(story())


def test_a_lease_outlives_what_the_controller_does_not_notice() -> None:
    """A renewal, then a cut that is mended just before the lane counts as cut off, then the renewal that follows."""
    assert LEASE_S >= LEASE_EVERY_S + BEAT_S + CUT_OFF_S + 0.1


def test_an_agent_that_is_back_has_its_lease_renewed_at_once() -> None:
    """The last renewal may be nearly over: the next second would be too late."""

    async def story() -> None:
        lane = FarLane(config.Lane("A1", "entry", (config.Device("board", "driver", "turnstile", {}),)))
        lane.devices["board"].sink = lambda _: None
        hello = Hello(bytes(16), (("board", "driver", ""),))
        lane.hear(lane.attach(hello), Mark(5, 0.5))
        async with asyncio.timeout(LEASE_EVERY_S / 2):
            assert await anext(lane.attach(hello).messages()) == Heard(Mark(5, 0.5), lease=True)
        lane.device_ended()

    asyncio.run(story())


def test_who_is_not_in_charge_any_more_holds_nothing() -> None:
    """The deputy kept the lane open and stays attached: with the controller in charge its hold ends all the same."""

    async def story() -> None:
        scene = Scene()
        scene.hands.take(scene.chief, command(1, "hold_open", (7, 100.0)))
        running = asyncio.create_task(scene.hands.run())
        try:
            async with asyncio.timeout(10):
                while not scene.turnstile.done:
                    await asyncio.sleep(0)
                scene.hands.chief = Chief(Outbox(scene.clock))
                scene.clock.now_s += LEASE_S + 0.1
                scene.hands.renewed(scene.chief, mark(8, scene.clock.now_s))
                scene.hands.take(scene.hands.chief, command(1, "hold_open", (8, 0.0)))  # too old: wakes it only
                while len(scene.turnstile.done) < 2:
                    await asyncio.sleep(0)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert [done for done, _ in scene.turnstile.done] == ["hold", "end"]

    asyncio.run(story())


def test_who_takes_charge_is_told_that_the_turnstile_was_anothers() -> None:
    """It then tells again what the turnstile is to hold; one that was in charge all the time is not told so."""
    outbox = Outbox(Clock(), in_charge=False)
    outbox.report("board", Up())
    outbox.attach(0)
    outbox.take_charge("board")
    said = [message.report.WhichOneof("said") for message in outbox._waiting if message.HasField("report")]
    assert said == ["down", "up"]
    outbox.attach(0)
    said = [message.report.WhichOneof("said") for message in outbox._waiting if message.HasField("report")]
    assert said == ["up"]


def test_a_gate_is_kept_closed_as_long_as_its_lease() -> None:
    """A closed lane's gate that stands open at rest: nobody who is cut off keeps it closed, in an alarm neither."""

    async def story() -> None:
        scene = Scene()
        scene.turnstile = scene.hands._turnstile = turnstile = OpenAtRest()
        scene.hands.take(scene.chief, command(1, "stand_closed", (7, 100.0)))
        running = asyncio.create_task(scene.hands.run())
        try:
            async with asyncio.timeout(10):
                while not turnstile.done or scene.hands._closing:
                    await asyncio.sleep(0)
                scene.alarm(True)
                scene.clock.now_s += LEASE_S + 0.1
                scene.hands.take(scene.chief, command(2, "stand_closed", (8, 0.0)))  # too old: wakes it only
                while len(turnstile.done) < 2:
                    await asyncio.sleep(0)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert [done for done, _ in turnstile.done] == ["closed", "open"]

    asyncio.run(story())


def test_a_passage_names_the_release_that_it_followed() -> None:
    """The first one its way within the lifetime; no second one, no other way, nothing later."""

    async def story() -> None:
        scene = Scene()
        await scene.do(command(1, "release", (7, 100.0)))
        assert scene.hands.reported(Passed(Direction.EXIT)) is None
        followed = scene.hands.reported(Passed(Direction.ENTRY))
        assert followed
        assert followed[0] is scene.chief
        assert followed[1].number == 1
        assert scene.hands.reported(Passed(Direction.ENTRY)) is None
        await scene.do(command(2, "release", (7, 100.0)))
        scene.clock.now_s = 108.1
        assert scene.hands.reported(Passed(Direction.ENTRY)) is None

    asyncio.run(story())


def test_what_counts_is_kept_until_it_is_heard_and_no_longer() -> None:
    """Unheard passages are told again in order with their first numbers; states anew; cards never."""

    async def story() -> None:
        outbox = Outbox(Clock())
        for _ in range(3):
            outbox.report("board", Passed(Direction.ENTRY))
        outbox.attach(1)
        numbers = [message.mark.number for message in list(outbox._waiting) if message.WhichOneof("body") == "report"]
        assert numbers == [2, 3]
        outbox.detach()
        outbox.heard(3)
        outbox.attach(3)
        assert [message.WhichOneof("body") for message in outbox._waiting] == ["beat"]

    asyncio.run(story())


def test_what_is_kept_has_a_limit_and_its_loss_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The oldest go first; how many is said when the controller is back."""

    async def story() -> None:
        outbox = Outbox(Clock())
        for _ in range(KEPT_MAX + 5):
            outbox.report("board", Passed(Direction.ENTRY))
        outbox.attach(0)
        assert outbox._waiting[0].mark.number == 6
        outbox.heard(outbox.last_number)

    asyncio.run(story())
    assert "5 passages and alarms" in caplog.text
