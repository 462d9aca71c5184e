"""Who shares how long a prefix with a prompt: a radix tree of token lists for each scope. Pure bookkeeping.

    scope --> root --[1 2 3]--> node --[4 5]--> leaf {slot 0}
                                  |  --[7]----> leaf {slot 1, slot 2}

Every node but a root has a holder or at least two children, so the tree has fewer than two nodes for each holder.
Splitting and merging keep the lower node, so a holder's node changes only when the holder itself is inserted.
Edges are copies: a view would keep the whole prompt it was cut from.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]
S = TypeVar("S", bound=Hashable)
H = TypeVar("H", bound=Hashable)

MAX_HOLDERS = 64  # how many of the holders that share a prefix are worth choosing from


class _Node(Generic[H]):
    """`edge` leads here from `parent`; `end` is how many tokens lie between the root and here."""

    __slots__ = ("children", "edge", "end", "holders", "parent")

    def __init__(self, edge: Tokens, end: int, parent: _Node[H] | None) -> None:
        self.edge, self.end, self.parent = edge, end, parent
        self.children: dict[int, _Node[H]] = {}  # by the first token of the child's edge
        self.holders: dict[H, None] = {}  # those whose tokens end here, oldest first


class RadixIndex(Generic[S, H]):
    """Token lists by holder. A holder has one entry at most. One thread."""

    def __init__(self) -> None:
        self._roots: dict[S, _Node[H]] = {}
        self._places: dict[H, tuple[S, _Node[H]]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, holder: object) -> bool:
        return holder in self._places

    def length(self, holder: H) -> int:
        """How many tokens `holder` has. KeyError when it has no entry."""
        return self._places[holder][1].end

    def insert(self, scope: S, tokens: Sequence[int] | NDArray[np.integer], holder: H) -> None:
        """Record that `holder` has `tokens` (1-D, copied) under `scope`, in place of what it had before."""
        wanted = as_tokens(tokens)
        self.remove(holder)
        root = self._roots.setdefault(scope, _Node(as_tokens(()), 0, None))
        node = self._grow(root, wanted)
        node.holders[holder] = None
        self._places[holder] = scope, node

    def remove(self, holder: H) -> None:
        """Forget `holder`; nothing happens when it has no entry."""
        place = self._places.pop(holder, None)
        if place is not None:
            scope, node = place
            del node.holders[holder]
            self._tidy(scope, node)

    def longest(
        self,
        scope: S,
        tokens: Sequence[int] | NDArray[np.integer],
        *,
        eligible: Callable[[H], bool] = lambda _: True,
        limit: int = MAX_HOLDERS,
    ) -> tuple[int, list[H]]:
        """The longest common prefix with an eligible holder's tokens, and up to `limit` eligible holders that share
        it, those with the fewest further tokens first. (0, []) when nobody shares a token.

        O(len(tokens) + depth) plus one `eligible` call for each holder looked at: at most `limit` accepted ones.
        """
        root = self._roots.get(scope)
        if root is None:
            return 0, []
        node, shared = self._descend(root, as_tokens(tokens))
        tried: _Node[H] | None = None
        while shared:
            found = _first(filter(eligible, _holders_below(node, tried)), limit)
            if found:
                return shared, sorted(found, key=self.length)
            assert node.parent is not None  # only the root shares nothing
            node, tried = node.parent, node
            shared = node.end
        return 0, []

    def prefixes(self, scope: S, tokens: Sequence[int] | NDArray[np.integer]) -> list[H]:
        """The holders all of whose tokens begin `tokens` (or equal it), longest first."""
        root = self._roots.get(scope)
        if root is None:
            return []
        node, shared = self._descend(root, as_tokens(tokens))
        return [holder for step in _upwards(node) if step.end <= shared for holder in step.holders]

    def _descend(self, root: _Node[H], wanted: Tokens) -> tuple[_Node[H], int]:
        """Follow `wanted` down from `root`: the last node whose edge was entered, and the tokens shared (the node's
        `end`, or less when its edge matched in part)."""
        node, position = root, 0
        while position < len(wanted):
            child = node.children.get(int(wanted[position]))
            if child is None:
                break
            same = _common_length(child.edge, wanted[position:])
            node, position = child, position + same
            if same < len(child.edge):
                break
        return node, position

    def _grow(self, root: _Node[H], wanted: Tokens) -> _Node[H]:
        """The node where `wanted` ends: found, or made by a split and a new leaf."""
        node, shared = self._descend(root, wanted)
        if shared < node.end:
            node = _split(node, shared)
        rest = wanted[shared:]
        if not len(rest):
            return node
        leaf = _Node(rest.copy(), shared + len(rest), node)
        node.children[int(rest[0])] = leaf
        return leaf

    def _tidy(self, scope: S, node: _Node[H]) -> None:
        """Restore the invariant at `node`, which has just lost a holder or a child."""
        if node.holders or (len(node.children) > 1):
            return
        if node.parent is None:
            if not node.children:
                del self._roots[scope]
        elif node.children:
            _merge(node)
        else:
            del node.parent.children[int(node.edge[0])]
            self._tidy(scope, node.parent)  # one level at most: the parent had a holder or another child


def as_tokens(tokens: Sequence[int] | NDArray[np.integer]) -> Tokens:
    """`tokens` as int32, not copied when they are. ValueError unless one-dimensional, OverflowError beyond int32."""
    wanted = np.asarray(tokens, np.int32)
    if wanted.ndim != 1:
        raise ValueError(f"tokens must be one-dimensional, not of shape {wanted.shape}")
    return wanted


def _common_length(edge: Tokens, wanted: Tokens) -> int:
    n = min(len(edge), len(wanted))
    different = np.flatnonzero(edge[:n] != wanted[:n])
    return int(different[0]) if different.size else n


def _split(node: _Node[H], at: int) -> _Node[H]:
    """Put a new node between `node` and its parent, `at` tokens from the root; the new node."""
    assert node.parent is not None
    cut = at - (node.end - len(node.edge))
    upper: _Node[H] = _Node(node.edge[:cut].copy(), at, node.parent)
    node.parent.children[int(node.edge[0])] = upper
    node.edge, node.parent = node.edge[cut:].copy(), upper
    upper.children[int(node.edge[0])] = node
    return upper


def _merge(node: _Node[H]) -> None:
    """Take `node` out from between its parent and its only child."""
    assert node.parent is not None
    (child,) = node.children.values()
    child.edge, child.parent = np.concatenate((node.edge, child.edge)), node.parent
    node.parent.children[int(child.edge[0])] = child


def _upwards(node: _Node[H]) -> Iterator[_Node[H]]:
    step: _Node[H] | None = node
    while step is not None:
        yield step
        step = step.parent


def _holders_below(node: _Node[H], without: _Node[H] | None) -> Iterator[H]:
    """The holders at and below `node`, nearer nodes of a branch first, leaving out the branch `without`."""
    yield from node.holders
    open_branches = [iter(node.children.values())]
    while open_branches:
        child = next(open_branches[-1], None)
        if child is None:
            open_branches.pop()
        elif child is not without:
            yield from child.holders
            open_branches.append(iter(child.children.values()))


def _first(holders: Iterator[H], limit: int) -> list[H]:
    return [holder for _, holder in zip(range(limit), holders, strict=False)]
