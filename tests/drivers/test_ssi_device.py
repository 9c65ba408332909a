"""A Zebra scanner on real ports: what it is told at start, what lost acknowledgements and garbled packets do."""

import asyncio
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import CodeReport, DeviceFault, Down, ReadProblem, Unread, Up
from drivers.scanners.ssi import device
from drivers.scanners.ssi.codec import SCANNER, Opcode, encode
from drivers.simulated.ssi import REVISION, SimulatedSsi, SsiKnobs
from tests.drivers.scanner_bench import CODE, bench


def orders(scanner: SimulatedSsi) -> list[int]:
    return [opcode for opcode, _ in scanner.received if opcode not in (Opcode.ACK, Opcode.NAK)]


def count(scanner: SimulatedSsi, opcode: Opcode) -> int:
    return sum(got == opcode for got, _ in scanner.received)


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("chunk", [0, 1, 7])
def test_it_is_set_up_and_a_code_is_acknowledged_once(tmp_path: Path, tcp: bool, chunk: int) -> None:
    """Revision, packet mode with ACK/NAK until power-off, enable; then one code, one report, one ACK."""
    scanner = SimulatedSsi(SsiKnobs(chunk=chunk, response_s=5))

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path, tcp) as b:
            await b.until_up()
            assert b.said[-1] == Up(REVISION.decode())
            assert await scanner.scan(CODE)
            await b.until(lambda: b.read == [CodeReport(CODE)])
        assert scanner.received[:4] == [
            (Opcode.REQUEST_REVISION, b""),
            (Opcode.PARAM_SEND, bytes.fromhex("FFEE019F01")),
            (Opcode.SCAN_ENABLE, b""),
            (Opcode.ACK, b""),
        ]
        assert scanner.sent == 1

    asyncio.run(scenario())


def test_lost_acknowledgements_do_not_make_a_second_scan(tmp_path: Path) -> None:
    """Sent three times with bit 0 set: one report even without the same-code rule, every sending acknowledged."""
    scanner = SimulatedSsi(SsiKnobs(deaf_to_acks=True))

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path, same_code_s=0) as b:
            await b.until_up()
            await scanner.scan(CODE)
            await scanner.scan(b"another")
            await b.until(lambda: len(b.read) >= 2)
            assert b.read == [CodeReport(CODE), CodeReport(b"another")]
            assert scanner.sent == 6
            assert count(scanner, Opcode.ACK) == 6

    asyncio.run(scenario())


def test_a_wrong_checksum_is_asked_for_again(tmp_path: Path) -> None:
    """NAK RESEND, then the repetition counts although it carries bit 0."""
    scanner = SimulatedSsi(SsiKnobs(response_s=5))

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path) as b:
            await b.until_up()
            scanner.knobs.wrong_checksums = 2
            assert await scanner.scan(CODE)
            assert b.read == [CodeReport(CODE)]
            assert count(scanner, Opcode.NAK) == 2
            scanner.knobs.garbled = 1
            assert await scanner.scan(b"another")
            assert b.read[1:] == [CodeReport(b"another")]

    asyncio.run(scenario())


def test_a_code_that_never_comes_whole_is_told_to_the_passenger(tmp_path: Path) -> None:
    """Three garbled sendings: two NAK, then CODE_UNREADABLE and no third; the next code is read."""
    scanner = SimulatedSsi(SsiKnobs())

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path) as b:
            await b.until_up()
            scanner.knobs.wrong_checksums = 3
            assert not await scanner.scan(CODE)
            await b.until(lambda: b.read == [Unread(ReadProblem.CODE_UNREADABLE)])
            assert count(scanner, Opcode.NAK) == 2
            assert await scanner.scan(CODE)
            assert b.read[1:] == [CodeReport(CODE)]

    asyncio.run(scenario())


def test_a_long_code_comes_in_continuation_packets(tmp_path: Path) -> None:
    """2 953 bytes, the most that a QR symbol holds, in 12 packets; 4 097 are too long."""
    scanner = SimulatedSsi(SsiKnobs(response_s=5))
    long = bytes(range(256)) * 11 + b"x" * 137

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path) as b:
            await b.until_up()
            assert await scanner.scan(long)
            assert await scanner.scan(b"y" * 4097)
            assert b.read == [CodeReport(long), Unread(ReadProblem.CODE_TOO_LONG)]

    asyncio.run(scenario())


def test_a_code_whose_continuation_never_comes_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scanner falls silent in the middle: CODE_UNREADABLE after the limit, and the next code is whole."""
    monkeypatch.setattr(device, "CONTINUED_S", 0.05)
    scanner = SimulatedSsi()

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path) as b:
            await b.until_up()
            await scanner.send(encode(Opcode.DECODE, b"\x1chalf", 2, SCANNER))
            await b.until(lambda: b.read == [Unread(ReadProblem.CODE_UNREADABLE)])
            await scanner.scan(CODE)
            assert b.read[1:] == [CodeReport(CODE)]

    asyncio.run(scenario())


def test_the_same_code_again_is_the_same_presentation(tmp_path: Path) -> None:
    """A new scan of the same code within the interval is acknowledged and not said."""
    scanner = SimulatedSsi()

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path, same_code_s=60) as b:
            await b.until_up()
            for payload in (CODE, CODE, b"other", CODE):
                assert await scanner.scan(payload)
            assert b.read == [CodeReport(CODE), CodeReport(b"other"), CodeReport(CODE)]

    asyncio.run(scenario())


def test_the_host_starts_sessions_where_it_is_told_to(tmp_path: Path) -> None:
    """Trigger mode host is set, a session runs at once, again after a code and after the interval, and is stopped."""
    scanner = SimulatedSsi()

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path, trigger="host", trigger_every_s=60) as b:
            await b.until(lambda: scanner.sessions == 1)
            assert (Opcode.PARAM_SEND, bytes.fromhex("FFEE019F018A08")) in scanner.received
            await scanner.scan(CODE)
            await b.until(lambda: scanner.sessions == 2)
        async with bench("ssi-scanner", scanner.session, tmp_path / "b", trigger="host", trigger_every_s=0.1) as b:
            await b.until(lambda: scanner.sessions >= 5)

    asyncio.run(scenario())


@pytest.mark.parametrize("trigger", ["scanner", "host"])
def test_nothing_is_scanned_while_nobody_listens(tmp_path: Path, trigger: str) -> None:
    """When the driver ends, the session is stopped and the scanner disabled."""
    scanner = SimulatedSsi()

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path, tcp=True, trigger=trigger) as b:
            await b.until_up()
            await b.until(lambda: scanner.enabled and (trigger == "scanner" or scanner.sessions > 0))
        last = [Opcode.STOP_SESSION] * (trigger == "host") + [Opcode.SCAN_DISABLE]
        assert orders(scanner)[-len(last) :] == last
        assert not scanner.enabled

    asyncio.run(scenario())


def test_a_code_from_before_the_start_is_nobodys(tmp_path: Path) -> None:
    """What a scanner kept while nobody listened is acknowledged, so that it ends, and not said."""
    scanner = SimulatedSsi(SsiKnobs(noise_before=b""))

    async def scenario() -> None:
        first = encode(Opcode.DECODE, b"\x1cold", 1, SCANNER)

        async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(first)
            await scanner.session(reader, writer)

        async with bench("ssi-scanner", session, tmp_path, tcp=True) as b:
            await b.until_up()
            await scanner.scan(CODE)
            assert b.read == [CodeReport(CODE)]
            assert count(scanner, Opcode.ACK) == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("knobs", "fault"),
    [
        (SsiKnobs(silent=True), DeviceFault.NO_ANSWER),
        (SsiKnobs(answer_s=1.0), DeviceFault.NO_ANSWER),
        (SsiKnobs(refuse=Opcode.PARAM_SEND), DeviceFault.PROTOCOL_ERROR),
        (SsiKnobs(refuse=Opcode.SCAN_ENABLE), DeviceFault.PROTOCOL_ERROR),
        (SsiKnobs(wrong_checksums=1000), DeviceFault.PROTOCOL_ERROR),
    ],
    ids=["silent", "late", "refuses packets", "refuses to scan", "garbles every answer"],
)
def test_a_scanner_that_does_not_obey_is_down(tmp_path: Path, knobs: SsiKnobs, fault: DeviceFault) -> None:
    """Silent, too late, refusing or unintelligible: down with its fault, never up."""
    scanner = SimulatedSsi(knobs)

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path, timeout_ms=50) as b:
            assert (await b.until_down()).fault is fault
            assert Up not in [type(report) for report in b.said]

    asyncio.run(scenario())


def test_one_that_was_set_by_bar_codes_need_not_be_set_up(tmp_path: Path) -> None:
    """set_up = false: no parameter is sent, and refusing parameters harms nothing; the revision may be refused too."""
    scanner = SimulatedSsi(SsiKnobs(refuse=Opcode.REQUEST_REVISION))

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path, set_up=False) as b:
            await b.until_up()
            assert b.said[-1] == Up("revision not told")
            assert orders(scanner) == [Opcode.REQUEST_REVISION, Opcode.SCAN_ENABLE]

    asyncio.run(scenario())


def test_a_scanner_that_falls_silent_is_noticed_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The idle check finds it gone although its port is open; it is up again by itself, and codes are read."""
    monkeypatch.setattr(device, "CHECK_EVERY_S", 0.05)
    scanner = SimulatedSsi()

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path, timeout_ms=50) as b:
            await b.until_up()
            scanner.knobs.silent = True
            assert (await b.until_down()).fault is DeviceFault.NO_ANSWER
            scanner.knobs.silent = False
            await b.until_up()
            await scanner.scan(CODE)
            assert b.read == [CodeReport(CODE)]
            assert len([report for report in b.said if isinstance(report, Down)]) == 1

    asyncio.run(scenario())


def test_a_repetition_that_comes_over_a_new_port_is_known_again(tmp_path: Path) -> None:
    """The acknowledgement was lost with the cable: the same packet after it is back is no second scan."""
    scanner = SimulatedSsi()

    async def scenario() -> None:
        async with bench("ssi-scanner", scanner.session, tmp_path, same_code_s=0) as b:
            await b.until_up()
            await scanner.scan(CODE)
            await b.port.unplug()
            await b.until_down()
            await b.port.plug()
            await b.until_up()
            await scanner.send(encode(Opcode.DECODE, b"\x1c" + CODE, 1, SCANNER))
            await scanner.scan(b"other")
            assert b.read == [CodeReport(CODE), CodeReport(b"other")]

    asyncio.run(scenario())


def test_a_suffix_that_cannot_be_sent_is_named() -> None:
    """A suffix that is not ASCII is refused by its own name."""
    checked = registry.check_settings(registry.driver("ssi-scanner"), {"port": "/dev/null", "suffix": "码"})
    with pytest.raises(registry.SettingError) as refused:
        registry.create("ssi-scanner", checked)
    assert refused.value.key == "suffix"
