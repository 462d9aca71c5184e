"""What a deployment would be: models by full name; what shape, model and platform fill in; all of it checked."""

from __future__ import annotations

from client.errors import InvalidArgument
from client.names import Name
from client.types import Deployment
from engine import declare
from engine.control.windows import Limits
from engine.deployed_rules import check_owner
from engine.library import Library
from engine.shapes import Asked, check_served, completed, reshaped


def whole(spec: Deployment, name: Name, library: Library, limits: Limits, asked: Asked) -> Deployment:
    """A new deployment as `spec` asks for it. Raises InvalidArgument, NotFound or FailedPrecondition."""
    if not spec.base_model:
        raise InvalidArgument("baseModel is required", field="baseModel")
    named = spec.model_copy()
    resolve(named, name.account, library)
    model = library.get(named.base_model or "")
    check_owner(model, name.account, "baseModel")
    made = declare.create(completed(named, model, asked), name, model.context_length, limits)
    check_served(made, model, asked)
    check_draft(made, library)
    return made


def changed(
    current: Deployment,
    changes: Deployment,
    mask: frozenset[str] | None,
    library: Library,
    limits: Limits,
    asked: Asked,
) -> Deployment:
    """`current` with the changed fields; `changes` name their models in full."""
    context = library.get(current.base_model or "").context_length
    new = reshaped(current, declare.update(current, changes, mask, context, limits), asked)
    check_served(new, library.get(new.base_model or ""), asked)
    check_draft(new, library)
    return new


def resolve(spec: Deployment, account: str, library: Library) -> None:
    """Put full names in the place of the models that `spec` names."""
    if spec.base_model is not None:
        spec.base_model = library.resolve(spec.base_model, account)
    if spec.draft_model is not None:
        spec.draft_model = library.resolve(spec.draft_model, account, "draftModel") if spec.draft_model else None


def check_draft(deployment: Deployment, library: Library) -> None:
    """NotFound for a draft model that does not exist. Whether the two vocabularies agree is seen when a replica loads
    both."""
    if deployment.draft_model:
        library.get(deployment.draft_model, "draftModel")
