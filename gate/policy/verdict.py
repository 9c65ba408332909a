"""What we decide and why. One closed list of reasons, shared by sign, journal, metrics and gRPC."""

import enum
from dataclasses import dataclass

from gate.feed.finding import Band
from gate.feed.records import CredentialStatus


class VerdictKind(enum.StrEnum):
    """The three answers. REFER sends the passenger to staff: it is "I do not know", never "no"."""

    GRANT = "GRANT"
    DENY = "DENY"
    REFER = "REFER"


class Reason(enum.StrEnum):
    """Why, with a short stable name. The proto enum `gate.v1.Reason` has the same names; a test compares them."""

    # what the issuer says of the passenger
    STATUS_GREEN = "STATUS_GREEN"
    STATUS_YELLOW = "STATUS_YELLOW"
    STATUS_RED = "STATUS_RED"
    STATUS_GREEN_PENDING = "STATUS_GREEN_PENDING"
    STATUS_IN_REVIEW = "STATUS_IN_REVIEW"
    STATUS_GREY = "STATUS_GREY"
    STATUS_NOT_CLAIMED = "STATUS_NOT_CLAIMED"
    STATUS_UNKNOWN = "STATUS_UNKNOWN"
    # what we do not know
    NOT_LISTED = "NOT_LISTED"
    NOT_COVERED = "NOT_COVERED"
    FEED_EXPIRED = "FEED_EXPIRED"
    STORE_DAMAGED = "STORE_DAMAGED"
    LOOKUP_LATE = "LOOKUP_LATE"
    RULE_SILENT = "RULE_SILENT"
    CLOCK_UNTRUSTED = "CLOCK_UNTRUSTED"
    JOURNAL_FULL = "JOURNAL_FULL"
    RULES_CONTRADICT = "RULES_CONTRADICT"
    RULE_FAILED = "RULE_FAILED"
    ISSUER_UNREACHABLE = "ISSUER_UNREACHABLE"
    # what a rule says beyond a status
    NOT_RECOGNISED_HERE = "NOT_RECOGNISED_HERE"
    SLIP_NEEDED = "SLIP_NEEDED"
    GUARDIAN_NEEDED = "GUARDIAN_NEEDED"
    LOCAL_CODE_REQUIRED = "LOCAL_CODE_REQUIRED"
    STATION_CLOSED = "STATION_CLOSED"
    CHECKING_ENDED = "CHECKING_ENDED"
    WITH_GUARDIAN = "WITH_GUARDIAN"
    CERTIFICATE_VALID = "CERTIFICATE_VALID"
    # the credential itself
    CARD_REMOVED = "CARD_REMOVED"
    CARD_UNREADABLE = "CARD_UNREADABLE"
    CARD_NOT_AUTHENTIC = "CARD_NOT_AUTHENTIC"
    CARD_UNKNOWN_TYPE = "CARD_UNKNOWN_TYPE"
    CARD_NUMBER_INVALID = "CARD_NUMBER_INVALID"
    CARD_EXPIRED = "CARD_EXPIRED"
    CARD_NEEDS_CODE = "CARD_NEEDS_CODE"
    CARD_NOT_KNOWN = "CARD_NOT_KNOWN"
    CARD_NOT_ACCEPTED = "CARD_NOT_ACCEPTED"
    CODE_NEEDS_CARD = "CODE_NEEDS_CARD"
    CODE_NATIONAL = "CODE_NATIONAL"
    CODE_INCOMPLETE = "CODE_INCOMPLETE"
    CODE_LOOK_ALIKE = "CODE_LOOK_ALIKE"
    CODE_NOT_HEALTH = "CODE_NOT_HEALTH"
    CODE_NOT_TEXT = "CODE_NOT_TEXT"
    CODE_TOO_LONG = "CODE_TOO_LONG"
    CODE_UNREADABLE = "CODE_UNREADABLE"
    CODE_EXPIRED = "CODE_EXPIRED"
    CODE_FROM_FUTURE = "CODE_FROM_FUTURE"
    CODE_REPLAYED = "CODE_REPLAYED"
    CODE_NOT_AUTHENTIC = "CODE_NOT_AUTHENTIC"
    CODE_KEY_MISSING = "CODE_KEY_MISSING"
    CODE_TIME_UNCHECKED = "CODE_TIME_UNCHECKED"
    CODE_TRAVEL_DISABLED = "CODE_TRAVEL_DISABLED"
    CODE_OF_ANOTHER = "CODE_OF_ANOTHER"
    CODE_NOT_KNOWN = "CODE_NOT_KNOWN"
    CERTIFICATE_NEEDS_CARD = "CERTIFICATE_NEEDS_CARD"
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED"
    CERTIFICATE_NOT_AUTHENTIC = "CERTIFICATE_NOT_AUTHENTIC"
    CERTIFICATE_OF_ANOTHER = "CERTIFICATE_OF_ANOTHER"
    CERTIFICATE_UNREADABLE = "CERTIFICATE_UNREADABLE"
    # what was measured of the person: told last, so that whoever must show something more is asked for it first
    TEMPERATURE_HIGH = "TEMPERATURE_HIGH"
    # the passage
    ALREADY_PASSED = "ALREADY_PASSED"
    LANE_CLOSED = "LANE_CLOSED"
    LANE_MAINTENANCE = "LANE_MAINTENANCE"
    LANE_BUSY = "LANE_BUSY"
    BARRIER_FAULT = "BARRIER_FAULT"
    CONTROLLER_STOPPED = "CONTROLLER_STOPPED"
    STAFF_RELEASE = "STAFF_RELEASE"
    PAPER_CONFIRMED = "PAPER_CONFIRMED"
    CROWD_RELEASE = "CROWD_RELEASE"
    EMERGENCY_OPEN = "EMERGENCY_OPEN"
    # a caller's request
    REQUEST_INVALID = "REQUEST_INVALID"
    DOCUMENT_INVALID = "DOCUMENT_INVALID"
    TOO_MANY_ITEMS = "TOO_MANY_ITEMS"
    ROLE_NOT_PERMITTED = "ROLE_NOT_PERMITTED"
    LANE_NOT_FOUND = "LANE_NOT_FOUND"
    FEED_NOT_FOUND = "FEED_NOT_FOUND"
    SUBSCRIBER_TOO_SLOW = "SUBSCRIBER_TOO_SLOW"
    TOO_MANY_SUBSCRIBERS = "TOO_MANY_SUBSCRIBERS"
    CONTROLLER_FAILED = "CONTROLLER_FAILED"


class FindingClass(enum.StrEnum):
    """How the deciding status is known, as ticket systems are told."""

    LISTED = "LISTED"
    ENROLLED = "ENROLLED"  # not listed, hence the partition's default
    NOT_LISTED = "NOT_LISTED"
    NOT_COVERED = "NOT_COVERED"
    EXPIRED = "EXPIRED"
    ISSUER_ANSWERED = "ISSUER_ANSWERED"
    ISSUER_UNREACHABLE = "ISSUER_UNREACHABLE"
    CERTIFIED = "CERTIFIED"  # a paper certificate of a community


class Ask(enum.StrEnum):
    """What a rule wants tried before its verdict stands."""

    ISSUER = "ISSUER"  # the issuing region, online
    CARD = "CARD"  # the passenger, for the card as well
    CODE = "CODE"  # the passenger, for a health code or a paper certificate as well


@dataclass(frozen=True, slots=True)
class Spoken:
    """One rule that spoke, and what it said."""

    rule_id: str
    kind: VerdictKind
    reason: Reason

    def __str__(self) -> str:
        return f"{self.rule_id} {self.kind} {self.reason}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision with its grounds. Fields about a finding are empty when none decided."""

    kind: VerdictKind
    reason: Reason
    rule_id: str  # the rule that decided; "" when none did
    credential_status: CredentialStatus = CredentialStatus.UNKNOWN
    finding: FindingClass = FindingClass.NOT_COVERED
    issuer: str = ""
    asserted_by: str = ""
    band: Band | None = None
    as_of_utc_s: float | None = None
    feed_sequence: int = 0
    spoken: tuple[Spoken, ...] = ()  # every rule that applied, overridden ones too
    ask_first: tuple[Ask, ...] = ()  # what may still change it, in this order
