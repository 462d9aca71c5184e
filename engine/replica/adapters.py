"""The LoRA adapters of one replica: registered by name, loaded when first used, a bounded number kept in memory.

A name stands for a file's content (its SHA-256). Sequences use contents, not names: a name may be registered again
with another file, or withdrawn, and what runs keeps the adapter that it began with.

    registered  the file was checked and can be asked for
    cached      its weights are in memory too (at most `max_cached` at once, least recently used out first)
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from client.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from engine.models import adapter as adapter_file
from engine.models import adapter_q8
from engine.models.adapter import AdapterFacts, BaseFacts
from engine.models.cursor import open_regular
from engine.replica.job import AdapterSet, AdapterUse
from engine.replica.llama import Adapter, Context, LoadError, Model, set_adapters

MAX_NAME_CHARS = 200
MAX_SCALE = 100.0  # activations beyond the range of the KV memory's 16-bit floats are of use to nobody
COPY_CHUNK_BYTES = 1 << 20
MAX_WITHDRAWN = 256  # files remembered for requests that were accepted before their adapter was withdrawn

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._/@:-]{{0,{MAX_NAME_CHARS - 1}}}")


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """One registered adapter, as GET /adapters shows it. `last_used`: seconds since 1970, None: never."""

    name: str
    digest: str
    rank: int
    alpha: float
    size_bytes: int
    state: str  # "registered" or "cached"
    last_used: float | None


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    facts: AdapterFacts


class Adapters:
    """Names are for any thread; `can_serve`, `activate` and `sweep` for the one thread that owns the context.

    Adapters are set on one context only, the one that `activate` is given.
    """

    def __init__(self, model: Model, model_path: Path, *, max_cached: int) -> None:
        """`max_cached`: adapters in memory at once (numPeftDeviceCached); 0 refuses all."""
        self.max_cached = max_cached
        self._model, self._model_path = model, model_path
        self._lock = threading.Lock()  # guards the three below
        self._entries: dict[str, _Entry] = {}
        self._withdrawn: OrderedDict[str, Path] = OrderedDict()  # digest: where it was
        self._used_at: dict[str, float] = {}
        self._cached: OrderedDict[str, Adapter] = OrderedDict()  # least recently used first; changed by one thread
        self._context: Context | None = None
        self._active: AdapterSet = ()
        self._scales: dict[str, float] = {}  # digest: scale, as set on the context

    @cached_property
    def _base(self) -> BaseFacts:
        return adapter_file.read_base(self._model_path)

    # What any thread may call

    def register(self, name: str, path: Path) -> AdapterInfo:
        """Check a file and let requests name it. InvalidArgument or FailedPrecondition say why a file is refused.

        Reads the whole file: not for an event loop.
        """
        if not _NAME.fullmatch(name):
            allowed = f"1 to {MAX_NAME_CHARS} letters, digits and . _ / @ : -, beginning with a letter or digit"
            raise InvalidArgument(f"{name[:80]!r} is no name for an adapter: it takes {allowed}", field="name")
        if not path.is_absolute():
            raise InvalidArgument(f"{path} is not an absolute path", field="path")
        if self.max_cached < 1:
            raise FailedPrecondition("this replica takes no adapters", hint="allow at least one in memory")
        entry = _Entry(path, adapter_file.read(path, self._base))
        with self._lock:
            replaced = self._entries.get(name)
            self._entries[name] = entry
            if replaced is not None and replaced.facts.digest != entry.facts.digest:
                self._withdraw(replaced)
            return self._info(name, entry)

    def unregister(self, name: str) -> None:
        """Let no new request name it. NotFound when there is none of this name."""
        with self._lock:
            entry = self._entries.pop(name, None)
            if entry is None:
                raise _unknown(name)
            self._withdraw(entry)

    def resolve(self, uses: Sequence[tuple[str, float]]) -> AdapterSet:
        """What a request's names stand for now. Scale 0 drops out; NotFound for names that are not registered."""
        if len({name for name, _ in uses}) < len(uses):
            raise InvalidArgument("an adapter is named twice", field="lora")
        for name, scale in uses:
            if not (math.isfinite(scale) and abs(scale) <= MAX_SCALE):
                message = f"the scale of adapter {name[:80]!r} is {scale:g}: it must be within ±{MAX_SCALE:g}"
                raise InvalidArgument(message, field="lora")
        with self._lock:
            resolved = [AdapterUse(name, self._known(name).facts.digest, float(scale)) for name, scale in uses]
        wanted = tuple(sorted(use for use in resolved if use.scale))
        if len(_digests(wanted)) > self.max_cached:
            message = f"{len(_digests(wanted))} adapters at once are more than the {self.max_cached} kept in memory"
            raise InvalidArgument(message, field="lora")
        return wanted

    def infos(self) -> list[AdapterInfo]:
        """All registered adapters by name."""
        with self._lock:
            return [self._info(name, entry) for name, entry in sorted(self._entries.items())]

    def _known(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise _unknown(name)
        return entry

    def _info(self, name: str, entry: _Entry) -> AdapterInfo:
        facts = entry.facts
        state = "cached" if facts.digest in self._cached else "registered"
        used_at = self._used_at.get(facts.digest)
        return AdapterInfo(name, facts.digest, facts.rank, facts.alpha, facts.size_bytes, state, used_at)

    def _withdraw(self, entry: _Entry) -> None:
        self._withdrawn[entry.facts.digest] = entry.path
        self._withdrawn.move_to_end(entry.facts.digest)
        if len(self._withdrawn) > MAX_WITHDRAWN:
            self._withdrawn.popitem(last=False)

    # What the context's thread may call

    def can_serve(self, wanted: AdapterSet, in_use: Collection[str]) -> bool:
        """Whether `activate` would find room: `in_use` are the digests of running sequences, which stay, or come when
        it is their turn (what is in memory now says nothing: it may have to go for one of them)."""
        return len(_digests(wanted).union(in_use)) <= self.max_cached

    def activate(self, context: Context, wanted: AdapterSet, in_use: Collection[str]) -> bool:
        """Let later decodes of `context` run under `wanted`, loading what is not in memory; returns whether that
        changed anything. FailedPrecondition: one cannot be loaded, with the reason; what is active then is either as
        before or nothing, and the next call puts it right."""
        if wanted == self._active and context is self._context:
            return False
        self._context = context
        scales = _scales(wanted)
        changed = scales != self._scales  # or only the names are others
        if changed:
            self._make_room(scales, in_use)
            for use in wanted:
                if use.digest not in self._cached:
                    self._load(use)
            self._set(scales)
            self._note_use(scales)
        self._active = wanted
        return changed

    def sweep(self, in_use: Collection[str]) -> None:
        """Free adapters that no name stands for any more and no running sequence uses."""
        with self._lock:
            kept = {entry.facts.digest for entry in self._entries.values()}.union(in_use)
            for digest in self._used_at.keys() - kept:
                del self._used_at[digest]
        for digest in self._cached.keys() - kept:
            self._evict(digest)

    def _make_room(self, wanted: Collection[str], in_use: Collection[str]) -> None:
        kept = set(wanted) | set(in_use)
        excess = len(self._cached.keys() | set(wanted)) - self.max_cached
        victims = [digest for digest in self._cached if digest not in kept][: max(0, excess)]
        if len(victims) < excess:
            raise Unavailable(f"all {self.max_cached} adapters in memory are in use", retry_after_s=1.0)
        for digest in victims:
            self._evict(digest)

    def _evict(self, digest: str) -> None:
        if digest in self._scales:
            self._set({})
        if self._context is not None:
            self._context.synchronize()  # an accelerator may still be reading it
        self._cached.pop(digest).close()

    def _load(self, use: AdapterUse) -> None:
        """Load a private copy that was checked anew: the file may have changed since it was registered."""
        reason = "the file has changed since it was registered"
        try:
            with _copy_of(self._path_of(use.digest)) as (copy, name):
                if adapter_file.read_open(copy.fileno(), name, self._base).digest == use.digest:
                    self._cached[use.digest] = self._loaded(copy, name)
                    return
        except (LoadError, InvalidArgument, OSError) as error:
            reason = str(error)
        raise FailedPrecondition(
            f"the adapter {use.name!r} cannot be loaded: {reason}", field="lora", hint="register it again"
        )

    def _loaded(self, copy: IO[bytes], name: str) -> Adapter:
        if not adapter_q8.worthwhile(self._base):
            return Adapter(self._model, copy.name)
        with tempfile.NamedTemporaryFile(prefix="adapter-", suffix=".gguf") as rewritten:
            adapter_q8.rewrite(copy.fileno(), name, rewritten)
            rewritten.flush()
            return Adapter(self._model, rewritten.name)

    def _path_of(self, digest: str) -> Path:
        with self._lock:
            named = (entry.path for entry in self._entries.values() if entry.facts.digest == digest)
            path = next(named, None) or self._withdrawn.get(digest)
        if path is None:
            raise InvalidArgument("it was withdrawn while this request waited")
        return path

    def _set(self, scales: dict[str, float]) -> None:
        assert self._context is not None  # only `activate` puts anything into memory
        set_adapters(self._context, [(self._cached[digest], scale) for digest, scale in scales.items()])
        self._scales = dict(scales)
        if not scales:
            self._active = ()

    def _note_use(self, digests: Collection[str]) -> None:
        now = time.time()
        for digest in digests:
            self._cached.move_to_end(digest)
        with self._lock:
            self._used_at.update(dict.fromkeys(digests, now))


def _digests(wanted: AdapterSet) -> set[str]:
    return {use.digest for use in wanted}


def _scales(wanted: AdapterSet) -> dict[str, float]:
    """What llama.cpp shall set, by digest and in an order that depends on contents only: two names of one content
    add up (it would drop the second)."""
    scales: dict[str, float] = {}
    for use in sorted(wanted, key=lambda use: (use.digest, use.scale)):
        scales[use.digest] = scales.get(use.digest, 0.0) + use.scale
    return {digest: scale for digest, scale in scales.items() if scale}


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no adapter {name[:MAX_NAME_CHARS]!r} on this replica", field="lora")


@contextmanager
def _copy_of(path: Path) -> Iterator[tuple[IO[bytes], str]]:
    """A copy that nobody else writes to, gone afterwards, and what to call it in errors."""
    with open_regular(path) as fd, tempfile.NamedTemporaryFile(prefix="adapter-", suffix=".gguf") as copy:
        with open(fd, "rb", closefd=False) as source:
            shutil.copyfileobj(source, copy, COPY_CHUNK_BYTES)
        copy.flush()
        yield copy, path.name
