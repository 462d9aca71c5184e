"""The wire of inference, inward: bytes -> JSON -> validated fields -> token ids, options, grammar -> a Call's jobs.

Runs on worker threads. Whatever can be the client's fault raises a FiredeckError in `prepare`, before a job exists.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace

from client.errors import InvalidArgument
from engine.replica import defaults, grammar, journal, standing
from engine.replica.adapters import Adapters
from engine.replica.answers import AnswerMaker, Demand
from engine.replica.call import Call, Identity, Preparation
from engine.replica.chunks import ChoiceState, Json, Style, Writer
from engine.replica.conversation import Conversation, conversation
from engine.replica.fields import (
    DEFAULT_MAX_TOKENS,
    ChatRequest,
    CompletionRequest,
    GenerationRequest,
    ResponseFormat,
)
from engine.replica.grammar_process import Grammar, GrammarProcesses
from engine.replica.job import AdapterSet, Job, Times
from engine.replica.journal import Origin, Past, Recorder
from engine.replica.llama import Model
from engine.replica.mailbox import Mailbox
from engine.replica.options import OptionsMaker
from engine.replica.plain_text import expected_tokens, fragments
from engine.replica.prompt import TOO_LONG_HINT, PromptMaker
from engine.replica.raw_prompt import Given, RawPrompts
from engine.replica.request_body import parse
from engine.replica.scheduler import Scheduler
from engine.replica.strict_json import parse_json
from engine.replica.truncation import fit_turns

ISOLATION_HEADER = "x-prompt-cache-isolation-key"
ADDON_HEADER = "x-firedeck-addon"  # the adapter that the model string stands for; set by the gateway alone


class Inference:
    """Prepares calls for one loaded model. `prepare` may run on any thread, several at a time."""

    def __init__(
        self,
        model: Model,
        scheduler: Scheduler,
        context_length: int,
        identity: Identity,
        seed: int | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        self._model, self._scheduler, self._context_length = model, scheduler, context_length
        self._identity, self._adapters = identity, adapters
        self._prompts = PromptMaker(model, context_length)
        self._answers = AnswerMaker(model)
        self._raw_prompts = RawPrompts(model, self._prompts, context_length)
        self._options = OptionsMaker(model, seed)
        self._defaults = defaults.of_model(model)
        self._grammars = GrammarProcesses(model.path, model.vocabulary.size, model.vocabulary.end_tokens)

    @property
    def has_chat_template(self) -> bool:
        return self._prompts.template is not None

    def prepare(self, raw: bytes, headers: Mapping[str, str], mailbox: Mailbox, *, chat: bool, arrived: float) -> Call:
        """Everything up to the queue, for a request that `arrived` at that instant (monotonic seconds).

        Raises FiredeckError for whatever is wrong with the request.
        """
        begun = time.monotonic()
        written = journal.length(headers)
        past = journal.read(raw[:written]) if written else None
        body = defaults.under(self._defaults, parse_json(raw[written or 0 :]))
        request: GenerationRequest = parse(ChatRequest if chat else CompletionRequest, body)
        prompts = self._prompt_tokens(request)
        spans = Preparation(arrived, queued_s=begun - arrived, tokenizing_s=time.monotonic() - begun)
        demand = self._demand(request, prompts[0][0])
        common = self._common(request, headers, mailbox, arrived, demand, past)
        jobs: list[Job] = []
        states: list[ChoiceState] = []
        for tokens, given in prompts:
            choices = _choices(self._first(request, common, tokens, len(jobs)), request.choices)
            jobs += choices
            state = self._state(request, tokens, given)
            states += [replace(state, tokens=[]) for _ in choices]
        style = _style(request, demand.gbnf, past)
        writer = Writer(style, states, self._model.vocabulary, demand.plan)
        recorder = None
        if written is not None and request.stream:
            origin = Origin(common.sampling.seed, style.identifier, style.created, journal.fingerprint(jobs))
            recorder = Recorder(None if past else origin)
        if past is not None:
            self._go_on(past, jobs, writer)
        return Call(request, jobs, mailbox, writer, self._scheduler, self._identity, spans, past, recorder)

    def count(self, raw: bytes) -> int:
        """How many tokens the prompt of a chat has. Raises FiredeckError for whatever is wrong with the request."""
        return sum(len(tokens) for tokens, _ in self._prompt_tokens(parse(ChatRequest, parse_json(raw))))

    def _go_on(self, past: Past, jobs: list[Job], writer: Writer) -> None:
        """Bring jobs and writer to where another replica has left them."""
        vocabulary = self._model.vocabulary
        journal.check(past, jobs, vocabulary.size)
        for index, told in past.choices.items():
            if told.generated is None:
                jobs[index].resume(told.tokens)
                for event in journal.events(index, told, jobs[index], vocabulary):
                    writer.absorb(event)

    def _demand(self, request: GenerationRequest, prompt: list[int]) -> Demand:
        """What the answer must be, and who reads it."""
        gbnf = _gbnf(request.response_format)
        if not isinstance(request, ChatRequest):
            return Demand(gbnf=gbnf)
        return self._answers.demand(request, gbnf, inside_reasoning=self._prompts.opens_reasoning(prompt))

    def _common(
        self,
        request: GenerationRequest,
        headers: Mapping[str, str],
        mailbox: Mailbox,
        arrived: float,
        demand: Demand,
        past: Past | None,
    ) -> Job:
        """What all jobs of a request have in common; index and prompt are still to be set, and `max_tokens` is what the
        gateway lets each have."""
        # Both places count, and mean the same: a header must not hide the key in the body, nor the other way round.
        keys = (headers.get(ISOLATION_HEADER), request.prompt_cache_isolation_key)
        return Job(
            index=0,
            prompt=[],
            max_tokens=standing.most_tokens(headers),
            sampling=self._options.options(request, past.origin.seed if past else None),
            stops=(*request.stops, *demand.stops),
            special_text=demand.special_text,
            cache_key=tuple(dict.fromkeys(key for key in keys if key)),
            sink=mailbox,
            grammar=self._grammar(demand),
            thought=demand.thought,
            ignore_eos=bool(request.ignore_eos),
            cache_max_tokens=request.prompt_cache_max_len,
            score_prompt=request.echoes and request.logprobs_asked,
            adapters=self._adapter_set(request, headers.get(ADDON_HEADER)),
            speculate=not request.disable_speculation,
            tenant=standing.tenant(headers),
            priority=request.priority,
            deadline=standing.deadline(headers, arrived),
        )

    def _first(self, request: GenerationRequest, common: Job, tokens: list[int], index: int) -> Job:
        """The first choice of one prompt."""
        limit = min(common.max_tokens, self._max_tokens(request, len(tokens)))
        if isinstance(request, ChatRequest):
            self._answers.check_thought_limit(request, limit)
        expected = expected_tokens(self._prompts, self._model.vocabulary, request.expected, limit)
        return replace(common, index=index, prompt=tokens, max_tokens=limit, prediction=expected)

    def _state(self, request: GenerationRequest, tokens: list[int], given: Given) -> ChoiceState:
        """A choice before its first token. `given` is the prompt as it came, None when it was made or cut."""
        vocabulary = self._model.vocabulary
        echoed = len(tokens) if request.echo else min(request.echo_last or 0, len(tokens))
        text = given if request.echo and isinstance(given, str) else vocabulary.text(tokens[len(tokens) - echoed :])
        pieces: list[str | int] = []
        if request.raw_output:
            pieces = list(given) if isinstance(given, list) else fragments(vocabulary, tokens)
        return ChoiceState(tokens, text, echoed_tokens=echoed, fragments=pieces)

    def _adapter_set(self, request: GenerationRequest, named: str | None) -> AdapterSet:
        """What the request itself asks for, beside the adapter that its model string stands for."""
        uses = [(adapter.id, adapter.scale) for adapter in request.lora or ()]
        if named and all(name != named for name, _ in uses):
            uses.append((named, 1.0))
        if not uses:
            return ()
        if self._adapters is None:
            raise InvalidArgument("this deployment has no adapters", field="lora")
        return self._adapters.resolve(uses)

    def _prompt_tokens(self, request: GenerationRequest) -> list[tuple[list[int], Given]]:
        """Each prompt as its token ids and as it was given (None: made by a template, or cut)."""
        if isinstance(request, ChatRequest):
            return [(self._chat_tokens(request, conversation(request)), None)]
        assert isinstance(request, CompletionRequest)
        return self._raw_prompts.read(request)

    def _chat_tokens(self, request: ChatRequest, talk: Conversation) -> list[int]:
        """The conversation, without its oldest turns when the request says how long it may be."""
        if request.prompt_truncate_len is None:
            return self._prompts.chat(talk)
        limit = self._raw_prompts.limit(request.prompt_truncate_len)

        def tokens_of(messages: list[Json]) -> list[int] | None:
            size = sum(len(str(message["content"]).encode("utf-8")) for message in messages)
            if len(messages) > limit or size > limit * self._model.vocabulary.longest_piece_bytes:
                return None  # too long whatever its tokens are: not even rendered
            tokens = self._prompts.chat(replace(talk, messages=messages))
            return tokens if len(tokens) <= limit else None

        tokens = fit_turns(talk.messages, tokens_of)
        if tokens is None:
            raise InvalidArgument(
                f"the last turn alone, with the system's messages, is over {limit} tokens", field="prompt_truncate_len"
            )
        return tokens

    def _max_tokens(self, request: GenerationRequest, prompt_tokens: int) -> int:
        """How many tokens may be generated. Clamped to the context unless the request wants an error instead."""
        room = self._context_length - prompt_tokens
        field = "messages" if isinstance(request, ChatRequest) else "prompt"
        asked = request.token_limit
        if room <= 0:
            raise InvalidArgument(
                f"the prompt has {prompt_tokens} tokens, this deployment's context is {self._context_length}",
                field=field,
                hint=TOO_LONG_HINT,
            )
        if request.context_length_exceeded_behavior == "error" and asked is not None and asked > room:
            raise InvalidArgument(
                f"{prompt_tokens} prompt tokens and {asked} more exceed the context of {self._context_length}",
                field="max_tokens",
            )
        return min(DEFAULT_MAX_TOKENS if asked is None else asked, room)

    def _grammar(self, demand: Demand) -> Grammar | None:
        """The grammar at its beginning, tried once in the checker's process; None where the answer is free."""
        return None if demand.gbnf is None else self._grammars.parse(demand.gbnf, demand.field, demand.special_text)


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
    first.followed = bool(followers)
    return [first, *followers]


def _gbnf(response_format: ResponseFormat | None) -> str | None:
    """The grammar that a response_format asks for, or None."""
    if response_format is None or response_format.type == "text":
        return None
    if response_format.type == "grammar":
        if not response_format.grammar:
            raise InvalidArgument("give the grammar", field="response_format.grammar")
        return grammar.check_gbnf(response_format.grammar)
    schema, field = response_format.schema_, "response_format.schema"
    if response_format.type == "json_schema":
        if schema is None:
            schema, field = response_format.json_schema, "response_format.json_schema"
        if schema is None:
            raise InvalidArgument("give the schema", field=field)
        if isinstance(schema.get("schema"), dict):  # OpenAI's {name, schema, strict} around the schema itself
            schema, field = schema["schema"], f"{field}.schema"
    return grammar.any_json_object() if schema is None else grammar.schema_to_gbnf(schema, field)


def _style(request: GenerationRequest, gbnf: str | None, past: Past | None) -> Style:
    chat = isinstance(request, ChatRequest)
    return Style(
        identifier=past.origin.identifier if past else ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12),
        created=past.origin.created if past else int(time.time()),
        model=request.model,
        chat=chat,
        logprobs=request.logprobs_asked,
        legacy_logprobs=request.legacy_logprobs,
        token_ids=bool(request.return_token_ids),
        echo=request.echoes,
        generated=request.choices,
        kept=request.n or 1,
        raw_output=bool(request.raw_output),
        stop_reason=bool(request.return_stop_reason),
        grammar=gbnf,
    )
