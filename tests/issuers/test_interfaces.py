"""Every interface, asked over HTTP, with every result that health-codes.md documents."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gate.credential.documents import Document, DocumentType
from gate.feed.finding import Answered, Rejected, Rejection, Silence, Unanswered
from gate.feed.records import CredentialStatus as Status
from gate.issuers.ask import Reply
from gate.issuers.zhejiang import md5_sign
from gate.sim.issuerfaces import Holder
from tests.issuers.support import DOCUMENT, INTERFACES, NUMBER, OTHER, World, holder, world


def asked(interface: str, folder: Path, person: Holder, faults: dict[str, Any] | None = None, **given: Any) -> Reply:
    """One question about one person, and that the simulated issuer found nothing wrong with how it was put."""

    async def story() -> Reply:
        async with world(interface, folder, person) as there:
            for knob, value in (faults or {}).items():
                setattr(there.sim.faults, knob, value)
            reply: Reply = await there.ask(**given)
            assert there.sim.refused == []
            return reply

    return asyncio.run(story())


COLOURS = [(Status.GREEN, Status.GREEN), (Status.YELLOW, Status.YELLOW), (Status.RED, Status.RED)]


@pytest.mark.requirement("R17")
@pytest.mark.parametrize("interface", [name for name in INTERFACES if name != "hubei-validate"])
@pytest.mark.parametrize(("true", "read"), [*COLOURS, (Status.GREEN_PENDING, Status.UNKNOWN)])
def test_every_colour_arrives_and_a_strange_one_is_unknown(
    interface: str, true: Status, read: Status, tmp_path: Path
) -> None:
    """R17: 00/01/10, green/yellow/red, 1/2/3 by each vendor's table; "blue" is nothing, and never a colour."""
    (found,) = asked(interface, tmp_path, holder(status=true)).findings
    assert isinstance(found, Answered)
    assert (found.issuer, found.status) == ("X", read)


def test_anhuis_blank_level_is_a_code_in_review(tmp_path: Path) -> None:
    """A blank healthLevel is "being issued" (health-codes.md 1.3)."""
    (found,) = asked("anhui-id", tmp_path, holder(status=Status.IN_REVIEW)).findings
    assert isinstance(found, Answered)
    assert found.status is Status.IN_REVIEW


@pytest.mark.requirement("R17")
def test_hubei_keeps_every_provinces_report_and_calls_a_strange_one_unknown(tmp_path: Path) -> None:
    """R17: one finding for each province, with who asserted it; their "everything else is high risk" is not copied."""
    reports = {"420000": Status.GREEN, "310000": Status.RED, "330000": Status.GREY, "340000": Status.YELLOW}
    found = asked("hubei-validate", tmp_path, holder(reports=reports)).findings
    told = {each.asserted_by: each.status for each in found if isinstance(each, Answered)}
    assert told == reports | {"330000": Status.UNKNOWN}
    assert len(found) == 4


@pytest.mark.parametrize(
    ("interface", "person", "faults", "why"),
    [
        ("guangdong-decode", {"code_expired": True}, {}, Rejection.CODE_EXPIRED),
        ("guangdong-decode", {"code_expired": True, "report_expired": True}, {}, Rejection.CODE_EXPIRED),
        ("guangdong-decode", {"code": "other"}, {}, Silence.UNINTELLIGIBLE),
        ("guangdong-decode", {}, {"other_error": True}, Silence.UNINTELLIGIBLE),
        ("jiangsu-verify", {"code_expired": True}, {}, Rejection.CODE_EXPIRED),
        ("jiangsu-verify", {"code": "other"}, {}, Rejection.CODE_NOT_OURS),
        ("jiangsu-verify", {"must_update": True}, {}, Rejection.HOLDER_MUST_UPDATE),
        ("jiangsu-verify", {}, {"no_permission": True}, Silence.NO_PERMISSION),
        ("jiangsu-verify", {}, {"other_error": True}, Silence.UNINTELLIGIBLE),
        ("hubei-validate", {"token": "other"}, {}, Rejection.PERSON_UNKNOWN),
        ("hubei-validate", {"reports": {}}, {}, Rejection.PERSON_UNKNOWN),
        ("hubei-validate", {}, {"other_error": True}, Silence.BUSY),
        ("anhui-id", {"number": "other"}, {}, Silence.UNINTELLIGIBLE),
        ("zhejiang-level", {"number": "other"}, {}, Silence.UNINTELLIGIBLE),
        ("zhejiang-level", {}, {"other_error": True}, Silence.UNINTELLIGIBLE),
        ("shaoxing-level", {"code": "other"}, {}, Silence.UNINTELLIGIBLE),
        ("shaoxing-level", {}, {"no_permission": True}, Silence.UNINTELLIGIBLE),
    ],
)
def test_every_other_result_is_told_apart(
    interface: str, person: dict[str, Any], faults: dict[str, bool], why: Rejection | Silence, tmp_path: Path
) -> None:
    """What speaks about the code is Rejected, what speaks about us or the issuer is Unanswered; neither is a colour."""
    (found,) = asked(interface, tmp_path, holder(**person), faults).findings
    assert found == (Rejected("X", why) if isinstance(why, Rejection) else Unanswered("X", why))


@pytest.mark.parametrize("interface", INTERFACES)
def test_half_an_answer_is_none(interface: str, tmp_path: Path) -> None:
    """An answer that lacks the status is unintelligible, not green and not unknown."""
    (found,) = asked(interface, tmp_path, holder(), {"half": True}).findings
    assert found == Unanswered("X", Silence.UNINTELLIGIBLE)


def test_guangdongs_lapsed_report_is_grey_and_no_report_is_not_claimed(tmp_path: Path) -> None:
    """report_expired is never silently green; an empty report_date means that nothing was ever declared."""
    (lapsed,) = asked("guangdong-decode", tmp_path, holder(report_expired=True)).findings
    (never,) = asked("guangdong-decode", tmp_path, holder(status=Status.NOT_CLAIMED)).findings
    assert isinstance(lapsed, Answered)
    assert isinstance(never, Answered)
    assert (lapsed.status, never.status) == (Status.GREY, Status.NOT_CLAIMED)


@pytest.mark.requirement("R18")
@pytest.mark.parametrize(
    ("interface", "until_s"),
    [("guangdong-decode", 1_585_200_000), ("anhui-id", None), ("zhejiang-level", None), ("shaoxing-level", None)],
)
def test_beijing_times_arrive_as_utc(interface: str, until_s: int | None, tmp_path: Path) -> None:
    """R18: 2020-02-16 16:17:41 in Beijing is 08:17:41 UTC, in both of the written forms."""
    person = holder(since_utc_s=1_581_841_061, until_utc_s=1_585_200_000)
    (found,) = asked(interface, tmp_path, person).findings
    assert isinstance(found, Answered)
    assert (found.effective_utc_s, found.valid_until_utc_s) == (1_581_841_061, until_s)


@pytest.mark.requirement("R8")
@pytest.mark.parametrize(
    ("interface", "person", "asserted_by"),
    [
        ("anhui-id", {}, "340000"),
        ("anhui-id", {"national": True}, ""),
        ("zhejiang-level", {"region": "330300000000"}, "330300"),
        ("zhejiang-level", {"region": "33"}, ""),
        ("jiangsu-verify", {}, ""),
    ],
)
def test_who_asserted_it_is_kept_and_never_guessed(
    interface: str, person: dict[str, Any], asserted_by: str, tmp_path: Path
) -> None:
    """R8: the authority where the answer names it, 12 digits cut to 6, and nothing where it does not."""
    (found,) = asked(interface, tmp_path, holder(**person)).findings
    assert isinstance(found, Answered)
    assert found.asserted_by == asserted_by


def test_whose_code_it_is_is_told_only_where_the_number_comes_in_full(tmp_path: Path) -> None:
    """Masked numbers match nobody: two people may share what is left of them."""
    assert asked("shaoxing-level", tmp_path, holder()).document == DOCUMENT
    for interface in ("guangdong-decode", "jiangsu-verify", "hubei-validate"):
        assert asked(interface, tmp_path, holder()).document is None


@pytest.mark.parametrize("interface", ["anhui-id", "zhejiang-level"])
def test_an_answer_about_another_number_is_of_no_use(interface: str, tmp_path: Path) -> None:
    """Mixed-up answers, as a cache of theirs gives under load, must not lend a green to somebody else."""
    assert isinstance(asked(interface, tmp_path, holder()).findings[0], Answered)
    (found,) = asked(interface, tmp_path, holder(), {"mixed_up": OTHER}).findings
    assert found == Unanswered("X", Silence.UNINTELLIGIBLE)


@pytest.mark.parametrize("interface", INTERFACES)
def test_an_interface_is_asked_by_what_it_takes_and_by_nothing_else(interface: str, tmp_path: Path) -> None:
    """By number or by code; of other documents nothing is documented, so nobody is asked about them."""
    by_document = interface in ("anhui-id", "zhejiang-level")
    permit = Document(DocumentType.HOME_RETURN_PERMIT, "H12345678")

    async def story(there: World) -> None:
        other: dict[str, Any] = {"document": permit} if by_document else {"code": None}
        assert await there.ask(**other) == Reply(())
        assert await there.ask(document=None, code=None) == Reply(())
        assert there.sim.questions == 0
        only: dict[str, Any] = {"code": None} if by_document else {"document": None}
        assert isinstance((await there.ask(**only)).findings[0], Answered)

    async def run() -> None:
        async with world(interface, tmp_path) as there:
            await story(there)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("interface", "wrong"),
    [
        ("guangdong-decode", {"secret_key": "another"}),
        ("guangdong-decode", {"app_id": "another"}),
        ("jiangsu-verify", {"token": "another"}),
        ("shaoxing-level", {"secret": "another"}),
        ("anhui-id", {"site_id": "another"}),
    ],
)
def test_the_simulated_issuers_check_keys_and_signatures(interface: str, wrong: dict[str, str], tmp_path: Path) -> None:
    """So that all the answers above prove that ours were right."""

    async def story() -> None:
        async with world(interface, tmp_path) as there:
            there.sim.access = replace(there.sim.access, **wrong)
            assert isinstance((await there.ask()).findings[0], Unanswered)
            assert len(there.sim.refused) == 1

    asyncio.run(story())


def test_zhejiangs_secret_is_good_for_one_call_and_we_fetch_one_for_each(tmp_path: Path) -> None:
    """Two questions are four requests; the same signed question put twice is refused the second time."""

    async def story() -> None:
        async with world("zhejiang-level", tmp_path) as there, httpx.AsyncClient(base_url=there.sim.url) as client:
            for _ in range(2):
                assert isinstance((await there.ask()).findings[0], Answered)
            assert (there.sim.questions, there.sim.refused) == (4, [])
            row = (await client.post("/secret")).json()["data"][0]
            now_ms = str(int(there.time().utc_s * 1000))
            sign = md5_sign(row["app_key"], row["requestSecret"], now_ms)
            fields = {"appKey": row["app_key"], "sign": sign, "requestTime": now_ms, "idcardNo": NUMBER}
            parts = {key: (None, value) for key, value in fields.items()}
            codes = [(await client.post("/ask", files=parts)).json()["resultCode"] for _ in range(2)]
            assert codes == ["00", "04"]

    asyncio.run(story())
