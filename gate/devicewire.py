"""Device reports as messages of the wire and back: what a lane agent and its controller both speak.

Personal data (card text and number, code bytes, a temperature) is in four of the messages: they are never printed or
logged.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, assert_never

from drivers import contract
from gate.v1 import device_pb2, lane_pb2

CONTENT_BYTES_MAX = 8192  # a card's block has 256 bytes, the largest QR symbol holds 2,953
BITS_MAX = 65_535
DETAIL_MAX = 200
ENCODINGS = ("utf-8", "gb18030")  # as scanners' settings allow: the many of Python are not for whoever sends to choose
TOOK_MAX_S = 3600.0  # no command of a device takes so long
_UINT32_MAX = 0xFFFF_FFFF

_DIRECTIONS = {
    contract.Direction.ENTRY: lane_pb2.DIRECTION_ENTRY,
    contract.Direction.EXIT: lane_pb2.DIRECTION_EXIT,
}
_DIRECTIONS_BACK = {number: direction for direction, number in _DIRECTIONS.items()}
_ANSWERS = {
    contract.Answer.ACCEPTED: device_pb2.COMMAND_ANSWER_ACCEPTED,
    contract.Answer.REFUSED: device_pb2.COMMAND_ANSWER_REFUSED,
    contract.Answer.UNKNOWN: device_pb2.COMMAND_ANSWER_UNKNOWN,
}
_ANSWERS_BACK = {number: answer for answer, number in _ANSWERS.items()}


class WireError(ValueError):
    """A message is not as the protos say; the text names the field and never quotes it."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text


def direction_number(direction: contract.Direction) -> Any:
    """The proto's number of a direction."""
    return _DIRECTIONS[direction]


def direction_of(number: int) -> contract.Direction:
    """The direction of the proto's number. Raises WireError."""
    try:
        return _DIRECTIONS_BACK[number]  # type: ignore[index] # an open enum: any number may come
    except KeyError:
        raise WireError("direction", "must be ENTRY or EXIT") from None


def answer_number(answer: contract.Answer) -> Any:
    """The proto's number of an answer."""
    return _ANSWERS[answer]


def answer_of(number: int) -> contract.Answer:
    """The answer of the proto's number. Raises WireError."""
    try:
        return _ANSWERS_BACK[number]  # type: ignore[index] # an open enum: any number may come
    except KeyError:
        raise WireError("answer", "must be ACCEPTED, REFUSED or UNKNOWN") from None


def mark(number: int, since_start_s: float) -> device_pb2.Mark:
    """An instant of the agent."""
    made = device_pb2.Mark(number=number)
    set_duration(made.since_start_duration, since_start_s)
    return made


def set_duration(field: Any, seconds: float) -> None:
    """Write seconds into a Duration."""
    field.FromNanoseconds(round(seconds * 1e9))


def seconds_of(field: Any) -> float:
    """A Duration in seconds."""
    return float(field.seconds + field.nanos / 1e9)


def report_message(
    device: str, said: contract.DeviceReport, release: device_pb2.CommandRef | None = None
) -> device_pb2.DeviceReport:
    """What a device says, for the wire; `release`: the command that a passage followed."""
    report = device_pb2.DeviceReport(device=device)
    match said:
        case contract.Up(detail=detail, identity=identity):
            report.up.detail, report.up.identity = detail[:DETAIL_MAX], identity[:DETAIL_MAX]
        case contract.Vitals(took_s=took_s, errors=errors, frames_skipped=frames_skipped):
            report.vitals.SetInParent()
            report.vitals.frames_skipped = min(frames_skipped, _UINT32_MAX)
            for seconds in took_s[: contract.VITALS_MAX]:
                set_duration(report.vitals.command_duration.add(), seconds)
            report.vitals.errors.extend(str(fault) for fault in errors[: contract.VITALS_MAX])
        case contract.Down(fault=fault, detail=detail):
            report.down.fault, report.down.detail = str(fault), detail[:DETAIL_MAX]
        case contract.CardReport(text=text):
            report.card.text = text
        case contract.CodeReport(payload=payload, symbology=symbology, encoding=encoding):
            report.code.payload, report.code.symbology, report.code.encoding = payload, symbology, encoding
        case contract.CardNumberReport(number=number, bits=bits, format=layout):
            report.number.number, report.number.bits, report.number.format = number, bits, layout[:DETAIL_MAX]
        case contract.Temperature(celsius=celsius, kind=kind):
            report.temperature.celsius, report.temperature.measured_at = celsius, str(kind)
        case contract.Unread(problem=problem):
            report.unread.problem = str(problem)
        case contract.Passed(direction=direction):
            report.passed.CopyFrom(device_pb2.PersonPassed(direction=_DIRECTIONS[direction], release=release))
        case contract.Tailgating():
            report.tailgating.SetInParent()
        case contract.Occupied(occupied=occupied):
            report.occupied.CopyFrom(device_pb2.Walkway(occupied=occupied))
        case contract.Ready(ready=ready):
            report.ready.CopyFrom(device_pb2.Readiness(ready=ready))
        case contract.Emergency(active=active):
            report.emergency.CopyFrom(device_pb2.EmergencyInput(active=active))
        case _:
            assert_never(said)
    return report


def report_of(report: device_pb2.DeviceReport) -> contract.DeviceReport:
    """What a device says. Raises WireError."""
    said = report.WhichOneof("said")
    if said is None:
        raise WireError("report", "says nothing that is known here")
    return _READ[said](getattr(report, said))


def _card(card: Any) -> contract.DeviceReport:
    return contract.CardReport(_content("card.text", card.text))


def _code(code: Any) -> contract.DeviceReport:
    if code.encoding not in ENCODINGS:
        raise WireError("code.encoding", f"is none that is known here: give {' or '.join(ENCODINGS)}")
    return contract.CodeReport(_content("code.payload", code.payload), code.symbology[:DETAIL_MAX], code.encoding)


def _content(field: str, content: bytes) -> bytes:
    if len(content) > CONTENT_BYTES_MAX:
        raise WireError(field, f"has {len(content)} bytes: at most {CONTENT_BYTES_MAX}")
    return content


def _number(card: Any) -> contract.DeviceReport:
    if len(card.number) > CONTENT_BYTES_MAX or card.bits > BITS_MAX:
        raise WireError("number", f"is longer than {CONTENT_BYTES_MAX} characters or {BITS_MAX} bits")
    return contract.CardNumberReport(card.number, card.bits, card.format[:DETAIL_MAX])


def _temperature(warmth: Any) -> contract.DeviceReport:
    if not math.isfinite(warmth.celsius):
        raise WireError("temperature.celsius", "must be a number with an end")
    try:
        return contract.Temperature(warmth.celsius, contract.MeasuredAt(warmth.measured_at))
    except ValueError:
        raise WireError("temperature.measured_at", "is none that is known here: give BODY or FOREHEAD") from None


def _down(down: Any) -> contract.DeviceReport:
    try:
        return contract.Down(contract.DeviceFault(down.fault), down.detail[:DETAIL_MAX])
    except ValueError:
        raise WireError("down.fault", "is no fault that is known here: run the same version on both sides") from None


def _vitals(vitals: Any) -> contract.DeviceReport:
    most = contract.VITALS_MAX
    try:
        errors = tuple(contract.DeviceFault(fault) for fault in vitals.errors[:most])
    except ValueError:
        raise WireError("vitals.errors", "is no fault that is known here: run the same version on both sides") from None
    took_s = tuple(seconds_of(each) for each in vitals.command_duration[:most])
    if not all(0 <= seconds <= TOOK_MAX_S for seconds in took_s):
        raise WireError("vitals.command_duration", f"must be 0 to {TOOK_MAX_S:g} s")
    return contract.Vitals(took_s, errors, vitals.frames_skipped)


def _unread(unread: Any) -> contract.DeviceReport:
    try:
        return contract.Unread(contract.ReadProblem(unread.problem))
    except ValueError:
        raise WireError("unread.problem", "is none that is known here: run the same version on both sides") from None


_READ: Mapping[str, Callable[[Any], contract.DeviceReport]] = {
    "up": lambda up: contract.Up(up.detail[:DETAIL_MAX], up.identity[:DETAIL_MAX]),
    "vitals": _vitals,
    "down": _down,
    "card": _card,
    "code": _code,
    "number": _number,
    "temperature": _temperature,
    "unread": _unread,
    "passed": lambda passed: contract.Passed(direction_of(passed.direction)),
    "tailgating": lambda _: contract.Tailgating(),
    "occupied": lambda walkway: contract.Occupied(walkway.occupied),
    "ready": lambda readiness: contract.Ready(readiness.ready),
    "emergency": lambda emergency: contract.Emergency(emergency.active),
}
