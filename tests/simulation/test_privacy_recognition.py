"""Recognition keeps to itself what it is shown and told: codes, tokens, papers, issuers' secrets, who verifies."""

import asyncio
import dataclasses
import logging
import os
import time
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.json_format import MessageToJson
from prometheus_client import generate_latest

from gate.config import parse
from gate.credential import certificate
from gate.credential.documents import DocumentType, document
from gate.credential.transit import SUISHENMA, TRANSPORT
from gate.feed.records import CredentialStatus as S
from gate.feed.records import Kind
from gate.sim.codes import MADE_UP, SUISHENMA_KEY_INDEX, TRANSPORT_KEY_INDEX, code_text, make_seal_keys
from gate.sim.issuer import Faults, SimulatedIssuer
from gate.sim.issuerfaces import Access, Holder
from gate.sim.people import Person
from gate.sync.certkeys import load_signer, make_community_keys
from gate.sync.codekeys import write_code_keys
from gate.v1 import lane_pb2, passage_pb2, status_pb2
from gate.v1.lane_pb2_grpc import LaneServiceStub
from gate.v1.passage_pb2_grpc import PassageServiceStub
from gate.v1.status_pb2_grpc import StatusServiceStub
from tests.simulation.search import Secrets, Written, contents, find_leaks, secrets_of
from tests.support.house import House, OwnFeed, code_of, house, same_day_ahead, somebody, station_of, today
from tests.support.region import NOW

NAME = "欧阳安宁和平"  # long enough to be sought in every encoding
VERIFIER_NAME, VERIFIER_PHONE = "司马核验清远", "13800005678"
HOLDER_PHONE = "13912348765"
ACCESS = Access()
TROUBLE = (
    Faults(garbage=True),
    Faults(half=True),
    Faults(truncated=True),
    Faults(no_permission=True),
    Faults(other_error=True),
    Faults(redirect="http://127.0.0.1:9/elsewhere"),
    Faults(huge=True),
    Faults(status=500),
)


class _World:
    """People, feeds, issuers on ports, a community; `planted` grows by all that is shown or told."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.operator = folder, folder / "operator"  # the operator's own files are not searched
        self.operator.mkdir()
        self.people: list[Person] = []
        self.akm_red, self.akm_green = self._one(S.RED, "AKM"), self._one(S.GREEN, "AKM")
        self.asked_green, self.asked_red = self._one(S.GREEN, "AKM"), self._one(S.RED, "AKM")
        self.printed, self.elder = self._one(S.GREEN, "XKM"), self._one(None, "XKM")
        self.phones = [self._one(S.GREEN, "SKM") for _ in range(len(TROUBLE) + 1)]
        self.shanghai = [self._one(S.GREEN, "SSM") for _ in range(3)]
        self.akm, self.xkm = OwnFeed(folder, "AKM", Kind.RED_YELLOW), OwnFeed(folder, "XKM")
        self.akm.publish(1, [self.akm_red])
        self.xkm.publish(1, [self.printed])
        self.seals = make_seal_keys()
        self.signer = load_signer(
            make_community_keys(self.operator / "community", "XIHU", "330106", NOW - timedelta(days=7))["private"]
        )
        self.anhui = SimulatedIssuer("anhui-id", [self._told(p) for p in (self.asked_green, self.asked_red)])
        self.jiangsu = SimulatedIssuer("jiangsu-verify", [self._told(p, "SKM_V5") for p in self.phones], ACCESS)
        self.decode = SimulatedIssuer("guangdong-decode", [], ACCESS)
        self.texts, self.raw = {VERIFIER_NAME, ACCESS.secret_key, ACCESS.token}, set[bytes]()

    def _one(self, status: S | None, issuer: str) -> Person:
        who = dataclasses.replace(somebody(100 + len(self.people), status, issuer), name=NAME)
        self.people.append(who)
        return who

    def _told(self, who: Person, form: str = "") -> Holder:
        code = code_of(who, form).decode() if form else ""
        return Holder(who.number, who.name, HOLDER_PHONE, code, status=who.status or S.UNKNOWN)

    def code(self, who: Person, form: str, ago_s: float = 0.0) -> bytes:
        """A code that is about to be shown, and is a secret from now on."""
        text = code_text(form, who.token, time.time() - ago_s, self.seals)
        if form == "SSM_TRANSIT":
            self.decode.holders.append(Holder(who.number, who.name, HOLDER_PHONE, text, status=S.GREEN))
        self.texts.add(text)
        return text.encode()

    def paper(self, who: Person, days: int = 0) -> bytes:
        """A certificate that is about to be shown; its binding and seal are secrets as well."""
        day = today() + timedelta(days=days)
        text = certificate.issue(
            document(DocumentType.RESIDENT_ID, who.number),
            key_id=self.signer.private.key_id,
            region=self.signer.region,
            issued_on=day,
            valid_on=day,
            salt=os.urandom(certificate.SALT_BYTES),
            sign=self.signer.private.sign,
        )
        read = certificate.read_certificate(text.encode())
        assert isinstance(read, certificate.Certificate)
        self.texts.add(text)
        self.raw |= {read.salt, read.binding, read.signature}
        return text.encode()

    def secrets(self) -> Secrets:
        """Everything that must be nowhere."""
        people = secrets_of(self.people)
        numbers = people.numbers | {VERIFIER_PHONE, HOLDER_PHONE}
        return Secrets(numbers, people.texts | self.texts, frozenset(self.raw))

    def keys(self) -> Secrets:
        """The subject keys, which belong into the feed and the store alone."""
        keys = {feed.key(who) for feed in (self.akm, self.xkm) for who in self.people}
        return Secrets(frozenset(), frozenset(), frozenset(key[:7] for key in keys))

    def _secret(self, name: str, **values: str) -> str:
        path = self.operator / name
        path.write_text("".join(f'{key} = "{value}"\n' for key, value in values.items()))
        path.chmod(0o600)
        return f'secret_file = "{path}"'

    async def toml(self) -> str:
        """The station's issuers."""
        seals = self.seals
        keys = {
            (SUISHENMA, SUISHENMA_KEY_INDEX): seals.suishenma.public().raw,
            (TRANSPORT, TRANSPORT_KEY_INDEX): seals.transport.public().raw,
        }
        write_code_keys(self.operator / "code.keys", keys)
        paper = MADE_UP["XKM_PAPER"]
        return f"""
[[issuer]]
id = "AKM"
[issuer.query]
interface = "anhui-id"
url = "{await self.anhui.start()}/ask"
city_code = "{ACCESS.city_code}"
site_id = "{ACCESS.site_id}"
verifier = {{ name = "{VERIFIER_NAME}" }}
[[issuer]]
id = "SKM"
[issuer.query]
interface = "jiangsu-verify"
url = "{await self.jiangsu.start()}/ask"
verifier = {{ department = "客运部", name = "{VERIFIER_NAME}", phone = "{VERIFIER_PHONE}", position = "出站口" }}
{self._secret("skm.secret", source=ACCESS.source, token=ACCESS.token)}
[[issuer]]
id = "XKM"
[[issuer.code]]
host = "{paper.host}"
pattern = '{paper.pattern}'
form = "XKM_PAPER"
[[issuer]]
id = "SSM"
code_keys_file = "{self.operator / "code.keys"}"
[issuer.query]
interface = "guangdong-decode"
url = "{await self.decode.start()}/ask"
{self._secret("ssm.secret", app_id=ACCESS.app_id, secret_key=ACCESS.secret_key)}
"""


def test_recognition_writes_and_answers_nothing_of_what_it_is_shown_or_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Good codes, bad codes, papers, issuers in every kind of trouble, calls: all that was written is searched."""
    world = _World(tmp_path)
    policy = f'certificate_keys = "{world.operator / "community"}"'

    async def story() -> Written:
        await same_day_ahead()
        issuers = await world.toml()
        change = station_of(tmp_path, [world.akm, world.xkm], policy=policy, issuers=issuers, pairing_window_s=0.5)
        texts: list[str] = []

        def noted(text: str) -> str:
            texts.append(change(text))
            return texts[-1]

        answers: Written = []
        async with house(tmp_path, lanes=2, change=noted) as h, h.rpc() as channel:
            await _codes(world, h)
            await _papers(world, h)
            await _trouble(world, h)
            answers += await _calls(world, channel)
            answers.append(("metrics", generate_latest(h.station.metrics.registry)))
            answers += [("repr of a passage", repr(one).encode()) for one in h.station.recent.newest(1000)]
        answers.append(("repr of the settings", repr(parse(texts[0], tmp_path)).encode()))
        for sim in (world.anhui, world.jiangsu, world.decode):
            await sim.stop()
        return answers

    with caplog.at_level(logging.DEBUG):
        written = asyncio.run(story())
    spoken = capfd.readouterr()
    written += [("log", caplog.text.encode()), ("stdout", spoken.out.encode()), ("stderr", spoken.err.encode())]
    kept = [*contents(tmp_path / "data"), *contents(tmp_path / "feeds")]
    assert "refuses this station" in caplog.text, "the log is that of a station in trouble"
    assert find_leaks([*written, *kept], world.secrets()) == []
    journal = [(name, raw) for name, raw in kept if name.startswith("journal")]
    assert sum(raw.count(b'"event":"passage"') for _, raw in journal) > 15
    assert find_leaks([*written, *journal], world.keys()) == []


async def _codes(world: _World, h: House) -> None:
    """Alone, with a card, another's, screenshots, forged, shown twice."""
    await h.stays(0, h.scan(world.code(world.akm_red, "AKM")))
    await h.stays(0, h.scan(world.code(world.akm_green, "AKM")))
    await h.scan(world.code(world.printed, "XKM_PAPER"))
    await h.says("CODE_NEEDS_CARD")
    assert (await h.stays(0, h.tap(world.akm_red))).reason == "CODE_OF_ANOTHER"
    transit = world.code(world.shanghai[0], "SSM_TRANSIT")
    await h.scan(transit)
    assert (await h.walks()).finding == "ISSUER_ANSWERED"
    assert (await h.stays(1, h.scan(transit, lane=1))).reason == "CODE_REPLAYED"
    flipped = transit[:100] + bytes([transit[100] ^ 1]) + transit[101:]
    await h.stays(0, h.scan(flipped))
    assert (await h.stays(0, h.scan(world.code(world.shanghai[1], "SSM_TRANSIT", 600)))).reason == "CODE_EXPIRED"
    assert (await h.stays(0, h.scan(world.code(world.shanghai[2], "SSM_APP", 600)))).reason == "CODE_EXPIRED"
    await h.scan(world.code(world.phones[0], "SKM_V5"))
    assert (await h.walks()).finding == "ISSUER_ANSWERED"
    await h.tap(world.asked_green)
    assert (await h.walks()).finding == "ISSUER_ANSWERED"
    assert (await h.stays(0, h.tap(world.asked_red))).reason == "STATUS_RED"


async def _papers(world: _World, h: House) -> None:
    """Good, of another, of yesterday, torn."""
    await h.scan(world.paper(world.elder))
    await h.says("CERTIFICATE_NEEDS_CARD")
    await h.tap(world.elder)
    assert (await h.walks()).reason == "CERTIFICATE_VALID"
    await h.scan(world.paper(world.printed))
    await h.says("CERTIFICATE_NEEDS_CARD")
    assert (await h.stays(0, h.tap(world.phones[1]))).reason == "CERTIFICATE_OF_ANOTHER"
    assert (await h.stays(0, h.scan(world.paper(world.elder, days=-1)))).reason == "CERTIFICATE_EXPIRED"
    assert (await h.stays(0, h.scan(world.paper(world.elder)[:-9]))).reason.startswith("CERTIFICATE")


async def _trouble(world: _World, h: House) -> None:
    """Everything that an issuer can do wrong, one passenger each; then the line to it is cut."""
    for faults, who in zip(TROUBLE, world.phones[1:], strict=True):
        world.jiangsu.faults = faults
        await h.stays(0, h.scan(world.code(who, "SKM_V5")))
    world.anhui.faults = Faults(mixed_up=world.akm_green.number)
    await h.stays(1, h.tap(world.akm_green, lane=1))
    await world.anhui.stop()
    await h.stays(1, h.tap(world.phones[2], lane=1))


async def _calls(world: _World, channel: grpc.aio.Channel) -> Written:
    """What ticket systems and operators are answered, refusals included; a correction reference names nobody."""
    answers: Written = []
    check, asked = StatusServiceStub(channel).CheckStatus, {"purpose": "test", "order_id": "1"}
    for who in world.people:
        one = status_pb2.Document(type=status_pb2.DOCUMENT_TYPE_RESIDENT_ID, number=who.number)
        answers += await _kept("status", check(status_pb2.CheckStatusRequest(document=one, **asked)))
    for text in sorted(world.texts):
        for content in (text, text[:-3], text * 20):
            answers += await _kept("code", check(status_pb2.CheckStatusRequest(code_content=content, **asked)))
    answers += await _kept("lanes", LaneServiceStub(channel).ListLanes(lane_pb2.ListLanesRequest()))
    answers += await _kept("passages", PassageServiceStub(channel).ListPassages(passage_pb2.ListPassagesRequest()))
    return answers


async def _kept(name: str, call: Awaitable[Any]) -> Written:
    try:
        reply = await call
    except grpc.aio.AioRpcError as error:
        more = [f"{key}={value!r}" for key, value in error.trailing_metadata() or ()]
        return [(f"error of {name}", f"{error.code()} {error.details()} {error.debug_error_string()} {more}".encode())]
    return [(name, reply.SerializeToString()), (f"{name} as JSON", MessageToJson(reply).encode())]
