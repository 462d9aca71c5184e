"""One generation as others see it: what was asked (`Job`) and what is sent back (`Started`, `Delta`, `Finished`,
`Failed`). A request with n choices or several prompts is several jobs with one `Sink`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from client.errors import FiredeckError
from engine.replica.grammar_process import Grammar
from engine.replica.sampling import SamplingOptions
from engine.replica.thought import ThoughtLimit


class AdapterUse(NamedTuple):
    """A LoRA adapter as one request uses it. `digest` tells apart files that bore the same name at different times."""

    name: str
    digest: str
    scale: float


CacheKey = tuple[str, ...]  # isolation keys
AdapterSet = tuple[AdapterUse, ...]  # sorted; () is the bare base model


@dataclass(frozen=True, slots=True)
class Token:
    """One token as the wire reports it. Logs are natural; None where the request asked for none."""

    identifier: int
    text_offset: int
    logprob: float | None = None
    sampling_logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt is in memory. `scores` holds the prompt's own tokens when they were to be scored."""

    index: int
    cached_tokens: int
    scores: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """Text that is certain, and the tokens that ended in it. `last`: the end follows, and nothing was held back."""

    index: int
    text: str
    tokens: tuple[Token, ...]
    last: bool = False


@dataclass(slots=True)
class DraftCounts:
    """What speculation did for one job: tokens proposed and taken, by any source and from the client's prediction."""

    drafted: int = 0
    accepted: int = 0
    predicted: int = 0  # of the drafted ones, those out of `Job.prediction`
    predicted_accepted: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The end. `reason` is "stop" or "length", `stopped_by` the stop string of the former; times are seconds of the
    monotonic clock."""

    index: int
    reason: str
    generated_tokens: int
    times: Times
    drafts: DraftCounts = field(default_factory=DraftCounts)
    stopped_by: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The end of one job by an error of ours; other jobs are unaffected."""

    index: int
    error: FiredeckError


Event = Started | Delta | Finished | Failed


class Sink(Protocol):
    """Where a job's events go. `push` is called on the scheduler's thread and must not block."""

    def push(self, event: Event) -> None: ...


@dataclass(slots=True)
class Times:
    """When things happened to a job, monotonic seconds (0.0: not yet)."""

    submitted: float = 0.0
    admitted: float = 0.0
    prefilled: float = 0.0
    finished: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    """What one sequence shall generate. All of it validated: nothing here is checked again."""

    index: int
    prompt: list[int]
    max_tokens: int
    sampling: SamplingOptions
    stops: tuple[str, ...]
    cache_key: CacheKey
    sink: Sink
    grammar: Grammar | None = None  # at its beginning; each sequence follows its own clone
    thought: ThoughtLimit | None = None  # of its reasoning
    ignore_eos: bool = False
    cache_max_tokens: int | None = None
    score_prompt: bool = False
    adapters: AdapterSet = ()
    prediction: list[int] = field(default_factory=list)  # tokens the client expects as output; [] for none
    special_text: frozenset[int] = frozenset()  # control tokens whose spelling shows in the text
    speculate: bool = True  # False: no drafts of any kind
    tenant: str = ""  # whose fair share this counts against
    priority: int = 0  # higher goes first, and may push lower ones aside
    deadline: float | None = None  # monotonic seconds; past it the job ends with DeadlineExceeded
    leader: Job | None = None  # the first choice of the same prompt, which evaluates and counts it
    followed: bool = False  # whether it is a leader
    said: list[int] = field(default_factory=list)  # tokens of its answer that another replica has told already
    resumed: bool = False  # its prompt was read and counted elsewhere
    prompt_row: NDArray[np.float32] | None = None  # a leader's logits after its prompt: its followers begin with them
    times: Times = field(default_factory=Times)
    cancelled: bool = False
    prompt_array: NDArray[np.int32] = field(init=False, repr=False)  # what it has to read, as indexes compare it

    def __post_init__(self) -> None:
        self.prompt_array = np.asarray(self.prompt, np.int32)

    def resume(self, said: list[int]) -> None:
        """Go on after `said`: all but the last of it is read behind the prompt, the last one is decoded next."""
        self.said, self.resumed = said, True
        self.prompt_array = np.asarray(self.to_read, np.int32)

    @property
    def to_read(self) -> list[int]:
        """What has to be in memory before the next token."""
        return [*self.prompt, *self.said[:-1]] if self.said else self.prompt
