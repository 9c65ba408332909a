"""Any text is a card's number in a form that is its own normal form, or an error that quotes nothing."""

from gate.credential import cardnumber
from gate.credential.cardnumber import CardNumberError, card_number

REACHES = cardnumber


def fuzz(data: bytes) -> None:
    scheme, _, number = data.decode("utf-8", "replace").partition("/")
    for named in (scheme, "shanghai-transit"):
        for text in (number, data[:24].hex(), str(int.from_bytes(data[:8], "big"))):
            try:
                card = card_number(named, text)
            except CardNumberError as error:
                if len(text) >= 4 and text in str(error):
                    raise AssertionError("the error quotes the number") from None
                continue
            assert card_number(named, card.number) == card
            assert card_number(named, f" {card.number} ") == card
            assert len(card.number) < 4 or card.number not in repr(card)
            assert card.number.isascii()
            assert card.number.isalnum()
