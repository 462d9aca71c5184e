"""`make bench`: this machine's figures, each beside what it should be compared with, measured turn about in one run.

The peer is llama-server, built once from the source that our llama.cpp bindings carry. Nothing is asserted.
    python -m tests.bench --only unrelated,shared --quick
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from tests.bench import (
    dashboard,
    footprint,
    gateway,
    listing,
    load,
    painting,
    peer,
    reconcile,
    routing,
    speculation,
    throughput,
    wake,
    watching,
)
from tests.bench.autoscaling import report as autoscaling
from tests.bench.measure import Bench
from tests.bench.rows import NotMeasured, Rows, told
from tests.bench.servers import ROOT, NotServed, Starter

Part = Callable[[Bench], Awaitable[Rows]]
PARTS: dict[str, Part] = {
    "unrelated": throughput.unrelated,
    "shared": throughput.shared,
    "single": throughput.single,
    "adapters": throughput.adapters,
    "predicted": speculation.predicted,
    "harmless": speculation.harmless,
    "startup": footprint.startup,
    "wake": wake.wake,
    "memory": footprint.memory,
    "widths": throughput.widths,
}
TABLES: dict[str, Callable[[], Awaitable[None]]] = {  # these print tables of their own
    "dashboard": dashboard.main,
    "gateway": gateway.main,
    "load": load.main,
    "painting": painting.main,
    "listing": listing.main,
    "reconcile": reconcile.main,
    "routing": routing.main,
    "watching": watching.main,
}
QUICKER: dict[str, Callable[[], Awaitable[None]]] = {"dashboard": dashboard.quickly, "painting": painting.quickly}
AUTOSCALE = "autoscale"  # its table needs neither a model nor a peer
ON_GPU_ONLY = frozenset({"widths"})
ROUNDS, QUICK_ROUNDS = 4, 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help=f"parts, with commas: {', '.join([*PARTS, *TABLES, AUTOSCALE])}")
    parser.add_argument("--quick", action="store_true", help="few rounds, few variants")
    parser.add_argument("--rounds", type=int, help="of each comparison")
    parser.add_argument("--threads", default="1,2", help="CPU threads of both servers, with commas")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"), help="where the figures go")
    parser.add_argument("--traces", type=Path, default=_folder(), help="autoscale: where published traces lie")
    parser.add_argument("--costs", type=Path, help="autoscale: a costs.json that replicas have left in a data folder")
    parser.add_argument("--start", type=float, default=autoscaling.START_S, help="autoscale: seconds a replica starts")
    parser.add_argument("--tree", type=Path, default=ROOT, help="a checkout whose replica is measured")
    options = parser.parse_args()
    options.only = [name for name in options.only.split(",") if name]
    if unknown := set(options.only) - {*PARTS, *TABLES, AUTOSCALE}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return options


def _folder() -> Path | None:
    folder = os.environ.get("FIREDECK_BENCH_TRACES")
    return Path(folder) if folder else None


def _machine(gpu: bool) -> dict[str, object]:
    names = (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name"))
    return {
        "host": platform.node(),
        "cpu": next(names, platform.processor() or platform.machine()),
        "cores": os.cpu_count(),
        "gpu_build": gpu,
        "load_before": os.getloadavg()[0],
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


async def _measure(bench: Bench, names: list[str], rows: Rows) -> None:
    """Append each part's rows as it ends, so that an interruption keeps what was measured."""
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            rows += await PARTS[name](bench)
        except (peer.NoPeer, NotServed, TimeoutError) as why:
            rows.append(NotMeasured(name, str(why) or type(why).__name__))


def _peer(gpu: bool) -> Path | peer.NoPeer:
    try:
        return peer.binary(gpu=gpu)
    except peer.NoPeer as why:
        return why


def _rows(options: argparse.Namespace, parts: list[str], *, gpu: bool) -> Rows:
    """Measure the parts; Ctrl-C leaves it at those that have ended."""
    rows: Rows = []
    with tempfile.TemporaryDirectory(prefix="fdbench-") as folder:
        starter = Starter(_peer(gpu), Path(folder), options.tree.resolve())
        threads = [int(count) for count in options.threads.split(",")][: 1 if options.quick or gpu else None]
        rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
        bench = Bench(starter, rounds, threads, options.quick, gpu)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_measure(bench, parts, rows))
        except KeyboardInterrupt:
            rows.append(NotMeasured("the rest", "interrupted"))
    return rows


async def _table(part: Callable[[], Awaitable[None]]) -> None:
    await part()


def main() -> None:
    options = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # no server may outlive this process
    if options.only == [AUTOSCALE]:  # needs neither a model nor a peer
        autoscaling.main(options.traces, options.costs, options.start, quick=options.quick)
        return
    gpu = peer.offloads()
    machine = _machine(gpu)
    wanted = options.only or [name for name in (*PARTS, *TABLES, AUTOSCALE) if gpu or name not in ON_GPU_ONLY]
    parts = [name for name in wanted if name in PARTS]
    print(f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_before']:.1f}, {machine['host']}\n")
    if parts:
        rows = _rows(options, parts, gpu=gpu)
        print(told(rows))
        machine["load_after"] = os.getloadavg()[0]
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"machine": machine, "rows": [row.as_data() for row in rows]}, indent=2))
        print(f"\nload {machine['load_after']:.1f} at the end; figures in {options.json}\n")
    for name in wanted:
        if name in TABLES:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_table((QUICKER if options.quick else TABLES).get(name, TABLES[name])))
    if AUTOSCALE in wanted:
        autoscaling.main(options.traces, options.costs, options.start, quick=options.quick)


if __name__ == "__main__":
    main()
