"""The dimensions of a model that decide how much memory it takes, from a GGUF header. No tensor is read.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and `llm_arch` of llama.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine.models.catalogue import Entry
from engine.models.cursor import Array, Cursor, open_regular
from engine.models.header import Header, read_header

_LAYERS_MAX = 4096
_WIDTHS = {4: 4, 5: 4, 6: 4, 10: 8, 11: 8}  # bytes of GGUF's 32- and 64-bit numbers, by type code


@dataclass(frozen=True, slots=True)
class Dimensions:
    """See `engine.control.capacity.Dimensions`, which this satisfies."""

    weights_bytes: int
    kv_heads: tuple[int, ...] = ()
    key_length: int = 0
    value_length: int = 0
    state_elements: int = 0
    embedding_length: int = 0
    feed_forward_length: int = 0
    vocabulary_size: int = 0
    context_length: int = 0
    adapter_elements: int = 0
    over_estimated: str = ""


def read(path: Path) -> Dimensions:
    """Of the GGUF file at `path`; InvalidArgument for a file that is none."""
    with open_regular(path) as fd:
        cursor = Cursor(fd, path.name)
        header = read_header(cursor)
        return _dimensions(_Keys(cursor, header))


def remembered(path: Path) -> Dimensions:
    """The same, read once for each file that lies there; OSError where none does."""
    seen = path.stat()
    return _remembered(path, seen.st_mtime_ns, seen.st_size)


def expected(entry: Entry) -> Dimensions:
    """Of a file that is not here yet, by what the library knows of its model; only its size where that is all."""
    sizes = entry.sizes
    if sizes is None:
        return Dimensions(weights_bytes=entry.expected_bytes)
    width, inner = sizes.embedding, sizes.feed_forward
    queries, keys = sizes.heads * sizes.head_size, sizes.kv_heads * sizes.head_size
    return Dimensions(
        weights_bytes=entry.expected_bytes,
        kv_heads=(sizes.kv_heads,) * sizes.layers,
        key_length=sizes.head_size,
        value_length=sizes.head_size,
        embedding_length=width,
        feed_forward_length=inner,
        vocabulary_size=sizes.vocabulary,
        context_length=entry.context_length or 0,
        adapter_elements=sizes.layers * (2 * (width + queries) + 2 * (width + keys) + 3 * (width + inner)),
    )


@lru_cache(maxsize=64)
def _remembered(path: Path, changed_ns: int, size_bytes: int) -> Dimensions:
    return read(path)


class _Keys:
    """A header's numbers below `<architecture>.`; 0 stands for what is not there."""

    def __init__(self, cursor: Cursor, header: Header) -> None:
        self.cursor, self.header = cursor, header
        self.architecture = str(header.values.get("general.architecture", ""))

    def one(self, name: str) -> int:
        """A number, or the largest of an array."""
        value = self.header.values.get(f"{self.architecture}.{name}")
        if type(value) is int:
            return max(0, value)
        return max(self._array(name), default=0)

    def each(self, name: str, layers: int) -> tuple[int, ...]:
        """A number for every layer: an array has one each, a single number is that of all."""
        found = self._array(name)
        return found[:layers] if found else (self.one(name),) * layers

    def flag(self, name: str) -> bool | None:
        value = self.header.values.get(f"{self.architecture}.{name}")
        return value if isinstance(value, bool) else None

    def _array(self, name: str) -> tuple[int, ...]:
        array = self.header.arrays.get(f"{self.architecture}.{name}")
        if array is None or array.item_type not in _WIDTHS or array.length > _LAYERS_MAX or array.item_type == 6:
            return ()
        return self._items(array)

    def _items(self, array: Array) -> tuple[int, ...]:
        width = _WIDTHS[array.item_type]
        self.cursor.jump(array.offset)
        raw = self.cursor.take(width * array.length)
        return tuple(
            max(0, int.from_bytes(raw[i : i + width], "little", signed=True)) for i in range(0, len(raw), width)
        )


def _dimensions(keys: _Keys) -> Dimensions:
    layers = min(keys.one("block_count"), _LAYERS_MAX)
    heads = keys.one("attention.head_count")
    width = keys.one("embedding_length") // heads if heads else 0
    causal = keys.flag("attention.causal") is not False
    kv_heads = (
        keys.each("attention.head_count_kv", layers) if keys.one("attention.head_count_kv") else (heads,) * layers
    )
    tokens = keys.header.arrays.get("tokenizer.ggml.tokens")
    return Dimensions(
        weights_bytes=keys.cursor.size,
        kv_heads=kv_heads if causal else (),
        key_length=keys.one("attention.key_length") or width,
        value_length=keys.one("attention.value_length") or width,
        state_elements=_state_elements(keys, layers),
        embedding_length=keys.one("embedding_length"),
        feed_forward_length=keys.one("feed_forward_length"),
        vocabulary_size=tokens.length if tokens else keys.one("vocab_size"),
        context_length=keys.one("context_length"),
        adapter_elements=sum(
            sum(t.shape) for t in keys.header.tensors if t.name.startswith("blk.") and len(t.shape) == 2
        ),
        over_estimated=_why_over(keys),
    )


def _state_elements(keys: _Keys, layers: int) -> int:
    """Of one sequence: convolution and state-space memory (Mamba), or token shift and matrix (RWKV), of all layers."""
    inner, state = keys.one("ssm.inner_size"), keys.one("ssm.state_size")
    groups, kernel = keys.one("ssm.group_count"), keys.one("ssm.conv_kernel")
    if inner:
        return layers * (max(0, kernel - 1) * (inner + 2 * groups * state) + state * inner)
    head = keys.one("wkv.head_size")
    return layers * keys.one("embedding_length") * (2 + head) if head else 0


def _why_over(keys: _Keys) -> str:
    """What of the architecture these figures do not follow; each makes them too large, never too small."""
    if keys.one("ssm.inner_size") and not keys.header.arrays.get(f"{keys.architecture}.attention.head_count_kv"):
        return "every layer is counted as attention and as recurrent"
    if keys.one("attention.kv_lora_rank"):
        return "its compressed attention is counted as keys and values"
    if keys.one("attention.shared_kv_layers"):
        return "layers that share a cache are counted one by one"
    return ""
