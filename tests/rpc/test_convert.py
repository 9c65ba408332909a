"""Values and messages say the same: every name on one side is there on the other."""

import enum
import math
from dataclasses import fields
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson

from drivers.contract import Direction
from gate.credential.documents import DocumentType
from gate.feed.finding import Band
from gate.feed.records import CredentialStatus
from gate.passage.commands import LaneMode
from gate.passage.record import CredentialKind, Outcome
from gate.policy.verdict import FindingClass, Reason, VerdictKind
from gate.rpc import convert
from gate.station.prompts import explained, prompts
from gate.station.state import FeedState
from gate.v1 import lane_pb2, passage_pb2, reason_pb2, status_pb2
from tests.rpc.station import lane_state
from tests.support.records import passage_record

PAIRS = [
    (Reason, reason_pb2.Reason, "REASON"),
    (VerdictKind, status_pb2.Verdict, "VERDICT"),
    (CredentialStatus, status_pb2.CredentialStatus, "CREDENTIAL_STATUS"),
    (FindingClass, status_pb2.Finding, "FINDING"),
    (Band, status_pb2.Band, "BAND"),
    (DocumentType, status_pb2.DocumentType, "DOCUMENT_TYPE"),
    (LaneMode, lane_pb2.LaneMode, "LANE_MODE"),
    (Outcome, passage_pb2.Outcome, "OUTCOME"),
]


@pytest.mark.parametrize(("ours", "proto", "prefix"), PAIRS, ids=[prefix for _, _, prefix in PAIRS])
def test_both_sides_have_the_same_names(ours: type[enum.StrEnum], proto: Any, prefix: str) -> None:
    """Each of our values has its proto value and the other way round, and finds it by its name."""
    assert {f"{prefix}_{member.value}" for member in ours} | {f"{prefix}_UNSPECIFIED"} == set(proto.keys())
    for member in ours:
        number = convert.enum_value(proto, prefix, member.value)
        assert number == proto.Value(f"{prefix}_{member.value}") != 0
        assert convert.enum_name(proto, prefix, number) == member.value


def test_directions_have_the_same_names() -> None:
    """In capitals there, small here."""
    names = {f"DIRECTION_{member.value.upper()}" for member in Direction}
    assert names | {"DIRECTION_UNSPECIFIED"} == set(lane_pb2.Direction.keys())
    for member in Direction:
        told = convert.passage(passage_record(direction=member.value)).direction
        assert lane_pb2.Direction.Name(told) == f"DIRECTION_{member.name}"


@pytest.mark.parametrize("barrier", ["NONE", "CLOSED", "RELEASED", "FAULTED", "HELD_OPEN"])
def test_every_state_of_a_barrier_can_be_told(barrier: str) -> None:
    """NONE, a lane without turnstile, is a state and not the absence of one."""
    told = convert.lane(lane_state(barrier=barrier)).barrier_state
    assert lane_pb2.BarrierState.Name(told) == f"BARRIER_STATE_{barrier}"
    assert told != lane_pb2.BARRIER_STATE_UNSPECIFIED


def test_the_barrier_has_no_state_that_cannot_be_told() -> None:
    """The barrier's own table and the proto agree."""
    from gate.passage.barrier import BarrierState

    assert {f"BARRIER_STATE_{state.value}" for state in BarrierState} | {
        "BARRIER_STATE_UNSPECIFIED",
        "BARRIER_STATE_NONE",
    } == set(lane_pb2.BarrierState.keys())


@pytest.mark.parametrize("why", Reason)
def test_every_reason_has_words_for_ticket_systems(why: Reason) -> None:
    """Sentence and next step in both languages, and the proto's comment is that sentence."""
    text = convert.text(why.name, explained(why, None, ("zh", "en")), ("zh", "en"), "AKM-REF", "12345")
    assert reason_pb2.Reason.Name(text.code) == f"REASON_{why.name}"
    assert all(text.sentence[language] and text.next_step[language] for language in ("zh", "en"))
    assert prompts()[why].sentence["en"] == text.sentence["en"]
    assert (text.correction_reference, text.appeal_reference) == ("AKM-REF", "12345")


@pytest.mark.parametrize("credential", CredentialKind)
def test_a_passage_keeps_what_it_says(credential: CredentialKind) -> None:
    """Field by field, and nothing of the subject."""
    record = passage_record(3, credential=credential.value, subject=b"subject-key-16-b")
    told = convert.passage(record)
    assert (told.passage_id, told.lane_id, told.credential) == (record.passage_id, "A1", credential.value)
    assert told.start_time.ToNanoseconds() == round(record.started_utc_s * 1000) * 1_000_000
    assert passage_pb2.Outcome.Name(told.outcome) == f"OUTCOME_{record.outcome}"
    assert dict(told.stage_microseconds) == dict(record.stages_us)
    assert (told.issuer, told.rule_id, list(told.degraded_causes)) == ("AKM", "mutual/1", ["FEED_AGED(SSM)"])
    assert b"subject" not in told.SerializeToString()


def test_a_passage_without_a_verdict_has_none() -> None:
    """NONE and "" become the unspecified values, never GRANT."""
    told = convert.passage(passage_record(verdict="NONE", reason="NONE", band=""))
    assert (told.verdict, told.reason, told.band) == (0, 0, 0)


@pytest.mark.parametrize(
    ("utc_s", "told"),
    [(0, "1970-01-01T00:00:00Z"), (1_780_000_000.25, "2026-05-28T20:26:40.250Z"), (1_780_000_000_000, "9999-"),
     (1e300, "9999-"), (math.inf, "9999-"), (-1, "1970-01-01T00:00:00Z")],
)  # fmt: skip
def test_a_publishers_absurd_time_does_not_hide_the_feeds(utc_s: float, told: str) -> None:
    """Milliseconds for seconds, or worse: the nearest time that a message can hold, and the list is told."""
    message = convert.feed(
        FeedState("SSM", 7, produced_utc_s=utc_s, next_due_utc_s=utc_s, age_s=-utc_s, band="EXPIRED")
    )
    assert message.next_due_time.ToJsonString().startswith(told)
    assert message.freshness.as_of_time == message.next_due_time
    assert MessageToJson(message)


@pytest.mark.parametrize("age_s", [0.0, 1.9999999999, -0.5, -3.25, 59.999999, 1e18, -1e18])
def test_an_age_is_a_valid_duration(age_s: float) -> None:
    """Rounded, with one sign, within what a Duration may be."""
    age = convert.duration(age_s)
    assert age is not None
    assert abs(age.nanos) < 1_000_000_000
    assert age.seconds * age.nanos >= 0
    assert MessageToJson(age)
    if abs(age_s) < 1e9:
        assert age.ToNanoseconds() / 1e9 == pytest.approx(age_s, abs=1e-6)


def test_what_is_absent_stays_absent() -> None:
    """A feed that was never applied has no times; every field of FeedState has its place in the message."""
    message = convert.feed(FeedState("SSM"))
    assert not message.HasField("next_due_time")
    assert not message.freshness.HasField("as_of_time")
    assert not message.freshness.HasField("age")
    renamed = {"produced_utc_s", "next_due_utc_s", "age_s", "band", "count"}
    assert {f.name for f in fields(FeedState)} - renamed <= {f.name for f in message.DESCRIPTOR.fields}
