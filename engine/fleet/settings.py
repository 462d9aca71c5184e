"""What an engine is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.control.windows import PRODUCT, Limits

ORPHAN_TIMEOUT_S = 60.0  # a replica that no engine talks to for so long ends by itself


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one engine. `limits` are the product's unless this server is for rehearsals."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8700
    limits: Limits = field(default_factory=lambda: PRODUCT)
    orphan_timeout_s: float = ORPHAN_TIMEOUT_S

    @property
    def rehearsal(self) -> bool:
        return self.limits != PRODUCT
