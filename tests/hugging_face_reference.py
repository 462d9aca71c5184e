"""What transformers' decoders compute, in plain numpy: an answer of its own for what is converted.

Written from the published descriptions of the models (transformers' documentation of Llama, Mixtral, Qwen2, Qwen3,
Qwen3-MoE, Phi-3, Gemma2 and Gemma3; RoPE: arXiv 2104.09864, LongRoPE: 2402.13753), in 64 bits. It reads a
folder as transformers save it, and knows nothing of GGUF.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.hugging_face_files import save, tiny_tokenizer
from tests.peft_files import safetensors

Floats = NDArray[np.float64]
WIDTH, INNER, HEADS, KEYS, VOCABULARY = 64, 96, 4, 2, 264
_SIZES = {
    "hidden_size": WIDTH, "intermediate_size": INNER, "num_attention_heads": HEADS, "num_key_value_heads": KEYS,
    "vocab_size": VOCABULARY, "max_position_embeddings": 256, "num_hidden_layers": 2, "rms_norm_eps": 1e-6,
}  # fmt: skip
_GEMMA = {"head_dim": 32, "query_pre_attn_scalar": 32, "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 6}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False, "rope_theta": 10_000.0},
    "qwen2": {
        "architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": False, "rope_theta": 1_000_000.0,
        "use_sliding_window": False, "sliding_window": 16,
    },
    "qwen3": {
        "architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": True, "rope_theta": 1_000_000.0, "head_dim": 32,
        "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    },
    "mixtral": {
        "architectures": ["MixtralForCausalLM"], "tie_word_embeddings": False, "rope_theta": 1_000_000.0,
        "num_local_experts": 4, "num_experts_per_tok": 2,
    },
    "qwen3moe": {
        "architectures": ["Qwen3MoeForCausalLM"], "tie_word_embeddings": False, "rope_theta": 1_000_000.0,
        "head_dim": 32, "num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 48,
        "norm_topk_prob": True,
    },
    "phi3": {
        "architectures": ["Phi3ForCausalLM"], "tie_word_embeddings": False, "rope_theta": 10_000.0,
        "sliding_window": 128, "original_max_position_embeddings": 128,
        "rope_scaling": {
            "type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0],
            "long_factor": [9.0] * 8,
        },
    },
    "gemma2": {
        "architectures": ["Gemma2ForCausalLM"], **_GEMMA, "attn_logit_softcapping": 4.0, "rope_theta": 10_000.0,
        "final_logit_softcapping": 3.0, "num_hidden_layers": 3,
    },
    "gemma3": {
        "architectures": ["Gemma3ForCausalLM"], **_GEMMA, "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "num_hidden_layers": 3,
    },
}  # fmt: skip
# Where the experts of a layer are, and what their gate, up and down are called.
EXPERT_NAMES = {
    "mixtral": ("block_sparse_moe.experts", "w1", "w3", "w2"),
    "qwen3moe": ("mlp.experts", "gate_proj", "up_proj", "down_proj"),
}
QWEN2_WORDS = {
    "type": "Sequence",
    "pretokenizers": [
        {
            "type": "Split", "behavior": "Isolated", "invert": False,
            "pattern": {
                "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                r"|\s*[\r\n]+|\s+(?!\S)|\s+"
            },
        },
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    ],
}  # fmt: skip


def folder(at: Path, kind: str, *, seed: int, **config: Any) -> Path:
    """A model of random weights of this kind (of CONFIGS), F32; `config` are changes."""
    whole = {**_SIZES, **CONFIGS[kind], "bos_token_id": 260, "eos_token_id": 261, **config}
    at.mkdir(parents=True)
    save(at, "config.json", whole)
    save(at, "tokenizer.json", tiny_tokenizer() | {"normalizer": {"type": "NFC"}, "pre_tokenizer": QWEN2_WORDS})
    (at / "model.safetensors").write_bytes(safetensors(_random(whole, kind, seed), {"format": "pt"}))
    return at


def _random(config: Mapping[str, Any], kind: str, seed: int) -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(seed)
    head = config.get("head_dim", WIDTH // HEADS)
    gemma = kind.startswith("gemma")

    def matrix(rows: int, columns: int, gain: float = 1.0) -> NDArray[Any]:
        return (random.standard_normal((rows, columns)) * gain / np.sqrt(columns)).astype(np.float32)

    def norm(size: int) -> NDArray[Any]:
        return (random.standard_normal(size) * 0.3 + (0 if gemma else 1)).astype(np.float32)

    found = {
        "model.embed_tokens.weight": matrix(VOCABULARY, WIDTH, 1.0 if gemma else 8.0),
        "model.norm.weight": norm(WIDTH),
    }
    if not config.get("tie_word_embeddings", gemma):
        found["lm_head.weight"] = matrix(VOCABULARY, WIDTH)
    norms = ["input_layernorm", "post_attention_layernorm"]
    norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] if gemma else []
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        found |= {f"{at}{name}.weight": norm(WIDTH) for name in norms}
        rows = {"q": HEADS * head, "k": KEYS * head, "v": KEYS * head}
        fused = kind == "phi3"
        if fused:
            found[f"{at}self_attn.qkv_proj.weight"] = matrix(sum(rows.values()), WIDTH, 1.5)
        else:
            found |= {f"{at}self_attn.{one}_proj.weight": matrix(size, WIDTH, 1.5) for one, size in rows.items()}
        found[f"{at}self_attn.o_proj.weight"] = matrix(WIDTH, HEADS * head)
        path, gate, up, down = EXPERT_NAMES.get(kind, ("mlp", "gate_proj", "up_proj", "down_proj"))
        experts, inner = experts_of(config), config.get("moe_intermediate_size", INNER)
        for part in [f"{at}{path}.{number}" for number in range(experts)] or [f"{at}{path}"]:
            inputs = {"gate_up_proj": 2 * inner} if fused else {gate: inner, up: inner}
            found |= {f"{part}.{one}.weight": matrix(size, WIDTH) for one, size in inputs.items()}
            found[f"{part}.{down}.weight"] = matrix(WIDTH, inner)
        if experts:
            found[f"{at}{path.rpartition('.')[0]}.gate.weight"] = matrix(experts, WIDTH, 2.0)
        if kind == "qwen2":
            found |= {f"{at}self_attn.{one}_proj.bias": matrix(1, size, 16.0)[0] for one, size in rows.items()}
        if kind in ("qwen3", "qwen3moe", "gemma3"):
            found |= {f"{at}self_attn.{one}_norm.weight": norm(head) for one in "qk"}
    return found


def experts_of(config: Mapping[str, Any]) -> int:
    """In each layer; 0: it is no mixture."""
    return int(config.get("num_local_experts") or config.get("num_experts") or 0)


class Reference:
    """A folder's model; `config` and `weights` may be changed before it is asked."""

    def __init__(self, at: Path) -> None:
        self.config: dict[str, Any] = json.loads((at / "config.json").read_text())
        raw = (at / "model.safetensors").read_bytes()
        [size] = struct.unpack_from("<Q", raw)
        header = json.loads(raw[8 : 8 + size])
        header.pop("__metadata__")
        self.weights = {
            name: np.frombuffer(raw[8 + size :][slice(*one["data_offsets"])], np.float32)
            .reshape(one["shape"])
            .astype(np.float64)
            for name, one in header.items()
        }
        name = self.config["architectures"][0]
        self.gemma, self.mixtral = name.startswith("Gemma"), name.startswith("Mixtral")

    def adapt(self, adapter: Mapping[str, NDArray[Any]], scale: float) -> None:
        """Put an adapter, by PEFT's names, into the weights: W + scale B A."""
        for name, first in adapter.items():
            if name.endswith(".lora_A.weight"):
                target = name.removeprefix("base_model.model.").replace(".lora_A", "")
                self.weights[target] += scale * adapter[name.replace("lora_A", "lora_B")].astype(np.float64) @ first

    def logits(self, tokens: NDArray[np.int32]) -> Floats:
        """Of every place (places, vocabulary)."""
        table = self.weights["model.embed_tokens.weight"]
        hidden = table[tokens] * (np.sqrt(WIDTH) if self.gemma else 1.0)
        for layer in range(self.config["num_hidden_layers"]):
            hidden = self._layer(hidden, layer)
        found = self._norm(hidden, "model.norm") @ self.weights.get("lm_head.weight", table).T
        return _capped(found, self.config.get("final_logit_softcapping"))

    def _layer(self, hidden: Floats, layer: int) -> Floats:
        at = f"model.layers.{layer}."
        mixed = self._attention(self._norm(hidden, f"{at}input_layernorm"), layer)
        if not self.gemma:
            hidden = hidden + mixed
            return hidden + self._feed_forward(self._norm(hidden, f"{at}post_attention_layernorm"), at)
        hidden = hidden + self._norm(mixed, f"{at}post_attention_layernorm")
        fed = self._feed_forward(self._norm(hidden, f"{at}pre_feedforward_layernorm"), at)
        return hidden + self._norm(fed, f"{at}post_feedforward_layernorm")

    def _attention(self, x: Floats, layer: int) -> Floats:
        head = self.config.get("head_dim", WIDTH // HEADS)
        at, places = f"model.layers.{layer}.self_attn.", len(x)
        if f"{at}qkv_proj.weight" in self.weights:
            cuts = (HEADS * head, (HEADS + KEYS) * head)
            parts = np.split(self._linear(x, f"{at}qkv_proj"), cuts, axis=1)
        else:
            parts = [self._linear(x, f"{at}{one}_proj") for one in ("q", "k", "v")]
        q, k, v = (one.reshape(places, -1, head).swapaxes(0, 1) for one in parts)
        if f"{at}q_norm.weight" in self.weights:
            q, k = self._norm(q, f"{at}q_norm"), self._norm(k, f"{at}k_norm")
        local = self._is_local(layer)
        q, k = self._rotated(q, local), self._rotated(k, local)
        k, v = (np.repeat(one, HEADS // KEYS, axis=0) for one in (k, v))
        scores = q @ k.swapaxes(1, 2) / np.sqrt(self.config.get("query_pre_attn_scalar", head))
        scores = _capped(scores, self.config.get("attn_logit_softcapping"))
        back = np.arange(places)[:, None] - np.arange(places)[None, :]
        seen = (back >= 0) & (back < self.config["sliding_window"] if local else True)
        shares = np.exp(np.where(seen, scores - scores.max(axis=-1, keepdims=True), -np.inf))
        shares /= shares.sum(axis=-1, keepdims=True)
        return self._linear((shares @ v).swapaxes(0, 1).reshape(places, -1), f"{at}o_proj")

    def _is_local(self, layer: int) -> bool:
        if not self.gemma:
            return False
        if "layer_types" in self.config:
            return bool(self.config["layer_types"][layer] == "sliding_attention")
        return layer % 2 == 0

    def _rotated(self, x: Floats, local: bool) -> Floats:
        head = x.shape[-1]
        base = (
            self.config.get("rope_local_base_freq", self.config["rope_theta"]) if local else self.config["rope_theta"]
        )
        scaling = self.config.get("rope_scaling") or {}
        factor, gain = np.array(scaling.get("short_factor") or scaling.get("factor", 1.0)), 1.0
        if "short_factor" in scaling:
            before = self.config["original_max_position_embeddings"]
            gain = np.sqrt(1 + np.log(self.config["max_position_embeddings"] / before) / np.log(before))
        angles = np.arange(x.shape[1])[:, None] / factor * base ** (-np.arange(0, head, 2) / head)
        cos, sin = np.cos(angles) * gain, np.sin(angles) * gain
        first, second = x[..., : head // 2], x[..., head // 2 :]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def _feed_forward(self, x: Floats, at: str) -> Floats:
        if experts_of(self.config):
            return self._mixture(x, at)
        if f"{at}mlp.gate_up_proj.weight" in self.weights:
            gate, up = np.split(self._linear(x, f"{at}mlp.gate_up_proj"), 2, axis=1)
        else:
            gate, up = self._linear(x, f"{at}mlp.gate_proj"), self._linear(x, f"{at}mlp.up_proj")
        return self._linear(_gelu(gate) * up if self.gemma else gate / (1 + np.exp(-gate)) * up, f"{at}mlp.down_proj")

    def _mixture(self, x: Floats, at: str) -> Floats:
        """Of each place the best experts, by shares of the router's softmax that are made to sum up to 1."""
        path, gate, up, down = EXPERT_NAMES["mixtral" if self.mixtral else "qwen3moe"]
        scores = self._linear(x, f"{at}{path.rpartition('.')[0]}.gate")
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        found = np.zeros_like(x)
        for place, row in enumerate(shares):
            best = np.argsort(-row)[: self.config["num_experts_per_tok"]]
            for number in best:
                one, expert = x[place : place + 1], f"{at}{path}.{number}."
                g, u = self._linear(one, f"{expert}{gate}"), self._linear(one, f"{expert}{up}")
                made = self._linear(g / (1 + np.exp(-g)) * u, f"{expert}{down}")
                found[place] += made[0] * row[number] / row[best].sum()
        return found

    def _linear(self, x: Floats, name: str) -> Floats:
        return x @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0.0)

    def _norm(self, x: Floats, name: str) -> Floats:
        scale = self.weights[f"{name}.weight"] + (1 if self.gemma else 0)
        return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.config["rms_norm_eps"]) * scale


def _capped(x: Floats, cap: float | None) -> Floats:
    return cap * np.tanh(x / cap) if cap else x


def _gelu(x: Floats) -> Floats:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
