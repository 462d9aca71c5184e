"""`python -m client.cli`, and what the script `firedeck` calls.

All that the command needs is imported within: who presses Ctrl-C in the tenths of a second that this takes is answered
as at any other time.
"""

from __future__ import annotations

import os
import sys

from client import collector

INTERRUPTED = 130  # as in `client.cli.exits`, which is among what is imported within


def start() -> None:
    """The command line, to its end: SystemExit has the status."""
    try:
        with collector.paused():
            from client.cli.main import main
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)  # half of the modules are there: nothing of them is to run
    main(prog_name="firedeck")


if __name__ == "__main__":
    start()
