"""The dashboard of one browser tab: what `firedeck web` starts. It never outlives the server."""

from __future__ import annotations

import json
import os
import threading
import time

from tui.web.seat import PARENT

SETTINGS = "FIREDECK_WEB_SETTINGS"  # JSON: sought (which fleet), readonly
KEYS = "FIREDECK_WEB_KEYS"  # JSON: the contexts' keys, in their order
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
    settings, api_keys = json.loads(os.environ[SETTINGS]), json.loads(os.environ.pop(KEYS, "[]"))
    from tui import sought
    from tui.app import Deck
    from tui.core.config import config_path, load

    fleet = sought.Sought.from_wire(settings["sought"], api_keys)
    source = sought.whole({name: make() for name, make in fleet.made().items()})
    Deck(source, readonly=settings["readonly"], config=load(config_path())).run()


if __name__ == "__main__":
    main()
