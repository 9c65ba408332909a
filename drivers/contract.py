"""What devices say and hear: reports up, commands down. Standard library only, so that a lane agent may carry it.

A device owns its transport: it opens, watches and reopens its port by itself and says so by `Up` and `Down`. It never
decides anything about a passenger. Reports hold no clock: the instant is taken once, by whoever receives them.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Direction(enum.StrEnum):
    """Which way a person walks through a lane."""

    ENTRY = "entry"
    EXIT = "exit"


class DeviceFault(enum.StrEnum):
    """Why a device is down: the closed list that signs, metrics and the operator's page share."""

    PORT_MISSING = "PORT_MISSING"  # no such serial device, or nobody listens at the TCP address
    PORT_BUSY = "PORT_BUSY"  # another program holds the port
    PORT_DENIED = "PORT_DENIED"  # the service's user may not open it
    PORT_LOST = "PORT_LOST"  # it was open and vanished: unplugged, connection reset
    NO_ANSWER = "NO_ANSWER"  # open, but silent to commands
    PROTOCOL_ERROR = "PROTOCOL_ERROR"  # answers, but not as its protocol says: wrong model, speed or unit address
    SELF_TEST_FAILED = "SELF_TEST_FAILED"  # the device says that it is broken
    NOT_AUTHORISED = "NOT_AUTHORISED"  # the device's security module refuses to work (SAM_V 66)
    SOURCE_UNREADABLE = "SOURCE_UNREADABLE"  # a camera or picture source gives no frames
    LIBRARY_MISSING = "LIBRARY_MISSING"  # a library or system library that this device needs is not installed
    WORKER_LOST = "WORKER_LOST"  # the device's own process died and is being restarted
    WRONG_DEVICE = "WRONG_DEVICE"  # another device than the settings name answers: two were swapped


class ReadProblem(enum.StrEnum):
    """Why a card or code in front of the device gave nothing; each has its own words for the passenger."""

    CARD_REMOVED = "CARD_REMOVED"  # pulled away before it was read: "present again"
    CARD_UNREADABLE = "CARD_UNREADABLE"  # the card is there and reading fails
    CARD_NOT_AUTHENTIC = "CARD_NOT_AUTHENTIC"  # card and security module do not trust each other
    CARD_UNKNOWN_TYPE = "CARD_UNKNOWN_TYPE"  # not one of the cards this reader knows
    CODE_TOO_LONG = "CODE_TOO_LONG"  # more bytes than any code of ours has
    CODE_UNREADABLE = "CODE_UNREADABLE"  # a code was seen and could not be decoded


@dataclass(frozen=True, slots=True)
class Up:
    """The device answers; `detail` names model or firmware where it tells them, never anything of a person."""

    detail: str = ""
    identity: str = ""  # the device's own number where it tells one; by it two swapped devices are noticed


@dataclass(frozen=True, slots=True)
class Down:
    """The device does not work; said once per change, the device keeps trying by itself."""

    fault: DeviceFault
    detail: str = ""


VITALS_MAX = 64  # of each in one `Vitals`: more than any device is asked in a second; the rest is not counted


@dataclass(frozen=True, slots=True)
class Vitals:
    """What came of the questions asked of a device since it last said so: at most once a second, only if it was good.

    Every report but `Down` also means that the device is good; this one says nothing else.
    """

    took_s: tuple[float, ...] = ()  # of each answered command, from its bytes to its answer, in seconds
    errors: tuple[DeviceFault, ...] = ()  # of each that failed and did not bring the device down
    frames_skipped: int = 0  # of a camera: a newer frame had come; many mean too many cameras for this machine


@dataclass(frozen=True, slots=True)
class CardReport:
    """An identity card was read: its 256-byte text block (devices.md section 6), without photo or fingerprint."""

    text: bytes = field(repr=False)  # personal data: never printed


@dataclass(frozen=True, slots=True)
class CodeReport:
    """A code was scanned: its bytes as the symbol held them, without scanner prefix, suffix or AIM identifier."""

    payload: bytes = field(repr=False)  # personal data: never printed
    symbology: str = "QR"  # "QR", "PDF417", … ; "" when the scanner does not tell
    encoding: str = "utf-8"  # how the scanner sends text; gb18030 covers GBK


@dataclass(frozen=True, slots=True)
class CardNumberReport:
    """A card told its number and nothing else: a transit or citizen card read as Wiegand bits or as text."""

    number: str = field(repr=False)  # personal data; digits without leading zeros, or the text as sent
    bits: int  # how many bits the reader sent, parity included
    format: str  # "wiegand-26", …; "raw": bits of a layout that is not known; "ascii"; "uid": the chip's own


@dataclass(frozen=True, slots=True)
class Unread:
    """Something was presented and could not be read."""

    problem: ReadProblem


@dataclass(frozen=True, slots=True)
class Passed:
    """One person went through, as the turnstile's own sensor says."""

    direction: Direction


@dataclass(frozen=True, slots=True)
class Tailgating:
    """The turnstile's own sensor saw a second person on one release."""


@dataclass(frozen=True, slots=True)
class Occupied:
    """Somebody stands in the walkway, or no longer does."""

    occupied: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The turnstile says whether it can take a release (not: own fault, arms down, switched to manual)."""

    ready: bool


@dataclass(frozen=True, slots=True)
class Emergency:
    """The hard-wired emergency opening was seen to act, or to end. The service only ever observes it."""

    active: bool


class MeasuredAt(enum.StrEnum):
    """Of what a thermometer tells the temperature."""

    BODY = "BODY"  # converted by the device, or by the site's own calibration
    FOREHEAD = "FOREHEAD"  # the skin's, which is lower than the body's by an amount that nobody here knows


@dataclass(frozen=True, slots=True)
class Temperature:
    """Somebody stands before the thermometer and is so warm. Health data: the number is never printed."""

    celsius: float = field(repr=False)
    kind: MeasuredAt = MeasuredAt.BODY


DeviceReport = (
    Up
    | Down
    | Vitals
    | CardReport
    | CodeReport
    | CardNumberReport
    | Unread
    | Passed
    | Tailgating
    | Occupied
    | Ready
    | Emergency
    | Temperature
)
ReportSink = Callable[[DeviceReport], None]


class Answer(enum.StrEnum):
    """What became of a command. UNKNOWN is neither: a command whose effect could not be read back."""

    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"
    UNKNOWN = "UNKNOWN"


class Device(Protocol):
    """Anything with a port of its own."""

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled: open, speak, report, reopen with back-off. Raises nothing but CancelledError."""


class CardReader(Device, Protocol):
    """Reports `CardReport` or `CardNumberReport`, and `Unread`; takes no commands."""


class CodeScanner(Device, Protocol):
    """Reports `CodeReport` and `Unread`; takes no commands."""


class Turnstile(Device, Protocol):
    """Reports `Passed`, `Tailgating`, `Occupied`, `Ready`, `Emergency`; each command below is answered once."""

    async def release(self, direction: Direction, lifetime_s: float, sent: Callable[[], None] | None = None) -> Answer:
        """Free the barrier for one person. After `lifetime_s` seconds without effect it must never take effect.

        `sent` is called when the command's bytes are handed to the port.
        """

    async def hold_open(self) -> Answer:
        """Free passage until `end_hold` (crowd release)."""

    async def end_hold(self) -> Answer:
        """Return to one person per release. Callers never send it during an emergency; a driver refuses it then too."""


class NormallyOpen(Turnstile, Protocol):
    """A turnstile that can stand open at rest: its barrier closes only on a refusal."""

    refuses: bool  # whether it is wired so

    async def refuse(self) -> Answer:
        """Close for a while, on nobody, then stand open again; a release opens at once. Refused in an emergency."""

    async def stand_closed(self) -> Answer:
        """Close, on nobody, until `stand_open`, a release, a hold or an emergency; stand open when nobody drives it."""

    async def stand_open(self) -> Answer:
        """Stand open at rest again."""


class Thermometer(Device, Protocol):
    """Reports `Temperature` as long as somebody stands before it; takes no commands."""


class Sign(enum.StrEnum):
    """What lamps can tell of a lane. No health code's colour: only what to do now."""

    READY = "READY"  # the next passenger may present
    GO = "GO"
    STAFF = "STAFF"  # please wait, or go to the staff desk
    NO = "NO"


class Prompt(Device, Protocol):
    """Tells passengers something. Both commands return at once, raise nothing, and are answered by nobody.

    A prompt holds one of each: the newest replaces what has not been told yet, since only what is true now helps.
    """

    def say(self, reason: str) -> None:
        """Speak the words of this reason once, instead of what is being spoken; a lamp does nothing."""

    def show(self, sign: Sign) -> None:
        """Show this from now on, also after the device was lost and came back; a voice does nothing."""
