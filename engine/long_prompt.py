"""`autoTune.longPrompt`: replicas for prompts of more than some 3,000 tokens. Pure.

Documented of it: it takes two accelerators at least, and where no count is given, twice the fewest that hold the model.
Ours, as what a replica holds of a prompt is its context: where none are given it gets a longer context, and as many
fewer sequences, in no more memory. Where no node has accelerators that is all it does: a CPU reads no prompt faster.

Source: https://docs.fireworks.ai/guides/ondemand-deployments.
"""

from __future__ import annotations

from collections.abc import Collection

from client.errors import FailedPrecondition, InvalidArgument
from client.types import Deployment

ACCELERATORS_MIN = 2
# Of a deployment that says nothing, without the option. Fireworks' default is 16 sequences; here each has room for its
# whole context, and that in the memory of somebody's own machine.
SLOTS = 8
CONTEXT_TOKENS = 2048  # per sequence, or the model's own limit where that is smaller
FACTOR = 4  # times the context, and of the sequences one in so many


def asked(deployment: Deployment) -> bool:
    return deployment.auto_tune is not None and bool(deployment.auto_tune.long_prompt)


def context_tokens(deployment: Deployment) -> int:
    """Of a sequence, where nothing is said and the model has no less."""
    return CONTEXT_TOKENS * FACTOR if asked(deployment) else CONTEXT_TOKENS


def slots(deployment: Deployment) -> int:
    """Sequences that a replica runs at once, where nothing is said."""
    return SLOTS // FACTOR if asked(deployment) else SLOTS


def accelerators(deployment: Deployment, least: int, most: int) -> int:
    """Of a replica, where no count is given. `least` hold one; `most` are those of the node that has the most."""
    return ACCELERATORS_MIN * least if asked(deployment) and most else least


def switched(current: Deployment, new: Deployment, named: Collection[str], context_limit: int) -> Deployment:
    """A change that turns it on or off: what the former state of it had filled in is filled in anew, unless the
    change names it. A shape's settings stay."""
    if asked(new) == asked(current) or new.deployment_shape:
        return new
    before, after = _filled(current, context_limit), _filled(new, context_limit)
    kept = {field: after[field] for field in before if field not in named and getattr(new, field) == before[field]}
    return new.model_copy(update=kept)


def check(deployment: Deployment, most: int, *, size: bool = True) -> None:
    """InvalidArgument or FailedPrecondition where it asks for what is not effective. `most` as of `accelerators`;
    without `size`, nodes that have more may come yet."""
    if not asked(deployment) or not most or (deployment.accelerator_count or 1) >= ACCELERATORS_MIN <= most:
        return
    if most < ACCELERATORS_MIN and size:
        raise FailedPrecondition(
            f"autoTune.longPrompt takes {ACCELERATORS_MIN} accelerators a replica at least, and no node has so many",
            field="autoTune.longPrompt",
            hint="leave it out, and set maxContextLength",
        )
    if (deployment.accelerator_count or 1) >= ACCELERATORS_MIN:
        return
    raise InvalidArgument(
        f"autoTune.longPrompt takes {ACCELERATORS_MIN} accelerators a replica at least, "
        f"not {deployment.accelerator_count}",
        field="acceleratorCount",
        hint="give more, or leave the option out; of a new deployment without a count it is twice the fewest that do",
    )


def _filled(deployment: Deployment, context_limit: int) -> dict[str, int]:
    context = min(context_tokens(deployment), context_limit)
    return {"max_context_length": context, "max_batch_size": slots(deployment)}
