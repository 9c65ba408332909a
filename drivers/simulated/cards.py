"""Text blocks of identity cards (devices.md section 6) as readers deliver them; the caller makes up the people."""

from dataclasses import dataclass

TEXT_BYTES = 256


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a layout: byte offset and length."""

    at: int
    length: int


_VALID = {"valid_from": Field(188, 16), "valid_until": Field(204, 16)}
_EIGHTEEN = {"name": Field(0, 30), "sex": Field(30, 2), "birth": Field(36, 16), "number": Field(122, 36), **_VALID}

# By type flag: ' ' resident, 'J' HMT residence permit, 'Y' foreigner 2023, 'I' foreigner 2017.
LAYOUTS = {
    " ": {**_EIGHTEEN, "nation": Field(32, 4), "address": Field(52, 70), "issuer": Field(158, 30)},
    "J": {**_EIGHTEEN, "address": Field(52, 70), "issuer": Field(158, 30), "permit": Field(220, 18)},
    "Y": {**_EIGHTEEN, "english_name": Field(52, 70), "nationality": Field(242, 6)},
    "I": {
        "name": Field(0, 120),
        "sex": Field(120, 2),
        "number": Field(122, 30),
        "nationality": Field(152, 6),
        "chinese_name": Field(158, 30),
        "birth": Field(220, 16),
        **_VALID,
    },
}


def card_text(flag: str, **fields: str) -> bytes:
    """The block of a card of type `flag` holding `fields`, padded with spaces. Raises ValueError when too long."""
    block = bytearray(" ".encode("utf-16-le") * (TEXT_BYTES // 2))
    for name, value in {**fields, "flag": flag}.items():
        field = Field(248, 2) if name == "flag" else LAYOUTS[flag][name]
        raw = value.encode("utf-16-le")
        if len(raw) > field.length:
            raise ValueError(f"{name} is longer than {field.length // 2} characters")
        block[field.at : field.at + len(raw)] = raw
    return bytes(block)


def made_up_number(count: int) -> str:
    """A number of no person, with its right check digit."""
    body = f"310000199001{count % 28 + 1:02d}{count % 1000:03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
    return body + "10X98765432"[sum(w * int(d) for w, d in zip(weights, body, strict=True)) % 11]
