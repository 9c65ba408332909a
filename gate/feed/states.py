"""Many elements at once, as numpy arrays: keys (n, 16) and states (n, 28), as `records.py` lays them out."""

import numpy as np
import numpy.typing as npt

from gate.feed.records import ENROLLED_NUMBER, REGION_MAX, STATE_BYTES, STATUS_NUMBER, CredentialStatus, region

Bytes2 = npt.NDArray[np.uint8]  # (n, width)
Mask = npt.NDArray[np.bool_]

_FIELDS = np.dtype(
    [
        ("status", "u1"),
        ("reason", "u1"),
        ("zero", ">u2"),
        ("asserted_by", ">u4"),
        ("partition", ">u4"),
        ("effective", ">u4"),
        ("until", ">u4"),
        ("revision", ">u4"),
        ("residence", ">u4"),
    ]
)
assert _FIELDS.itemsize == STATE_BYTES  # noqa: S101 - the same layout as records._STATE, or nothing here is true
_DAY_MAX = 0xFFFF
_RED = STATUS_NUMBER[CredentialStatus.RED]


def fields(states: Bytes2) -> npt.NDArray[np.void]:
    """The states as records with named fields; no copy where they lie together."""
    return np.ascontiguousarray(states).view(_FIELDS).reshape(-1)


def is_there(states: Bytes2) -> Mask:
    """Which states mean "in the set"."""
    there: Mask = states[:, 0] > 0
    return there


def is_exact(states: Bytes2) -> Mask:
    """Which states are told exactly."""
    exact: Mask = (states[:, 0] > 0) & (states[:, 0] != ENROLLED_NUMBER)
    return exact


def is_enrolled(states: Bytes2) -> Mask:
    """Which states are enrolments."""
    enrolled: Mask = states[:, 0] == ENROLLED_NUMBER
    return enrolled


def valid(states: Bytes2) -> Mask:
    """Which states a publisher of ours writes; the same judgement as `records.decode_state`."""
    f = fields(states)
    regions = (f["asserted_by"] <= REGION_MAX) & (f["partition"] <= REGION_MAX) & (f["residence"] <= REGION_MAX)
    colour = (f["status"] >= 1) & (f["status"] <= len(STATUS_NUMBER))
    nothing = (f["reason"] == 0) & (f["asserted_by"] == 0) & (f["effective"] == 0)
    nothing &= (f["revision"] == 0) & (f["residence"] == 0)
    enrolled = (f["status"] == ENROLLED_NUMBER) & nothing & (f["partition"] > 0) & (f["until"] <= _DAY_MAX)
    absent = (f["status"] == 0) & nothing & (f["partition"] == 0) & (f["until"] == 0)
    good: Mask = (f["zero"] == 0) & regions & (colour | enrolled | absent)
    return good


def newly_red(before: Bytes2, after: Bytes2) -> dict[str, int]:
    """How many of these subjects turn red, by the authority that says so (R8); most first."""
    turned = (after[:, 0] == _RED) & (before[:, 0] != _RED)
    codes, many = np.unique(fields(after[turned])["asserted_by"].astype(np.uint32), return_counts=True)
    most = np.argsort(-many, kind="stable")
    return {region(int(codes[at])): int(many[at]) for at in most}


def key_numbers(keys: Bytes2) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Keys as two native numbers each, which order as the keys do."""
    pair = np.ascontiguousarray(keys).view(">u8").astype(np.uint64)
    return pair[:, 0], pair[:, 1]


def ascending(keys: Bytes2) -> bool:
    """Whether the keys are in order and none stands twice."""
    high, low = key_numbers(keys)
    return bool(((high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] > low[:-1]))).all())


def order(keys: Bytes2) -> npt.NDArray[np.intp]:
    """The stable order of the keys: of equal ones the first stays first."""
    high, low = key_numbers(keys)
    first = np.argsort(high, kind="stable")
    sorted_high = high[first]
    if not (sorted_high[1:] == sorted_high[:-1]).any():
        return first
    return np.lexsort((low, high))


def newest(elements: list[Bytes2]) -> Bytes2:
    """Merge arrays of elements, the newest array first: of each key the newest state, in order of the keys."""
    together = np.concatenate(elements)
    together = together[order(together[:, :16])]
    high, low = key_numbers(together[:, :16])
    again = np.zeros(len(together), dtype=np.bool_)
    again[1:] = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
    return together[~again]
