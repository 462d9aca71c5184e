"""Which sequence id of the context holds which tokens, and every move of KV state: reuse, copy, save, restore.

Three kinds of state can serve a new prompt, all found through a radix index under the same scope (adapters and
isolation key; the model and its context are one a process):

    residents   what an id holds: of a finished sequence, or the computed part of a running one
    states      saved in RAM within a byte budget, least recently used out first
    promised    the rest of a prompt that a running sequence computes right now: worth waiting for

An id that is needed for something new gives its tokens to RAM first. Preempted sequences are saved pinned.

State is reused only where a cold run would have computed it in the same way: in wide calls or in narrow ones
(`reusable`, and hardware.CPU_WIDE_TOKENS for the reason).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

from engine.replica.cells import Cells, SharedCells
from engine.replica.radix import RadixIndex, Tokens
from engine.replica.states import Handle, StateStore

MIN_REUSE_TOKENS = 4  # a copy costs about a millisecond
MIN_SAVED_TOKENS = 32  # shorter prefixes are cheaper to compute than to keep
MAX_LOSS_TOKENS = 16  # a resident that loses no more to its successor is taken over in place


@dataclass(slots=True)
class Resident:
    """Tokens whose state an id holds. `tokens` is shared with a running sequence and grows; `promised` is how many
    there will be when its prompt is through; the first `wide_end` are, or will be, computed in wide calls."""

    scope: Hashable
    tokens: list[int]
    promised: int
    wide_end: int
    used: int  # logical time of the last use


@dataclass(frozen=True, slots=True)
class Prefix:
    """The best start for a prompt: its first `tokens` lie at id `source` or in `state`. `awaited`: a running sequence
    will soon hold so much more that waiting pays."""

    tokens: int = 0
    source: int | None = None
    state: Handle | None = None
    awaited: bool = False


class Memory:
    """`free` arguments are the ids that no running sequence owns. Scheduler's thread only."""

    def __init__(self, cells: Cells, *, can_reuse: bool, budget_bytes: int, wide: int = 1) -> None:
        self._wide = wide
        self.states: StateStore[Hashable] = StateStore(budget_bytes)
        self._cells, self._can_reuse = cells, can_reuse
        self._residents: dict[int, Resident] = {}
        self._index: RadixIndex[Hashable, int] = RadixIndex()
        self._shared = SharedCells()
        self._spoilt: set[int] = set()  # empty ids whose cells hold no numbers
        self._time = 0

    # Finding and placing a prompt

    def find(
        self, scope: Hashable, prompt: Tokens, *, max_reuse: int | None = None, prompt_tokens: int | None = None
    ) -> Prefix:
        """What a prompt can start from. At least its last token is left to evaluate: its logits are not stored.
        What follows the first `prompt_tokens` is part of an answer, and computed as such."""
        limit = max(0, len(prompt) - 1 if max_reuse is None else min(max_reuse, len(prompt) - 1))
        if not self._can_reuse or limit < MIN_REUSE_TOKENS:
            return Prefix()
        wanted, wide_end = prompt[:limit], self._wide_end(len(prompt) if prompt_tokens is None else prompt_tokens)
        best = self._resident(scope, wanted, wide_end)
        shared, holders = self._index.longest(scope, wanted, eligible=self._is_promise)
        promised = 0
        for holder in holders:
            resident = self._residents[holder]
            promised = max(promised, self._reusable(shared, resident.wide_end, wide_end))
            computed = self._reusable(min(shared, len(resident.tokens)), resident.wide_end, wide_end)
            if computed > best.tokens:
                best = Prefix(computed, source=holder)
        saved, handle = self.states.longest(scope, wanted)
        saved = self._reusable(saved, saved, wide_end)  # only wide parts are saved
        if saved > best.tokens:
            best = Prefix(saved, state=handle)
        if promised - best.tokens >= MIN_REUSE_TOKENS:
            return Prefix(awaited=True)
        return best if best.tokens >= MIN_REUSE_TOKENS else Prefix()

    def find_whole(self, scope: Hashable, prompt: Tokens) -> Prefix:
        """Where all of a prompt lies, computed as it would be, for one whose last logits are known; `awaited` while
        that is being done."""
        wide_end = self._wide_end(len(prompt))
        shared, holders = self._index.longest(
            scope, prompt, eligible=lambda h: min(self._residents[h].wide_end, len(prompt)) == wide_end
        )
        if not self._can_reuse or shared < len(prompt):
            return Prefix()
        ready = [holder for holder in holders if len(self._residents[holder].tokens) >= shared]
        return Prefix(shared, source=ready[0]) if ready else Prefix(awaited=True)

    def _resident(self, scope: Hashable, wanted: Tokens, wide_end: int) -> Prefix:
        shared, holders = self._index.longest(scope, wanted, eligible=lambda h: not self._is_promise(h))
        usable = {h: self._reusable(shared, self._residents[h].wide_end, wide_end) for h in holders}
        best = max(holders, key=lambda h: usable[h], default=None)
        return Prefix(usable[best], source=best) if best is not None and usable[best] else Prefix()

    def _wide_end(self, prompt_tokens: int) -> int:
        """How many tokens of a new prompt are evaluated in wide calls."""
        return prompt_tokens if prompt_tokens >= self._wide > 1 else 0

    def _reusable(self, shared: int, theirs: int, ours: int) -> int:
        return reusable(shared, theirs, ours, self._wide)

    def _is_promise(self, holder: int) -> bool:
        resident = self._residents[holder]
        return len(resident.tokens) < resident.promised

    def place(self, prefix: Prefix, free: Collection[int]) -> tuple[int, int]:
        """Take an id out of `free` and bring the prefix there: (id, tokens of it that are in place)."""
        source = prefix.source
        if source is not None and source in free and (len(free) == 1 or self._loses_little(source, prefix.tokens)):
            if not self._loses_little(source, prefix.tokens):
                self._save(source)
            return source, self._trim(source, prefix.tokens)
        # Read first: making room at the target may put its tokens where this state is.
        state = self.states.get(prefix.state) if prefix.state in self.states and prefix.state is not None else None
        target = self._least_valuable(free, spare=source)
        self._vacate(target)
        if source is not None:
            self._cells.copy(source, target)
            self._shared.copy(source, target, prefix.tokens)
            return target, self._trim(target, prefix.tokens)
        if state is not None and self._cells.load(target, state):
            return target, self._trim(target, prefix.tokens)
        return target, 0

    def _trim(self, target: int, tokens: int) -> int:
        kept = tokens if self._cells.keep(target, tokens) else 0
        self._shared.cut(target, kept)
        return kept

    def _loses_little(self, source: int, kept: int) -> bool:
        return len(self._residents[source].tokens) - kept < MAX_LOSS_TOKENS

    def _least_valuable(self, free: Collection[int], spare: int | None = None) -> int:
        """An empty id if there is one, else the one used longest ago; the lowest id wins ties."""
        candidates = [i for i in free if i != spare] or list(free)
        return min(candidates, key=lambda i: (self._residents[i].used if i in self._residents else -1, i))

    def _vacate(self, identifier: int) -> None:
        self._save(identifier)
        self.drop(identifier)
        if identifier in self._spoilt:
            self._clean(identifier)

    def _save(self, identifier: int) -> None:
        """Keep in RAM what the id holds, unless it is short or other ids hold it too."""
        resident = self._residents.get(identifier)
        if resident is None or not self._can_reuse or len(resident.tokens) < MIN_SAVED_TOKENS:
            return
        others, _holders = self._index.longest(resident.scope, resident.tokens, eligible=lambda h: h != identifier)
        if others >= len(resident.tokens):
            return
        tokens = resident.tokens[: resident.wide_end] if self._wide > 1 else resident.tokens
        state = self._cells.save(identifier) if tokens else None
        if state is not None:
            self.states.put(resident.scope, tokens, state)

    # What running sequences do to it

    def hold(
        self, identifier: int, scope: Hashable, tokens: list[int], prompt: Sequence[int], wide_end: int = 0
    ) -> None:
        """`identifier` now holds `tokens` (the list is shared: it may grow) and will hold all of `prompt`, the first
        `wide_end` of it computed in wide calls."""
        self._time += 1
        self._residents[identifier] = Resident(scope, tokens, len(prompt), wide_end, self._time)
        self._index.insert(scope, prompt, identifier)

    def release(self, identifier: int) -> None:
        """The sequence at `identifier` is over; what it holds stays as a prefix for later prompts."""
        resident = self._residents.get(identifier)
        if resident is None:
            return
        self._cells.keep(identifier, len(resident.tokens))  # a rejected draft may lie behind
        self.hold(identifier, resident.scope, list(resident.tokens), resident.tokens, resident.wide_end)

    def drop(self, identifier: int) -> None:
        """Forget what `identifier` holds: it is not wanted any more, or cannot be trusted."""
        self._cells.keep(identifier, 0)
        self._shared.drop(identifier)
        if self._residents.pop(identifier, None) is not None:
            self._index.remove(identifier)

    def move(self, source: int, target: int) -> None:
        """The running sequence at `source` goes on at `target`; a copy stays behind as a prefix."""
        self._vacate(target)
        self._cells.copy(source, target)
        resident = self._residents[source]
        self._shared.copy(source, target, len(resident.tokens))
        self.hold(target, resident.scope, resident.tokens, resident.tokens, resident.wide_end)
        self.hold(source, resident.scope, list(resident.tokens), resident.tokens, resident.wide_end)

    def scrub(self, identifier: int) -> None:
        """Like `drop`, for cells that hold no numbers: masked or not, they would spoil whatever is computed beside
        them. An id's own cells are cleaned before it is used again; shared ones need a `cleanse` at once."""
        self.drop(identifier)
        if not self._cells.unified:
            self._spoilt.add(identifier)

    def _clean(self, identifier: int) -> None:
        """Bring good cells to an empty id: a copy of another id's, whatever they hold."""
        good = next((i for i in range(self._cells.slots) if i not in self._spoilt), None)
        if good is None:  # so nothing runs
            self._cells.clear(wipe=True)
            self.forget()
            self._spoilt.clear()
            return
        self._cells.copy(good, identifier)
        self._cells.keep(identifier, 0)
        self._spoilt.discard(identifier)

    def cleanse(self, running: Collection[int]) -> list[int]:
        """With shared cells: zero them all and write back what the ids hold, the `running` ones first. Returns the ids
        that hold nothing any more: what shared cells before may need more of them now."""
        if not self._cells.unified:
            return []
        held = [i for i in sorted(self._residents, key=lambda i: i not in running) if self._residents[i].tokens]
        states = {identifier: self._cells.save(identifier) for identifier in held}
        self._cells.clear(wipe=True)
        self._shared.clear()
        lost = [i for i, state in states.items() if state is None or not self._cells.load(i, state)]
        for identifier in lost:
            self.drop(identifier)
        return lost

    def park(self, identifier: int) -> Handle | None:
        """Save a running sequence, pinned, and free its id. None: no room in RAM, so it has to be computed again."""
        resident = self._residents.get(identifier)
        if resident is None:  # lost by `cleanse`
            return None
        state, handle = self._cells.save(identifier), None
        if state is not None and resident.tokens:
            # Under a scope of its own: what was generated is nobody's prompt.
            handle = self.states.put(("parked", identifier, self._time), resident.tokens, state, pin=True)
        self.release(identifier)
        return handle

    def resume(self, handle: Handle | None, free: Collection[int]) -> tuple[int, bool]:
        """Take an id out of `free` for a parked sequence: (id, whether its state is there)."""
        target = self._least_valuable(free)
        self._vacate(target)
        return target, handle is not None and self._cells.load(target, self.states.take(handle))

    def discard(self, handle: Handle) -> None:
        """A parked sequence ended before it was resumed, or on the way."""
        if handle in self.states:
            self.states.drop(handle)

    def forget(self) -> None:
        """Forget all ids; what is saved in RAM stays."""
        for identifier in list(self._residents):
            self._index.remove(identifier)
        self._residents.clear()
        self._shared.clear()

    # Room

    def make_room(self, tokens: int, free: Collection[int]) -> bool:
        """With shared cells: whether `tokens` more fit, after idle residents were moved to RAM as need be."""
        if not self._cells.unified:
            return True
        while self.tokens_held() + tokens > self._cells.capacity:
            idle = [i for i in free if i in self._residents]
            if not idle:
                return False
            self._vacate(self._least_valuable(idle))
        return True

    def tokens_held(self) -> int:
        """Tokens in memory over all ids, running and idle; those in shared cells count once."""
        lengths = {identifier: len(resident.tokens) for identifier, resident in self._residents.copy().items()}
        return self._shared.used(lengths) if self._cells.unified else sum(lengths.values())


def reusable(shared: int, theirs: int, ours: int, wide: int) -> int:
    """How many of `shared` leading tokens a prompt can take over from another sequence. `theirs` and `ours`: how many
    tokens each computes in calls of at least `wide` tokens; for ours that is the whole prompt, or nothing of it.

    What a wide prompt has left to evaluate must be a wide call again.
    """
    if wide == 1 or theirs == ours == 0:
        return shared
    return max(0, min(shared, theirs, ours - wide))
