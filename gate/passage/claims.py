"""What a passage takes from the station, so that nobody else can use it too: the traveller's turn, a code's showing.

One for all lanes. A dynamic code is held by the lane that looks at it; both are spent at the release and given back
when nobody walked.
"""

from gate.moment import Moment
from gate.passage.attempt import Attempt
from gate.policy.antipassback import AntiPassback
from gate.policy.seen import SeenTokens
from gate.policy.terms import CODE_SKEW_MAX_S


class Claims:
    """Anti-passback and the memory of dynamic codes behind the events of an attempt."""

    def __init__(self) -> None:
        self._passback = AntiPassback()
        self._seen = SeenTokens(skew_s=CODE_SKEW_MAX_S)  # remembered for as long as any terms let it be judged

    def show(self, token: bytes, lane: str, now: Moment, valid_until_utc_s: float) -> bool:
        """A dynamic code is shown at `lane`; False when it is in use elsewhere, or was used."""
        return self._seen.present(token, lane, now, valid_until_utc_s)

    def claim(self, attempt: Attempt, now: Moment, repeat_after_s: float) -> bool:
        """Take the attempt's turn; False when its traveller has just passed this way."""
        if not self._passback.claim(attempt.travellers, attempt.direction, now, repeat_after_s):
            return False
        self.spend(attempt)
        return True

    def spend(self, attempt: Attempt) -> None:
        """A verdict was given on its code: nobody shows it again."""
        if attempt.token:
            self._seen.spend(attempt.token)

    def keep(self, attempt: Attempt, now: Moment) -> None:
        """They passed."""
        self._passback.keep(attempt.travellers, attempt.direction, now)

    def give_back(self, attempt: Attempt) -> None:
        """They were released and did not pass: they may try again at once."""
        self._passback.give_back(attempt.travellers, attempt.direction)
        self.let_go(attempt)

    def let_go(self, attempt: Attempt) -> None:
        """They were not released: the code may be shown at the next lane."""
        if attempt.token:
            self._seen.give_back(attempt.token, attempt.lane)
