"""`autoTune.longPrompt` where there are accelerators, of a simulated fleet: how many a replica gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.house import field_of, home

PATH = "/v1/accounts/local/deployments"
FLEET = Path(__file__).parent.parent / "placement" / "fleet.toml"
LONG = {"autoTune": {"longPrompt": True}}


async def planned(http: httpx.AsyncClient, model: str = "simulated-8b", **fields: Any) -> httpx.Response:
    body = {"baseModel": f"accounts/fireworks/models/{model}", **fields}
    return await http.post(PATH, params={"validateOnly": "true"}, json=body)


async def test_a_replica_gets_twice_the_fewest_gpus_or_two_at_least(tmp_path: Path) -> None:
    async with home(tmp_path / "data", simulate=FLEET) as own, own.http(own.admin_key) as http:
        for model, least in (("simulated-8b", 1), ("simulated-70b", 2)):
            for more, count in (({}, least), (LONG, 2 * least), (LONG | {"acceleratorCount": 8}, 8)):
                made = await planned(http, model, **more)
                assert made.json().get("acceleratorCount") == count, made.text
        assert field_of(await planned(http, acceleratorCount=1, **LONG)) == "acceleratorCount"
        assert field_of(await planned(http, acceleratorType="NVIDIA_L4_24GB", **LONG)) == "autoTune.longPrompt"

        base = {"baseModel": "accounts/fireworks/models/simulated-8b", "maxReplicaCount": 0}
        await http.post(f"{PATH}?deploymentId=d", json=base)
        for option, count, context in ((True, 2, 8192), (False, 1, 2048)):
            changed = await http.patch(f"{PATH}/d", json={"autoTune": {"longPrompt": option}})
            assert (changed.json()["acceleratorCount"], changed.json()["maxContextLength"]) == (count, context)
        refused = await http.patch(f"{PATH}/d", json={**LONG, "acceleratorCount": 1})
        assert field_of(refused) == "acceleratorCount"
