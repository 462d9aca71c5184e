"""When a deployment that nobody uses is deleted: with a minimum of 0, after seven days without a request. Pure.

Source: https://docs.fireworks.ai/guides/ondemand-deployments. The deletion is soft: undelete brings it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

DELETE_AFTER = timedelta(days=7)


def delete_at(min_replicas: int, touched: Iterable[datetime | None]) -> datetime | None:
    """The instant of deletion if nothing happens before it; None for a deployment that keeps a minimum of replicas.

    `touched`: when it was made, changed, brought back, asked; None where it never was.
    """
    last = max((at for at in touched if at is not None), default=None)
    return None if min_replicas > 0 or last is None else last + DELETE_AFTER
