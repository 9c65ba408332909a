"""`gate prompts …`: the words for every reason as wave files, made at set-up by espeak-ng; none are shipped."""

import csv
import io
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gate.station.prompts import Prompt

app = typer.Typer(
    no_args_is_help=True,
    help="What passengers are told by a voice.",
    epilog="Example: gate prompts make --out /var/lib/gate/prompts",
)

SPEAKER = "espeak-ng"
_VOICES = {"zh": "cmn", "en": "en"}  # espeak-ng's names: Mandarin, English
_SPEED = "150"  # words a minute; espeak-ng's 175 was made for screen readers, not for a station's hall
_PAUSE_S = 0.4  # between two sentences, and two languages
_SPEAK_LIMIT_S = 30.0  # one sentence takes a tenth of a second to make
_TABLE = "tracks.csv"


class PromptError(Exception):
    """The prompts cannot be made here; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One track: what is said, by language, and what it is called."""

    track: int
    reason: str
    code: str
    spoken: dict[str, tuple[str, ...]]

    @property
    def file(self) -> str:
        """The wave file's name: the form that DFPlayer modules want."""
        return f"{self.track:04d}.wav"


@app.command()
def make(
    out: Annotated[Path, typer.Option(help="Folder for the wave files and tracks.csv.")],
    language: Annotated[list[str] | None, typer.Option(help="zh or en; may be repeated: said in this order.")] = None,
) -> None:
    """Make one wave file a reason, and tracks.csv, which says what each of them says.

    Example: gate prompts make --out /var/lib/gate/prompts
    """
    from drivers.registry import SettingError
    from gate.cli.progress import counting

    languages = list(dict.fromkeys(language or ["zh", "en"]))
    unknown = next((one for one in languages if one not in _VOICES), None)
    if unknown is not None:
        raise SettingError("--language", f"--language {unknown!r} is not one of {', '.join(_VOICES)}")
    if shutil.which(SPEAKER) is None:
        raise PromptError(f"{SPEAKER} is not installed: sudo apt install {SPEAKER}, then run this again")
    out.mkdir(parents=True, exist_ok=True)
    made = lines(languages)
    with counting("prompts") as count:
        for number, line in enumerate(made, 1):
            _write(out / line.file, _waves(line))
            count(number)
    _write(out / _TABLE, table(made, languages).encode("utf-8"))
    print(
        f"{len(made)} prompts in {out}: copy them to a voice module in this order, or give the folder to a wave-player"
    )


def lines(languages: Sequence[str]) -> list[Line]:
    """What every track says, in the order of the shipped numbers."""
    from drivers.prompts.wave.codec import parse_tracks
    from gate.policy.verdict import Reason
    from gate.station.prompts import prompts

    shipped = resources.files("drivers.prompts.wave").joinpath(_TABLE).read_text("utf-8")
    found = []
    for reason, track in parse_tracks(shipped).items():
        prompt = prompts()[Reason[reason]]
        found.append(Line(track.number, reason, prompt.code, {each: _aloud(prompt, each) for each in languages}))
    return sorted(found, key=lambda line: line.track)


def _aloud(prompt: "Prompt", language: str) -> tuple[str, ...]:
    """The sentences of a track: everybody around hears them, so none tells anybody's health."""
    if prompt.spoken:
        return (prompt.spoken[language],)
    # Whoever may walk is not told to; whoever may not hears what to do and where (health-codes.md R1).
    more = () if prompt.code.startswith("G") else (prompt.next_step[language],)
    return (prompt.sentence[language], *more)


def table(made: Sequence[Line], languages: Sequence[str]) -> str:
    """`tracks.csv`, as drivers/prompts/wave/codec.py reads it, with the words for whoever copies the files."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["track", "file", "reason", "code", *languages])
    for line in made:
        writer.writerow(
            [line.track, line.file, line.reason, line.code, *[". ".join(line.spoken[e]) for e in languages]]
        )
    return text.getvalue()


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: a player may be reading the folder."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.replace(path)


def _waves(line: Line) -> bytes:
    """All sentences of a track, one after the other."""
    parts = [_spoken(text, _VOICES[language]) for language, text in _sentences(line)]
    rates = {rate for rate, _ in parts}
    if len(rates) != 1:
        raise PromptError(f"{SPEAKER} speaks two languages at {sorted(rates)} Hz: give one --language")
    rate = rates.pop()
    silence = bytes(2 * int(rate * _PAUSE_S))
    whole = io.BytesIO()
    with wave.open(whole, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(silence.join(samples for _, samples in parts))
    return whole.getvalue()


def _sentences(line: Line) -> Iterator[tuple[str, str]]:
    for language, texts in line.spoken.items():
        for text in texts:
            yield language, _digits_apart(text)


def _digits_apart(text: str) -> str:
    """12345 is a hotline, not twelve thousand."""
    return "".join(f" {char} " if char.isdigit() else char for char in text)


def _spoken(text: str, voice: str) -> tuple[int, bytes]:
    """A sentence as rate and 16-bit samples. Raises PromptError."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        command = [SPEAKER, "-v", voice, "-s", _SPEED, "--stdin", "-b", "1", "-w", file.name]
        try:
            done = subprocess.run(  # noqa: S603 - our own words to a program found on PATH
                command, input=text.encode(), capture_output=True, timeout=_SPEAK_LIMIT_S, check=False
            )
            with wave.open(file.name) as made:
                mono = made.getnchannels() == 1 and made.getsampwidth() == 2
                rate, samples = made.getframerate(), made.readframes(made.getnframes())
        except (OSError, EOFError, wave.Error, subprocess.TimeoutExpired) as error:
            raise PromptError(f"{SPEAKER} made no sound ({type(error).__name__}): is its data installed?") from error
    if done.returncode or not mono or not samples:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise PromptError(f"{SPEAKER} failed: {said[-1] if said else f'no voice {voice!r}?'}")
    return rate, samples
