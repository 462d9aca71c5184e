"""Rendered prompts to token ids, with control tokens only where the template wrote them.

Text that cannot fit the context is refused before llama.cpp sees it: tokenising megabytes costs seconds, and some
vocabularies cut words with a regular expression that overflows the stack (see `llama.SAFE_PRETOKENIZERS`).

Control tokens are cut out of the template's own text by their spelling; the rest, template and user text together,
is tokenised as plain text. So ids equal llama.cpp's own tokenisation of the whole prompt whenever no user spells a
control token, and user text never becomes one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from client.errors import FailedPrecondition, InvalidArgument
from engine.replica.conversation import Conversation
from engine.replica.llama import Model
from engine.replica.template import ChatTemplate, Rendered, Segment, texts_in
from engine.replica.template_budget import TemplateError
from engine.replica.tools.fallback import as_text, with_instruction, with_text_arguments
from engine.replica.tools.family import detect, has_think_switch, mentions_tools

Json = dict[str, Any]

TOO_LONG_HINT = "raise maxContextLength of the deployment or shorten the prompt"


class PromptMaker:
    """Chat messages and raw text to token ids of one model with `context_length` tokens of memory. Any thread."""

    def __init__(self, model: Model, context_length: int) -> None:
        self._vocabulary = model.vocabulary
        self._context_length = context_length
        self.template: ChatTemplate | None = None
        self._source = model.chat_template or ""
        self._family = detect(self._source)
        if model.chat_template is not None:
            bos, eos = (
                self._vocabulary.text([t]) if t >= 0 else "" for t in (model.vocabulary.bos, self._vocabulary.eos)
            )
            self.template = ChatTemplate(model.chat_template, bos_token=bos, eos_token=eos)

    def chat(self, talk: Conversation) -> list[int]:
        """Token ids of a conversation with the assistant's turn opened."""
        if self.template is None:
            raise FailedPrecondition(
                "this model has no chat template: it is a base model", field="messages", hint="use /v1/completions"
            )
        self._check_length(texts_in([[m["content"], m.get("tool_calls", [])] for m in talk.messages]), "messages")
        self._check_length((m.get("reasoning_content", "") for m in talk.messages), "messages")
        self._check_length(texts_in(talk.tools), "tools")
        self._check_history(talk)
        return self.encode(self._without_thoughts(self._rendered(talk), talk))

    def opens_reasoning(self, tokens: list[int]) -> bool:
        """Whether a prompt ends inside the model's reasoning."""
        if self._family.think is None:
            return False
        opening = self._family.think[0]
        return self._vocabulary.text(tokens[-2 * len(opening) :]).rstrip().endswith(opening)

    def _rendered(self, talk: Conversation) -> Rendered:
        """The template's rendering. Templates that know of no tools get them as text."""
        assert self.template is not None
        messages = [self._with_own_ids(message) for message in talk.messages]
        if mentions_tools(self._source):
            return self._render_calls(messages, talk)
        messages = as_text(messages)
        if not talk.tools:
            return self._render(messages, talk)
        told = with_instruction(messages, talk.tools, role="system")
        try:
            return self._render(told, talk)
        except TemplateError:
            if len(told) == len(messages):
                raise
            # The system message was ours, and some templates allow none.
            return self._render(with_instruction(messages, talk.tools, role="user"), talk)

    def _render_calls(self, messages: list[Json], talk: Conversation) -> Rendered:
        """Most templates want a call's arguments as an object, some as JSON text."""
        try:
            return self._render(messages, talk)
        except TemplateError:
            if not any("tool_calls" in message for message in messages):
                raise
            return self._render(with_text_arguments(messages), talk)

    def _render(self, messages: list[Json], talk: Conversation) -> Rendered:
        assert self.template is not None
        tools = talk.tools if talk.tools and mentions_tools(self._source) else None
        return self.template.render(messages, tools=tools, variables=self._variables(talk), control=self._special)

    def _variables(self, talk: Conversation) -> dict[str, Any]:
        """What templates read about thinking. Nothing when the request does not say, so that their defaults hold."""
        variables: dict[str, Any] = {}
        if talk.thinks is not None:
            variables |= {"enable_thinking": talk.thinks, "thinking": talk.thinks}
        if talk.effort is not None:
            variables["reasoning_effort"] = talk.effort
        elif talk.thinks is False:  # models with channels always think; the least of it is low
            variables["reasoning_effort"] = "low" if self._family.channels else "none"
        return variables

    def _without_thoughts(self, rendered: Rendered, talk: Conversation) -> Rendered:
        """For a request that wants no reasoning: reasoning that the prompt opens is closed at once, and where the
        template cannot be told, an empty one stands in the prompt. Models that do not reason need neither."""
        if talk.thinks is not False or self._family.think is None or self._family.channels:
            return rendered
        opening, closing = self._family.think
        if rendered.text.rstrip().endswith(opening):
            gap = "\n" if rendered.text.endswith("\n") else "\n\n"
            extra = f"{gap}{closing}\n\n"
        elif has_think_switch(self._source):
            return rendered
        else:
            extra = f"{opening}\n\n{closing}\n\n"
        return Rendered((*rendered.segments, Segment(extra, is_content=False)), rendered.unplaced)

    def _check_history(self, talk: Conversation) -> None:
        kept = talk.history in ("interleaved", "preserved") and any("reasoning_content" in m for m in talk.messages)
        if kept and "reasoning_content" not in self._source:
            raise InvalidArgument("this model's chat template drops earlier reasoning", field="reasoning_history")

    def _with_own_ids(self, message: Json) -> Json:
        """Mistral's templates take ids of calls of nine letters and digits only; others keep them."""
        if self._family.name != "mistral":
            return message
        own = dict(message)
        if "tool_call_id" in own:
            own["tool_call_id"] = _nine(own["tool_call_id"])
        if "tool_calls" in own:
            own["tool_calls"] = [call | {"id": _nine(call["id"])} for call in own["tool_calls"]]
        return own

    def text(self, text: str, *, parse_special: bool, add_special: bool = True, field: str = "prompt") -> list[int]:
        """Token ids of a raw prompt, with the model's own opening tokens unless `add_special` is False."""
        self._check_length((text,), field)
        self._check_runs(text, field)
        return self._vocabulary.tokenize(text, add_special=add_special, parse_special=parse_special)

    def filled(self, rendered: Rendered, field: str) -> list[int]:
        """Token ids of a template that is no conversation, once its texts are known to be bearable."""
        self._check_length((segment.text for segment in rendered.segments), field)
        return self.encode(rendered)

    def encode(self, rendered: Rendered) -> list[int]:
        """Token ids of a rendered prompt; raises InvalidArgument when user text cannot be told from control tokens."""
        for content in rendered.unplaced:
            if found := self._special.search(content):
                raise InvalidArgument(
                    f"{found.group()!r} is a control token, which this model's chat template cannot carry as text",
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
                hint=TOO_LONG_HINT,
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


def _nine(identifier: str) -> str:
    return hashlib.sha256(identifier.encode("utf-8")).hexdigest()[:9]
