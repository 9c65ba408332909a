"""Simulated issuers, the people they know, and desks that ask them."""

import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gate.credential.documents import Document, DocumentType
from gate.credential.healthcode import HealthCode
from gate.feed.records import CredentialStatus as Status
from gate.issuers.desk import IssuerDesk
from gate.issuersettings import IssuerSettings, Query, Verifier
from gate.moment import Moment
from gate.sim.issuer import SimulatedIssuer
from gate.sim.issuerfaces import Access, Holder

NUMBER = "11010519491231002X"  # GB 11643's own example, of nobody
OTHER = "110105194912310054"
NAME, PHONE = "赵安宁", "13900001234"
CODE = f"https://h5.dingtalk.com/healthAct/index.html?qrCode=V5{'ab' * 16}320000&b={'c' * 64}#/result"
TOKEN = f"V5{'ab' * 16}320000"
INTERFACES = ("guangdong-decode", "jiangsu-verify", "hubei-validate", "anhui-id", "zhejiang-level", "shaoxing-level")
GUARD_S = 10.0  # a question that has not ended by then breaks its promise, however slow this machine is
PERSONAL = (NUMBER, OTHER, NAME, PHONE, CODE, TOKEN, "ab" * 16, "made-up-token", "made-up-secret", "made-up-secret-key")
DOCUMENT = Document(DocumentType.RESIDENT_ID, NUMBER)
HEALTH_CODE = HealthCode("SKM", "SKM_V5", TOKEN, CODE)
VERIFIER = Verifier("客运部", "钱核验", "13800005678", "出站口")


class Time:
    """A clock: the true time of day, for signatures, and monotonic seconds that only a test moves."""

    def __init__(self) -> None:
        self.mono_s = 1000.0

    def __call__(self) -> Moment:
        return Moment(time.time(), self.mono_s)


def holder(**values: Any) -> Holder:
    """The one person of these tests."""
    known = Holder(NUMBER, NAME, PHONE, CODE, TOKEN, reports={"420000": Status.GREEN})
    return replace(known, **values)


def secret_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "issuer.secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def query(interface: str, url: str, folder: Path | None, **more: Any) -> Query:
    """How to ask a simulated issuer whose access is the default one; its keys are a file in `folder`."""
    access = Access()
    secrets = {
        "guangdong-decode": f'app_id = "{access.app_id}"\nsecret_key = "{access.secret_key}"\n',
        "jiangsu-verify": f'source = "{access.source}"\ntoken = "{access.token}"\n',
        "shaoxing-level": f'app_key = "{access.app_key}"\nsecret = "{access.secret}"\n',
    }
    values: dict[str, Any] = {"verifier": VERIFIER, "city_code": access.city_code, "site_id": access.site_id}
    if folder and interface in secrets:
        values["secret_file"] = secret_file(folder, secrets[interface])
    if interface == "hubei-validate":
        values["region_field"] = "province"
    if interface == "zhejiang-level":
        values["secret_url"] = f"{url}/secret"
    if interface == "shaoxing-level":
        values |= {"sign": "hmac-sha256", "device_id": "D001"}
    name = "zhejiang-level" if interface == "shaoxing-level" else interface
    return Query(name, f"{url}/ask", **(values | more))


@dataclass(slots=True)
class World:
    """One simulated issuer, "X", and a desk that may ask it."""

    sim: SimulatedIssuer
    desk: IssuerDesk
    time: Time

    async def ask(self, within_s: float = GUARD_S, cache_s: float = 0.0, **given: Any) -> Any:
        document, code = given.get("document", DOCUMENT), given.get("code", HEALTH_CODE)
        return await self.desk.ask("X", document, code, within_s, cache_s)


@contextlib.asynccontextmanager
async def world(
    interface: str, folder: Path, *holders: Holder, tls: ssl.SSLContext | None = None, **more: Any
) -> AsyncIterator[World]:
    """The issuer of `holders`, on a port, and who asks it: with time in plenty, so that only faults make it late."""
    sim = SimulatedIssuer(interface, list(holders) or [holder()])
    url, clock = await sim.start(tls=tls), Time()
    settings = query(interface, url, folder, **({"timeout_s": GUARD_S} | more))
    desk = IssuerDesk([IssuerSettings("X", query=settings)], clock, draw=lambda: 0.0)
    try:
        yield World(sim, desk, clock)
    finally:
        await desk.close()
        await sim.stop()
