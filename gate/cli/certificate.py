"""`gate certificate …`: paper certificates of communities, for people without a phone."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.errors import NOT_SO
from gate.cli.secret import from_standard_input

if TYPE_CHECKING:
    from gate.credential.documents import Document

app = typer.Typer(no_args_is_help=True, help="Make and check paper certificates of communities.")
_BEIJING = timezone(timedelta(hours=8))  # no summer time


@app.command()
def keygen(
    authority: Annotated[str, typer.Argument(help="The community's name, e.g. XIHU: at most 9 capitals.")],
    region: Annotated[str, typer.Option(help="GB/T 2260 code of where it certifies, e.g. 330106.")],
    folder: Annotated[Path, typer.Option(help="Where the two files go.")] = Path(),
    sm2: Annotated[bool, typer.Option("--sm2", help="SM2 with SM3, for who must; needs the extra sm.")] = False,
) -> None:
    """Make a community's signing key and its public key file; gate feed rotate-key and revoke-key work on them.

    Example: gate certificate keygen XIHU --region 330106 --folder keys
    """
    from gate.sync.certkeys import make_community_keys
    from gate.sync.signing import Algorithm

    algorithm = Algorithm.SM2 if sm2 else Algorithm.ED25519
    for what, path in make_community_keys(folder, authority, region, datetime.now(UTC), algorithm).items():
        print(f"{what:8} {path}")


@app.command()
def issue(
    key: Annotated[Path, typer.Option(help="The community's private key file.")],
    document_type: Annotated[str, typer.Option(help="RESIDENT_ID, PASSPORT, …")] = "RESIDENT_ID",
    day: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Today or tomorrow in China.")] = None,
    png: Annotated[Path | None, typer.Option(help="Write the QR as a picture instead of its text.")] = None,
) -> None:
    """Certify the holder of one document for one day. Its number is read from standard input, never from arguments.

    Example: gate certificate issue --key 330106_xihu.private --png paper.png < number.txt
    """
    import secrets

    from gate.config import ConfigError
    from gate.credential import certificate
    from gate.sync.certkeys import load_signer

    signer = load_signer(key)
    today = _today()
    valid_on = day.date() if day else today
    if not 0 <= (valid_on - today).days <= certificate.AHEAD_DAYS_MAX:
        raise ConfigError("--day", f"is {valid_on}: must be today, {today}, or the day after")
    text = certificate.issue(
        _document(document_type),
        key_id=signer.private.key_id,
        region=signer.region,
        issued_on=today,
        valid_on=valid_on,
        salt=secrets.token_bytes(certificate.SALT_BYTES),
        sign=signer.private.sign,
    )
    if png:
        png.write_bytes(_picture(text))
    print(f"{png}: valid on {valid_on}" if png else text)


@app.command()
def inspect(
    keys: Annotated[Path, typer.Option(help="A public key file, or the station's folder of them.")],
) -> None:
    """Say who made the certificate on standard input, and whether it is good today; nothing of its holder.

    Exit 1 when it is not. Example: gate certificate inspect --keys keys < paper.txt
    """
    from gate.credential.certificate import Certificate, CertificateProblem, judge, read_certificate
    from gate.moment import Moment
    from gate.sync.certkeys import load_community_keys

    believed = load_community_keys(keys)
    read = read_certificate(from_standard_input("the certificate's text").encode())
    if not isinstance(read, Certificate):
        print(read or "this is no certificate")
        raise typer.Exit(NOT_SO)
    now = Moment(datetime.now(UTC).timestamp(), 0.0)
    problem = judge(read, None, believed, now, clock_trusted=True)
    known = believed.get(read.key_id)
    print(f"authority  {known.authority if known else 'not known here'}, region {read.region}, key {read.key_id}")
    print(f"issued     {read.issued_on}")
    print(f"valid on   {read.valid_on}")
    good = problem is CertificateProblem.CERTIFICATE_NEEDS_CARD  # whose it is cannot be told from the paper alone
    print("good, with the document of the person it was made for" if good else str(problem))
    if not good:
        raise typer.Exit(NOT_SO)


def _today() -> date:
    return datetime.now(_BEIJING).date()


def _document(kind: str) -> "Document":
    from gate.config import ConfigError
    from gate.credential.documents import DocumentError, DocumentType, document

    if kind.upper() not in set(DocumentType):
        raise ConfigError("--document-type", f"is {kind!r}: must be one of {', '.join(DocumentType)}")
    number = from_standard_input("the document's number")
    try:
        return document(DocumentType(kind.upper()), number)
    except DocumentError as error:
        raise ConfigError("standard input", f"{error}: compare it with the document") from None


def _picture(text: str) -> bytes:
    """A PNG to print: a quarter of it may be dirty or folded away (level Q), 8 pixels a module."""
    import cv2
    import numpy as np
    import zxingcpp

    code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode, ec_level="Q")
    _, png = cv2.imencode(".png", np.asarray(zxingcpp.write_barcode_to_image(code, scale=8, add_quiet_zones=True)))
    return bytes(png)
