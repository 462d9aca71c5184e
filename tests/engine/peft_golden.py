"""`python -m tests.engine.peft_golden BASE ADAPTER ANSWERS [TOKEN...]`: what transformers and PEFT make of a model.

Run by a Python that has torch. Saves a random adapter of BASE as PEFT saves one, and the logits of every place of the
tokens, in 32 bits: `plain` without the adapter and `adapted` with it (places, vocabulary).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

RANK, ALPHA, STRENGTH = 8, 16, 0.1


def main(base: str, adapter: str, answers: str, tokens: list[int]) -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    plain = logits(model, tokens)
    settings = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
    )
    lora = get_peft_model(model, settings)
    for name, values in lora.named_parameters():
        if "lora_B" in name:
            values.data *= STRENGTH
    np.savez(answers, plain=plain, adapted=logits(lora, tokens))
    lora.save_pretrained(adapter)


def logits(model: Any, tokens: list[int]) -> Any:
    with torch.no_grad():
        return model.eval()(torch.tensor([tokens])).logits[0].numpy()


if __name__ == "__main__":
    main(*sys.argv[1:4], [int(one) for one in sys.argv[4:]])
