"""What trainings may be asked for: refused by field, and where all is right, said to be not here."""

from __future__ import annotations

import re
from typing import Any

import pytest

from client import training
from client.errors import Unimplemented, from_response
from client.llm_options import BadArgument
from client.model_types import Model, PeftDetails
from client.training import FineTuning, Reinforcement, check_base, read

TUNED = {"display_name": "job", "dataset_or_id": "data"}
STEP = {"dataset": "accounts/local/datasets/rollouts", "output_model": "checkpoint-1"}
BASE = Model(name="accounts/fireworks/models/m", kind="HF_BASE_MODEL")
DETAILS = PeftDetails(base_model=BASE.name, r=8, target_modules=["q_proj"])
ADAPTER = Model(
    name="accounts/local/models/a", kind="HF_PEFT_ADDON", peft_details=DETAILS, training_context_length=4096
)


def test_the_documented_defaults_of_a_step() -> None:
    step = read(Reinforcement, STEP)
    assert (step.lora_rank, step.learning_rate, step.max_context_length, step.epochs) == (16, 1e-4, 8192, 1)
    assert (step.batch_size, step.accelerator_count, step.accelerator_type) == (32768, 1, "NVIDIA_A100_80GB")


@pytest.mark.parametrize(
    ("kind", "wrong", "field"),
    [
        (FineTuning, {"display_name": ""}, "display_name"), (FineTuning, {"display_name": "x" * 64}, "display_name"),
        (FineTuning, {"dataset_or_id": "no such/thing"}, "dataset_or_id"), (FineTuning, {"epochs": 0}, "epochs"),
        (FineTuning, {"epochs": 1.5}, "epochs"), (FineTuning, {"learning_rate": 0}, "learning_rate"),
        (FineTuning, {"learning_rate": float("nan")}, "learning_rate"), (FineTuning, {"lora_rank": 65}, "lora_rank"),
        (FineTuning, {"lora_rank": 3}, "lora_rank"), (FineTuning, {"batch_size": 0}, "batch_size"),
        (FineTuning, {"region": "MOON"}, "region"), (FineTuning, {"early_stop": True}, "early_stop"),
        (FineTuning, {"eval_auto_carveout": True, "evaluation_dataset": "e"}, "eval_auto_carveout"),
        (FineTuning, {"accelerator_type": "TPU"}, "accelerator_type"), (FineTuning, {"optimizer": "sgd"}, "optimizer"),
        (FineTuning, {"output_model": "No Id"}, "output_model"), (FineTuning, {"nodes": True}, "nodes"),
        (FineTuning, {"learning_rate_warmup_steps": -1}, "learning_rate_warmup_steps"),
        (Reinforcement, {"dataset": 7}, "dataset"), (Reinforcement, {"output_model": ""}, "output_model"),
        (Reinforcement, {"lora_rank": 12}, "lora_rank"), (Reinforcement, {"epochs": 11}, "epochs"),
        (Reinforcement, {"accelerator_type": "NVIDIA_L4_24GB"}, "accelerator_type"),
        (Reinforcement, {"max_context_length": 0}, "max_context_length"),
        (Reinforcement, {"accelerator_count": 0}, "accelerator_count"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_its_field(kind: Any, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(BadArgument, match=re.escape(field)) as refused:
        read(kind, (TUNED if kind is FineTuning else STEP) | wrong)
    assert refused.value.field == field


def test_a_base_is_trained_with_any_settings_and_an_adapter_with_its_own() -> None:
    check_base(BASE, read(Reinforcement, STEP))
    check_base(ADAPTER, read(Reinforcement, STEP | {"lora_rank": 8, "max_context_length": 4096}))
    told = "lora_rank is 8, not 16; max_context_length is 4096, not 8192"
    with pytest.raises(BadArgument, match=told) as refused:
        check_base(ADAPTER, read(Reinforcement, STEP))
    assert refused.value.field == "lora_rank"
    with pytest.raises(BadArgument, match="EMBEDDING_MODEL"):
        check_base(Model(name="e", kind="EMBEDDING_MODEL"), read(FineTuning, TUNED))


def test_all_that_must_be_kept_is_compared() -> None:
    trained = dict.fromkeys(training.KEPT, 1)
    assert len(training.differs_from(trained, dict.fromkeys(training.KEPT, 2))) == 5
    assert training.differs_from(trained, trained) == []


def test_not_available_is_an_error_of_its_own_on_the_wire_too() -> None:
    error = training.unavailable("reinforcement learning")
    assert "not available on this engine" in error.message
    assert isinstance(from_response(501, error.control_plane_body()), Unimplemented)
