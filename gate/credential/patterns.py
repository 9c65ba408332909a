"""Patterns of QR texts, written by whoever configures a station, and safe to run in a lane.

Python's `re` backtracks, so a careless pattern can take minutes over one QR. Accepted is a part of its syntax in which
the ways to match can be counted from the pattern alone: characters, classes, `(?:…)`, `(?P<token>…)`, `(?P<region>…)`,
`|`, and quantifiers, where a group takes no quantifier but `?`. Then no repetition holds another one, and the ways are
a product: of each quantifier's span, of 2 for each `?`, of the sum of each group's branches.
"""

import re
from dataclasses import dataclass

SUBJECT_MAX = 4096  # characters of a text: healthcode.PAYLOAD_BYTES_MAX
PATTERN_MAX = 512  # characters; the longest shipped has 130
# One unbounded repetition and four optional parts. The worst pattern found that passes takes 13 ms over 4 KB (15 long
# branches behind `.*`; one core at 2.6 GHz); a second unbounded repetition would take seconds.
WAYS_MAX = 16 * SUBJECT_MAX
GROUPS = ("token", "region")

_PART = re.compile(
    r"""(?: (?P<open> \( (?: \?: | \?P<[a-z]+> ) )
          | (?P<close> \) )
          | (?P<or> \| )
          | (?P<atom> \[\^? (?: \\[^0-9A-Za-z] | \\[dDsSwW] | [^\\\[\]] )+ \]
                    | \\[^0-9A-Za-z] | \\[dDsSwW] | [^\\()\[\]{}|*+?^$] ) )
        (?P<times> \{ [0-9]+ (?: , [0-9]* )? \} | [*+?] )?""",
    re.VERBOSE | re.DOTALL,
)


class PatternError(ValueError):
    """A pattern is not accepted; the text says where in it and why."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """An accepted pattern, and the literal text that everything it matches begins with."""

    compiled: re.Pattern[str]
    head: str


def accept(text: str) -> Pattern:
    """The pattern in `text`. Raises PatternError."""
    if len(text) > PATTERN_MAX:
        raise PatternError(f"has {len(text)} characters: at most {PATTERN_MAX}")
    parts = _parts(text)
    if _ways(parts) > WAYS_MAX:
        raise PatternError(
            f"can be tried in more than {WAYS_MAX} ways over one QR: use fewer of * + {{n,m}} ?, or fixed counts"
        )
    try:
        compiled = re.compile(text, re.ASCII)
    except re.error as error:
        raise PatternError(f"is no regular expression: {error.msg} at character {error.pos}") from None
    _check_groups(compiled)
    return Pattern(compiled, _head(parts))


def _check_groups(compiled: re.Pattern[str]) -> None:
    for name in compiled.groupindex:
        if name not in GROUPS:
            raise PatternError(f"has a group {name!r}: allowed are {', '.join(GROUPS)}")
    if "token" not in compiled.groupindex:
        raise PatternError("has no (?P<token>…): name the part that tells one code from another")


def _parts(text: str) -> list[re.Match[str]]:
    """The pattern's parts in order; whatever is no part is refused with its place."""
    parts: list[re.Match[str]] = []
    at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise PatternError(
                f"is not accepted at character {at}: allowed are characters, classes, (?:…), (?P<token>…),"
                " (?P<region>…), | and quantifiers; it covers everything behind the host, without ^ and $"
            )
        _check_quantifier(part, at)
        parts.append(part)
        at = part.end()
    return parts


def _check_quantifier(part: re.Match[str], at: int) -> None:
    if not part["times"] or part["atom"] or (part["close"] and part["times"] == "?"):
        return
    if part["close"]:
        raise PatternError(f"repeats a group at character {at}: a repetition inside another one can take for ever")
    raise PatternError(f"has a quantifier without anything before it at character {at}")


def _ways(parts: list[re.Match[str]]) -> int:
    """In how many ways the pattern can at most be tried: the product that the module's first lines describe."""
    sums, products, opened = [0], [1], [""]
    for part in parts:
        if part["open"]:
            sums.append(0)
            products.append(1)
            opened.append(part["open"])
        elif part["or"]:
            sums[-1] += products[-1]
            products[-1] = 1
        elif part["close"]:
            if len(sums) == 1:
                raise PatternError("closes a group that was not opened")
            if opened.pop() == "(?P<token>" and part["times"]:
                raise PatternError("makes its token optional: without one, no code is told from another")
            inside = sums.pop() + products.pop() + (part["times"] == "?")
            products[-1] *= inside
        else:
            products[-1] *= _span(part["times"] or "")
    if len(sums) > 1:
        raise PatternError("opens a group that is not closed")
    return sums[0] + products[0]


def _span(times: str) -> int:
    """How many different counts a quantifier allows."""
    if not times:
        return 1
    if times in ("*", "+"):
        return SUBJECT_MAX
    if times == "?":
        return 2
    low, comma, high = times.strip("{}").partition(",")
    if int(high or low) > SUBJECT_MAX:
        raise PatternError(f"counts beyond {SUBJECT_MAX}, which is as long as a text can be")
    if not comma:
        return 1
    if high and int(high) < int(low):
        raise PatternError(f"counts {times} downwards: write the smaller number first")
    return int(high) - int(low) + 1 if high else SUBJECT_MAX


def _head(parts: list[re.Match[str]]) -> str:
    """The literal beginning. Alternatives may begin differently, so they end it at the first group."""
    branches = any(part["or"] for part in parts)
    head = ""
    for part in parts:
        if part["open"] == "(?P<token>" and not branches:
            continue
        atom = part["atom"] or ""
        plain = atom.removeprefix("\\") if len(atom) == 2 else atom
        if len(plain) != 1 or atom == "." or part["times"] or (len(atom) == 2 and plain.isalnum()):
            break
        head += plain
    return "" if _branches_outside(parts) else head


def _branches_outside(parts: list[re.Match[str]]) -> bool:
    """Whether a `|` stands outside of all groups, so that the whole pattern has several beginnings."""
    depth = 0
    for part in parts:
        depth += bool(part["open"]) - bool(part["close"])
        if part["or"] and depth == 0:
            return True
    return False
