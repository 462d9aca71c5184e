"""Alerts: pending, firing, over; and the same rules in Prometheus, which must come to the same verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine.telemetry
from engine.clock import FakeClock
from engine.control import alerts
from engine.control.alerts import BY_NAME, FIRING, PENDING, RULES, Alerts, look, rules_file
from engine.telemetry.alert_figures import Beside, figures
from engine.telemetry.meter import Meter
from engine.telemetry.metrics import TTFT, Buckets, cumulative
from engine.telemetry.readings import Reading, Readings
from tests.prometheus import promtool

FILE = Path(engine.telemetry.__file__).parent / "firedeck.rules.yml"
CHAT = "accounts/local/deployments/chat"
NAME_OF_ITS_OWN = "accounts/local/deployments/bounds-of-first-tokens"
ERRORS = BY_NAME["FiredeckErrors"]
BAD, GOOD = {"error_rate": 0.5}, {"error_rate": 0.0}


def test_the_shipped_file_is_the_table():
    assert FILE.read_text() == rules_file(), f"write rules_file() to {FILE.name}"


def test_promtool_finds_nothing_wrong_with_the_shipped_file():
    status, said = promtool("check", "rules", str(FILE))
    assert (status, f"SUCCESS: {len(RULES)} rules found" in said) == (0, True), said


def test_the_products_thresholds_are_watched():
    told = {(rule.figure, rule.beyond, rule.threshold) for rule in RULES}
    assert told == {
        ("ttft_p99_s", ">", 0.2), ("utilisation", "<", 0.8), ("error_rate", ">", 0.001), ("cost_growth", ">", 1.2),
        ("acceptance", "<", 0.9),
    }  # fmt: skip
    assert len(BY_NAME) == len(RULES)


def test_whether_first_tokens_are_slow_does_not_hang_on_a_guess_between_two_bounds():
    name = NAME_OF_ITS_OWN
    Meter(name, FakeClock()).first_token(0.1)
    assert BY_NAME["FiredeckSlowFirstToken"].threshold in dict(cumulative(TTFT.labels(name)))


def test_an_alert_is_pending_until_it_has_held_long_enough_and_is_told_once():
    now, told = {}, []
    for at in (0.0, 299.0, 300.0, 330.0):
        now, changes = look(now, {CHAT: BAD}, at)
        told.append([(c.alert.rule.name, c.fires) for c in changes])
    [alert] = now.values()
    assert told == [[], [], [(ERRORS.name, True)], []]
    assert (alert.state, alert.since, alert.fired_at, alert.value) == (FIRING, 0.0, 300.0, 0.5)


@pytest.mark.parametrize("after", [GOOD, {"error_rate": None}, {}], ids=["well again", "unknown", "not told"])
def test_it_ends_when_it_is_well_again_or_not_known_any_more(after):
    now, _ = look({}, {CHAT: BAD}, 0)
    assert look(now, {CHAT: after}, 30) == ({}, [])  # a pending one that ends was never told
    now, _ = look(now, {CHAT: BAD}, 300)
    over, [change] = look(now, {CHAT: after}, 330)
    assert (over, change.fires, change.alert.value) == ({}, False, 0.5)
    again, changes = look(over, {CHAT: BAD}, 360)
    assert ([a.state for a in again.values()], changes) == ([PENDING], [])


def test_a_deployment_that_is_gone_has_no_alert():
    now, _ = look({}, {CHAT: BAD}, 0)
    now, _ = look(now, {CHAT: BAD}, 300)
    assert look(now, {}, 330)[0] == {}


@given(st.lists(st.sampled_from([BAD, GOOD, {}]), max_size=40))
def test_it_fires_exactly_when_every_look_of_its_time_was_bad(looks):
    now: Alerts = {}
    for number, figure in enumerate(looks):
        now, _ = look(now, {CHAT: figure}, 30.0 * number)
        span = looks[max(0, number - 10) : number + 1]
        fires = len(span) == 11 and all(one is BAD for one in span)
        assert (FIRING in [alert.state for alert in now.values()]) == fires


@pytest.mark.parametrize(
    ("rule", "value", "text"),
    [
        ("FiredeckSlowFirstToken", 0.3456, "346 ms, above 200 ms"),
        ("FiredeckUnderused", 0.125, "12.5 %, below 80 %"),
        ("FiredeckErrors", 0.002, "0.2 %, above 0.1 %"),
        ("FiredeckCostSpike", 1.5, "1.50 times, above 1.20 times"),
    ],
)
def test_values_are_told_with_their_threshold_in_peoples_units(rule, value, text):
    assert BY_NAME[rule].text(value) == text


@dataclass(frozen=True)
class Load:
    """What a deployment does every second, steadily. `slow` is the share of first tokens that take over 250 ms."""

    requests: float = 0.0
    failed: float = 0.0
    slow: float = 0.0
    computing: float = 0.0
    ready: int = 1
    drafted: float = 0.0
    accepted: float = 0.0


LOADS = {
    "nothing": (Load(), set()),
    "well": (Load(requests=5, computing=1.8, ready=2, drafted=10, accepted=9.5), set()),
    "slow": (Load(requests=5, slow=0.05), {"FiredeckSlowFirstToken"}),
    "slow for less than a hundredth": (Load(requests=5, slow=0.005), set()),
    "errors": (Load(requests=5, failed=0.1), {"FiredeckErrors"}),
    "one error in two thousand": (Load(requests=2, failed=0.001), set()),
    "two that do little": (Load(requests=1, computing=1.0, ready=2), {"FiredeckUnderused"}),
    "one that does little": (Load(requests=1, computing=0.1, ready=1), set()),
    "drafts in vain": (Load(requests=1, drafted=10, accepted=5), {"FiredeckLowAcceptance"}),
    "all at once": (
        Load(requests=5, failed=1, slow=0.5, ready=3, computing=0.3, drafted=10, accepted=1),
        {"FiredeckSlowFirstToken", "FiredeckErrors", "FiredeckUnderused", "FiredeckLowAcceptance"},
    ),
}
MINUTES = 45
EVERY_S = 30


@pytest.mark.parametrize(("load", "expected"), LOADS.values(), ids=LOADS.keys())
def test_the_engine_comes_to_this_verdict_of_a_steady_load(load: Load, expected: set[str]):
    kept, now = Readings(), {}
    for at in range(0, MINUTES * 60 + 1, EVERY_S):
        kept.add(reading(load, at))
        known = figures(kept, Beside(load.ready, float(load.ready), None))
        now, _ = look(now, {CHAT: known}, float(at))
    assert {alert.rule.name for alert in now.values() if alert.state == FIRING} == expected


def test_prometheus_comes_to_the_same_verdict_of_every_load(tmp_path: Path):
    groups = [group(series(load), f"{MINUTES}m", expected) for load, expected in LOADS.values()]
    assert_rules(tmp_path, groups)


@pytest.mark.parametrize(("growth", "fires"), [(1.1, False), (1.5, True)])
def test_prometheus_and_the_engine_agree_on_rising_costs(tmp_path: Path, growth: float, fires: bool):
    week, day = 7 * 24, 24
    cost = f'firedeck_cost_usd_total{{deployment="{CHAT}"}}'
    expected = {"FiredeckCostSpike"} if fires else set()
    values = f"0+1x{week * 4} {week * 4}+{growth}x{(day + 2) * 4}"
    assert_rules(tmp_path, [group({cost: values}, f"{week + day + 1}h", expected, every="15m")])
    now, _ = look({}, {CHAT: {"cost_growth": growth}}, 0)
    now, _ = look(now, {CHAT: {"cost_growth": growth}}, 3600)
    assert {alert.rule.name for alert in now.values()} == expected


def test_prometheus_does_not_take_a_first_day_or_a_free_one_for_a_rise_of_cost(tmp_path: Path):
    cost = f'firedeck_cost_usd_total{{deployment="{CHAT}"}}'
    new = group({cost: f"0+1x{26 * 4}"}, "26h", set(), every="15m")
    free = group({cost: f"0+0x{7 * 24 * 4} 0+1x{26 * 4}"}, f"{7 * 24 + 25}h", set(), every="15m")
    assert_rules(tmp_path, [new, free])


def reading(load: Load, at: int) -> Reading:
    totals = {
        "requests": load.requests * at, "requests_ended": load.requests * at, "requests_failed": load.failed * at,
        "replica_decode_seconds": load.computing * at, "replica_prefill_seconds": 0.0,
        "drafted_tokens": load.drafted * at, "accepted_tokens": load.accepted * at,
    }  # fmt: skip
    return Reading(float(at), totals, {}, {"ttft_seconds": ttft(load, at)})


def ttft(load: Load, at: int) -> Buckets:
    fast = load.requests * (1 - load.slow) * at
    return ((0.1, fast), (0.25, fast), (0.5, load.requests * at), (float("inf"), load.requests * at))


def series(load: Load) -> dict[str, str]:
    """The same as input of `promtool test rules`: a value each EVERY_S."""
    name, steps = f'deployment="{CHAT}"', MINUTES * 60 // EVERY_S
    rates = {
        f"firedeck_requests_total{{{name},code=\"200\"}}": load.requests - load.failed,
        f"firedeck_requests_total{{{name},code=\"502\"}}": load.failed,
        f"firedeck_requests_failed_total{{{name}}}": load.failed,
        f"firedeck_replica_decode_seconds_total{{{name}}}": load.computing,
        f"firedeck_replica_prefill_seconds_total{{{name}}}": 0.0,
        f"firedeck_replica_drafted_tokens_total{{{name},source=\"ngram\"}}": load.drafted,
        f"firedeck_replica_accepted_tokens_total{{{name},source=\"ngram\"}}": load.accepted,
    }  # fmt: skip
    for bound, a_second in ttft(load, 1):
        le = "+Inf" if bound == float("inf") else bound
        rates[f'firedeck_ttft_seconds_bucket{{{name},le="{le}"}}'] = a_second
    found = {each: f"0+{rate * EVERY_S:.9f}x{steps}" for each, rate in rates.items()}
    return found | {f'firedeck_replicas{{{name},stage="READY"}}': f"{load.ready}+0x{steps}"}


def group(values: dict[str, str], at: str, expected: set[str], every: str = f"{EVERY_S}s") -> dict[str, object]:
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    samples = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)]
    return {
        "interval": every,
        "input_series": [{"series": name, "values": text} for name, text in values.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": at, "exp_samples": samples}],
    }


def assert_rules(folder: Path, groups: list[dict[str, object]]) -> None:
    """`promtool test rules` on the shipped file. JSON is YAML."""
    every = str(groups[0]["interval"])
    test = {"rule_files": [str(FILE)], "evaluation_interval": every, "tests": groups}
    (folder / "test.yml").write_text(json.dumps(test))
    status, said = promtool("test", "rules", str(folder / "test.yml"))
    assert status == 0, said


def test_no_rule_has_a_figure_that_nobody_computes():
    kept = Readings()
    assert {rule.figure for rule in RULES} == figures(kept, Beside(0, None, None)).keys()
    assert set(figures(kept, Beside(0, None, None)).values()) == {None}
    assert alerts.look({}, {CHAT: figures(kept, Beside(0, None, None))}, 0) == ({}, [])
