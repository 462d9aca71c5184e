"""What a simulated week begins with: the virtual nodes and their troubles, the deployments and their policies."""

from __future__ import annotations

import random

from engine.control import autoscale
from engine.control.autoscale import Policy
from engine.placement.port import Need
from engine.placement.simulated.world import Closure, VirtualNode, World
from tests.faults.week_parts import Deployed, Size

H100, L4 = "NVIDIA_H100_80GB", "NVIDIA_L4_24GB"


def world(size: Size, chance: random.Random, seed: int) -> World:
    """Nodes for a little less than is asked for at most, spot machines among them, stockouts and outages."""
    boxes = max(2, size.accelerators // 8)
    troubled = not size.room_for_all
    nodes = [
        VirtualNode(
            name=f"n{n}", region=("US_IOWA_1", "EU_PARIS_1")[n % 2], accelerator_type=H100 if n % 4 else L4,
            accelerators=8, accelerator_bytes=80 * 10**9, threads=4096, price_per_hour=1.0 + n % 3,
            preemptions_per_day=1.0 if troubled and n % 5 == 0 else 0.0,
        )
        for n in range(boxes)
    ]  # fmt: skip
    closures = [
        Closure(at, at + chance.uniform(300, 5400), fatal=chance.random() < 0.5, node=node.name)
        for node in chance.sample(nodes, max(1, boxes // 4) if troubled else 0)
        for at in [chance.uniform(0, max(1.0, size.calm_from - 5400))]
    ]
    delay_s = size.start_delay_s
    return World(tuple(nodes), seed=seed, start_delay_s=delay_s, start_spread=0.5, closures=tuple(closures))


def deployed(number: int, size: Size, chance: random.Random) -> Deployed:
    """With a policy and wishes of its own, and its first replica wanted."""
    low = chance.choice((0, 0, 0, 1, 2))
    policy = Policy(
        min_replicas=low, max_replicas=max(low, chance.randint(1, size.most_each)),
        up_window_s=30.0, down_window_s=600.0, zero_window_s=chance.choice((300.0, 3600.0)), targets={},
        slots_per_replica=8,
    )  # fmt: skip
    regions = chance.choice((None, None, frozenset({"US_IOWA_1"}), frozenset({"US_IOWA_1", "EU_PARIS_1"})))
    need = Need(chance.choice((None, None, H100)), 1, regions, model_bytes=1 << 30)
    made = Deployed(f"d{number}", policy, need)
    made.memory = autoscale.begin(policy, made.first_count(), 0.0)
    return made
