"""The wire of inference, inward: bytes -> JSON -> validated fields -> token ids, grammar -> a Call with its jobs.

Runs on worker threads. Whatever can be the client's fault raises a FiredeckError in `prepare`, before a job exists.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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
from engine.replica.llama import Grammar, Model
from engine.replica.mailbox import Mailbox
from engine.replica.prompt import PromptMaker
from engine.replica.sampling import SamplingOptions
from engine.replica.scheduler import Scheduler
from engine.replica.sequence import Job

GRAMMAR_PROBE_S = 0.5  # one masking of the vocabulary; a grammar slower than this would hold up everyone
META_SAMPLING = {"temperature": "temp", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}


class Inference:
    """Prepares calls for one loaded model. `prepare` may run on any thread, several at a time."""

    def __init__(
        self, model: Model, scheduler: Scheduler, context_length: int, identity: Identity, seed: int | None = None
    ) -> None:
        self._model, self._scheduler, self._context_length = model, scheduler, context_length
        self._identity = identity
        self._prompts = PromptMaker(model)
        # Requests without a seed: unguessable, or a repeatable series when the process was given one.
        self._seeds = random.SystemRandom() if seed is None else random.Random(seed)
        self._defaults = _sampling_defaults(model)

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
        options = self._sampling(request)
        gbnf = _gbnf(request.response_format)
        if gbnf is not None:
            self._probe(gbnf)
        jobs: list[Job] = []
        states: list[ChoiceState] = []
        for tokens, text in prompts:
            max_tokens = self._max_tokens(request, len(tokens))
            group = self._jobs(request, headers, tokens, max_tokens, options, gbnf, len(jobs), mailbox)
            jobs += group
            states += [ChoiceState(tokens, text) for _ in group]
        writer = Writer(_style(request), states, self._model.vocabulary)
        return Call(request, jobs, mailbox, writer, self._scheduler, self._identity, received, tokenized - received)

    def _prompt_tokens(self, request: GenerationRequest) -> list[tuple[list[int], str]]:
        """Each prompt as (token ids, its text when it will be echoed)."""
        if isinstance(request, ChatRequest):
            messages = [
                {"role": m.role, "content": m.text(f"messages.{i}.content")} for i, m in enumerate(request.messages)
            ]
            return [(self._prompts.chat(messages), "")]
        assert isinstance(request, CompletionRequest)
        prompt: Any = request.prompt
        single = isinstance(prompt, str) or isinstance(prompt[0], int)
        return [self._raw_prompt(p, request) for p in ([prompt] if single else prompt)]

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

    def _sampling(self, request: GenerationRequest) -> SamplingOptions:
        given = {name: getattr(request, name) for name in SAMPLING_FIELDS if getattr(request, name) is not None}
        seed = request.seed if request.seed is not None else self._seeds.getrandbits(63)
        return SamplingOptions(
            **{**self._defaults, **given},
            logit_bias=self._logit_bias(request.logit_bias or {}),
            seed=seed,
            top_logprobs=request.top_count,
        )

    def _logit_bias(self, bias: dict[str, float]) -> dict[int, float]:
        size = self._model.vocabulary.size
        for token in bias:
            if not (token.isascii() and token.isdigit() and len(token) < 10 and int(token) < size):
                raise InvalidArgument(f"logit_bias: {token[:20]!r} is no token id of this model", field="logit_bias")
        return {int(token): value for token, value in bias.items()}

    def _probe(self, gbnf: str) -> None:
        """Refuse a grammar that does not parse or is slow, here on a worker thread, before it can stall a step."""
        started = time.monotonic()
        try:
            probe = Grammar(self._model.vocabulary, gbnf)
        except ValueError as error:
            raise InvalidArgument(str(error), field="response_format") from None
        probe.mask(np.zeros(self._model.vocabulary.size, np.float32))
        if time.monotonic() - started > GRAMMAR_PROBE_S:
            raise InvalidArgument("the grammar is too ambiguous to evaluate in time", field="response_format")

    def _jobs(
        self,
        request: GenerationRequest,
        headers: Mapping[str, str],
        tokens: list[int],
        max_tokens: int,
        options: SamplingOptions,
        gbnf: str | None,
        first_index: int,
        mailbox: Mailbox,
    ) -> list[Job]:
        """The n choices of one prompt; all but the first wait for its prefill and copy it."""
        isolation = headers.get("x-prompt-cache-isolation-key") or request.prompt_cache_isolation_key or ""
        echo_scores = bool(getattr(request, "echo", False)) and request.logprobs_asked
        jobs: list[Job] = []
        for choice in range(request.n or 1):
            job = Job(
                index=first_index + choice,
                prompt=tokens,
                max_tokens=max_tokens,
                sampling=replace(options, choice=choice),
                stops=request.stops,
                cache_key=(isolation,),
                sink=mailbox,
                grammar=Grammar(self._model.vocabulary, gbnf) if gbnf is not None else None,
                ignore_eos=bool(request.ignore_eos),
                cache_max_tokens=request.prompt_cache_max_len,
                score_prompt=echo_scores,
                leader=jobs[0] if jobs else None,
            )
            job.times.submitted = time.monotonic()
            jobs.append(job)
        return jobs


SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
)


def parse_json(raw: bytes) -> Any:
    """JSON as RFC 8259 has it: no NaN, no infinity, UTF-8. Raises InvalidArgument."""
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise InvalidArgument("the body nests too deep") from None
    except ValueError as error:  # bad UTF-8, bad JSON, an integer of thousands of digits
        raise InvalidArgument(f"the body is not valid JSON: {error}") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is out of range")
    return value


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


def _sampling_defaults(model: Model) -> dict[str, Any]:
    """Sampling defaults that the model file carries (general.sampling.*), within what the wire allows."""
    defaults: dict[str, Any] = {}
    for name, key in META_SAMPLING.items():
        text = model.meta(f"general.sampling.{key}")
        try:
            value = float(text) if text is not None else -1.0
        except ValueError:
            continue
        if 0 <= value <= {"temperature": 2, "top_k": 100}.get(name, 1):
            defaults[name] = int(value) if name == "top_k" else value
    return defaults


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
