"""Made-up people of the Delta, with valid check digits. Nobody real: numbers are drawn, never taken from anywhere."""

import random
import time
from dataclasses import dataclass, field
from datetime import date, timedelta

from stdnum.iso7064 import mod_11_2

from drivers.simulated.cards import card_text
from gate.feed.records import CredentialStatus
from gate.sim.codes import code_text

# Issuer -> region that asserts, share of the people.
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
    token: str = field(repr=False)  # 32 hex digits, of which this person's health code is made

    @property
    def may_pass(self) -> bool:
        """What this person's true status demands."""
        return self.status is CredentialStatus.GREEN

    @property
    def form(self) -> str:
        """The form of this person's health code."""
        return _FORMS.get(self.issuer, _FORMS["SKM"])

    @property
    def code(self) -> bytes:
        """The text of this person's health code, shown now: dynamic forms are new at each showing."""
        return self.code_at(time.time())

    def code_at(self, utc_s: float) -> bytes:
        """The text of this person's health code, shown then."""
        return code_text(self.form, self.token, utc_s).encode()

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


# The strings of the city codes are not publicly known; their holders show the province's.
_FORMS = {"SSM": "SSM_APP", "ZJ": "ZJ_V2", "SKM": "SKM_V5", "AKM": "AKM", "NATIONAL": "NATIONAL"}
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
        token=f"{draw.getrandbits(128):032x}",
    )


def _number(draw: random.Random, flag: str) -> str:
    region = {"J": draw.choice(("810000", "820000", "830000")), "Y": f"9{draw.randrange(10**5):05d}"}.get(flag)
    # R13: the region of first registration says nothing about the issuer, so it is drawn from everywhere.
    region = region or f"{draw.choice((11, 31, 32, 33, 34, 36, 41, 42, 44, 51)):02d}{draw.randrange(1, 20):02d}01"
    born = date(1940, 1, 1) + timedelta(days=draw.randrange(27_000))
    body = f"{region}{born:%Y%m%d}{draw.randrange(1000):03d}"
    check: str = mod_11_2.calc_check_digit(body)
    return body + check
