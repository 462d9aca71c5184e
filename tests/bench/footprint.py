"""What a replica costs before it serves: the time to its first token from nothing, and the memory it stays in."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.bench import assets
from tests.bench.measure import Bench, once
from tests.bench.rows import Row, Rows, Wanted
from tests.bench.servers import OPENMP, Server, Shape

STARTS = 5
PROMPT = 16
MIB = 2**20
# The least that llama-cpp-python can do: import, load, one context, the prompt, the likeliest token.
BARE = """
import ctypes, sys
import llama_cpp as C
quiet = C.llama_log_callback(lambda level, text, user: None)
C.llama_log_set(quiet, ctypes.c_void_p(0))
C.llama_backend_init()
model = C.llama_model_load_from_file(sys.argv[1].encode(), C.llama_model_default_params())
options = C.llama_context_default_params()
options.n_ctx, options.n_threads, options.n_threads_batch = 2048, int(sys.argv[2]), int(sys.argv[2])
context = C.llama_init_from_model(model, options)
tokens = (C.llama_token * 16)(*map(int, sys.argv[3].split(",")))
assert C.llama_decode(context, C.llama_batch_get_one(tokens, 16)) == 0
logits = C.llama_get_logits_ith(context, -1)
size = C.llama_vocab_n_tokens(C.llama_model_get_vocab(model))
print(max(range(size), key=logits.__getitem__), flush=True)
"""


async def startup(bench: Bench) -> Rows:
    """From starting the process to the first token, 5 times turn about."""
    shape = Shape(assets.model("Q4_0"), threads=bench.threads[0])
    ours, peer, bare = [], [], []
    for _ in range(2 if bench.quick else STARTS):
        ours.append(await _first_token_s(bench.starter.start_ours(shape)))
        bare.append(bare_s(shape))
        peer.append(await _first_token_s(bench.starter.start_peer(shape)))
    return [
        Row("process start to first token", "s", ours, bare, "bare script", Wanted(2, at_least=False)),
        Row("  the same", "s", ours, peer),
    ]


async def _first_token_s(server: Server) -> float:
    try:
        await server.ready()
        ready = time.monotonic()
        (sample,) = await once(server, [assets.completion(assets.tokens("start", PROMPT), 1)], 1)
        # One token of arbitrary bytes may carry no text: then its end is what is known.
        return ready - server.began + (sample.ttft_s or sample.duration_s)
    finally:
        server.stop()


def bare_s(shape: Shape) -> float:
    """Seconds of the bare script, from starting its process to its end."""
    prompt = ",".join(map(str, assets.tokens("start", PROMPT)))
    command = [sys.executable, "-c", BARE, str(shape.model), str(shape.threads), prompt]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **OPENMP})
    return time.monotonic() - began


async def memory(bench: Bench) -> Rows:
    """Resident memory of fresh processes with equal context, each after the same 8 requests."""
    shape = Shape(assets.model("Q4_0"), threads=bench.threads[0])
    bodies = [assets.completion(assets.tokens(f"m{i}", 200), 64) for i in range(shape.slots)]
    found = []
    async with bench.starter.both(shape) as pair:
        for server in pair:
            await once(server, bodies, shape.slots)
            found.append(server.resident_bytes / MIB)
    what = f"resident memory, {shape.slots} slots of {shape.context} tokens"
    return [Row(what, "MiB", found[:1], found[1:], wanted=Wanted(1.15, at_least=False))]
