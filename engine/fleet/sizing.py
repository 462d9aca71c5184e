"""Whether replicas of a deployment can run at all, and what each of them takes: the files of models, the nodes of the
driver and `control.capacity` brought together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from client.errors import FailedPrecondition
from engine.control import capacity
from engine.control.capacity import Estimate, Workload
from engine.fleet.template import Template
from engine.model_files import ModelFiles
from engine.placement import fit
from engine.placement.port import Driver, Need, Node


class Sizing:
    """Answers from what is known now; `warm` reads the headers of model files off the event loop first."""

    def __init__(self, driver: Driver, files: ModelFiles) -> None:
        self._driver = driver
        self._files = files

    async def warm(self, model: str | None, draft_model: str | None, precision: str | None = None) -> None:
        """`precision` is the model's."""
        for name, its in ((model, precision), (draft_model, None)):
            if name:
                await asyncio.to_thread(self._files.dimensions, name, its)

    def accelerators(self, template: Template) -> int:
        """How many a replica gets: as many as are declared, or it finds no place. One, which is what nobody asked for
        too, is none where no node that it may use has any: then it runs on the CPU."""
        return _accelerators(self._driver.nodes(), template)

    def most_accelerators(self, template: Template) -> int:
        """Those of the node that has the most, of the nodes that a replica may use."""
        return _most(self._driver.nodes(), template)

    def need(self, template: Template, cores: int = 1) -> Need:
        """What a replica of this template takes that may use so many cores."""
        return self._need(self._driver.nodes(), template, cores)

    def _need(self, nodes: Sequence[Node], template: Template, cores: int = 1) -> Need:
        accelerators = _accelerators(nodes, template)
        size = self.estimate(template, _work(template, accelerators))
        return Need(
            accelerator_type=template.accelerator_type,
            accelerators=accelerators,
            regions=template.regions,
            model_bytes=size.model_bytes,
            process_bytes=size.process_bytes,
            threads=template.threads or cores,
            preemptible=template.preemptible,
        )

    def estimate(self, template: Template, work: Workload) -> Estimate:
        draft = self._files.dimensions(template.draft_model) if template.draft_model else None
        return capacity.estimate(self._files.dimensions(template.model, template.precision), work, draft)

    def least_accelerators(self, template: Template) -> int:
        """The fewest accelerators that hold a replica, or as many as a node has where not even they do; at least 1."""
        nodes = self._driver.nodes()
        most = _most(nodes, template)
        fitting = (count for count in range(1, most + 1) if self._fits(nodes, replace(template, devices=count)))
        return next(fitting, max(1, most))

    def check(self, template: Template, *, size: bool = True) -> None:
        """Raises FailedPrecondition when no node could ever hold a replica, with the numbers and what would fit.

        `size` False: its memory is not looked at yet. A replica gets no place before a node has room for it."""
        nodes = self._driver.nodes()
        accelerators = _accelerators(nodes, template)
        labels = Need(template.accelerator_type, accelerators, template.regions, threads=template.threads or 1)
        fit.able_nodes(nodes, labels)
        if not size or self._fits(nodes, template):
            return
        able = fit.labelled_nodes(nodes, labels)
        need = self._need(nodes, template)
        largest = max(able, key=lambda node: (node.accelerators * node.accelerator_bytes, node.memory_bytes))
        ways = self._what_fits(nodes, template)
        raise FailedPrecondition(
            f"a replica needs {self.estimate(template, _work(template, accelerators)).text}; "
            f"{largest.name} {fit.short_ever(largest, need)}",
            field=ways[0].partition(" ")[0] if ways else "baseModel",
            hint=f"it would fit with {' or '.join(ways)}" if ways
            else "no context and no number of slots would fit: take a smaller model",
        )  # fmt: skip

    def _what_fits(self, nodes: list[Node], template: Template) -> list[str]:
        """`FIELD VALUE` of each single change with which a replica would fit."""
        accelerators = _accelerators(nodes, template)
        work = _work(template, accelerators)

        def fits(other: Workload) -> bool:
            changed = replace(template, slots=other.slots, context_tokens=other.context_tokens, adapters=other.adapters)
            return self._fits(nodes, changed)

        context, slots = capacity.largest_context(fits, work), capacity.largest_slots(fits, work)
        adapters = capacity.largest_adapters(fits, work)
        more = self.least_accelerators(template)
        ways = [
            f"maxContextLength {context}" if context else "",
            f"maxBatchSize {slots}" if slots else "",
            f"numPeftDeviceCached {adapters}" if adapters else "",
            f"acceleratorCount {more}" if accelerators and self._fits(nodes, replace(template, devices=more)) else "",
        ]
        return [way for way in ways if way]

    def _fits(self, nodes: list[Node], template: Template) -> bool:
        need = self._need(nodes, template)
        return any(not fit.short_ever(node, need) for node in fit.labelled_nodes(nodes, need))


def _accelerators(nodes: Sequence[Node], template: Template) -> int:
    declared = template.devices or 0
    return declared if declared > 1 else min(declared, _most(nodes, template))


def _most(nodes: Sequence[Node], template: Template) -> int:
    """Accelerators of the node that has the most of those that it may use."""
    labels = Need(template.accelerator_type, 0, template.regions)
    return max((node.accelerators for node in fit.labelled_nodes(nodes, labels)), default=0)


def _work(template: Template, accelerators: int) -> Workload:
    return Workload(
        template.slots, template.context_tokens, adapters=template.adapters,
        on_accelerator=accelerators > 0,
    )  # fmt: skip
