"""Any 256 bytes are a card with a normal document, or an error that quotes nothing."""

from datetime import date

from drivers.simulated.cards import card_text
from gate.credential import idcard
from gate.credential.idcard import CardError, parse_card
from tests.fuzz.mutate import altered

REACHES = idcard
_DATES = {"valid_from": "20200101", "valid_until": "20300101"}
_CARDS = [
    card_text(" ", name="测试", number="310105199001010018", valid_from="20200101", valid_until="长期"),
    card_text("J", name="测试", number="810000199408230021", **_DATES),
    card_text("Y", name="测试", number="911124198108030024", **_DATES),
    card_text("I", name="TEST", number="FRA110081122601", **_DATES),
    card_text(" ", name="测试", number="310105199001010018", valid_from="20201301", valid_until="2030010 "),
    card_text("J", name="测试", number="310105199001010018", **_DATES),
]


def fuzz(data: bytes) -> None:
    text = data[:256].ljust(256, b" ")
    for block in (data, text, _with_flag(text), altered(_CARDS, data)):
        try:
            card = parse_card(block)
        except CardError as error:
            if str(error) != error.problem.value or error.__cause__ is not None:
                raise AssertionError("the error says more than its name") from None
        else:
            assert card.document.number.isalnum()
            assert card.document.number not in repr(card)
            assert card.expired_on(date.max) == (card.valid_until not in (None, date.max))


def _with_flag(text: bytes) -> bytes:
    """The same text with a flag that exists, so that the layouts are reached."""
    return text[:248] + "IJY "[text[0] % 4].encode("utf-16-le") + text[250:]
