"""Which maker's QR engine is on a port: each is asked what its manual lets a host ask, and nothing is set or triggered.

    Newland     unified query of SCNMOD, answered by 02 01 30 30 30 30 … 03 (NLS-HR52 user manual, query commands)
    Honeywell   menu query SYN M CR 232BAD?. , answered by its name, its value and ACK (2020-5 user manual 10-3)
    GM65        register 0000 is read, answered with a CRC (GM65 manual p. 31-32)

An engine that sends lines and understands none of these cannot be told from an empty port: hold a code before it.
"""

import re
from collections.abc import Mapping

from drivers.asking import answer_to, at_any_speed
from drivers.registry import SettingValue
from drivers.scanners.engine.codec import Answers, Gm65
from drivers.transport import ByteLink, port_setting

BAUDS = (9600, 115200, 57600, 38400, 19200)  # makers' defaults first
_ASKED = {
    "Newland": (b"~\x010000@SCNMOD*;\x03", re.compile(rb"\x02\x010000[@#]SCNMOD[^\x03]{1,16}\x03")),
    "Honeywell": (b"\x16M\r232BAD?.", re.compile(rb"232BAD[0-9]{1,2}\x06[.!]")),
}
_READ_GM65 = "0000?"


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """The maker; None when nobody answers. Raises PortError."""
    return await at_any_speed(port_setting(settings), BAUDS, _ask_all)


async def _ask_all(link: ByteLink) -> str | None:
    for maker, (question, answer) in _ASKED.items():
        if answer.search(await answer_to(link, question)):
            return f"{maker} engine"
    dialect = Gm65()
    answers, _ = Answers(dialect).feed(await answer_to(link, dialect.encode(_READ_GM65)))
    return "GM65-class engine" if answers else None
