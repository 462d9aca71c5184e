"""What a stream has told its client, in so few words that another replica can go on with it.

A replica that is asked for a journal ends each group of events with a record, as a comment of the event stream. The
gateway keeps the records, and passes a group on once its record is there: what the journal says and what the client
has are the same at any instant. When the replica is lost, the next one gets the journal in front of the request's
body, and the header's number says how long it is.

    stream  = group*    group = event* ":" record "\\n\\n"    record = [entry (";" entry)*]    journal = (record ";")*
    entry   = "r" seed "," id "," created "," fingerprint     the request; the first entry of all
            | "s" choice "," cached                           its opening was told, with its count of cached tokens
            | "t" choice ("," token)+                         the text of these tokens was told, at once
            | "f" choice "," generated                        its end was told
            | "d" accepted "," rejected                       what became of its drafts, at its end
            | "u"                                             the usage in a chunk of its own was told

Everything else follows from the request and the tokens: draws go by position, and penalties, grammar, stop strings,
halves of characters, reasoning and calls are read out of the tokens anew. What does not follow is not resumed
(`resumable`); of such a stream the records only tell how many tokens went out. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from client.errors import FailedPrecondition, InvalidArgument
from engine.replica.detokenize import TextStream
from engine.replica.fields import GenerationRequest
from engine.replica.job import Delta, Job, Started, Token
from engine.replica.llama import Vocabulary

HEADER = "x-firedeck-journal"  # from the gateway alone: how many bytes of journal stand before the body
RESUMABLE, COUNTED = b"1", b"0"  # back: whether another replica can go on with what the records say
MAX_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """What the first replica chose for the request. `fingerprint`: of all that the request alone does not fix."""

    seed: int
    identifier: str
    created: int
    fingerprint: str


@dataclass(slots=True)
class Told:
    """What was told of one choice: its opening with `cached` tokens, tokens in `steps`, and its end after `generated`
    tokens."""

    cached: int = 0
    steps: list[list[int]] = field(default_factory=list)
    generated: int | None = None

    @property
    def tokens(self) -> list[int]:
        return [token for step in self.steps for token in step]


@dataclass(slots=True)
class Past:
    """A journal as it is read: what was told of each choice that had begun."""

    origin: Origin
    choices: dict[int, Told] = field(default_factory=dict)
    usage_told: bool = False


class Recorder:
    """Collects what is told until the group is whole. `first` is given where the request begins here."""

    def __init__(self, first: Origin | None) -> None:
        self._entries: list[str] = []
        if first is not None:
            self._entries.append(f"r{first.seed},{first.identifier},{first.created},{first.fingerprint}")

    def opened(self, index: int, cached: int) -> None:
        self._entries.append(f"s{index},{cached}")

    def said(self, index: int, tokens: Iterable[Token]) -> None:
        self._entries.append(f"t{index},{','.join([str(token.identifier) for token in tokens])}")

    def ended(self, index: int, generated: int) -> None:
        self._entries.append(f"f{index},{generated}")

    def drafted(self, accepted: int, rejected: int) -> None:
        self._entries.append(f"d{accepted},{rejected}")

    def usage(self) -> None:
        self._entries.append("u")

    def record(self) -> bytes:
        """The record of the group that ends here."""
        entries, self._entries = self._entries, []
        return f":{';'.join(entries)}\n\n".encode()


def length(headers: Mapping[str, str]) -> int | None:
    """How many bytes of journal stand before the body; None where no journal is asked for."""
    given = headers.get(HEADER)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 10 and int(given) <= MAX_BYTES):
        raise InvalidArgument(f"{HEADER}: a number of bytes up to {MAX_BYTES}", field=HEADER)
    return int(given)


def read(journal: bytes) -> Past:
    """Raises InvalidArgument for what no replica has written."""
    try:
        first, *entries = [entry for entry in journal.decode("ascii").split(";") if entry]
        seed, identifier, created, fingerprint = _rest(first, "r")
        past = Past(Origin(int(seed), identifier, int(created), fingerprint))
        for entry in entries:
            _note(past, entry)
    except (ValueError, KeyError) as error:
        raise InvalidArgument(f"this is no journal: {error}", field=HEADER) from None
    return past


def _note(past: Past, entry: str) -> None:
    if entry == "u":
        past.usage_told = True
        return
    numbers = [int(word) for word in _rest(entry, entry[0])]
    index, *values = numbers
    match entry[0]:
        case "s":
            [past.choices.setdefault(index, Told()).cached] = values
        case "t":
            past.choices[index].steps.append(values)
        case "f":
            [past.choices[index].generated] = values
        case "d":
            pass  # for who counts
        case kind:
            raise ValueError(f"an entry of kind {kind!r}")


def _rest(entry: str, kind: str) -> list[str]:
    if not entry.startswith(kind):
        raise ValueError(f"it begins with {entry[:8]!r}")
    return entry[1:].split(",")


def resumable(request: GenerationRequest) -> bool:
    """Whether another replica could go on with its stream. Mirostat's limit follows the probabilities of all draws so
    far, and raw output repeats the log-probabilities of all tokens: neither can be told from the tokens."""
    unknown = request.mirostat_target is not None or (request.raw_output and request.logprobs_asked)
    return bool(request.stream) and not unknown


def fingerprint(jobs: Iterable[Job]) -> str:
    """Of the prompts as tokens and the adapters: templates tell the date, and a file may have been replaced."""
    digest = hashlib.blake2b(digest_size=8)
    for job in jobs:
        if job.leader is None:
            digest.update(job.prompt_array.tobytes() + b"|" + repr(job.adapters).encode())
    return digest.hexdigest()


def check(past: Past, jobs: list[Job], vocabulary_size: int) -> None:
    """Raises FailedPrecondition where the stream cannot go on here as it began elsewhere."""
    if fingerprint(jobs) != past.origin.fingerprint:
        raise FailedPrecondition("the prompt or an adapter is not what it was when this stream began")
    known = all(index < len(jobs) for index in past.choices)
    if not known or any(token >= vocabulary_size for told in past.choices.values() for token in told.tokens):
        raise InvalidArgument("this is the journal of another request", field=HEADER)


def events(index: int, told: Told, job: Job, vocabulary: Vocabulary) -> Iterable[Started | Delta]:
    """The events of one choice as they were when they were told, but for log-probabilities."""
    yield Started(index, told.cached)
    stream = TextStream(job.stops)
    for step in told.steps:
        text = "".join([stream.push(vocabulary.piece(t, special=t in job.special_text)) for t in step])
        yield Delta(index, text, tuple([Token(t, 0) for t in step]))
