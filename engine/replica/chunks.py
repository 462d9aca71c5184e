"""Answers in Fireworks' and OpenAI's shapes (https://docs.fireworks.ai/api-reference): whole bodies and stream chunks.

Formatting only. Rules the SDKs hold us to: a new-style logprob item parses only when complete, legacy arrays hold
no null (the first echoed token is 0.0 and {}), usage rides in the chunk that carries the last finish_reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.replica.job import Delta, Event, Finished, Started, Token
from engine.replica.llama import Vocabulary

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


@dataclass(slots=True)
class ChoiceState:
    """One choice as it grows. `shift` is what echoed prompt text adds to every text offset."""

    prompt: list[int]
    prompt_text: str
    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    echoed: tuple[Token, ...] = ()
    finish_reason: str | None = None
    shift: int = 0


class Writer:
    """Turns the events of one request into chunks, and remembers enough for a whole body."""

    def __init__(self, style: Style, choices: Sequence[ChoiceState], vocabulary: Vocabulary) -> None:
        self.style, self.choices, self._vocabulary = style, list(choices), vocabulary

    def absorb(self, event: Event) -> None:
        """Remember what an event says. Call it for every event, before formatting that event."""
        choice = self.choices[event.index]
        if isinstance(event, Started) and self.style.echo:
            choice.echoed, choice.shift = self._with_offsets(event.scores, choice), len(choice.prompt_text)
            choice.text = choice.prompt_text
        elif isinstance(event, Delta):
            choice.text += event.text
            choice.tokens += event.tokens
        elif isinstance(event, Finished):
            choice.finish_reason = event.reason

    def started(self, event: Started) -> list[Json]:
        """The opening chunk of a choice: the role for chat, the prompt for echo, prompt ids when asked for."""
        choice = self.choices[event.index]
        if not (self.style.chat or self.style.echo or self.style.token_ids):
            return []
        text = choice.prompt_text if self.style.echo else ""
        opening = self._choice(event.index, text, choice.echoed, opening=True)
        chunk = self._chunk([opening])
        if self.style.token_ids:
            (chunk if self.style.chat else opening)["prompt_token_ids"] = choice.prompt
        return [chunk]

    def delta(self, event: Delta) -> Json:
        return self._chunk([self._choice(event.index, event.text, event.tokens)])

    def finished(self, event: Finished, usage: Json | None, perf: Json | None) -> Json:
        """The closing chunk of a choice; `usage` and `perf` are given for the last choice to end."""
        closing = self._choice(event.index, "", ())
        closing["finish_reason"] = event.reason
        return self._chunk([closing], usage, perf)

    def usage_only(self, usage: Json) -> Json:
        """The extra last chunk that OpenAI clients ask for with stream_options.include_usage."""
        return self._chunk([], usage)

    def body(self, usage: Json, perf: Json | None) -> Json:
        """The whole answer."""
        kind = "chat.completion" if self.style.chat else "text_completion"
        body = self._envelope(kind) | {"choices": [self._whole(i) for i in range(len(self.choices))], "usage": usage}
        if perf is not None:
            body["perf_metrics"] = perf
        if self.style.token_ids and self.style.chat:
            body["prompt_token_ids"] = self.choices[0].prompt
        return body

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

    def _choice(self, index: int, text: str, tokens: Sequence[Token], *, opening: bool = False) -> Json:
        choice: Json = {"index": index, "finish_reason": None}
        if self.style.chat:
            role: Json = {"role": "assistant"} if opening else {}
            choice["delta"] = role | ({"content": text} if text or opening else {})
        else:
            choice["text"] = text
        self._annotate(choice, tokens, self.choices[index], echoed=opening)
        return choice

    def _whole(self, index: int) -> Json:
        state = self.choices[index]
        choice: Json = {"index": index, "finish_reason": state.finish_reason}
        if self.style.chat:
            choice["message"] = {"role": "assistant", "content": state.text}
        else:
            choice["text"] = state.text
        if self.style.logprobs:
            echoed, own = self._logprobs(state.echoed, 0), self._logprobs(state.tokens, state.shift)
            choice["logprobs"] = {key: echoed[key] + own[key] for key in own}
        if self.style.token_ids:
            choice["token_ids"] = [t.identifier for t in state.tokens]
            if not self.style.chat:
                choice["prompt_token_ids"] = state.prompt
        return choice

    def _annotate(self, choice: Json, tokens: Sequence[Token], state: ChoiceState, *, echoed: bool) -> None:
        """Logprobs and token ids of the tokens of one chunk."""
        if self.style.logprobs and tokens:
            choice["logprobs"] = self._logprobs(tokens, 0 if echoed else state.shift)
        if self.style.token_ids and tokens and not echoed:
            choice["token_ids"] = [t.identifier for t in tokens]

    def _with_offsets(self, scores: Iterable[Token], choice: ChoiceState) -> tuple[Token, ...]:
        """Prompt tokens with the text offset where each begins; what the vocabulary put in front has offset 0."""
        placed: list[Token] = []
        offset = len(choice.prompt_text) - len(self._vocabulary.text(choice.prompt))
        for token in scores:
            placed.append(Token(token.identifier, max(0, offset), token.logprob, None, token.top))
            offset += len(self._text(token.identifier))
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
