"""What replicas of a declaration are started with. Pure.

Two declarations with the same template need no new replicas; a change of the template rolls out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from client.types import Deployment
from client.usage_types import NO_ACCELERATOR
from engine.control import capacity
from engine.placement import regions
from engine.placement.port import Launch, Need

_PLACEMENT = ("accelerator_type", "regions", "preemptible")  # where a replica goes, not what it is started with
_COUNTED_IF_SET = ("precision",)  # younger than generations that replicas of today have


@dataclass(frozen=True, slots=True)
class Template:
    """What a replica of the current settings is started with; `generation` is a digest of them.

    Fields as in `placement.port.Launch` and `Need`; models are names, whose files come from the library. The cores that
    a replica may use are not among them: they follow from all deployments, and another one shall replace no replica.
    """

    deployment: str
    model: str
    slots: int
    context_tokens: int
    threads: int | None = None
    generation: str = ""
    draft_model: str | None = None
    draft_tokens: int = 0
    ngram_length: int = 0
    adapters_cached: int | None = None
    adapters: int = 0  # that it may have in memory at once, for which it is promised room
    adapter_sequences: int | None = None
    devices: int | None = None  # accelerators, as declared; how many a replica gets is `sizing.Sizing.accelerators`
    accelerator_type: str | None = None
    regions: frozenset[str] | None = None
    precision: str | None = None  # of the model, as declared
    preemptible: bool = False

    def launch(
        self, replica: str, key: str, model_file: Path, draft_file: Path | None, *, cores: int, need: Need | None = None
    ) -> Launch:
        """For one replica, with the files of its models."""
        return Launch(
            replica=replica,
            deployment=self.deployment,
            model_file=model_file,
            key=key,
            slots=self.slots,
            context_tokens=self.context_tokens,
            cores=cores,
            threads=self.threads,
            draft_file=draft_file,
            draft_tokens=self.draft_tokens,
            ngram_length=self.ngram_length,
            adapters_cached=self.adapters_cached,
            adapter_sequences=self.adapter_sequences,
            need=need or Need(),
        )

    def written(self) -> str:
        """For a later engine, which takes it with `read`."""
        return json.dumps(asdict(self), default=sorted)

    @classmethod
    def read(cls, doc: str) -> Template:
        """Raises TypeError or ValueError when it was written by a firedeck that knew other settings."""
        made = cls(**json.loads(doc))
        return made if made.regions is None else replace(made, regions=frozenset(made.regions))


def template_of(declared: Deployment) -> Template:
    """The template of a declaration; it does not depend on which nodes there are.

    What has no effect (a draft model that is switched off) is left out, so that a change of it replaces no replica.
    """
    drafts = declared.draft_token_count or 0
    template = Template(
        deployment=declared.name,
        model=declared.base_model or "",
        slots=declared.max_batch_size or 1,
        context_tokens=declared.max_context_length or 0,
        threads=declared.firedeck.threads if declared.firedeck else None,
        draft_model=(declared.draft_model or None) if drafts else None,
        draft_tokens=drafts if declared.draft_model or declared.ngram_speculation_length else 0,
        ngram_length=(declared.ngram_speculation_length or 0) if drafts else 0,
        adapters_cached=declared.num_peft_device_cached or None,
        adapters=places(declared),
        adapter_sequences=declared.max_peft_batch_size or None,
        devices=declared.accelerator_count,
        precision=None if declared.precision == "PRECISION_UNSPECIFIED" else declared.precision,
    )
    unnamed = replace(template, deployment="")
    left_out = (*_PLACEMENT, *(name for name in _COUNTED_IF_SET if getattr(template, name) is None))
    settings = tuple(getattr(unnamed, field.name) for field in fields(unnamed) if field.name not in left_out)
    digest = hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
    return replace(
        template,
        generation=digest,
        accelerator_type=wanted_type(declared),
        regions=wanted_regions(declared),
        preemptible=preemptible(declared),
    )


def preemptible(declared: Deployment) -> bool:
    """Whether its replicas give their places to those of deployments that are not, and find none."""
    return bool(declared.preemptible or declared.spot)


def places(declared: Deployment) -> int:
    """LoRA adapters that a replica may have in memory at once."""
    return capacity.adapter_places(
        declared.num_peft_device_cached or 0,
        addons=bool(declared.enable_addons), merged=bool(declared.enable_hot_reload_latest_addon),
    )  # fmt: skip


def wanted_type(declared: Deployment) -> str | None:
    """The accelerator type that replicas must have, None for any."""
    kind = declared.accelerator_type
    return None if kind in (None, "", NO_ACCELERATOR) else kind


def wanted_regions(declared: Deployment) -> frozenset[str] | None:
    """The regions that replicas may stand in, None for anywhere."""
    where = declared.placement
    return None if where is None else regions.allowed(where.multi_region, where.region, where.regions)
