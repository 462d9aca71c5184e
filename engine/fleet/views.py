"""What is seen from outside: keepers as wire types. No decisions, no side effects."""

from __future__ import annotations

import os
from datetime import datetime

from client.fleet_types import (
    AlertRule,
    AlertView,
    AutoscalerView,
    DeploymentStatus,
    EngineInfo,
    NodeView,
    Reason,
    TargetView,
)
from engine.clock import wall_at
from engine.control.alerts import FIRING, RULES, WARNING, Alert
from engine.fleet.conditions import QuotasOf, conditions
from engine.fleet.expiry import auto_delete_at
from engine.fleet.fleet import Fleet
from engine.fleet.keeper import Keeper
from engine.placement.port import Node
from engine.version import VERSION

SYNTHETIC_SEEN_S = 60.0


def engine_info(fleet: Fleet, started_at: datetime, *, whole: bool = True) -> EngineInfo:
    """The engine itself; `whole`: with what it is on its machine, its process and its folder."""
    now = fleet.rooms.clock.monotonic()
    seen = [k.meter.last_synthetic_at for k in fleet.keepers() if k.meter.last_synthetic_at is not None]
    return EngineInfo(
        version=VERSION,
        started_at=started_at,
        pid=os.getpid() if whole else None,
        data_dir=str(fleet.settings.data_dir) if whole else None,
        cores=fleet.hardware.cores,
        accelerators=fleet.hardware.accelerators,
        gpus=list(fleet.hardware.kinds),
        rehearsal=fleet.settings.rehearsal,
        synthetic_traffic=any(now - at < SYNTHETIC_SEEN_S for at in seen),
        simulated=fleet.rooms.driver.simulated,
    )


def status(fleet: Fleet, keeper: Keeper, quotas_of: QuotasOf, *, whole: bool = True) -> DeploymentStatus:
    """One deployment with its numbers, its replicas, the autoscaler's reasons and what holds it up; `whole`: with the
    processes of its replicas."""
    in_replicas = sum(r.report.body.get("running", 0) for r in keeper.replicas)
    return DeploymentStatus(
        deployment=keeper.deployment,
        stats=keeper.meter.stats(queue=keeper.queued(), running=in_replicas, serving=keeper.serves()),
        autoscaler=_autoscaler(fleet, keeper),
        replicas=[replica.view(keeper.replicas.obituaries.restarts, whole=whole) for replica in keeper.replicas],
        quarantined=keeper.suspects.quarantined(),
        conditions=conditions(keeper, fleet.rooms.clock, quotas_of),
        observed_update_time=keeper.observed_update_time,
        simulated=fleet.rooms.driver.simulated,
        speculation=keeper.chronicle.lately.speculation,
    )


def _autoscaler(fleet: Fleet, keeper: Keeper) -> AutoscalerView | None:
    decision = keeper.decision
    if decision is None or keeper.deleted:
        return None
    clock, next_change_at = fleet.rooms.clock, decision.next_change_at
    return AutoscalerView(
        desired=decision.desired,
        current=sum(r.stage == "READY" for r in keeper.replicas),
        reasons=[Reason(code=reason.code, text=reason.text) for reason in decision.reasons],
        targets=[
            TargetView(name=t.name, observed=t.observed, target=t.target, wanted=t.wanted) for t in decision.targets
        ],
        next_change_at=None if next_change_at is None else wall_at(clock, next_change_at),
        next_change=decision.next_change,
        auto_delete_at=auto_delete_at(keeper, clock.wall()),
    )


def alerts(fleet: Fleet, account: str | None, *, whole: bool = False) -> list[AlertView]:
    """Of what an account sees, or of all; those that fire first."""
    mine = {keeper.name for keeper in fleet.seen_by(account, whole=whole)}
    found = [_alert(fleet, alert) for alert in fleet.alerts.values() if alert.deployment in mine]
    return sorted(found, key=lambda a: (a.state != FIRING, a.severity != WARNING, a.deployment, a.name))


def _alert(fleet: Fleet, alert: Alert) -> AlertView:
    clock, rule = fleet.rooms.clock, alert.rule
    return AlertView(
        name=rule.name,
        deployment=alert.deployment,
        state=alert.state,
        severity=rule.severity,
        value=alert.value,
        threshold=rule.threshold,
        text=rule.text(alert.value),
        summary=rule.summary,
        action=rule.action,
        since=wall_at(clock, alert.since),
        fired_at=None if alert.fired_at is None else wall_at(clock, alert.fired_at),
    )


def alert_rules() -> list[AlertRule]:
    return [
        AlertRule(
            name=rule.name, expression=rule.expression, for_s=rule.for_s, severity=rule.severity,
            threshold=rule.threshold, summary=rule.summary, action=rule.action,
        )
        for rule in RULES
    ]  # fmt: skip


def nodes(fleet: Fleet) -> list[NodeView]:
    """The nodes that replicas are placed on, with what is free on them."""
    return [_node(node, simulated=fleet.rooms.driver.simulated) for node in fleet.rooms.driver.nodes()]


def _node(node: Node, *, simulated: bool) -> NodeView:
    return NodeView(
        name=node.name,
        region=node.region,
        device=node.device,
        accelerator_type=node.accelerator_type,
        accelerators=node.accelerators,
        free_accelerators=sum(room > 0 for room in node.free_device_bytes),
        memory_bytes=node.memory_bytes,
        free_memory_bytes=max(0, node.free_memory_bytes),
        free_threads=max(0, node.free_threads),
        price_per_hour=node.price_per_hour,
        closed=node.closed,
        simulated=simulated,
    )
