"""Who may take dependants along: somebody was released at this lane a moment ago (health-codes.md R19)."""

from collections.abc import Sequence

from gate.moment import Moment
from gate.passage.attempt import Attempt
from gate.passage.commands import Command, Direction, WriteRecord
from gate.passage.record import Outcome
from gate.policy.question import BARE_NUMBERS, AgeGroup
from gate.policy.terms import Terms
from gate.policy.verdict import Reason, VerdictKind

_WENT_NOWHERE = frozenset({Outcome.LAPSED, Outcome.RELEASE_REFUSED, Outcome.BARRIER_FAULTED})


class Family:
    """One lane's memory of its last release and of how many have followed as that one's family."""

    def __init__(self) -> None:
        self._until_mono_s = float("-inf")
        self._direction = Direction.ENTRY
        self._places = 0

    def takes_along(self, direction: Direction, now: Moment) -> bool:
        """Whether one more dependant may follow, the same way."""
        return self._places > 0 and direction is self._direction and now.mono_s < self._until_mono_s

    def followed(self) -> None:
        """A dependant was granted, and takes a place."""
        self._places -= 1

    def released(self, attempt: Attempt, terms: Terms, now: Moment) -> None:
        """The turnstile opened for somebody: anybody but a dependant or a child begins a family of their own."""
        verdict, given = attempt.verdict, attempt.question.circumstances
        dependant = verdict is None or verdict.reason is Reason.WITH_GUARDIAN
        # A child with a green of its own is nobody's guardian, and walks with the family before it; a transit card does
        # not tell whether it is a child's.
        if dependant or given.age_group is AgeGroup.MINOR or given.presented in BARE_NUMBERS:
            return
        self._until_mono_s = now.mono_s + terms.guardian_window_s
        self._direction = attempt.direction
        self._places = terms.guardian_dependants_max

    def ended(self, commands: Sequence[Command]) -> None:
        """Whose guardian did not walk after all has nobody to follow."""
        for command in commands:
            if isinstance(command, WriteRecord):
                record = command.record
                granted = record.verdict == VerdictKind.GRANT and record.reason != Reason.WITH_GUARDIAN
                if granted and record.outcome in _WENT_NOWHERE:
                    self._places = 0
