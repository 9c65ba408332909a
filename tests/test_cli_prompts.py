"""`gate prompts make`: a track for whatever a lane may say, spoken by espeak-ng, and a table that the drivers read."""

import os
import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from drivers.prompts.wave.codec import Track, parse_tracks
from gate.cli.prompts import _digits_apart, lines, table
from gate.policy.verdict import Reason
from gate.station.prompts import prompts

NEEDED = {reason.name for reason in Reason if not prompts()[reason].code.startswith("A")}


def make(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"PATH": path} if path is not None else {})
    command = [sys.executable, "-m", "gate", "prompts", "make", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)


def test_every_reason_of_a_lane_has_a_track_and_numbers_have_no_gap() -> None:
    """A module that counts files plays the right one only if none is missing; what only a caller reads has none."""
    made = lines(["zh", "en"])
    assert {line.reason for line in made} == NEEDED
    assert [line.track for line in made] == list(range(1, len(NEEDED) + 1))
    # Printed on cards that are in service: these numbers stay.
    assert [line.reason for line in made[:3]] == ["STATUS_GREEN", "STATUS_YELLOW", "STATUS_RED"]


def test_the_table_is_one_that_the_drivers_read() -> None:
    """Number and file by reason, and the words beside them."""
    made = lines(["zh", "en"])
    text = table(made, ["zh", "en"])
    assert parse_tracks(text) == {line.reason: Track(line.track, line.file) for line in made}
    assert "绿码，请通行" in text
    unread = next(line for line in made if line.reason == "CARD_REMOVED")
    assert unread.spoken["en"] == ("The card was taken away too soon", "Hold the card still until you hear the tone")
    assert _digits_apart("call 12345").split() == ["call", "1", "2", "3", "4", "5"]


def test_no_voice_tells_anybody_s_health() -> None:
    """Everybody around hears it: a green may be welcomed, and of all other findings one and the same thing is said."""
    neutral = {"zh": ("请到工作人员处",), "en": ("Please go to the staff desk",)}
    for line in lines(["zh", "en"]):
        said = " ".join(text for texts in line.spoken.values() for text in texts).lower()
        if line.reason == "STATUS_GREEN":
            continue
        assert not re.search(
            r"\b(red|yellow|green|grey|fever|temperature|positive)\b|[红黄绿灰]码|体温|发热|审核", said
        ), line
        if line.reason.startswith("STATUS_") or line.reason == "TEMPERATURE_HIGH":
            assert line.spoken == neutral, line


def test_without_espeak_ng_the_command_says_what_to_install(tmp_path: Path) -> None:
    """One line, status 3, and no half-made folder."""
    done = make("--out", str(tmp_path / "out"), path=str(tmp_path))
    assert done.returncode == 3
    assert done.stderr == "gate: espeak-ng is not installed: sudo apt install espeak-ng, then run this again\n"
    assert not (tmp_path / "out").exists()


def test_a_language_that_there_is_not_is_refused(tmp_path: Path) -> None:
    """By its name, with those there are."""
    done = make("--out", str(tmp_path), "--language", "fr")
    assert (done.returncode, "'fr' is not one of zh, en" in done.stderr) == (2, True)


def test_every_track_is_a_wave_file_of_some_length(tmp_path: Path) -> None:
    """Spoken by the real espeak-ng: 1 to 20 s each, 16 bits, one channel; the table stands beside them."""
    if shutil.which("espeak-ng") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("needs espeak-ng: this check may not be left out in CI")
        pytest.skip("needs espeak-ng")
    done = make("--out", str(tmp_path), "--language", "zh")
    assert done.returncode == 0, done.stderr
    tracks = parse_tracks((tmp_path / "tracks.csv").read_text("utf-8"))
    assert set(tracks) == NEEDED
    for track in tracks.values():
        with wave.open(str(tmp_path / track.file)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            assert 1.0 <= file.getnframes() / file.getframerate() <= 20.0
            assert any(file.readframes(file.getnframes()))
    assert not list(tmp_path.glob("*.new"))
