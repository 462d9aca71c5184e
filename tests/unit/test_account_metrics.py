"""Fireworks' names for an account's metrics: exactly theirs, per second over a minute, unknown left out."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from engine.telemetry.account_metrics import LEVELS, SCRAPES_A_MINUTE, Scrapes, Seen, exposition
from engine.telemetry.readings import Minutes

INFINITE = float("inf")
NAMES = {
    "request_counter_total:sum_by_deployment", "requests_error_total:sum_by_deployment",
    "tokens_cached_prompt_total:sum_by_deployment", "tokens_prompt_total:sum_by_deployment",
    "latency_generation_per_token_ms_bucket:sum_by_deployment", "latency_overall_ms_bucket:sum_by_deployment",
    "latency_to_first_token_ms_bucket:sum_by_deployment", "latency_prefill_ms_bucket:sum_by_deployment",
    "latency_prefill_queue_ms_bucket:sum_by_deployment", "tokens_generated_per_request_bucket:sum_by_deployment",
    "tokens_prompt_per_request_bucket:sum_by_deployment", "generator_kv_blocks_fraction:avg_by_deployment",
    "generator_kv_slots_fraction:avg_by_deployment", "generator_model_forward_time:avg_by_deployment",
    "requests_coordinator_concurrent_count:avg_by_deployment",
}  # fmt: skip
LABELS = {
    "base_model": "accounts/fireworks/models/m", "deployment": "accounts/local/deployments/chat",
    "deployment_account": "local", "deployment_id": "chat",
}  # fmt: skip
HISTOGRAMS = (
    "ttft_seconds", "request_duration_seconds", "replica_inter_token_seconds", "replica_request_prefill_seconds",
    "replica_request_queue_seconds", "replica_request_generated_tokens", "replica_request_prompt_tokens",
)  # fmt: skip


def busy() -> Seen:
    totals = {
        "requests": 120.0, "prompt_tokens": 600.0, "cached_prompt_tokens": 60.0,
        "replica_decode_seconds": 3.0, "replica_decode_steps": 60.0,
    }  # fmt: skip
    buckets = ((0.015, 30.0), (1.0, 60.0), (INFINITE, 90.0))
    minute = Minutes(60.0, totals, {"200": 114.0, "429": 6.0}, dict.fromkeys(HISTOGRAMS, buckets))
    return Seen(LABELS["base_model"], LABELS["deployment"], minute, dict.fromkeys(LEVELS, 0.25))


def samples(*seen: Seen) -> dict[str, list]:
    found: dict[str, list] = {}
    for family in text_string_to_metric_families(exposition(seen)):
        assert family.type == "gauge"
        found[family.name] = family.samples
    return found


def test_the_names_are_the_documented_ones_and_all_that_can_be_known_are_there():
    found = samples(busy())
    assert found.keys() == NAMES
    for name, some in found.items():
        for sample in some:
            assert {k: v for k, v in sample.labels.items() if k not in {"le", "http_code"}} == LABELS
            assert ("le" in sample.labels) == ("_bucket" in name)


def test_totals_are_per_second_and_errors_by_code():
    found = samples(busy())
    assert [s.value for s in found["request_counter_total:sum_by_deployment"]] == [2.0]
    assert [s.value for s in found["tokens_prompt_total:sum_by_deployment"]] == [10.0]
    assert [s.value for s in found["tokens_cached_prompt_total:sum_by_deployment"]] == [1.0]
    errors = found["requests_error_total:sum_by_deployment"]
    assert [(s.labels["http_code"], s.value) for s in errors] == [("429", 0.1)]
    assert found["generator_model_forward_time:avg_by_deployment"][0].value == 0.05


def test_latencies_are_in_milliseconds_and_tokens_in_tokens():
    found = samples(busy())
    overall = found["latency_overall_ms_bucket:sum_by_deployment"]
    assert [(s.labels["le"], s.value) for s in overall] == [("15.0", 0.5), ("1000.0", 1.0), ("+Inf", 1.5)]
    tokens = found["tokens_prompt_per_request_bucket:sum_by_deployment"]
    assert [s.labels["le"] for s in tokens] == ["0.015", "1.0", "+Inf"]


def test_what_is_not_known_is_left_out_and_not_zero():
    idle = Seen("m", "accounts/local/deployments/idle", Minutes(60.0, {"requests": 0.0}, {}, {}), {})
    assert samples(idle).keys() == {
        "request_counter_total:sum_by_deployment", "tokens_prompt_total:sum_by_deployment",
        "tokens_cached_prompt_total:sum_by_deployment",
    }  # fmt: skip
    assert exposition([Seen("m", "accounts/local/deployments/new", None, {})]) == ""
    assert exposition([]) == ""


def test_several_deployments_are_one_family():
    other = Seen("m", "accounts/local/deployments/other", busy().minute, {})
    found = samples(busy(), other)
    assert len(found["request_counter_total:sum_by_deployment"]) == 2


def test_a_model_with_quotes_in_its_name_breaks_no_line():
    odd = Seen('a"b\\c\nd', "accounts/local/deployments/odd", busy().minute, {})
    assert samples(odd)["request_counter_total:sum_by_deployment"][0].labels["base_model"] == 'a"b\\c\nd'


def test_the_seventh_scrape_within_a_minute_waits_until_the_first_is_a_minute_old_and_others_do_not():
    scrapes = Scrapes()
    assert [scrapes.wait_s("local", 10.0 + i) for i in range(SCRAPES_A_MINUTE)] == [0.0] * 6
    wait_s = scrapes.wait_s("local", 20.0)
    assert wait_s == 50.0
    assert scrapes.wait_s("elsewhere", 20.0) == 0.0
    assert scrapes.wait_s("local", 20.0 + wait_s) == 0.0  # a refused one was not counted
    assert scrapes.wait_s("local", 20.0 + wait_s) > 0.0
