"""What one person presents together: a card, a code, or both."""

from dataclasses import dataclass

from gate.credential.documents import Document
from gate.credential.healthcode import HealthCode
from gate.credential.idcard import IdCard


@dataclass(frozen=True, slots=True)
class Presentation:
    """The credentials of one person; lives for one passage."""

    card: IdCard | None
    code: HealthCode | None

    @property
    def document(self) -> Document | None:
        """The document whose status is looked up; None while only a code is there, which names no document."""
        return self.card.document if self.card else None
