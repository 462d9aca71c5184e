"""Drafts from a second, smaller model of the same vocabulary, with a context of its own. One thread owns it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.replica.costs import measure
from engine.replica.llama import Context, LoadError, Logits, Model, Shape, Vocabulary

MIN_PROBABILITY = 0.3  # below it a draft is a guess: it ends before that token
IN_PASSING_TOKENS = 8  # that `propose` may catch up on by itself
KINDS = ("of no type", "SPM", "BPE", "WPM", "UGM", "RWKV", "PLaMo-2")  # by llama.cpp's LLAMA_VOCAB_TYPE_*
PADDING_TOKENS = 128  # by which vocabularies of one family differ: unused ids at the end, to round the matrix


class DraftModel:
    """A draft model and what each of its sequence slots holds. Costs are measured when it is made.

    Raises LoadError when its vocabulary is not that of `target`: its ids would mean other text.
    """

    def __init__(self, model: Model, target: Vocabulary, *, shape: Shape) -> None:
        check_vocabulary(model.vocabulary, target)
        self._context = Context(model, shape)
        self.slots, self.context_length = self._context.slots, self._context.length
        self._common = min(model.vocabulary.size, target.size)
        self._reusable = model.can_reuse_prefix
        self._held: list[list[int]] = [[] for _ in range(self.slots)]
        costs = measure(self._context, max(0, model.vocabulary.bos))
        self.step_ms, self.prefill_token_ms = costs(1), costs.prefill_token_ms

    def missing(self, slot: int, tokens: Sequence[int]) -> int:
        """How many of `tokens` the slot must evaluate before it can propose what follows: at least the last one."""
        return len(tokens) - self._common_prefix(slot, tokens)

    def catch_up(self, slot: int, tokens: Sequence[int], budget_tokens: int) -> int:
        """Evaluate at most `budget_tokens` of `tokens` but the last; returns how many are missing then (0: ready)."""
        if len(tokens) > self.context_length:
            return len(tokens)
        self._purge(slot, tokens)
        held, budget = self._held[slot], budget_tokens
        while budget > 0 and len(held) < len(tokens) - 1:
            count = min(budget, self._context.batch, len(tokens) - 1 - len(held))
            if not self._evaluate(slot, tokens[len(held) : len(held) + count], rows="none"):
                break
            budget -= count
        return max(0, len(tokens) - 1 - len(self._held[slot]))

    def propose(
        self, slot: int, tokens: Sequence[int], limit: int, *, min_probability: float = MIN_PROBABILITY
    ) -> list[int]:
        """The greedy continuation of `tokens`, at most `limit` tokens, ending before one less probable than
        `min_probability`. Nothing for a slot that is not caught up, past the context's end, or when decoding fails."""
        limit = min(limit, self.context_length - len(tokens))
        if limit <= 0 or not tokens or self.missing(slot, tokens) > IN_PASSING_TOKENS + 1:
            return []
        drafted: list[int] = []
        self._purge(slot, tokens)
        pending = list(tokens[len(self._held[slot]) :])
        while len(drafted) < limit and self._evaluate(slot, pending, rows="last"):
            token, probability = _most_probable(self._context.logits(1)[0][: self._common])
            if probability < min_probability:
                break
            drafted.append(token)
            pending = [token]
        return drafted

    def forget(self, slot: int) -> None:
        """Let go of what a slot holds."""
        self._context.keep(slot, 0)
        self._held[slot] = []

    def close(self) -> None:
        """Free the context; the model belongs to the caller."""
        self._context.close()

    def _purge(self, slot: int, tokens: Sequence[int]) -> None:
        """Keep the longest prefix that the slot shares with `tokens`, the last of these excepted."""
        keep = self._common_prefix(slot, tokens)
        if keep == len(self._held[slot]):
            return
        if self._reusable and self._context.keep(slot, keep):
            del self._held[slot][keep:]
        else:
            self.forget(slot)

    def _common_prefix(self, slot: int, tokens: Sequence[int]) -> int:
        """Shared tokens; at most all but the last, whose logits must be computed anew."""
        held = self._held[slot]
        most = min(len(held), len(tokens) - 1)
        # The difference is nearly always at the end: rejected drafts.
        near = max(0, most - IN_PASSING_TOKENS)
        start = near if held[:near] == list(tokens[:near]) else 0
        return next((i for i in range(start, most) if held[i] != tokens[i]), max(0, most))

    def _evaluate(self, slot: int, tokens: Sequence[int], *, rows: str) -> bool:
        """Append tokens to a slot. False when llama.cpp failed: the slot is then empty, and no draft is made."""
        held = self._held[slot]
        if self._context.prefill(slot, np.asarray(tokens, np.int32), len(held), rows=rows) != 0:
            self.forget(slot)
            return False
        held.extend(tokens)
        return True


def check_vocabulary(draft: Vocabulary, target: Vocabulary) -> None:
    """Raise LoadError naming what differs unless both give every id they share the same text.

    Up to PADDING_TOKENS more ids at one's end are allowed: ids the target lacks are never proposed.
    """
    reason = _difference(draft, target)
    if reason is not None:
        raise LoadError(f"the draft model cannot draft for this model: {reason}")


def _difference(draft: Vocabulary, target: Vocabulary) -> str | None:
    if draft.kind != target.kind:
        ours, theirs = (KINDS[v.kind] if v.kind < len(KINDS) else f"of type {v.kind}" for v in (draft, target))
        return f"its vocabulary is {ours}, the model's {theirs}"
    if abs(draft.size - target.size) > PADDING_TOKENS:
        return f"its vocabulary has {draft.size} tokens, the model's {target.size}"
    for token in range(min(draft.size, target.size)):
        ours, theirs = (v.spelling(token).decode("utf-8", "replace") for v in (draft, target))
        if ours != theirs:
            return f"its token {token} is {ours!r}, the model's {theirs!r}"
    return None


def _most_probable(row: Logits) -> tuple[int, float]:
    """The token of the largest logit and its probability."""
    token = int(row.argmax())
    return token, float(1.0 / np.exp(row - row[token]).sum())
