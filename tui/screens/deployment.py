"""One deployment's page: what it is, its replicas, why it has that many, its charts, its events."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll

from client.fleet_types import DeploymentStatus
from tui.core import plan, units
from tui.core.actions import Place
from tui.core.placed import context_of, short
from tui.core.row import Row
from tui.keymap import bindings
from tui.screens.base import DeckScreen
from tui.widgets.events_log import EventsLog
from tui.widgets.key_bar import KeyBar
from tui.widgets.paint import Piece, Text, tone
from tui.widgets.reasons import Reasons
from tui.widgets.replica_table import ReplicaTable
from tui.widgets.status_bar import Banner, StatusBar


class DeploymentScreen(DeckScreen):
    CSS_PATH = "deployment.tcss"
    place: Place = "deployment"
    BINDINGS = bindings("deployment")
    turns = False
    AUTO_FOCUS = "#body"

    def __init__(self, name: str) -> None:
        super().__init__()
        self.deployment = name

    def compose(self) -> ComposeResult:
        yield StatusBar(id="status")
        yield Banner(id="banner")
        yield Text(id="facts")
        with VerticalScroll(id="body"):
            with Horizontal(id="above"):
                yield ReplicaTable(id="replicas")
                yield Reasons(id="reasons")
            yield from self.compose_charts()
            yield EventsLog(id="events", of_one=True)
            yield from self.compose_more_charts()
        yield KeyBar("deployment")

    def target(self) -> DeploymentStatus | None:
        return self.picture.status(self.deployment)

    @property
    def shown_deployment(self) -> str:
        return self.deployment

    @property
    def context(self) -> str:
        return context_of(self.deployment)

    @property
    def events_of(self) -> str:
        return self.deployment

    def draw(self) -> None:
        status, local = self.target(), self.deck.clock()
        if status is None:
            self.query_one(ReplicaTable).show()
            self.query_one(Reasons).show()
            told = "is not in the fleet (any more)" if self.picture.snapshot else "waiting for the first picture"
            self.query_one("#facts", Text).show([(f" {short(self.deployment)} ", "bold"), told])
            return
        now, stale_age = self.picture.engine_now(local), self.picture.stale_age(local)
        hidden = self.picture.hidden
        self.query_one("#facts", Text).show(*facts(status, self.size.width, hidden))
        self.query_one(ReplicaTable).show_replicas(status.replicas, now, stale_age, exposed="replicas" not in hidden)
        self.query_one(Reasons).show_status(status, now, stale_age, explained="why" not in hidden)

    def action_back(self) -> None:
        self.app.pop_screen()


def facts(status: DeploymentStatus, width: int, hidden: frozenset[str] = frozenset()) -> list[list[Piece]]:
    """Two lines: state and model; traffic now and, as far as there is room, the scaling settings. `hidden`: the figures
    that the source does not tell."""
    row, known = Row(status, hidden), plan.flat(status.deployment)
    first: list[Piece] = [
        (f" {short(row.name)} ", "bold $background on $tone-working"), " ",
        (row.look.text, tone(row.look.tone, bold=True)),
        ("  model ", tone("dim")), row.model or units.UNKNOWN,
    ]  # fmt: skip
    if status.simulated:
        first.append(("  SIMULATED", tone("attention", bold=True)))
    second: list[Piece] = [" "]
    for label, value in (
        ("req/s", row.told("rps", units.rate)), ("tok/s", row.told("tps", units.rate)),
        ("queue", row.told("queue", units.count)), ("TTFT p50", row.told("ttft_p50_ms", units.milliseconds)),
        ("p95", row.told("ttft_p95_ms", units.milliseconds)),
        ("up", known.get("scale_up_window", units.UNKNOWN)), ("down", known.get("scale_down_window", units.UNKNOWN)),
        ("zero", known.get("scale_to_zero_window", units.UNKNOWN)), ("target", known.get("load_targets", "default")),
    ):  # fmt: skip
        width -= len(label) + len(value) + 3
        if width > 0:
            second += [(f"{label} ", tone("dim")), (value, "bold"), "  "]
    return [first, second]
