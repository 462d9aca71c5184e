"""Answers in Fireworks' and OpenAI's shapes (https://docs.fireworks.ai/api-reference): whole bodies and stream chunks.

Formatting only. Rules the SDKs hold us to: a new-style logprob item parses only when complete, legacy arrays hold
no null (the first echoed token is 0.0 and {}), usage rides in the chunk that carries the last finish_reason, or in one
of its own where stream_options ask for that.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.replica.job import Delta, Event, Finished, Started, Token
from engine.replica.llama import Vocabulary
from engine.replica.tools import Answer, AnswerPlan

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Style:
    """How one request wants its answer."""

    identifier: str
    created: int
    model: str
    chat: bool
    logprobs: bool
    legacy_logprobs: bool
    token_ids: bool
    echo: bool
    generated: int = 1  # choices of each prompt
    kept: int = 1  # and how many of them a whole body shows: the best
    raw_output: bool = False
    stop_reason: bool = False
    grammar: str | None = None


@dataclass(slots=True)
class ChoiceState:
    """One choice as it grows. `shift` is what echoed prompt text adds to every text offset.

    `prompt_text` is what is echoed, the last `echoed_tokens` of the prompt; `completion` is what the model wrote.
    """

    prompt: list[int]
    prompt_text: str
    echoed_tokens: int = 0
    fragments: list[str | int] = field(default_factory=list)
    completion: str = ""
    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    echoed: tuple[Token, ...] = ()
    finish_reason: str | None = None
    stopped_by: str | None = None
    answer: Answer | None = None  # reads calls and reasoning out of the text, where there can be any
    spoken: Json = field(default_factory=dict)  # the delta that the last event came to
    shift: int = 0


class Writer:
    """Turns the events of one request into chunks, and remembers enough for a whole body."""

    def __init__(
        self, style: Style, choices: Sequence[ChoiceState], vocabulary: Vocabulary, plan: AnswerPlan | None = None
    ) -> None:
        self.style, self.choices, self._vocabulary = style, list(choices), vocabulary
        for choice in self.choices:
            choice.answer = None if plan is None else Answer(plan)

    def absorb(self, event: Event) -> None:
        """Remember what an event says. Call it for every event, before formatting that event."""
        choice = self.choices[event.index]
        if isinstance(event, Started) and self.style.echo:
            choice.echoed, choice.shift = self._with_offsets(event.scores, choice), len(choice.prompt_text)
            choice.text = choice.prompt_text
        elif isinstance(event, Delta):
            choice.text += event.text
            choice.completion += event.text
            choice.tokens += event.tokens
            choice.spoken = {"content": event.text} if event.text else {}
            if choice.answer is not None:
                choice.spoken = choice.answer.delta(choice.answer.push(event.text))
        elif isinstance(event, Finished):
            choice.finish_reason, choice.stopped_by, choice.spoken = event.reason, event.stopped_by, {}
            if choice.answer is not None:
                choice.spoken = choice.answer.delta(choice.answer.finish(cut=event.reason == "length"))
                choice.finish_reason = choice.answer.finish_reason(event.reason)

    def started(self, event: Started) -> list[Json]:
        """The opening chunk of a choice: the role for chat, the prompt for echo, prompt ids when asked for."""
        choice = self.choices[event.index]
        if not (self.style.chat or self.style.echo or self.style.token_ids):
            return []
        text = choice.prompt_text if self.style.echo else ""
        opening = self._choice(event.index, text, choice.echoed, {"role": "assistant", "content": text}, opening=True)
        chunk = self._chunk([opening])
        if self.style.token_ids:
            (chunk if self.style.chat else opening)["prompt_token_ids"] = choice.prompt
        return [chunk]

    def delta(self, event: Delta) -> list[Json]:
        """The chunk of some tokens. None while their text is held back, unless the tokens themselves are told."""
        said = self.choices[event.index].spoken
        choice = self._choice(event.index, event.text, event.tokens, said)
        return [self._chunk([choice])] if said or "logprobs" in choice or "token_ids" in choice else []

    def finished(self, event: Finished, usage: Json | None, perf: Json | None) -> list[Json]:
        """The closing chunk of a choice, after what was still held back; `usage` and `perf` are given for the last
        choice to end."""
        state = self.choices[event.index]
        rest = [self._chunk([self._choice(event.index, "", (), state.spoken)])] if state.spoken else []
        closing = self._choice(event.index, "", ())
        closing["finish_reason"] = state.finish_reason
        if self.style.stop_reason:
            closing["stop_reason"] = state.stopped_by
        if self.style.raw_output:
            closing["raw_output"] = self._raw_output(state)
        return [*rest, self._chunk([closing], usage, perf)]

    def usage_only(self, usage: Json) -> Json:
        """The extra last chunk that OpenAI clients ask for with stream_options.include_usage."""
        return self._chunk([], usage)

    def body(self, usage: Json, perf: Json | None) -> Json:
        """The whole answer."""
        kind = "chat.completion" if self.style.chat else "text_completion"
        body = self._envelope(kind) | {"choices": [self._whole(i) | {"index": at} for at, i in enumerate(self._kept())]}
        body["usage"] = usage
        if perf is not None:
            body["perf_metrics"] = perf
        if self.style.token_ids and self.style.chat:
            body["prompt_token_ids"] = self.choices[0].prompt
        return body

    def _kept(self) -> list[int]:
        """Which choices a whole body shows: of each prompt's, those that the model itself finds likeliest."""
        kept, of = self.style.kept, self.style.generated
        if kept == of:
            return list(range(len(self.choices)))
        ranked = [sorted(range(i, i + of), key=self._likelihood, reverse=True) for i in range(0, len(self.choices), of)]
        return [index for group in ranked for index in group[:kept]]

    def _likelihood(self, index: int) -> float:
        """The mean log-probability of what a choice says; that of saying nothing is not known."""
        scores = [token.logprob or 0.0 for token in self.choices[index].tokens]
        return sum(scores) / len(scores) if scores else float("-inf")

    def _envelope(self, kind: str) -> Json:
        return {
            "id": self.style.identifier,
            "object": kind,
            "created": self.style.created,
            "model": self.style.model,
        }

    def _chunk(self, choices: list[Json], usage: Json | None = None, perf: Json | None = None) -> Json:
        kind = "chat.completion.chunk" if self.style.chat else "text_completion"
        chunk = self._envelope(kind) | {"choices": choices}
        if usage is not None:
            chunk["usage"] = usage
        if perf is not None:
            chunk["perf_metrics"] = perf
        return chunk

    def _choice(
        self, index: int, text: str, tokens: Sequence[Token], said: Json | None = None, *, opening: bool = False
    ) -> Json:
        """A choice in a chunk: `said` is its delta in chats, `text` its text elsewhere."""
        choice: Json = {"index": index, "finish_reason": None}
        if self.style.chat:
            choice["delta"] = said or {}
        else:
            choice["text"] = text
        self._annotate(choice, tokens, self.choices[index], echoed=opening)
        return choice

    def _whole(self, index: int) -> Json:
        state = self.choices[index]
        choice: Json = {"index": index, "finish_reason": state.finish_reason}
        if self.style.chat:
            choice["message"] = {"role": "assistant", **self._message(state)}
        else:
            choice["text"] = state.text
        if self.style.logprobs:
            echoed, own = self._logprobs(state.echoed, 0), self._logprobs(state.tokens, state.shift)
            choice["logprobs"] = {key: echoed[key] + own[key] for key in own}
        if self.style.token_ids:
            choice["token_ids"] = [t.identifier for t in state.tokens]
            if not self.style.chat:
                choice["prompt_token_ids"] = state.prompt
        if self.style.raw_output:
            choice["raw_output"] = self._raw_output(state)
        if self.style.stop_reason:
            choice["stop_reason"] = state.stopped_by
        return choice

    def _message(self, state: ChoiceState) -> Json:
        if state.answer is None:
            return {"content": state.text}
        message = state.answer.message()
        return message | {"content": state.prompt_text + (message["content"] or "")} if self.style.echo else message

    def _raw_output(self, state: ChoiceState) -> Json:
        """What went into the model and what came out of it, before anything was made of it."""
        raw: Json = {
            "prompt_fragments": state.fragments,
            "prompt_token_ids": state.prompt,
            "completion": state.completion,
            "completion_token_ids": [token.identifier for token in state.tokens],
        }
        if self.style.logprobs:
            raw["completion_logprobs"] = {"content": [self._item(token, 0) for token in state.tokens]}
        if self.style.grammar is not None:
            raw["grammar"] = self.style.grammar
        return raw

    def _annotate(self, choice: Json, tokens: Sequence[Token], state: ChoiceState, *, echoed: bool) -> None:
        """Logprobs and token ids of the tokens of one chunk."""
        if self.style.logprobs and tokens:
            choice["logprobs"] = self._logprobs(tokens, 0 if echoed else state.shift)
        if self.style.token_ids and tokens and not echoed:
            choice["token_ids"] = [t.identifier for t in tokens]

    def _with_offsets(self, scores: Iterable[Token], choice: ChoiceState) -> tuple[Token, ...]:
        """The echoed tokens with the text offset where each begins; what the vocabulary put in front has offset 0."""
        echoed = list(scores)[len(choice.prompt) - choice.echoed_tokens :]
        whole = self._vocabulary.text([token.identifier for token in echoed])
        offset = len(choice.prompt_text) - len(whole)
        placed: list[Token] = []
        characters = codecs.getincrementaldecoder("utf-8")("replace")
        for token in echoed:
            placed.append(Token(token.identifier, max(0, offset), token.logprob, None, token.top))
            offset += len(characters.decode(self._vocabulary.piece(token.identifier, special=True)))
        return tuple(placed)

    def _text(self, token: int) -> str:
        return self._vocabulary.piece(token, special=True).decode("utf-8", "replace")

    def _bytes(self, token: int) -> list[int]:
        return list(self._vocabulary.piece(token, special=True))

    def _logprobs(self, tokens: Sequence[Token], shift: int) -> dict[str, list[Any]]:
        if self.style.legacy_logprobs:
            return self._legacy_logprobs(tokens, shift)
        return {"content": [self._item(token, shift) for token in tokens]}

    def _item(self, token: Token, shift: int) -> Json:
        item: Json = {
            "token": self._text(token.identifier),
            "bytes": self._bytes(token.identifier),
            "logprob": token.logprob or 0.0,
            "text_offset": token.text_offset + shift,
            "token_id": token.identifier,
            "top_logprobs": [
                {
                    "token": self._text(t),
                    "logprob": p,
                    "token_id": t,
                    "bytes": self._bytes(t),
                }
                for t, p in token.top
            ],
        }
        if token.sampling_logprob is not None:
            item["sampling_logprob"] = token.sampling_logprob
        return item

    def _legacy_logprobs(self, tokens: Sequence[Token], shift: int) -> dict[str, list[Any]]:
        return {
            "tokens": [self._text(t.identifier) for t in tokens],
            "token_logprobs": [t.logprob or 0.0 for t in tokens],
            "top_logprobs": [{self._text(i): p for i, p in t.top} for t in tokens],
            "text_offset": [t.text_offset + shift for t in tokens],
            "token_ids": [t.identifier for t in tokens],
        }


def usage(prompt_tokens: int, cached_tokens: int, generated_tokens: int) -> Json:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": generated_tokens,
        "total_tokens": prompt_tokens + generated_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }
