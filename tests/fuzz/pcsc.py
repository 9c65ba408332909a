"""Answers of PC/SC readers: a card's text is handed on whole or not at all; noise is made a refusal and no more."""

from drivers.contract import CardNumberReport, CardReport, Unread
from drivers.readers.pcsc import codec
from drivers.readers.pcsc.codec import (
    Code,
    Read,
    ReaderError,
    card_problem,
    card_report,
    choose_reader,
    decode_answer,
    encode_answer,
    reader_error,
    serial_number,
    wanted_reader,
)
from tests.fuzz.mutate import altered

REACHES = codec
_GOOD = b"\x90\0"
_ANSWERS = [bytes.fromhex("01000400") + b" \0" * 128 + _GOOD, bytes.fromhex("6A81"), bytes.fromhex("6300")]
_UIDS = [bytes.fromhex("04A1B2C3D4E5F6") + _GOOD, bytes.fromhex("08010203") + _GOOD, bytes.fromhex("01020304") + _GOOD]
_NAMES = [b"ACS ACR122U [PICC] (1234) 00 00", b"ACS ACR122U PICC Interface 01 00"]


def fuzz(data: bytes) -> None:
    for answer in (data, data + _GOOD, altered(_ANSWERS, data)):
        _text(answer)
    for answer in (data, data + _GOOD, altered(_UIDS, data)):
        _number(answer)
    _message(data)
    _name(altered(_NAMES, data).decode("latin-1"), data.decode("latin-1"))
    _code(int.from_bytes(data[:4], "big"))
    for code in Code:
        _code(code)


def _text(answer: bytes) -> None:
    said = card_report(Read.ID_CARD, answer)
    assert isinstance(said, CardReport | Unread)
    if isinstance(said, CardReport):
        assert len(said.text) == 256
        assert answer.endswith(said.text + _GOOD)


def _number(answer: bytes) -> None:
    said, turned = card_report(Read.UID, answer), card_report(Read.UID, answer[-3::-1] + answer[-2:], True)
    assert isinstance(said, CardNumberReport | Unread)
    assert said == turned or len(answer) < 3
    if isinstance(said, CardNumberReport):
        assert int(said.number).to_bytes(said.bits // 8, "big") == answer[:-2]


def _message(body: bytes) -> None:
    try:
        took_s, answer = decode_answer(body)
    except ValueError:
        assert len(body) < 4
        return
    assert decode_answer(encode_answer(took_s, answer))[1] == answer


def _name(name: str, wanted: str) -> None:
    assert serial_number(name) in name
    for names in ((name,), (name, name + " more"), ()):
        try:
            assert choose_reader(names, wanted) in names
        except ReaderError:
            assert wanted not in names
    try:
        assert wanted_reader(wanted) == wanted[5:]
        assert wanted_reader(f"pcsc:{wanted}") == wanted
    except ValueError:
        assert not wanted.startswith("pcsc:") or not wanted.isprintable()


def _code(code: int) -> None:
    assert card_problem(code) or str(reader_error(code, "x"))
    assert str(reader_error(code))
