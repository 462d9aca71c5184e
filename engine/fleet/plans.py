"""What a deployment would be: models by full name; what shape, model and platform fill in; all of it checked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from client.addon_types import DeploymentShapeVersion
from client.enums import SIMULATED_LABEL
from client.errors import FiredeckError, InvalidArgument
from client.names import Name
from client.types import Deployment
from engine import declare, long_prompt, precision
from engine.control.windows import Limits
from engine.deployed_rules import check_owner
from engine.fleet.sizing import Sizing
from engine.fleet.template import template_of
from engine.library import Library
from engine.placement.port import Driver
from engine.shape_files import ShapeFiles
from engine.shapes import NO_OPTIONS, WriteOptions, check_served, completed, judged, reshaped
from engine.units import gib

SLICE = 16  # versions of shapes; one takes 0.2 ms to judge


class Plans:
    """Plans for the models of a library on the nodes of a driver. What cannot be is InvalidArgument, NotFound or
    FailedPrecondition."""

    def __init__(self, driver: Driver, library: Library, limits: Limits, shape_files: ShapeFiles) -> None:
        self._driver = driver
        self._library = library
        self._limits = limits
        self._shape_files = shape_files
        self._sizing = Sizing(driver, library.files)

    def accelerated(self, deployment: Deployment) -> bool:
        """Whether its replicas run on accelerators."""
        return self._sizing.accelerators(template_of(deployment)) > 0

    async def open(self) -> None:
        """Raises InvalidArgument for a file of shapes that cannot be read."""
        await self._shape_files.open()

    async def shape_versions(self, base_model: str | None = None) -> list[DeploymentShapeVersion]:
        """Every version of every shape, `validated` where its model could be deployed so now; of `base_model` alone
        where it is given, because to ask it of the whole library takes a while. Whether a node has room for it is seen
        when it is deployed."""
        await self._shape_files.look()
        versions, could_be = self._shape_files.versions, set[str]()
        for number, version in enumerate(versions):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)  # streams have their turn
            if base_model in (None, version.snapshot.base_model) and self._could_be(version):
                could_be.add(version.name)
        return judged(versions, lambda version: version.name in could_be)

    def _versions_for(self, spec: Deployment) -> list[DeploymentShapeVersion]:
        """The same for its model, as they were seen last."""
        if not spec.deployment_shape:
            return []
        return judged(
            self._shape_files.versions, lambda v: v.snapshot.base_model == (spec.base_model or "") and self._could_be(v)
        )

    def _could_be(self, version: DeploymentShapeVersion) -> bool:
        spec = Deployment(base_model=version.snapshot.base_model, deployment_shape=version.name)
        try:
            self._declared(spec, Name("any", "deployments", "any"), NO_OPTIONS, [version])
        except FiredeckError:
            return False
        return True

    async def whole(self, spec: Deployment, name: Name, options: WriteOptions) -> Deployment:
        """A new deployment as `spec` asks for it. Reads the headers of its models' files."""
        if not spec.base_model:
            raise InvalidArgument("baseModel is required", field="baseModel")
        named = spec.model_copy()
        self._resolve(named, name.account)
        model = self._library.get(named.base_model or "")
        check_owner(model, name.account, "baseModel")
        await self._shape_files.look()
        complete, made = self._declared(named, name, options, self._versions_for(named))
        await self._sizing.warm(made.base_model, made.draft_model, made.precision)
        if not complete.accelerator_count:
            made = self._with_least_accelerators(made)
        self._check_size(made)
        return self._labelled(made)

    def _declared(
        self, spec: Deployment, name: Name, options: WriteOptions, versions: Sequence[DeploymentShapeVersion]
    ) -> tuple[Deployment, Deployment]:
        """`spec` with what its shape and its model fill in, then with every default, and checked."""
        model = self._library.get(spec.base_model or "")
        complete = precision.settled(completed(spec, model, options, versions), model)
        made = declare.create(complete, name, self._library.served(model.name).context_length, self._limits)
        check_served(made, model, options)
        self.check_draft(made)
        return complete, made

    async def prepare(self, current: Deployment, changes: Deployment) -> None:
        """Before `changed`: full names in the place of the models that `changes` names, headers of files and shapes
        read."""
        await self._shape_files.look()
        self._resolve(changes, current.name.split("/")[1])
        self.check_draft(changes)
        await self._sizing.warm(current.base_model, current.draft_model, current.precision)
        await self._sizing.warm(current.base_model, changes.draft_model, changes.precision)

    def changed(
        self, current: Deployment, changes: Deployment, mask: frozenset[str] | None, options: WriteOptions
    ) -> Deployment:
        """`current` with the changed fields."""
        model = self._library.get(current.base_model or "")
        context = self._library.served(model.name).context_length
        declared = declare.update(current, changes, mask, context, self._limits)
        if long_prompt.asked(declared) != long_prompt.asked(current) and changes.accelerator_count is None:
            declared = self._counted_anew(current, declared)
        versions = self._versions_for(declared)
        new = precision.settled(reshaped(current, declared, options, versions), model, current)
        check_served(new, model, options)
        self.check_draft(new)
        checked = not current.disable_deployment_size_validation
        if template_of(new) != template_of(current) or new.auto_tune != current.auto_tune or not checked:
            self._check_size(new)
        return self._labelled(new)

    def check_draft(self, deployment: Deployment) -> None:
        """NotFound for a draft model that does not exist. Whether the two vocabularies agree is seen when a replica
        loads both."""
        if deployment.draft_model:
            self._library.get(deployment.draft_model, "draftModel")

    def to_fetch(self, deployment: Deployment) -> str:
        """Which of its models' files are not here yet, how large they are, and what fetches them beforehand; "" where
        none is missing. A replica that starts fetches them otherwise."""
        if not self._driver.reads_files:
            return ""
        draft = deployment.draft_model if deployment.draft_token_count else None
        asked = ((deployment.base_model, deployment.precision), (draft, None))
        wanted = [self._library.files.to_fetch(name, precision) for name, precision in asked if name]
        missing = [entry for entry in wanted if entry is not None]
        sizes = " and ".join(f"{one.id} (about {gib(one.expected_bytes)})" for one in missing)
        pulls = " && ".join(f"firedeck model pull {one.id}" for one in missing)
        return f"{sizes} is fetched when a replica starts, or before: {pulls}" if missing else ""

    def _resolve(self, spec: Deployment, account: str) -> None:
        if spec.base_model is not None:
            spec.base_model = self._library.resolve(spec.base_model, account)
        if spec.draft_model is not None:
            draft = spec.draft_model
            spec.draft_model = self._library.resolve(draft, account, "draftModel") if draft else None

    def _check_size(self, deployment: Deployment) -> None:
        """FailedPrecondition when no node could ever hold a replica of it, or none has such labels; also
        InvalidArgument for what `longPrompt` does not go with."""
        checked = not deployment.disable_deployment_size_validation
        long_prompt.check(deployment, self._sizing.most_accelerators(template_of(deployment)), size=checked)
        self._sizing.check(template_of(deployment), size=checked)

    def _with_least_accelerators(self, deployment: Deployment) -> Deployment:
        """`acceleratorCount` where none was asked for: the estimated minimum for the model, or twice that."""
        template = template_of(deployment)
        least, most = self._sizing.least_accelerators(template), self._sizing.most_accelerators(template)
        return deployment.model_copy(update={"accelerator_count": long_prompt.accelerators(deployment, least, most)})

    def _counted_anew(self, current: Deployment, new: Deployment) -> Deployment:
        """`longPrompt` was turned on or off: the count of its former state becomes that of the new one."""
        filled_in = self._with_least_accelerators(current).accelerator_count == current.accelerator_count
        return self._with_least_accelerators(new) if filled_in and not new.deployment_shape else new

    def _labelled(self, deployment: Deployment) -> Deployment:
        """What is simulated says so, whatever its owner writes."""
        given = deployment.annotations
        kept = {name: text for name, text in (given or {}).items() if name != SIMULATED_LABEL}
        labels = kept | {SIMULATED_LABEL: "true"} if self._driver.simulated else given and kept
        return deployment.model_copy(update={"annotations": labels})
