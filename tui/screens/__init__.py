"""The pages and dialogs, one .tcss beside each kind.

    from tui import screens
    screens.HelpDialog(...)

A module of them is imported when one of its names is asked for first: the dashboard opens with one page, and would
take half as long again with all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.screens import aftermath as aftermath
    from tui.screens import obey as obey
    from tui.screens import verbs as verbs
    from tui.screens.adapters import AdapterDialog as AdapterDialog
    from tui.screens.alerts import AlertsScreen as AlertsScreen
    from tui.screens.bulk import BulkDialog as BulkDialog
    from tui.screens.careful import CarefulDialog as CarefulDialog
    from tui.screens.change import ChangeDialog as ChangeDialog
    from tui.screens.columns import ColumnsDialog as ColumnsDialog
    from tui.screens.contexts import ContextDialog as ContextDialog
    from tui.screens.costs import CostsScreen as CostsScreen
    from tui.screens.create import CreateDialog as CreateDialog
    from tui.screens.deployment import DeploymentScreen as DeploymentScreen
    from tui.screens.equivalents import CompareDialog as CompareDialog
    from tui.screens.equivalents import EquivalentsDialog as EquivalentsDialog
    from tui.screens.help import HelpDialog as HelpDialog
    from tui.screens.listing import ListScreen as ListScreen
    from tui.screens.matrix import MatrixScreen as MatrixScreen
    from tui.screens.palette import Palette as Palette
    from tui.screens.palette import PrefixCommands as PrefixCommands
    from tui.screens.playground import PlaygroundScreen as PlaygroundScreen
    from tui.screens.requests import RequestsScreen as RequestsScreen
    from tui.screens.routers import RoutersScreen as RoutersScreen
    from tui.screens.timeline import TimelineScreen as TimelineScreen
    from tui.screens.unlock import UnlockDialog as UnlockDialog

MODULES = frozenset({"aftermath", "obey", "verbs"})
HOMES = {
    "AdapterDialog": "adapters", "AlertsScreen": "alerts", "BulkDialog": "bulk", "CarefulDialog": "careful",
    "ChangeDialog": "change", "ColumnsDialog": "columns", "CompareDialog": "equivalents",
    "ContextDialog": "contexts", "CostsScreen": "costs", "CreateDialog": "create", "DeploymentScreen": "deployment",
    "EquivalentsDialog": "equivalents", "HelpDialog": "help", "ListScreen": "listing", "MatrixScreen": "matrix",
    "Palette": "palette", "PlaygroundScreen": "playground", "PrefixCommands": "palette",
    "RequestsScreen": "requests", "RoutersScreen": "routers", "TimelineScreen": "timeline",
    "UnlockDialog": "unlock",
}  # fmt: skip


def __getattr__(name: str) -> object:
    if name in MODULES:
        return import_module(f"{__name__}.{name}")
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
