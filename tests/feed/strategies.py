"""Made-up states, partitions and headers for properties."""

from hypothesis import strategies as st

from gate.feed.envelope import NO_DIGEST, Header
from gate.feed.partitions import Default, Partition
from gate.feed.records import ABSENT, CredentialStatus, Enrolment, Kind, StatusEntry

SECONDS = st.integers(0, 2**32 - 1)
REGIONS = st.integers(0, 999_999).map(lambda n: f"{n:06d}")
REGIONS_NOT_ZERO = st.integers(1, 999_999).map(lambda n: f"{n:06d}")
KEYS = st.binary(min_size=16, max_size=16)


def entries(key: bytes) -> st.SearchStrategy[StatusEntry]:
    """Everything that an exact state can say."""
    return st.builds(
        StatusEntry,
        st.just(key),
        st.sampled_from(CredentialStatus),
        REGIONS,
        SECONDS,
        st.one_of(st.none(), st.integers(1, 2**32 - 1)),
        st.integers(0, 255),
        st.one_of(st.just(""), REGIONS_NOT_ZERO),
        SECONDS,
        st.one_of(st.just(""), REGIONS_NOT_ZERO),
    )


ENROLMENTS = st.builds(Enrolment, REGIONS_NOT_ZERO, st.integers(0, 0xFFFF))
KEY = b"k" * 16
STATES = st.one_of(st.none(), ENROLMENTS, entries(KEY))
RAW_STATES = st.one_of(st.just(ABSENT), ENROLMENTS.map(Enrolment.encode), entries(KEY).map(StatusEntry.encode))

DEFAULTS = st.lists(
    st.builds(Default, SECONDS, st.sampled_from(CredentialStatus), st.integers(0, 255)),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one.from_utc_s,
).map(lambda steps: tuple(sorted(steps, key=lambda one: one.from_utc_s)))
PARTITIONS = st.lists(st.builds(Partition, REGIONS, SECONDS, DEFAULTS), max_size=4, unique_by=lambda one: one.code).map(
    lambda all_: tuple(sorted(all_, key=lambda one: one.code))
)

DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex).filter(lambda text: text != NO_DIGEST)
TEXTS = st.from_regex(r"[A-Za-z0-9._/-]{1,64}", fullmatch=True)
COUNTS = st.tuples(st.integers(0, 300_000_000), st.integers(0, 300_000_000)).map(sorted)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Whatever a publisher could say."""
    is_delta = draw(st.booleans())
    exact, count = draw(COUNTS)
    from_sequence, sequence = sorted(draw(st.tuples(st.integers(1, 2**40), st.integers(2**40 + 1, 2**62))))
    return Header(
        form="DELTA" if is_delta else "SNAPSHOT",
        issuer=draw(TEXTS),
        sequence=sequence,
        from_sequence=from_sequence if is_delta else 0,
        kind=str(draw(st.sampled_from(Kind))),
        produced_utc_s=draw(SECONDS),
        next_due_utc_s=draw(SECONDS),
        count=count,
        exact_count=exact,
        changes=draw(st.integers(0, 1000)) if is_delta else 0,
        tokens=draw(st.integers(0, 1000)),
        body_bytes=draw(st.integers(0, 2**40)),
        content_digest=draw(DIGESTS),
        from_set_digest=draw(DIGESTS) if is_delta else NO_DIGEST,
        set_digest=draw(DIGESTS),
        key_scheme=draw(TEXTS),
        pepper_id=draw(TEXTS),
        key_id=draw(TEXTS),
        partitions=draw(PARTITIONS),
    )
