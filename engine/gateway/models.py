"""What can be asked for now, as `/v1/models` lists it: an account's deployments, their models, adapters and routers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from client.names import LIBRARY_ACCOUNT, LOCAL_ACCOUNT
from client.router_types import Router
from engine.fleet.keeper import Keeper
from engine.house import House
from engine.model_rules import LORA
from engine.serverless import is_shared, until

ROUTER = "ROUTER"  # a kind of firedeck's own beside the documented ones of models


def models_of(house: House, account: str) -> list[dict[str, Any]]:
    """Each deployment under its own name and its model under the bare one, adapters that are loaded, routers that have
    a target, and the models that are served serverless."""
    listed: dict[str, dict[str, Any]] = {}
    for keeper in house.fleet.keepers(account):
        if keeper.deleted:
            continue
        for model_id in (keeper.deployment.base_model or "", keeper.name):
            listed.setdefault(model_id, _model(house, model_id, keeper))
    for record in house.fleet.deployed.addons(account):
        addon = _model(house, f"{record.model}#{record.deployment}", house.fleet.get(record.deployment or ""))
        listed.setdefault(addon["id"], addon | {"kind": LORA, "owned_by": account})
    for router in house.fleet.routers.all(account):
        targets = [_model(house, router.name, keeper) for keeper in house.fleet.routers.targets_of(router)]
        if targets:
            listed[router.name] = _of_router(router, targets)
    for keeper in house.fleet.keepers(LIBRARY_ACCOUNT):
        if not keeper.deleted:
            model_id = keeper.deployment.base_model or ""
            listed.setdefault(model_id, _model(house, model_id, keeper))
    return list(listed.values())


def ends_on(house: House, keeper: Keeper) -> date | None:
    """The day from which on nobody deploys its model anew, or of a serverless one asks it; None for no such day."""
    deployment = keeper.deployment
    return until(deployment) if is_shared(keeper.name) else house.library.deprecated_on(deployment.base_model or "")


def _model(house: House, model_id: str, keeper: Keeper) -> dict[str, Any]:
    """`deprecation_date` is there of one that ends on that day, see `ends_on`."""
    deployment = keeper.deployment
    model = house.library.get(deployment.base_model or "")
    served = house.library.served(model.name)
    library = model.name.startswith(f"accounts/{LIBRARY_ACCOUNT}/")
    chats = bool(served.use_hf_apply_chat_template)
    day = ends_on(house, keeper)
    extra = {"deprecation_date": day.isoformat()} if day is not None else {}
    return {
        "id": model_id,
        "object": "model",
        "created": int(deployment.create_time.timestamp()) if deployment.create_time else 0,
        "owned_by": LIBRARY_ACCOUNT if library else LOCAL_ACCOUNT,
        "kind": model.kind,
        "supports_chat": chats,
        "supports_image_input": False,
        # Of a chat template: a replica tells the tools to one that knows of none as text.
        "supports_tools": bool(served.supports_tools),
        "context_length": deployment.max_context_length,
        **extra,
    } | ({"simulated": True} if house.fleet.rooms.driver.simulated else {})


def _of_router(router: Router, targets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What can be asked of every one of its `targets`, of which it has some."""
    contexts = [one["context_length"] for one in targets if one["context_length"]]
    able = {name: all(one[name] for one in targets) for name in ("supports_chat", "supports_tools")}
    made = int(router.create_time.timestamp()) if router.create_time else 0
    first = {name: value for name, value in targets[0].items() if name != "deprecation_date"}  # others may go on
    return {**first, **able, "kind": ROUTER, "created": made, "context_length": min(contexts, default=None)}
