"""`python -m engine.replica`: one replica process. The key it demands comes in FIREDECK_REPLICA_KEY, never in argv."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.replica.settings import Settings

# Read by OpenMP when llama.cpp is loaded, which is why our own imports come later, inside functions: spinning barriers
# make contended cores many times slower (measured).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

KEY_VARIABLE = "FIREDECK_REPLICA_KEY"
EXIT_USAGE = 2
# How long a thread may keep Python's lock from another that wants it. At the default of 5 ms the scheduler would wait
# that long after many a decode call for the thread that reads requests, and so would the loading of the model.
SWITCH_INTERVAL_S = 0.0005


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _threads(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be at least 1, or 0 to let the replica choose")
    return value


def _slots(text: str) -> int:
    value = _positive(text)
    if value > 256:
        raise argparse.ArgumentTypeError("llama.cpp serves at most 256 sequences")
    return value


def _context(text: str) -> int:
    value = _positive(text)
    if value < 256:
        raise argparse.ArgumentTypeError("must be at least 256 tokens")
    return value


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m engine.replica", description=__doc__)
    parser.add_argument("--deployment", required=True, help="resource name, e.g. accounts/local/deployments/chat")
    parser.add_argument("--replica", required=True, help="this replica's id")
    parser.add_argument("--socket", required=True, help="unix socket to listen on")
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--slots", type=_slots, default=8, help="sequences decoded together")
    parser.add_argument("--context", type=_context, default=2048, help="tokens a sequence may hold")
    parser.add_argument("--threads", type=_threads, default=0, help="CPU threads of llama.cpp; 0: as many as pay")
    parser.add_argument("--cores", type=_positive, default=1, help="CPU cores of this replica's own, for --threads 0")
    parser.add_argument("--gpu-layers", type=int, default=None, help="-1: all; default: all if this build can offload")
    parser.add_argument("--devices", type=_positive, default=None, help="GPUs to split the model over; default: all")
    parser.add_argument("--kv-tokens", type=_positive, default=None, help="cells that all sequences share")
    parser.add_argument("--prefix-ram-mib", type=int, default=256, help="RAM for saved prefixes")
    parser.add_argument("--adapters-cached", type=_positive, default=8, help="LoRA adapters in memory at once")
    parser.add_argument("--adapter-sequences", type=_positive, default=None, help="sequences with an adapter at once")
    parser.add_argument("--draft-model", default=None, help="GGUF file of a draft model with the same vocabulary")
    parser.add_argument("--draft-token-count", type=int, default=None, help="most tokens drafted a step; 0: off")
    parser.add_argument("--ngram-speculation-length", type=int, default=0, help="length of n-grams looked up; 0: off")
    parser.add_argument("--seed", type=int, default=None, help="makes requests without a seed repeatable, in order")
    parser.add_argument("--costs", default=None, help="file in which measured step costs are remembered")
    parser.add_argument("--orphan-timeout", type=float, default=60.0, help="seconds without contact before it exits")
    parser.add_argument("--drain-timeout", type=float, default=30.0, help="seconds running requests get on SIGTERM")
    return parser.parse_args(argv)


def main() -> int:
    options = arguments()
    key = os.environ.pop(KEY_VARIABLE, "")
    if not key:
        print(f"{KEY_VARIABLE} is not set", file=sys.stderr)
        return EXIT_USAGE
    try:
        settings = _settings(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    return _serve(settings, key, options)


def _settings(options: argparse.Namespace) -> Settings:
    """What to serve and how. ValueError for flags that do not go together, with one line for people."""
    from engine.replica.settings import Settings
    from engine.replica.speculation.settings import SpeculationSettings

    drafting = SpeculationSettings(options.draft_model, options.ngram_speculation_length, options.draft_token_count)
    drafting.check()
    return Settings(
        deployment=options.deployment,
        replica=options.replica,
        model_path=options.model,
        slots=options.slots,
        context=options.context,
        threads=options.threads,
        cores=options.cores,
        gpu_layers=options.gpu_layers,
        devices=options.devices,
        kv_tokens=options.kv_tokens,
        prefix_ram_mib=options.prefix_ram_mib,
        adapters_cached=options.adapters_cached,
        adapter_sequences=options.adapter_sequences,
        drafting=drafting,
        seed=options.seed,
        costs_file=options.costs,
    )


def _serve(settings: Settings, key: str, options: argparse.Namespace) -> int:
    from engine.replica.preload import Preload

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    preload = Preload(settings)
    from engine.replica import lifecycle  # imports all the rest, while the model is being read

    door = lifecycle.Door(lifecycle.bind(options.socket))
    life = lifecycle.serve(
        settings,
        preload,
        door,
        key,
        orphan_timeout_s=options.orphan_timeout,
        drain_timeout_s=options.drain_timeout,
    )
    try:
        with asyncio.Runner(loop_factory=lifecycle.new_event_loop) as runner:
            return runner.run(life)
    finally:
        door.remove()


if __name__ == "__main__":
    sys.exit(main())
