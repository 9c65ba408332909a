"""Who may take dependants along: somebody was released at this lane a moment ago (health-codes.md R19)."""

from gate.moment import Moment
from gate.policy.terms import Terms
from gate.policy.verdict import Reason


class Family:
    """One lane's memory of its last release and of how many have followed as that one's family."""

    def __init__(self) -> None:
        self._until_mono_s = float("-inf")
        self._places = 0

    def takes_along(self, now: Moment) -> bool:
        """Whether one more dependant may follow."""
        return self._places > 0 and now.mono_s < self._until_mono_s

    def granted(self, reason: Reason, terms: Terms, now: Moment) -> None:
        """Somebody was granted: a dependant takes a place, everybody else begins a family of their own."""
        if reason is Reason.WITH_GUARDIAN:
            self._places -= 1
            return
        self._until_mono_s = now.mono_s + terms.guardian_window_s
        self._places = terms.guardian_dependants_max
