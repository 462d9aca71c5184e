"""The rehearsal's models: what can be deployed, which adapters are loaded where, and what they answer. No model runs.

`chat` says so itself: its words are about the question, its times are made up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Any

from client.addon_types import DeployedModel
from client.config import Context
from client.enums import AUTO
from client.errors import AlreadyExists, FailedPrecondition, NotFound
from client.model_types import ModelFile, PeftDetails, PreparedPrecision, TypeDate
from client.names import LIBRARY_ACCOUNT
from client.types import Deployment, DeploymentSpec, Model
from tui.sources.simulation import SimDeployment

MODELS = ("smollm2-135m-instruct", "gemma-3-270m", "qwen2p5-0p5b-instruct")
ADAPTERS = ("brand-voice", "support-tone")  # of the first model
WORD_S = 0.03


def models(account: str) -> list[Model]:
    """The library's, then two adapters of the account's own."""
    library = [_base(name) for name in MODELS]
    details = PeftDetails(base_model=library[0].name, r=8, target_modules=["q_proj", "v_proj"])
    own = [Model(name=f"accounts/{account}/models/{name}", kind="HF_PEFT_ADDON", peft_details=details)
           for name in ADAPTERS]  # fmt: skip
    return [*library, *own]


def _base(name: str) -> Model:
    """The first one is there in FP8 too, the second one ends."""
    made = PreparedPrecision(precision="FP8", quantization="Q8_0", state="READY")
    waits = PreparedPrecision(precision="FP4", quantization="Q4_0", state="PREPARING", stage="it waits its turn")
    prepared = [made, waits] if name == MODELS[0] else []
    file = ModelFile(
        file=f"{name}.gguf", size_bytes=270 << 20, quantization="F16", on_disk=True, prepared=prepared or None
    )  # fmt: skip
    return Model(
        name=f"accounts/{LIBRARY_ACCOUNT}/models/{name}", display_name=name, firedeck=file,
        supported_precisions=["FP16", *(["FP8"] if prepared else [])],
        deprecation_date=TypeDate(year=2027, month=1, day=31) if name == MODELS[1] else None,
    )  # fmt: skip


def check_precision(spec: DeploymentSpec) -> None:
    """FailedPrecondition for one that the model is not there in."""
    there = _base((spec.base_model or "").rpartition("/")[2]).supported_precisions or []
    if spec.precision not in (None, AUTO, *there):
        raise FailedPrecondition(f"{spec.base_model} is not prepared in {spec.precision}", field="precision")


def loaded(account: str, since: datetime) -> list[DeployedModel]:
    """One adapter on `chat`."""
    return [_placed(account, ADAPTERS[0], f"accounts/{account}/deployments/chat", since)]


def _placed(account: str, adapter: str, deployment: str, since: datetime) -> DeployedModel:
    home = f"accounts/{account}"
    return DeployedModel(
        name=f"{home}/deployedModels/{adapter}-{deployment.rpartition('/')[2]}", model=f"{home}/models/{adapter}",
        deployment=deployment, state="DEPLOYED", create_time=since,
    )  # fmt: skip


class RehearsalModels:
    """What `RehearsalSource` answers of its models; `loaded` is what is on which deployment now."""

    context: Context
    fleet: dict[str, SimDeployment]
    loaded: list[DeployedModel]
    _second: int

    def _begin(self, call: str) -> None:
        raise NotImplementedError

    def _moment(self, second: int) -> datetime:
        raise NotImplementedError

    async def models(self) -> list[Model]:
        self._begin("models")
        return models(self.context.account)

    async def deployed_models(self) -> list[DeployedModel]:
        self._begin("deployed_models")
        return list(self.loaded)

    async def adapters(self, deployment: Deployment) -> list[str]:
        self._begin("adapters")
        return [(one.model or "").rpartition("/")[2] for one in self.loaded if one.deployment == deployment.name]

    async def load_adapter(self, model: str, deployment: str) -> DeployedModel:
        self._begin("load_adapter")
        made = _placed(self.context.account, model.rpartition("/")[2], deployment, self._moment(self._second))
        if any(one.name == made.name for one in self.loaded):
            raise AlreadyExists(f"{made.id} exists already", field="model")
        self.loaded.append(made)
        return made

    async def unload_adapter(self, name: str) -> None:
        self._begin("unload_adapter")
        if all(one.name != name for one in self.loaded):
            raise NotFound(f"{name} does not exist")
        self.loaded = [one for one in self.loaded if one.name != name]

    async def chat(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Some words about the last message, with the figures that an engine would tell."""
        self._begin("chat")
        messages = body["messages"]
        asked = str(messages[-1]["content"]).split()
        words = f"(simulated) You asked {len(asked)} words: {' '.join(asked[:12])}. No model has read them.".split()
        for word in words:
            await asyncio.sleep(WORD_S)
            yield {"choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}]}
        prompt = sum(len(str(one["content"]).split()) for one in messages) + 8
        yield {
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": prompt, "completion_tokens": len(words),
                "prompt_tokens_details": {"cached_tokens": 8 if len(messages) > 1 else 0},
            },
            "perf_metrics": {"server-time-to-first-token": WORD_S} | self._drafts_of(body, len(words)),
        }  # fmt: skip

    def _drafts_of(self, body: Mapping[str, Any], tokens: int) -> dict[str, float]:
        """Of a deployment that drafts, unless the request forbids it."""
        one = self.fleet.get(str(body["model"]).rpartition("#")[2])
        drafts = one is not None and one.deployment.ngram_speculation_length and not body.get("disable_speculation")
        return {"speculation-generated-tokens": tokens // 2, "speculation-acceptance": 0.62} if drafts else {}
