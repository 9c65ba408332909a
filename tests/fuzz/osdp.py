"""OSDP frames and card bits: however bytes are cut the same frames come out, all of them right; any bits are judged."""

from drivers.contract import CardNumberReport
from drivers.readers.osdp import codec
from drivers.readers.osdp.codec import Frames, card_report, crc16, read_frame, said_identity
from tests.fuzz.mutate import altered

REACHES = codec
# libosdp 3.2.9's own: identification, a poll and its answer on a secure channel; and one with a checksum of one byte.
_FRAMES = [
    bytes.fromhex(text)
    for text in (
        "ff53650900046100d97a",
        "53e514000445feca00010107000000000001fd08",
        "ff53650e000d02156063b14b3c4643",
        "53e50e000d021640798ff999303c",
        "538007000040e6",
    )
]


def fuzz(data: bytes) -> None:
    for stream in (data, altered(_FRAMES, data) + data + _FRAMES[1], data[:3] + b"".join(_FRAMES)):
        whole, cut = Frames(), Frames()
        frames = whole.feed(stream)
        assert frames == [frame for at in range(len(stream)) for frame in cut.feed(stream[at : at + 1])]
        for frame in frames:
            assert frame.raw in stream
            assert read_frame(frame.raw) == frame
            assert said_identity(frame)
            assert sum(frame.raw) & 0xFF == 0 or crc16(frame.raw[:-2]) == int.from_bytes(frame.raw[-2:], "little")
        whole.drop()  # whatever came before, the next answer is heard
        assert [frame.raw for frame in whole.feed(_FRAMES[3])] == [_FRAMES[3]]
    read_frame(data)
    for form in (0, 1, 2):
        for bits in (26, 34, 37, sum(data) % 80):
            _card(form, bits, data)
    for good in ("80800080", "0081018200", "0000000010"):
        _card(1, {4: 26}.get(len(good) // 2, 34 if good[2] == "8" else 37), bytes.fromhex(good))
    _card(2, 0, b"A" + data.hex().encode()[:60])


def _card(form: int, bits: int, data: bytes) -> None:
    for chip_reversed in (False, True):
        said = card_report(form, bits, data, chip_reversed)
        assert not isinstance(said, CardNumberReport) or said.number.isalnum()
        assert not isinstance(said, CardNumberReport) or "number" not in repr(said)
