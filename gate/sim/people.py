"""Made-up people of the Delta, with valid check digits. Nobody real: numbers are drawn, never taken from anywhere."""

import random
import time
from dataclasses import dataclass, field
from datetime import date, timedelta

from stdnum.iso7064 import mod_11_2

from drivers.simulated.cards import card_text
from gate.feed.records import CredentialStatus
from gate.sim.codes import MADE_UP, code_text, indexed_token

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
TRANSIT_SCHEME = "made-up-transit"
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
    transit_number: str = field(default="", repr=False)  # of a transit card, of TRANSIT_SCHEME; "": has none

    @property
    def may_pass(self) -> bool:
        """What this person's true status demands."""
        return self.status is CredentialStatus.GREEN

    @property
    def form(self) -> str:
        """The form of this person's health code."""
        return _FORMS[self.issuer]

    @property
    def indexed_token(self) -> str:
        """What the issuer's token index has of this person's code; "" where no feed can have it."""
        return self.token if self.form in MADE_UP else indexed_token(self.form, self.token)

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


# The strings of the city codes are not publicly known: made-up ones, which station.toml says the pattern of.
_FORMS = {
    "SSM": "SSM_APP",
    "ZJ": "ZJ_V2",
    "SKM": "SKM_V5",
    "SCM": "SCM",
    "XKM": "XKM",
    "NGL": "NGL",
    "AKM": "AKM",
    "NATIONAL": "NATIONAL",
}
_TYPES = {" ": "RESIDENT_ID", "J": "HMT_RESIDENCE_PERMIT", "Y": "FOREIGN_PERMANENT_RESIDENCE"}


def make_people(count: int, seed: int) -> list[Person]:
    """`count` different people, the same for the same seed."""
    draw = random.Random(seed)
    people: dict[str, Person] = {}
    while len(people) < count:
        person = _person(draw)
        people.setdefault(person.number, person)
    return list(people.values())


def make_child(draw: random.Random) -> Person:
    """A child of whom no issuer has heard: relatives carry its code, or none."""
    return _unheard(draw, CHILD_BORN)


def make_elder(draw: random.Random) -> Person:
    """Somebody old without a phone, of whom no issuer has heard; the community certifies them on paper."""
    return _unheard(draw, ELDER_BORN)


# Days of birth, from the first and for so many days: at their ends still children, adults and old until 2031.
CHILD_BORN = (date(2014, 1, 1), 4_000)
ADULT_BORN = (date(1972, 1, 1), 10_000)
ELDER_BORN = (date(1940, 1, 1), 9_000)
ANY_BORN = (date(1940, 1, 1), 27_000)


def _unheard(draw: random.Random, born: tuple[date, int]) -> Person:
    return Person(_name(draw), _number(draw, " ", born), "ZJ", None, " ", f"{draw.getrandbits(128):032x}")


def _person(draw: random.Random) -> Person:
    issuer = draw.choices(list(ISSUERS), [share for _, share in ISSUERS.values()])[0]
    status = draw.choices(list(_STATUS_SHARE), list(_STATUS_SHARE.values()))[0]
    flag = draw.choices(" JY", (0.95, 0.03, 0.02))[0]
    known = None if draw.random() < 0.02 else status
    # Children and the old without a code pass with their family (R19): here they come on purpose, and not by chance.
    return Person(
        name=_name(draw),
        number=_number(draw, flag, ADULT_BORN if known in _MAY_FOLLOW else ANY_BORN),
        issuer=issuer,
        status=known,
        flag=flag,
        token=f"{draw.getrandbits(128):032x}",
    )


_MAY_FOLLOW = (None, CredentialStatus.NOT_CLAIMED, CredentialStatus.GREY)


def _name(draw: random.Random) -> str:
    return draw.choice(_SURNAMES) + "".join(draw.choices(_GIVEN, k=draw.choice((1, 2))))


def _number(draw: random.Random, flag: str, between: tuple[date, int]) -> str:
    region = {"J": draw.choice(("810000", "820000", "830000")), "Y": f"9{draw.randrange(10**5):05d}"}.get(flag)
    # R13: the region of first registration says nothing about the issuer, so it is drawn from everywhere.
    region = region or f"{draw.choice((11, 31, 32, 33, 34, 36, 41, 42, 44, 51)):02d}{draw.randrange(1, 20):02d}01"
    born = between[0] + timedelta(days=draw.randrange(between[1]))
    body = f"{region}{born:%Y%m%d}{draw.randrange(1000):03d}"
    check: str = mod_11_2.calc_check_digit(body)
    return body + check
