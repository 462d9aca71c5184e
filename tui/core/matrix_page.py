"""Adapters by deployments: where each is loaded, how often it is asked there, where else it could be. Pure.

A cell: `● 0.3` loaded and asked 0.3 times a second over the last minutes, `◐` on its way, `✖` failed, `+` not there but
could be loaded; nothing where it cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tui.core import units
from tui.core.columns import Column
from tui.core.lists import Entry, Listing
from tui.core.model_page import look, short
from tui.core.snapshot import Picture
from tui.core.states import Tone

if TYPE_CHECKING:
    from client.addon_types import DeployedModel
    from client.types import Deployment, Model
    from client.usage_tokens_types import TokenRow

OVER = timedelta(minutes=5)  # what rates are of
MAY, NO = "+", ""
EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Cell:
    """An adapter on a deployment; `one` is None where it is not, `may` says whether it could be. `rate` in requests a
    second, None where requests are not counted; `failed` of them in the same time."""

    one: DeployedModel | None = None
    may: bool = False
    rate: float | None = None
    failed: int = 0

    @property
    def text(self) -> str:
        if self.one is None:
            return MAY if self.may else NO
        asked = "" if self.rate is None else f" {units.rate(self.rate)}"
        return f"{look(self.one.state).glyph}{asked}{f' ✖{self.failed}' if self.failed else ''}"

    @property
    def tone(self) -> Tone | None:
        if self.one is None:
            return None
        return "failed" if self.failed else look(self.one.state).tone


@dataclass(frozen=True, slots=True)
class Adapter:
    """One row; `cells` by the deployments' full names. `base` is None where its details are not known."""

    name: str
    base: str | None
    cells: Mapping[str, Cell]

    @property
    def total(self) -> float | None:
        known = [cell.rate for cell in self.cells.values() if cell.rate is not None]
        return sum(known) if known else None


def placed(picture: Picture, loaded: Iterable[DeployedModel]) -> tuple[DeployedModel, ...]:
    """The adapters among what is deployed: a deployment's own base model is none."""
    statuses = picture.snapshot.deployments if picture.snapshot else []
    bases = {status.deployment.name: status.deployment.base_model for status in statuses}
    return tuple(one for one in loaded if one.model != bases.get(one.deployment or ""))


def takers(picture: Picture, adapters: Iterable[DeployedModel]) -> tuple[Deployment, ...]:
    """The deployments that may have adapters, or have one; in the fleet's order."""
    found = [status.deployment for status in picture.snapshot.deployments] if picture.snapshot else []
    with_one = {one.deployment for one in adapters}
    return tuple(one for one in found if one.state != "DELETED" and (takes(one) or one.name in with_one))


def takes(deployment: Deployment) -> bool:
    return bool(deployment.enable_addons or deployment.enable_hot_reload_latest_addon)


def rows(
    models: Iterable[Model], adapters: Iterable[DeployedModel], asked: Iterable[TokenRow], seconds: float,
    deployments: Sequence[Deployment],
) -> tuple[Entry[Adapter], ...]:  # fmt: skip
    """Every adapter that there is or that is loaded. `asked` by deployment and adapter over the last `seconds`."""
    places = {(one.deployment, one.model): one for one in adapters}
    known = {model.name: _base(model) for model in models if model.is_adapter}
    names = dict.fromkeys([*known, *(model for _, model in places if model)])
    counted = {(row.deployment, row.adapter): row for row in asked if row.adapter}

    def cell(name: str, deployment: Deployment) -> Cell:
        one = places.get((deployment.name, name))
        may = takes(deployment) and known.get(name) in (None, deployment.base_model)
        row = counted.get((deployment.name, name)) or counted.get((deployment.name, short(name)))
        if row is None:
            return Cell(one, may, 0.0 if one is not None and seconds else None)
        return Cell(one, may, row.requests / seconds if seconds else None, row.failed_requests)

    return tuple(
        Entry(name, Adapter(name, known.get(name), {one.name: cell(name, one) for one in deployments}))
        for name in names
    )


def _base(model: Model) -> str | None:
    return model.peft_details.base_model if model.peft_details else None


def listing(deployments: Sequence[Deployment]) -> Listing[Adapter]:
    """The page with a column for each of these deployments."""
    return Listing(
        "matrix", "adapters by deployments",
        (
            Column("adapter", "ADAPTER", lambda r: short(r.name), 0, 10, 36, "left"),
            Column("base", "OF", lambda r: short(r.what.base), 8, 8, 30, "left"),
            Column("total", "REQ/S", lambda r: units.rate(r.what.total), 1, 5, value=lambda r: r.what.total),
            *(_column(one, 2 + number) for number, one in enumerate(deployments)),
        ),
        "there is no adapter; make one with: firedeck model create ID --file ADAPTER.gguf --base-model MODEL",
        lambda r, now: _detail(r), EVERY_S,
    )  # fmt: skip


def _column(deployment: Deployment, priority: int) -> Column[Entry[Adapter]]:
    """Those of the first deployments stay longest when the screen is narrow."""

    def cell(row: Entry[Adapter]) -> Cell:
        return row.what.cells.get(deployment.name, Cell())

    return Column(
        deployment.id, deployment.id, lambda r: cell(r).text, priority, min(12, len(deployment.id)), align="left",
        tone=lambda r: cell(r).tone, value=lambda r: cell(r).rate,
    )  # fmt: skip


def _detail(row: Entry[Adapter]) -> tuple[str, ...]:
    cells = row.what.cells.items()
    there = [f"{short(name)} {look(cell.one.state).text}" for name, cell in cells if cell.one is not None]
    may = [short(name) for name, cell in cells if cell.one is None and cell.may]
    failed = [
        f"{short(name)}: {cell.one.status.message}"
        for name, cell in cells
        if cell.one is not None and cell.one.status is not None and cell.one.status.message
    ]
    return (
        f"{row.name}  on: {', '.join(there) or 'no deployment'}",
        f"could be loaded on: {', '.join(may)}" if may else "could be loaded on no other deployment",
        *failed,
    )


def told(count: int, deployments: int) -> str:
    """The page's first line."""
    plural = "" if deployments == 1 else "s"
    return f"{count} on {deployments} deployment{plural}; requests/s of the last {OVER.seconds // 60} minutes"
