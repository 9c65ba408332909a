"""Why a code is of no use: one closed list, shared by the parser and by the judges of seals and times."""

import enum


class CodeProblem(enum.StrEnum):
    """Names of `policy.verdict.Reason`, which this room may not import; a test compares them."""

    # what was read
    CODE_NATIONAL = "CODE_NATIONAL"
    CODE_INCOMPLETE = "CODE_INCOMPLETE"
    CODE_LOOK_ALIKE = "CODE_LOOK_ALIKE"
    CODE_NOT_HEALTH = "CODE_NOT_HEALTH"
    CODE_NOT_TEXT = "CODE_NOT_TEXT"
    CODE_TOO_LONG = "CODE_TOO_LONG"
    # its seal
    CODE_NOT_AUTHENTIC = "CODE_NOT_AUTHENTIC"
    CODE_KEY_MISSING = "CODE_KEY_MISSING"
    CODE_TRAVEL_DISABLED = "CODE_TRAVEL_DISABLED"
    # its time
    CODE_EXPIRED = "CODE_EXPIRED"
    CODE_FROM_FUTURE = "CODE_FROM_FUTURE"
    CODE_TIME_UNCHECKED = "CODE_TIME_UNCHECKED"
