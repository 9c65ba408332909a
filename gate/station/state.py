"""What operators and ticket systems are shown: plain values that the gRPC surface turns into messages."""

from dataclasses import dataclass

from gate.policy.rules import Words
from gate.policy.verdict import Verdict


@dataclass(frozen=True, slots=True)
class DeviceState:
    """How one device is."""

    name: str
    driver: str
    kind: str  # card-reader | code-scanner | turnstile
    up: bool
    fault: str  # a DeviceFault, "" while up
    detail: str
    last_good_utc_s: float | None = None  # when it last answered or spoke; None: never yet
    errors: int = 0  # failed commands and losses since the controller started


@dataclass(frozen=True, slots=True)
class SignState:
    """What stands behind a sign's verdict (R1). Parts about a decision are empty where none was made."""

    words: Words  # in the station's languages
    hotline: str  # where to object or ask for correction: the issuer's, else everybody's
    rule_id: str = ""
    reference: str = ""  # correction reference of the person at the sign (R12)
    issuer: str = ""
    asserted_by: str = ""
    band: str = ""  # a Band
    as_of_utc_s: float | None = None
    age_s: float | None = None


# People pass as well without a voice, lamps, or a thermometer.
_BESIDE = frozenset({"prompt", "thermometer"})


@dataclass(frozen=True, slots=True)
class LaneState:
    """How one lane is."""

    lane_id: str
    mode: str  # a LaneMode
    emergency: bool
    barrier: str  # a BarrierState; NONE for a lane without turnstile
    front: str  # a FrontState
    devices: tuple[DeviceState, ...]
    degraded: tuple[str, ...]  # present causes that concern this lane
    sign_verdict: str  # "" while the sign says ready
    sign_reason: str
    occupied: bool = False
    sign: SignState | None = None  # what stands behind the sign's verdict; None while it says ready
    release_within_s: float = 0.0  # how long a release waits for its passage; 0: no turnstile
    normally_open: bool = False  # stands open at rest

    @property
    def works(self) -> bool:
        """Whether the lane has devices and every one that a passage needs is up."""
        return bool(self.devices) and all(device.up or device.kind in _BESIDE for device in self.devices)


@dataclass(frozen=True, slots=True)
class PartitionState:
    """How one partition of a feed is."""

    code: str  # GB/T 2260, six digits
    as_of_utc_s: float
    age_s: float
    band: str  # a Band
    default_status: str  # a CredentialStatus; "" before the first default begins


@dataclass(frozen=True, slots=True)
class FeedState:
    """How one issuer's feed is."""

    issuer: str
    sequence: int = 0  # 0: nothing was ever applied
    kind: str = ""  # a Kind
    produced_utc_s: float | None = None
    next_due_utc_s: float | None = None
    age_s: float | None = None
    band: str = ""  # a Band, "" while nothing is held
    count: int = 0
    exact_count: int = 0
    token_count: int = 0
    set_digest: str = ""
    pepper_id: str = ""
    key_id: str = ""
    partitions: tuple[PartitionState, ...] = ()
    changes_over_snapshot: int = 0
    last_refusal: str = ""  # the last snapshot that was not applied, and why; "" when none
    source_trouble: str = ""


@dataclass(frozen=True, slots=True)
class ReportState:
    """What one issuer says of the person asked about."""

    issuer: str
    asserted_by: str
    status: str  # a CredentialStatus
    as_of_utc_s: float


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """The same verdict a gate would give, with the words for it."""

    verdict: Verdict
    decision_id: str
    age_s: float | None
    conditions: tuple[str, ...]
    words: Words
    hotline: str  # the issuer's, else everybody's
    reference: str = ""  # correction reference (R12); "" where no issuer's record of the person decided
    reports: tuple[ReportState, ...] = ()  # of every issuer that knows the person


@dataclass(frozen=True, slots=True)
class Travel:
    """A journey that a status is asked for. Absent parts are now, and this station."""

    utc_s: float | None = None
    destination: str = ""  # GB/T 2260, six digits


NOW_AND_HERE = Travel()


class SubscriberTooSlowError(Exception):
    """A stream's reader fell behind its bounded queue and was let go."""


class TooManySubscribersError(Exception):
    """No more streams are accepted."""


class UnknownLaneError(KeyError):
    """There is no lane of that id."""


class StateRefusedError(Exception):
    """The station is not in a state that allows the action; the text says what to do first."""
