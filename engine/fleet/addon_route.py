"""Which adapter a request runs with.

Who names an adapter gets that one or an error that says why not. Who names a deployment gets its base, but on one that
runs every request with one adapter: there the newest that is loaded, for others are being replaced by it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from client.errors import AddonNotLoaded, Unavailable
from engine.control.addons import DEPLOYED, DEPLOYING, FAILED
from engine.fleet.deployed_book import Book
from engine.fleet.deployed_state import state_of
from engine.fleet.keeper import Keeper

RETRY_AFTER_S = 1.0
BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


def route(book: Book, offer: str | None, keeper: Keeper) -> str | None:
    """The adapter that a request for the record `offer` runs with, None for a base. Raises AddonNotLoaded where no
    replica could load it, and Unavailable while they do."""
    record = book.records[offer] if offer is not None else None
    if record is None or record.model == keeper.deployment.base_model:
        return merged_on(book, keeper)
    state, why = state_of(record, keeper)
    if state == FAILED:
        raise AddonNotLoaded(f"the adapter {record.model} could not be loaded: {why}", field="model")
    if state != DEPLOYED and keeper.serves():
        raise Unavailable(f"the adapter {record.model} is being loaded", retry_after_s=RETRY_AFTER_S)
    return record.model


def merged_on(book: Book, keeper: Keeper) -> str | None:
    """The one adapter that every request to a hot-reload deployment runs with, None while there is none."""
    if not keeper.deployment.enable_hot_reload_latest_addon:
        return None
    usable = {DEPLOYED} if keeper.serves() else {DEPLOYED, DEPLOYING}
    there = book.offered_on(keeper.name)
    loaded = [r for r in there if r.model != keeper.deployment.base_model and state_of(r, keeper)[0] in usable]
    newest = max(loaded, key=lambda r: r.create_time or BEFORE_ALL, default=None)
    return newest.model if newest else None
