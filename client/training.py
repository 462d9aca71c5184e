"""What `LLM.create_supervised_fine_tuning_job` and `LLM.reinforcement_step` may be asked for. Pure.

The engines that this client knows train nothing: whatever is right is answered Unimplemented, and what is wrong is
refused first, so that a program that will run elsewhere can be tried here.
Source: https://docs.fireworks.ai/fine-tuning (ranges), the documentation of the class `LLM` (names, defaults)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from client.enums import ACCELERATOR_TYPES, REGIONS, said
from client.errors import AlreadyExists, Unimplemented
from client.llm_options import BadArgument, check_name
from client.types import Model
from client.wire import INT32_MAX

STEP_ACCELERATORS = ("NVIDIA_A100_80GB", "NVIDIA_H100_80GB", "NVIDIA_H200_141GB")
RANK_MIN, RANK_MAX = 4, 64  # of an adapter that can be served
STEP_RANKS = (4, 8, 16, 32, 64, 128)  # of reinforcement
STEP_EPOCHS_MAX = 10
DISPLAY_NAME_MAX = 63
KEPT = ("lora_rank", "learning_rate", "max_context_length", "epochs", "batch_size")  # of an adapter that is trained on
Asked = TypeVar("Asked", "FineTuning", "Reinforcement")
_DATASET = re.compile(r"(accounts/[a-z0-9-]+/datasets/)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NOT_HERE = "no training runs here: give the job to an engine that has it"


class OutputModelExists(AlreadyExists, ValueError):
    """A training's result would take the place of a model."""


@dataclass(frozen=True, slots=True)
class FineTuning:
    """Supervised fine-tuning of the LLM's model. `batch_size` and `max_context_length` are tokens."""

    display_name: str
    dataset_or_id: str
    epochs: int = 1
    learning_rate: float = 1e-4
    lora_rank: int = 16
    max_context_length: int = 8192
    batch_size: int = 32768
    learning_rate_warmup_steps: int = 0
    gradient_accumulation_steps: int = 1
    early_stop: bool = False
    eval_auto_carveout: bool = False
    evaluation_dataset: str | None = None
    is_turbo: bool = False
    jinja_template: str | None = None
    nodes: int = 1
    output_model: str | None = None
    region: str | None = None
    accelerator_count: int | None = None
    accelerator_type: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.display_name, str) or not 0 < len(self.display_name) <= DISPLAY_NAME_MAX:
            raise BadArgument(f"display_name must have 1 to {DISPLAY_NAME_MAX} characters", field="display_name")
        check_dataset(self.dataset_or_id, "dataset_or_id")
        if self.evaluation_dataset is not None:
            check_dataset(self.evaluation_dataset, "evaluation_dataset")
            if self.eval_auto_carveout:
                raise BadArgument(
                    "eval_auto_carveout and evaluation_dataset exclude each other", field="eval_auto_carveout"
                )
        if self.early_stop and self.evaluation_dataset is None and not self.eval_auto_carveout:
            raise BadArgument(
                "early_stop needs something to evaluate on", field="early_stop",
                hint="give evaluation_dataset or eval_auto_carveout",
            )  # fmt: skip
        if self.region is not None and self.region not in REGIONS:
            raise BadArgument(f"region {self.region!r} is not known", field="region", hint="e.g. US_IOWA_1")
        _check_output(self.output_model)
        _check_whole("lora_rank", self.lora_rank, RANK_MIN, RANK_MAX)
        _check_whole("epochs", self.epochs, 1)
        _check_whole("learning_rate_warmup_steps", self.learning_rate_warmup_steps, 0)
        _check_whole("gradient_accumulation_steps", self.gradient_accumulation_steps, 1)
        _check_whole("nodes", self.nodes, 1)
        _check_common(self, said(ACCELERATOR_TYPES))


@dataclass(frozen=True, slots=True)
class Reinforcement:
    """One step of reinforcement learning of the LLM's model, to a checkpoint `output_model`."""

    dataset: str
    output_model: str
    lora_rank: int = 16
    learning_rate: float = 1e-4
    max_context_length: int = 8192
    epochs: int = 1
    batch_size: int = 32768
    accelerator_count: int | None = 1
    accelerator_type: str | None = "NVIDIA_A100_80GB"

    def __post_init__(self) -> None:
        check_dataset(self.dataset, "dataset")
        if not self.output_model:
            raise BadArgument("output_model is required", field="output_model")
        _check_output(self.output_model)
        _check_whole("epochs", self.epochs, 1, STEP_EPOCHS_MAX)
        if self.lora_rank not in STEP_RANKS:
            known = ", ".join(map(str, STEP_RANKS))
            raise BadArgument(f"lora_rank {self.lora_rank!r} is not one of {known}", field="lora_rank")
        _check_common(self, STEP_ACCELERATORS)


def read(kind: type[Asked], given: Mapping[str, Any]) -> Asked:
    """The settings of a training; BadArgument for one that there is not, or that is wrong."""
    known = kind.__dataclass_fields__
    if unknown := sorted(set(given) - set(known)):
        raise BadArgument(f"{unknown[0]} is no setting of it", field=unknown[0], hint=f"there are {', '.join(known)}")
    return kind(**given)


def check_dataset(dataset: object, field: str) -> None:
    """An id, or a dataset's full name."""
    if not isinstance(dataset, str) or not _DATASET.fullmatch(dataset):
        raise BadArgument(
            f"{field} {str(dataset)[:80]!r} is no dataset", field=field, hint="give its id, or accounts/A/datasets/ID"
        )


def check_base(model: Model, asked: FineTuning | Reinforcement) -> None:
    """Whether the model can be trained so; an adapter goes on as it was trained. BadArgument lists what differs."""
    if model.kind not in ("HF_BASE_MODEL", "HF_PEFT_ADDON"):
        raise BadArgument(f"{model.name} is a {model.kind}: bases and LoRA adapters alone are trained", field="model")
    if not model.is_adapter:
        return
    differing = differs_from(trained_with(model), asdict(asked))
    if differing:
        told = f"{model.name} is an adapter, and goes on as it was trained: {'; '.join(differing)}"
        raise BadArgument(told, field=differing[0].split()[0], hint="give the settings of its training")


def trained_with(model: Model) -> dict[str, Any]:
    """What a model says of its training: of an adapter its rank, and the context where it is known."""
    known = {"lora_rank": model.peft_details.r if model.peft_details else None}
    known["max_context_length"] = model.training_context_length
    return {name: value for name, value in known.items() if value}


def differs_from(trained: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """`lora_rank is 8, not 16` for each setting that must be kept and is not."""
    return [
        f"{name} is {trained[name]}, not {asked[name]}"
        for name in KEPT
        if name in trained and name in asked and trained[name] != asked[name]
    ]


def unavailable(what: str) -> Unimplemented:
    return Unimplemented(f"{what} is not available on this engine", hint=_NOT_HERE)


def _check_output(output_model: str | None) -> None:
    if output_model is not None:
        check_name(output_model.rpartition("/")[2], "output_model")


def _check_common(asked: FineTuning | Reinforcement, accelerators: Sequence[str]) -> None:
    """What both kinds of training have."""
    _check_whole("max_context_length", asked.max_context_length, 1)
    _check_whole("batch_size", asked.batch_size, 1)
    rate = asked.learning_rate
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise BadArgument(f"learning_rate {rate!r} is no number above 0", field="learning_rate")
    if asked.accelerator_count is not None:
        _check_whole("accelerator_count", asked.accelerator_count, 1)
    if asked.accelerator_type is not None and asked.accelerator_type not in accelerators:
        raise BadArgument(
            f"accelerator_type {asked.accelerator_type!r} trains nothing", field="accelerator_type",
            hint=f"use one of {', '.join(accelerators)}",
        )  # fmt: skip


def _check_whole(field: str, value: object, least: int, most: int = INT32_MAX) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadArgument(f"{field} {value!r} is no whole number from {least} to {most}", field=field)
