"""Who may take dependants along: somebody was released at this lane a moment ago (health-codes.md R19)."""

from gate.moment import Moment
from gate.passage.attempt import Attempt
from gate.passage.commands import Direction
from gate.policy.question import AgeGroup
from gate.policy.terms import Terms
from gate.policy.verdict import Reason


class Family:
    """One lane's memory of its last release and of how many have followed as that one's family."""

    def __init__(self) -> None:
        self._until_mono_s = float("-inf")
        self._direction = Direction.ENTRY
        self._places = 0

    def takes_along(self, direction: Direction, now: Moment) -> bool:
        """Whether one more dependant may follow, the same way."""
        return self._places > 0 and direction is self._direction and now.mono_s < self._until_mono_s

    def granted(self, attempt: Attempt, terms: Terms, now: Moment) -> None:
        """Somebody was granted: a dependant takes a place, anybody else but a child begins a family of their own."""
        if attempt.verdict is not None and attempt.verdict.reason is Reason.WITH_GUARDIAN:
            self._places -= 1
            return
        if attempt.question.circumstances.age_group is AgeGroup.MINOR:
            return  # a child with a green of its own is nobody's guardian, and walks with the family before it
        self._until_mono_s = now.mono_s + terms.guardian_window_s
        self._direction = attempt.direction
        self._places = terms.guardian_dependants_max
