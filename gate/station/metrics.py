"""All metrics of contract.md in one table, served as Prometheus text. No label holds a person."""

import errno
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, start_http_server
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from drivers.contract import DeviceFault
from gate.passage.record import Outcome
from gate.policy.condition import Cause
from gate.policy.verdict import Reason, VerdictKind

# Creation times double the page and are used by no query of ours.
disable_created_metrics()  # type: ignore[no-untyped-call] # the library leaves it untyped

# Seconds. From 50 µs, below which a stage costs nothing, over gRPC's own steps (A66) to the anchors 0.1, 0.2, 0.3 and
# 0.5 s of operations.md 1.1 (Suica, the demanding and the most-cited ceiling), each an edge, and 1-10 s of walking.
BUCKETS = (
    0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.0008, 0.001, 0.002, 0.003, 0.005, 0.008, 0.013, 0.02, 0.03, 0.05, 0.08,
    0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.8, 1.0, 2.0, 3.0, 5.0, 8.0, 10.0,
)  # fmt: skip

# No value from outside may make series without end: these labels are closed lists, the others hold names of our own
# configuration and methods; beyond that many of one label everything is OTHER.
CLOSED: Mapping[str, frozenset[str]] = {
    "verdict": frozenset(VerdictKind) | {"NONE"},
    "reason": frozenset(Reason) | {"NONE"},
    "outcome": frozenset(Outcome),
    "cause": frozenset(Cause),
    "fault": frozenset(DeviceFault),
}
OPEN_MAX = 256  # lanes, devices of a lane, issuers, methods: several times what the largest station has
OTHER = "OTHER"
_IDLE_S = 10.0  # a scraper that says nothing for so long is let go: each holds a thread


@dataclass(frozen=True, slots=True)
class _Metric:
    kind: type[Counter] | type[Gauge] | type[Histogram]
    labels: tuple[str, ...]
    text: str


# prometheus_client adds "_total" to counters itself.
TABLE: Mapping[str, _Metric] = {
    "gate_decision_duration_seconds": _Metric(
        Histogram, ("lane", "verdict"), "Completing credential to release command written, or to the sign's refusal."
    ),
    "gate_stage_duration_seconds": _Metric(Histogram, ("stage",), "One stage of a passage."),
    "gate_release_to_passage_seconds": _Metric(Histogram, ("lane",), "Release accepted to person passed."),
    "gate_passages": _Metric(Counter, ("lane", "direction", "outcome"), "Passages and attempts by how they ended."),
    "gate_verdicts": _Metric(Counter, ("verdict", "reason"), "Decisions by verdict and reason."),
    "gate_feed_age_seconds": _Metric(Gauge, ("issuer",), "Age of the feed in service; NaN when there is none."),
    "gate_feed_sequence": _Metric(Gauge, ("issuer",), "Sequence of the feed in service."),
    "gate_feed_gaps": _Metric(Counter, ("issuer",), "Sequences that were skipped when a feed was applied."),
    "gate_device_up": _Metric(Gauge, ("lane", "device"), "1 while the device works."),
    "gate_device_errors": _Metric(
        Counter, ("lane", "device", "fault"), "Commands that a device failed, and its losses, by fault."
    ),
    "gate_device_last_good_seconds": _Metric(
        Gauge, ("lane", "device"), "Seconds since a device last answered or spoke."
    ),
    "gate_device_command_seconds": _Metric(
        Histogram, ("lane", "device"), "Command's bytes to its answer; no value for a device that is never asked."
    ),
    "gate_device_frames_skipped": _Metric(
        Counter, ("lane", "device"), "Frames of a camera that were not decoded: a newer one had come."
    ),
    "gate_degraded": _Metric(Gauge, ("cause",), "1 while the cause of degraded mode is present."),
    "gate_red_jump": _Metric(
        Gauge, ("authority",), "1 while an authority's sudden many reds of the last day are to be asked about."
    ),
    "gate_status_requests": _Metric(Counter, ("method", "code"), "gRPC calls by method and status code."),
    "gate_status_duration_seconds": _Metric(Histogram, ("method",), "Time of a gRPC call."),
}


class Metrics:
    """The station's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._all: dict[str, Any] = {}
        for name, metric in TABLE.items():
            more: dict[str, Any] = {"buckets": BUCKETS} if metric.kind is Histogram else {}
            self._all[name] = metric.kind(name, metric.text, metric.labels, registry=self.registry, **more)
        self._seen: dict[str, set[str]] = {}
        self._jumped: set[str] = set()  # authorities that ever jumped, of at most 4,096 (policy/jump.py)
        # Finding a child by its labels costs more than counting.
        self._child = functools.lru_cache(maxsize=10_000)(self._new_child)
        for cause in Cause:
            self.degraded(cause, False)  # an alert needs the 0 to see it change

    def _new_child(self, name: str, *values: str) -> Any:
        return self._all[name].labels(*map(self._bounded, TABLE[name].labels, values))

    def _bounded(self, label: str, value: str) -> str:
        if label in CLOSED:
            return value if value in CLOSED[label] else OTHER
        seen = self._seen.setdefault(label, set())
        if len(seen) < OPEN_MAX:
            seen.add(value)
        return value if value in seen else OTHER

    def decision(self, lane: str, verdict: str, seconds: float) -> None:
        """A decision took so long."""
        self._child("gate_decision_duration_seconds", lane, verdict).observe(seconds)

    def stage(self, stage: str, seconds: float) -> None:
        """A stage of a passage took so long."""
        self._child("gate_stage_duration_seconds", stage).observe(seconds)

    def release_to_passage(self, lane: str, seconds: float) -> None:
        """From the turnstile's acceptance to the passage."""
        self._child("gate_release_to_passage_seconds", lane).observe(seconds)

    def passage(self, lane: str, direction: str, outcome: str) -> None:
        """A passage or attempt ended."""
        self._child("gate_passages", lane, direction, outcome).inc()

    def verdict(self, verdict: str, reason: str) -> None:
        """A decision was made."""
        self._child("gate_verdicts", verdict, reason).inc()

    def feed(self, issuer: str, sequence: int, age_s: float | None) -> None:
        """What is in service of an issuer; `age_s` None when nothing is."""
        self._child("gate_feed_sequence", issuer).set(sequence)
        self._child("gate_feed_age_seconds", issuer).set(float("nan") if age_s is None else age_s)

    def feed_gap(self, issuer: str, skipped: int) -> None:
        """Sequences between the last and this feed were never seen."""
        self._child("gate_feed_gaps", issuer).inc(skipped)

    def device_up(self, lane: str, device: str, up: bool) -> None:
        """A device works, or not."""
        self._child("gate_device_up", lane, device).set(up)

    def device_error(self, lane: str, device: str, fault: str) -> None:
        """A device failed a command, or was lost."""
        self._child("gate_device_errors", lane, device, fault).inc()

    def device_good(self, lane: str, device: str, ago_s: float) -> None:
        """So long ago a device last answered or spoke."""
        self._child("gate_device_last_good_seconds", lane, device).set(ago_s)

    def device_command(self, lane: str, device: str, seconds: float) -> None:
        """A device answered a command after so long."""
        self._child("gate_device_command_seconds", lane, device).observe(seconds)

    def frames_skipped(self, lane: str, device: str, frames: int) -> None:
        """A camera gave frames faster than they were decoded."""
        self._child("gate_device_frames_skipped", lane, device).inc(frames)

    def degraded(self, cause: str, present: bool) -> None:
        """A cause of degraded mode is present, or not."""
        self._child("gate_degraded", cause).set(present)

    def red_jumps(self, authorities: Iterable[str]) -> None:
        """These authorities set suddenly many reds within the last day (R8), and no others."""
        present = set(authorities)
        for authority in self._jumped - present:
            self._child("gate_red_jump", authority).set(0)
        for authority in present:
            self._child("gate_red_jump", authority).set(1)
        self._jumped |= present

    def status_request(self, method: str, code: str, seconds: float) -> None:
        """A gRPC call ended."""
        self._child("gate_status_requests", method, code).inc()
        self._child("gate_status_duration_seconds", method).observe(seconds)

    def serve(self, listen: str) -> "MetricsServer":
        """Serve `/metrics` at HOST:PORT in a thread. Raises OSError naming the address."""
        host, _, port = listen.rpartition(":")
        try:
            server, thread = start_http_server(int(port), addr=host.strip("[]"), registry=_Rounded(self.registry))
        except OSError as error:
            raise OSError(error.errno, f"metrics cannot listen on {listen}: {error.strerror}") from error
        except (ValueError, OverflowError) as error:
            raise OSError(errno.EINVAL, f"metrics cannot listen on {listen}: it is not HOST:PORT") from error
        handler: Any = server.RequestHandlerClass
        server.RequestHandlerClass = type("_Handler", (handler,), {"timeout": _IDLE_S})
        return MetricsServer(server, thread)


class _Rounded(CollectorRegistry):
    """The same metrics to the microsecond: longer fractions say nothing and look like people's numbers in a search."""

    def __init__(self, whole: Collector) -> None:
        super().__init__()
        self._whole = whole

    def collect(self) -> Iterator[Metric]:
        """All metrics, their values rounded to six decimals."""
        for metric in self._whole.collect():
            metric.samples = [sample._replace(value=round(sample.value, 6)) for sample in metric.samples]
            yield metric

    def restricted_registry(self, names: Iterable[str]) -> Any:
        """Only the metrics that a scraper asks for with `?name[]=`."""
        return _Rounded(self._whole.restricted_registry(names)) if isinstance(self._whole, CollectorRegistry) else self


class MetricsServer:
    """A running metrics page."""

    def __init__(self, server: Any, thread: Any) -> None:
        self._server = server
        self._thread = thread
        host, port = server.server_address[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2.0)
