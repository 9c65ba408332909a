"""The wave player: one player at a time, ended by a newer prompt; what the system lacks is told."""

import asyncio
import os
from pathlib import Path

import pytest

from drivers.contract import DeviceFault, Down, Up
from drivers.prompts.wave import device as wave_module
from drivers.simulated.wave_player import make_folder
from tests.drivers.prompt_bench import at_work


def player(folder: Path, does: str) -> str:
    """A program that notes what it is told to play, and then does something."""
    path = folder / "player"
    path.write_text(f'#!/bin/sh\necho "$$ $@" >> {folder}/played\n{does}\n')
    path.chmod(0o755)
    return str(path)


def played(folder: Path) -> list[list[str]]:
    """Each line: process, then arguments."""
    file = folder / "played"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def alive(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_reason_s_file_is_played_and_a_newer_one_ends_it(tmp_path: Path) -> None:
    """-q, the loudspeaker, the file; the older player is gone when the newer one plays; none is left at the end."""
    make_folder(tmp_path / "prompts")
    given = {
        "source": str(tmp_path / "prompts"),
        "player": player(tmp_path, "exec sleep 60"),
        "alsa_device": "plughw:1",
    }

    async def story() -> None:
        async with at_work("wave-player", **given) as bench:
            await bench.until_up()
            bench.device.say("STATUS_GREEN")
            await bench.until(lambda: len(played(tmp_path)) == 1)
            bench.device.say("STATUS_RED")
            await bench.until(lambda: len(played(tmp_path)) == 2)
            first, second = played(tmp_path)
            assert not alive(first[0])
            assert first[1:] == ["-q", "-D", "plughw:1", str(tmp_path / "prompts" / "0001.wav")]
            assert second[-1].endswith("0002.wav")
        assert not alive(second[0])
        assert [type(one) for one in bench.said] == [Up]

    asyncio.run(story())


def test_a_player_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its limit, as a stuck sound card's driver would let it hang for ever."""
    monkeypatch.setattr(wave_module, "PLAY_MAX_S", 0.05)
    make_folder(tmp_path / "prompts")

    async def story() -> None:
        async with at_work(
            "wave-player", source=str(tmp_path / "prompts"), player=player(tmp_path, "exec sleep 60")
        ) as bench:
            await bench.until_up()
            bench.device.say("STATUS_GREEN")
            await bench.until(lambda: len(played(tmp_path)) == 1)
            await bench.until(lambda: not alive(played(tmp_path)[0][0]))

    asyncio.run(story())


def test_a_sound_card_that_refuses_is_told_and_its_return_too(tmp_path: Path) -> None:
    """Down once however often it fails, and Up when a prompt was played again."""
    make_folder(tmp_path / "prompts")
    broken = tmp_path / "broken"
    broken.touch()
    program = player(tmp_path, f"test ! -e {broken}")

    async def story() -> None:
        async with at_work("wave-player", source=str(tmp_path / "prompts"), player=program) as bench:
            await bench.until_up()
            for number in (1, 2):
                bench.device.say("STATUS_GREEN")
                await bench.until(lambda n=number: len(played(tmp_path)) == n)  # type: ignore[misc]
            assert (await bench.until_down()).fault is DeviceFault.SELF_TEST_FAILED
            broken.unlink()
            bench.device.say("STATUS_GREEN")
            await bench.until_up()
            assert [type(one) for one in bench.said] == [Up, Down, Up]

    asyncio.run(story())


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """No player, no table, a file of the table that is not there: each with its remedy."""

    async def fault(**given: str) -> Down:
        async with at_work("wave-player", **given) as bench:
            return await bench.until_down()

    folder = str(tmp_path / "prompts")
    none = asyncio.run(fault(source=folder, player="no-such-player"))
    assert (none.fault, "install it" in none.detail) == (DeviceFault.LIBRARY_MISSING, True)
    table = asyncio.run(fault(source=folder, player="true"))
    assert (table.fault, "gate prompts make" in table.detail) == (DeviceFault.SOURCE_UNREADABLE, True)
    make_folder(tmp_path / "prompts")
    os.unlink(tmp_path / "prompts" / "0002.wav")
    file = asyncio.run(fault(source=folder, player="true"))
    assert (file.fault, "0002.wav is missing" in file.detail) == (DeviceFault.SOURCE_UNREADABLE, True)
