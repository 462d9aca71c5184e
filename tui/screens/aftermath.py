"""What follows changes: they are told, followed until they have come about, and can be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from client.errors import FiredeckError
from tui.core import keys, router_page, shift_plan, way_back
from tui.core.plan import Plan
from tui.executor import DONE, Outcome
from tui.screens import verbs
from tui.screens.adapters import AdapterDialog
from tui.screens.bulk import BulkDialog
from tui.screens.shifts import RouterDialog

if TYPE_CHECKING:
    from tui.app import Deck

OF_ROUTERS = ("shift", "roll_back")


def ways_back(former: Sequence[Plan], outcomes: Sequence[Outcome]) -> tuple[Plan, ...]:
    """The changes that take back what was done last; those without a way back leave the former ones, but for what
    they were themselves."""
    found = tuple(one.undo for one in outcomes if one.undo is not None)
    done = {(one.verb, one.name) for one in outcomes}
    return found or tuple(one for one in former if (one.verb, one.target) not in done)


def tell(deck: Deck, outcomes: Sequence[Outcome]) -> None:
    """What was done, and the key that takes it back."""
    back = [one.undo for one in outcomes if one.undo is not None]
    key = keys.shown(deck.actions, "undo")
    if len(outcomes) == 1:
        hint = f"\n{key} takes it back: {back[0].command}" if back else ""
        deck.notify(f"{outcomes[0].text}{hint}", title="done", timeout=8, markup=False)
    elif outcomes:
        hint = f"\n{key} takes {len(back)} of them back" if back else ""
        done = f"{len(outcomes)} deployments were {DONE[outcomes[0].verb]}"
        deck.notify(f"{done}{hint}", title="done", timeout=8, markup=False)
    for text in dict.fromkeys(one.warning for one in outcomes if one.warning):
        deck.notify(text, severity="warning", timeout=8, markup=False)


def begin_undo(deck: Deck) -> None:
    """The dialog of what takes the last change back; it is reviewed and confirmed like any other."""
    where = list(dict.fromkeys(one.context for one in deck.undo)) or [deck.focus]
    if any(deck.refuses("undo", context) for context in where):
        return
    if deck.undo and deck.undo[0].model:
        deck.push_screen(AdapterDialog(deck.undo[0]))
        return
    if deck.undo and deck.undo[0].verb in OF_ROUTERS:
        deck.run_worker(_begin_undo_of_shift(deck, deck.undo[0]), group="undo", exclusive=True)
        return
    found = [(undo, status) for undo in deck.undo if (status := deck.picture.status(undo.target)) is not None]
    if not found:
        deck.notify("nothing to undo", severity="warning")
    elif len(found) == 1:
        undo, status = found[0]
        verbs.begin(deck, undo.verb, status, way_back.form_of(undo))
    else:
        former = {undo.target: way_back.form_of(undo).get("replica_count", "") for undo, _ in found}
        deck.push_screen(BulkDialog(found[0][0].verb, [status for _, status in found], former))


async def _begin_undo_of_shift(deck: Deck, undo: Plan) -> None:
    """With the shares and requests of now, as far as it is still the same shift: the executor refuses any other."""
    try:
        router = await deck.at(undo.context).router(undo.target)
    except FiredeckError as error:
        deck.notify(error.text, title="nothing to undo", severity="warning", markup=False)
        return
    anew = router_page.roll_back(router) if undo.verb == "roll_back" else shift_plan.again(router)
    same = anew is not None and anew.seen_created == undo.seen_created
    deck.push_screen(RouterDialog(anew if anew is not None and same else undo))
