"""The seed of tests that draw at random: always the same one, so that what passes today passes tomorrow, and a new one
for each `make soak`, which looks for what nobody has tried yet. FIREDECK_SEED=... goes through a failure again."""

from __future__ import annotations

import os
import random

SAME = 20_261_122
NEW = False  # set by `tests.conftest`


def of_run() -> int:
    return int(os.environ.get("FIREDECK_SEED", random.randrange(2**32) if NEW else SAME))
