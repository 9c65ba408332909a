"""What a wave player needs, simulated: a folder of prompts that say nothing, and its table."""

import asyncio
import wave
from collections.abc import Mapping
from pathlib import Path

NEEDS = "aplay"  # the one part that is not simulated: the system's program (alsa-utils)
RATE_HZ = 8000
SILENCE_S = 0.1
REASONS = (
    "STATUS_GREEN", "STATUS_RED", "STATUS_YELLOW", "CARD_REMOVED", "CODE_EXPIRED", "NOT_LISTED", "LANE_CLOSED",
    "ALREADY_PASSED", "LANE_BUSY", "EMERGENCY_OPEN",
)  # fmt: skip


def make_folder(folder: Path, prompts: int = 3) -> None:
    """Fill `folder`: the files first, the table last, so that it is never seen half made."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["track,file,reason"]
    for number, reason in enumerate(REASONS[:prompts], 1):
        with wave.open(str(folder / f"{number:04d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes(bytes(2 * int(RATE_HZ * SILENCE_S)))
        rows.append(f"{number},{number:04d}.wav,{reason}")
    fresh = folder / "tracks.new"
    fresh.write_text("\n".join(rows) + "\n", "utf-8")
    fresh.rename(folder / "tracks.csv")


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate wave-player --port dir:FOLDER`: a folder of silent prompts, until cancelled."""
    kind, _, folder = port.partition(":")
    if kind != "dir" or not folder:
        raise ValueError(f"{port!r} is not dir:FOLDER")
    make_folder(Path(folder), int(options.get("prompts", "3")))
    print(f"wave-player on {folder}", flush=True)
    await asyncio.Event().wait()
