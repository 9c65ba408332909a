"""The front of a lane as a table: what is presented, what is looked up or asked for, and when a verdict is final.

What is presented is looked up at once. A verdict that a rule wants something tried for first (`ask_first`) waits: for
the issuer, at most the look-up limit, or for the passenger's card or code, at most the pairing window.
"""

import enum
from collections.abc import Mapping


class FrontState(enum.StrEnum):
    """Where the person in front of the validator stands."""

    IDLE = "IDLE"
    PAIRING = "PAIRING"  # the sign asks for a card or a code as well
    CHECKING = "CHECKING"
    ASKING = "ASKING"  # the issuing region, online


class FrontTrigger(enum.StrEnum):
    """What can happen at the front."""

    CARD = "CARD"
    CODE = "CODE"  # a health code or a paper certificate
    OTHER_HALF = "OTHER_HALF"  # the card of the code that is being asked about, or the code of the card
    UNREAD = "UNREAD"
    FOUND = "FOUND"
    FINAL = "FINAL"  # nothing more is to be tried
    NEEDS_ISSUER = "NEEDS_ISSUER"
    NEEDS_MORE = "NEEDS_MORE"
    TIME_UP = "TIME_UP"
    OPENED = "OPENED"  # emergency or crowd release: nobody is checked any more
    STOP = "STOP"


class FrontAction(enum.StrEnum):
    """What is done on the way; each is a method of `Lane`."""

    NOTHING = "nothing"
    LOOK_UP = "look_up"
    SAY_UNREAD = "say_unread"
    SAY_BUSY = "say_busy"
    DECIDE = "decide"
    DECIDE_UNANSWERED = "decide_unanswered"
    ASK_ISSUERS = "ask_issuers"
    ASK_FOR_MORE = "ask_for_more"
    SETTLE = "settle"
    REFER_LATE = "refer_late"
    LET_GO = "let_go"
    STOP = "stop"


_S, _T, _A = FrontState, FrontTrigger, FrontAction

FRONT: Mapping[FrontState, Mapping[FrontTrigger, tuple[FrontState, FrontAction]]] = {
    _S.IDLE: {
        _T.CARD: (_S.CHECKING, _A.LOOK_UP),
        _T.CODE: (_S.CHECKING, _A.LOOK_UP),
        _T.OTHER_HALF: (_S.CHECKING, _A.LOOK_UP),
        _T.UNREAD: (_S.IDLE, _A.SAY_UNREAD),
        _T.FOUND: (_S.IDLE, _A.NOTHING),  # the answer to a question given up
        _T.FINAL: (_S.IDLE, _A.NOTHING),
        _T.NEEDS_ISSUER: (_S.IDLE, _A.NOTHING),
        _T.NEEDS_MORE: (_S.IDLE, _A.NOTHING),
        _T.TIME_UP: (_S.IDLE, _A.NOTHING),
        _T.OPENED: (_S.IDLE, _A.NOTHING),
        _T.STOP: (_S.IDLE, _A.NOTHING),
    },
    _S.PAIRING: {
        _T.CARD: (_S.CHECKING, _A.LOOK_UP),
        _T.CODE: (_S.CHECKING, _A.LOOK_UP),  # completes the card, or is the next person's
        _T.OTHER_HALF: (_S.CHECKING, _A.LOOK_UP),
        _T.UNREAD: (_S.PAIRING, _A.SAY_UNREAD),
        _T.FOUND: (_S.PAIRING, _A.NOTHING),
        _T.FINAL: (_S.PAIRING, _A.NOTHING),
        _T.NEEDS_ISSUER: (_S.PAIRING, _A.NOTHING),
        _T.NEEDS_MORE: (_S.PAIRING, _A.NOTHING),
        _T.TIME_UP: (_S.IDLE, _A.SETTLE),
        _T.OPENED: (_S.IDLE, _A.LET_GO),
        _T.STOP: (_S.IDLE, _A.STOP),
    },
    _S.CHECKING: {
        _T.CARD: (_S.CHECKING, _A.SAY_BUSY),
        _T.CODE: (_S.CHECKING, _A.SAY_BUSY),
        _T.OTHER_HALF: (_S.CHECKING, _A.SAY_BUSY),
        _T.UNREAD: (_S.CHECKING, _A.NOTHING),
        _T.FOUND: (_S.CHECKING, _A.DECIDE),  # which fires one of the next three
        _T.FINAL: (_S.IDLE, _A.SETTLE),
        _T.NEEDS_ISSUER: (_S.ASKING, _A.ASK_ISSUERS),
        _T.NEEDS_MORE: (_S.PAIRING, _A.ASK_FOR_MORE),
        _T.TIME_UP: (_S.IDLE, _A.REFER_LATE),
        _T.OPENED: (_S.IDLE, _A.LET_GO),
        _T.STOP: (_S.IDLE, _A.STOP),
    },
    _S.ASKING: {
        _T.CARD: (_S.ASKING, _A.SAY_BUSY),
        _T.CODE: (_S.ASKING, _A.SAY_BUSY),
        _T.OTHER_HALF: (_S.CHECKING, _A.LOOK_UP),  # nobody waits for an issuer with the card in hand
        _T.UNREAD: (_S.ASKING, _A.NOTHING),
        _T.FOUND: (_S.CHECKING, _A.DECIDE),
        _T.FINAL: (_S.ASKING, _A.NOTHING),
        _T.NEEDS_ISSUER: (_S.ASKING, _A.NOTHING),
        _T.NEEDS_MORE: (_S.ASKING, _A.NOTHING),
        _T.TIME_UP: (_S.CHECKING, _A.DECIDE_UNANSWERED),
        _T.OPENED: (_S.IDLE, _A.LET_GO),
        _T.STOP: (_S.IDLE, _A.STOP),
    },
}
