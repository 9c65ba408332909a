"""`gate feed …`: an issuer's keys and peppers, and the station's trust in them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.errors import NOT_SO

if TYPE_CHECKING:
    from gate.sync.signing import Algorithm

Private = Annotated[Path, typer.Option(help="The issuer's private key file.")]
Keys = Annotated[Path, typer.Option(help="The issuer's public key file, which stations hold.")]
Sm2 = Annotated[bool, typer.Option("--sm2", help="SM2 with SM3, for who must; needs the extra sm.")]


def keygen(
    issuer: Annotated[str, typer.Argument(help="Issuer code, e.g. AKM.")],
    folder: Annotated[Path, typer.Option(help="Where the three files go.")] = Path(),
    sm2: Sm2 = False,
) -> None:
    """Make an issuer's signing key, its public key file and its pepper file.

    Example: gate feed keygen AKM --folder keys
    """
    from gate.config import ISSUER, ConfigError
    from gate.sync.keyring import keygen as make

    if not ISSUER.fullmatch(issuer):
        raise ConfigError("issuer", f"is {issuer!r}: must be 2 to 16 capitals, digits or '_'")
    for what, path in make(folder, issuer, datetime.now(UTC), _algorithm(sm2)).items():
        print(f"{what:8} {path}")


def rotate_key(key: Private, keys: Keys, sm2: Sm2 = False) -> None:
    """Make the issuer's next key, signed by the present one; send the key file to the stations.

    Example: gate feed rotate-key --key akm.private --keys akm.keys
    """
    from gate.sync.keyring import rotate_key as rotate

    for what, path in rotate(key, keys, datetime.now(UTC), _algorithm(sm2)).items():
        print(f"{what:8} {path}")


def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The key that is lost or stolen.")], key: Private, keys: Keys
) -> None:
    """Take a key back for ever, and with it all keys that it signed; send the key file to the stations.

    Example: gate feed revoke-key akm-2020-10 --key akm.private --keys akm.keys
    """
    from gate.sync.keyring import revoke_key as revoke

    print(f"revoked: {', '.join(revoke(key, keys, key_id, datetime.now(UTC)))}")


def rotate_pepper(pepper: Annotated[Path, typer.Argument(help="The issuer's pepper file.")]) -> None:
    """Make the issuer's next pepper; the one before stays until every station holds a feed of the new one.

    Example: gate feed rotate-pepper akm.pepper
    """
    from gate.sync.keyring import rotate_pepper as rotate

    print(f"pepper {rotate(pepper, datetime.now(UTC))}: install the file at the stations before publishing with it")


def install_keys(
    offered: Annotated[Path, typer.Argument(help="The key file that the issuer sent.")],
    keys: Keys,
    issuer: Annotated[str, typer.Option(help="Whose it must be.")],
) -> None:
    """Take new keys into a station's key file: only what a key held there has signed; exit 1 and say why otherwise.

    Example: gate feed install-keys sent/akm.keys --keys akm.keys --issuer AKM
    """
    from gate.sync.keychain import KeyRefused
    from gate.sync.keyring import install_keys as install

    new = install(keys, issuer, offered.read_bytes(), datetime.now(UTC).timestamp())
    if isinstance(new, KeyRefused):
        print(f"{offered}: {new.why} (key {new.key_id!r}): ask the issuer for a file that a held key has signed")
        raise typer.Exit(NOT_SO)
    print(f"{keys}: {', '.join(new) or 'nothing'} new")


def _algorithm(sm2: bool) -> "Algorithm":
    from gate.sync.signing import Algorithm

    return Algorithm.SM2 if sm2 else Algorithm.ED25519
