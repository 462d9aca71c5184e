"""What a simulated fleet is made of, read from a TOML file: nodes, stockouts, outages, speeds, nominal models.

seed = 7                           # of everything that is drawn; the same seed, the same fleet
start_delay = "20s"                # from placement to ready, give or take `start_spread` of it
start_spread = 0.3

[[node]]
name = "iowa"                      # with count = 4: iowa-1 to iowa-4
count = 4
region = "US_IOWA_1"
accelerator_type = "NVIDIA_H100_80GB"
accelerators = 8
memory = "1024GiB"                 # of the machine; that of an accelerator follows from its type
threads = 96
price_per_hour = 24.5
preemptions_per_day = 0.5          # of each replica, on the mean

[[stockout]]                       # nothing is placed there; what runs, runs on. [[outage]]: what runs there ends
accelerator_type = "NVIDIA_H100_80GB"   # all of accelerator_type, region and node may be left out
from = "10m"                       # since the simulation began; it goes on after a kill, and a clean end ends it
until = "25m"
every = "2h"                       # again and again; left out: once

[latency]                          # of all replicas; [latency.NVIDIA_H100_80GB] of those on such nodes
first_token = "60ms"
prompt_tokens_per_second = 8000
tokens_per_second = 60             # of one sequence alone
slowdown = 0.04                    # of each token for every other sequence that runs beside it
spread = 0.1

[[model]]                          # a model without a file, to size deployments with
id = "simulated-70b"
size = "141GB"
layers = 80
kv_heads = 8
head_size = 128
embedding = 8192
feed_forward = 28672
vocabulary = 128256
context_length = 131072
precisions = ["FP16", "FP8"]        # what deployments may ask for; left out: none by name
parameters = 70e9                  # what its price may follow from; left out: not known
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from client import durations
from client.errors import FiredeckError, InvalidArgument
from client.types import ACCELERATOR_TYPES, PRECISIONS, REGIONS
from engine.placement.port import REGION_UNSPECIFIED
from engine.placement.simulated.table import Table

NODES_MAX = 100_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Latency:
    """How fast a simulated replica answers; see the module for the fields. `spread` is a share, either way."""

    first_token_s: float = 0.06
    prompt_tokens_per_second: float = 8000.0
    tokens_per_second: float = 60.0
    slowdown: float = 0.04
    spread: float = 0.1


@dataclass(frozen=True, slots=True)
class VirtualNode:
    name: str
    region: str = REGION_UNSPECIFIED
    accelerator_type: str | None = None
    accelerators: int = 0
    accelerator_bytes: int = 0
    memory_bytes: int = 256 << 30
    threads: int = 64
    price_per_hour: float = 0.0
    preemptions_per_day: float = 0.0


@dataclass(frozen=True, slots=True)
class Closure:
    """A stockout, or with `fatal` an outage: from `from_s` to `until_s` since the start, again every `every_s`."""

    from_s: float
    until_s: float
    fatal: bool
    every_s: float | None = None
    accelerator_type: str | None = None
    region: str | None = None
    node: str | None = None

    def concerns(self, node: VirtualNode) -> bool:
        return (
            self.accelerator_type in (None, node.accelerator_type)
            and self.region in (None, node.region)
            and (self.node is None or node.name == self.node or node.name.rpartition("-")[0] == self.node)
        )

    def holds(self, now: float) -> bool:
        at = now % self.every_s if self.every_s else now
        return self.from_s <= at < self.until_s

    def next_begin(self, now: float) -> float | None:
        """The first instant from `now` on at which it begins, or `now` while it holds; None: never again."""
        if self.holds(now):
            return now
        if self.every_s is None:
            return self.from_s if now < self.from_s else None
        begin = now - now % self.every_s + self.from_s
        return begin if now < begin else begin + self.every_s


@dataclass(frozen=True, slots=True)
class NominalModel:
    """A model's dimensions, without a file; fields as in `engine.models.dimensions`. `precisions`: what it counts as
    prepared in, `parameters` 0 where that is not known."""

    id: str
    size_bytes: int
    layers: int
    kv_heads: int
    head_size: int
    embedding: int
    feed_forward: int
    vocabulary: int
    context_length: int
    precisions: tuple[str, ...] = ()
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class World:
    nodes: tuple[VirtualNode, ...]
    seed: int = 0
    start_delay_s: float = 10.0
    start_spread: float = 0.2
    closures: tuple[Closure, ...] = ()
    latency: Mapping[str | None, Latency] = field(default_factory=lambda: {None: Latency()})
    models: tuple[NominalModel, ...] = ()

    def latency_of(self, accelerator_type: str | None) -> Latency:
        return self.latency.get(accelerator_type) or self.latency[None]


def read(file: Path) -> World:
    """The world of a TOML file; InvalidArgument names the key at fault."""
    try:
        return parse(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidArgument(f"{file} cannot be read: {why}", field="simulate") from None
    except FiredeckError as error:
        raise InvalidArgument(f"{file}: {error.message}", field="simulate", hint=error.hint) from None


def parse(text: str) -> World:
    try:
        top = Table(tomllib.loads(text), "the file")
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"it is not TOML: {error}") from None
    nodes = tuple(node for table in top.tables("node") for node in _nodes(table))
    if not 0 < len(nodes) <= NODES_MAX or len({node.name for node in nodes}) < len(nodes):
        raise InvalidArgument(f"it must name 1 to {NODES_MAX} nodes, each once", hint="write [[node]] and name = ...")
    closures = [
        _closure(t, fatal=fatal) for key, fatal in (("stockout", False), ("outage", True)) for t in top.tables(key)
    ]
    _check_concerned(closures, nodes)
    world = World(
        nodes=nodes,
        seed=int(top.number("seed", 0)),
        start_delay_s=top.seconds("start_delay", 10.0),
        start_spread=top.number("start_spread", 0.2, most=1.0),
        closures=tuple(closures),
        latency=_latencies(top.table("latency")),
        models=tuple(_model(table) for table in top.tables("model")),
    )
    top.nothing_else()
    return world


def _nodes(table: Table) -> list[VirtualNode]:
    name, count = table.text("name"), int(table.number("count", 1, NODES_MAX))
    if name is None:
        raise table.bad("name", "is missing")
    if not _NAME.fullmatch(name):
        raise table.bad("name", f"is {name!r:.60}: it must be letters, digits, '.', '_' and '-', 63 at most")
    kind = table.text("accelerator_type", ACCELERATOR_TYPES[1:])
    node = VirtualNode(
        name=name,
        region=table.text("region", REGIONS) or REGION_UNSPECIFIED,
        accelerator_type=kind,
        accelerators=int(table.number("accelerators", 8 if kind else 0, 1024)),
        accelerator_bytes=_memory_of(kind),
        memory_bytes=table.size("memory", 256 << 30),
        threads=int(table.number("threads", 64, 4096)),
        price_per_hour=table.number("price_per_hour", 0.0),
        preemptions_per_day=table.number("preemptions_per_day", 0.0),
    )
    table.nothing_else()
    if node.accelerators and kind is None:
        raise table.bad("accelerators", f"is {node.accelerators}, of no accelerator_type: say of which")
    facts = {one.name: getattr(node, one.name) for one in fields(node)}
    names = [name] if count == 1 else [f"{name}-{n}" for n in range(1, count + 1)]
    return [VirtualNode(**{**facts, "name": one}) for one in names]


def _check_concerned(closures: Sequence[Closure], nodes: Sequence[VirtualNode]) -> None:
    """One that concerns no node would never take effect: a typo."""
    for one in closures:
        if not any(one.concerns(node) for node in nodes):
            told = {"node": one.node, "region": one.region, "accelerator_type": one.accelerator_type}
            said = ", ".join(f"{key} = {value!r:.60}" for key, value in told.items() if value)
            table = "outage" if one.fatal else "stockout"
            raise InvalidArgument(f"[[{table}]] of {said} concerns no node", field=table, hint="name what a node has")


def _memory_of(kind: str | None) -> int:
    """The wire's types end with their memory: NVIDIA_H100_80GB."""
    return int(kind.rpartition("_")[2].removesuffix("GB")) * 10**9 if kind else 0


def _closure(table: Table, *, fatal: bool) -> Closure:
    every = table.text("every")
    closure = Closure(
        from_s=table.seconds("from", 0.0),
        until_s=table.seconds("until"),
        fatal=fatal,
        every_s=durations.parse(every, "every").total_seconds() if every else None,
        accelerator_type=table.text("accelerator_type", ACCELERATOR_TYPES),
        region=table.text("region", REGIONS),
        node=table.text("node"),
    )
    table.nothing_else()
    if closure.until_s <= closure.from_s or (closure.every_s is not None and closure.every_s < closure.until_s):
        raise table.bad("until", "must come after `from`, and not after `every`")
    return closure


def _latencies(table: Table) -> dict[str | None, Latency]:
    kinds = [key for key in table.keys() if key in ACCELERATOR_TYPES]  # noqa: SIM118 - no mapping
    special = {kind: table.table(kind) for kind in kinds}
    return {None: _latency(table), **{kind: _latency(one) for kind, one in special.items()}}


def _latency(table: Table) -> Latency:
    usual = Latency()
    latency = Latency(
        first_token_s=table.seconds("first_token", usual.first_token_s),
        prompt_tokens_per_second=table.number("prompt_tokens_per_second", usual.prompt_tokens_per_second),
        tokens_per_second=table.number("tokens_per_second", usual.tokens_per_second),
        slowdown=table.number("slowdown", usual.slowdown),
        spread=table.number("spread", usual.spread, most=1.0),
    )
    table.nothing_else()
    if not latency.prompt_tokens_per_second or not latency.tokens_per_second:
        raise table.bad("tokens_per_second", "must be more than 0")
    return latency


def _model(table: Table) -> NominalModel:
    name = table.text("id")
    if name is None or not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        raise table.bad("id", "must be lower-case letters, digits and -")
    counts = ("layers", "kv_heads", "head_size", "embedding", "feed_forward", "vocabulary", "context_length")
    model = NominalModel(
        id=name,
        size_bytes=table.size("size"),
        precisions=table.texts("precisions", PRECISIONS),
        parameters=int(table.number("parameters", 0)),
        **{key: int(table.number(key, most=1e9)) for key in counts},
    )
    table.nothing_else()
    return model
