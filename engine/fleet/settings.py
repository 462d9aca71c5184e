"""What an engine is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.control.windows import PRODUCT, Limits
from engine.placement.port import REGION_UNSPECIFIED
from engine.serverless import Serverless
from engine.telemetry.otlp import Target

UNLOAD_ADDONS_AFTER_S = 7 * 86_400.0
ORPHAN_TIMEOUT_S = 60.0  # a replica that no engine talks to for so long ends by itself


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one engine. `limits` are the product's unless this server is for rehearsals.

    `region` and `accelerator_type` are the labels of this machine (a type that is None is detected), `price_per_hour`
    is what it costs whole, in US dollars; `prices` is a price list (`engine.prices`); `simulate` is the TOML file of a
    simulated fleet that stands in for it; `shapes` are files of deployment shapes (`engine.shape_files`).
    `allow_hosts` are names that clients know it by besides the address it listens on; `trusted_proxies` are the
    addresses whose X-Forwarded-For and -Proto are believed. `otlp` is where traces are sent to, if anywhere.
    `model_folders`: whose files others than admins may register as models, besides those of the engine's own cache.
    `unload_addons_after_s`: for so long nobody has asked for an adapter when it is unloaded; None for never.
    `grpc_port`: where gRPC calls are taken (None: nowhere; 0: on a free port), of the service that the package in
    `grpc_descriptors` describes. `serverless`: what everybody may ask without a deployment of their own.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8700
    limits: Limits = field(default_factory=lambda: PRODUCT)
    orphan_timeout_s: float = ORPHAN_TIMEOUT_S
    region: str = REGION_UNSPECIFIED
    accelerator_type: str | None = None
    price_per_hour: float | None = None
    prices: Path | None = None
    simulate: Path | None = None
    shapes: tuple[Path, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    otlp: Target | None = None
    model_folders: tuple[Path, ...] = ()
    unload_addons_after_s: float | None = UNLOAD_ADDONS_AFTER_S
    grpc_port: int | None = None
    grpc_descriptors: Path | None = None
    serverless: Serverless = field(default_factory=Serverless)

    @property
    def rehearsal(self) -> bool:
        return self.limits != PRODUCT
