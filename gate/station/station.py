"""The whole station: opens what lanes share, runs the lanes and the feed process, and ends in good order."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from gate import config
from gate.credential.documents import Document
from gate.credential.forms import FormError, Issuers, parse_issuers
from gate.credential.healthcode import HealthCode, read_code
from gate.feed.finding import Band, Freshness
from gate.feed.ledger import Held
from gate.feed.partitions import Partition
from gate.moment import Moment
from gate.passage import events
from gate.passage.commands import Direction, LaneMode
from gate.passage.lane import Lane, LaneTimes
from gate.passage.record import PassageRecord, letters
from gate.policy.antipassback import AntiPassback
from gate.policy.condition import Cause, Condition
from gate.policy.decide import Question, decide
from gate.policy.rules import Rule, RuleError, RuleSet, parse_rules
from gate.policy.verdict import Reason, Verdict, VerdictKind
from gate.station.clock import Clock
from gate.station.journal import Journal
from gate.station.lanememory import LaneMemory
from gate.station.metrics import Metrics, MetricsServer
from gate.station.runner import LaneRunner
from gate.station.services import Services
from gate.station.state import (
    FeedState,
    LaneState,
    PartitionState,
    StateRefusedError,
    StatusAnswer,
    UnknownLaneError,
)
from gate.station.watch import Recent, Watch
from gate.sync.keyring import load_peppers
from gate.sync.process import FeedProcess
from gate.sync.store import open_store

log = logging.getLogger(__name__)

HOUSEKEEPING_S = 1.0  # clock, feed ages and journal are looked at once a second (contract.md [clock])
DRAIN_S = 5.0  # running passages get this long after SIGTERM (issue: Station, point 6)
DRAIN_STEP_S = 0.02
FLUSH_S = 2.0
END_TRIES_MAX = 5
END_TRY_S = 0.5
_MODES = {"entry": LaneMode.ENTRY, "exit": LaneMode.EXIT, "both": LaneMode.BOTH}
_REPEAT_DEFAULT_S = 120.0  # when no rule is in force nobody is granted, so this is never used to grant


class Station:
    """One running station. Make it, `run` it inside a loop, `stop` it from a signal."""

    def __init__(self, settings: config.Config) -> None:
        self._settings = settings
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.clock = Clock(settings.clock_trust)
        self.metrics = Metrics()
        self.lane_states: Watch[LaneState] = Watch()
        self.passages: Watch[PassageRecord] = Watch()
        self.recent: Recent[PassageRecord] = Recent()
        self.rules = read_rules(settings.rules_dir)
        issuers = [feed.issuer for feed in settings.feeds]
        self._services = Services(
            clock=self.clock,
            store=open_store(settings.data_dir / "store", issuers),
            journal=Journal(settings.data_dir / "journal", settings.journal_keep_days, self.clock),
            metrics=self.metrics,
            issuers=read_issuers(settings.rules_dir),
            peppers={feed.issuer: load_peppers(feed.pepper_file, feed.issuer) for feed in settings.feeds},
            lane_changed=self._lane_changed,
            passage_ended=self._passage_ended,
        )
        if self._services.journal.recovered_bytes:
            log.warning("the journal's last line was torn by a power loss and is cut off")
        self._over: dict[str, int] = {}  # issuer -> changes over its snapshot, as the feed process says
        self._refusals: dict[str, str] = {}
        self._troubles: dict[str, str] = {}
        self._passback = AntiPassback(self._repeat_after_s())
        self._memory = LaneMemory(settings.data_dir / "lanes.json")
        self._lanes = {lane.id: self._lane(lane) for lane in settings.lanes}
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()  # feeds were looked at once and every lane's devices are being opened

    def _repeat_after_s(self) -> float:
        rule = self.rules.on(datetime.fromtimestamp(self.clock.now().utc_s, UTC).date())
        return rule.repeat_after_s if rule else _REPEAT_DEFAULT_S

    def _lane(self, lane: config.Lane) -> LaneRunner:
        remembered = self._memory.of(lane.id)
        if remembered.mode or remembered.emergency:
            log.warning("lane %s: still %s", lane.id, "in an emergency" if remembered.emergency else remembered.mode)
        core = Lane(
            lane.id,
            remembered.mode or _MODES[lane.direction],
            self.rules,
            self._passback,
            new_id=lambda: letters(secrets.token_bytes(16)),
            has_turnstile=any(device.kind == "turnstile" for device in lane.devices),
            times=LaneTimes(pairing_window_s=lane.pairing_window_s, release_within_s=lane.release_within_s),
            emergency=remembered.emergency,
        )
        return LaneRunner(lane, core, self._services)

    async def run(self) -> None:
        """Run until `stop`; then let passages end, write down the rest, and close everything."""
        server = self.metrics.serve(self._settings.metrics_listen)
        log.info("metrics at http://%s/metrics", server.address)
        self._housekeeping()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(device, name=name)
                    for runner in self._lanes.values()
                    for name, device in runner.devices()
                ]
                tasks.append(group.create_task(self._housekeeping_loop(), name="housekeeping"))
                tasks.append(group.create_task(self._memory.run(), name="lane memory"))
                if self._settings.feeds:
                    tasks.append(group.create_task(self._feed_process().run(), name="feeds"))
                else:
                    self.ready.set()
                await self._stopping.wait()
                await self._drain()
                await _end(tasks)
        finally:
            self._close(server)

    def stop(self) -> None:
        """Begin to end: no new passages. Safe to call twice."""
        self._stopping.set()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + DRAIN_S
        for runner in self._lanes.values():
            runner.handle(events.Stopping(), self.clock.now())
        # Happens once in a controller's life, and a lane changes many times before it is idle: looking is simplest.
        while any(runner.core.busy for runner in self._lanes.values()) and loop.time() < ends_s:  # noqa: ASYNC110 - see above
            await asyncio.sleep(DRAIN_STEP_S)
        for runner in self._lanes.values():
            runner.handle(events.Stopped(), self.clock.now())

    def _close(self, server: MetricsServer) -> None:
        self.lane_states.close()
        self.passages.close()
        if not self._services.journal.close(FLUSH_S):
            log.error("the journal could not be written to its end: see the disk of data_dir")
        self._memory.close()
        self._services.store.close()
        server.close()

    # --- feeds and conditions ------------------------------------------------------------------------------------

    def _feed_process(self) -> FeedProcess:
        def offset_s() -> float:
            now = self.clock.now()
            return now.utc_s - now.mono_s

        settings = self._settings
        store = settings.data_dir / "store"
        return FeedProcess(settings.station_id, store, settings.feeds, offset_s, self._feed_event)

    def _feed_event(self, event: dict[str, Any]) -> None:
        issuer = str(event.get("issuer", ""))
        match event.get("event"):
            case "applied":
                log.info("feed %s: sequence %s in service, %s entries", issuer, event["sequence"], event["count"])
                if event["skipped"]:
                    self.metrics.feed_gap(issuer, event["skipped"])
                self._over[issuer] = event["over"]
                self._refusals.pop(issuer, None)
                self._services.store.refresh()
                self._troubles.pop(issuer, None)
            case "gap":
                log.warning(
                    "feed %s: %s sequences are missing; waiting for them or a snapshot", issuer, event["missing"]
                )
                self.metrics.feed_gap(issuer, event["missing"])
            case "damaged":
                log.error("feed %s: its store is damaged (%s); a snapshot ends it", issuer, event["detail"])
                self._troubles[issuer] = f"store damaged: {event['detail']}; waiting for a snapshot"
            case "store_failed":
                log.error("feeds: %s", event["reason"])
            case "refused":
                log.warning("feed %s: %s is not applied: %s", issuer, event["file"], event["detail"])
                self._refusals[issuer] = str(event["detail"])
            case "source_failed":
                log.warning("feed %s: its source cannot be read: %s", issuer, event["reason"])
                self._troubles[issuer] = str(event["reason"])
            case "source_back":
                log.info("feed %s: its source can be read again", issuer)
                self._troubles.pop(issuer, None)
            case "ready":
                self.ready.set()
        self._housekeeping()

    async def _housekeeping_loop(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_S)
            self._housekeeping()

    def _housekeeping(self) -> None:
        services = self._services
        self.clock.check()
        services.set_condition(Condition(Cause.CLOCK_UNTRUSTED), not self.clock.state.trusted)
        services.set_condition(Condition(Cause.JOURNAL_FULL), services.journal.full)
        before = services.conditions()
        services.store.refresh()
        services.use_held_peppers()
        for feed in self.feeds():
            if feed.band == "" and not self.ready.is_set():
                continue  # the feed process has not looked yet
            self.metrics.feed(feed.issuer, feed.sequence, feed.age_s)
            expired = feed.band in ("", Band.EXPIRED)
            aged = feed.band == Band.AGED and self.clock.state.trusted  # else the clock is what is wrong
            services.set_condition(Condition(Cause.FEED_AGED, feed.issuer), aged)
            services.set_condition(Condition(Cause.FEED_EXPIRED, feed.issuer), expired)
        for condition in services.conditions() - before:
            log.warning("degraded: %s", condition)
        for condition in before - services.conditions():
            log.info("no longer degraded: %s", condition)

    # --- what the gRPC surface asks ------------------------------------------------------------------------------

    def lanes(self) -> Sequence[LaneState]:
        """All lanes, in the order of the configuration."""
        return [runner.state() for runner in self._lanes.values()]

    def lane(self, lane_id: str) -> LaneState:
        """One lane. Raises UnknownLaneError."""
        return self._runner(lane_id).state()

    def _runner(self, lane_id: str) -> LaneRunner:
        try:
            return self._lanes[lane_id]
        except KeyError:
            raise UnknownLaneError(lane_id) from None

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that passengers and ticket systems are answered in."""
        return self._settings.languages

    def newest_passages(self, count: int) -> Sequence[PassageRecord]:
        """The last passages, newest first."""
        return self.recent.newest(count)

    def watch_passages(self) -> AsyncIterator[PassageRecord]:
        """Passages from now on. Raises TooManySubscribersError, SubscriberTooSlowError while reading."""
        return self.passages.subscribe()

    def watch_lanes(self) -> AsyncIterator[LaneState]:
        """Lanes as they change. Raises TooManySubscribersError, SubscriberTooSlowError while reading."""
        return self.lane_states.subscribe()

    def set_mode(self, lane_id: str, mode: str, operator: str) -> LaneState:
        """Set a lane's mode. Raises UnknownLaneError."""
        runner = self._runner(lane_id)
        log.warning("lane %s: mode %s by %s", lane_id, mode, operator)
        runner.handle(events.ModeSet(LaneMode(mode), operator), self.clock.now())
        return runner.state()

    def release(self, lane_id: str, direction: str, operator: str, why: str) -> LaneState:
        """Let one person through, the lane's own way when none is given. Raises UnknownLaneError, StateRefusedError."""
        runner = self._runner(lane_id)
        if not runner.core.has_turnstile:
            raise StateRefusedError(f"lane {lane_id} has no turnstile: nothing can be released")
        log.warning("lane %s: one person released by %s", lane_id, operator)
        way = Direction(direction) if direction else runner.default_direction
        runner.handle(events.StaffReleased(operator, why, way), self.clock.now())
        return runner.state()

    def reset_emergency(self, lane_id: str, operator: str) -> LaneState:
        """End an emergency by hand. Raises UnknownLaneError, StateRefusedError while the input is still active."""
        runner = self._runner(lane_id)
        if runner.core.emergency_input:
            raise StateRefusedError(f"lane {lane_id}: the emergency input is still active: end the alarm first")
        log.warning("lane %s: emergency reset by %s", lane_id, operator)
        runner.handle(events.EmergencyReset(operator), self.clock.now())
        return runner.state()

    def feeds(self) -> Sequence[FeedState]:
        """All subscribed feeds, in the order of the configuration."""
        now = self.clock.now()
        held = self._services.store.held()
        rule = self.rules.on(datetime.fromtimestamp(now.utc_s, UTC).date())
        states = []
        for feed in self._settings.feeds:
            refusal, trouble = self._refusals.get(feed.issuer, ""), self._troubles.get(feed.issuer, "")
            one = held.get(feed.issuer)
            if one is None:
                states.append(FeedState(feed.issuer, last_refusal=refusal, source_trouble=trouble))
                continue
            states.append(self._feed_state(one, rule, now, refusal, trouble))
        return states

    def _feed_state(self, held: Held, rule: Rule | None, now: Moment, refusal: str, trouble: str) -> FeedState:
        trusted = self.clock.state.trusted

        def band_of(freshness: Freshness) -> str:
            limits = rule.limits_of(held.issuer, freshness.partition) if rule else None
            return str(freshness.band(limits, now, trusted) if limits else Band.EXPIRED)

        whole = Freshness(held.produced_utc_s)
        return FeedState(
            issuer=held.issuer,
            sequence=held.sequence,
            kind=held.kind,
            produced_utc_s=held.produced_utc_s,
            next_due_utc_s=held.next_due_utc_s,
            age_s=whole.age_s(now),
            band=band_of(whole),
            count=held.count,
            exact_count=held.exact_count,
            token_count=held.tokens,
            set_digest=held.set_digest,
            pepper_id=held.pepper_id,
            key_id=held.key_id,
            partitions=tuple(_partition_state(one, band_of, now) for one in held.partitions),
            changes_over_snapshot=self._over.get(held.issuer, 0),
            last_refusal=refusal,
            source_trouble=trouble,
        )

    def check_status(self, document: Document) -> StatusAnswer:
        """The verdict a gate would give this document now; nothing is recorded of the person."""
        now = self.clock.now()
        services = self._services
        findings = services.store.find(services.subject_keys(document), now)
        conditions = frozenset(c for c in services.conditions() if "/" not in c.of)
        verdict = decide(Question(findings, conditions), self.rules, now)
        age_s = None if verdict.as_of_utc_s is None else now.utc_s - verdict.as_of_utc_s
        return StatusAnswer(verdict, letters(secrets.token_bytes(16)), age_s, tuple(sorted(map(str, conditions))))

    def check_code(self, content: str) -> StatusAnswer:
        """The answer to a code alone: it names nobody yet, so the document is asked for."""
        read = read_code(content.encode(), self._services.issuers)
        reason = Reason.CODE_NEEDS_CARD if isinstance(read, HealthCode) else Reason[read.problem.name]
        verdict = Verdict(VerdictKind.REFER, reason, rule_id="")
        return StatusAnswer(verdict, letters(secrets.token_bytes(16)), None, ())

    def _lane_changed(self, state: LaneState) -> None:
        own = _MODES[self._runner(state.lane_id).direction]
        self._memory.remember(state.lane_id, None if state.mode == own else LaneMode(state.mode), state.emergency)
        self.lane_states.publish(state)

    def _passage_ended(self, record: PassageRecord) -> None:
        anonymous = replace(record, subject=b"")  # only the journal may link it, and only for a day
        self.recent.add(anonymous)
        self.passages.publish(anonymous)


def _partition_state(one: Partition, band_of: Callable[[Freshness], str], now: Moment) -> PartitionState:
    default = one.default_at(now)
    freshness = Freshness(one.as_of_utc_s, one.code)
    return PartitionState(
        one.code,
        one.as_of_utc_s,
        freshness.age_s(now),
        band_of(freshness),
        str(default.status) if default else "",
    )


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until everything has ended. A cancellation that meets a time-out in the same instant can be lost in it."""
    pending = set(tasks)
    for _ in range(END_TRIES_MAX):
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=END_TRY_S)
        if not pending:
            return
        log.warning("still ending: %s", ", ".join(sorted(task.get_name() for task in pending)))


def read_rules(rules_dir: Path | None) -> RuleSet:
    """The rules in `rules_dir`, or those shipped. Raises RuleError, OSError."""
    texts = rule_texts(rules_dir)
    if not texts:
        raise RuleError(f"{rules_dir}: holds no rule.toml: give the folder of the rules, as gate/policy/recognition is")
    return parse_rules(texts)


def read_issuers(rules_dir: Path | None) -> Issuers:
    """The issuers shipped; those of `rules_dir` join them, or replace the one of the same folder. Raises RuleError."""
    texts = rule_texts(None, "issuer.toml") | (rule_texts(rules_dir, "issuer.toml") if rules_dir else {})
    try:
        return parse_issuers(texts)
    except FormError as error:
        raise RuleError(str(error)) from error


def rule_texts(rules_dir: Path | None, name: str = "rule.toml") -> dict[str, str]:
    """All files called `name` below `rules_dir` (None: the shipped rules), by their path."""
    root = rules_dir or Path(str(resources.files("gate.policy").joinpath("recognition")))
    return {str(path.relative_to(root)): path.read_text("utf-8") for path in sorted(root.rglob(name))}
