"""What one person presents together: a card, a code, a paper certificate, or a card and one of the others."""

from dataclasses import dataclass, replace

from gate.credential.certificate import Certificate
from gate.credential.documents import Document
from gate.credential.healthcode import HealthCode
from gate.credential.idcard import IdCard


@dataclass(frozen=True, slots=True)
class Presentation:
    """The credentials of one person; lives for one passage."""

    card: IdCard | None = None
    code: HealthCode | None = None
    certificate: Certificate | None = None

    @property
    def document(self) -> Document | None:
        """The document whose status is looked up; None while only a code or a certificate is there."""
        return self.card.document if self.card else None

    @property
    def kind(self) -> str:
        """What it is, as `policy.question.Presented` and the journal name it."""
        other = "CERTIFICATE" if self.certificate else "CODE" if self.code else ""
        return "_AND_".join(filter(None, ("CARD" if self.card else "", other))) or "NONE"

    def with_more(self, more: "Presentation") -> "Presentation":
        """This and what was presented after it; the later of two codes counts, and a certificate is one of them."""
        if more.card:
            return replace(self, card=more.card)
        return replace(more, card=self.card)
