"""The alert inbox: seen, snoozed or new, with what to do and what came before."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from client.fleet_types import Event
from tui.core import alert_page, keys
from tui.core.actions import Place
from tui.core.alert_page import Told
from tui.core.inbox import SNOOZE
from tui.core.lists import Entry
from tui.core.snapshot import Picture
from tui.keymap import bindings
from tui.screens.listing import ListScreen
from tui.sources.base import FleetSource
from tui.widgets.paint import Piece


class AlertsScreen(ListScreen):
    """Its rows are the app's inbox; what it asks its source for are the events in which causes are found."""

    BINDINGS = bindings("alerts")

    def __init__(self, page: str) -> None:
        super().__init__(page)
        self.place: Place = "alerts"

    @property
    def picture(self) -> Picture:
        """Of all contexts: so is the inbox."""
        return self.deck.picture

    @property
    def source(self) -> FleetSource:
        return self.deck.source

    def _whose(self) -> list[Piece]:
        return []

    def on_mount(self) -> None:
        self.app.clear_notifications()  # what they tell is here

    def found(self, now: datetime) -> tuple[Entry[Any], ...] | None:
        if self.picture.snapshot is None:
            return None
        return alert_page.rows(self.deck.inbox, self.picture.engine_now(now))

    def counted(self, count: int, now: datetime) -> str:
        inbox = self.deck.inbox
        new = len(inbox.new(self.picture.engine_now(now)))
        return f"{new} new, {len(inbox.alerts) - new} seen, snoozed or pending, {len(inbox.ended)} ended"

    def detail(self, row: Entry[Told], now: datetime) -> tuple[str, ...]:
        return alert_page.detail(row, now, self._events())

    def _events(self) -> list[Event]:
        return [entry.what for entry in self.entries or ()]

    def _alert(self) -> Told | None:
        """The chosen one, if it lasts; otherwise says why nothing is done."""
        row = self.chosen()
        if row is None or row.what.standing == "ENDED":
            self.notify("it has ended" if row else "choose an alert first", severity="warning", timeout=3)
            return None
        told: Told = row.what
        return told

    def action_acknowledge(self) -> None:
        if (told := self._alert()) is not None:
            self.table.pin()
            self.deck.keep_inbox(self.deck.inbox.acknowledged(told.alert.key))
            self.tick()

    def action_timeline(self) -> None:
        """What happened around the alert's beginning."""
        row = self.chosen()
        if row is not None:
            self.deck.show_timeline(row.deployment, row.what.alert.since)

    def action_snooze(self) -> None:
        if (told := self._alert()) is not None:
            self.table.pin()
            now = self.picture.engine_now(self.deck.clock())
            self.deck.keep_inbox(self.deck.inbox.snooze(told.alert.key, now))
            if told.alert.key in self.deck.inbox.snoozed:
                key = keys.shown(self.deck.actions, "snooze")
                self.notify(f"quiet for {SNOOZE.total_seconds() / 60:.0f} minutes; {key} wakes it", timeout=3)
            self.tick()
