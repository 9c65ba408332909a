"""`gate feed …`: the regional side and the station side of a feed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from gate.cli import keys as keys_
from gate.cli import send
from gate.cli.errors import NOT_SO
from gate.cli.watch import feed_status

app = typer.Typer(no_args_is_help=True, help="Make, publish, check and look at feeds.")


@app.command()
def publish(
    rows: Annotated[
        Path,
        typer.Argument(help="CSV or .parquet: document_type,number,status,asserted_by,effective_at[,…]; - is stdin."),
    ],
    out: Annotated[Path, typer.Argument(help="The snapshot to write, NAME.snapshot.")],
    key: Annotated[Path, typer.Option(help="The issuer's private key file.")],
    pepper: Annotated[Path, typer.Option(help="The issuer's pepper file.")],
    sequence: Annotated[int, typer.Option(min=1, help="Higher than every one published before.")],
    kind: Annotated[str, typer.Option(help="FULL, RED_YELLOW or NON_GREEN_WITH_ENROLMENT.")] = "FULL",
    partitions: Annotated[Path | None, typer.Option(help="TOML file of partition tables: see the README.")] = None,
    state: Annotated[Path | None, typer.Option(help="Write what a later --delta-from needs; keep it secret.")] = None,
    delta_from: Annotated[Path | None, typer.Option(help="The --state of the publication before.")] = None,
    delta: Annotated[Path | None, typer.Option(help="The delta to write, NAME.delta; goes with --delta-from.")] = None,
    produced_at: Annotated[datetime | None, typer.Option(help="UTC; without it, now.")] = None,
    next_due_hours: Annotated[float, typer.Option(min=0.01, help="When the next one is due.")] = 24.0,
    pepper_id: Annotated[str | None, typer.Option(help="Which pepper; without it, the last in the file.")] = None,
) -> None:
    """Publish status rows as a signed snapshot, and what changed as a delta.

    Example: gate feed publish akm.csv akm-7.snapshot --key akm.private --pepper akm.pepper --sequence 7
    """
    from gate.cli.progress import counting
    from gate.credential.cardnumber import card_number
    from gate.credential.documents import DocumentType, document
    from gate.credential.subject import KEY_SCHEME, card_key, subject_key, token_key
    from gate.feed.records import Kind
    from gate.sync import publisher
    from gate.sync.keyring import KeyFileError, load_peppers, load_private_key
    from gate.sync.partitionfile import read_partitions
    from gate.sync.rows import KeysOf, read_rows

    if kind not in set(Kind):
        raise publisher.PublishError(f"--kind is {kind!r}: must be one of {', '.join(Kind)}")
    if (delta is None) != (delta_from is None):
        raise publisher.PublishError("--delta and --delta-from go together: give both, or none")
    private = load_private_key(key)
    peppers = load_peppers(pepper, private.issuer)
    chosen = pepper_id or list(peppers)[-1]
    if chosen not in peppers:
        raise KeyFileError(f"{pepper}: has no pepper {chosen!r}; it has {', '.join(peppers)}")
    produced = produced_at.replace(tzinfo=UTC) if produced_at else datetime.now(UTC)
    edition = publisher.Edition(
        private.issuer,
        sequence,
        int(produced.timestamp()),
        int((produced + timedelta(hours=next_due_hours)).timestamp()),
        KEY_SCHEME,
        chosen,
        Kind(kind),
        read_partitions(partitions) if partitions else (),
    )

    def key_of(document_type: str, number: str) -> bytes:
        if document_type not in set(DocumentType):
            raise ValueError(f"document_type must be one of {', '.join(DocumentType)}")
        return subject_key(peppers[chosen], document(DocumentType(document_type), number))

    def token_key_of(token: str) -> bytes:
        return token_key(peppers[chosen], private.issuer, token)

    def card_key_of(scheme: str, number: str) -> bytes:
        return card_key(peppers[chosen], private.issuer, card_number(scheme, number))

    with counting("rows") as progress:
        output = publisher.Output(out, state, delta, delta_from, progress)
        headers = publisher.publish(
            read_rows(rows, KeysOf(key_of, token_key_of, card_key_of)), edition, private, output
        )
    for path, header in zip((out, delta), headers, strict=False):
        what = f"{header.changes} changes, {header.count} subjects" if header.changes else f"{header.count} subjects"
        print(f"{path}: {header.issuer} sequence {header.sequence}, {what}, digest {header.content_digest}")


@app.command()
def verify(
    snapshot: Annotated[Path, typer.Argument(help="A snapshot or a delta.")],
    keys: Annotated[Path, typer.Option(help="The issuer's public key file.")],
    issuer: Annotated[str | None, typer.Option(help="Whose it must be; without it, whoever it claims.")] = None,
) -> None:
    """Check a feed file whole, as the station would: exit 1 and say why when it would be refused.

    Example: gate feed verify akm-7.snapshot --keys akm.keys
    """
    from gate.sync.feedfile import Trust, read_header
    from gate.sync.feedfile import verify as check
    from gate.sync.keyring import load_public_keys

    with snapshot.open("rb") as file:
        claimed, _ = read_header(file)
    owner = issuer or claimed.issuer
    trust = Trust(owner, load_public_keys(keys, owner), frozenset({claimed.pepper_id}))
    header = check(snapshot, trust)
    print(f"{snapshot}: {header.issuer} {header.form} sequence {header.sequence}, {header.count} subjects: good")


@app.command()
def inspect(
    snapshot: Annotated[Path, typer.Argument(help="A snapshot or a delta.")],
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what a feed file says about itself, without checking its signature.

    Example: gate feed inspect akm-7.snapshot
    """
    from dataclasses import asdict
    from json import dumps

    from gate.feed.partitions import encode_partitions
    from gate.sync.feedfile import read_header

    with snapshot.open("rb") as file:
        header, _ = read_header(file)
    values = asdict(header) | {"partitions": encode_partitions(header.partitions)}
    if json:
        print(dumps(values, indent=2))
        return
    for name, value in values.items():
        shown = datetime.fromtimestamp(value, UTC).isoformat() if name.endswith("_utc_s") else value
        print(f"{name:16} {shown}")
    print("the signature was not checked: use gate feed verify")


@app.command()
def pull(
    config: Annotated[Path, typer.Option(help="The station's TOML file.")],
    issuer: Annotated[str | None, typer.Option(help="Only this one; without it, all that the file names.")] = None,
) -> None:
    """Bring feeds into a station's store once, before it runs or to see what its sources have.

    Example: gate feed pull --config station.toml
    """
    import asyncio
    import time

    from gate.config import ConfigError, load
    from gate.sync.process import configuration
    from gate.sync.worker import pull_once

    settings = load(config)
    feeds = [feed for feed in settings.feeds if issuer in (None, feed.issuer)]
    if not feeds:
        named = ", ".join(feed.issuer for feed in settings.feeds) or "none"
        raise ConfigError("issuer", f"{issuer or 'no feed'} is not in {config}: it names {named}")
    good = True

    def heard(event: dict[str, Any]) -> None:
        nonlocal good
        good = good and event["event"] not in ("refused", "source_failed", "damaged", "store_failed")
        print(f"{event['issuer']:9} {event['event']:13} " + _told(event))

    offset_s = time.time() - time.monotonic()
    told = configuration(settings.station_id, settings.data_dir / "store", feeds, offset_s)
    asyncio.run(pull_once(told, heard))
    if not good:
        raise typer.Exit(NOT_SO)


def _told(event: dict[str, Any]) -> str:
    match event["event"]:
        case "applied":
            return f"{event['form'].lower()} sequence {event['sequence']}, {event['count']} subjects"
        case "held":
            return f"sequence {event['sequence']} is in service"
        case "gap":
            return f"{event['missing']} sequences are missing"
        case _:
            return str(event.get("detail") or event.get("reason") or "")


app.command("status")(feed_status)
app.command("send")(send.send)
app.command("index")(send.index)
app.command("keygen")(keys_.keygen)
app.command("rotate-key")(keys_.rotate_key)
app.command("revoke-key")(keys_.revoke_key)
app.command("rotate-pepper")(keys_.rotate_pepper)
app.command("install-keys")(keys_.install_keys)
