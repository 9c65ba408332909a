"""A line scanner on real ports: what passengers do, what cables do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import CodeReport, DeviceFault, DeviceReport, Down, ReadProblem, Unread, Up, Vitals
from drivers.simulated.line_scanner import SimulatedLineScanner
from drivers.simulated.ports import PtyPort, SimulatedPort, TcpPort
from drivers.transport import ByteLink, open_link

CODE = b"https://s.sh.gov.cn/" + b"ab" * 15 + b"1585000000000"


class Bench:
    """A driver and its simulated engine, and what the driver said."""

    def __init__(self, engine: SimulatedLineScanner, port: SimulatedPort) -> None:
        self.engine = engine
        self.port = port
        self.said: list[DeviceReport] = []

    def hear(self, report: DeviceReport) -> None:
        if not isinstance(report, Vitals):  # said of codes that are held on, at no moment that a story depends on
            self.said.append(report)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)

    async def until_up(self) -> None:
        """Wait until the driver's last word about its port is Up."""
        await self.until(lambda: [type(r) for r in self.said if isinstance(r, Up | Down)][-1:] == [Up])

    async def scan(self, *payloads: bytes, chunk: int = 0) -> None:
        """Hold codes before the engine once the driver has the port: earlier ones are lost, as on real lines."""
        await self.until_up()
        for payload in payloads:
            await self.engine.scan(payload, chunk=chunk)

    async def until_said(self, *expected: DeviceReport) -> None:
        """Wait until as much was said, and compare it."""
        await self.until(lambda: len(self.said) >= len(expected))
        assert [type(r) if isinstance(r, Down) else r for r in self.said] == [
            type(r) if isinstance(r, Down) else r for r in expected
        ]


@asynccontextmanager
async def bench(
    folder: Path, engine: SimulatedLineScanner | None = None, tcp: bool = False, plugged: bool = True, **given: Any
) -> AsyncIterator[Bench]:
    engine = engine or SimulatedLineScanner()
    port: SimulatedPort = TcpPort(engine.session) if tcp else PtyPort(folder / "scanner", engine.session)
    if tcp or plugged:
        await port.plug()
    made = Bench(engine, port)
    info = registry.driver("line-scanner")
    device = registry.create("line-scanner", registry.check_settings(info, {"port": port.spec, **given}))
    running = asyncio.create_task(device.run(made.hear))
    try:
        yield made
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await port.unplug()


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("chunk", [0, 1, 7])
def test_a_code_is_reported_however_its_bytes_arrive(tmp_path: Path, tcp: bool, chunk: int) -> None:
    """Whole or byte by byte, over a serial port or TCP: one report, after Up."""

    async def scenario() -> None:
        async with bench(tmp_path, tcp=tcp) as b:
            await b.scan(CODE, chunk=chunk)
            await b.until_said(Up(), CodeReport(CODE, ""))

    asyncio.run(scenario())


def test_merged_codes_binary_and_four_kilobytes(tmp_path: Path) -> None:
    """Two codes in one write, all byte values but the suffix's, the largest payload and one byte more."""
    binary = bytes(range(1, 256)).replace(b"\r\n", b"").replace(b"\r", b"") + b"\xff"

    async def scenario() -> None:
        async with bench(tmp_path) as b:
            await b.until_up()
            await b.engine.send(b.engine.line(CODE) + b.engine.line(b"second"))
            await b.scan(binary)
            await b.scan(b"x" * 4096)
            await b.scan(b"y" * 4097)
            await b.scan(CODE)
            await b.until_said(
                Up(),
                CodeReport(CODE, ""),
                CodeReport(b"second", ""),
                CodeReport(binary, ""),
                CodeReport(b"x" * 4096, ""),
                Unread(ReadProblem.CODE_TOO_LONG),
                CodeReport(CODE, ""),
            )

    asyncio.run(scenario())


def test_a_part_then_silence_does_not_spoil_the_next_code(tmp_path: Path) -> None:
    """A line that was broken off ends with the idle time-out; the next is whole."""

    async def scenario() -> None:
        async with bench(tmp_path, idle_timeout_ms=10) as b:
            await b.until_up()
            await b.engine.send(CODE[:20])
            await b.until_said(Up(), CodeReport(CODE[:20], ""))
            await b.scan(CODE)
            await b.until_said(Up(), CodeReport(CODE[:20], ""), CodeReport(CODE, ""))

    asyncio.run(scenario())


def test_the_same_code_again_is_the_same_presentation(tmp_path: Path) -> None:
    """Within the interval a code, and a problem, is said once; another code in between ends it."""

    async def scenario() -> None:
        async with bench(tmp_path, same_code_s=60) as b:
            for payload in (CODE, CODE, b"z" * 5000, b"z" * 5001, b"other", CODE):
                await b.scan(payload)
            await b.until_said(
                Up(),
                CodeReport(CODE, ""),
                Unread(ReadProblem.CODE_TOO_LONG),
                CodeReport(b"other", ""),
                CodeReport(CODE, ""),
            )

    asyncio.run(scenario())


def test_without_an_interval_every_scan_counts(tmp_path: Path) -> None:
    """same_code_s = 0 turns the same-code rule off."""

    async def scenario() -> None:
        async with bench(tmp_path, same_code_s=0) as b:
            await b.scan(CODE)
            await b.scan(CODE)
            await b.until_said(Up(), CodeReport(CODE, ""), CodeReport(CODE, ""))

    asyncio.run(scenario())


@pytest.mark.parametrize("tcp", [False, True])
def test_unplugged_and_plugged_again(tmp_path: Path, tcp: bool) -> None:
    """Down once with its fault, then Up by itself, and codes are read again; half a line does not survive."""

    async def scenario() -> None:
        async with bench(tmp_path, tcp=tcp) as b:
            await b.until_up()
            await b.engine.send(b"half a li")
            await b.until(lambda: Up() in b.said)
            await b.port.unplug()
            await b.until(lambda: any(isinstance(r, Down) and r.fault is DeviceFault.PORT_MISSING for r in b.said))
            downs = [report.fault for report in b.said if isinstance(report, Down)]
            assert downs == [DeviceFault.PORT_LOST, DeviceFault.PORT_MISSING]
            await b.port.plug()
            await b.until(lambda: b.said[-1] == Up())
            await b.scan(CODE)
            await b.until(lambda: b.said[-1] == CodeReport(CODE, ""))
            assert [report for report in b.said if isinstance(report, Down)] == b.said[-4:-2]

    asyncio.run(scenario())


def test_a_port_that_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down is said once however often opening fails, and the scanner comes up when its port does."""
    attempts: list[str] = []

    async def counted(port: str, baud: int) -> ByteLink:
        attempts.append(port)
        return await open_link(port, baud)

    monkeypatch.setattr("drivers.scanners.line.device.open_link", counted)

    async def scenario() -> None:
        async with bench(tmp_path, plugged=False) as b:
            await b.until(lambda: len(attempts) >= 3)
            await b.port.plug()
            await b.scan(CODE)
            await b.until(lambda: CodeReport(CODE, "") in b.said)
            assert [type(report) for report in b.said] == [Down, Up, CodeReport]
            assert isinstance(b.said[0], Down)
            assert b.said[0].fault is DeviceFault.PORT_MISSING

    asyncio.run(scenario())


def test_triggers_are_sent_at_opening_repeatedly_and_at_closing(tmp_path: Path) -> None:
    """Honeywell's serial trigger; what the engine answers is no code."""
    engine = SimulatedLineScanner(answer=b"\x06")

    async def scenario() -> None:
        settings = {"trigger_on": "16540D", "trigger_off": "16 55 0d", "trigger_every_s": 0.05, "idle_timeout_ms": 10}
        async with bench(tmp_path, engine, tcp=True, **settings) as b:
            await b.until(lambda: engine.received.count(bytes.fromhex("16540D")) >= 3)
            await b.scan(CODE)
            await b.until_said(Up(), CodeReport(CODE, ""))
            b.said.clear()
        assert not [report for report in b.said if isinstance(report, CodeReport)]

    asyncio.run(scenario())


def test_the_off_command_goes_out_when_the_driver_ends(tmp_path: Path) -> None:
    """An engine that was switched on is switched off."""
    engine = SimulatedLineScanner()

    async def scenario() -> None:
        info = registry.driver("line-scanner")
        port = PtyPort(tmp_path / "scanner", engine.session)
        await port.plug()
        checked = registry.check_settings(info, {"port": port.spec, "trigger_on": "01", "trigger_off": "02"})
        running = asyncio.create_task(registry.create("line-scanner", checked).run(lambda _: None))
        async with asyncio.timeout(10):
            while engine.received != b"\x01":
                await asyncio.sleep(0.005)
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            while engine.received != b"\x01\x02":
                await asyncio.sleep(0.005)
        await port.unplug()

    asyncio.run(scenario())


@pytest.mark.parametrize(("name", "value"), [("trigger_on", "1Z"), ("trigger_off", "hello"), ("prefix", "码")])
def test_settings_that_cannot_be_sent_are_named(name: str, value: str) -> None:
    """A trigger that is not hexadecimal, or a prefix that is not ASCII, is refused by its own name."""
    info = registry.driver("line-scanner")
    checked = registry.check_settings(info, {"port": "/dev/null", name: value})
    with pytest.raises(registry.SettingError) as refused:
        registry.create("line-scanner", checked)
    assert refused.value.key == name
