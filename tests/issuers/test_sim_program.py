"""The simulated issuer as a program of its own, with its table of people and its knobs."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from gate.feed.finding import Answered, Silence, Unanswered
from gate.feed.records import CredentialStatus as Status
from gate.issuers.desk import IssuerDesk
from gate.issuersettings import IssuerSettings
from tests.issuers.support import DOCUMENT, GUARD_S, NUMBER, Time, query

PEOPLE = f"""
[access]
site_id = "SITE1"
[[holder]]
number = "{NUMBER}"
status = "YELLOW"
reports = {{ 420000 = "RED" }}
"""


def program(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gate.sim.issuer", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_it_answers_and_its_faults_are_turned_on_while_it_runs(tmp_path: Path) -> None:
    """A question over its port, the knob "reset" through its own path, and back."""
    (tmp_path / "people.toml").write_text(PEOPLE)
    with program(str(tmp_path / "people.toml"), "--interface", "anhui-id") as issuer:
        try:
            assert issuer.stdout is not None
            asyncio.run(_story(issuer.stdout.readline().strip(), tmp_path))
        finally:
            issuer.terminate()


async def _story(url: str, folder: Path) -> None:
    settings = query("anhui-id", url, folder, timeout_s=GUARD_S)
    desk = IssuerDesk([IssuerSettings("AKM", query=settings)], Time())
    (found,) = (await desk.ask("AKM", DOCUMENT, None, GUARD_S)).findings
    assert isinstance(found, Answered)
    assert found.status is Status.YELLOW
    async with httpx.AsyncClient() as client:
        await client.post(f"{url}/_faults", json={"reset": True})
        reply = await desk.ask("AKM", DOCUMENT, None, GUARD_S)
        assert reply.findings == (Unanswered("AKM", Silence.UNREACHABLE),)
        await client.post(f"{url}/_faults", json={})
    assert isinstance((await desk.ask("AKM", DOCUMENT, None, GUARD_S)).findings[0], Answered)
    await desk.close()


@pytest.mark.parametrize(("text", "says"), [("holder = 3", "correct the table"), ("[access]\nage = 1", "'age' is not")])
def test_a_table_that_cannot_be_used_is_named(tmp_path: Path, text: str, says: str) -> None:
    """Exit status 2 and one line."""
    (tmp_path / "people.toml").write_text(text)
    with program(str(tmp_path / "people.toml"), "--interface", "anhui-id") as issuer:
        _, err = issuer.communicate(timeout=60)
    assert issuer.returncode == 2
    assert says in err
    assert err.count("\n") == 1
