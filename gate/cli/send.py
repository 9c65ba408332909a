"""`gate feed send`, `gate feed index`: from a publisher to where stations fetch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gate.sync.natslink import Tls

_Pem = Annotated[Path | None, typer.Option(help="PEM file for tls://.")]


def send(
    files: Annotated[list[Path], typer.Argument(help="Snapshots and deltas, in the order of their sequences.")],
    to: Annotated[str, typer.Option(help="nats://HOST:PORT/STREAM; the stream is made when it is not there.")],
    ca_file: _Pem = None,
    certificate: _Pem = None,
    private_key: _Pem = None,
) -> None:
    """Put feed files into JetStream: deltas into the stream, snapshots into its object store. Repeating is harmless.

    Example: gate feed send akm-8.snapshot akm-7-8.delta --to nats://127.0.0.1:4222/AKM
    """
    import asyncio

    from gate.sync.natslink import Tls

    asyncio.run(_send(files, to, Tls(ca_file, certificate, private_key)))


async def _send(files: list[Path], to: str, tls: "Tls") -> None:
    from gate.feed.envelope import Form
    from gate.sync.feedfile import read_header
    from gate.sync.jetstream_publisher import ensure_stream, publish_delta, publish_snapshot
    from gate.sync.natslink import parse_address

    address = parse_address(to)
    await ensure_stream(address.server, address.stream, tls=tls)
    for path in files:
        with path.open("rb") as file:
            header, _ = read_header(file)
        where = (address.server, address.stream, path)
        if header.form == Form.SNAPSHOT:
            await publish_snapshot(*where, sequence=header.sequence, tls=tls)
        else:
            await publish_delta(*where, sequence=header.sequence, from_sequence=header.from_sequence, tls=tls)
        print(f"{path}: {header.form.lower()} {header.sequence} of {header.issuer} is in {address.stream}")


def index(folder: Annotated[Path, typer.Argument(help="The folder that a web server serves.")]) -> None:
    """Write the index.json that https: stations look at, after each publication.

    Example: gate feed index /srv/feeds/akm
    """
    from gate.sync.index import write_index

    print(f"{folder}: {write_index(folder)} files listed")
