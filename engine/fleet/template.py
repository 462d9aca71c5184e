"""What replicas of a declaration are started with. Pure.

Two declarations with the same template need no new replicas; a change of the template rolls out.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from client.types import Deployment
from engine.placement.port import Launch


@dataclass(frozen=True, slots=True)
class Template:
    """What a replica of the current settings is started with; `generation` is a digest of them.

    Fields as in `placement.port.Launch`; models are names, whose files come from the library. The cores that a replica
    may use are not among them: they follow from all deployments, and another one shall replace no replica.
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
    adapter_sequences: int | None = None
    devices: int | None = None

    def launch(self, replica: str, key: str, model_file: Path, draft_file: Path | None, *, cores: int) -> Launch:
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
            devices=self.devices,
        )


def cores_each(cores: int, replicas: int) -> int:
    """How many of a machine's cores each of its replicas may use when there are as many as there may be, at least 1.

    One is left to the gateway and everything else: a replica whose threads share a core with it is slower than one with
    fewer threads (replica/threads.py has the figures).
    """
    return max(1, (cores - 1) // max(1, replicas))


def template_of(declared: Deployment, *, gpus: int) -> Template:
    """The template of a declaration. `gpus`: how many this machine has.

    What has no effect (a draft model that is switched off, accelerators where there are none) is left out, so that a
    change of it replaces no replica.
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
        adapter_sequences=declared.max_peft_batch_size or None,
        devices=min(declared.accelerator_count or gpus, gpus) or None,
    )
    settings = astuple(replace(template, deployment=""))
    return replace(template, generation=hashlib.sha256(repr(settings).encode()).hexdigest()[:12])
