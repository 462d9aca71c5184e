"""A job that owns a sequence id of the context: what is in memory, what was sampled, what text is certain."""

from __future__ import annotations

import time

from client.errors import InvalidArgument
from engine.replica.detokenize import TextStream
from engine.replica.job import Delta, Event, Finished, Job, Token
from engine.replica.llama import Logits, Vocabulary
from engine.replica.sampling import Choice, Sampler, log_softmax, top_tokens

GRAMMAR_STEP_S = 1.0


class Sequence:
    """A job that owns a sequence id of the context."""

    def __init__(
        self, job: Job, identifier: int, reused: int, vocabulary: Vocabulary, stop_tokens: frozenset[int]
    ) -> None:
        self.job = job
        self.identifier = identifier
        self.cached_tokens = reused
        self.held = job.prompt[:reused]  # tokens whose KV state is in memory; shared with the prefix cache
        self.served = 0
        self.generated = 0
        self.next_token: int | None = None  # sampled, not decoded yet
        self.scores: list[Token] = []
        self._vocabulary = vocabulary
        self._ends = stop_tokens
        # A grammar that is complete allows nothing but an end token, so it outranks ignore_eos.
        banned = stop_tokens if job.ignore_eos and job.grammar is None else ()
        self._grammar = None if job.grammar is None else job.grammar.clone()
        self._sampler = Sampler(job.sampling, prompt=job.prompt, banned=banned)
        self._text = TextStream(job.stops)
        self._pending: list[Token] = []
        self.last_delta: Delta | None = None  # text and tokens still unsent when the job ended

    @property
    def remaining_prompt(self) -> int:
        return len(self.job.prompt) - len(self.held)

    @property
    def running(self) -> bool:
        """Prompt evaluated, next token known: takes part in decode steps."""
        return self.next_token is not None

    def take(self, row: Logits) -> Event | None:
        """Sample from one row of logits. Returns what to send: text, the end, or None while text is held back."""
        if self.generated >= self.job.max_tokens:
            return self._finish("length")
        choice = self._choose(row)
        if choice is None or choice.token in self._ends:
            return self._finish("stop")
        self.next_token = choice.token
        self.generated += 1
        self._sampler.accept(choice.token)
        token = Token(choice.token, self._text.length, choice.logprob, choice.sampling_logprob, choice.top)
        self._pending.append(token)
        text = self._text.push(self._vocabulary.piece(choice.token))
        if self._text.stopped:
            return self._finish("stop", text)
        if self.generated >= self.job.max_tokens:
            return self._finish("length", text)
        return self._delta(text) if text else None

    def close(self) -> None:
        """Free the grammar's state. The sequence takes no more tokens."""
        if self._grammar is not None:
            self._grammar.close()

    def _finish(self, reason: str, text: str = "") -> Finished:
        text += self._text.finish()
        if text or self._pending:
            self.last_delta = self._delta(text)
        self.job.times.finished = time.monotonic()
        return Finished(self.job.index, reason, self.generated, self.job.times)

    def _delta(self, text: str) -> Delta:
        tokens, self._pending = tuple(self._pending), []
        return Delta(self.job.index, text, tokens)

    def _choose(self, row: Logits) -> Choice | None:
        """The next token, or None when a grammar leaves nothing to say."""
        grammar = self._grammar
        shaped = self._sampler.shape(row)
        choice = self._sampler.choose_shaped(row, shaped)
        if grammar is None:
            return choice
        started = time.monotonic()
        # Checking one token is 100x cheaper than masking the vocabulary, and most tokens fit.
        if not grammar.allows(choice.token):
            masked = grammar.mask(shaped)
            if masked.max() == float("-inf"):
                return None
            choice = self._sampler.choose_shaped(row, masked)
        if choice.token not in self._ends:
            grammar.accept(choice.token)
        # Readings can also multiply while text is written: end the request before they stall everyone.
        if time.monotonic() - started > GRAMMAR_STEP_S:
            raise InvalidArgument("the grammar became too ambiguous to follow", field="response_format")
        return choice

    def score(self, rows: Logits, start: int) -> None:
        """Record the log-probabilities of prompt tokens start+1.. from the rows after tokens start.. ."""
        prompt, top = self.job.prompt, self.job.sampling.top_logprobs or 0
        if not self.scores:
            self.scores.append(Token(prompt[0], 0, 0.0))
        for row, token in zip(rows, prompt[start + 1 : start + 1 + len(rows)], strict=False):
            logprobs = log_softmax(row)
            best = tuple((int(t), float(logprobs[t])) for t in top_tokens(row, top))
            self.scores.append(Token(token, 0, float(logprobs[token]), None, best))
