"""Track tables: any text is a table with checked numbers and names, or a ValueError and nothing else."""

from drivers.prompts.wave import codec
from drivers.prompts.wave.codec import TRACK_MAX, parse_tracks
from tests.fuzz.mutate import altered

REACHES = codec
GOOD = "\ufefftrack,file,reason,zh\n1,0001.wav,STATUS_GREEN,绿码\n2,,STATUS_RED,红码\n".encode()
BAD = (b"track\n1\n", b"track,reason\n", b"reason,track\nX,0\n", b"track,reason\n1,x\n", b"track,reason\n" * 501)
PATHS = b"track,file,reason\n1,../../etc/passwd,STATUS_RED\n"


def fuzz(data: bytes) -> None:
    for text in (data, altered([GOOD, *BAD, PATHS], data), altered([GOOD], data)):
        _read(text.decode("utf-8", "replace"))
    _read(GOOD.decode())
    for bad in (*BAD, PATHS):
        _read(bad.decode())


def _read(text: str) -> None:
    try:
        tracks = parse_tracks(text)
    except ValueError:
        return
    assert tracks
    for reason, track in tracks.items():
        assert reason in text
        assert 1 <= track.number <= TRACK_MAX
        assert "/" not in track.file
        assert not track.file or track.file.endswith(".wav")
