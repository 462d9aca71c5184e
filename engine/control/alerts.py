"""When something is wrong enough to tell people: one table of rules, and how alerts begin, fire and end. Pure.

    RULES (figure, PromQL, threshold, how long) -> look(alerts, figures, now) -> alerts, changes
                                                -> rules_file(): the same rules for a Prometheus server

A rule compares one figure of a deployment with a threshold. The figure is given twice: by the name under which the
engine computes it from its own readings, and as PromQL over what `/metrics` exports. States are Prometheus': an alert
whose condition holds is pending, and firing once it has held for `for_s`; it ends when the condition does not hold, or
when its figure is not known any more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

WARNING, INFO = "warning", "info"
PENDING, FIRING = "PENDING", "FIRING"

_READY = 'sum by (deployment) (firedeck_replicas{stage="READY"})'
_READY_MEAN = 'sum by (deployment) (avg_over_time(firedeck_replicas{stage="READY"}[5m]))'


@dataclass(frozen=True, slots=True)
class Rule:
    """`beyond` says on which side of `threshold` it is wrong. `unit`: s, share (0 to 1), or ratio."""

    name: str
    figure: str
    promql: str
    beyond: Literal[">", "<"]
    threshold: float
    unit: Literal["s", "share", "ratio"]
    for_s: float
    severity: str
    summary: str
    action: str

    @property
    def expression(self) -> str:
        return f"({self.promql}) {self.beyond} {self.threshold:g}"

    def holds(self, value: float | None) -> bool:
        """Whether it is wrong; what is not known is not."""
        if value is None:
            return False
        return value > self.threshold if self.beyond == ">" else value < self.threshold

    def text(self, value: float) -> str:
        """A value beside its threshold, for people."""
        side = "above" if self.beyond == ">" else "below"
        return f"{_shown(value, self.unit)}, {side} {_shown(self.threshold, self.unit)}"


# The thresholds are the product's (P99 latency, utilisation, error rate, rising cost, acceptance).
RULES = (
    Rule(
        "FiredeckSlowFirstToken", "ttft_p99_s",
        "histogram_quantile(0.99, sum by (deployment, le) (rate(firedeck_ttft_seconds_bucket[5m])))",
        ">", 0.2, "s", 300, WARNING, "the 99th percentile of the time to the first token",
        "scale up: more replicas, or a higher maximum",
    ),
    Rule(
        "FiredeckUnderused", "utilisation",
        "sum by (deployment) (rate(firedeck_replica_decode_seconds_total[5m])"
        f" + rate(firedeck_replica_prefill_seconds_total[5m])) / {_READY_MEAN} and {_READY} > 1",
        "<", 0.8, "share", 1800, INFO, "the part of their time in which several replicas compute",
        "consolidate: fewer replicas, or a lower minimum",
    ),
    Rule(
        "FiredeckErrors", "error_rate",
        "sum by (deployment) (rate(firedeck_requests_failed_total[5m]))"
        " / sum by (deployment) (rate(firedeck_requests_total[5m]))",
        ">", 0.001, "share", 300, WARNING, "the part of requests that fail by no fault of the client",
        "take back the last change or adapter",
    ),
    Rule(
        "FiredeckCostSpike", "cost_growth",
        "sum by (deployment) (increase(firedeck_cost_usd_total[1d]))"
        " / (sum by (deployment) (increase(firedeck_cost_usd_total[1d] offset 1w)) > 0)",
        ">", 1.2, "ratio", 3600, WARNING, "the cost of the last 24 hours by that of the same a week before",
        "see firedeck usage; lower the maximum, or set monthly-spend-usd",
    ),
    Rule(
        "FiredeckLowAcceptance", "acceptance",
        "sum by (deployment) (rate(firedeck_replica_accepted_tokens_total[10m]))"
        " / sum by (deployment) (rate(firedeck_replica_drafted_tokens_total[10m]))",
        "<", 0.9, "share", 600, INFO, "the part of drafted tokens that are accepted",
        "draft fewer tokens, or with another draft model",
    ),
)  # fmt: skip
BY_NAME = {rule.name: rule for rule in RULES}

Key = tuple[str, str]  # rule, deployment
Figures = Mapping[str, Mapping[str, float | None]]  # by deployment, by Rule.figure


@dataclass(frozen=True, slots=True)
class Alert:
    """A condition that holds. Instants are seconds on the caller's axis; `fired_at` is None while it is pending."""

    rule: Rule
    deployment: str
    value: float
    since: float
    fired_at: float | None = None

    @property
    def state(self) -> str:
        return PENDING if self.fired_at is None else FIRING


Alerts = Mapping[Key, Alert]


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that began to fire, or that fired and has ended."""

    alert: Alert
    fires: bool


def look(former: Alerts, figures: Figures, now: float) -> tuple[Alerts, list[Change]]:
    """The alerts by the figures of this moment, and what has changed for those who are told."""
    alerts = {
        (rule.name, deployment): _held(former.get((rule.name, deployment)), rule, deployment, value, now)
        for deployment, known in figures.items()
        for rule in RULES
        if (value := known.get(rule.figure)) is not None and rule.holds(value)
    }
    fired = [Change(alert, True) for alert in alerts.values() if alert.fired_at == now]
    ended = [Change(alert, False) for key, alert in former.items() if alert.fired_at is not None and key not in alerts]
    return alerts, fired + ended


def _held(former: Alert | None, rule: Rule, deployment: str, value: float, now: float) -> Alert:
    alert = replace(former, value=value) if former else Alert(rule, deployment, value, now)
    due = alert.fired_at is None and now - alert.since >= rule.for_s
    return replace(alert, fired_at=now) if due else alert


def rules_file() -> str:
    """The table as a Prometheus rules file (YAML, in which strings of JSON are strings)."""
    lines = ["# Made from the table in engine/control/alerts.py, for a Prometheus server that scrapes /metrics."]
    lines += ["groups:", "  - name: firedeck", "    rules:"]
    for rule in RULES:
        lines += [
            f"      - alert: {rule.name}",
            f"        expr: {json.dumps(rule.expression)}",
            f"        for: {rule.for_s:.0f}s",
            f"        labels: {{severity: {rule.severity}}}",
            "        annotations:",
            f"          summary: {json.dumps('{{ $labels.deployment }}: ' + rule.summary + _TOLD[rule.unit])}",
            f"          description: {json.dumps(rule.action)}",
        ]
    return "\n".join(lines) + "\n"


_TOLD = {
    "s": " is {{ $value | humanizeDuration }}",
    "share": " is {{ $value | humanizePercentage }}",
    "ratio": ' is {{ $value | printf "%.2f" }} times as much',
}


def _shown(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.0f} ms"
    return f"{value * 100:.3g} %" if unit == "share" else f"{value:.2f} times"
