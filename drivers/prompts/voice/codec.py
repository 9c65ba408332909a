"""Frames of serial voice modules: play a track, set the volume, stop, ask for the state. No IO and no clock.

    AA CMD LEN DATA SUM            SUM: low byte of the sum before. DFR0534, JQ8400 (devices.md 7.6): play
                                   `AA 07 02 00 08 BB` is the eighth file, volume `AA 13 01 14 D2` is 20, state
                                   `AA 01 00 AB` is answered by `AA 01 01 STATE SUM`, stop `AA 04 00 AE`
    7E FF 06 CMD ACK HI LO CK CK EF    CK: minus the sum from FF to LO. DFPlayer, MP3-TF-16P, FN-M16P: play file 0001 of
                                   the folder MP3 `7E FF 06 12 00 00 01 FE E8 EF`, volume 06, stop 16, state 42
    7E FF 06 CMD ACK HI LO EF          the same without CK, which some of them take (devices.md 7.6)

The checksums that DFRobot's own manual prints in its sentences (`… 04 FF DD EF`) are wrong by its own rule; those of
its library and of FN-M16P's tables are right, and are what modules that check them take.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

_AA_DATA_MAX = 16  # the longest answer of theirs is a file's name of 8.3
_7E_WHOLE, _7E_SHORT = 10, 8


class Heard(NamedTuple):
    """One frame of the module's."""

    command: int
    value: int


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of module: how a command is framed, which commands they are, how its frames are cut."""

    frame: Callable[[int, int | None], bytes]
    play: int
    volume: int
    ask: int
    take: Callable[[bytearray], tuple[int, Heard | None]]  # bytes to drop (0: wait for more), and what they said

    def play_track(self, number: int) -> bytes:
        """Play this track, whatever is being played."""
        return self.frame(self.play, number)

    def set_volume(self, level: int) -> bytes:
        """How loud, 0 to 30."""
        return self.frame(self.volume, level)

    def ask_state(self) -> bytes:
        """Are you there, and playing?"""
        return self.frame(self.ask, None)


class Frames:
    """Cuts what a module sends into frames."""

    def __init__(self, profile: Profile) -> None:
        self._take = profile.take
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Heard]:
        """Take bytes in any portions; give the frames that are complete now."""
        self._buffer += data
        heard = []
        while self._buffer:
            used, frame = self._take(self._buffer)
            if not used:
                break  # at most one frame is kept
            del self._buffer[:used]
            if frame is not None:
                heard.append(frame)
        return heard

    def silence(self) -> None:
        """Nothing came for longer than a frame lasts: what is there never becomes one."""
        self._buffer.clear()


# How long a command's data is: a track's number has two bytes, a level one.
_AA_PLAY, _AA_VOLUME, _AA_STATE = 0x07, 0x13, 0x01
_AA_BYTES = {_AA_PLAY: 2, _AA_VOLUME: 1}
_7E_PLAY, _7E_VOLUME, _7E_STATE = 0x12, 0x06, 0x42


def _aa_frame(command: int, value: int | None) -> bytes:
    data = b"" if value is None else value.to_bytes(_AA_BYTES[command], "big")
    frame = bytes([0xAA, command, len(data)]) + data
    return frame + bytes([sum(frame) & 0xFF])


def _aa_take(buffer: bytearray) -> tuple[int, Heard | None]:
    if buffer[0] != 0xAA:
        return 1, None
    if len(buffer) < 3:
        return 0, None
    size = 4 + buffer[2]
    if buffer[2] > _AA_DATA_MAX:
        return 1, None
    if len(buffer) < size:
        return 0, None
    if sum(buffer[: size - 1]) & 0xFF != buffer[size - 1]:
        return 1, None
    return size, Heard(buffer[1], int.from_bytes(buffer[3 : size - 1], "big"))


def _7e_body(command: int, value: int | None) -> bytes:
    return bytes([0xFF, 0x06, command, 0x00]) + (value or 0).to_bytes(2, "big")


def _7e_checked(command: int, value: int | None) -> bytes:
    body = _7e_body(command, value)
    return b"\x7e" + body + _minus_sum(body) + b"\xef"


def _7e_short(command: int, value: int | None) -> bytes:
    return b"\x7e" + _7e_body(command, value) + b"\xef"


def _minus_sum(body: bytes) -> bytes:
    return (-sum(body) & 0xFFFF).to_bytes(2, "big")


def _7e_take(buffer: bytearray) -> tuple[int, Heard | None]:
    """Either form: a module answers with a checksum whether or not it was told one."""
    head = b"\x7e\xff\x06"
    if not head.startswith(buffer[:3]):
        return 1, None
    if len(buffer) < _7E_SHORT:
        return 0, None
    heard = Heard(buffer[3], int.from_bytes(buffer[5:7], "big"))
    if len(buffer) >= _7E_WHOLE and buffer[9] == 0xEF and bytes(buffer[7:9]) == _minus_sum(bytes(buffer[1:7])):
        return _7E_WHOLE, heard
    # A sum's high byte is FB to FE, never EF: what stands there tells the two forms apart.
    if buffer[7] == 0xEF:
        return _7E_SHORT, heard
    return (1 if len(buffer) >= _7E_WHOLE else 0), None


PROFILES = {
    "dfr0534": Profile(_aa_frame, _AA_PLAY, _AA_VOLUME, _AA_STATE, _aa_take),
    "dfplayer": Profile(_7e_checked, _7E_PLAY, _7E_VOLUME, _7E_STATE, _7e_take),
    "dfplayer-short": Profile(_7e_short, _7E_PLAY, _7E_VOLUME, _7E_STATE, _7e_take),
}
