"""The protos: named as they must be, and generated code that is what they give."""

import re
import shutil
from pathlib import Path

import pytest

from gate.v1 import device_pb2, feed_pb2, lane_pb2, passage_pb2, reason_pb2, status_pb2
from tests.support import protos

MODULES = (status_pb2, lane_pb2, passage_pb2, feed_pb2, reason_pb2, device_pb2)
CONTRACT = {
    "StatusService": {"CheckStatus", "BatchCheckStatus"},
    "LaneService": {"ListLanes", "GetLane", "WatchLanes", "SetLaneMode", "ReleaseLane"},
    "PassageService": {"ListPassages", "WatchPassages"},
    "FeedService": {"ListFeeds", "GetFeed"},
    "DeviceService": {"Attach"},
}
REQUEST = {"document", "code_content", "purpose", "order_id", "travel_time", "origin_region", "destination_region"}
RESPONSE = {
    "verdict", "credential_status", "reason", "finding", "freshness", "issuer", "asserted_by", "rule_id",
    "feed_sequence", "decision_id",
}  # fmt: skip


def test_the_public_names_are_there() -> None:
    """Services, methods and the fields of a status query, as the contract lists them."""
    services = {name: one for module in MODULES for name, one in module.DESCRIPTOR.services_by_name.items()}
    for name, methods in CONTRACT.items():
        assert methods <= {method.name for method in services[name].methods}
    assert {field.name for field in status_pb2.CheckStatusRequest.DESCRIPTOR.fields} >= REQUEST
    assert {field.name for field in status_pb2.CheckStatusResponse.DESCRIPTOR.fields} >= RESPONSE


def test_times_are_named_times() -> None:
    """A Timestamp is called *_time, a Duration *_duration or age; no number of seconds hides in a plain field."""
    for module in MODULES:
        for message in module.DESCRIPTOR.message_types_by_name.values():
            for field in message.fields:
                kind = field.message_type.full_name if field.message_type else ""
                assert (kind == "google.protobuf.Timestamp") == field.name.endswith("_time"), field.full_name
                span = field.name == "age" or field.name.endswith("_duration")
                assert (kind == "google.protobuf.Duration") == span, field.full_name
                assert not re.search(r"_(s|ms|seconds)$", field.name), field.full_name


@pytest.mark.parametrize("trouble", ["changed", "missing", "left over"])
def test_generated_code_that_differs_is_named(trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`compare` ends non-zero with the file's name, and without a word when all is as generated."""
    copy = tmp_path / "v1"
    shutil.copytree(protos.OUT, copy)
    monkeypatch.setattr(protos, "OUT", copy)
    monkeypatch.setattr("sys.argv", ["protos.py", "compare"])
    protos.main()
    name = "old_pb2.py" if trouble == "left over" else "lane_pb2.pyi"
    if trouble == "missing":
        (copy / name).unlink()
    else:
        (copy / name).write_text("# by hand\n")
    with pytest.raises(SystemExit) as ended:
        protos.main()
    assert name in str(ended.value)


def fields() -> dict[str, str]:
    """Message.field -> its comment in the protos."""
    found, message, comment = {}, "", ""
    for path in sorted((Path(__file__).parents[2] / "protos").rglob("*.proto")):
        for line in path.read_text("utf-8").splitlines():
            text = line.strip()
            if opens := re.match(r"message (\w+)", text):
                message = opens[1]
            if message and (field := re.match(r"(?:repeated )?(?:map<[^>]+>|[\w.]+) (\w+) = \d+;", text)):
                found[f"{message}.{field[1]}"] = comment
            if line.startswith("}"):
                message = ""
            comment = f"{comment} {text[2:].strip()}" if text.startswith("//") else ""
    return found


def test_every_field_says_when_it_is_absent_and_gives_an_example() -> None:
    """The comment of each field of each message: required, always given, or what its absence means; and an example."""
    told = fields()
    known = {
        f"{m.name}.{f.name}"
        for module in MODULES
        for m in module.DESCRIPTOR.message_types_by_name.values()
        for f in m.fields
    }
    assert set(told) == known
    for name, comment in told.items():
        assert "Example: " in comment, name
        assert re.search(r'Required|Always given|[Aa]bsent|"" |; 0 |UNSPECIFIED', comment), name
