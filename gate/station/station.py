"""The whole station: opens what lanes share, runs the lanes and the feed process, and ends in good order."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gate import config
from gate.credential.documents import Document
from gate.credential.healthcode import UnusableCode, judge_code, read_code
from gate.credential.idcard import IdCard
from gate.credential.presentation import Presentation
from gate.feed.finding import Band, Freshness, Told
from gate.feed.ledger import Held
from gate.feed.partitions import Partition
from gate.issuers.desk import IssuerDesk
from gate.moment import Moment
from gate.passage import events
from gate.passage.claims import Claims
from gate.passage.commands import Direction, LaneMode
from gate.passage.lane import Lane, LaneTimes
from gate.passage.record import PassageRecord, letters
from gate.policy.condition import Cause, Condition
from gate.policy.decide import decide
from gate.policy.jump import RedWatch
from gate.policy.question import Day, Question
from gate.policy.rules import Words
from gate.policy.terms import Terms
from gate.policy.verdict import Ask, Reason, Verdict, VerdictKind
from gate.station.clock import Clock
from gate.station.far import FarLane
from gate.station.handover import Handover
from gate.station.journal import Journal
from gate.station.lanememory import LaneMemory
from gate.station.lookup import Found, Lookup, Scene
from gate.station.metrics import Metrics, MetricsServer
from gate.station.prompts import APPEAL_CONTACT, explained
from gate.station.rulefiles import read_code_keys, station_issuers, station_rules, unheard
from gate.station.runner import LaneRunner
from gate.station.services import Services
from gate.station.state import (
    NOW_AND_HERE,
    FeedState,
    LaneState,
    PartitionState,
    ReportState,
    StateRefusedError,
    StatusAnswer,
    Travel,
    UnknownLaneError,
)
from gate.station.watch import Recent, Watch
from gate.sync.certkeys import load_community_keys
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
        self.rules = station_rules(settings.policy)
        for issuer in unheard(self.rules, [feed.issuer for feed in settings.feeds]):
            log.warning("feed %s: no rule counts this issuer's green: add an agreement to the rules", issuer)
        self._policy = settings.policy
        self._region = settings.region
        issuers = [feed.issuer for feed in settings.feeds]
        self._store = open_store(settings.data_dir / "store", issuers)
        self._desk = IssuerDesk(settings.issuers, self.clock.now)
        self._lookup = Lookup(
            self._store,
            self.rules,
            self._desk,
            {feed.issuer: load_peppers(feed.pepper_file, feed.issuer) for feed in settings.feeds},
            load_community_keys(settings.policy.certificate_keys) if settings.policy.certificate_keys else {},
        )
        self._services = Services(
            clock=self.clock,
            lookup=self._lookup,
            journal=Journal(settings.data_dir / "journal", settings.journal_keep_days, self.clock),
            metrics=self.metrics,
            issuers=station_issuers(settings),
            code_keys=read_code_keys(settings),
            region=settings.region,
            day=self._day,
            terms=self._terms,
            words=self.words,
            hotline=self.hotline,
            lane_changed=self._lane_changed,
            passage_ended=self._passage_ended,
        )
        self.handover = Handover(settings.data_dir / "journal", self._services)
        self._reds = RedWatch(self.clock.now().utc_s)
        if self._services.journal.recovered_bytes:
            log.warning("the journal's last line was torn by a power loss and is cut off")
        self._over: dict[str, int] = {}  # issuer -> changes over its snapshot, as the feed process says
        self._refusals: dict[str, str] = {}
        self._troubles: dict[str, str] = {}
        self._claims = Claims()
        self._memory = LaneMemory(settings.data_dir / "lanes.json")
        self._lanes = {lane.id: self._lane(lane) for lane in settings.lanes}
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()  # feeds were looked at once and every lane's devices are being opened

    def _day(self, now: Moment) -> Day:
        """What the station does on the day of `now`, by its configuration."""
        policy, today = self._policy, now.beijing_day
        if today in policy.closed_days:
            return Day.CLOSED
        ended = policy.checking_until is not None and today >= policy.checking_until
        return Day.OPEN if ended or today in policy.open_days else Day.CHECKING

    def _terms(self, now: Moment) -> Terms | None:
        return self.rules.terms_on(now.beijing_day)

    def _lane(self, lane: config.Lane) -> LaneRunner:
        remembered = self._memory.of(lane.id)
        if remembered.mode or remembered.emergency:
            log.warning("lane %s: still %s", lane.id, "in an emergency" if remembered.emergency else remembered.mode)
        core = Lane(
            lane.id,
            remembered.mode or _MODES[lane.direction],
            self.rules,
            self._claims,
            new_id=lambda: letters(secrets.token_bytes(16)),
            has_turnstile=any(device.kind == "turnstile" for device in lane.devices),
            reads=_reads(lane),
            times=LaneTimes(pairing_window_s=lane.pairing_window_s, release_within_s=lane.release_within_s),
            emergency=remembered.emergency,
            normally_open=lane.normally_open,
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
            await self._desk.close()

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
        self._store.close()
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
                self._store.refresh()
                self._notice_reds(event.get("reds", {}), float(event["produced_utc_s"]))
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

    def _notice_reds(self, reds: Mapping[str, int], produced_utc_s: float) -> None:
        """R8: an authority that suddenly sets many reds is told to people; it decides about nobody."""
        for authority, count in reds.items():
            jump = self._reds.add(authority, count, produced_utc_s)
            if jump:
                log.error(
                    "authority %s set %s reds within an hour, %s in its busiest of the week before: ask the issuer why",
                    authority,
                    jump.count,
                    jump.busiest,
                )

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
        self._store.refresh()
        self._lookup.use_held_peppers()
        self.metrics.red_jumps(jump.authority for jump in self._reds.current(self.clock.now().utc_s))
        for lane in self._lanes.values():
            lane.measure_devices(self.clock.now())
        for issuer in self._settings.issuers:
            down = issuer.id in self._desk.unreachable()
            services.set_condition(Condition(Cause.ISSUER_UNREACHABLE, issuer.id), down)
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

    def release(self, lane_id: str, direction: str, operator: str, why: str, paper: bool = False) -> LaneState:
        """Let one person through, the lane's own way when none is given. Raises UnknownLaneError, StateRefusedError.

        `paper`: staff saw a paper certificate and the ID card that belongs to it.
        """
        runner = self._runner(lane_id)
        if not runner.core.has_turnstile:
            raise StateRefusedError(f"lane {lane_id} has no turnstile: nothing can be released")
        log.warning("lane %s: one person released by %s", lane_id, operator)
        way = Direction(direction) if direction else runner.default_direction
        reason = Reason.PAPER_CONFIRMED if paper else Reason.STAFF_RELEASE
        runner.handle(events.StaffReleased(operator, why, way, reason), self.clock.now())
        return runner.state()

    def reset_emergency(self, lane_id: str, operator: str) -> LaneState:
        """End an emergency by hand. Raises UnknownLaneError, StateRefusedError while the input is still active."""
        runner = self._runner(lane_id)
        if runner.core.emergency_input:
            raise StateRefusedError(f"lane {lane_id}: the emergency input is still active: end the alarm first")
        log.warning("lane %s: emergency reset by %s", lane_id, operator)
        runner.handle(events.EmergencyReset(operator), self.clock.now())
        return runner.state()

    def far_lane(self, lane_id: str) -> FarLane | None:
        """Where a lane agent attaches; None when the lane's devices hang here. Raises UnknownLaneError."""
        return self._runner(lane_id).far

    def feeds(self) -> Sequence[FeedState]:
        """All subscribed feeds, in the order of the configuration."""
        now = self.clock.now()
        held = self._store.held()
        terms = self._terms(now)
        states = []
        for feed in self._settings.feeds:
            refusal, trouble = self._refusals.get(feed.issuer, ""), self._troubles.get(feed.issuer, "")
            one = held.get(feed.issuer)
            if one is None:
                states.append(FeedState(feed.issuer, last_refusal=refusal, source_trouble=trouble))
                continue
            states.append(self._feed_state(one, terms, now, refusal, trouble))
        return states

    def _feed_state(self, held: Held, terms: Terms | None, now: Moment, refusal: str, trouble: str) -> FeedState:
        trusted = self.clock.state.trusted

        def band_of(freshness: Freshness) -> str:
            limits = terms.limits_of(held.issuer, freshness.partition) if terms else None
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

    def check_status(self, document: Document, travel: Travel = NOW_AND_HERE) -> StatusAnswer:
        """The verdict a gate would give this document's card; nothing is recorded of the person."""
        return self._checked(Presentation(card=IdCard(document, None, None)), travel)

    def check_code(self, content: str, travel: Travel = NOW_AND_HERE) -> StatusAnswer:
        """The verdict a gate would give this code alone; nothing is recorded of the person."""
        services, now = self._services, self.clock.now()
        code = read_code(content.encode(), services.issuers)
        if isinstance(code, UnusableCode):
            return self._refused(Reason[code.problem.name])
        terms = self._terms(now)
        skew_s = terms.code_skew_s if terms else 0.0
        problem = judge_code(code, services.code_keys, now, self.clock.state.trusted, skew_s)
        return self._refused(Reason[problem.name]) if problem else self._checked(Presentation(code=code), travel)

    def _refused(self, reason: Reason) -> StatusAnswer:
        return self._answered(Verdict(VerdictKind.REFER, reason, rule_id=""), Found(Question(())), self.clock.now())

    def _checked(self, shown: Presentation, travel: Travel) -> StatusAnswer:
        now = self.clock.now()
        at = now if travel.utc_s is None else now.plus(travel.utc_s - now.utc_s)
        conditions = frozenset(c for c in self._services.conditions() if "/" not in c.of)
        scene = Scene(travel.destination or self._region, self._day(at), conditions)
        found = self._lookup.find(shown, scene, now)
        return self._answered(decide(found.question, self.rules, now, at), found, now)

    def _answered(self, verdict: Verdict, found: Found, now: Moment) -> StatusAnswer:
        age_s = None if verdict.as_of_utc_s is None else now.utc_s - verdict.as_of_utc_s
        conditions = tuple(sorted(map(str, found.question.conditions)))
        words = self.words(verdict.reason, verdict.rule_id)
        return StatusAnswer(
            verdict,
            letters(secrets.token_bytes(16)),
            age_s,
            conditions,
            words,
            self.hotline(verdict.issuer),
            found.reference_for(verdict),
            tuple(_report(finding) for finding in found.question.findings if isinstance(finding, Told)),
        )

    def words(self, reason: Reason, rule_id: str) -> Words:
        """What people are told: the rule's words where it gave this reason, else the reason's."""
        return explained(reason, self.rules.rule(rule_id), self._settings.languages)

    def hotline(self, issuer: str) -> str:
        """Where a passenger objects or asks for correction: the issuer's own number, else everybody's."""
        info = self._services.issuers.by_id.get(issuer)
        return info.hotline if info else APPEAL_CONTACT

    def _lane_changed(self, state: LaneState) -> None:
        own = _MODES[self._runner(state.lane_id).direction]
        self._memory.remember(state.lane_id, None if state.mode == own else LaneMode(state.mode), state.emergency)
        self.lane_states.publish(state)

    def _passage_ended(self, record: PassageRecord) -> None:
        anonymous = replace(record, subject=b"")  # only the journal may link it, and only for a day
        self.recent.add(anonymous)
        self.passages.publish(anonymous)


def _report(told: Told) -> ReportState:
    return ReportState(told.issuer, told.asserted_by, str(told.status), told.freshness.as_of_utc_s)


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


def _reads(lane: config.Lane) -> frozenset[Ask]:
    """What a lane can ask its passenger for; a reader of transit cards cannot read the ID card that is asked for."""
    cards = any(device.kind == "card-reader" and not device.card_scheme for device in lane.devices)
    codes = any(device.kind == "code-scanner" for device in lane.devices)
    return frozenset(ask for ask, able in ((Ask.CARD, cards), (Ask.CODE, codes)) if able)
