"""Whether pcscd has a reader of that name, by its list of readers, which changes nothing."""

import asyncio
from collections.abc import Mapping

from drivers.readers.pcsc.codec import ReaderError, choose_reader, wanted_reader
from drivers.readers.pcsc.service import Service, load_library
from drivers.registry import SettingValue
from drivers.transport import PortError


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """The reader's whole name, or all for "pcsc:"; None for another port. Raises PortError, naming those there."""
    try:
        wanted = wanted_reader(str(settings["port"]))
    except ValueError:
        return None
    try:
        return await asyncio.to_thread(_find, wanted)
    except ReaderError as error:
        raise PortError(error.fault, str(error)) from error


def _find(wanted: str) -> str:
    with Service(load_library()) as service:
        names = service.readers()
        if names and not wanted:
            return f"PC/SC readers: {'; '.join(names)}"
        return f"PC/SC reader {choose_reader(names, wanted)}"
