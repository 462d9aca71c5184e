"""Large files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from client.errors import FailedPrecondition


@contextlib.contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A path to write to; what lies there gets the name `target` when all went well, and is removed when not.

    FailedPrecondition where nothing can be written there.
    """
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.touch()
    except OSError as error:
        raise FailedPrecondition(f"cannot write to {target.parent}: {error.strerror}") from None
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
