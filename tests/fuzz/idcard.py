"""Any 256 bytes are a card with a normal document, or an error that quotes nothing."""

from gate.credential.idcard import CardError, parse_card


def fuzz(data: bytes) -> None:
    text = data[:256].ljust(256, b" ")
    for block in (data, text, _with_flag(text)):
        try:
            card = parse_card(block)
        except CardError as error:
            if str(error) != error.problem.value or error.__cause__ is not None:
                raise AssertionError("the error says more than its name") from None
        else:
            assert card.document.number.isalnum()
            assert card.document.number not in repr(card)


def _with_flag(text: bytes) -> bytes:
    """The same text with a flag that exists, so that the layouts are reached."""
    return text[:248] + "IJY "[text[0] % 4].encode("utf-16-le") + text[250:]
