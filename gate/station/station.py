"""The whole station: opens what lanes share, runs the lanes and the feed process, and ends in good order."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from gate import config
from gate.feed.finding import Band, Freshness
from gate.moment import Moment
from gate.passage import events
from gate.passage.commands import LaneMode
from gate.passage.lane import Lane, LaneTimes
from gate.passage.record import letters
from gate.policy.antipassback import AntiPassback
from gate.policy.condition import Cause, Condition
from gate.policy.rules import RuleSet, parse_rules
from gate.station.clock import Clock
from gate.station.journal import Journal
from gate.station.metrics import Metrics
from gate.station.runner import LaneRunner
from gate.station.services import Services
from gate.sync.store import open_store

log = logging.getLogger(__name__)

HOUSEKEEPING_S = 1.0  # clock, feed ages and journal state are looked at once a second (contract.md [clock])
DRAIN_S = 5.0  # running passages get this long after SIGTERM (issue: Station, point 6)
DRAIN_STEP_S = 0.05
_MODES = {"entry": LaneMode.ENTRY, "exit": LaneMode.EXIT, "both": LaneMode.BOTH}


def read_rules(rules_dir: Path | None) -> RuleSet:
    """The rules in `rules_dir`, or those shipped. Raises RuleError, OSError."""
    return parse_rules(rule_texts(rules_dir))


def rule_texts(rules_dir: Path | None, name: str = "rule.toml") -> dict[str, str]:
    """All files called `name` below `rules_dir` (None: the shipped rules), by their path."""
    root = rules_dir or Path(str(resources.files("gate.policy").joinpath("recognition")))
    return {str(path.relative_to(root)): path.read_text("utf-8") for path in sorted(root.rglob(name))}
