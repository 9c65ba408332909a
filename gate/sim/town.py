"""Who stands behind a demonstration's passengers: Shanghai's issuer, which answers questions, and a community.

The issuer is the simulated one (issuer.py) on a port of its own, asked by the station over HTTP. The community signs
certificates on paper. Both hold made-up people only.
"""

import contextlib
import random
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gate.credential import certificate
from gate.credential.documents import DocumentType, document
from gate.credential.transit import SUISHENMA, TRANSPORT
from gate.feed.records import CredentialStatus
from gate.sim.codes import (
    MADE_UP,
    SUISHENMA_KEY_INDEX,
    TRANSPORT_KEY_INDEX,
    SealKeys,
    code_text,
    make_seal_keys,
)
from gate.sim.issuer import SimulatedIssuer
from gate.sim.issuerfaces import Access, Holder
from gate.sim.people import Person
from gate.sync.certkeys import CommunitySigner, load_signer, make_community_keys
from gate.sync.codekeys import write_code_keys
from gate.sync.signing import KeyFileError

INTERFACE = "guangdong-decode"  # Shanghai's own is NOT FOUND; this is the one that takes a whole code (1.5)
COMMUNITY, COMMUNITY_REGION = "XIHU", "330106"
_TRANSIT_SHARE = 0.3  # of Shanghai's codes, where SM2 is installed
_BEIJING = timedelta(hours=8)
# What its interface has words for; everything else becomes an unknown value there.
_SAYS = (
    CredentialStatus.GREEN,
    CredentialStatus.YELLOW,
    CredentialStatus.RED,
    CredentialStatus.GREY,
    CredentialStatus.NOT_CLAIMED,
)


@dataclass(slots=True)
class Town:
    """One town, for any number of stations."""

    folder: Path
    shanghai: SimulatedIssuer
    signer: CommunitySigner
    seals: SealKeys | None = field(default=None, repr=False)  # None: SM2 is not installed, nobody has a transit code

    async def open(self) -> None:
        """The issuer begins to answer."""
        await self.shanghai.start()

    async def close(self) -> None:
        """It ends."""
        await self.shanghai.stop()

    def policy(self) -> str:
        """What `[policy]` of a station says of the community."""
        return f'certificate_keys = "{self.folder / "community"}"\n'

    def issuers(self) -> str:
        """What a station's file says of issuers: patterns of made-up codes, and how Shanghai is asked."""
        patterns = "".join(
            f'\n[[issuer]]\nid = "{made.issuer}"\n[[issuer.code]]\nhost = "{made.host}"\n'
            f"pattern = '{made.pattern}'\nform = \"{form}\"\n"
            for form, made in MADE_UP.items()
            if form == made.issuer  # one pattern an issuer: the paper forms are left to the tests
        )
        keys = f'code_keys_file = "{self.code_keys}"\n' if self.seals else ""
        return f"""{patterns}
[[issuer]]
id = "SSM"
{keys}[issuer.query]
interface = "{INTERFACE}"
url = "{self.shanghai.url}/health/decode"
secret_file = "{self.folder / "ssm.secret"}"
"""

    @property
    def code_keys(self) -> Path:
        """The public keys of the transit code's seals."""
        return self.folder / "ssm-code.keys"

    def code_of(self, person: Person, draw: random.Random, ago_s: float = 0.0) -> str:
        """The text of this person's code, as it was shown so many seconds ago."""
        utc_s = time.time() - ago_s
        if person.issuer == "SSM" and self.seals and draw.random() < _TRANSIT_SHARE:
            return code_text("SSM_TRANSIT", person.token, utc_s, self.seals)
        return person.code_at(utc_s).decode()

    @contextlib.contextmanager
    def shows(self, person: Person, text: str) -> Iterator[None]:
        """While a code is shown, its issuer knows whose it is: dynamic ones are made at each showing."""
        if person.issuer != "SSM" or person.status is None:
            yield
            return
        lapsed = person.status is CredentialStatus.GREY
        holder = Holder(person.number, person.name, code=text, status=person.status, report_expired=lapsed)
        self.shanghai.holders.append(holder)
        try:
            yield
        finally:
            self.shanghai.holders.remove(holder)

    def paper(self, person: Person) -> bytes:
        """A certificate of today for this person, as its QR reads."""
        today = (datetime.now(UTC) + _BEIJING).date()
        text = certificate.issue(
            document(DocumentType(person.document_type), person.number),
            key_id=self.signer.private.key_id,
            region=self.signer.region,
            issued_on=today,
            valid_on=today,
            salt=secrets.token_bytes(certificate.SALT_BYTES),
            sign=self.signer.private.sign,
        )
        return text.encode()


def says_of(status: CredentialStatus) -> CredentialStatus:
    """What Shanghai's interface makes of a status."""
    return status if status in _SAYS else CredentialStatus.UNKNOWN


def make_town(folder: Path) -> Town:
    """Keys and secrets in `folder`. Raises OSError, KeyFileError."""
    folder.mkdir(parents=True, exist_ok=True)
    access = Access(secret_key=secrets.token_hex(16))
    secret = folder / "ssm.secret"
    secret.touch(mode=0o600)
    secret.write_text(f'app_id = "{access.app_id}"\nsecret_key = "{access.secret_key}"\n', "utf-8")
    (folder / "private").mkdir(exist_ok=True)
    made = make_community_keys(folder / "private", COMMUNITY, COMMUNITY_REGION, datetime.now(UTC))
    (folder / "community").mkdir(exist_ok=True)
    made["keys"].rename(folder / "community" / made["keys"].name)
    town = Town(folder, SimulatedIssuer(INTERFACE, access=access), load_signer(made["private"]), _seals())
    if town.seals:
        write_code_keys(town.code_keys, _public(town.seals))
    return town


def _seals() -> SealKeys | None:
    try:
        return make_seal_keys()
    except KeyFileError:
        return None


def _public(seals: SealKeys) -> dict[tuple[str, int], bytes]:
    return {
        (SUISHENMA, SUISHENMA_KEY_INDEX): seals.suishenma.public().raw,
        (TRANSPORT, TRANSPORT_KEY_INDEX): seals.transport.public().raw,
    }
