"""Whether replicas of a deployment can run at all, and what each of them takes: the library, `control.capacity` and the
nodes of the driver brought together."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from client.errors import FailedPrecondition
from client.types import Deployment
from engine.control import capacity
from engine.control.capacity import Estimate, Workload
from engine.fleet.template import Template, wanted_regions, wanted_type
from engine.library import Library
from engine.placement import fit
from engine.placement.port import Driver, Need, Node


class Sizing:
    """Answers from what is known now; `warm` reads the headers of model files off the event loop first."""

    def __init__(self, driver: Driver, library: Library) -> None:
        self._driver = driver
        self._library = library

    async def warm(self, *models: str | None) -> None:
        for model in models:
            if model:
                await asyncio.to_thread(self._library.dimensions, model)

    def gpus(self, deployment: Deployment) -> int:
        """The most accelerators that a node has which this deployment may use."""
        return max((node.accelerators for node in self._labelled(deployment)), default=0)

    def need(self, template: Template, cores: int = 1) -> Need:
        """What a replica of this template takes that may use so many cores; no memory where its declaration wants that
        not looked at."""
        size = self.estimate(template, _work(template))
        return Need(
            accelerator_type=template.accelerator_type,
            accelerators=template.devices or 0,
            regions=template.regions,
            model_bytes=size.model_bytes if template.sized else 0,
            process_bytes=size.process_bytes if template.sized else 0,
            threads=template.threads or cores,
        )

    def estimate(self, template: Template, work: Workload) -> Estimate:
        draft = self._library.dimensions(template.draft_model) if template.draft_model else None
        return capacity.estimate(self._library.dimensions(template.model), work, draft)

    def least_accelerators(self, template: Template, most: int) -> int:
        """The fewest accelerators that hold a replica, or `most` where not even they do."""
        nodes = self._driver.nodes()
        fitting = (count for count in range(1, most + 1) if self._fits(nodes, replace(template, devices=count)))
        return next(fitting, max(1, most))

    def check(self, deployment: Deployment, template: Template) -> None:
        """Raises FailedPrecondition when no node could ever hold a replica, with the numbers and what would fit."""
        nodes = self._driver.nodes()
        if template.devices is not None:
            template = replace(template, devices=deployment.accelerator_count)
        devices, threads = template.devices or 0, template.threads or 1
        labels = Need(template.accelerator_type, devices, template.regions, threads=threads)
        fit.able_nodes(nodes, labels)
        if self._fits(nodes, template):
            return
        able = fit.labelled_nodes(nodes, labels)
        need = self.need(template)
        largest = max(able, key=lambda node: (node.accelerators * node.accelerator_bytes, node.memory_bytes))
        ways = self._what_fits(nodes, template)
        raise FailedPrecondition(
            f"a replica needs {self.estimate(template, _work(template)).text}; "
            f"{largest.name} {fit.short_ever(largest, need)}",
            field=ways[0].partition(" ")[0] if ways else "baseModel",
            hint=f"it would fit with {' or '.join(ways)}" if ways
            else "no context and no number of slots would fit: take a smaller model",
        )  # fmt: skip

    def _what_fits(self, nodes: list[Node], template: Template) -> list[str]:
        """`FIELD VALUE` of each single change with which a replica would fit."""
        work = _work(template)

        def fits(other: Workload) -> bool:
            return self._fits(nodes, replace(template, slots=other.slots, context_tokens=other.context_tokens))

        context, slots = capacity.largest_context(fits, work), capacity.largest_slots(fits, work)
        more = self.least_accelerators(template, self._most(nodes, template))
        ways = [
            f"maxContextLength {context}" if context else "",
            f"maxBatchSize {slots}" if slots else "",
            f"acceleratorCount {more}"
            if template.devices and self._fits(nodes, replace(template, devices=more))
            else "",
        ]
        return [way for way in ways if way]

    def _most(self, nodes: list[Node], template: Template) -> int:
        labels = Need(template.accelerator_type, 0, template.regions)
        return max((node.accelerators for node in fit.labelled_nodes(nodes, labels)), default=0)

    def _fits(self, nodes: list[Node], template: Template) -> bool:
        need = self.need(template)
        return any(not fit.short_ever(node, need) for node in fit.labelled_nodes(nodes, need))

    def _labelled(self, deployment: Deployment) -> list[Node]:
        labels = Need(wanted_type(deployment), 0, wanted_regions(deployment))
        return fit.labelled_nodes(self._driver.nodes(), labels)


def _work(template: Template) -> Workload:
    return Workload(
        template.slots, template.context_tokens, adapters=template.adapters_cached or 0,
        on_accelerator=bool(template.devices),
    )  # fmt: skip
