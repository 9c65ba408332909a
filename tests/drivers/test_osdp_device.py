"""The OSDP reader against libosdp's own peripheral side, on ptys and TCP; once with no code of ours on that side."""

import asyncio
import gc
import os
import pty
import subprocess
import sys
import threading
import tty
from pathlib import Path

import osdp
import pytest

from drivers.contract import CardNumberReport, DeviceFault, Down, ReadProblem, Unread, Up, Vitals
from drivers.readers.osdp import key
from drivers.simulated.osdp import OsdpKnobs, SimulatedOsdp, wiegand26
from drivers.simulated.ports import PtyPort, TcpPort
from tests.drivers.osdp import KEY, OTHER_KEY, PtyEnd, driven, key_file, shared_line

# What `proved_by` of its driver.toml rests on: osdp.PeripheralDevice in its own thread.
PROVES = [("osdp", "libosdp PD")]
BACK_S = 2.0  # issue 5: recovery within 2 s of the device's return
CARDS = 60  # devices.md 4.3


@pytest.mark.parametrize("secure", [True, False], ids=["secure channel", "plain"])
def test_no_card_of_libosdps_own_device_is_lost_or_doubled(tmp_path: Path, secure: bool) -> None:
    """60 cards from osdp.PeripheralDevice in its own thread, across a pty: each reported once, in order."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    flags = [osdp.LibFlag.EnforceSecure] if secure else []
    info = osdp.PDInfo(3, PtyEnd(master), scbk=KEY if secure else None, flags=flags)
    able = [(osdp.Capability.CardDataFormat, 1, 1), (osdp.Capability.Readers, 1, 1)]
    able += [(osdp.Capability.CommunicationSecurity, 1, 1)] if secure else []
    device = osdp.PeripheralDevice(info, osdp.PDCapabilities(able), log_level=osdp.LogLevel.Emergency)
    device.start()
    numbers = [str(65536 + count) for count in range(CARDS)]

    async def story() -> None:
        settings: dict[str, object] = {"scbk_file": key_file(tmp_path)} if secure else {}
        async with driven(os.ttyname(slave), unit=3, **settings) as bench:
            await bench.up()
            assert ("secure channel" in bench.states[0].detail) is secure  # type: ignore[union-attr]
            for at, number in enumerate(numbers):
                event = {"event": osdp.Event.CardRead, "reader_no": 0, "format": osdp.CardFormat.Wiegand}
                device.submit_event(event | {"direction": 0, "length": 26, "data": wiegand26(int(number))})
                if at % 10 == 9:  # its queue has a limit
                    await bench.until(lambda at=at: len(bench.numbers) > at)  # type: ignore[misc]
            assert bench.numbers == numbers
            assert len(bench.states) == 1
            await bench.until(lambda: any(isinstance(report, Vitals) for report in bench.reports))
            vitals = next(report for report in bench.reports if isinstance(report, Vitals))
            assert 5 <= len(vitals.took_s) <= 50
            assert all(0 < took_s < 0.2 for took_s in vitals.took_s)

    try:
        asyncio.run(story())
    finally:
        device.teardown()
        os.close(master)
        os.close(slave)


def test_its_secure_channel_is_one(tmp_path: Path) -> None:
    """With a key the card's bits do not stand on the line; without, they do: so the first claim can fail."""
    seen: dict[bool, bytes] = {}

    async def story(secure: bool) -> None:
        reader = SimulatedOsdp(key=KEY if secure else None)
        settings: dict[str, object] = {"scbk_file": key_file(tmp_path)} if secure else {}

        async def session(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            write = writer.write
            writer.write = lambda data: (heard.append(bytes(data)), write(data))[1]  # type: ignore[method-assign]
            await reader.session(stream, writer)

        heard: list[bytes] = []
        async with PtyPort(tmp_path / f"port{secure}", session) as port, driven(port.spec, **settings) as bench:
            await bench.up()
            reader.present(26, wiegand26(0xABCDEF))
            await bench.until(lambda: bench.numbers == [str(0xABCDEF)])
        seen[secure] = b"".join(heard)

    for secure in (True, False):
        asyncio.run(story(secure))
    assert wiegand26(0xABCDEF) not in seen[True]
    assert wiegand26(0xABCDEF) in seen[False]


@pytest.mark.parametrize("secure", [True, False], ids=["secure channel", "plain"])
def test_a_reader_without_power_for_two_seconds_is_back_at_once(tmp_path: Path, secure: bool) -> None:
    """Down and Up once each, up within 2 s of its return where libosdp alone takes 300 s; then cards are read."""

    async def story() -> None:
        reader = SimulatedOsdp(key=KEY if secure else None)
        settings: dict[str, object] = {"scbk_file": key_file(tmp_path)} if secure else {}
        async with PtyPort(tmp_path / "port", reader.session) as port, driven(port.spec, **settings) as bench:
            await bench.up()
            reader.knobs.silent = True
            down = await bench.down()
            assert down.fault is DeviceFault.NO_ANSWER
            await asyncio.sleep(2.0 - 1.2)  # the claim is about 2 s, of which about 1.2 s went by until it was noticed
            reader.knobs.silent = False
            reader.restart()
            await bench.up(2, BACK_S)
            reader.present(26, wiegand26(77))
            await bench.until(lambda: bench.numbers == ["77"])
            assert [type(state) for state in bench.states] == [Up, Down, Up]

    asyncio.run(story())


def test_a_reader_that_restarts_in_a_moment_is_not_said_to_be_down(tmp_path: Path) -> None:
    """It lost its session and sequence; it is tried anew at once, and its next card is read."""

    async def story() -> None:
        reader = SimulatedOsdp(key=KEY)
        async with (
            PtyPort(tmp_path / "port", reader.session) as port,
            driven(port.spec, scbk_file=key_file(tmp_path)) as bench,
        ):
            await bench.up()
            for count in range(3):
                reader.restart()
                await bench.until(lambda: reader.online, BACK_S)
                reader.present(26, wiegand26(count))
                await bench.until(lambda count=count: len(bench.numbers) == count + 1)  # type: ignore[misc]
            assert len(bench.states) == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(KEY, OTHER_KEY), (None, KEY)],
    ids=["another key", "it wants a key and we have none"],
)
def test_a_reader_that_does_not_take_our_key_says_so(tmp_path: Path, ours: bytes | None, theirs: bytes) -> None:
    """NOT_AUTHORISED, once; it works as soon as it has the right key."""

    async def story() -> None:
        reader = SimulatedOsdp(key=theirs)
        settings: dict[str, object] = {"scbk_file": key_file(tmp_path, ours)} if ours else {}
        async with PtyPort(tmp_path / "port", reader.session) as port, driven(port.spec, **settings) as bench:
            down = await bench.down()
            assert down.fault is DeviceFault.NOT_AUTHORISED
            assert "scbk_file" in down.detail
            assert theirs.hex() not in repr(bench.reports)
            assert not ours or ours.hex() not in repr(bench.reports)
            reader.key = ours
            reader.restart()
            await bench.up(1, BACK_S)
            assert len(bench.states) == 2

    asyncio.run(story())


def test_a_dead_reader_on_the_line_does_not_stop_the_other(tmp_path: Path) -> None:
    """One is there and reads; the other is said to be silent, and is back within 2 s of its power."""

    async def story() -> None:
        alive, dead = SimulatedOsdp(1), SimulatedOsdp(2, knobs=OsdpKnobs(silent=True))
        async with (
            PtyPort(tmp_path / "port", shared_line(alive, dead)) as port,
            driven(port.spec, unit=1) as first,
            driven(port.spec, unit=2) as second,
        ):
            await first.up()
            assert (await second.down()).fault is DeviceFault.NO_ANSWER
            for count in range(10):
                alive.present(26, wiegand26(count))
                await first.until(lambda count=count: len(first.numbers) == count + 1, 1.0)  # type: ignore[misc]
            dead.knobs.silent = False
            dead.restart()
            await second.up(1, BACK_S)
            dead.present(26, wiegand26(99))
            await second.until(lambda: second.numbers == ["99"])
            assert len(first.states) == 1
            assert first.numbers == [str(count) for count in range(10)]

    asyncio.run(story())


def test_a_device_that_joins_or_leaves_the_line_does_not_disturb_the_other(tmp_path: Path) -> None:
    """The other stays up, said once, and reads."""

    async def story() -> None:
        first, second = SimulatedOsdp(1), SimulatedOsdp(2)
        async with PtyPort(tmp_path / "port", shared_line(first, second)) as port, driven(port.spec, unit=1) as bench:
            await bench.up()
            async with driven(port.spec, unit=2) as other:
                await other.up()
            await bench.until(lambda: first.online)
            first.present(26, wiegand26(5))
            await bench.until(lambda: bench.numbers == ["5"])
            assert len(bench.states) == 1

    asyncio.run(story())


def test_two_devices_of_one_address_or_of_two_speeds_are_told_apart(tmp_path: Path) -> None:
    """The second is refused by name; the first works on."""

    async def story() -> None:
        reader = SimulatedOsdp(1)
        async with PtyPort(tmp_path / "port", reader.session) as port, driven(port.spec, unit=1) as bench:
            await bench.up()
            async with driven(port.spec, unit=1) as same, driven(port.spec, unit=2, baud=115200) as faster:
                assert "own unit" in (await same.down()).detail
                assert "speed" in (await faster.down()).detail
            assert len(bench.states) == 1

    asyncio.run(story())


@pytest.mark.parametrize("knobs", [OsdpKnobs(chunk=1), OsdpKnobs(chunk=5)], ids=["byte by byte", "chopped"])
def test_chopped_frames_are_read(tmp_path: Path, knobs: OsdpKnobs) -> None:
    """As a USB adapter delivers them."""

    async def story() -> None:
        reader = SimulatedOsdp(key=KEY, knobs=knobs)
        async with TcpPort(reader.session) as port, driven(port.spec, scbk_file=key_file(tmp_path)) as bench:
            await bench.up()
            reader.present(26, wiegand26(8))
            await bench.until(lambda: bench.numbers == ["8"])

    asyncio.run(story())


@pytest.mark.parametrize(
    "knobs",
    [OsdpKnobs(garble=True), OsdpKnobs(babble=b"\x00\xffSS\x10hello")],
    ids=["wrong checksums", "another device"],
)
def test_what_is_not_osdp_is_a_protocol_error(tmp_path: Path, knobs: OsdpKnobs) -> None:
    """Said once; and the device is up within 2 s of speaking properly."""

    async def story() -> None:
        reader = SimulatedOsdp(knobs=knobs)
        async with PtyPort(tmp_path / "port", reader.session) as port, driven(port.spec) as bench:
            assert (await bench.down()).fault is DeviceFault.PROTOCOL_ERROR
            reader.knobs = OsdpKnobs()
            await bench.up(1, BACK_S)
            assert len(bench.states) == 2

    asyncio.run(story())


def test_a_bad_read_is_said_and_a_resting_card_only_once(tmp_path: Path) -> None:
    """Wrong parities are Unread; the same card again within `same_card_s` is the same presentation."""

    async def story() -> None:
        reader = SimulatedOsdp()
        async with PtyPort(tmp_path / "port", reader.session) as port, driven(port.spec) as bench:
            await bench.up()
            reader.present(26, wiegand26(1))
            reader.present(26, wiegand26(1))
            reader.present(26, bytes(4))
            reader.present(26, wiegand26(2))
            await bench.until(lambda: "2" in bench.numbers)
            cards = [CardNumberReport(number, 26, "wiegand-26") for number in ("1", "2")]
            assert [report for report in bench.reports[1:] if not isinstance(report, Vitals)] == [
                cards[0],
                Unread(ReadProblem.CARD_UNREADABLE),
                cards[1],
            ]

    asyncio.run(story())


def test_fifty_starts_and_stops_leave_no_thread_and_no_file(tmp_path: Path) -> None:
    """The thread has ended and the port is closed when the driver's task has ended."""

    async def story() -> None:
        reader = SimulatedOsdp()
        async with PtyPort(tmp_path / "port", reader.session) as port:
            async with driven(port.spec) as bench:
                await bench.up()
            before = threading.active_count(), len(os.listdir("/proc/self/fd"))
            for round_ in range(50):
                async with driven(port.spec) as bench:
                    if round_ % 10 == 0:
                        await bench.up()
                gc.collect(0)
                assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before

    asyncio.run(story())


def test_without_libosdp_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LIBRARY_MISSING with the command, once, and no crash; so does its simulator."""
    monkeypatch.setitem(sys.modules, "osdp_sys", None)
    with pytest.raises(ValueError, match=r"\[osdp\]"):
        SimulatedOsdp()

    async def story() -> None:
        async with driven(str(tmp_path / "port")) as bench:
            down = await bench.down()
            assert down.fault is DeviceFault.LIBRARY_MISSING
            assert "[osdp]" in down.detail

    asyncio.run(story())


def test_a_key_file_that_others_may_read_or_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    """By what to do about it, and never by its content; and it is used as soon as it is right."""

    async def story() -> None:
        reader = SimulatedOsdp(key=KEY)
        file = key_file(tmp_path, mode=0o640)
        async with PtyPort(tmp_path / "port", reader.session) as port, driven(port.spec, scbk_file=file) as bench:
            down = await bench.down()
            assert down.fault is DeviceFault.NOT_AUTHORISED
            assert "chmod 600" in down.detail
            Path(file).chmod(0o600)
            await bench.up(1, BACK_S + 1.0)

    asyncio.run(story())
    for content in (KEY.hex()[:-2], "x" * 32, "", KEY.hex() * 3, key.DEFAULT_KEY.hex()):
        path = tmp_path / "bad"
        path.write_text(content)
        path.chmod(0o600)
        with pytest.raises(key.PortError) as caught:
            key.read_key(str(path))
        assert not content or content not in str(caught.value)
    assert key.read_key("") is None


def test_a_secure_channel_begins_otherwise_after_every_start(tmp_path: Path) -> None:
    """libosdp's own challenges are the same in every process that does not seed rand() for it."""
    program = (
        "import osdp_sys, sys, time\n"
        "from drivers.readers.osdp.panel import load_library\n"
        "sys.argv[1] == 'seeded' and load_library()\n"
        "replies = [bytes.fromhex('53e514000445feca00010107000000000001fd08'),"
        " bytes.fromhex('53e5200005460101040201040301010801000901000a00010d0101100200a548')]\n"
        "class Line:\n"
        "    def read(self, size): return replies.pop(0) if replies and self.asked.pop() else b''\n"
        "    def write(self, data):\n"
        "        self.asked = [True]\n"
        "        0x76 in data[8:12] and print(bytes(data[12:20]).hex(), flush=True)\n"
        "        return len(data)\n"
        "    def flush(self): pass\n"
        "info = dict(name='x', address=101, flags=osdp_sys.FLAG_ENFORCE_SECURE, scbk=bytes(16), channel=Line())\n"
        "info |= dict(version=0, model=0, vendor_code=0, serial_number=0, firmware_version=0)\n"
        "control = osdp_sys.ControlPanel([info])\n"
        "for _ in range(60):\n"
        "    control.refresh()\n"
        "    time.sleep(0.002)\n"
    )

    def challenges(how: str) -> set[str]:
        found = set()
        for _ in range(2):
            command = [sys.executable, "-c", program, how]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
            found.add(done.stdout.split()[0])
        return found

    assert len(challenges("as it is")) == 1
    assert len(challenges("seeded")) == 2


def test_the_key_shows_nowhere() -> None:
    """Not in the repr of what carries it."""
    from drivers.readers.osdp.panel import CardSeen, Member

    assert repr(KEY) not in repr(Member(0, KEY, lambda heard: None))
    assert "data" not in repr(CardSeen(1, 26, b"1234"))
