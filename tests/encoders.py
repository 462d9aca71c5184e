"""A small BERT with random weights, as a GGUF file and as numpy: what llama.cpp pools can be checked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

WORDS = [
    "the", "a", "cat", "dog", "sat", "on", "mat", "rug", "bank", "raised", "rates", "today", "market", "bird", "sings",
    "ice", "cream", "is", "cold", "hot", "sun",
]  # fmt: skip
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
CLS, SEP = 2, 3
WIDTH, HEADS, LAYERS, FEED, LENGTH, EPSILON = 32, 4, 2, 64, 64, 1e-5

Array = NDArray[np.float32]
POOLINGS = {"none": gguf.PoolingType.NONE, "mean": gguf.PoolingType.MEAN, "cls": gguf.PoolingType.CLS}
RANK = 4  # the package has no name for it


@dataclass(frozen=True)
class Bert:
    """The weights by their GGUF names."""

    weights: dict[str, Array]

    @classmethod
    def random(cls, seed: int = 7, outputs: int = 1) -> Bert:
        random = np.random.default_rng(seed)

        def matrix(*shape: int) -> Array:
            return random.normal(0, 0.4, shape).astype(np.float32)

        weights = {
            "token_embd.weight": matrix(len(VOCABULARY), WIDTH),
            "position_embd.weight": matrix(LENGTH, WIDTH),
            "token_types.weight": matrix(2, WIDTH),
            "cls.weight": matrix(WIDTH, WIDTH),
            "cls.bias": matrix(WIDTH),
            "cls.output.weight": matrix(outputs, WIDTH),
            "cls.output.bias": matrix(outputs),
        } | _norm("token_embd_norm")
        for layer in range(LAYERS):
            for name, rows, columns in [
                ("attn_q", WIDTH, WIDTH), ("attn_k", WIDTH, WIDTH), ("attn_v", WIDTH, WIDTH),
                ("attn_output", WIDTH, WIDTH), ("ffn_up", FEED, WIDTH), ("ffn_down", WIDTH, FEED),
            ]:  # fmt: skip
                weights[f"blk.{layer}.{name}.weight"] = matrix(rows, columns)
                weights[f"blk.{layer}.{name}.bias"] = matrix(rows)
            weights |= _norm(f"blk.{layer}.attn_output_norm") | _norm(f"blk.{layer}.layer_output_norm")
        return cls(weights)

    def hidden(self, tokens: Sequence[int]) -> Array:
        """The last layer's states (tokens, WIDTH). Devlin et al. 2018, https://arxiv.org/abs/1810.04805"""
        w = self.weights
        x = w["token_embd.weight"][list(tokens)] + w["position_embd.weight"][: len(tokens)] + w["token_types.weight"][0]
        x = self._normed(x, "token_embd_norm")
        for layer in range(LAYERS):
            block = f"blk.{layer}."
            q, k, v = (self._linear(x, f"{block}attn_{part}") for part in "qkv")
            x = self._normed(x + self._linear(_attention(q, k, v), f"{block}attn_output"), f"{block}attn_output_norm")
            fed = self._linear(_gelu(self._linear(x, f"{block}ffn_up")), f"{block}ffn_down")
            x = self._normed(x + fed, f"{block}layer_output_norm")
        return x

    def logits(self, tokens: Sequence[int]) -> Array:
        """The classification head's outputs: a dense layer with tanh on [CLS], then a projection."""
        return self._linear(np.tanh(self._linear(self.hidden(tokens)[:1], "cls")), "cls.output")[0]

    def _linear(self, x: Array, name: str) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _normed(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + EPSILON)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def write(self, path: Path, *, pooling: int | None, labels: Sequence[str] = ()) -> Path:
        """A GGUF file. The head goes along only with pooling RANK."""
        writer = gguf.GGUFWriter(path, "bert")
        writer.add_block_count(LAYERS)
        writer.add_context_length(LENGTH)
        writer.add_embedding_length(WIDTH)
        writer.add_feed_forward_length(FEED)
        writer.add_head_count(HEADS)
        writer.add_layer_norm_eps(EPSILON)
        writer.add_causal_attention(False)
        if pooling is not None:
            writer.add_uint32("bert.pooling_type", pooling)
        if labels:
            writer.add_array("bert.classifier.output_labels", list(labels))
        _write_vocabulary(writer)
        for name, weight in self.weights.items():
            if pooling == RANK or not name.startswith("cls"):
                writer.add_tensor(name, weight)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path


def ids(text: str) -> list[int]:
    """The words of a text as token ids, without [CLS] and [SEP]."""
    return [VOCABULARY.index(word) for word in text.split()]


def _norm(name: str) -> dict[str, Array]:
    near_one = np.linspace(0.8, 1.2, WIDTH, dtype=np.float32)
    return {f"{name}.weight": near_one, f"{name}.bias": (near_one - 1) / 2}


def _attention(q: Array, k: Array, v: Array) -> Array:
    size = WIDTH // HEADS
    heads = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        scores = q[:, part] @ k[:, part].T / np.sqrt(size)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        heads.append(weights / weights.sum(axis=1, keepdims=True) @ v[:, part])
    return np.concatenate(heads, axis=1)


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _write_vocabulary(writer: gguf.GGUFWriter) -> None:
    """WordPiece as llama.cpp stores it: a word's first piece carries U+2581."""
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([*VOCABULARY[:5], *(f"\u2581{word}" for word in WORDS)])
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control] * 5 + [normal] * len(WORDS))
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(CLS)
    writer.add_sep_token_id(SEP)
    writer.add_mask_token_id(4)
