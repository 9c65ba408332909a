"""Whether a thermometer module is on a port: what it says by itself or when it is asked to measure; never how warm."""

from collections.abc import Mapping

from drivers.asking import answer_to, at_any_speed
from drivers.registry import SettingValue
from drivers.thermometers.serial.codec import AA55, FIVE_A, Frames, register_dialect
from drivers.transport import ByteLink, port_setting

BAUDS = (9600, 115200)  # makers' defaults; the register module's other speed
_OWN_RHYTHM_S = 0.8  # AA55 modules speak every 500 ms and are not asked
_FACTORY_ID = 0xA4
_DIALECTS = {"aa55": (AA55, _OWN_RHYTHM_S), "5a5a45": (FIVE_A, 0.3), "register": (register_dialect(_FACTORY_ID), 0.3)}


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """Its protocol; None when nothing speaks so. Raises PortError."""
    return await at_any_speed(port_setting(settings), BAUDS, _listen)


async def _listen(link: ByteLink) -> str | None:
    for name, (dialect, wait_s) in _DIALECTS.items():
        if Frames(dialect).feed(await answer_to(link, dialect.ask, wait_s)):
            return f"thermometer module, protocol {name}"
    return None
