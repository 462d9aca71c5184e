"""`/metrics`: right in Prometheus' own eyes, with labels that nobody outside can multiply."""

from __future__ import annotations

import pytest
from prometheus_client import Metric, generate_latest

from engine.clock import FakeClock
from engine.telemetry import metrics
from engine.telemetry.meter import Meter, Usage
from tests.prometheus import promtool
from tests.unit.test_replica_figures import report

NAME = "accounts/local/deployments/{}"
LABELS = {
    "deployment", "code", "stage", "direction", "source", "position", "reason", "phase", "result", "verdict", "le",
    "router", "target",
}  # fmt: skip


@pytest.fixture
def lived(request):
    """A deployment with something in each of its series."""
    name = NAME.format(request.node.name)
    live(name)
    yield name
    metrics.forget(name)


def live(name: str) -> None:
    meter = Meter(name, FakeClock())
    meter.began(synthetic=False)
    meter.held(0.01)
    meter.first_token(0.1)
    meter.ended(code=200, failed=False, seconds=1, usage=Usage(3, 2, 1))
    metrics.QUARANTINED.labels(name).inc()
    metrics.RESUMED.labels(name).inc()
    meter.looked_up(hit=True)
    metrics.VERDICTS.labels(name, "answer", "passed").inc()
    metrics.KEYS_REFUSED.labels(name).inc()
    meter.routed("prefix")
    meter.ejected()
    metrics.RETRIES_REFUSED.labels(name).inc()
    metrics.SCALINGS.labels(name, "up").inc()
    for gauge in (metrics.HELD, metrics.RUNNING, metrics.DESIRED):
        gauge.labels(name).set(1)
    metrics.REPLICAS.labels(name, "READY").set(1)
    body = report(4, 1.5, (1, 0, 2, 1), 3, kv_used_tokens=7, kv_capacity_tokens=9, load_s=0.5, free_slots=8)
    metrics.REPLICA_FIGURES.of(name).take("a", body, from_birth=True)


def families() -> list[Metric]:
    return list(metrics.REGISTRY.collect())


def exported(words: str) -> set[str]:
    """The deployments with these words in their names of which anything is."""
    names = {sample.labels.get("deployment", "") for family in families() for sample in family.samples}
    return {name for name in names if words in name}


def counted(family: str, name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(family, {"deployment": name, **labels}) or 0.0


def test_promtool_finds_nothing_to_say(lived):
    assert promtool("check", "metrics", stdin=metrics.exposition()) == (0, "")


def test_the_text_comes_family_by_family_and_is_the_whole_registrys(lived):
    pieces = list(metrics.families())
    assert len(pieces) == len(families()) > 30
    assert b"".join(pieces) == metrics.exposition() == generate_latest(metrics.REGISTRY)


def test_a_deployment_may_come_between_two_families(lived):
    pieces = []
    for number, piece in enumerate(metrics.families()):
        live(f"{lived}-{number}")
        pieces.append(piece)
    assert promtool("check", "metrics", stdin=b"".join(pieces)) == (0, "")
    for number in range(len(pieces)):
        metrics.forget(f"{lived}-{number}")


def test_every_phase_of_a_request_is_a_histogram(lived):
    found = {family.name for family in families() if family.type == "histogram"}
    assert found >= {
        "firedeck_ttft_seconds", "firedeck_request_held_seconds", "firedeck_request_duration_seconds",
        "firedeck_replica_ttft_seconds", "firedeck_replica_inter_token_seconds", "firedeck_replica_request_seconds",
        "firedeck_replica_request_queue_seconds", "firedeck_replica_request_prefill_seconds",
    }  # fmt: skip


def test_no_label_is_left_to_clients_and_nothing_is_exported_twice(lived):
    samples = [sample for family in families() for sample in family.samples]
    assert {label for sample in samples for label in sample.labels} <= LABELS
    assert not any(sample.name.endswith("_created") for sample in samples)


def test_ten_thousand_users_make_no_series(lived):
    before = sum(len(family.samples) for family in families())
    meter = Meter(lived, FakeClock())
    for _ in range(10_000):
        meter.began(synthetic=False)
        meter.ended(code=200, failed=False, seconds=1, usage=Usage())
    assert sum(len(family.samples) for family in families()) == before


def test_codes_are_those_that_http_names_and_one_for_all_others(lived):
    meter = Meter(lived, FakeClock())
    for code in range(100, 1000):
        meter.ended(code=code, failed=False, seconds=1, usage=Usage())
    codes = {s.labels["code"] for f in families() for s in f.samples if "code" in s.labels}
    assert {"200", "402", "499", "503", "other"} <= codes
    assert len(codes) < 70
    assert counted("firedeck_requests_total", lived, code="other") > 800


def test_failures_are_counted_apart_from_what_clients_do_wrong(lived):
    meter = Meter(lived, FakeClock())
    for code in (200, 404, 499, 502):
        meter.ended(code=code, failed=code == 502, seconds=1, usage=Usage())
    assert counted("firedeck_requests_failed_total", lived) == 1


def test_of_many_deployments_that_are_gone_the_newest_hundred_keep_their_totals(monkeypatch):
    monkeypatch.setattr(metrics, "_gone", {})
    names = [NAME.format(f"long-gone-{number}") for number in range(300)]
    for name in names[:-120]:  # those that only a count tells from each other are made cheaply
        metrics.FAILED.labels(name).inc()
        metrics.forget(name)
    for name in names[-120:]:
        live(name)
        metrics.forget(name)
    assert exported("long-gone-") == set(names[-metrics.GONE_KEPT :])
    for name in names[-metrics.GONE_KEPT :]:
        metrics._drop(name)
    assert exported("long-gone-") == set()


def test_a_deployment_that_came_back_keeps_its_totals_whatever_goes(monkeypatch):
    monkeypatch.setattr(metrics, "_gone", {})
    name = NAME.format("back")
    live(name)
    metrics.forget(name)
    live(name)
    for number in range(metrics.GONE_KEPT + 1):
        metrics.forget(NAME.format(f"other-{number}"))
    assert counted("firedeck_requests_total", name, code="200") == 2
    assert metrics.REPLICA_FIGURES.of(name).totals()["counter", "decode_steps_total"] == 8
    metrics.forget(name)
