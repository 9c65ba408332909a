"""Certificate types of other systems become our `DocumentType`. Their codes are texts: "10" is no number ten (R17).

A code that we do not know, or that means "other", is None: the caller asks for the document itself.
"""

from collections.abc import Mapping

from gate.credential.documents import DocumentType

GUANGDONG = "guangdong"
AIRPORT_GATE = "airport-gate"
ZHEJIANG = "zhejiang"
JIANGSU = "jiangsu"
CIDTYPE = "cidtype"

_SCHEMES: Mapping[str, Mapping[str, DocumentType]] = {
    # `certificate_type` of the make and verify interface, health-codes.md 1.5; "99" is "other".
    GUANGDONG: {
        "10": DocumentType.RESIDENT_ID,
        "14": DocumentType.HOME_RETURN_PERMIT,  # "HK/Macau permit": what a resident of there travels with
        "15": DocumentType.TAIWAN_TRAVEL_PERMIT,
        "16": DocumentType.TAIWAN_TRAVEL_PERMIT,  # for one trip
        "20": DocumentType.PASSPORT,
        "34": DocumentType.FOREIGN_PERMANENT_RESIDENCE,
    },
    # `type` that a gate posts, security-gate-api-doc, health-codes.md 3.3; "ID" is "other". Its "TP" and "TW" are the
    # permits with which mainland residents go to Hong Kong, Macau and Taiwan: we keep no such type, so they are None.
    AIRPORT_GATE: {
        "NI": DocumentType.RESIDENT_ID,
        "PP": DocumentType.PASSPORT,
        "PPOCR": DocumentType.PASSPORT,  # the same, read from its page
        "HM": DocumentType.HOME_RETURN_PERMIT,
        "TB": DocumentType.TAIWAN_TRAVEL_PERMIT,
        "HMT": DocumentType.HMT_RESIDENCE_PERMIT,
        "FR": DocumentType.FOREIGN_PERMANENT_RESIDENCE,
    },
    ZHEJIANG: {"IDENTITY_CARD": DocumentType.RESIDENT_ID},  # `idcardType`, 2.2
    JIANGSU: {"1": DocumentType.RESIDENT_ID},  # `idType`, 2.3
    CIDTYPE: {"1000": DocumentType.RESIDENT_ID},  # section 4; only this value was seen
}
SCHEMES = tuple(_SCHEMES)


def document_type(scheme: str, code: str) -> DocumentType | None:
    """What `code` means in `scheme`, one of SCHEMES; None: unknown or "other". Raises KeyError for another scheme."""
    return _SCHEMES[scheme].get(code)
