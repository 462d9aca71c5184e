"""A Fireworks account as a source: within its limits, and nothing guessed that it does not tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.config import Context
from client.http import Transport
from client.resources import Client
from tui.core import account_metrics, series, units
from tui.core.facts import Budget
from tui.core.plain import fleet_text
from tui.core.row import Row
from tui.sources.fireworks import FireworksSource

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHAT = "accounts/acme/deployments/chat"
LABELS = f'base_model="accounts/fireworks/models/m",deployment="{CHAT}",deployment_account="acme",deployment_id="chat"'
METRICS = f"""# HELP request_counter_total:sum_by_deployment Requests.
request_counter_total:sum_by_deployment{{{LABELS}}} 4.0
requests_error_total:sum_by_deployment{{{LABELS},http_code="429"}} 0.5
requests_error_total:sum_by_deployment{{{LABELS},http_code="500"}} 0.5
latency_to_first_token_ms_bucket:sum_by_deployment{{{LABELS},le="100"}} 2
latency_to_first_token_ms_bucket:sum_by_deployment{{{LABELS},le="200"}} 4
latency_to_first_token_ms_bucket:sum_by_deployment{{{LABELS},le="+Inf"}} 4
requests_coordinator_concurrent_count:avg_by_deployment{{{LABELS}}} 2.6
some_other{{deployment="{CHAT}"}} NaN
garbage
"""


class Account:
    """Answers as api.fireworks.ai does, and counts."""

    def __init__(self):
        self.now, self.metrics_asked, self.refuses, self.desired, self.state = START, 0, False, 1, "READY"
        self.metrics_status, self.metrics_text = 200, METRICS

    def __call__(self, request):
        if request.url.path.endswith("/metrics"):
            self.metrics_asked += 1
            if self.refuses:
                return httpx.Response(429, json={"code": 8, "message": "too many"}, headers={"retry-after": "42"})
            return httpx.Response(self.metrics_status, text=self.metrics_text)
        if "/firedeck/" in request.url.path:
            return httpx.Response(404, json={"code": 5, "message": "no such route"})
        if request.url.path.endswith("/users"):
            return httpx.Response(200, json={"users": [{"name": "accounts/acme/users/ada"}], "totalSize": 1})
        if request.url.path.endswith("/apiKeys"):
            return httpx.Response(200, json={"apiKeys": [{"keyId": "1", "prefix": "fw_"}], "totalSize": 1})
        chat = {"name": CHAT, "state": self.state, "desiredReplicaCount": self.desired, "replicaCount": 1}
        return httpx.Response(200, json={"deployments": [chat], "totalSize": 1})

    def source(self):
        context = Context(base_url="https://api.fireworks.ai", api_key="k", account="acme")
        transport = Transport(context.base_url, "k", transport=httpx.MockTransport(self))

        async def sleep(seconds):
            self.now += timedelta(seconds=seconds)

        return FireworksSource(Client(context, transport), lambda: self.now, sleep)


async def test_figures_come_from_the_metrics_and_what_they_lack_is_not_known():
    (status,) = (await Account().source().snapshot()).deployments
    row = Row(status)
    assert (row.rps, row.error_rate, row.running) == (4.0, 0.25, 3)
    assert (row.ttft_p50_ms, row.ttft_p95_ms) == (100.0, 190.0)
    assert (row.queue, row.tps) == (None, None), "the endpoint has neither: not zero"


async def test_what_is_never_told_is_not_exposed_and_what_may_come_is_no_data_yet():
    account = Account()
    source = account.source()
    text = fleet_text(await source.snapshot(), START, source.facts)
    assert text.splitlines()[0].startswith("firedeck, Fireworks, as of")
    (line,) = [line.split() for line in text.splitlines() if "chat" in line]
    assert line[5:10] == ["4.0", "n/e", "100ms", "190ms", "n/e"]
    assert "reasons are not exposed" in text
    history = await source.history(CHAT, 60)
    charts = {kind.key: series.chart(kind, history, 60) for kind in series.CHARTS}
    assert [key for key, chart in charts.items() if not chart.exposed] == ["tps"]
    assert [charts["load"].latest(line) for line in charts["load"].lines] == ["4", "n/e", "3"]
    account.metrics_text = ""
    account.now += timedelta(minutes=1)
    row = Row((await source.snapshot()).deployments[0], source.facts.hidden)
    assert row.told("ttft_p50_ms", units.milliseconds) == units.UNKNOWN
    account.metrics_status = 404
    account.now += timedelta(minutes=1)
    row = Row((await source.snapshot()).deployments[0], source.facts.hidden)
    assert {row.told(name, str) for name in ("rps", "ttft_p50_ms", "running")} == {units.NOT_EXPOSED}


async def test_within_ten_minutes_the_metrics_are_never_asked_more_than_they_may_be():
    account = Account()
    source = account.source()
    async for snapshot in source.watch():
        assert source.facts.used <= source.facts.limit
        if snapshot.time >= START + timedelta(minutes=10):
            break
    assert account.metrics_asked == 21, "one each 30 s, when they have new values"


async def test_a_refusal_is_waited_out_and_the_last_figures_stay():
    account = Account()
    source = account.source()
    await source.snapshot()
    account.refuses = True
    account.now += timedelta(seconds=30)
    (status,) = (await source.snapshot()).deployments
    assert status.stats.requests_per_second == 4.0
    assert source.facts.held_until == account.now + timedelta(seconds=42)
    asked = account.metrics_asked
    account.now += timedelta(seconds=41)
    await source.snapshot()
    assert account.metrics_asked == asked
    account.refuses = False
    account.now += timedelta(seconds=2)
    await source.snapshot()
    assert (account.metrics_asked, source.facts.held_until) == (asked + 1, None)


async def test_changes_that_are_seen_become_events_and_history_has_only_what_is_exposed():
    account = Account()
    source = account.source()
    await source.snapshot()
    account.desired, account.state = 3, "UPDATING"
    account.now += timedelta(seconds=10)
    await source.snapshot()
    told = [(event.reason, event.message) for event in await source.events(CHAT)]
    assert told == [("StateChanged", "READY -> UPDATING"), ("Scaled", "1 -> 3 replicas wanted")]
    history = await source.history(CHAT, 300)
    assert history.series["desired"] == [1, 3]
    assert "queue" not in history.series
    assert await source.validate_delete(CHAT) is False, "there is no dry run of it"
    assert source.facts.lacks["nodes"]


async def test_the_keys_are_those_of_the_users_that_are_shown():
    (found,) = await Account().source().api_keys()
    assert (found[0], found[1].prefix) == ("ada", "fw_")


def test_a_refusal_without_a_time_backs_off_ever_longer():
    budget, waits = Budget(6), []
    for _ in range(7):
        budget.refused(START)
        waits.append((budget.held_until - START).total_seconds())
    assert waits == [15, 30, 60, 120, 240, 300, 300]
    budget.answered()
    assert budget.may(START)


@given(st.lists(st.integers(0, 200), min_size=1, max_size=80))
def test_no_minute_has_more_requests_than_the_budget(gaps):
    budget, now, sent = Budget(6), START, []
    for gap in gaps:
        now += timedelta(seconds=gap / 10)
        if budget.may(now):
            budget.spend(now)
            sent.append(now)
    for first in sent:
        assert sum(first <= one < first + timedelta(minutes=1) for one in sent) <= 6


@pytest.mark.parametrize(
    ("buckets", "share", "value"),
    [
        ({100.0: 1.0, 200.0: 2.0, float("inf"): 2.0}, 0.5, 100.0),
        ({100.0: 0.0, 200.0: 4.0}, 0.25, 125.0),
        ({100.0: 1.0, float("inf"): 4.0}, 0.9, 100.0),
        ({100.0: 0.0, float("inf"): 0.0}, 0.5, None),
        ({}, 0.5, None),
    ],
)
def test_percentiles_are_as_fine_as_the_buckets(buckets, share, value):
    assert account_metrics.quantile(buckets, share) == value


@given(st.text(max_size=200))
def test_no_text_breaks_the_reading_of_metrics(text):
    account_metrics.read(text)
