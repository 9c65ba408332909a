"""SSI packets: however bytes are cut, the same packets come out, none with a wrong checksum, and no code too long."""

from drivers.contract import CodeReport
from drivers.scanners.ssi import codec
from drivers.scanners.ssi.codec import PAYLOAD_BYTES_MAX, SCANNER, Codes, Layout, Opcode, Packet, Packets, encode
from tests.fuzz.mutate import altered

REACHES = codec
_CODE = b"\x1c]Q1https://s.sh.gov.cn/0123456789\r"
_SCAN = encode(Opcode.DECODE, _CODE, 0, SCANNER)
_STREAMS = [
    _SCAN,
    encode(Opcode.DECODE, _CODE, 2, SCANNER) * 20 + encode(Opcode.DECODE, _CODE, 1, SCANNER),
    encode(Opcode.REPLY_REVISION, b"SIM 1.0", 0, SCANNER) + _SCAN + encode(Opcode.ACK, b"", 0, SCANNER),
    encode(Opcode.DECODE, b"\x1c" + bytes(250), 2, SCANNER) * 18 + encode(Opcode.DECODE, b"\x1c", 0, SCANNER),
    _SCAN[:20] + _SCAN,
]


def fuzz(data: bytes) -> None:
    for stream in (data, altered(_STREAMS, data), data + altered(_STREAMS, data) + data[::-1] + _SCAN):
        _read(stream)


def _read(data: bytes) -> None:
    whole, cut = Packets(), Packets()
    found = whole.feed(data)
    assert found == [one for at in range(len(data)) for one in cut.feed(data[at : at + 1])]
    found += whole.silence()
    assert not whole.partial
    codes = Codes(Layout(b"\r", bool(len(data) % 2)), b"key")
    for number, packet in enumerate(found):
        if not isinstance(packet, Packet):
            continue
        assert encode(packet.opcode, packet.data, packet.status, SCANNER) in data, "a packet that was never sent"
        code = codes.take(packet, number * 0.1)
        assert not isinstance(code, CodeReport) or 0 < len(code.payload) <= PAYLOAD_BYTES_MAX
    assert codes.partial == (codes.drop() is not None)
    assert not codes.partial
    # Whatever came before: after a silence the next packet is read.
    assert [type(one) for one in whole.feed(_SCAN)] == [Packet]
