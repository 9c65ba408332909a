"""A voice module at work: asked every second whether it is there, told which track to play."""

import asyncio
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from drivers.contract import DeviceFault, ReportSink, Sign
from drivers.prompts.newest import Newest
from drivers.prompts.voice.codec import PROFILES, Frames
from drivers.prompts.wave.codec import Track, parse_tracks
from drivers.registry import SettingError, SettingValue
from drivers.reopening import DeviceError, Reopening
from drivers.transport import ByteLink, open_link, port_setting

ASK_EVERY_S = 0.7  # a module that was unplugged is missed, and found again, within 2 s
ANSWER_S = 0.3  # an answer of 10 bytes takes 11 ms at 9600 Bd; no maker tells a limit
TRIES = 3  # as for every device here: one lost question is no fault, three are


class VoiceModule(Reopening):
    """One module; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        super().__init__()
        self._port = port_setting(settings)
        self._baud = int(settings["baud"])
        self._profile = PROFILES[str(settings["profile"])]
        self._volume = int(settings["volume"])
        self._tracks = _tracks(str(settings["tracks"]))
        self._newest = Newest()

    def say(self, reason: str) -> None:
        """Play this reason's track."""
        self._newest.put(reason)

    def show(self, sign: Sign) -> None:
        """A voice shows nothing."""

    async def open(self) -> ByteLink:
        """Open the port."""
        return await open_link(self._port, self._baud)

    async def serve(self, link: ByteLink, report: ReportSink) -> None:
        """Ask, and play what is to be said, until the port is lost or the module is silent."""
        frames = Frames(self._profile)
        while True:
            await self._ask(link, frames)
            if not self.is_up:
                # Modules begin with the loudest (FN-M16P 3.3.2): nobody may be spoken to before this.
                await link.write(self._profile.set_volume(self._volume))
                self.say_up(report)
            self.vitals.tell(report, asyncio.get_running_loop().time())
            await self._newest.wait(ASK_EVERY_S)
            track = self._tracks.get(self._newest.take())
            if track:
                await link.write(self._profile.play_track(track.number))

    async def _ask(self, link: ByteLink, frames: Frames) -> None:
        """Whether it is there: any frame of its own is an answer. Raises DeviceError."""
        now, heard = asyncio.get_running_loop().time, False
        for _ in range(TRIES):
            asked_s = now()
            await link.write(self._profile.ask_state())
            while data := await link.read(ANSWER_S):
                heard = True
                if frames.feed(data):
                    self.vitals.good(now() - asked_s)
                    return
            frames.silence()
            self.vitals.failed(DeviceFault.PROTOCOL_ERROR if heard else DeviceFault.NO_ANSWER)
        if heard:
            raise DeviceError(DeviceFault.PROTOCOL_ERROR, "answers, but not so: check its profile and speed")
        raise DeviceError(DeviceFault.NO_ANSWER, f"no answer to {TRIES} questions: check cable, power and profile")


def _tracks(path: str) -> Mapping[str, Track]:
    """The table in use. Raises SettingError."""
    if not path:
        return parse_tracks(resources.files("drivers.prompts.wave").joinpath("tracks.csv").read_text("utf-8"))
    if not Path(path).is_absolute():
        raise SettingError("tracks", f"{path!r} is not an absolute path: give the one of tracks.csv")
    try:
        return parse_tracks(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError("tracks", f"{path}: {getattr(error, 'strerror', None) or error}") from None


def create(settings: Mapping[str, SettingValue]) -> VoiceModule:
    """A module with checked settings; opens no port yet. Raises SettingError for a wrong port or track table."""
    return VoiceModule(settings)
