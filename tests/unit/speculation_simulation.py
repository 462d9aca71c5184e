"""A replica of one sequence, simulated: time by a cost table, an output fixed in advance, the real speculator.

`python -m tests.unit.speculation_simulation` prints how much faster than off each workload is, beside fixed lengths.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.replica.job import DraftCounts
from engine.replica.speculation import SharedSpeculation, SpeculationSettings, begin
from engine.replica.speculation.ngram import NgramIndex
from engine.replica.speculation.predicted import PredictedText

# Milliseconds by tokens of one sequence a call, SmolLM2-135M on one core of an AMD EPYC; beyond 17 proportional.
WIDTHS = (1, 2, 3, 5, 9, 17)
MEASURED = {
    "BF16": (8.7, 11.7, 13.9, 16.7, 20.9, 36.9),
    "Q4_0": (4.0, 10.1, 13.7, 18.2, 24.8, 34.2),
    "Q8_0": (5.5, 21.3, 27.5, 38.8, 47.0, 56.9),
    "Q4_1": (6.1, 14.9, 23.0, 33.4, 49.9, 83.5),
}
DRAFT_MS, DRAFT_PREFILL_MS = 4.0, 0.8


def table(milliseconds: Sequence[float]) -> Callable[[int], float]:
    def cost(tokens: int) -> float:
        if tokens > WIDTHS[-1]:
            return milliseconds[-1] * tokens / WIDTHS[-1]
        return float(np.interp(tokens, WIDTHS, milliseconds))

    return cost


@dataclass
class Workload:
    """One request: what is known before it, and what the model will say."""

    prompt: list[int]
    prediction: list[int]
    output: list[int]


class OracleDrafter:
    """A draft model that is right with a given probability at each place of the output (False: a wrong token)."""

    slots, prefill_token_ms = 1, DRAFT_PREFILL_MS

    def __init__(self, work: Workload, right: Sequence[bool], step_ms: float = DRAFT_MS) -> None:
        self.step_ms = step_ms
        self._text, self._start, self._right = [*work.prompt, *work.output], len(work.prompt), right
        self.held: list[int] = []
        self.computed = self.prefilled = 0

    def missing(self, slot: int, tokens: Sequence[int]) -> int:
        return len(tokens) - agreeing(self.held, tokens)

    def catch_up(self, slot: int, tokens: Sequence[int], budget_tokens: int) -> int:
        before = agreeing(self.held, tokens)
        self.held = list(tokens[: min(before + budget_tokens, len(tokens) - 1)])
        self.prefilled += len(self.held) - before
        return len(tokens) - 1 - len(self.held)

    def propose(self, slot: int, tokens: Sequence[int], limit: int) -> list[int]:
        places = range(len(tokens), min(len(tokens) + limit, len(self._text)))
        drafted = [self._text[at] if self._right[at - self._start] else -1 for at in places]
        self.computed += len(drafted)
        self.held = [*tokens, *drafted[:-1]]
        return drafted

    def forget(self, slot: int) -> None:
        self.held = []


def speculated_ms(
    work: Workload,
    cost: Callable[[int], float],
    settings: SpeculationSettings,
    shared: SharedSpeculation | None = None,
    drafter: OracleDrafter | None = None,
    counts: DraftCounts | None = None,
) -> float:
    """Milliseconds to emit the output with the speculator, the draft model's included."""
    shared = shared or SharedSpeculation(cost, drafter)
    counts = counts if counts is not None else DraftCounts()
    speculator = begin(shared, settings, prompt=work.prompt, prediction=work.prediction, counts=counts)
    if speculator is None:
        return cost(1) * len(work.output)
    spent_ms, at, plain_ms = 0.0, 0, cost(1)
    while at < len(work.output):
        proposal = speculator.propose(31, plain_ms, len(work.output) - at)
        if speculator.needs_catch_up:
            speculator.catch_up(64)
        accepted = agreeing(proposal.tokens, work.output[at:])
        spent_ms += cost(len(proposal.tokens) + 1) if proposal.tokens else plain_ms
        speculator.verified(proposal, accepted)
        for token in work.output[at : at + accepted + 1]:
            speculator.advance(token)
        at += accepted + 1
    speculator.close()
    if drafter is not None:
        spent_ms += drafter.computed * drafter.step_ms + drafter.prefilled * drafter.prefill_token_ms
    return spent_ms


def agreeing(drafted: Sequence[int], actual: Sequence[int]) -> int:
    """How many tokens of a draft are sampled: the step's last token is never drafted, so one less than remain."""
    right = 0
    for ours, theirs in zip(drafted, actual[:-1], strict=False):
        if ours != theirs:
            break
        right += 1
    return right


def fixed_ms(work: Workload, cost: Callable[[int], float], length: int, ngram: int = 0) -> float:
    """The same with always `length` tokens of whatever the source proposes."""
    source = NgramIndex(ngram, work.prompt) if ngram else PredictedText(work.prediction)
    spent_ms, at = 0.0, 0
    while at < len(work.output):
        tokens = source.propose(min(length, len(work.output) - at - 1))
        accepted = agreeing(tokens, work.output[at:])
        spent_ms += cost(len(tokens) + 1)
        for token in work.output[at : at + accepted + 1]:
            source.advance(token)
        at += accepted + 1
    return spent_ms


# Workloads


def natural(rng: random.Random, length: int, words: int = 4000) -> list[int]:
    """Tokens by Zipf's law: common ones repeat, as in prose."""
    weights = [1 / (rank + 3) for rank in range(words)]
    return rng.choices(range(words), weights, k=length)


def edited(rng: random.Random, text: Sequence[int], share: float, kinds: str = "rid") -> list[int]:
    """`text` with that share of its tokens replaced (r), followed by an insertion (i) or deleted (d)."""
    out: list[int] = []
    for token in text:
        if rng.random() >= share:
            out.append(token)
            continue
        kind = rng.choice(kinds)
        if kind == "r":
            out.append(rng.randrange(4000, 8000))
        elif kind == "i":
            out += [token, rng.randrange(4000, 8000)]
    return out


def bursts(rng: random.Random, text: Sequence[int], every: int, longest: int) -> list[int]:
    """`text` in which now and then a whole phrase is exchanged for another of another length."""
    out: list[int] = []
    at = 0
    while at < len(text):
        upto = at + rng.randrange(every // 2, every * 2)
        out += text[at:upto]
        out += natural(rng, rng.randrange(1, longest))
        at = upto + rng.randrange(1, longest)
    return out


def code_like(rng: random.Random, lines: int) -> list[int]:
    """Lines out of few templates with names filled in: much of it stood before."""
    templates = [natural(rng, rng.randrange(6, 18)) for _ in range(12)]
    out: list[int] = []
    for _ in range(lines):
        line = list(rng.choice(templates))
        for _hole in range(2):
            line[rng.randrange(len(line))] = rng.randrange(100)
        out += line
    return out


def predicted_workloads(rng: random.Random, tokens: int = 400) -> dict[str, Workload]:
    text = natural(rng, tokens)
    return {
        "as predicted": Workload([], text, list(text)),
        "5% replaced": Workload([], text, edited(rng, text, 0.05, "r")),
        "5% edits": Workload([], text, edited(rng, text, 0.05)),
        "20% edits": Workload([], text, edited(rng, text, 0.20)),
        "phrases": Workload([], text, bursts(rng, text, 40, 8)),
        "middle, twice": Workload([], text, text[tokens // 2 :] + text[tokens // 2 :]),
        "unrelated": Workload([], text, natural(rng, tokens)),
    }


def ngram_workloads(rng: random.Random) -> dict[str, Workload]:
    code = code_like(rng, 80)
    prompt = natural(rng, 300)
    return {
        "code-like": Workload(code[:300], [], code[300:]),
        "copies prompt": Workload(prompt, [], bursts(rng, prompt, 30, 10)),
        "prose": Workload(prompt, [], natural(rng, 400)),
    }


SEEDS = range(8)
NGRAM = SpeculationSettings(ngram_length=4, draft_token_count=16)


def _gain(off: float, on: list[float]) -> str:
    return f"{off / sum(on):6.2f}"


def _print_free(kind: str, make: Callable[[random.Random], dict[str, Workload]], settings: SpeculationSettings) -> None:
    for name in make(random.Random(0)):
        for precision, milliseconds in MEASURED.items():
            cost = table(milliseconds)
            works = [make(random.Random(seed))[name] for seed in SEEDS]
            off = sum(cost(1) * len(w.output) for w in works)
            cells = [_gain(off, [speculated_ms(w, cost, settings) for w in works])]
            shared = SharedSpeculation(cost)
            cells.append(_gain(off, [speculated_ms(w, cost, settings, shared) for w in works]))
            cells += [_gain(off, [fixed_ms(w, cost, k, settings.ngram_length) for w in works]) for k in (4, 8, 16)]
            print(f"{kind:10} {name:14} {precision:5}", *cells)


def _print_drafted() -> None:
    settings = SpeculationSettings("draft.gguf", 0, 4)
    for step_ms, right in ((1.0, 0.85), (1.0, 0.6), (4.0, 0.95), (4.0, 0.75), (4.0, 0.3)):
        for precision, milliseconds in MEASURED.items():
            cost = table(milliseconds)
            cells = []
            for tokens in (200, 1000):
                off, on = 0.0, []
                for seed in SEEDS:
                    rng = random.Random(seed)
                    work = Workload(natural(rng, 20), [], natural(rng, tokens))
                    oracle = OracleDrafter(work, [rng.random() < right for _ in work.output], step_ms)
                    off += cost(1) * len(work.output)
                    on.append(speculated_ms(work, cost, settings, drafter=oracle))
                cells.append(_gain(off, on))
            print(f"draft      {step_ms} ms a={right:.2f}  {precision:5}", *cells)


if __name__ == "__main__":
    print("source     workload       weights  first   warm    k=4    k=8   k=16   (times as fast as off)")
    _print_free("prediction", predicted_workloads, SpeculationSettings())
    _print_free("ngram", ngram_workloads, NGRAM)
    _print_drafted()
