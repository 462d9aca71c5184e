"""The wire of inference, inward: bytes -> JSON -> validated fields -> token ids, options, grammar -> a Call's jobs.

Runs on worker threads. Whatever can be the client's fault raises a FiredeckError in `prepare`, before a job exists.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from client.errors import InvalidArgument
from engine.replica import grammar
from engine.replica.call import Call, Identity
from engine.replica.chunks import ChoiceState, Style, Writer
from engine.replica.fields import (
    DEFAULT_MAX_TOKENS,
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    ResponseFormat,
    parse,
)
from engine.replica.job import Job, Times
from engine.replica.llama import Grammar, Model
from engine.replica.mailbox import Mailbox
from engine.replica.options import OptionsMaker
from engine.replica.prompt import PromptMaker
from engine.replica.scheduler import Scheduler
from engine.replica.strict_json import parse_json

GRAMMAR_PROBE_S = 0.5  # one masking of the vocabulary; a grammar slower than this would hold up everyone
ISOLATION_HEADER = "x-prompt-cache-isolation-key"


class Inference:
    """Prepares calls for one loaded model. `prepare` may run on any thread, several at a time."""

    def __init__(
        self, model: Model, scheduler: Scheduler, context_length: int, identity: Identity, seed: int | None = None
    ) -> None:
        self._model, self._scheduler, self._context_length = model, scheduler, context_length
        self._identity = identity
        self._prompts = PromptMaker(model, context_length)
        self._options = OptionsMaker(model, seed)

    @property
    def has_chat_template(self) -> bool:
        return self._prompts.template is not None

    def prepare(self, raw: bytes, headers: Mapping[str, str], mailbox: Mailbox, *, chat: bool) -> Call:
        """Everything up to the queue. Raises FiredeckError for whatever is wrong with the request."""
        received = time.monotonic()
        body = parse_json(raw)
        request: GenerationRequest = parse(ChatRequest if chat else CompletionRequest, body)
        prompts = self._prompt_tokens(request)
        tokenized = time.monotonic()
        common = self._common(request, headers, mailbox)
        jobs: list[Job] = []
        states: list[ChoiceState] = []
        for tokens, text in prompts:
            first = replace(common, index=len(jobs), prompt=tokens, max_tokens=self._max_tokens(request, len(tokens)))
            choices = _choices(first, request.n or 1)
            jobs += choices
            states += [ChoiceState(tokens, text) for _ in choices]
        writer = Writer(_style(request), states, self._model.vocabulary)
        return Call(request, jobs, mailbox, writer, self._scheduler, self._identity, received, tokenized - received)

    def _common(self, request: GenerationRequest, headers: Mapping[str, str], mailbox: Mailbox) -> Job:
        """What all jobs of a request have in common; index, prompt and limit are still to be set."""
        gbnf = _gbnf(request.response_format)
        # Both places count, and mean the same: a header must not hide the key in the body, nor the other way round.
        keys = (headers.get(ISOLATION_HEADER), request.prompt_cache_isolation_key)
        return Job(
            index=0,
            prompt=[],
            max_tokens=0,
            sampling=self._options.options(request),
            stops=request.stops,
            cache_key=tuple(dict.fromkeys(key for key in keys if key)),
            sink=mailbox,
            grammar=None if gbnf is None else self._grammar(gbnf),
            ignore_eos=bool(request.ignore_eos),
            cache_max_tokens=request.prompt_cache_max_len,
            score_prompt=bool(getattr(request, "echo", False)) and request.logprobs_asked,
        )

    def _prompt_tokens(self, request: GenerationRequest) -> list[tuple[list[int], str]]:
        """Each prompt as (token ids, its text when it will be echoed)."""
        if isinstance(request, ChatRequest):
            messages = [
                {"role": m.role, "content": m.text(f"messages.{i}.content")} for i, m in enumerate(request.messages)
            ]
            return [(self._prompts.chat(messages), "")]
        assert isinstance(request, CompletionRequest)
        return [self._raw_prompt(prompt, request) for prompt in request.prompts]

    def _raw_prompt(self, prompt: str | list[int], request: CompletionRequest) -> tuple[list[int], str]:
        vocabulary = self._model.vocabulary
        if isinstance(prompt, str):
            tokens = self._prompts.text(prompt, parse_special=not request.safe_tokenization)
        else:
            tokens = prompt
            if max(prompt) >= vocabulary.size:
                raise InvalidArgument(f"token ids end at {vocabulary.size - 1}", field="prompt")
        if not tokens:
            raise InvalidArgument("the prompt is empty", field="prompt")
        if not request.echo:
            return tokens, ""
        return tokens, prompt if isinstance(prompt, str) else vocabulary.text(tokens)

    def _max_tokens(self, request: GenerationRequest, prompt_tokens: int) -> int:
        """How many tokens may be generated. Clamped to the context unless the request wants an error instead."""
        room = self._context_length - prompt_tokens
        field = "messages" if isinstance(request, ChatRequest) else "prompt"
        asked = request.token_limit
        if room <= 0:
            raise InvalidArgument(
                f"the prompt has {prompt_tokens} tokens, this deployment's context is {self._context_length}",
                field=field,
            )
        if request.context_length_exceeded_behavior == "error" and asked is not None and asked > room:
            raise InvalidArgument(
                f"{prompt_tokens} prompt tokens and {asked} more exceed the context of {self._context_length}",
                field="max_tokens",
            )
        return min(DEFAULT_MAX_TOKENS if asked is None else asked, room)

    def _grammar(self, gbnf: str) -> Grammar:
        """The grammar, tried once here on a worker thread: one that is slow would stall a step of everyone."""
        started = time.monotonic()
        try:
            made = Grammar.parse(self._model.vocabulary, gbnf)
        except ValueError as error:
            raise InvalidArgument(str(error), field="response_format") from None
        made.mask(np.zeros(self._model.vocabulary.size, np.float32))
        if time.monotonic() - started > GRAMMAR_PROBE_S:
            raise InvalidArgument("the grammar is too ambiguous to evaluate in time", field="response_format")
        return made


def _choices(first: Job, count: int) -> list[Job]:
    """The choices of one prompt; all but the first wait for its prefill and copy it."""
    submitted = time.monotonic()
    first.times = Times(submitted=submitted)
    followers = [
        replace(
            first,
            index=first.index + choice,
            sampling=replace(first.sampling, choice=choice),
            leader=first,
            times=Times(submitted=submitted),
        )
        for choice in range(1, count)
    ]
    return [first, *followers]


def _gbnf(response_format: ResponseFormat | None) -> str | None:
    """The grammar that a response_format asks for, or None."""
    if response_format is None or response_format.type == "text":
        return None
    if response_format.type == "grammar":
        if not response_format.grammar:
            raise InvalidArgument("give the grammar", field="response_format.grammar")
        return grammar.check_gbnf(response_format.grammar)
    schema = response_format.schema_
    if response_format.type == "json_schema":
        schema = schema if schema is not None else response_format.json_schema
        if schema is None:
            raise InvalidArgument("give the schema", field="response_format.json_schema")
        if isinstance(schema.get("schema"), dict):  # OpenAI's {name, schema, strict} around the schema itself
            schema = schema["schema"]
    return grammar.any_json_object() if schema is None else grammar.schema_to_gbnf(schema)


def _style(request: GenerationRequest) -> Style:
    chat = isinstance(request, ChatRequest)
    return Style(
        identifier=("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12),
        created=int(time.time()),
        model=request.model,
        chat=chat,
        logprobs=request.logprobs_asked,
        legacy_logprobs=request.legacy_logprobs,
        token_ids=bool(request.return_token_ids),
        echo=bool(getattr(request, "echo", False)),
    )
