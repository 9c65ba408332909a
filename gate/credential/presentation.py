"""What one person presents together: a card, a card's number, a code, a paper certificate, or two that go together."""

from dataclasses import dataclass, replace

from gate.credential.cardnumber import CardNumber
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
    number: CardNumber | None = None  # of a transit or citizen card; never beside an identity card

    @property
    def document(self) -> Document | None:
        """The document whose status is looked up; None while only a code or a certificate is there."""
        return self.card.document if self.card else None

    @property
    def kind(self) -> str:
        """What it is, as `policy.question.Presented` and the journal name it."""
        card = "CARD" if self.card else "CARD_NUMBER" if self.number else ""
        other = "CERTIFICATE" if self.certificate else "CODE" if self.code else ""
        return "_AND_".join(filter(None, (card, other))) or "NONE"

    def with_more(self, more: "Presentation") -> "Presentation":
        """This and what was presented after it; the later of two codes counts, and a certificate is one of them."""
        if more.card:
            return replace(self, card=more.card, number=None)  # who tapped a transit card first taps what decides
        if more.number:
            return replace(more, code=self.code)  # a certificate is bound to a document, and no number is one
        return replace(more, card=self.card, number=self.number if more.code else None)

    def is_of_another(self, more: "Presentation") -> bool:
        """Whether `more` must be the next person's: a second card, a second code, a number where a document is due."""
        if more.number:
            return bool(self.card or self.number or self.certificate)
        if more.card:
            return self.card is not None
        return self.card is None and (self.number is None or more.certificate is not None)
