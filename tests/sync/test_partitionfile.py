"""Partitions as their issuer writes them: read whole, or refused by path and place."""

from pathlib import Path

import pytest

from gate.feed.partitions import Default, Partition
from gate.feed.records import CredentialStatus
from gate.sync import partitionfile
from gate.sync.partitionfile import PartitionFileError, read_partitions

GOOD = """
[[partition]]
code = "330100"
as_of = 2020-04-01T00:00:00+08:00
[[partition.default]]
from = 2020-03-26T00:00:00+08:00
status = "GREEN"
[[partition.default]]
from = 2020-04-01T14:00:00+08:00
status = "YELLOW"
reason = 7
"""


def test_a_city_turns_yellow_by_a_line(tmp_path: Path) -> None:
    """The module's own example, with its times and reason."""
    path = tmp_path / "partitions.toml"
    text = (partitionfile.__doc__ or "").split("\n\n", 1)[1]
    for toml in (GOOD, text):
        path.write_text(toml, "utf-8")
        assert read_partitions(path) == (
            Partition(
                "330100",
                1_585_670_400,
                (
                    Default(1_585_152_000, CredentialStatus.GREEN),
                    Default(1_585_720_800, CredentialStatus.YELLOW, 7),
                ),
            ),
        )


def test_they_are_brought_into_order(tmp_path: Path) -> None:
    """Written in any order."""
    path = tmp_path / "partitions.toml"
    path.write_text(GOOD + GOOD.replace("330100", "110100"), "utf-8")
    assert [one.code for one in read_partitions(path)] == ["110100", "330100"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"330100"', '"3301"', "partition[0].code: must be a GB/T 2260 code"),
        ('"330100"', "330100", "partition[0].code: must be"),
        ('"330100"', '"000000"', "partition[0].code: must be"),
        ('code = "330100"\n', "", "partition[0].code: must be"),
        ("as_of = 2020-04-01T00:00:00+08:00", "as_of = 2020-04-01T00:00:00", "partition[0].as_of: must be a time with"),
        ("as_of = 2020-04-01T00:00:00+08:00", "as_of = 2020-04-01", "partition[0].as_of: must be"),
        ("as_of = 2020-04-01T00:00:00+08:00", "as_of = 1969-04-01T00:00:00Z", "partition[0].as_of: must lie between"),
        ("as_of", "asof", "partition[0].asof: is not known; allowed are as_of, code, default"),
        ('"YELLOW"', '"yellow"', "partition[0].default[1].status: must be one of GREEN"),
        ('"YELLOW"', "[]", "partition[0].default[1].status: must be one of GREEN"),
        ("reason = 7", "reason = 256", "partition[0].default[1].reason: must be a whole number, 0 to 255"),
        ("reason = 7", "reason = true", "partition[0].default[1].reason: must be"),
        ("reason = 7", "why = 7", "partition[0].default[1].why: is not known"),
        ("2020-04-01T14:00:00+08:00", "2020-03-26T00:00:00+08:00", "needs 1 to 64 defaults, oldest first"),
        ("from = 2020-04-01T14:00:00+08:00\n", "", "partition[0].default[1].from: must be a time"),
        ("[[partition]]", "[partition]", "must hold [[partition]] tables and nothing else"),
        ("[[partition]]", "version = 2\n[[partition]]", "must hold [[partition]] tables and nothing else"),
        ("[[partition]]", "[[partition", "is not TOML"),
        (GOOD, "", "must hold [[partition]] tables"),
        (GOOD, "partition = [1]", "partition[0]: must be a table"),
        (GOOD, 'partition = [{code = "330100", default = 5}]', "partition[0].default: must be 1 to 64"),
        (GOOD, 'partition = [{code = "330100", default = []}]', "partition[0].default: must be 1 to 64"),
        (GOOD, 'partition = [{code = "330100", default = [5]}]', "partition[0].default[0]: must be a table"),
        (GOOD, GOOD + GOOD, "or one stands twice"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    """Path, place in it, what is allowed."""
    assert old in GOOD
    path = tmp_path / "partitions.toml"
    path.write_text(GOOD.replace(old, new, 1), "utf-8")
    with pytest.raises(PartitionFileError) as refused:
        read_partitions(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert says in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, or no text."""
    with pytest.raises(PartitionFileError, match=r"none\.toml: No such file"):
        read_partitions(tmp_path / "none.toml")
    (tmp_path / "noise.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(PartitionFileError, match=r"noise\.toml: is not TOML"):
        read_partitions(tmp_path / "noise.toml")
