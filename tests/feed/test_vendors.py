"""R17: every vendor's values are mapped explicitly, and nothing else is ever a colour (health-codes.md 1.3)."""

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gate.feed.vendors
from gate.feed.records import CredentialStatus as Status
from gate.feed.vendors import TABLES, Vendor, grade, status_of

COLOURS = {Status.GREEN, Status.YELLOW, Status.RED}

# Written down again from health-codes.md 1.3, page beside code: vendor, value as it comes in, meaning.
R17 = [
    (Vendor.CROSS_SYSTEM, "00", Status.GREEN),
    (Vendor.CROSS_SYSTEM, "01", Status.YELLOW),
    (Vendor.CROSS_SYSTEM, "10", Status.RED),
    (Vendor.ZHEJIANG_JIANGSU, "green", Status.GREEN),
    (Vendor.ZHEJIANG_JIANGSU, "yellow", Status.YELLOW),
    (Vendor.ZHEJIANG_JIANGSU, "red", Status.RED),
    (Vendor.ALIPAY, "green", Status.GREEN),
    (Vendor.ALIPAY, "yellow", Status.YELLOW),
    (Vendor.ALIPAY, "red", Status.RED),
    (Vendor.ALIPAY, "init", Status.IN_REVIEW),
    (Vendor.ANHUI, "1", Status.GREEN),
    (Vendor.ANHUI, "2", Status.YELLOW),
    (Vendor.ANHUI, "3", Status.RED),
    (Vendor.ANHUI, "", Status.IN_REVIEW),
    (Vendor.JULONG, 0, Status.UNKNOWN),
    (Vendor.JULONG, 1, Status.GREEN),
    (Vendor.JULONG, 2, Status.YELLOW),
    (Vendor.JULONG, 3, Status.RED),
    (Vendor.DAHUA, 0, Status.UNKNOWN),
    (Vendor.DAHUA, 1, Status.RED),
    (Vendor.DAHUA, 2, Status.GREEN),
    (Vendor.DAHUA, 3, Status.YELLOW),
    (Vendor.DAHUA, 4, Status.UNKNOWN),
    (Vendor.ALIBABA_CLOUD_IOT, 1, Status.GREEN),
    (Vendor.ALIBABA_CLOUD_IOT, 2, Status.YELLOW),
    (Vendor.ALIBABA_CLOUD_IOT, 3, Status.RED),
    (Vendor.ALIBABA_CLOUD_IOT, 4, Status.GREY),
    (Vendor.ALIBABA_CLOUD_IOT, 5, Status.NOT_CLAIMED),
    (Vendor.ALIBABA_CLOUD_IOT, 6, Status.UNKNOWN),
    (Vendor.ALIBABA_CLOUD_IOT, 7, Status.UNKNOWN),
    (Vendor.WECOM, 0, Status.GREEN),
    (Vendor.WECOM, 1, Status.UNKNOWN),
    (Vendor.WECOM, 2, Status.UNKNOWN),
    (Vendor.UNIVERSITY_MODEL, 0, Status.RED),
    (Vendor.UNIVERSITY_MODEL, 1, Status.YELLOW),
    (Vendor.UNIVERSITY_MODEL, 2, Status.GREEN),
]


@pytest.mark.parametrize(("vendor", "value", "status"), R17)
def test_r17_each_value_means_what_the_page_says(vendor: Vendor, value: object, status: Status) -> None:
    """R17: Dahua 1 is RED, Anhui "1" is green, "10" is red, and so on for every line of the page."""
    assert status_of(vendor, value) is status


def test_r17_the_page_and_the_tables_hold_the_same_values() -> None:
    """R17: nothing is in a table that the list above does not claim, so a new value needs a new claim."""
    held = {(vendor, value) for vendor, (_, table) in TABLES.items() for value in table}
    assert held == {(vendor, value) for vendor, value, _ in R17}
    assert set(TABLES) == set(Vendor)


@pytest.mark.parametrize(
    ("vendor", "value"),
    [
        (Vendor.CROSS_SYSTEM, 10),
        (Vendor.CROSS_SYSTEM, 0),
        (Vendor.CROSS_SYSTEM, 1),
        (Vendor.CROSS_SYSTEM, "0"),
        (Vendor.CROSS_SYSTEM, "1"),
        (Vendor.CROSS_SYSTEM, "000"),
        (Vendor.CROSS_SYSTEM, "00 "),
        (Vendor.CROSS_SYSTEM, "００"),
        (Vendor.CROSS_SYSTEM, b"00"),
        (Vendor.CROSS_SYSTEM, "11"),
        (Vendor.CROSS_SYSTEM, ""),
        (Vendor.CROSS_SYSTEM, None),
        (Vendor.ZHEJIANG_JIANGSU, "Green"),
        (Vendor.ZHEJIANG_JIANGSU, "init"),
        (Vendor.ZHEJIANG_JIANGSU, "blue"),
        (Vendor.ALIPAY, ""),
        (Vendor.ANHUI, 1),
        (Vendor.ANHUI, "01"),
        (Vendor.ANHUI, " "),
        (Vendor.JULONG, "1"),
        (Vendor.DAHUA, "2"),
        (Vendor.DAHUA, 2.0),
        (Vendor.DAHUA, True),
        (Vendor.JULONG, True),
        (Vendor.WECOM, False),
        (Vendor.ALIBABA_CLOUD_IOT, "1"),
        (Vendor.ALIBABA_CLOUD_IOT, 8),
        (Vendor.HUAWEI_OCR, "green"),
        (Vendor.HUAWEI_OCR, "grey"),
        (Vendor.DAHUA, [1]),
        (Vendor.CROSS_SYSTEM, {"type": "00"}),
    ],
)
def test_r17_a_near_miss_is_unknown(vendor: Vendor, value: object) -> None:
    """R17: another type, another spelling or another vendor's value is UNKNOWN, and no error either."""
    assert status_of(vendor, value) is Status.UNKNOWN


_ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.sampled_from(Vendor), _ANYTHING)
def test_r17_only_a_value_of_the_page_is_a_colour(vendor: Vendor, value: object) -> None:
    """R17: over any value at all, a colour comes out only where the page has this value in this type."""
    claimed = [status for v, said, status in R17 if v is vendor and type(said) is type(value) and said == value]
    assert status_of(vendor, value) is (claimed[0] if claimed else Status.UNKNOWN)


@pytest.mark.parametrize("status", Status)
def test_a_grade_is_given_to_colours_alone_and_comes_back(status: Status) -> None:
    """Grade and status_of are inverse over the three colours; all other states have no grade."""
    text = grade(status)
    if status in COLOURS:
        assert status_of(Vendor.CROSS_SYSTEM, text) is status
    else:
        assert text == ""


def test_no_value_is_written_twice_in_a_table() -> None:
    """A later line of a dict display silently beats an earlier one, so no table may repeat a key."""
    tree = ast.parse(Path(gate.feed.vendors.__file__).read_text("utf-8"))
    tables = [[ast.dump(key) for key in node.keys if key] for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    assert len(tables) > len(Vendor)
    assert all(len(keys) == len(set(keys)) for keys in tables)
