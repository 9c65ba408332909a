"""The table that a snapshot's body is and that a station reads: buckets by the leading bits of subject keys.

    buckets | offsets u32 each, in units of 4 bytes, one more than buckets
    | classes (partition u32, day u16, 0 u16) each | token buckets | token offsets | foot 64

    bucket        crc32 u32 | exact u16 | compact u16 | keys 16 B | states 28 B | fingerprints u32 | classes u16
    token bucket  crc32 u32 | compact u16 | exact u16 | fingerprints u32 | subject prefixes 7 B | (token, subject) 32 B

Buckets are padded to four bytes. All numbers are little-endian, so that a small machine reads them as they lie. A
compact entry is an enrolled subject: four bytes of its key and a class, that is partition and last day. Who is not
enrolled is taken for one with the probability of entries in a bucket times 2^-32: at most about 64 / 2^32 = 1.5 in
100 million tries. Exact entries carry the whole key, so nobody has a colour by collision. Every bucket carries a
checksum over its number and the table's salt: a flipped bit, a wrong offset or a bucket of another table is
"damaged", never an answer.
"""

import math
import struct
import zlib
from dataclasses import dataclass, field

from gate.feed.records import (
    ABSENT,
    ELEMENT_BYTES,
    KEY_BYTES,
    STATE_BYTES,
    Enrolment,
    FeedError,
    State,
    decode_state,
    region,
)

FOOT_MAGIC = b"GATETBL2"
FOOT_BYTES = 64
UNIT = 4  # offsets count these bytes: 32 bits reach 16 GiB
HEAD_BYTES = 8  # of a bucket
COMPACT_PER_BUCKET = 64  # at most, on average: a bucket of 400 bytes is one page and one short checksum
EXACT_PER_BUCKET = 16
BITS_MAX = 24  # of the key's first three bytes; the fingerprint begins behind them
# A bucket is never larger than this, however keys fall: 64 on average and binomial, 65,536 bytes are 100 deviations
# away.
BUCKET_BYTES_MAX = 1 << 16
CLASSES_MAX = 1 << 16
TOKEN_FLAG = 1 << 31  # in a bucket's number: keeps token buckets and others apart
CLASS_BYTES = 8
FINGERPRINT = slice(3, 7)
PREFIX_BYTES = 7
_FOOT = struct.Struct("<8sBBHIQQQQ8sI")
_FOOT_CHECKED = _FOOT.size  # what its own checksum, in the last four bytes, is over
_COUNTS = struct.Struct("<HH")
_CLASS = struct.Struct("<IHH")


@dataclass(frozen=True, slots=True)
class Foot:
    """What a table says of itself, in its last 64 bytes."""

    bits: int  # there are 2^bits buckets
    token_bits: int
    classes: int
    exact: int
    compact: int
    tokens: int
    bucket_bytes: int  # all buckets together
    salt: bytes = field(repr=False)  # 8 bytes; of issuer and sequence
    classes_check: int  # CRC-32 of the classes: a flipped bit there would be another region's status

    def encode(self) -> bytes:
        """The 64 bytes."""
        values = (self.bits, self.token_bits, 0, self.classes, self.exact, self.compact, self.tokens, self.bucket_bytes)
        raw = _FOOT.pack(FOOT_MAGIC, *values, self.salt, self.classes_check)
        return raw + zlib.crc32(raw).to_bytes(4, "little")

    @property
    def offsets_at(self) -> int:
        """Where the offsets begin."""
        return self.bucket_bytes

    @property
    def classes_at(self) -> int:
        """Where the classes begin."""
        return self.offsets_at + UNIT * ((1 << self.bits) + 1)

    @property
    def tokens_at(self) -> int:
        """Where the token buckets begin."""
        return self.classes_at + CLASS_BYTES * self.classes


def decode_foot(raw: bytes) -> Foot:
    """The foot in 64 bytes. Raises FeedError."""
    if len(raw) != FOOT_BYTES or not raw.startswith(FOOT_MAGIC):
        raise FeedError("does not end as a table of the gate")
    checked = raw[:_FOOT_CHECKED]
    _, bits, token_bits, zero, classes, exact, compact, tokens, size, salt, classes_check = _FOOT.unpack(checked)
    if zlib.crc32(checked).to_bytes(4, "little") != raw[_FOOT_CHECKED:] or zero:
        raise FeedError("the foot of the table is damaged")
    if max(bits, token_bits) > BITS_MAX or classes > CLASSES_MAX or size % UNIT:
        raise FeedError("the foot of the table holds values that no publisher of ours writes")
    return Foot(bits, token_bits, classes, exact, compact, tokens, size, salt, classes_check)


def bits_for(exact: int, compact: int) -> int:
    """How many leading bits give buckets of the size aimed at."""
    wanted = max(exact / EXACT_PER_BUCKET, compact / COMPACT_PER_BUCKET, 1.0)
    return min(BITS_MAX, (math.ceil(wanted) - 1).bit_length())


def start_value(salt: bytes, number: int) -> int:
    """What a bucket's checksum starts from: another number or another salt is another start, and so another sum."""
    return zlib.crc32(salt) ^ number


def sealed(bucket: bytes, salt: bytes, number: int) -> bytes:
    """`bucket`, whose first four bytes are still free, with its checksum."""
    return zlib.crc32(bucket[4:], start_value(salt, number)).to_bytes(4, "little") + bucket[4:]


def is_whole(bucket: bytes, salt: bytes, number: int) -> bool:
    """Whether the checksum holds."""
    return zlib.crc32(bucket[4:], start_value(salt, number)).to_bytes(4, "little") == bucket[:4]


def counts(bucket: bytes) -> tuple[int, int]:
    """The bucket's two counts. Raises FeedError when it is too short for them."""
    if len(bucket) < HEAD_BYTES:
        raise FeedError("a bucket is cut off")
    exact, compact = _COUNTS.unpack_from(bucket, 4)
    return exact, compact


def bucket_size(exact: int, compact: int) -> int:
    """Bytes of a bucket, padded."""
    return -(-(HEAD_BYTES + ELEMENT_BYTES * exact + 6 * compact) // UNIT) * UNIT


def token_bucket_size(compact: int, exact: int) -> int:
    """Bytes of a token bucket, padded."""
    return -(-(HEAD_BYTES + (4 + PREFIX_BYTES) * compact + 2 * KEY_BYTES * exact) // UNIT) * UNIT


def find_exact(bucket: bytes, key: bytes) -> bytes | None:
    """The 28 bytes of the exact entry whose key begins with `key` (16 or 7 bytes); None when there is none."""
    exact = bucket[4] | bucket[5] << 8
    if not exact:
        return None
    at, end = HEAD_BYTES, HEAD_BYTES + KEY_BYTES * exact
    while (at := bucket.find(key, at, end)) >= 0:
        number, off = divmod(at - HEAD_BYTES, KEY_BYTES)
        if off == 0:
            begin = end + STATE_BYTES * number
            return bucket[begin : begin + STATE_BYTES]
        at += 1
    return None


def find_compact(bucket: bytes, key: bytes) -> int | None:
    """The class of the enrolled subject with this key (16 or 7 bytes); None when there is none."""
    exact, compact = _COUNTS.unpack_from(bucket, 4)
    begin = HEAD_BYTES + ELEMENT_BYTES * exact
    at, end = begin, begin + 4 * compact
    while (at := bucket.find(key[FINGERPRINT], at, end)) >= 0:
        number, off = divmod(at - begin, 4)
        if off == 0:
            place = end + 2 * number
            return int(bucket[place] | bucket[place + 1] << 8)
        at += 1
    return None


def encode_class(one: Enrolment) -> bytes:
    """Eight bytes of the class table."""
    return _CLASS.pack(int(one.partition), one.valid_until_day, 0)


def decode_class(raw: bytes) -> Enrolment:
    """The class in eight bytes. Raises FeedError."""
    if len(raw) != CLASS_BYTES:
        raise FeedError("the class table is cut off")
    partition, day, rest = _CLASS.unpack(raw)
    if rest or not 0 < partition <= 999_999:
        raise FeedError("the class table holds values that no publisher of ours writes")
    return Enrolment(region(partition), day)


def find_token(bucket: bytes, token: bytes) -> bytes | None:
    """The subject of a token key: its first 7 bytes, or all 16 where the short form would be ambiguous."""
    compact, exact = _COUNTS.unpack_from(bucket, 4)
    prefixes = HEAD_BYTES + 4 * compact
    full = prefixes + PREFIX_BYTES * compact
    at = full
    while (at := bucket.find(token, at, full + 32 * exact)) >= 0:
        if (at - full) % 32 == 0:
            return bucket[at + 16 : at + 32]
        at += 1
    at = HEAD_BYTES
    while (at := bucket.find(token[FINGERPRINT], at, prefixes)) >= 0:
        number, off = divmod(at - HEAD_BYTES, 4)
        if off == 0:
            return bucket[prefixes + PREFIX_BYTES * number : prefixes + PREFIX_BYTES * (number + 1)]
        at += 1
    return None


def entries(bucket: bytes) -> list[tuple[bytes, State]]:
    """All exact entries of a bucket, decoded. Raises FeedError. For looking and checking, not for lanes."""
    exact, compact = counts(bucket)
    if len(bucket) != bucket_size(exact, compact):
        raise FeedError("a bucket has another size than its counts say")
    found = []
    for number in range(exact):
        key = bucket[HEAD_BYTES + KEY_BYTES * number :][:KEY_BYTES]
        raw = bucket[HEAD_BYTES + KEY_BYTES * exact + STATE_BYTES * number :][:STATE_BYTES]
        found.append((key, None if raw == ABSENT else decode_state(key, raw)))
    return found
