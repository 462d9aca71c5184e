"""One replica's configuration, as its command line gives it."""

from __future__ import annotations

from dataclasses import dataclass

from engine.replica.speculation.settings import SpeculationSettings

NO_DRAFTS = SpeculationSettings()


@dataclass(frozen=True, slots=True)
class Settings:
    """One replica's configuration.

    `threads` 0: as many of `cores`, the CPU cores that are its own, as pay. `gpu_layers`, `devices` None: all that are
    there. `kv_tokens` below slots x context: all sequences share so many
    cells. `adapters_cached`: LoRA adapters in the model's memory at once (numPeftDeviceCached); `adapter_sequences`:
    sequences that may use one at once (maxPeftBatchSize), None for all. `prefix_ram_mib`: RAM for saved prefixes and
    preempted sequences. `seed`: of requests that name none; None for random. `costs_file`: where measured costs are
    remembered.
    """

    deployment: str
    replica: str
    model_path: str
    slots: int = 8
    context: int = 2048
    threads: int = 0
    cores: int = 1
    gpu_layers: int | None = None
    devices: int | None = None
    kv_tokens: int | None = None
    prefix_ram_mib: int = 256
    adapters_cached: int = 8
    adapter_sequences: int | None = None
    drafting: SpeculationSettings = NO_DRAFTS
    seed: int | None = None
    costs_file: str | None = None
