"""Rendered prompts to token ids, with control tokens only where the template wrote them.

Text that cannot fit the context is refused before llama.cpp sees it: tokenising megabytes costs seconds, and some
vocabularies cut words with a regular expression that overflows the stack (see `llama.SAFE_PRETOKENIZERS`).

Control tokens are cut out of the template's own text by their spelling; the rest, template and user text together,
is tokenised as plain text. So ids equal llama.cpp's own tokenisation of the whole prompt whenever no user spells a
control token, and user text never becomes one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from client.errors import FailedPrecondition, InvalidArgument
from engine.replica.llama import Model
from engine.replica.template import ChatTemplate, Rendered


class PromptMaker:
    """Chat messages and raw text to token ids of one model with `context_length` tokens of memory. Any thread."""

    def __init__(self, model: Model, context_length: int) -> None:
        self._vocabulary = model.vocabulary
        self._context_length = context_length
        self.template: ChatTemplate | None = None
        if model.chat_template is not None:
            bos, eos = (
                self._vocabulary.text([t]) if t >= 0 else "" for t in (model.vocabulary.bos, self._vocabulary.eos)
            )
            self.template = ChatTemplate(model.chat_template, bos_token=bos, eos_token=eos)

    def chat(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a conversation with the assistant's turn opened."""
        if self.template is None:
            raise FailedPrecondition(
                "this model has no chat template: it is a base model", field="messages", hint="use /v1/completions"
            )
        self._check_length((message["content"] for message in messages), "messages")
        return self.encode(self.template.render(messages))

    def text(self, text: str, *, parse_special: bool) -> list[int]:
        """Token ids of a raw prompt, with the model's own opening tokens."""
        self._check_length((text,), "prompt")
        self._check_runs(text, "prompt")
        return self._vocabulary.tokenize(text, add_special=True, parse_special=parse_special)

    def encode(self, rendered: Rendered) -> list[int]:
        """Token ids of a rendered prompt; raises InvalidArgument when user text cannot be told from control tokens."""
        for content in rendered.unplaced:
            if found := self._special.search(content):
                raise InvalidArgument(
                    f"a message contains {found.group()!r}, which this model's chat template cannot carry as text",
                    field="messages",
                )
        tokens: list[int] = []
        for piece in self._pieces(rendered):
            if isinstance(piece, int):
                tokens.append(piece)
            else:
                self._check_runs(piece, "messages")
                tokens += self._vocabulary.tokenize(piece, add_special=False, parse_special=False)
        if self._vocabulary.adds_bos and tokens[:1] != [self._vocabulary.bos]:
            tokens.insert(0, self._vocabulary.bos)
        return tokens

    def _check_length(self, texts: Iterable[str], field: str) -> None:
        """Refuse text longer than the context would be if every token were the vocabulary's longest."""
        size = sum(len(text.encode("utf-8")) for text in texts)
        # The vocabulary is measured only when need be: no token stands for less than one byte.
        if size > self._context_length and size > self._context_length * self._vocabulary.longest_piece_bytes:
            raise InvalidArgument(
                f"{size} bytes of text are too long for this deployment's context of {self._context_length} tokens",
                field=field,
            )

    def _check_runs(self, text: str, field: str) -> None:
        limit = self._vocabulary.max_run_chars
        if limit is not None and len(text) > limit and longest_run(text) > limit:
            raise InvalidArgument(
                f"this model cannot read more than {limit} characters without a space between, or spaces alone",
                field=field,
            )

    def _pieces(self, rendered: Rendered) -> Iterator[str | int]:
        """Plain text and the ids of control tokens, in order; text runs across segment borders."""
        text = ""
        for segment in rendered.segments:
            if segment.is_content:
                text += segment.text
                continue
            at = 0
            for found in self._special.finditer(segment.text):
                text += segment.text[at : found.start()]
                token = self._vocabulary.special_tokens[found.group()]
                at = self._skip_space(segment.text, found.end(), token)
                yield self._trimmed(text, token)
                yield token
                text = ""
            text += segment.text[at:]
        yield text

    def _trimmed(self, text: str, token: int) -> str:
        """Some vocabularies have control tokens that swallow the space before them."""
        return text.rstrip() if self._vocabulary.eats_space_before(token) else text

    def _skip_space(self, text: str, at: int, token: int) -> int:
        """Likewise for the space after them."""
        if self._vocabulary.eats_space_after(token):
            at = len(text) - len(text[at:].lstrip())
        return at

    @cached_property
    def _special(self) -> re.Pattern[str]:
        """Matches any control token's spelling, the longest first; never matches when there are none."""
        spellings = sorted(self._vocabulary.special_tokens, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, spellings)) or r"(?!)")


def longest_run(text: str) -> int:
    """The length of the longest stretch without whitespace, or of nothing but whitespace."""
    return max((len(found.group()) for found in re.finditer(r"\S+|\s+", text)), default=0)
