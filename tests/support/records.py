"""Made-up passage records for tests."""

import dataclasses
from typing import Any

from gate.passage.record import PassageRecord, letters

STARTED_UTC_S = 1_780_000_000.25  # 2026-05-28T20:26:40.25Z


def passage_record(number: int = 0, **changes: Any) -> PassageRecord:
    """One passage like a busy lane's; `number` tells records apart."""
    record = PassageRecord(
        passage_id=letters(number.to_bytes(16, "big")),
        lane="A1",
        direction="entry",
        started_utc_s=STARTED_UTC_S + number,
        decided_utc_s=STARTED_UTC_S + number + 0.5,
        credential="CARD",
        verdict="GRANT",
        reason="STATUS_GREEN",
        rule_id="mutual/1",
        credential_status="GREEN",
        finding="LISTED",
        issuer="AKM",
        asserted_by="340100",
        band="FRESH",
        feed_sequence=7,
        outcome="PASSED",
        stages_us={"lookup": 180, "release": 950, "passage": 1_200_000},
        findings=({"kind": "LISTED", "issuer": "AKM", "as_of_utc_s": STARTED_UTC_S - 60, "valid_until_utc_s": None},),
        conditions=("FEED_AGED(SSM)",),
        subject=number.to_bytes(16, "big"),
    )
    return dataclasses.replace(record, **changes)
