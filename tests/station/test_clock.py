"""The station's time line against a wall clock that steps, slews and loses its synchronisation."""

from dataclasses import dataclass

import pytest

from gate.station.clock import Clock, ClockState, read_kernel_synchronised

HOUR_S = 3600.0
START_UTC_S = 1_780_000_000.0


@dataclass
class Machine:
    """A machine's clocks, moved by hand."""

    utc_s: float = START_UTC_S
    mono_s: float = 500.0
    synchronised: bool = True

    def clock(self, trust: str) -> Clock:
        return Clock(
            trust, wall=lambda: self.utc_s, mono=lambda: self.mono_s, kernel_synchronised=lambda: self.synchronised
        )

    def run(self, seconds: float, wall_rate: float = 1.0) -> None:
        self.mono_s += seconds
        self.utc_s += seconds * wall_rate


def test_a_step_of_an_hour_bends_neither_spans_nor_dates() -> None:
    """Whichever way the wall steps, 10 s remain 10 s and the date goes on as before."""
    for step_s in (HOUR_S, -HOUR_S):
        machine = Machine()
        clock = machine.clock("stepped-only")
        before = clock.now()
        machine.run(4)
        machine.utc_s += step_s
        clock.check()
        machine.run(6)
        clock.check()
        after = clock.now()
        assert after.since(before) == 10.0
        assert after.utc_s - before.utc_s == pytest.approx(10.0)


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S, 2.1, -2.1])
def test_a_step_is_untrusted_until_the_wall_is_back(step_s: float) -> None:
    """Stepped-only: more than 2 s apart is CLOCK_UNTRUSTED at the next check, until the step is taken back."""
    machine = Machine()
    clock = machine.clock("stepped-only")
    assert clock.check() is ClockState.TRUSTED
    machine.utc_s += step_s
    assert clock.check() is ClockState.STEPPED
    assert clock.degraded == {"CLOCK_UNTRUSTED"}
    machine.run(100)
    assert clock.check() is ClockState.STEPPED
    machine.utc_s -= step_s
    assert clock.check() is ClockState.TRUSTED
    assert clock.degraded == frozenset()


def test_a_step_is_never_adopted_by_waiting() -> None:
    """Stepped-only: a wall set back stays untrusted however long it stays, so an expired feed cannot turn fresh."""
    machine = Machine()
    clock = machine.clock("stepped-only")
    machine.utc_s -= HOUR_S
    for _ in range(1_000):
        machine.run(10)
        assert clock.check() is ClockState.STEPPED
    assert clock.now().utc_s == pytest.approx(START_UTC_S + 10_000)


@pytest.mark.parametrize("rate", [1 + 500e-6, 1 - 500e-6])
def test_a_slow_slew_never_raises_an_alarm(rate: float) -> None:
    """A wall that alone runs 500 ppm fast or slow for a day parts by 43 s; we follow and never distrust it."""
    machine = Machine()
    clock = machine.clock("stepped-only")
    for _ in range(86_400):
        machine.run(1.0, wall_rate=rate)
        assert clock.check() is ClockState.TRUSTED
    assert clock.now().utc_s == pytest.approx(machine.utc_s, abs=0.01)


def test_a_leap_second_is_absorbed_within_twenty_minutes() -> None:
    """One second apart is no alarm, and is followed by 1 ms a second without a jump."""
    machine = Machine()
    clock = machine.clock("stepped-only")
    machine.utc_s -= 1.0
    last = clock.now()
    for _ in range(1_200):
        machine.run(1.0)
        assert clock.check() is ClockState.TRUSTED
        now = clock.now()
        assert abs((now.utc_s - last.utc_s) - 1.0) <= 0.001 + 1e-6
        last = now
    assert last.utc_s == pytest.approx(machine.utc_s, abs=0.001)


def test_many_small_steps_are_noticed() -> None:
    """Steps of 0.4 s at every check outrun what we follow and are found out within ten checks."""
    machine = Machine()
    clock = machine.clock("stepped-only")
    states = []
    for _ in range(10):
        machine.run(1.0)
        machine.utc_s -= 0.4
        states.append(clock.check())
    assert states[-1] is ClockState.STEPPED
    assert abs(clock.now().utc_s - (START_UTC_S + 10)) < 0.02


def test_kernel_trust_begins_only_when_synchronised() -> None:
    """Kernel: untrusted from the start while the kernel says unsynchronised, trusted once it does not."""
    machine = Machine(synchronised=False)
    clock = machine.clock("kernel")
    assert clock.state is ClockState.UNSYNCHRONISED
    machine.synchronised = True
    assert clock.check() is ClockState.TRUSTED


def test_kernel_trust_adopts_the_daemons_step_only() -> None:
    """Kernel: a step while unsynchronised is not adopted; it is as soon as the kernel says synchronised again."""
    machine = Machine()
    clock = machine.clock("kernel")
    machine.synchronised = False
    machine.utc_s += HOUR_S
    assert clock.check() is ClockState.UNSYNCHRONISED
    assert clock.now().utc_s == pytest.approx(START_UTC_S)
    machine.synchronised = True
    assert clock.check() is ClockState.TRUSTED
    assert clock.now().utc_s == pytest.approx(START_UTC_S + HOUR_S)


def test_adopting_a_step_leaves_spans_alone() -> None:
    """Kernel: the date jumps with the adopted step, the monotonic span does not."""
    machine = Machine()
    clock = machine.clock("kernel")
    before = clock.now()
    machine.run(5)
    machine.utc_s -= HOUR_S
    assert clock.check() is ClockState.TRUSTED
    assert clock.now().since(before) == 5.0


def test_stepped_only_does_not_ask_the_kernel() -> None:
    """An unsynchronised kernel means nothing to stepped-only trust."""
    assert Machine(synchronised=False).clock("stepped-only").check() is ClockState.TRUSTED


def test_an_unknown_trust_is_refused_with_what_is_allowed() -> None:
    """A wrong word names the two right ones."""
    with pytest.raises(ValueError, match='allowed: "kernel", "stepped-only"'):
        Clock("ntp")


def test_the_kernel_can_be_asked_without_privilege() -> None:
    """adjtimex is read without changing anything, twice with the same kind of answer."""
    assert isinstance(read_kernel_synchronised(), bool)


def test_the_real_clocks_run() -> None:
    """With the machine's own readers both time lines go forward and are trusted."""
    clock = Clock("stepped-only")
    first, second = clock.now(), clock.now()
    assert second.mono_s >= first.mono_s
    assert second.utc_s >= first.utc_s
    assert clock.check() is ClockState.TRUSTED
