"""What is served and asked: one small model in several precisions, random adapters of it, prompts of exact length."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from engine.models import catalogue
from engine.models.fetch import cache_dir, path_of
from tests import adapter_files

MODEL = "smollm2-135m-instruct"
ADAPTER_RANK = 8
# Ids that are ordinary text in the model's vocabulary of 49,152; special tokens lie below 17.
FIRST_TOKEN, LAST_TOKEN = 100, 49_000
_QUANTIZE = """
import sys, pathlib
from engine.models.quantize import quantize
quantize(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3])
"""

Body = dict[str, Any]


def model(precision: str) -> Path:
    """The demo's chat model in `precision`: as shipped (Q4_1), or made from it once and kept in the cache folder."""
    shipped = path_of(catalogue.find(MODEL))
    if precision == "Q4_1":
        return shipped
    made = cache_dir() / "bench" / f"{MODEL}.{precision}.gguf"
    if not made.exists():  # in a process of its own: llama.cpp's memory must not stay in the load generator
        subprocess.run([sys.executable, "-c", _QUANTIZE, shipped, made, precision], check=True)
    return made


def adapters(count: int) -> list[Path]:
    """Random rank-8 adapters of all linear layers, kept in the cache folder."""
    paths = [cache_dir() / "bench" / f"{MODEL}.lora-{i}.gguf" for i in range(count)]
    for seed, path in enumerate(paths):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".part")
            adapter_files.make(unfinished, model("Q4_1"), seed=seed, rank=ADAPTER_RANK, layers=None)
            unfinished.replace(path)
    return paths


def tokens(stream: str, count: int) -> list[int]:
    """`count` token ids that depend on `stream` alone."""
    source = random.Random(stream)
    return [source.randrange(FIRST_TOKEN, LAST_TOKEN) for _ in range(count)]


def completion(prompt: list[int] | str, output: int, **more: Any) -> Body:
    """A greedy streamed completion of exactly `output` tokens; both servers take prompts as token ids."""
    return {
        "model": "bench", "prompt": prompt, "max_tokens": output, "temperature": 0, "ignore_eos": True, "stream": True,
        "stream_options": {"include_usage": True}, **more,
    }  # fmt: skip
