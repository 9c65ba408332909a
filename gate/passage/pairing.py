"""The front of a lane as a table: what is presented, and when it is enough to ask for a status.

A card decides at once. A code alone cannot yet be resolved to a person, so the sign asks for the card and the code
waits for it, at most the pairing window.
"""

import enum
from collections.abc import Mapping


class FrontState(enum.StrEnum):
    """Where the person in front of the validator stands."""

    IDLE = "IDLE"
    PAIRING = "PAIRING"
    CHECKING = "CHECKING"


class FrontTrigger(enum.StrEnum):
    """What can happen at the front."""

    CARD = "CARD"
    CODE = "CODE"
    UNREAD = "UNREAD"
    FOUND = "FOUND"
    TIME_UP = "TIME_UP"
    OPENED = "OPENED"  # emergency or crowd release: nobody is checked any more
    STOP = "STOP"


class FrontAction(enum.StrEnum):
    """What is done on the way; each is a method of `Lane`."""

    NOTHING = "nothing"
    ASK_STATUS = "ask_status"
    ASK_FOR_CARD = "ask_for_card"
    SAY_UNREAD = "say_unread"
    SAY_BUSY = "say_busy"
    DECIDE = "decide"
    REFER_CODE_ALONE = "refer_code_alone"
    REFER_LATE = "refer_late"
    LET_GO = "let_go"
    STOP = "stop"


_S, _T, _A = FrontState, FrontTrigger, FrontAction

FRONT: Mapping[FrontState, Mapping[FrontTrigger, tuple[FrontState, FrontAction]]] = {
    _S.IDLE: {
        _T.CARD: (_S.CHECKING, _A.ASK_STATUS),
        _T.CODE: (_S.PAIRING, _A.ASK_FOR_CARD),
        _T.UNREAD: (_S.IDLE, _A.SAY_UNREAD),
        _T.FOUND: (_S.IDLE, _A.NOTHING),  # the answer to a question given up
        _T.TIME_UP: (_S.IDLE, _A.NOTHING),
        _T.OPENED: (_S.IDLE, _A.NOTHING),
        _T.STOP: (_S.IDLE, _A.NOTHING),
    },
    _S.PAIRING: {
        _T.CARD: (_S.CHECKING, _A.ASK_STATUS),
        _T.CODE: (_S.PAIRING, _A.ASK_FOR_CARD),  # the latest code counts
        _T.UNREAD: (_S.PAIRING, _A.SAY_UNREAD),
        _T.FOUND: (_S.PAIRING, _A.NOTHING),
        _T.TIME_UP: (_S.IDLE, _A.REFER_CODE_ALONE),
        _T.OPENED: (_S.IDLE, _A.LET_GO),
        _T.STOP: (_S.IDLE, _A.STOP),
    },
    _S.CHECKING: {
        _T.CARD: (_S.CHECKING, _A.SAY_BUSY),
        _T.CODE: (_S.CHECKING, _A.SAY_BUSY),
        _T.UNREAD: (_S.CHECKING, _A.NOTHING),
        _T.FOUND: (_S.IDLE, _A.DECIDE),
        _T.TIME_UP: (_S.IDLE, _A.REFER_LATE),
        _T.OPENED: (_S.IDLE, _A.LET_GO),
        _T.STOP: (_S.IDLE, _A.STOP),
    },
}
