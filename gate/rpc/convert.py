"""Values of the service to messages and back. Names are the same on both sides; enums carry buf's prefix."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gate.passage.record import PassageRecord
from gate.policy.rules import Words
from gate.policy.verdict import Spoken
from gate.station.state import DeviceState, FeedState, LaneState, PartitionState, ReportState, StatusAnswer
from gate.v1 import feed_pb2, lane_pb2, passage_pb2, reason_pb2, status_pb2

TIME_MAX_S = 253_402_300_799  # 9999-12-31T23:59:59Z, the last Timestamp (google/protobuf/timestamp.proto)
_SPAN_MAX_S = 315_576_000_000  # the longest Duration (google/protobuf/duration.proto)


def enum_value(enum: Any, prefix: str, name: str) -> Any:
    """The value `PREFIX_NAME`; the unspecified one for "" and "NONE"."""
    known: Mapping[str, Any] = enum.DESCRIPTOR.values_by_name
    wanted = f"{prefix}_{name}"
    return known[wanted if name and wanted in known else f"{prefix}_UNSPECIFIED"].number


def enum_name(enum: Any, prefix: str, value: int) -> str:
    """The name without its prefix; "" for the unspecified and for values of a newer client."""
    known = enum.DESCRIPTOR.values_by_number
    name: str = known[value].name.removeprefix(f"{prefix}_") if value in known else ""
    return "" if name == "UNSPECIFIED" else name


def timestamp(utc_s: float | None) -> Timestamp | None:
    """Seconds since 1970 as a message; None stays absent. A publisher's absurd time becomes the last that there is."""
    if utc_s is None:
        return None
    message = Timestamp()
    message.FromMicroseconds(round(_within(utc_s, 0, TIME_MAX_S) * 1e6))
    return message


def duration(span_s: float | None) -> Duration | None:
    """Seconds as a message; None stays absent."""
    if span_s is None:
        return None
    message = Duration()
    message.FromMicroseconds(round(_within(span_s, -_SPAN_MAX_S, _SPAN_MAX_S) * 1e6))
    return message


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def reason(name: str) -> Any:
    """A Reason by its name; unspecified for "" and "NONE"."""
    return enum_value(reason_pb2.Reason, "REASON", name)


def lane(state: LaneState) -> lane_pb2.Lane:
    """A lane as a message."""
    return lane_pb2.Lane(
        id=state.lane_id,
        mode=enum_value(lane_pb2.LaneMode, "LANE_MODE", state.mode),
        emergency=state.emergency,
        # "NONE" is a state here: the lane has no turnstile.
        barrier_state=lane_pb2.BarrierState.Value(f"BARRIER_STATE_{state.barrier}"),
        devices=[_device(device) for device in state.devices],
        degraded_causes=state.degraded,
        sign_verdict=enum_value(status_pb2.Verdict, "VERDICT", state.sign_verdict),
        sign_reason=reason(state.sign_reason),
        occupied=state.occupied,
        release_duration=duration(state.release_within_s or None),
        normally_open=state.normally_open,
        **_sign(state),
    )


def _sign(state: LaneState) -> dict[str, Any]:
    sign = state.sign
    if sign is None:
        return {}
    return {
        "sign_text": text(state.sign_reason, sign.words, tuple(sign.words.holder), sign.reference, sign.hotline),
        "sign_rule_id": sign.rule_id,
        "sign_issuer": sign.issuer,
        "sign_asserted_by": sign.asserted_by,
        "sign_freshness": _freshness(sign.band, sign.as_of_utc_s, sign.age_s) if sign.issuer else None,
    }


def _device(device: DeviceState) -> lane_pb2.Device:
    return lane_pb2.Device(
        name=device.name,
        driver=device.driver,
        kind=device.kind,
        up=device.up,
        fault=device.fault,
        detail=device.detail,
        last_good_time=timestamp(device.last_good_utc_s),
        error_count=device.errors,
    )


def passage(record: PassageRecord) -> passage_pb2.Passage:
    """A passage as a message; the subject's mark stays here."""
    return passage_pb2.Passage(
        passage_id=record.passage_id,
        lane_id=record.lane,
        direction=enum_value(lane_pb2.Direction, "DIRECTION", record.direction.upper()),
        start_time=timestamp(record.started_utc_s),
        credential=record.credential,
        verdict=enum_value(status_pb2.Verdict, "VERDICT", record.verdict),
        reason=reason(record.reason),
        rule_id=record.rule_id,
        outcome=enum_value(passage_pb2.Outcome, "OUTCOME", record.outcome),
        stage_microseconds=dict(record.stages_us),
        issuer=record.issuer,
        band=enum_value(status_pb2.Band, "BAND", record.band),
        degraded_causes=record.conditions,
        spoken_rules=record.spoken,
    )


def feed(state: FeedState) -> feed_pb2.Feed:
    """A feed as a message."""
    return feed_pb2.Feed(
        issuer=state.issuer,
        sequence=state.sequence,
        freshness=_freshness(state.band, state.produced_utc_s, state.age_s),
        next_due_time=timestamp(state.next_due_utc_s),
        entry_count=state.count,
        pepper_id=state.pepper_id,
        key_id=state.key_id,
        kind=enum_value(feed_pb2.FeedKind, "FEED_KIND", state.kind),
        exact_count=state.exact_count,
        token_count=state.token_count,
        set_digest=state.set_digest,
        partitions=map(_partition, state.partitions),
        changes_over_snapshot=state.changes_over_snapshot,
        last_refusal=state.last_refusal,
        source_trouble=state.source_trouble,
    )


def _partition(state: PartitionState) -> feed_pb2.FeedPartition:
    return feed_pb2.FeedPartition(
        code=state.code,
        freshness=_freshness(state.band, state.as_of_utc_s, state.age_s),
        default_status=enum_value(status_pb2.CredentialStatus, "CREDENTIAL_STATUS", state.default_status),
    )


def _freshness(band: str, as_of_utc_s: float | None, age_s: float | None) -> status_pb2.Freshness:
    return status_pb2.Freshness(
        band=enum_value(status_pb2.Band, "BAND", band), as_of_time=timestamp(as_of_utc_s), age=duration(age_s)
    )


def answer(given: StatusAnswer, languages: tuple[str, ...]) -> status_pb2.CheckStatusResponse:
    """A status answer as a message."""
    verdict = given.verdict
    return status_pb2.CheckStatusResponse(
        verdict=enum_value(status_pb2.Verdict, "VERDICT", verdict.kind),
        credential_status=enum_value(status_pb2.CredentialStatus, "CREDENTIAL_STATUS", verdict.credential_status),
        reason=text(verdict.reason.name, given.words, languages, given.reference, given.hotline),
        finding=enum_value(status_pb2.Finding, "FINDING", verdict.finding),
        freshness=_freshness(str(verdict.band or ""), verdict.as_of_utc_s, given.age_s),
        issuer=verdict.issuer,
        asserted_by=verdict.asserted_by,
        rule_id=verdict.rule_id,
        feed_sequence=verdict.feed_sequence,
        decision_id=given.decision_id,
        spoken_rules=[_spoken(rule) for rule in verdict.spoken],
        reports=[_report(report) for report in given.reports],
    )


def _report(report: ReportState) -> status_pb2.Report:
    return status_pb2.Report(
        issuer=report.issuer,
        asserted_by=report.asserted_by,
        credential_status=enum_value(status_pb2.CredentialStatus, "CREDENTIAL_STATUS", report.status),
        as_of_time=timestamp(report.as_of_utc_s),
    )


def _spoken(rule: Spoken) -> status_pb2.SpokenRule:
    return status_pb2.SpokenRule(
        id=rule.rule_id, verdict=enum_value(status_pb2.Verdict, "VERDICT", rule.kind), reason=reason(rule.reason.name)
    )


def text(name: str, words: Words, languages: tuple[str, ...], reference: str, hotline: str) -> status_pb2.ReasonText:
    """A reason with its words in the station's languages."""
    return status_pb2.ReasonText(
        code=reason(name),
        sentence={language: words.holder[language] for language in languages},
        next_step={language: words.next_step[language] for language in languages},
        appeal_reference=hotline,
        staff_sentence={language: words.staff[language] for language in languages},
        correction_reference=reference,
    )
