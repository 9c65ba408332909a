"""The only place where clocks are read: one time line that steps of the wall clock cannot bend.

`now().utc_s` is the wall time of an anchor carried on by the monotonic clock. `check()`, called about once a second,
compares that with the wall:

- Linux slews both clocks alike (adjtimex moves CLOCK_MONOTONIC too), so they part only by a step, a leap second, or
  a suspended machine. Up to 2 s apart we follow the wall by at most 1 ms a second: a leap second or a small correction
  is absorbed in minutes, a slew on systems where only the wall moves never adds up to an alarm, and steps of 0.4 s
  each second still outrun it and are noticed.
- More than 2 s apart is a step. With trust "stepped-only" nothing tells which clock is right, so ours goes on unchanged
  and is untrusted until the wall is back within 2 s. We never adopt a step by ourselves: a wall set back an
  hour would turn an expired feed fresh. If the wall was wrong when we started, restart the controller.
- With trust "kernel" the kernel must also say "synchronised". Every step marks it unsynchronised until the time daemon
  has spoken again (ntp_clear in kernel/time/timekeeping.c): a step while synchronised is the daemon's, and adopted.
"""

import ctypes
import enum
import sys
import time
from collections.abc import Callable

from gate.moment import Moment

STEP_S = 2.0  # contract.md [clock]: wall against monotonic, 2 s
FOLLOW_RATE = 0.001  # seconds per second: twice the kernel's largest ordinary slew (500 ppm)
FOLLOW_SPAN_S_MAX = 60.0  # a check that comes later than this follows no more than for this span

_STA_UNSYNC = 0x40  # <linux/timex.h>
_TIME_ERROR = 5  # <linux/timex.h>: clock not synchronised


class ClockState(enum.StrEnum):
    """Whether dates may be believed."""

    TRUSTED = "TRUSTED"
    STEPPED = "STEPPED"  # the wall is more than 2 s away from our time line
    UNSYNCHRONISED = "UNSYNCHRONISED"  # the kernel does not say "synchronised" (trust "kernel" only)

    @property
    def trusted(self) -> bool:
        """True when feeds may be judged by this clock."""
        return self is ClockState.TRUSTED


class Clock:
    """The station's clock. `trust` is "kernel" or "stepped-only" (contract.md [clock]); the readers are for tests."""

    def __init__(
        self,
        trust: str,
        *,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
        kernel_synchronised: Callable[[], bool] | None = None,
    ) -> None:
        if trust not in ("kernel", "stepped-only"):
            raise ValueError(f'clock trust is "{trust}"; allowed: "kernel", "stepped-only"')
        self._wall = wall
        self._mono = mono
        self._synchronised = kernel_synchronised or read_kernel_synchronised if trust == "kernel" else None
        self._offset_s, self._checked_mono_s = self._read()
        self._state = ClockState.TRUSTED
        self.check()

    def now(self) -> Moment:
        """This instant. Safe in any thread; a step of the wall clock changes nothing."""
        mono_s = self._mono()
        return Moment(self._offset_s + mono_s, mono_s)

    @property
    def state(self) -> ClockState:
        """What the last `check` found."""
        return self._state

    @property
    def degraded(self) -> frozenset[str]:
        """`{"CLOCK_UNTRUSTED"}` while dates may not be believed, else empty."""
        return frozenset() if self._state.trusted else frozenset({"CLOCK_UNTRUSTED"})

    def check(self) -> ClockState:
        """Compare with the wall (and the kernel); call about once a second, in one thread."""
        offset_s, mono_s = self._read()
        parted_s = offset_s - self._offset_s
        synchronised = self._synchronised() if self._synchronised else None
        if synchronised is False:
            self._state = ClockState.UNSYNCHRONISED
        elif abs(parted_s) <= STEP_S:
            self._follow(parted_s, mono_s - self._checked_mono_s)
            self._state = ClockState.TRUSTED
        elif synchronised:
            self._offset_s = offset_s
            self._state = ClockState.TRUSTED
        else:
            self._state = ClockState.STEPPED
        self._checked_mono_s = mono_s
        return self._state

    def _follow(self, parted_s: float, span_s: float) -> None:
        most_s = FOLLOW_RATE * min(max(span_s, 0.0), FOLLOW_SPAN_S_MAX)
        self._offset_s += min(max(parted_s, -most_s), most_s)

    def _read(self) -> tuple[float, float]:
        """Wall minus monotonic, and monotonic; the wall is taken between two readings so that a pre-emption halves."""
        before_s = self._mono()
        wall_s = self._wall()
        after_s = self._mono()
        return wall_s - (before_s + after_s) / 2, after_s


class _Timex(ctypes.Structure):
    """`struct timex`; only `status` is used, the rest keeps the kernel's writes inside our memory."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),  # the whole struct is 208 bytes on 64-bit Linux
    )


def read_kernel_synchronised() -> bool:
    """What adjtimex says; False as well when it cannot be asked (not Linux, forbidden): then we do not know."""
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex()  # modes 0: only read, no privilege needed
    answer = libc.adjtimex(ctypes.byref(timex))
    return 0 <= answer != _TIME_ERROR and not timex.status & _STA_UNSYNC
