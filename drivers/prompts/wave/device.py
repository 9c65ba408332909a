"""Plays wave files by a program of the system, one at a time; a newer prompt ends the older one's."""

import asyncio
import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from drivers.contract import DeviceFault, ReportSink, Sign
from drivers.prompts.newest import Newest
from drivers.prompts.wave.codec import Track, parse_tracks
from drivers.registry import SettingValue
from drivers.reopening import DeviceError, Reopening
from drivers.transport import ByteLink

LOOK_EVERY_S = 1.0  # at the folder: it may be on a stick
PLAY_MAX_S = 30.0  # twice the longest prompt; a player that hangs in a sound card's driver is killed
TABLE = "tracks.csv"
_TABLE_BYTES_MAX = 1 << 20  # 500 lines of 2,000 characters


class WavePlayer(Reopening):
    """One loudspeaker; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        super().__init__()
        self._folder = Path(str(settings["source"]))
        self._player = str(settings["player"])
        alsa = str(settings["alsa_device"])
        self._options = ["-q", *(["-D", alsa] if alsa else [])]
        self._newest = Newest()
        self._failed = False  # the player did not play the last one: it is not up before it plays again

    def say(self, reason: str) -> None:
        """Play this reason's file."""
        self._newest.put(reason)

    def show(self, sign: Sign) -> None:
        """A loudspeaker shows nothing."""

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._failed = False
        await super().run(report)

    async def open(self) -> ByteLink | None:  # type: ignore[override] # a folder is no link
        """There is no port to open."""
        return None

    async def serve(self, link: ByteLink, report: ReportSink) -> None:
        """Play what is to be said as long as the folder is there."""
        while True:
            tracks = await asyncio.to_thread(self._tracks)
            if not self.is_up and not self._failed:
                self.say_up(report, f"{len(tracks)} prompts")
            if self.is_up:
                self.vitals.good()
                self.vitals.tell(report, asyncio.get_running_loop().time())
            await self._newest.wait(LOOK_EVERY_S)
            track = tracks.get(self._newest.take())
            if track and track.file:
                await self._play(self._folder / track.file)

    def _tracks(self) -> Mapping[str, Track]:
        """The table, if its files and the player are there. Raises DeviceError."""
        if shutil.which(self._player) is None:
            raise DeviceError(
                DeviceFault.LIBRARY_MISSING, f"no program {self._player!r}: install it (aplay: apt install alsa-utils)"
            )
        path = self._folder / TABLE
        try:
            with path.open("rb") as file:
                tracks = parse_tracks(file.read(_TABLE_BYTES_MAX).decode("utf-8"))
            missing = [t.file for t in tracks.values() if not t.file or not (self._folder / t.file).is_file()]
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise DeviceError(DeviceFault.SOURCE_UNREADABLE, f"{path}: {why}: see gate prompts make") from error
        if missing:
            raise DeviceError(DeviceFault.SOURCE_UNREADABLE, f"{path}: {missing[0] or 'a file'} is missing")
        return tracks

    async def _play(self, file: Path) -> None:
        """Play until it ends, or until something newer is to be said. Raises DeviceError when it does not play."""
        quiet = asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                self._player, *self._options, str(file), stdin=quiet, stdout=quiet, stderr=quiet
            )
        except OSError as error:
            raise DeviceError(DeviceFault.LIBRARY_MISSING, f"{self._player}: {error.strerror}") from error
        try:
            ended = await self._ended(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if ended is not None and ended != 0:
            self._failed = True
            raise DeviceError(
                DeviceFault.SELF_TEST_FAILED, f"{self._player} ended with {ended}: is the sound card there, and free?"
            )
        self._failed = self._failed and ended is None

    async def _ended(self, process: asyncio.subprocess.Process) -> int | None:
        """The player's exit status; None when it was not let end by itself."""
        tasks = [asyncio.create_task(process.wait()), asyncio.create_task(self._newest.wait(PLAY_MAX_S))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return process.returncode
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def create(settings: Mapping[str, SettingValue]) -> WavePlayer:
    """A player with checked settings; opens nothing yet."""
    return WavePlayer(settings)
