"""Good input, a little spoiled: without it a fuzzer spends its seconds before a checksum or a host name."""

from collections.abc import Sequence

EDITS_MAX = 8


def altered(templates: Sequence[bytes], data: bytes) -> bytes:
    """One of `templates`, chosen by the first byte of `data`, with a byte set for each three that follow."""
    if not data:
        return templates[0]
    text = bytearray(templates[data[0] % len(templates)])
    for at in range(1, min(len(data), 3 * EDITS_MAX) - 2, 3):
        text[int.from_bytes(data[at : at + 2], "big") % len(text)] = data[at + 2]
    return bytes(text)
