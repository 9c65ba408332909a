"""One person's way through a lane, from presentation to the line in the journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gate.feed.noted import note
from gate.moment import Moment
from gate.passage.commands import Direction
from gate.passage.events import StatusFound
from gate.passage.record import PassageRecord
from gate.policy.question import Question
from gate.policy.verdict import Reason, Verdict, VerdictKind


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known of a passage while it is under way. `marks` are the instants of its stages, by stage name."""

    passage_id: str
    lane: str
    direction: Direction
    credential: str  # a CredentialKind
    started: Moment
    question: Question = field(default_factory=lambda: Question(()))
    verdict: Verdict | None = None
    decided: Moment | None = None  # the instant that the question was decided at
    travellers: tuple[bytes, ...] = field(default=(), repr=False)  # their marks for anti-passback
    references: Mapping[str, str] = field(default_factory=dict, repr=False)  # issuer -> reference; not written down
    token: bytes = field(default=b"", repr=False)  # the mark of a dynamic code; b"" without one
    subject: bytes = field(default=b"", repr=False)
    stages_us: tuple[tuple[str, int], ...] = ()
    staged: Moment | None = None  # when the last stage ended

    def stage(self, name: str, now: Moment) -> "Attempt":
        """The stage `name` ended now; it began when the one before ended."""
        spent_us = round(now.since(self.staged or self.started) * 1e6)
        return replace(self, stages_us=(*self.stages_us, (name, spent_us)), staged=now)

    def found(self, found: StatusFound, now: Moment) -> "Attempt":
        """The same attempt with what is known of its person, about to be decided."""
        return replace(
            self,
            question=found.question,
            decided=now,
            travellers=found.travellers,
            subject=found.subject,
            references=found.references,
        )

    def with_verdict(self, verdict: Verdict) -> "Attempt":
        """The same attempt with its verdict."""
        return replace(self, verdict=verdict)

    def record(self, outcome: str) -> PassageRecord:
        """How it ended, as the journal keeps it."""
        verdict = self.verdict or Verdict(VerdictKind.REFER, Reason.RULE_SILENT, "")
        return PassageRecord(
            passage_id=self.passage_id,
            lane=self.lane,
            direction=self.direction,
            started_utc_s=self.started.utc_s,
            decided_utc_s=self.decided.utc_s if self.decided else None,
            credential=self.credential,
            verdict=verdict.kind if self.verdict else "NONE",
            reason=verdict.reason if self.verdict else "NONE",
            rule_id=verdict.rule_id,
            credential_status=verdict.credential_status,
            finding=verdict.finding,
            issuer=verdict.issuer,
            asserted_by=verdict.asserted_by,
            band=verdict.band or "NONE",
            feed_sequence=verdict.feed_sequence,
            outcome=outcome,
            stages_us=dict(self.stages_us),
            findings=tuple(map(note, self.question.findings)),
            conditions=tuple(sorted(map(str, self.question.conditions))),
            circumstances=self.question.circumstances.noted(),
            spoken=tuple(map(str, verdict.spoken)),
            subject=self.subject,
        )
