"""A job that owns a sequence id of the context: what is in memory, what was sampled, what text is certain."""

from __future__ import annotations

import time

import numpy as np

from client.errors import Internal, InvalidArgument
from engine.replica.detokenize import TextStream
from engine.replica.job import AdapterSet, CacheKey, Delta, DraftCounts, Event, Finished, Job, Token
from engine.replica.llama import Logits, Vocabulary
from engine.replica.sampling import Choice, Sampler, log_softmax, top_tokens
from engine.replica.speculation import Proposal, Speculator
from engine.replica.thought import Thought


class NotNumbers(Internal):
    """Logits that are no numbers: weights or an adapter that overflow. What the sequence left in memory would spoil
    others."""

    def __init__(self) -> None:
        super().__init__("the model's numbers overflowed", hint="check the adapter and its scale")


class Sequence:
    """`held` is what the context's memory has of it, `pending` what has to be there before it can decode."""

    def __init__(
        self,
        job: Job,
        identifier: int,
        vocabulary: Vocabulary,
        stop_tokens: frozenset[int],
        wide: int = 1,
    ) -> None:
        self.job = job
        self.identifier = identifier
        self.cached_tokens = 0
        self.pending = job.to_read
        # So many tokens are evaluated in wide calls (hardware.CPU_WIDE_TOKENS): all of a long prompt, or none.
        self.wide_end = len(job.prompt) if len(job.prompt) >= wide > 1 and not job.score_prompt else 0
        self.held: list[int] = []  # shared with the memory's bookkeeping
        self.priority = job.priority  # as it counted when it came: waiting raises it
        self.last_token_at = 0.0  # monotonic seconds
        self.served = 0  # the round that last fed its prompt
        self.generated = 0
        self.next_token: int | None = None  # sampled, not decoded yet
        self.scores: list[Token] = []
        self.last_delta: Delta | None = None  # text and tokens still unsent when the job ended
        self.drafts = DraftCounts()
        self.speculator: Speculator | None = None
        self.parked_tokens = 0
        self._verifying: Proposal | None = None
        self._accepted = 0  # of its tokens
        self._taken_up = (0, 0)
        self._vocabulary = vocabulary
        self._ends = stop_tokens
        # A grammar that is complete allows nothing but an end token, so it outranks ignore_eos.
        banned = stop_tokens if job.ignore_eos and job.grammar is None else ()
        self._grammar = None if job.grammar is None else job.grammar.clone()
        self._thought = None if job.thought is None else Thought(job.thought)
        self._sampler = Sampler(job.sampling, prompt=job.prompt, banned=banned)
        self._text = TextStream(job.stops)
        self._unsent: list[Token] = []
        self._go_on(job.said)

    @property
    def scope(self) -> tuple[AdapterSet, CacheKey]:
        """What makes KV state foreign to other sequences."""
        return self.job.adapters, self.job.cache_key

    @property
    def in_wide_part(self) -> bool:
        """Whether the next chunk of the prompt has to be a wide call."""
        return len(self.held) < self.wide_end

    @property
    def remaining_prompt(self) -> int:
        """Tokens until the wide part ends, and then until everything pending is there."""
        return (self.wide_end if self.in_wide_part else len(self.pending)) - len(self.held)

    @property
    def prefilling(self) -> bool:
        return len(self.held) < len(self.pending)

    @property
    def running(self) -> bool:
        """Prompt evaluated, next token known: takes part in decode turns."""
        return self.next_token is not None and not self.prefilling

    @property
    def needs_first_token(self) -> bool:
        """Everything of the prompt is there, and nothing was sampled yet."""
        return self.next_token is None and not self.prefilling

    @property
    def scores_prompt(self) -> bool:
        return self.job.score_prompt and self.next_token is None

    def occupy(self, identifier: int, held: int) -> None:
        """Take an id whose memory has the first `held` pending tokens."""
        self.identifier = identifier
        if self.speculator is not None:
            self.speculator.resume()
        self.held = self.pending[:held]
        self._taken_up = (held, self.generated)
        if not held and self.next_token is None:
            self.scores = []

    def park(self) -> None:
        """Give the id up: what was held has to be there again before the next token."""
        self.parked_tokens = len(self.held)
        if self.speculator is not None:
            self.speculator.park()
        if self.running:
            self.pending = list(self.held)

    @property
    def worth_parking(self) -> bool:
        """Something was computed since it came, so that giving way in turns cannot go round without progress."""
        held, generated = self._taken_up
        return len(self.held) > held or self.generated > generated

    # Drafts

    def propose(self, plain_ms: float, rows: int, context_length: int) -> Proposal | None:
        """Drafts behind the next token, when they pay. `rows`: how many one call can verify."""
        if self.speculator is None:
            return None
        limit = min(rows, context_length - len(self.held) - 1)
        proposal = self.speculator.propose(limit, plain_ms, self.job.max_tokens - self.generated)
        return proposal if proposal.tokens else None

    def verify(self, proposal: Proposal) -> None:
        """The tokens to come are compared with the proposal's, until `verified` or the end."""
        self._verifying, self._accepted = proposal, 0

    def verified(self) -> None:
        """Count what was accepted; nothing happens when that was done at the end."""
        proposal, self._verifying = self._verifying, None
        if proposal is not None and self.speculator is not None:
            self.speculator.verified(proposal, self._accepted)

    def draft_no_more(self, harmful: Proposal) -> None:
        """Nothing of this proposal was accepted, and there will be no other."""
        if self.speculator is not None:
            self.speculator.verified(harmful, 0)
            self.speculator.close()
            self.speculator = None

    def _compare(self, token: int) -> None:
        drafted = self._verifying.tokens if self._verifying is not None else ()
        if self._accepted < len(drafted) and drafted[self._accepted] == token:
            self._accepted += 1

    # Tokens

    def take(self, row: Logits) -> Event | None:
        """Sample from one row of logits. Returns what to send: text, the end, or None while text is held back."""
        best = int(row.argmax())
        if np.isnan(row[best]):
            raise NotNumbers
        if self.generated >= self.job.max_tokens:
            return self._finish("length")
        choice = self._choose(row, best)
        if choice.token in self._ends:
            return self._finish("stop")
        if self.speculator is not None:
            self.speculator.advance(choice.token)
            self._compare(choice.token)
        token = Token(choice.token, self._text.length, choice.logprob, choice.sampling_logprob, choice.top)
        self._unsent.append(token)
        text = self._follow(choice.token)
        if self._text.stopped:
            return self._finish("stop", text)
        if self.generated >= self.job.max_tokens:
            return self._finish("length", text)
        return self._delta(text) if text else None

    def _follow(self, token: int) -> str:
        """`token` is the answer's next one. Returns the text that became certain with it."""
        self.next_token = token
        self.generated += 1
        self._sampler.accept(token)
        piece = self._piece(token)
        if self._thought is not None:
            self._thought.accept(token, piece)
        return self._text.push(piece)

    def _go_on(self, said: list[int]) -> None:
        """Come to the state in which another replica told the last of `said`."""
        if self._grammar is not None:
            self._grammar.tokens.extend(said)
        for token in said:
            self._follow(token)

    def close(self) -> None:
        """Free the grammar's state and the draft model's slot. The sequence takes no more tokens."""
        if self.speculator is not None:
            self.speculator.close()
        if self._grammar is not None:
            self._grammar.close()

    def _piece(self, token: int) -> bytes:
        """Control tokens have no text, but for those that the request's reader looks for."""
        return self._vocabulary.piece(token, special=token in self.job.special_text)

    def _finish(self, reason: str, text: str = "") -> Finished:
        self.verified()
        text += self._text.finish()
        if text or self._unsent:
            self.last_delta = self._delta(text, last=True)
        self.job.times.finished = time.monotonic()
        stopped_by = self._text.stopped_by if reason == "stop" else None
        return Finished(self.job.index, reason, self.generated, self.job.times, self.drafts, stopped_by)

    def _delta(self, text: str, *, last: bool = False) -> Delta:
        tokens, self._unsent = tuple(self._unsent), []
        return Delta(self.job.index, text, tokens, last)

    def _choose(self, row: Logits, best: int) -> Choice:
        """The next token: one that is due, or a choice, made anew where the grammar forbids it among what it allows.
        `best`: the likeliest token of `row`."""
        grammar = self._grammar
        due = None if self._thought is None else self._thought.due
        if due is not None and (grammar is None or grammar.advance(due)):
            return self._sampler.forced(row, due)
        settled = self._sampler.settled(row, best) if grammar is None else None
        if settled is not None:
            return settled
        shaped = self._sampler.shape(row)
        choice = self._sampler.choose_shaped(row, shaped)
        # Trying one token is 100 times cheaper than masking the vocabulary, and most tokens fit.
        if grammar is None or grammar.advance(choice.token):
            return choice
        masked = grammar.mask(shaped)
        if masked.max() == float("-inf"):
            raise InvalidArgument("the grammar leads to a point where no token fits", field="response_format")
        choice = self._sampler.choose_shaped(row, masked)
        grammar.advance(choice.token)
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
