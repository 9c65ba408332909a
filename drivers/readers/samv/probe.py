"""Whether a SAM_V reader is on a port: by status check and SAM id, which change nothing."""

from collections.abc import Mapping

from drivers.contract import DeviceFault
from drivers.readers.samv.ask import Asker, DeviceError, NoAnswerError
from drivers.readers.samv.speed import BAUDS, open_at_its_speed
from drivers.registry import SettingValue
from drivers.transport import ByteLink, TcpAddress, open_link, parse_port, port_setting
from drivers.vitals import VitalSigns

_BROKEN = (DeviceFault.SELF_TEST_FAILED, DeviceFault.NOT_AUTHORISED)  # it answers as only such a reader does


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """Its speed and number; None when nothing answers as a SAM_V reader. Raises PortError."""
    port, asker = port_setting(settings), Asker(VitalSigns(), may_reset=False)
    link: ByteLink | None = None
    try:
        if isinstance(parse_port(port), TcpAddress):
            link, speed = await open_link(port), ""
            await asker.status(link)
        else:
            link, baud = await open_at_its_speed(port, asker, BAUDS)
            speed = f" at {baud} Bd"
        told = await asker.sam_id(link)
        return f"SAM_V reader{speed}, SAM {told or 'id not told'}"
    except NoAnswerError:
        return None
    except DeviceError as error:
        return f"SAM_V reader, broken: {error}" if error.fault in _BROKEN else None
    finally:
        if link:
            link.close()
