"""The README stays true: its station.toml loads, its commands and drivers exist, its links lead somewhere."""

import re
from pathlib import Path
from typing import Any

import typer

from drivers import registry
from gate.cli import app
from gate.config import parse
from gate.passage.commands import LaneMode
from gate.policy.cases import parse_cases
from gate.policy.condition import Cause
from gate.policy.verdict import Reason
from gate.station.rulefiles import read_issuers, read_rules, rule_texts
from tests.support import outcomes, readme
from tests.support.requirements import REQUIREMENTS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_its_station_file_loads(tmp_path: Path) -> None:
    """The sample that a reader copies."""
    (tmp_path / "akm.keys").write_text("{}")
    (tmp_path / "akm.pepper").write_text("{}")
    sample = README.split("```toml")[1].split("```")[0]
    assert len(parse(sample, tmp_path).lanes) == 1


def test_its_policy_and_issuer_tables_load(tmp_path: Path) -> None:
    """Every key of the sample under Recognition is one, beside the station that stands further up."""
    for folder in ("recognition", "communities"):
        (tmp_path / folder).mkdir()
    for name in ("akm.keys", "akm.pepper", "ssm-code.keys"):
        (tmp_path / name).write_text("{}")
    secret = tmp_path / "skm.secret"
    secret.write_text('source = "a"\ntoken = "b"')
    secret.chmod(0o600)
    station, settings = README.split("```toml")[1].split("```")[0], _block("[policy]")
    config = parse(station + settings, tmp_path)
    assert config.policy.rules_of is not None
    assert [issuer.id for issuer in config.issuers] == ["SSM", "NGL", "SKM"]


def _block(begin: str) -> str:
    """The TOML block that begins so."""
    blocks: list[str] = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    return next(text for text in blocks if text.startswith(begin))


def test_what_is_made_is_up_to_date() -> None:
    """The lanes' tables, the rule shown, forms and outcomes are what code and rules say now: else `make readme`."""
    assert readme.made(README) == README


def test_its_outcomes_are_those_of_the_shipped_rules() -> None:
    """Cells written down by hand from health-codes.md and the agreements, not taken from the table."""
    rows = {names: cells for names, *cells in _rows("outcomes")}
    head = rows.pop("shown")

    def cell(member: str, shown: str, outcome: str) -> str:
        (row,) = [cells for names, cells in rows.items() if _has(names, shown, member)]
        (column,) = [at for at, names in enumerate(head) if outcome in names.split(", ")]
        return row[column]

    for form in ("SSM_APP", "SKM_V5", "SCM", "XKM", "NGL", "ZJ_V2", "AKM"):
        assert cell(form, "code alone", "GREEN") == "GRANT"
        assert cell(form, "code alone", "YELLOW") == "REFER; DENY in Jiangsu"
        assert cell(form, "code alone", "RED") == "DENY"
        assert cell(form, "code alone", "not listed") == "REFER `CODE_NEEDS_CARD`"
    assert cell("XKM_PAPER", "code alone", "GREEN") == "REFER `CODE_NEEDS_CARD`"
    assert cell("XKM_PAPER", "ID card and code", "GREEN") == "GRANT"
    assert cell("NATIONAL", "code alone", "GREEN") == "REFER `CODE_NATIONAL`"
    assert cell("HEN", "ID card", "GREEN") == "REFER `NOT_RECOGNISED_HERE`; GRANT in Zhejiang"
    assert cell("GD", "code alone", "GREEN") == "REFER `NOT_RECOGNISED_HERE`"
    assert cell("SSM", "ID card", "expired feed: RED") == "REFER `FEED_EXPIRED`"


def _rows(mark: str) -> list[list[str]]:
    """The cells of the table between the comments of `mark`, without the line below its head."""
    table = README.split(f"<!-- {mark}:begin -->\n")[1].split(f"\n<!-- {mark}:end -->")[0]
    lines = [line for line in table.splitlines() if not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def _has(names: str, shown: str, member: str) -> bool:
    return any(f"`{member}`" in line for line in names.split("<br>") if line.startswith(f"{shown}: "))


def test_every_issuer_and_form_stands_in_its_tables() -> None:
    """Each form once in the list of forms, and in the outcomes alone and beside the card; each issuer by card."""
    issuers = read_issuers(None)
    listed = re.findall(r"`(\w+)`", " ".join(row[0] for row in _rows("forms")))
    shown = [row[0] for row in _rows("outcomes")]
    for info in issuers.by_id.values():
        assert sum(_has(names, "ID card", info.id) for names in shown) == 1
        for form in info.forms:
            assert listed.count(form.id) == 1
            assert sum(_has(names, "code alone", form.id) for names in shown) == 1


def test_the_outcomes_rest_on_rules_that_cases_prove() -> None:
    """Every rule that a cell comes from speaks for the verdict of a case written by hand as well."""
    rules = read_rules(None)
    cases = [case for name, text in rule_texts(None, "cases.toml").items() for case in parse_cases(text, name)]
    good = [(case, case.decided(rules)) for case in cases if not case.problem(rules)]
    proven = {said.rule_id for case, decided in good for said in decided.spoken if said.reason is case.reason}
    assert outcomes.deciding_rules(rules, read_issuers(None)) <= proven


def test_what_is_refused_in_its_outcomes_is_a_reason() -> None:
    """No cell names a reason that no sign can show."""
    named = set(re.findall(r"(?:REFER|DENY|GRANT) `(\w+)`", README))
    assert named
    assert named <= set(Reason)


def test_it_says_of_every_requirement_how_it_is_held() -> None:
    """One row for each of health-codes.md (c), in order."""
    assert re.findall(r"^\| (R\d+) \|", README, re.MULTILINE) == list(REQUIREMENTS)


def test_every_command_it_names_exists() -> None:
    """`gate …` and `make …` as written, with their subcommands and options."""
    written = re.findall(r"`gate ([a-z][^`]*)`", README)
    assert written
    for line in written:
        words = iter(line.split())
        command: Any = typer.main.get_command(app)
        while commands := getattr(command, "commands", None):
            word = next(words, None)
            assert word in commands, line
            command = commands[word]
        known = {option for each in command.params for option in each.opts}
        assert set(re.findall(r"--[a-z-]+", line)) <= known, line
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for name in set(re.findall(r"\bmake ([a-z-]+)(?=[` ]|$)", "\n".join(_code()), re.MULTILINE)):
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


def _code() -> list[str]:
    """What stands in the README as something to type."""
    return re.findall(r"`([^`\n]+)`", README) + re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def test_its_driver_table_is_complete() -> None:
    """Every driver has its row, and no row is of none."""
    rows = set(re.findall(r"^\| `([a-z0-9-]+)` \|", README, re.MULTILINE))
    assert rows == set(registry.drivers())


def test_it_names_every_mode_and_every_cause() -> None:
    """What an operator may meet."""
    for name in (*LaneMode, *Cause):
        assert str(name) in README, name


def test_the_files_it_names_are_there() -> None:
    """Paths in its straight path and its layout."""
    for path in set(re.findall(r"\b(?:gate|drivers|tests|protos|dashboards)/[\w/]+\.(?:py|toml)\b", README)):
        assert (ROOT / path).exists() or "<" in path, path
