"""How long to wait before trying again: exponential, with full jitter, so that 5,000 stations never come in step."""

import random
from collections.abc import Callable
from dataclasses import dataclass

DRAW = random.SystemRandom().random  # 0 to 1; tests bring their own
DOUBLINGS_MAX = 30  # beyond any limit in use; keeps the power a small number


@dataclass(slots=True)
class Backoff:
    """Counts failures in a row; the wait is drawn evenly between 0 and a limit that doubles up to `most_s`."""

    first_s: float
    most_s: float
    draw: Callable[[], float] = DRAW
    failures: int = 0

    def failed(self) -> None:
        """One more failure in a row."""
        self.failures += 1

    def worked(self) -> None:
        """The next failure waits the shortest time again."""
        self.failures = 0

    def wait_s(self) -> float:
        """A wait for the failures so far; 0 without any."""
        if not self.failures:
            return 0.0
        limit_s: float = min(self.most_s, self.first_s * 2.0 ** min(self.failures - 1, DOUBLINGS_MAX))
        return self.draw() * limit_s
