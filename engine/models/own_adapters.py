"""Check a LoRA adapter of the user's own before it becomes a model.

The file stays where it is; as with models, its links are resolved once, here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.models import adapter
from engine.models.adapter import AdapterFacts
from engine.models.own_models import resolve

# llama.cpp's names of the weights that adapters change, as PEFT has them.
_PEFT_NAMES = {
    "attn_q": "q_proj", "attn_k": "k_proj", "attn_v": "v_proj", "attn_output": "o_proj", "ffn_gate": "gate_proj",
    "ffn_up": "up_proj", "ffn_down": "down_proj", "token_embd": "embed_tokens", "output": "lm_head",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OwnAdapter:
    """A checked adapter: `path` is absolute and free of links."""

    path: Path
    facts: AdapterFacts

    @property
    def target_modules(self) -> list[str]:
        """The weights that it changes, by PEFT's names where there are such, sorted."""
        parts = {target.removesuffix(".weight").rpartition(".")[2] for target in self.facts.targets}
        return sorted(_PEFT_NAMES.get(part, part) for part in parts)


def check(path: str | Path, base: Path) -> OwnAdapter:
    """The adapter's facts, as it fits the model at `base`. Reads the whole file: call it from a thread.

    Raises InvalidArgument for a file that is unusable, FailedPrecondition for one that the base cannot take.
    """
    real = resolve(path)
    return OwnAdapter(real, adapter.read(real, adapter.read_base(base)))
