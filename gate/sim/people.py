"""Made-up people of the Delta, with valid check digits. Nobody real: numbers are drawn, never taken from anywhere."""

import random
from dataclasses import dataclass, field
from datetime import date, timedelta

from stdnum.iso7064 import mod_11_2

from drivers.simulated.cards import card_text
from gate.feed.records import CredentialStatus

# Issuer -> region that asserts, share of the people, form of its QR ("" where the string is not publicly known).
ISSUERS = {
    "SSM": ("310000", 0.20),
    "ZJ": ("330000", 0.20),
    "SKM": ("320000", 0.20),
    "AKM": ("340000", 0.18),
    "SCM": ("320500", 0.08),
    "XKM": ("320200", 0.06),
    "NGL": ("320100", 0.06),
    "NATIONAL": ("110000", 0.02),
}
_STATUS_SHARE = {
    CredentialStatus.GREEN: 0.90,
    CredentialStatus.YELLOW: 0.03,
    CredentialStatus.RED: 0.02,
    CredentialStatus.GREEN_PENDING: 0.01,
    CredentialStatus.IN_REVIEW: 0.01,
    CredentialStatus.GREY: 0.01,
    CredentialStatus.NOT_CLAIMED: 0.01,
    CredentialStatus.UNKNOWN: 0.01,
}
_SURNAMES = "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨"
_GIVEN = "安宁和平清明远山江海云月星辰春夏秋冬"


@dataclass(frozen=True, slots=True)
class Person:
    """One made-up passenger. `status` is None for somebody whom no issuer has ever heard of."""

    name: str = field(repr=False)
    number: str = field(repr=False)
    issuer: str
    status: CredentialStatus | None
    flag: str  # card layout: ' ' resident, 'J' residence permit, 'Y' foreign permanent resident
    code: bytes = field(repr=False)  # the text of this person's health code

    @property
    def may_pass(self) -> bool:
        """What this person's true status demands."""
        return self.status is CredentialStatus.GREEN

    @property
    def document_type(self) -> str:
        """The type that the feed names."""
        return _TYPES[self.flag]

    def card(self) -> bytes:
        """The text block of this person's card."""
        born = self.number[6:14]
        return card_text(
            self.flag, name=self.name, number=self.number, birth=born, valid_from="20150101", valid_until="长期"
        )


_TYPES = {" ": "RESIDENT_ID", "J": "HMT_RESIDENCE_PERMIT", "Y": "FOREIGN_PERMANENT_RESIDENCE"}


def make_people(count: int, seed: int) -> list[Person]:
    """`count` different people, the same for the same seed."""
    draw = random.Random(seed)
    people: dict[str, Person] = {}
    while len(people) < count:
        person = _person(draw)
        people.setdefault(person.number, person)
    return list(people.values())


def _person(draw: random.Random) -> Person:
    issuer = draw.choices(list(ISSUERS), [share for _, share in ISSUERS.values()])[0]
    status = draw.choices(list(_STATUS_SHARE), list(_STATUS_SHARE.values()))[0]
    flag = draw.choices(" JY", (0.95, 0.03, 0.02))[0]
    return Person(
        name=draw.choice(_SURNAMES) + "".join(draw.choices(_GIVEN, k=draw.choice((1, 2)))),
        number=_number(draw, flag),
        issuer=issuer,
        status=None if draw.random() < 0.02 else status,
        flag=flag,
        code=_code(draw, issuer),
    )


def _number(draw: random.Random, flag: str) -> str:
    region = {"J": draw.choice(("810000", "820000", "830000")), "Y": f"9{draw.randrange(10**5):05d}"}.get(flag)
    # R13: the region of first registration says nothing about the issuer, so it is drawn from everywhere.
    region = region or f"{draw.choice((11, 31, 32, 33, 34, 36, 41, 42, 44, 51)):02d}{draw.randrange(1, 20):02d}01"
    born = date(1940, 1, 1) + timedelta(days=draw.randrange(27_000))
    body = f"{region}{born:%Y%m%d}{draw.randrange(1000):03d}"
    check: str = mod_11_2.calc_check_digit(body)
    return body + check


def _code(draw: random.Random, issuer: str) -> bytes:
    token = f"{draw.getrandbits(128):032x}"
    host = "https://h5.dingtalk.com/healthAct/index.html?qrCode="
    forms = {
        "SSM": f"https://s.sh.gov.cn/{token[:30]}15850{draw.randrange(10**8):08d}",
        "ZJ": f"{host}V2{token}#/result",
        "SKM": f"{host}V5{token}320000&b={draw.getrandbits(256):064x}#/result",
        "AKM": "https://akm.ahzwfw.gov.cn/akm-sj-mgr/index.html#/myAkm?isScan=1"
        f"&id=akm:qrcode:{token}&cityNo=340000000000",
    }
    # The strings of the city codes are not publicly known; their holders show the province's.
    return forms.get(issuer, forms["SKM"]).encode()
