"""A planned change, before anything is sent: what will differ, the same as a command, whom it touches, what is wrong.

Pure: made from the form's texts and the snapshot, shown by the dialogs, carried out by `tui.executor`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from client import durations
from client.conditions import CAPACITY_LIMITED
from client.errors import FiredeckError
from client.names import check_id
from client.router_types import RouterShiftSpec
from client.types import UNDELETE_WITHIN, AutoscalingPolicy, Deployment, DeploymentSpec
from tui.core import units
from tui.core.form import MAX_REPLICAS, Fields, Form, Problem, read_spec, whole
from tui.core.placed import context_of, join, plain
from tui.core.row import ready_count

if TYPE_CHECKING:
    from client.fleet_types import DeploymentStatus

# Of a deployment; the last four of a router and of an adapter.
Verb = Literal["create", "scale", "update", "delete", "undelete", "shift", "roll_back", "load", "unload"]
UNSET = "(default)"


@dataclass(frozen=True, slots=True)
class Change:
    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about one change. `seen_state` and `seen_created` pin the deployment that the user looked at."""

    verb: Verb
    target: str
    changes: tuple[Change, ...]
    command: str
    blast: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    spec: DeploymentSpec | None = None
    replica_count: int | None = None
    seen_state: str | None = None
    seen_created: datetime | None = None
    ignore_checks: bool = False
    model: str = ""  # the adapter that is loaded or taken off
    place: str = ""  # of several contexts that in which something is made, which has no name yet
    on: str = ""  # the deployment of an adapter that is taken off
    shift: RouterShiftSpec | None = None

    @property
    def context(self) -> str:
        """Where it is sent, of several contexts."""
        return context_of(self.target) or self.place

    @property
    def id(self) -> str:
        return self.target.rpartition("/")[2]

    @property
    def named(self) -> str:
        """What is typed in production to show that it is meant: the id of the deployment that changes, of a router its
        own; empty where none is meant yet."""
        return (self.on or self.target).rpartition("/")[2]

    @property
    def sent(self) -> tuple[object, ...]:
        """What the server gets of it: two plans that agree in this get the same answer."""
        asked = self.spec, self.replica_count, self.ignore_checks, self.shift
        return self.verb, self.context, self.target, *asked, self.problems

    @property
    def ready(self) -> bool:
        """It can be sent: nothing is wrong and something differs."""
        return not self.problems and bool(self.changes)


def create(form: Form, existing: Iterable[str], account: str, context: str = "") -> Plan:
    """A new deployment. `existing` are the full names there already; the id may be empty (the server picks one).
    `context`: of several the one that it is made in."""
    fields = Fields(form)
    model, deployment_id = fields.text("base_model"), fields.text("deployment_id")
    if model is None:
        fields.refuse("base_model", "choose a model")
    if deployment_id is not None:
        fields.parsed("deployment_id", lambda text: check_id(text, "the id"))
    target = join(context, f"accounts/{account}/deployments/{deployment_id}") if deployment_id else ""
    if target in set(existing):
        fields.refuse("deployment_id", "is taken already")
    spec = read_spec(fields)
    if model is not None:
        spec.base_model = model
    changes = (Change("id", "", deployment_id or "(by the server)"), *_differences(None, spec))
    command = ["firedeck", "deployment", "create", model or "MODEL"]
    command += ["--deployment-id", deployment_id] if deployment_id else []
    planned = Plan("create", target, changes, _command([*command, *flags(spec)]), (), tuple(fields.problems), spec)
    return replace(planned, place=context)


def scale(status: DeploymentStatus, form: Form) -> Plan:
    fields, deployment = Fields(form), status.deployment
    wanted = fields.parsed("replica_count", whole(0, MAX_REPLICAS))
    if fields.text("replica_count") is None:
        fields.refuse("replica_count", "how many replicas?")
    if wanted is not None and deployment.max_replica_count is not None and wanted > deployment.max_replica_count:
        fields.refuse("replica_count", f"the maximum is {deployment.max_replica_count}; raise it first (edit)")
    before = deployment.desired_replica_count
    changes = (Change("replicas", units.count(before), str(wanted)),) if wanted not in (None, before) else ()
    count = "N" if wanted is None else str(wanted)
    command = _command(["firedeck", "deployment", "scale", deployment.id, "--replica-count", count])
    blast = (*_scale_effect(status, wanted), *traffic(status))
    plan = Plan("scale", deployment.name, changes, command, blast, tuple(fields.problems), None, wanted)
    return _pinned(status, plan)


def update(status: DeploymentStatus, form: Form) -> Plan:
    """Only what the form changes against the deployment as it stands; an emptied field stays as it is."""
    fields, deployment = Fields(form), status.deployment
    spec = _only_changed(deployment, read_spec(fields))
    changes = tuple(_differences(deployment, spec))
    names = {change.field.replace(" ", "_") for change in changes}
    command = _command(["firedeck", "deployment", "update", deployment.id, *flags(spec, names)])
    return _pinned(
        status, Plan("update", deployment.name, changes, command, traffic(status), tuple(fields.problems), spec)
    )


def _only_changed(deployment: Deployment, wanted: DeploymentSpec) -> DeploymentSpec:
    """The fields that differ. The policy is one field on the wire: its other parts are sent as they are."""
    given = {name: getattr(wanted, name) for name in wanted.model_fields_set}
    policy, old = given.pop("autoscaling_policy", None), deployment.autoscaling_policy or AutoscalingPolicy()
    changed = {name: value for name, value in given.items() if getattr(deployment, name) != value}
    if policy is not None:
        parts = {name: getattr(policy, name) for name in policy.model_fields_set}
        if policy.load_targets:
            parts["load_targets"] = _replaced_first(old.load_targets or {}, policy.load_targets)
        merged = old.model_copy(update=parts)
        if merged != old:
            changed["autoscaling_policy"] = merged
    return DeploymentSpec.model_construct(set(changed), **changed)


def _replaced_first(old: dict[str, float], shown: dict[str, float]) -> dict[str, float]:
    """The form shows the first load target only: it takes that one's place, the others stay."""
    rest = dict(list(old.items())[1:])
    return {**shown, **{name: value for name, value in rest.items() if name not in shown}}


def delete(
    status: DeploymentStatus, now: datetime, adapters: Sequence[str] | None = (), *, ignore_checks: bool = False
) -> Plan:
    """`adapters` are those on it by their ids, None while that is not known. `ignore_checks`: although the server said
    that it is in use, and the user has read that."""
    deployment, ready = status.deployment, ready_count(status)
    changes = [Change("deployment", deployment.state, "deleted"), Change("replicas", units.count(ready), "0")]
    if adapters is None:
        changes.append(Change("adapters", units.UNKNOWN, "unloaded"))
    elif adapters:
        changes.append(Change("adapters", ", ".join(adapters), "unloaded"))
    stop = (f"{ready} ready replica{'s' if ready != 1 else ''} will be drained and stopped",) if ready else ()
    note = f"undelete brings all of it back until {units.day(now + UNDELETE_WITHIN)}"
    command = _command(["firedeck", "deployment", "delete", deployment.id, *(["--ignore-checks"] * ignore_checks)])
    blast = (*traffic(status), f"new requests to {deployment.id} will be refused", *stop, note)
    planned = Plan("delete", deployment.name, tuple(changes), command, blast)
    return _pinned(status, replace(planned, ignore_checks=ignore_checks))


def refused_as_in_use(plan: Plan, error: FiredeckError) -> bool:
    """The server's check said no to a delete, and would obey if told to ignore it."""
    return plan.verb == "delete" and not plan.ignore_checks and "ignoreChecks" in error.text


def in_use(plan: Plan, error: FiredeckError) -> Problem:
    """That refusal without the API's names and switches: the button does what its hint says."""
    why = error.text.rpartition(" (")[0].replace(f"deployment {plain(plan.target)!r}", plan.id)
    return Problem("", f"{why}; nothing was deleted yet")


def undelete(status: DeploymentStatus) -> Plan:
    deployment = status.deployment
    gone = deployment.state in ("DELETING", "DELETED")  # the way there takes a moment: replicas are drained
    problems = () if gone else (Problem("", f"{deployment.id} is not deleted"),)
    command = _command(["firedeck", "deployment", "undelete", deployment.id])
    changes = (Change("state", deployment.state, "READY"),)
    return replace(_pinned(status, Plan("undelete", deployment.name, changes, command, (), problems)), seen_state=None)


def traffic(status: DeploymentStatus) -> tuple[str, ...]:
    """Whom a change touches right now, from the snapshot."""
    stats = status.stats
    busy = stats.running + stats.queue
    if not busy and not stats.requests_per_second:
        return ("no requests in flight",)
    return (f"{stats.running} in flight, {stats.queue} waiting, {units.rate(stats.requests_per_second)} req/s now",)


def _scale_effect(status: DeploymentStatus, wanted: int | None) -> tuple[str, ...]:
    ready = ready_count(status)
    if wanted is None or ready is None:
        return ()
    deployment = status.deployment
    least = deployment.min_replica_count
    below = (f"below the minimum of {least}: the autoscaler will bring it back",) if least and wanted < least else ()
    if wanted < ready:
        return (f"{ready - wanted} of {ready} ready replicas will be drained and stopped", *below)
    asked = max(ready, deployment.desired_replica_count or 0)  # what has been asked for is started without this change
    more = (f"{_replicas(wanted - asked)} will be started and loaded",) if wanted > asked else ()
    short = _no_room(status, wanted)
    if short:
        return (f"{wanted} replicas wanted, no room for {short} of them now: asked for until there is", *below)
    return (*more, *below)


def _replicas(count: int) -> str:
    return f"{count} more replica{'s' if count != 1 else ''}"


def _no_room(status: DeploymentStatus, wanted: int) -> int:
    """How many of so many replicas the stockout leaves without a place; 0 while there is none."""
    found = [wanted - (one.placed or 0) for one in status.conditions if one.type == CAPACITY_LIMITED]
    return max([0, *found])


def _pinned(status: DeploymentStatus, plan: Plan) -> Plan:
    return replace(plan, seen_state=status.deployment.state, seen_created=status.deployment.create_time)


def flat(spec: DeploymentSpec) -> dict[str, str]:
    """The fields a user sets here, in wire spelling, as texts; only those that are set."""
    policy = spec.autoscaling_policy or AutoscalingPolicy()
    shown: dict[str, Any] = {"model": spec.base_model.rpartition("/")[2] if spec.base_model else None}
    shown |= {name: getattr(spec, name) for name in ("precision", "min_replica_count", "max_replica_count")}
    windows = {name: getattr(policy, name) for name in _WINDOWS}
    shown |= {name: units.short_duration(durations.to_go(v)) for name, v in windows.items() if v is not None}
    shown["load_targets"] = ", ".join(f"{n}={units.exact(v)}" for n, v in (policy.load_targets or {}).items()) or None
    shown["cold_policy"] = spec.firedeck.cold_policy if spec.firedeck else None
    return {name: str(value) for name, value in shown.items() if value not in (None, "PRECISION_UNSPECIFIED")}


_WINDOWS = ("scale_up_window", "scale_down_window", "scale_to_zero_window")


def flags(spec: DeploymentSpec, names: set[str] | None = None) -> list[str]:
    """The same as command-line flags of `firedeck deployment create` and `update`; `names` limits them."""
    found: list[str] = []
    for name, value in flat(spec).items():
        if name != "model" and (names is None or name in names):
            found += [f"--{name.replace('_', '-')}", value]
    return found


def _differences(before: Deployment | None, after: DeploymentSpec) -> Iterable[Change]:
    old = flat(before) if before is not None else {}
    for name, value in flat(after).items():
        if old.get(name) != value:
            yield Change(name.replace("_", " "), old.get(name, "" if before is None else UNSET), value)


def filled_in(plan: Plan, answer: Deployment) -> tuple[Change, ...]:
    """What the server's dry run adds to the plan: the defaults it would set."""
    given = flat(plan.spec) if plan.spec else {}
    return tuple(
        Change(name.replace("_", " "), "", f"{value} {UNSET}")
        for name, value in flat(answer).items()
        if name not in given
    )


def _command(words: list[str]) -> str:
    return shlex.join(words)


def refused_by_server(error: FiredeckError) -> Problem:
    """The server's error at the form field it names (`minReplicaCount`, `autoscaling_policy.scale_up_window`)."""
    field = (error.field or "").rpartition(".")[2]
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in field)
    known = {"load_targets": "load_target_value", "load_target": "load_target_value"}
    return Problem(known.get(snake, snake), error.text)
