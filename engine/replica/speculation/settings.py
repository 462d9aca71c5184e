"""What a deployment says about speculation, and which of it excludes which."""

from __future__ import annotations

from dataclasses import dataclass

MAX_DRAFT_TOKENS = 31  # with the sequence's own next token: the 32 rows of logits that one call gives
MAX_NGRAM_LENGTH = 16


@dataclass(frozen=True, slots=True)
class SpeculationSettings:
    """`ngram_length` 0 and `draft_model_path` None are unset. `draft_token_count`: the most tokens drafted a step by
    n-gram or draft model; 0 turns both off, None is unset. Predictions that come with a request need none of these."""

    draft_model_path: str | None = None
    ngram_length: int = 0
    draft_token_count: int | None = None

    def check(self) -> None:
        """Raises ValueError with one line for people: the rules of firectl's flags."""
        if self.draft_model_path and self.ngram_length:
            raise ValueError("draft-model and ngram-speculation-length cannot be used together: they are alternatives")
        if not 0 <= self.ngram_length <= MAX_NGRAM_LENGTH:
            raise ValueError(f"ngram-speculation-length must be from 0 to {MAX_NGRAM_LENGTH}, not {self.ngram_length}")
        used = "draft-model" if self.draft_model_path else "ngram-speculation-length" if self.ngram_length else None
        if used and self.draft_token_count is None:
            raise ValueError(f"draft-token-count must be set when {used} is used")
        if self.draft_token_count is not None and self.draft_token_count < 0:
            raise ValueError(f"draft-token-count must not be negative, but is {self.draft_token_count}")

    @property
    def drafted_tokens(self) -> int:
        """The most tokens a step may draft by n-gram or draft model; 0: neither is on."""
        return min(self.draft_token_count or 0, MAX_DRAFT_TOKENS)

    @property
    def uses_ngrams(self) -> bool:
        return self.ngram_length > 0 and self.drafted_tokens > 0

    @property
    def uses_draft_model(self) -> bool:
        return self.draft_model_path is not None and self.drafted_tokens > 0
