"""Commands as a user meets them: exit status, one line on stderr, files that a region would make."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

from gate import config
from gate.station.state import FeedState, PartitionState
from tests.policy.making import rule_text
from tests.rpc.station import PlainStation, served

CSV = """document_type,number,status,asserted_by,effective_at,valid_until
RESIDENT_ID,310105199001010018,GREEN,310000,2020-04-01T08:00:00+08:00,
PASSPORT,E12345678,RED,340000,2020-04-01T08:00:00+08:00,2020-05-01T00:00:00+08:00
"""


def gate(*arguments: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gate", *arguments], cwd=cwd, input=stdin, capture_output=True, text=True, check=False
    )


def _published(folder: Path) -> None:
    (folder / "rows.csv").write_text(CSV)
    assert gate("feed", "keygen", "AKM", cwd=folder).returncode == 0
    done = gate(*_publish(1), cwd=folder)
    assert done.returncode == 0, done.stderr


def _publish(sequence: int) -> list[str]:
    keys = ["--key", "akm.private", "--pepper", "akm.pepper"]
    return ["feed", "publish", "rows.csv", f"akm-{sequence}.snapshot", *keys, "--sequence", str(sequence)]


def test_a_region_publishes_and_anybody_verifies(tmp_path: Path) -> None:
    """keygen, publish, verify, inspect: the whole first form, with secrets readable by their owner only."""
    _published(tmp_path)
    assert (tmp_path / "akm.private").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "akm.pepper").stat().st_mode & 0o777 == 0o600
    assert "2 subjects: good" in gate("feed", "verify", "akm-1.snapshot", "--keys", "akm.keys", cwd=tmp_path).stdout
    header = json.loads(gate("feed", "inspect", "--json", "akm-1.snapshot", cwd=tmp_path).stdout)
    assert (header["issuer"], header["sequence"], header["count"]) == ("AKM", 1, 2)
    assert b"310105199001010018" not in (tmp_path / "akm-1.snapshot").read_bytes()


def test_the_same_rows_and_time_give_the_same_bytes(tmp_path: Path) -> None:
    """Publishing is repeatable to the byte."""
    _published(tmp_path)
    for name in ("a", "b"):
        command = _publish(2)
        command[3] = f"{name}.snapshot"
        assert gate(*command, "--produced-at", "2020-04-01T00:00:00", cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.snapshot").read_bytes() == (tmp_path / "b.snapshot").read_bytes()


def test_an_altered_snapshot_is_refused_with_its_reason(tmp_path: Path) -> None:
    """One flipped bit: exit 1, one line, the name of what is wrong."""
    _published(tmp_path)
    path = tmp_path / "akm-1.snapshot"
    raw = bytearray(path.read_bytes())
    raw[-7] ^= 1  # in the last entry's time: a possible entry, but not the one that was signed
    path.write_bytes(raw)
    done = gate("feed", "verify", "akm-1.snapshot", "--keys", "akm.keys", cwd=tmp_path)
    assert done.returncode == 1
    assert "ALTERED" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bad_row_is_named_by_line_and_column_and_never_quoted(tmp_path: Path) -> None:
    """The line, the column, what is allowed; not the number."""
    _published(tmp_path)
    (tmp_path / "rows.csv").write_text(CSV.replace("310105199001010018", "310105199001010019"))
    done = gate(*_publish(2), cwd=tmp_path)
    assert done.returncode == 2
    assert "rows.csv:2" in done.stderr
    assert "CHECK_DIGIT" in done.stderr
    assert "31010519" not in done.stderr + done.stdout


def test_wrong_use_and_outside_failures_have_their_own_status(tmp_path: Path) -> None:
    """2 for what the user gave, 3 for what failed outside, each in one line."""
    done = gate("check-config", "none.toml", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = gate("feed", "inspect", "none.snapshot", cwd=tmp_path)
    assert done.returncode == 3
    done = gate("status", "--controller", "127.0.0.1:9", cwd=tmp_path)
    assert done.returncode == 3
    assert "is it running" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["statsu"], "'status'"),
        (["status", "extra"], "see gate status --help"),
        (["run"], "Missing option '--config': see gate run --help"),
        (["watch", "--count", "0"], "--count"),
        (["status", "--controller", ""], "HOST:PORT or unix:PATH"),
        (["status", "--controller", "/run/gate/operator.sock"], "HOST:PORT or unix:PATH"),
        (["query", "--purpose", "p", "--order-id", "1", "--document-type", "UNSPECIFIED"], "RESIDENT_ID"),
        (["query", "--purpose", "p", "--order-id", "1"], "standard input: is empty"),
        (["check-rules", "none"], "none is not a folder"),
        (["check-rules", "."], "holds no rule.toml"),
        (["demo", "--keep", "."], "new or empty"),
        (["devices", "simulate", "samv", "--port", "pty:notes.txt"], "no port"),
        (["devices", "simulate", "samv", "--port", "nowhere"], "pty:PATH, tcp:HOST:PORT or udp:HOST:PORT"),
        (["devices", "probe", "modbus-relay", "--port", "tcp:127.0.0.1"], "tcp:HOST:PORT"),
        (["devices", "probe", "samv", "--port", "x", "--set", "baud"], "NAME=VALUE"),
        (["devices", "probe", "--port", "tcp:127.0.0.1"], "tcp:HOST:PORT"),
        (["devices", "simulate", "samv"], "--port is missing"),
        (["devices", "simulate", "samv", "--port", "pty:x", "--set", "silnt=true"], "did you mean 'silent'"),
        (
            ["devices", "simulate", "samv", "--port", "pty:x", "--set", "chopped=-1"],
            "--set chopped: -1 is outside 0 to 4096",
        ),
        (["devices", "simulate", "samv", "--port", "tcp:127.0.0.1:99999"], "pty:PATH, tcp:HOST:PORT or udp:HOST:PORT"),
        (["devices", "simulate", "samv", "--port", "udp:127.0.0.1:9"], "samv has: give pty:PATH or tcp:HOST:PORT"),
        (["devices", "simulate", "zkteco-c3", "--port", "pty:x"], "zkteco-c3 has: give tcp:HOST:PORT"),
        (["devices", "probe", "samv", "--port", "x", "--set", "baud=1"], "--set baud: 1 is not one of 115200, "),
        (
            ["devices", "probe", "samv", "--port", "x", "--set", "baud=fast"],
            "--set baud: 'fast' is not an integer: Speed",
        ),
        (["devices", "probe", "pcsc", "--port", "x"], "is not pcsc:NAME"),
    ],
)
def test_wrong_use_is_told_in_one_line(arguments: list[str], says: str, tmp_path: Path) -> None:
    """Exit 2, and one line that says what to do next: no boxes, no usage, no traceback."""
    (tmp_path / "notes.txt").write_text("somebody's notes")
    done = gate(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("gate: ")
    assert says in done.stderr
    assert (tmp_path / "notes.txt").read_text() == "somebody's notes"


def test_a_number_that_is_no_text_is_refused_and_not_quoted(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and more of them than any code has: wrong use, in one line."""
    for raw, says in ((b"310105199001010018\xff", "not UTF-8"), (b"3" * 70_000, "more than 65536 bytes")):
        command = [sys.executable, "-m", "gate", "query", "--purpose", "p", "--order-id", "1"]
        done = subprocess.run(command, cwd=tmp_path, input=raw, capture_output=True, check=False)
        assert done.returncode == 2
        assert says in done.stderr.decode()
        assert b"31010" not in done.stderr


def test_verbose_adds_the_rest_and_changes_nothing_else(tmp_path: Path) -> None:
    """Before or after the command: where it came from, then the same line and the same status."""
    plain = gate("check-config", "none.toml", cwd=tmp_path)
    for arguments in (("--verbose", "check-config", "none.toml"), ("check-config", "none.toml", "--verbose")):
        done = gate(*arguments, cwd=tmp_path)
        assert done.returncode == plain.returncode == 2
        assert "gate/config.py" in done.stderr
        assert done.stderr.endswith(plain.stderr)


def test_verbose_quotes_no_row(tmp_path: Path) -> None:
    """What a parser says of a bad cell holds the cell; it is not told, not even then."""
    _published(tmp_path)
    for bad in ("310105199001010019", "31010519900101001Ａ"):
        (tmp_path / "rows.csv").write_text(CSV.replace("310105199001010018", bad))
        done = gate("--verbose", *_publish(2), cwd=tmp_path)
        assert done.returncode == 2
        assert "31010519" not in done.stderr + done.stdout


def test_a_file_is_good_when_the_station_would_start_with_it(tmp_path: Path) -> None:
    """check-config opens the keys, peppers, rules and certificates that it names, and names what is not right."""
    assert gate("feed", "keygen", "AKM", cwd=tmp_path).returncode == 0
    (tmp_path / "rules").mkdir()
    feed = '[[feed]]\nissuer = "AKM"\nsource = "dir:in"\npublic_keys_file = "akm.keys"\npepper_file = "akm.pepper"\n'
    station = '[station]\nid = "s"\nregion = "330100"\ndata_dir = "data"\n'
    tls = '[grpc.tls]\ncertificate = "akm.keys"\nprivate_key = "akm.keys"\nclient_ca = "akm.keys"\n'
    wrong = {
        station + feed.replace("akm.keys", "akm.pepper"): "feed[0].public_keys_file",
        station + feed.replace('file = "akm.pepper', 'file = "akm.keys'): "feed[0].pepper_file",
        station + '[policy]\nrules_dir = "rules"\n': "policy.rules_dir",
        station + tls: "grpc.tls.certificate",
    }
    path = tmp_path / "station.toml"
    path.write_text(station + feed)
    assert gate("check-config", "station.toml", cwd=tmp_path).returncode == 0
    for text, place in wrong.items():
        path.write_text(text)
        done = gate("check-config", "station.toml", cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"station.toml: {place}" in done.stderr


_CASE = """
[[case]]
says = "a made-up sentence"
at = 2020-04-01T08:00:00Z
verdict = "REFER"
reason = "SLIP_NEEDED"
rule = "made/up"
"""


def _rules(folder: Path, text: str, cases: str = _CASE) -> None:
    (folder / "rules" / "made" / "up").mkdir(parents=True)
    (folder / "rules" / "made" / "up" / "rule.toml").write_text(text, "utf-8")
    (folder / "rules" / "made" / "up" / "cases.toml").write_text(cases, "utf-8")


def test_the_shipped_rules_keep_their_promises(tmp_path: Path) -> None:
    """`gate check-rules` counts issuers, rules and cases, and says that all is good."""
    done = gate("check-rules", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"14 issuers, \d\d+ rules, \d{3} cases: good\n", done.stdout), done.stdout


def test_a_rule_that_names_no_issuer_or_has_no_cases_is_told(tmp_path: Path) -> None:
    """A mistyped issuer would count nobody for ever, and a rule ships with its cases."""
    shipped = Path(str(resources.files("gate.policy").joinpath("recognition")))
    shutil.copytree(shipped, tmp_path / "rules")
    green = tmp_path / "rules" / "delta" / "green"
    (green / "rule.toml").write_text((green / "rule.toml").read_text().replace('"SKM"', '"SKN"'))
    (green / "cases.toml").unlink()
    done = gate("check-rules", "rules", cwd=tmp_path)
    assert done.returncode == 1
    assert "delta/green: names 'SKN', and no issuer.toml has that id" in done.stdout
    assert "delta/green: has no cases.toml beside it" in done.stdout


def test_rules_of_one_s_own_are_checked_with_their_cases(tmp_path: Path) -> None:
    """Good is exit 0; a case that does not hold is exit 1, with its file, its sentence and what was decided instead."""
    _rules(tmp_path, rule_text())
    done = gate("check-rules", "rules", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "14 issuers, 1 rules, 1 cases: good\n")
    (tmp_path / "rules/made/up/cases.toml").write_text(_CASE + _CASE.replace("SLIP_NEEDED", "NOT_LISTED"))
    done = gate("check-rules", "rules", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == (
        "made/up/cases.toml: a made-up sentence: decided REFER SLIP_NEEDED by made/up, "
        "expected REFER NOT_LISTED by made/up; spoke: made/up REFER SLIP_NEEDED\n"
        "14 issuers, 1 rules, 2 cases: 1 wrong\n"
    )


@pytest.mark.parametrize(
    ("rule", "cases", "says"),
    [
        (rule_text(then="ALLOW"), _CASE, "made/up/rule.toml: then: 'ALLOW' is not one of GRANT, DENY, REFER"),
        (rule_text(when={"var": "says.GREN"}), _CASE, "made/up/rule.toml: when: 'says.GREN' is no fact"),
        (rule_text("made/down"), _CASE, "made/up/rule.toml: id: 'made/down' must be the folder that it stands in"),
        (rule_text(overrides=["no/rule"]), _CASE, "made/up: overrides 'no/rule', which is no rule here"),
        (
            rule_text(),
            _CASE.replace("verdict", "verdikt"),
            "made/up/cases.toml: case 1: ValueError: unknown key 'verd",
        ),
        (rule_text(), _CASE.replace("[[case]]", "[[cases]]"), "made/up/cases.toml: needs [[case]] tables"),
    ],
)
def test_a_rule_that_is_none_is_told_in_one_line(rule: str, cases: str, says: str, tmp_path: Path) -> None:
    """Exit 2, the file, the place inside it, what is wrong, what is allowed."""
    _rules(tmp_path, rule, cases)
    done = gate("check-rules", "rules", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
    assert done.stderr.startswith(f"gate: {says}")


def test_devices_are_listed_with_their_settings(tmp_path: Path) -> None:
    """Every driver, and every setting with a sentence."""
    rows = json.loads(gate("devices", "list", "--json", cwd=tmp_path).stdout)
    assert {"samv", "line-scanner", "modbus-relay"} <= {row["name"] for row in rows}
    assert all(setting["sentence"] for row in rows for setting in row["settings"].values())


def test_every_command_has_an_example(tmp_path: Path) -> None:
    """`--help` of each command shows how it is used."""
    for command in ("run", "demo", "check-config", "check-rules", "status", "watch", "query", "replay"):
        assert "Example: gate" in gate(command, "--help", cwd=tmp_path).stdout, command
    for command in ("keygen", "publish", "verify", "inspect"):
        assert "Example: gate" in gate("feed", command, "--help", cwd=tmp_path).stdout, command
    for group in ((), ("devices",), ("feed",)):
        assert "Example: gate" in gate(*group, "--help", cwd=tmp_path).stdout, group
    for command in ("list", "probe", "simulate"):
        assert "Example: gate" in gate("devices", command, "--help", cwd=tmp_path).stdout, command


def test_a_simulated_device_can_be_probed(tmp_path: Path) -> None:
    """`devices simulate` opens a port that `devices probe` finds; a port that is not there exits 1 and says why."""
    port = tmp_path / "reader"
    simulator = subprocess.Popen(
        [sys.executable, "-m", "gate", "devices", "simulate", "samv", "--port", f"pty:{port}", "--set", "every_s=0.5"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert simulator.stdout is not None
        assert str(port) in simulator.stdout.readline()
        done = gate("devices", "probe", "samv", "--port", str(port), "--seconds", "3", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "CardReport\n" in done.stdout
        assert re.search(r"^Vitals: took_s \d+ answers, [\d.]+ ms at the median$", done.stdout, re.MULTILINE)
    finally:
        simulator.kill()
        simulator.wait()
    done = gate("devices", "probe", "samv", "--port", str(tmp_path / "none"), "--seconds", "0.5", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("Down: fault PORT_MISSING; detail ")


def test_what_is_on_a_port_is_found_without_naming_a_driver(tmp_path: Path) -> None:
    """`devices probe --port` lets every driver ask and says which device it is; exit 1 where nobody knows."""
    port = tmp_path / "board"
    command = [sys.executable, "-m", "gate", "devices", "simulate", "modbus-relay", "--port", f"pty:{port}"]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert simulator.stdout is not None
        assert str(port) in simulator.stdout.readline()
        done = gate("devices", "probe", "--port", str(port), "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["found"]["driver"] == "modbus-relay"
        assert "unit 1" in told["found"]["says"]
        assert [each["driver"] for each in told["tried"]] == ["osdp", "samv", "modbus-relay"]
    finally:
        simulator.kill()
        simulator.wait()
    done = gate("devices", "probe", "--port", str(tmp_path / "none"), "--json", cwd=tmp_path)
    assert done.returncode == 1
    assert "PORT_MISSING" in json.loads(done.stdout)["trouble"]


@pytest.mark.parametrize(
    ("knob", "says"),
    [
        ("silent=true", "NO_ANSWER"),
        ("garbled_every=1", "PROTOCOL_ERROR"),
        ("late_ms=3000", "NO_ANSWER"),
        ("status=102", "NOT_AUTHORISED"),
        ("pulled_early=true", "CARD_REMOVED"),
        ("chopped=64", "CardReport"),
        ("rests_as_found=false", "CardReport"),
    ],
)
def test_a_simulated_device_misbehaves_as_told(tmp_path: Path, knob: str, says: str) -> None:
    """`devices simulate --set KNOB` is heard by `devices probe`, a JSON line for each report."""
    port = tmp_path / "reader"
    command = [sys.executable, "-m", "gate", "devices", "simulate", "samv", "--port", f"pty:{port}"]
    simulator = subprocess.Popen([*command, "--set", "every_s=0.2", "--set", knob], stdout=subprocess.PIPE, text=True)
    try:
        assert simulator.stdout is not None
        assert str(port) in simulator.stdout.readline()
        done = gate("devices", "probe", "samv", "--port", str(port), "--seconds", "2.5", "--json", cwd=tmp_path)
        reports = [json.loads(line) for line in done.stdout.splitlines()]
        assert any(says in (each["report"], each.get("fault"), each.get("problem")) for each in reports), done.stdout
        assert not any("text" in each for each in reports)
    finally:
        simulator.kill()
        simulator.wait()


def test_knobs_are_listed_with_their_device(tmp_path: Path) -> None:
    """By `devices list DRIVER` and `devices simulate DRIVER --knobs`: the cable's and its own; and its proofs."""
    for arguments in (("list", "modbus-relay"), ("simulate", "modbus-relay", "--knobs")):
        told = gate("devices", *arguments, cwd=tmp_path).stdout
        assert all(knob in told for knob in ("stuck_passage", "wire_break", "late_ms", "unplug_every_s")), arguments
    assert "proved by: simulated; independent peer: pymodbus server" in gate("devices", "list", cwd=tmp_path).stdout


async def _ask(*arguments: str, stdin: bytes = b"", **environment: str) -> tuple[int, str, str]:
    """Run a command beside a surface that this process serves."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gate", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    out, err = await asyncio.wait_for(running.communicate(stdin), 30)
    assert running.returncode is not None
    return running.returncode, out.decode(), err.decode()


def test_a_controller_is_asked_and_what_it_refuses_is_wrong_use() -> None:
    """0 for GRANT; 2 for what it calls invalid or another role's; a proxy for the web is passed by."""

    async def story() -> None:
        async with served(station=PlainStation(languages=("zh",))) as surface:
            query = ("query", "--controller", surface.address, "--purpose", "p", "--order-id")
            number = b"11010519491231002X\n"
            status, out, err = await _ask(*query, "1", stdin=number, http_proxy="http://127.0.0.1:9")
            assert (status, err) == (0, "")
            assert "绿" in out  # in the one language that this station speaks
            status, out, _ = await _ask(*query, "1", "--json", "--document-type", "resident_id", stdin=number)
            assert json.loads(out)["verdict"] == "VERDICT_GRANT"
            status, _, err = await _ask(*query, "张三", stdin=number)
            assert status == 2
            assert "order_id" in err
            status, _, err = await _ask(*query, "1", stdin=b"11010519491231002\n")
            assert status == 2
            assert "1949" not in err
        async with served(config.Grpc(("127.0.0.1:0",))) as surface:
            status, _, err = await _ask("status", "--controller", surface.address)
            assert (status, err.count("\n")) == (2, 1)
            assert "use that role's socket or certificate" in err

    asyncio.run(story())


def test_a_watch_says_that_the_controller_has_stopped() -> None:
    """Exit 3 and one line; not a silence that looks like a quiet station."""

    async def story() -> None:
        async with served() as surface:
            watching = asyncio.create_task(_ask("watch", "--controller", surface.address))
            async with asyncio.timeout(20):
                while not surface.station.ended.watched:
                    await asyncio.sleep(0.02)
            surface.station.ended.close()
            status, out, err = await watching
            assert (status, out, err.count("\n")) == (3, "", 1)
            assert "watch again when it runs" in err

    asyncio.run(story())


def test_feeds_are_shown_with_their_partitions() -> None:
    """`gate feed status` tells kind, sequence and each partition's default, for people and as JSON."""
    partition = PartitionState("330100", 1_780_000_000.0, 60.0, "FRESH", "YELLOW")
    feed = FeedState("ZJ", 7, "NON_GREEN_WITH_ENROLMENT", 1_780_000_000.0, band="FRESH", partitions=(partition,))

    async def story() -> None:
        async with served(station=PlainStation(held=[feed])) as surface:
            ask = ("feed", "status", "--controller", surface.address)
            status, out, _ = await _ask(*ask, COLUMNS="200")
            assert status == 0
            assert all(word in out for word in ("ZJ", "NON_GREEN_WITH_ENROLMENT", "330100", "YELLOW", "FRESH"))
            status, out, _ = await _ask(*ask, "--json")
            (told,) = json.loads(out)["feeds"]
            assert (told["kind"], told["partitions"][0]["code"]) == ("FEED_KIND_NON_GREEN_WITH_ENROLMENT", "330100")

    asyncio.run(story())


def test_keys_rotate_fall_and_are_installed_by_signature_only(tmp_path: Path) -> None:
    """A station takes the issuer's next key because a held one has signed it, and nobody else's."""
    _published(tmp_path)
    (tmp_path / "station.keys").write_bytes((tmp_path / "akm.keys").read_bytes())
    install = ("feed", "install-keys", "akm.keys", "--keys", "station.keys", "--issuer", "AKM")
    assert gate("feed", "rotate-key", "--key", "akm.private", "--keys", "akm.keys", cwd=tmp_path).returncode == 0
    done = gate(*install, cwd=tmp_path)
    assert (done.returncode, "new" in done.stdout) == (0, True)
    (tmp_path / "other").mkdir()
    _published(tmp_path / "other")
    foreign = gate("feed", "install-keys", "other/akm.keys", "--keys", "station.keys", "--issuer", "AKM", cwd=tmp_path)
    assert foreign.returncode == 1
    assert "held key has signed" in foreign.stdout


def test_a_folder_for_a_web_server_lists_its_files(tmp_path: Path) -> None:
    """`gate feed index` names each file with its sequence, size and digest."""
    _published(tmp_path)
    done = gate("feed", "index", ".", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ".: 1 files listed\n")
    (row,) = json.loads((tmp_path / "index.json").read_text())["files"]
    assert (row["name"], row["form"], row["sequence"]) == ("akm-1.snapshot", "SNAPSHOT", 1)
    assert row["bytes"] == (tmp_path / "akm-1.snapshot").stat().st_size


def test_a_feed_is_pulled_before_the_station_runs(tmp_path: Path) -> None:
    """What the sources have is in service when the controller starts; a refusal is exit 1."""
    _published(tmp_path)
    (tmp_path / "station.toml").write_text(
        """[station]
id = "s"
region = "330100"
data_dir = "data"
[[feed]]
issuer = "AKM"
source = "dir:."
public_keys_file = "akm.keys"
pepper_file = "akm.pepper"
"""
    )
    done = gate("feed", "pull", "--config", "station.toml", cwd=tmp_path)
    assert (done.returncode, "snapshot sequence 1, 2 subjects" in done.stdout) == (0, True)
    (tmp_path / "akm-2.snapshot").write_bytes(b"no feed")
    done = gate("feed", "pull", "--config", "station.toml", cwd=tmp_path)
    assert done.returncode == 1
    assert "NOT_A_FEED" in done.stdout
