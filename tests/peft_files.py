"""LoRA adapters as PEFT saves them, for tests: safetensors files written by hand, and folders of random adapters."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.models.adapter import BaseFacts
from tests.adapter_files import weights

MODULES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip
TYPES = {"float32": "F32", "float16": "F16", "uint16": "BF16", "int64": "I64"}  # numpy has no bfloat16: its bits


def safetensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> bytes:
    """A file of these tensors, in this order."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata is not None else {}
    data = b""
    for name, values in tensors.items():
        raw = values.tobytes()
        header[name] = {
            "dtype": TYPES[values.dtype.name], "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }  # fmt: skip
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def config(**changes: Any) -> dict[str, Any]:
    """A config as PEFT writes it for a plain adapter."""
    whole = {
        "peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.05, "bias": "none", "use_dora": False,
        "modules_to_save": None, "target_modules": ["q_proj"], "fan_in_fan_out": False, "init_lora_weights": True,
        "rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False, "task_type": "CAUSAL_LM",
    }  # fmt: skip
    return whole | changes


def folder(at: Path, tensors: Mapping[str, NDArray[Any]], **changes: Any) -> Path:
    """A folder with the two files; `changes` are of the config."""
    at.mkdir(parents=True, exist_ok=True)
    (at / "adapter_config.json").write_text(json.dumps(config(**changes)))
    (at / "adapter_model.safetensors").write_bytes(safetensors(tensors, {"format": "pt"}))
    return at


def named(target: str, side: str) -> str:
    """PEFT's name of one half of the pair for a weight: `blk.3.attn_q.weight`."""
    _, layer, module, _ = target.split(".")
    return f"base_model.model.model.layers.{layer}.{MODULES[module]}.lora_{side}.weight"


def random_tensors(base: BaseFacts, *, seed: int, rank: int, layers: int) -> dict[str, NDArray[np.float32]]:
    """A pair for each linear weight of the first layers, in Hugging Face's order of rows."""
    random, found = np.random.default_rng(seed), {}
    for target, (inputs, outputs) in weights(base, layers).items():
        found[named(target, "A")] = (random.standard_normal((rank, inputs)) / np.sqrt(inputs)).astype(np.float32)
        found[named(target, "B")] = (random.standard_normal((outputs, rank)) * 0.1).astype(np.float32)
    return found
