"""The dashboard of one browser tab: what `firedeck web` starts. It never outlives the server."""

from __future__ import annotations

import json
import os
import threading
import time

from client.config import Context
from client.resources import Client
from tui.web.seat import PARENT

SETTINGS = "FIREDECK_WEB_SETTINGS"  # JSON: base_url, account, name, prod, readonly, rehearse
KEY = "FIREDECK_WEB_KEY"
LOOK_EVERY_S = 1.0


def end_with(parent: int) -> None:
    """End this process when `parent` is not its parent any more, whatever the rest of it does."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)  # not sys.exit: a loop that hangs must not keep a process that nobody looks at

    threading.Thread(target=look, daemon=True, name="parent-guard").start()


def main() -> None:
    end_with(int(os.environ[PARENT]))
    settings = json.loads(os.environ[SETTINGS])
    readonly, rehearse = settings.pop("readonly"), settings.pop("rehearse")
    context = Context(api_key=os.environ.pop(KEY, ""), **settings)
    from tui.app import Deck
    from tui.sources.base import FleetSource
    from tui.sources.engine import EngineSource
    from tui.sources.fireworks import HOST, FireworksSource
    from tui.sources.rehearsal import RehearsalSource

    source: FleetSource
    if rehearse:
        source = RehearsalSource()
    elif HOST in context.base_url:
        source = FireworksSource(Client(context))
    else:
        source = EngineSource(Client(context))
    Deck(source, readonly=readonly).run()


if __name__ == "__main__":
    main()
