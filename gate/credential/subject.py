"""Subject and token keys: what the feed is keyed by instead of a document number (contract.md, "Subject key")."""

import hmac

from gate.credential.documents import Document

KEY_SCHEME = "gate/subject/1"
KEY_BYTES = 16
_PREFIX = KEY_SCHEME.encode("ascii") + b"\0"


def subject_key(pepper: bytes, document: Document) -> bytes:
    """HMAC-SHA-256(pepper, "gate/subject/1" 00 type 00 number), its first 16 bytes."""
    text = _PREFIX + document.type.encode("ascii") + b"\0" + document.number.encode("ascii")
    return hmac.digest(pepper, text, "sha256")[:KEY_BYTES]


def token_key(pepper: bytes, issuer: str, token: str) -> bytes:
    """A static code token as a feed has it: HMAC-SHA-256(pepper, "gate/token/1" 00 issuer 00 token), 16 bytes."""
    text = b"gate/token/1\0" + issuer.encode("ascii") + b"\0" + token.encode()
    return hmac.digest(pepper, text, "sha256")[:KEY_BYTES]
