"""The shipped rules with more of a test's own, in a folder as a station names it."""

import shutil
from importlib import resources
from pathlib import Path

AGREEMENT = """
id = "{folder}/green"
version = "1.0.0"
issuer = "a test"
source = "a test"
valid_from = 2020-03-26
counts = ["{issuer}"]
when = '{{"var": "says.GREEN"}}'
then = "GRANT"
reason = "STATUS_GREEN"
overrides = ["common/not-recognised", "common/grey", "common/not-claimed"]
[holder]
zh = "绿码，请通行"
en = "Green. Please pass"
[staff]
zh = "绿码"
en = "Green"
[next_step]
zh = "请向前走"
en = "Walk through"
"""


def rules_with_agreement(folder: Path, issuer: str) -> Path:
    """A copy of the shipped rules in `folder`, and one rule more: green of `issuer` counts everywhere."""
    shutil.copytree(str(resources.files("gate.policy").joinpath("recognition")), folder, dirs_exist_ok=True)
    own = folder / issuer.lower() / "green"
    own.mkdir(parents=True, exist_ok=True)
    (own / "rule.toml").write_text(AGREEMENT.format(folder=issuer.lower(), issuer=issuer), "utf-8")
    return folder
