"""The metrics page: the names of contract.md, their edges and bounds, and how it is served."""

import math
import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gate.policy.condition import Cause
from gate.station.metrics import BUCKETS, OPEN_MAX, OTHER, Metrics

# contract.md, section Metrics, copied: name and labels.
CONTRACT = {
    "gate_decision_duration_seconds": {"lane", "verdict"},
    "gate_stage_duration_seconds": {"stage"},
    "gate_release_to_passage_seconds": {"lane"},
    "gate_passages_total": {"lane", "direction", "outcome"},
    "gate_verdicts_total": {"verdict", "reason"},
    "gate_feed_age_seconds": {"issuer"},
    "gate_feed_sequence": {"issuer"},
    "gate_feed_gaps_total": {"issuer"},
    "gate_device_up": {"lane", "device"},
    "gate_device_errors_total": {"lane", "device", "fault"},
    "gate_device_last_good_seconds": {"lane", "device"},
    "gate_device_command_seconds": {"lane", "device"},
    "gate_degraded": {"cause"},
    "gate_status_requests_total": {"method", "code"},
    "gate_status_duration_seconds": {"method"},
}


@pytest.fixture
def metrics() -> Metrics:
    """Metrics with one value of each."""
    made = Metrics()
    made.decision("A1", "GRANT", 0.002)
    made.stage("lookup", 0.00018)
    made.release_to_passage("A1", 1.2)
    made.passage("A1", "entry", "PASSED")
    made.verdict("GRANT", "STATUS_GREEN")
    made.feed("AKM", 7, 61.5)
    made.feed_gap("AKM", 2)
    made.device_up("A1", "samv", True)
    made.device_error("A1", "samv", "NO_ANSWER")
    made.device_good("A1", "samv", 0.4)
    made.device_command("A1", "samv", 0.031)
    made.degraded("JOURNAL_FULL", True)
    made.status_request("CheckStatus", "OK", 0.0004)
    return made


def page(url: str) -> str:
    assert url.startswith("http://")
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


@pytest.fixture
def served(metrics: Metrics) -> Iterator[str]:
    """The page's address."""
    server = metrics.serve("127.0.0.1:0")
    yield f"http://{server.address}/metrics"
    server.close()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_of_the_contract_is_on_the_page(served: str) -> None:
    """Names and labels as contract.md lists them, read with the library's own parser; and no others."""
    found: dict[str, set[str]] = {}
    for name, labels in samples(page(served)):
        plain = name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
        found.setdefault(plain, set()).update(label for label, _ in labels if label != "le")
    assert found == CONTRACT


def test_values_arrive_under_their_labels(served: str) -> None:
    """What was counted is what is read."""
    read = samples(page(served))
    assert read["gate_passages_total", (("direction", "entry"), ("lane", "A1"), ("outcome", "PASSED"))] == 1
    assert read["gate_feed_age_seconds", (("issuer", "AKM"),)] == 61.5
    assert read["gate_feed_gaps_total", (("issuer", "AKM"),)] == 2
    assert read["gate_degraded", (("cause", "JOURNAL_FULL"),)] == 1
    assert read["gate_degraded", (("cause", "CLOCK_UNTRUSTED"),)] == 0
    assert read["gate_stage_duration_seconds_bucket", (("le", "0.0001"), ("stage", "lookup"))] == 0
    assert read["gate_stage_duration_seconds_bucket", (("le", "0.0002"), ("stage", "lookup"))] == 1


def test_buckets_reach_down_and_have_the_anchors_as_edges() -> None:
    """From 50 µs, with edges at 0.1, 0.2, 0.3 and 0.5 s, rising."""
    assert BUCKETS[0] == 50e-6
    assert {0.1, 0.2, 0.3, 0.5} <= set(BUCKETS)
    assert list(BUCKETS) == sorted(set(BUCKETS))


def test_every_cause_is_there_before_it_happens() -> None:
    """All causes are 0 from the start, so that an alert sees them change."""
    read = Metrics().registry
    assert [read.get_sample_value("gate_degraded", {"cause": cause}) for cause in Cause] == [0.0] * len(Cause)


def test_a_feed_that_is_not_there_has_no_age() -> None:
    """NaN, not 0: no feed must not look like a fresh one."""
    made = Metrics()
    made.feed("AKM", 0, None)
    age_s = made.registry.get_sample_value("gate_feed_age_seconds", {"issuer": "AKM"})
    assert age_s is not None
    assert math.isnan(age_s)


def test_values_outside_a_closed_list_become_other() -> None:
    """A reason, verdict, outcome or cause that nobody defined makes no series of its own."""
    made = Metrics()
    made.verdict("PERHAPS", "STATUS_PURPLE")
    made.passage("A1", "entry", "FLOWN")
    made.degraded("MOOD", True)
    value = made.registry.get_sample_value
    assert value("gate_verdicts_total", {"verdict": OTHER, "reason": OTHER}) == 1
    assert value("gate_passages_total", {"lane": "A1", "direction": "entry", "outcome": OTHER}) == 1
    assert value("gate_degraded", {"cause": OTHER}) == 1


def test_invented_method_names_do_not_grow_the_page() -> None:
    """A caller that invents methods gets one series for all beyond the bound, and known ones keep their own."""
    made = Metrics()
    made.status_request("CheckStatus", "OK", 0.001)
    for number in range(OPEN_MAX * 2):
        made.status_request(f"Guess{number}", "UNIMPLEMENTED", 0.001)
    made.status_request("CheckStatus", "OK", 0.001)
    value = made.registry.get_sample_value
    assert value("gate_status_requests_total", {"method": "CheckStatus", "code": "OK"}) == 2
    assert value("gate_status_requests_total", {"method": OTHER, "code": "UNIMPLEMENTED"}) == OPEN_MAX + 1
    (family,) = [family for family in made.registry.collect() if family.name == "gate_status_requests"]
    assert len(family.samples) == OPEN_MAX + 1


def test_no_value_has_eight_digits_behind_the_point(metrics: Metrics) -> None:
    """Values are given to the microsecond: longer fractions would look like parts of ID numbers in a search."""
    metrics.stage("lookup", 1 / 3)
    server = metrics.serve("127.0.0.1:0")
    text = page(f"http://{server.address}/metrics")
    server.close()
    assert "0.333513" in text
    assert max(len(line.rpartition(".")[2]) for line in text.splitlines() if not line.startswith("#")) <= 6


def test_a_scraper_may_ask_for_one_metric(served: str) -> None:
    """`?name[]=` gives that metric and no other."""
    text = page(f"{served}?name[]=gate_device_up")
    assert {name for name, _ in samples(text)} == {"gate_device_up"}


def test_an_address_in_use_is_named(metrics: Metrics) -> None:
    """The error says which address cannot be had."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"metrics cannot listen on {listen}: Address already in use"):
            metrics.serve(listen)


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:99999"])
def test_what_is_no_address_is_named(metrics: Metrics, listen: str) -> None:
    """A malformed address is an OSError naming it, not a traceback."""
    with pytest.raises(OSError, match=f"metrics cannot listen on {listen}"):
        metrics.serve(listen)


def test_closing_frees_the_address(metrics: Metrics) -> None:
    """After `close` the same address can be served again."""
    first = metrics.serve("127.0.0.1:0")
    first.close()
    second = metrics.serve(first.address)
    assert second.address == first.address
    second.close()
