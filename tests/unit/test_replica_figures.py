"""Figures of replicas, summed: totals never go down whatever replicas come, count and die; Prometheus can read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from engine.telemetry import metrics
from engine.telemetry.replica_figures import ReplicaFigures
from engine.telemetry.replica_metrics import PREFIX

BOUNDS = [0.01, 0.1, 1]


def report(decoded: int, seconds: float = 0.0, counts=(0, 0, 0, 0), accepted: int = 0, **more) -> dict:
    """What a replica that has counted so much answers to `/stats`."""
    return {
        "counters": {"decode_steps_total": decoded, "decode_seconds_total": seconds},
        "histograms": {"ttft_s": {"bounds": BOUNDS, "counts": list(counts), "sum": seconds}},
        "speculation": {
            "ngram": {
                "drafts": decoded, "drafted": 2 * accepted, "accepted": accepted,
                "drafted_at": [accepted, accepted], "accepted_at": [accepted, 0],
            },
            "prediction": {"drafts": 0, "drafted": 0, "accepted": 0, "drafted_at": [0, 0], "accepted_at": [0, 0]},
        },
        **more,
    }  # fmt: skip


class Process:
    """A replica that counts; `report` is what it would answer now."""

    def __init__(self) -> None:
        self.decoded, self.seconds, self.counts, self.accepted = 0, 0.0, [0, 0, 0, 0], 0

    def work(self, amount: int) -> None:
        self.decoded += amount
        self.seconds += amount / 8  # exact in binary: sums can be compared
        self.counts[amount % 4] += 1
        self.accepted += amount

    def report(self) -> dict:
        return report(self.decoded, self.seconds, self.counts, self.accepted)


ACTS = st.lists(st.tuples(st.sampled_from(["come", "work", "look", "die"]), st.integers(0, 7)), max_size=60)


@given(ACTS)
def test_totals_never_go_down_and_are_what_was_seen_counted_in_any_life_of_replicas(acts):
    figures, alive, seen, former = ReplicaFigures(), {}, {}, {}
    for number, (act, amount) in enumerate(acts):
        chosen = sorted(alive)[amount % len(alive)] if alive else None
        if act == "come":
            alive[f"r{number}"] = Process()
        elif act == "work" and chosen:
            alive[chosen].work(amount)
        elif act == "look":
            for name, process in alive.items():
                figures.take(name, process.report(), from_birth=True)
                seen[name] = (process.decoded, process.seconds, sum(process.counts), process.accepted)
        elif act == "die" and chosen:
            del alive[chosen]
            figures.gone(chosen)
        now = dict(figures.totals())
        assert all(now[key] >= total for key, total in former.items())
        former = now
    decoded, seconds, requests, accepted = (sum(one[i] for one in seen.values()) for i in range(4))
    assert figures.totals().get(("counter", "decode_steps_total"), 0) == decoded
    assert figures.totals().get(("sum", "ttft_s"), 0) == seconds
    assert figures.totals().get(("accepted_at", "ngram", 0), 0) == accepted
    if seen:
        assert figures.cumulative("ttft_s")[-1] == (math.inf, requests)


@given(st.lists(st.integers(0, 9), min_size=4, max_size=4))
def test_buckets_are_cumulative_and_the_last_holds_everything(counts):
    figures = ReplicaFigures()
    figures.take("a", report(1, counts=counts), from_birth=True)
    assert figures.cumulative("ttft_s") == [
        (bound, sum(counts[: i + 1])) for i, bound in enumerate([*BOUNDS, math.inf])
    ]


def test_a_report_that_is_seen_twice_counts_once():
    figures, body = ReplicaFigures(), report(5)
    for _ in range(2):
        figures.take("a", body, from_birth=True)
    assert figures.totals()["counter", "decode_steps_total"] == 5


def test_what_a_replica_counted_for_an_earlier_engine_is_not_counted_again():
    figures = ReplicaFigures()
    figures.take("a", report(5, counts=(1, 0, 0, 0)), from_birth=False)
    assert figures.totals()["counter", "decode_steps_total"] == 0
    figures.take("a", report(7, counts=(1, 2, 0, 0)), from_birth=False)
    assert figures.totals()["counter", "decode_steps_total"] == 2
    assert figures.cumulative("ttft_s")[-1] == (math.inf, 2)


def test_an_answer_without_counters_changes_nothing_and_does_not_make_a_replica_new():
    figures = ReplicaFigures()
    figures.take("a", report(5), from_birth=True)
    figures.take("a", {"status": "loading"}, from_birth=True)
    figures.take("a", report(6), from_birth=True)
    assert figures.totals()["counter", "decode_steps_total"] == 6


def test_a_histogram_with_other_bounds_is_left_out_and_the_rest_of_the_report_is_taken():
    figures = ReplicaFigures()
    figures.take("a", report(1, counts=(1, 0, 0, 0)), from_birth=True)
    other = report(2) | {"histograms": {"ttft_s": {"bounds": [5], "counts": [7, 7], "sum": 1}}}
    figures.take("b", other, from_birth=True)
    assert figures.cumulative("ttft_s")[-1] == (math.inf, 1)
    assert figures.totals()["counter", "decode_steps_total"] == 3


@pytest.mark.parametrize(
    "strange",
    [
        {"speculation": {"ngram": {"drafts": 3, "drafted": 1}}},
        {"histograms": {"ttft_s": {"buckets": {"1": 3}}}},
        {"counters": {"decode_steps_total": {"cpu": 3}}},
        {"counters": [3]},
    ],
    ids=["missing", "renamed", "deeper", "of-another-kind"],
)
@pytest.mark.parametrize("from_birth", [True, False])
def test_what_a_replica_of_another_version_counts_is_left_out_told_once_and_spoils_nothing(strange, from_birth, caplog):
    figures = ReplicaFigures()
    figures.take("a", report(5), from_birth=True)
    for _ in range(2):
        figures.take("b", report(70, kv_used_tokens=7) | strange, from_birth=from_birth)
        assert figures.totals()["counter", "decode_steps_total"] == 5
    figures.take("b", report(80), from_birth=from_birth)
    assert figures.totals()["counter", "decode_steps_total"] == 5
    assert [told.message.partition(" (")[0] for told in caplog.records] == ["replica b: what it counts cannot be read"]
    figures.gone("b")
    assert figures.totals()["counter", "decode_steps_total"] == 5


def test_gauges_are_of_the_living_and_what_none_reports_is_absent_not_zero():
    figures = ReplicaFigures()
    figures.take("a", report(1, kv_used_tokens=10, prefix_cache={"ram_bytes": 4}), from_birth=True)
    figures.take("b", report(1, kv_used_tokens=0), from_birth=True)
    assert figures.gauges("kv_used_tokens") == [10, 0]
    assert figures.gauges("prefix_cache", "ram_bytes") == [4]
    assert figures.gauges("kv_used_tokens", "deeper") == figures.gauges("load_s") == []
    figures.gone("a")
    assert figures.gauges("kv_used_tokens") == [0]


def exported(deployment: str) -> dict[str, list]:
    """The samples of a deployment by name, as Prometheus' own parser reads `/metrics`."""
    found: dict[str, list] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            if sample.labels.get("deployment") == deployment:
                found.setdefault(sample.name, []).append(sample)
    return found


@pytest.fixture
def shown(request):
    name = f"accounts/local/deployments/{request.node.name}"  # totals outlive a test, as they outlive a deployment
    figures = metrics.REPLICA_FIGURES.of(name)
    figures.take(
        "a", report(4, 1.5, (1, 0, 2, 1), 3, kv_used_tokens=7, load_s=0.5, free_slots=8), from_birth=True
    )  # fmt: skip
    figures.take("b", report(1, 0.5, (0, 1, 0, 0), 1, kv_used_tokens=1, load_s=2.5), from_birth=True)
    yield name
    metrics.forget(name)


def test_prometheus_reads_a_histogram_with_cumulative_buckets_a_sum_and_a_count(shown):
    samples = exported(shown)
    buckets = samples[f"{PREFIX}ttft_seconds_bucket"]
    assert [(s.labels["le"], s.value) for s in buckets] == [("0.01", 1), ("0.1", 2), ("1.0", 4), ("+Inf", 5)]
    assert [s.value for s in samples[f"{PREFIX}ttft_seconds_count"]] == [5]
    assert [s.value for s in samples[f"{PREFIX}ttft_seconds_sum"]] == [2.0]


def test_prometheus_reads_drafts_by_source_and_position_of_the_sources_in_use(shown):
    samples = exported(shown)
    assert {s.labels["source"] for s in samples[f"{PREFIX}drafts_total"]} == {"ngram"}
    assert [s.value for s in samples[f"{PREFIX}accepted_tokens_total"]] == [4]
    at = {(s.labels["source"], s.labels["position"]): s.value for s in samples[f"{PREFIX}drafted_tokens_at_total"]}
    assert at == {("ngram", "0"): 4, ("ngram", "1"): 4}


def test_gauges_are_summed_and_the_slowest_load_is_told(shown):
    samples = exported(shown)
    assert samples[f"{PREFIX}kv_used_tokens"][0].value == 8
    assert samples[f"{PREFIX}free_slots"][0].value == 8
    assert samples[f"{PREFIX}model_load_seconds"][0].value == 2.5
    assert f"{PREFIX}prefix_cache_bytes" not in samples


def test_a_deployment_without_replicas_keeps_its_totals_and_shows_no_gauge(shown):
    metrics.forget(shown)
    samples = exported(shown)
    assert samples[f"{PREFIX}decode_steps_total"][0].value == 5
    assert f"{PREFIX}kv_used_tokens" not in samples


def test_no_family_is_exported_under_two_types():
    families = [family.name for family in text_string_to_metric_families(metrics.exposition().decode())]
    assert len(families) == len(set(families))
