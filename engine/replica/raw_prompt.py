"""The prompts of text completions: as they are, cut to their end, or around a gap to fill."""

from __future__ import annotations

from client.errors import InvalidArgument
from engine.replica.fields import CompletionRequest
from engine.replica.llama import Model
from engine.replica.plain_text import infill_tokens, last_bytes
from engine.replica.prompt import PromptMaker
from engine.replica.truncation import last_tokens

Given = str | list[int] | None  # a prompt as the request has it; None: a template made it, or it was cut


class RawPrompts:
    """Raw prompts to token ids, for one model with `context_length` tokens of memory. Any thread."""

    def __init__(self, model: Model, prompts: PromptMaker, context_length: int) -> None:
        self._vocabulary, self._prompts, self._context_length = model.vocabulary, prompts, context_length

    def read(self, request: CompletionRequest) -> list[tuple[list[int], Given]]:
        """Each prompt of the request: its token ids, and as it was given."""
        return [self._read(prompt, request) for prompt in request.prompts]

    def limit(self, asked: int) -> int:
        """How many tokens a prompt keeps that is cut to `asked`: room for one of the answer is left."""
        return max(1, min(asked, self._context_length - 1))

    def _read(self, prompt: str | list[int], request: CompletionRequest) -> tuple[list[int], Given]:
        if request.suffix and isinstance(prompt, str):
            return infill_tokens(self._prompts, self._vocabulary, prompt, request.suffix), None
        if request.prompt_truncate_len is not None:
            return self._end_of(prompt, self.limit(request.prompt_truncate_len))
        return self._tokens(prompt, parse_special=not request.safe_tokenization), prompt

    def _end_of(self, prompt: str | list[int], limit: int) -> tuple[list[int], Given]:
        """The last tokens of a prompt; of a long text only as much as can remain is tokenised."""
        end = prompt
        if isinstance(prompt, str):
            end = last_bytes(prompt, limit * self._vocabulary.longest_piece_bytes)
        tokens = self._tokens(end, parse_special=True)
        if len(tokens) <= limit and end == prompt:
            return tokens, prompt
        return last_tokens(tokens, limit, self._vocabulary.bos), None

    def _tokens(self, prompt: str | list[int], *, parse_special: bool) -> list[int]:
        if isinstance(prompt, str):
            tokens = self._prompts.text(prompt, parse_special=parse_special)
        else:
            tokens = prompt
            if max(prompt) >= self._vocabulary.size:
                raise InvalidArgument(f"token ids end at {self._vocabulary.size - 1}", field="prompt")
        if not tokens:
            raise InvalidArgument("the prompt is empty", field="prompt")
        return tokens
