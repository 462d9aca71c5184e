"""From one row of logits to one token, in numpy: pure but for the per-sequence penalty counts.

Order of the steps (llama-server's): logit bias, penalties, top-k, typical, top-p, min-p, temperature, draw. With
Mirostat: logit bias, penalties, temperature, Mirostat's own limit, draw.
The draw for the i-th generated token is the i-th number of a stream that depends on (seed, choice) alone, so text
does not depend on load, and a speculative step can look at draw i+k without having spent draws i..i+k-1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Logits: TypeAlias = NDArray[np.float32]

GREEDY_BELOW = 1e-4  # a colder softmax overflows float32 and means the same
MIN_REPETITION_PENALTY = 0.01  # the wire allows 0, which would divide by zero
SHORTLIST = 1024  # candidates looked at first when top-p alone limits a draw
DRAWS_PER_BLOCK = 64


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """What a request says about choosing tokens; ranges are checked on the wire, not here."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: off
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0  # prompt and output
    presence_penalty: float = 0.0  # output only
    frequency_penalty: float = 0.0  # output only
    logit_bias: dict[int, float] = field(default_factory=dict)
    mirostat_target: float | None = None  # bits a token; None: off, and else instead of the four limits above
    mirostat_lr: float = 0.1
    seed: int = 0
    choice: int = 0
    top_logprobs: int | None = None  # None: no logprobs at all

    @property
    def greedy(self) -> bool:
        return self.temperature < GREEDY_BELOW

    @property
    def shapes_logits(self) -> bool:
        """Whether anything changes the logits before the draw."""
        penalties = (self.presence_penalty, self.frequency_penalty, self.repetition_penalty - 1.0)
        return bool(self.logit_bias) or any(penalties)


@dataclass(frozen=True, slots=True)
class Choice:
    """The token chosen, and what its probabilities were (natural logs; `top` best first, raw distribution)."""

    token: int
    logprob: float | None = None
    sampling_logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Mirostat:
    """Mirostat 2 (arXiv 2007.14966): a limit on surprise that follows the surprise of the text so far.

    `target` is the paper's tau, the mean surprise wanted in bits a token (a perplexity of 2**tau); `rate` its
    learning rate eta. The limit, mu, begins at twice the target, as in the paper.
    """

    def __init__(self, target: float, rate: float) -> None:
        self._target, self._rate = target, rate
        self._limit = 2.0 * target

    def candidates(self, logits: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The tokens no more surprising than the limit, by id, and their probabilities (sum 1). Never empty."""
        bits = -np.log2(np.maximum(_softmax(logits), 1e-300))
        tokens = np.flatnonzero((bits <= self._limit) & (logits > -np.inf))
        if not tokens.size:
            tokens = np.array([logits.argmax()])
        return tokens, _softmax(logits[tokens])

    def observe(self, logprob: float) -> None:
        """Move the limit by what was generated; `logprob` is natural, among the candidates it was drawn from."""
        self._limit -= self._rate * (-logprob / np.log(2.0) - self._target)


class Sampler:
    """The state that sampling one sequence needs: counts for penalties, banned tokens, the stream of draws.

    All of it moves in `accept` alone: a draft that is looked at and rejected leaves no trace.
    """

    def __init__(self, options: SamplingOptions, *, prompt: Iterable[int] = (), banned: Iterable[int] = ()) -> None:
        self.options = options
        self._banned_tokens = frozenset(banned)
        self._banned = np.fromiter(self._banned_tokens, np.int64)
        self._bias_tokens = np.fromiter(options.logit_bias.keys(), np.int64)
        self._bias = np.fromiter(options.logit_bias.values(), np.float32)
        self._seen = set(prompt) if options.repetition_penalty != 1.0 else set()
        self._output: Counter[int] = Counter()
        target = options.mirostat_target
        self._mirostat = None if target is None else Mirostat(target, options.mirostat_lr)
        self._chosen: tuple[int, float] = (-1, 0.0)  # the latest choice and its log-probability when drawn
        self._drawn = 0
        self._block, self._block_number = np.empty(0), -1

    def choose(self, row: Logits) -> Choice:
        """The next token for raw logits `row` (not modified). Does not record it: call `accept` with what was taken."""
        return self.choose_shaped(row, self.shape(row))

    def settled(self, raw: Logits, best: int) -> Choice | None:
        """The next token where it is plain to see: the likeliest, `best`, if it is to be taken and nothing speaks
        against it. None: `shape` and `choose_shaped` have to tell, for which rows of logits are copied and read again.
        """
        if not self.options.greedy or self.options.shapes_logits or best in self._banned_tokens:
            return None
        self._chosen = (best, 0.0)
        return self._choice(raw, best, 0.0)

    def choose_shaped(self, raw: Logits, shaped: Logits) -> Choice:
        """Like `choose`, for logits that went through `shape` and possibly a grammar."""
        self._chosen = self._draw(shaped)
        return self._choice(raw, *self._chosen)

    def forced(self, raw: Logits, token: int) -> Choice:
        """`token`, whatever its probability is."""
        self._chosen = (-1, 0.0)
        return self._choice(raw, token, 0.0)

    def _choice(self, raw: Logits, token: int, sampling_logprob: float) -> Choice:
        if self.options.top_logprobs is None:
            return Choice(token)
        logprobs = log_softmax(raw)
        top = tuple((int(t), float(logprobs[t])) for t in top_tokens(raw, self.options.top_logprobs))
        return Choice(token, float(logprobs[token]), sampling_logprob, top)

    def shape(self, row: Logits) -> Logits:
        """Logits with bias and penalties applied, and banned tokens at -inf; `row` itself when nothing applies."""
        if not self.options.shapes_logits and not self._banned.size:
            return row
        row = row.copy()
        row[self._bias_tokens] += self._bias
        self._penalise(row)
        row[self._banned] = -np.inf
        return row

    def accept(self, token: int) -> None:
        """Record that `token` was generated. Mirostat learns only from a token that was its latest choice."""
        self._drawn += 1
        if self._mirostat is not None and token == self._chosen[0]:
            self._mirostat.observe(self._chosen[1])
        if self.options.shapes_logits:
            self._output[token] += 1
            if self.options.repetition_penalty != 1.0:
                self._seen.add(token)

    def _penalise(self, row: Logits) -> None:
        if self._seen:
            tokens = np.fromiter(self._seen, np.int64, len(self._seen))
            penalty = max(self.options.repetition_penalty, MIN_REPETITION_PENALTY)
            row[tokens] = np.where(row[tokens] > 0, row[tokens] / penalty, row[tokens] * penalty)
        if self._output:
            tokens = np.fromiter(self._output.keys(), np.int64, len(self._output))
            counts = np.fromiter(self._output.values(), np.float32, len(self._output))
            row[tokens] -= counts * self.options.frequency_penalty + self.options.presence_penalty

    def _draw(self, row: Logits) -> tuple[int, float]:
        if self.options.greedy:
            return int(row.argmax()), 0.0
        if self._mirostat is not None:
            tokens, probabilities = self._mirostat.candidates(row.astype(np.float64) / self.options.temperature)
        else:
            tokens, probabilities = candidates(row, self.options)
        cumulative = np.cumsum(probabilities)
        at = min(int(np.searchsorted(cumulative, self._uniform() * cumulative[-1], side="right")), len(tokens) - 1)
        return int(tokens[at]), float(np.log(max(probabilities[at], 1e-300)))

    def _uniform(self) -> float:
        """The draw of the next token: number `_drawn` of this sequence's stream."""
        number, offset = divmod(self._drawn, DRAWS_PER_BLOCK)
        if number != self._block_number:
            key = [self.options.seed & 0xFFFFFFFFFFFFFFFF, self.options.choice, number]
            self._block, self._block_number = np.random.Generator(np.random.PCG64(key)).random(DRAWS_PER_BLOCK), number
        return float(self._block[offset])


def candidates(row: Logits, options: SamplingOptions) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The tokens that may be drawn, most likely first, and their probabilities (sum 1). Never empty."""
    tokens, mass = _shortlist(row, options)
    logits = row[tokens].astype(np.float64)
    if options.typical_p < 1.0:
        keep = _typical(_softmax(logits), options.typical_p)
        tokens, logits = tokens[keep], logits[keep]
    probabilities = _softmax(logits)
    keep_count = len(tokens)
    if options.top_p < 1.0:
        keep_count = int(np.searchsorted(np.cumsum(probabilities) * mass, options.top_p)) + 1
    if options.min_p > 0.0:
        keep_count = min(keep_count, int((probabilities >= options.min_p * probabilities[0]).sum()))
    keep_count = max(1, min(keep_count, len(tokens)))
    return tokens[:keep_count], _softmax(logits[:keep_count] / options.temperature)


def _shortlist(row: Logits, options: SamplingOptions) -> tuple[NDArray[np.int64], float]:
    """Token ids by falling logit, as many as the limits can need, and the share of the mass that counts as theirs.

    The share is 1 where the ids are the whole distribution (top-k renormalises before top-p looks).
    """
    if options.top_k > 0:
        return _sorted_top(row, options.top_k), 1.0
    if options.top_p < 1.0 and options.typical_p >= 1.0 and len(row) > 4 * SHORTLIST:
        # Sorting the vocabulary costs ten times this; the shortlist is exact when it alone holds top_p of the mass.
        tokens = _sorted_top(row, SHORTLIST)
        peak = float(row[tokens[0]])
        total = float(np.exp(row - peak).sum(dtype=np.float64))
        share = float(np.exp(row[tokens] - peak).sum(dtype=np.float64)) / total
        if share >= options.top_p:
            return tokens, share
    if options.top_p >= 1.0 and options.typical_p >= 1.0 and options.min_p <= 0.0:
        return np.flatnonzero(row > -np.inf), 1.0
    return np.argsort(-row, kind="stable"), 1.0


def _sorted_top(row: Logits, count: int) -> NDArray[np.int64]:
    """The `count` best token ids, best first, ties by id."""
    if count >= len(row):
        return np.argsort(-row, kind="stable")
    best = np.sort(np.argpartition(row, len(row) - count)[len(row) - count :])
    return best[np.argsort(-row[best], kind="stable")]


def _typical(probabilities: NDArray[np.float64], mass: float) -> NDArray[np.int64]:
    """Indices kept by locally typical sampling (arXiv 2202.00666), in falling probability."""
    surprise = -np.log(np.maximum(probabilities, 1e-300))
    order = np.argsort(np.abs(surprise - (probabilities * surprise).sum()), kind="stable")
    count = int(np.searchsorted(np.cumsum(probabilities[order]), mass)) + 1
    return np.sort(order[:count])


def top_tokens(row: Logits, count: int) -> NDArray[np.int64]:
    """The `count` most likely tokens, best first."""
    return _sorted_top(row, count) if count else np.empty(0, np.int64)


def log_softmax(row: Logits) -> NDArray[np.float32]:
    """Natural log of the probabilities of one row."""
    shifted = row - row.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum(dtype=np.float64)), dtype=np.float32)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())
