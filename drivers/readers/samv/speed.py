"""At which speed a SAM_V reader listens: the first at which a status check is answered."""

from collections.abc import Sequence

from drivers.contract import DeviceFault
from drivers.readers.samv.ask import Asker, DeviceError, NoAnswerError, unanswered
from drivers.transport import ByteLink, open_link

BAUDS = (115200, 57600, 38400, 19200, 9600)  # section 6 of devices.md, the likeliest first
# All five are tried within 2 s, so that a reader that comes back is found in time; at 9600 Bd a check takes 22 ms.
FIND_BAUD_S = 0.2


async def open_at_its_speed(port: str, asker: Asker, bauds: Sequence[int]) -> tuple[ByteLink, int]:
    """The port open at the first of `bauds` that is answered, and which. Raises DeviceError, PortError."""
    errors = []
    for baud in bauds:
        link = await open_link(port, baud)
        try:
            await asker.status(link, FIND_BAUD_S)
        except NoAnswerError as error:
            errors.append(error)
            link.close()
        except BaseException:
            link.close()
            raise
        else:
            return link, baud
    if any(error.dialect for error in errors):
        raise unanswered(errors)
    speeds = ", ".join(map(str, bauds))
    raise DeviceError(DeviceFault.NO_ANSWER, f"no answer at {speeds} Bd: check cable, power and model")
