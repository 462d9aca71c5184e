"""Speculation against none, on one replica of ours: what a good prediction gains, and that a bad one costs nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tests.bench import assets
from tests.bench.assets import Body
from tests.bench.measure import Bench, Bodies, speed, thrift, turn_about
from tests.bench.rows import NotMeasured, Row, Rows, Wanted
from tests.bench.servers import NotServed, Server, Shape

PROMPT = "Here is a short story about a lighthouse keeper, a storm and a lost boat.\n\nOnce upon a time"
OUTPUT = 256
EDITED_SHARE = 0.05
OFF = "speculation off"
NGRAM = ("--ngram-speculation-length", "3", "--draft-token-count", "8")
DRAFT = ("--draft-token-count", "4", "--draft-model")
HARMLESS = Wanted(0.97)
REQUESTS = 2


async def predicted(bench: Bench) -> Rows:
    """A prediction that is the answer but for every twentieth word."""
    what = f"1 client, predicted output with 5 % edits (BF16, {bench.threads[0]} thread)"
    async with bench.starter.ours(Shape(assets.model("BF16"), threads=bench.threads[0])) as server:
        plain = assets.completion(PROMPT, OUTPUT, disable_speculation=True)
        prediction = _content(_edited(await server.text(plain)))
        if not await _accepts(server, prediction):
            return [NotMeasured(what, "no token of the prediction was accepted")]
        return await _against_off(bench, server, what, _asking(prediction=prediction), Wanted(2.3))


async def _accepts(server: Server, prediction: dict[str, str]) -> bool:
    """Whether the replica uses predictions at all; one that ignores them would be no slower than off."""
    usage = (await server.answer(assets.completion(PROMPT, OUTPUT, prediction=prediction)))["usage"]
    return bool((usage.get("completion_tokens_details") or {}).get("accepted_prediction_tokens"))


def _content(text: str) -> dict[str, str]:
    return {"type": "content", "content": text}


def _edited(text: str) -> str:
    """The text with a share of its words replaced."""
    source = random.Random(0)
    words = text.split(" ")
    for place in source.sample(range(len(words)), k=round(EDITED_SHARE * len(words))):
        words[place] = "harbour"
    return " ".join(words)


def _asking(**more: Any) -> Bodies:
    return lambda _: [assets.completion(PROMPT, OUTPUT, prompt_cache_max_len=0, **more)] * REQUESTS


async def _against_off(
    bench: Bench, server: Server, what: str, on: Bodies, wanted: Wanted, off: Bodies | None = None
) -> Rows:
    """The same replica with speculation in the request and without."""
    without = off or _asking(disable_speculation=True)
    found = await turn_about((server, server), (on, without), 1, bench.rounds)
    cpu = Row("  the same: output for its CPU time", "tok/CPU s", thrift(found[0]), thrift(found[1]), OFF)
    return [Row(what, "tok/s", speed(found[0]), speed(found[1]), OFF, wanted), cpu]


async def harmless(bench: Bench) -> Rows:
    """Drafts that cannot be right, on text that does not repeat: what speculation costs when it does not help."""
    rows: Rows = []
    for precision in ("Q4_0", "BF16") if bench.quick else ("Q4_1", "Q4_0", "Q8_0", "BF16"):
        shape = Shape(assets.model(precision), threads=bench.threads[0])
        draft = str(assets.model("Q4_0" if precision != "Q4_0" else "Q4_1"))
        wrong = _content(" ".join(str(number) for number in range(OUTPUT)))
        rows += await _costs(bench, shape, f"a wrong prediction ({precision})", (), {"prediction": wrong})
        rows += await _costs(bench, shape, f"n-gram drafts ({precision})", NGRAM, {})
        rows += await _costs(bench, shape, f"a draft model ({precision})", (*DRAFT, draft), {})
    return rows


async def _costs(bench: Bench, shape: Shape, what: str, options: Sequence[str], more: dict[str, Any]) -> Rows:
    try:
        async with bench.starter.ours(shape, *options) as server:
            on, off = (lambda n: _sampled(n, more)), (lambda n: _sampled(n, {"disable_speculation": True}))
            return await _against_off(bench, server, what, on, HARMLESS, off)
    except NotServed as why:
        return [NotMeasured(what, str(why))]


def _sampled(number: int, more: dict[str, Any]) -> list[Body]:
    """Hot sampling after random tokens repeats little, so drafts from it are mostly wrong."""
    return [
        assets.completion(assets.tokens(f"s{number}/{i}", 32), OUTPUT // 2, prompt_cache_max_len=0, **more)
        | {"temperature": 1.0, "seed": REQUESTS * number + i}
        for i in range(REQUESTS)
    ]
