"""Run pip and tell how far it is: `python pip_progress.py LOG PIP-ARGUMENT...`.

The long part of an install is the build of llama.cpp, about 190 files; pip alone would show nothing for minutes. On a
terminal one line is drawn over itself, anywhere else a line is written now and then. All of pip's output goes to LOG,
whose end is shown if pip fails; the exit status is pip's.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

LINE_EVERY_S = 15.0
SHOWN_ON_FAILURE = 40

STEPS = (
    (re.compile(r"\[(\d+)/(\d+)\]"), "compiling llama.cpp"),  # ninja
    (re.compile(r"\[ *(\d+)(%)\]"), "compiling llama.cpp"),  # make, where there is no ninja
    (re.compile(r"Building wheel for (\S+)"), "building"),
    (re.compile(r"Installing (backend|build) dependencies"), "preparing to build"),
    (re.compile(r"Installing collected packages: "), "installing packages"),
    (re.compile(r"^(?:Collecting|Processing) (\S+)"), "collecting"),
)


def describe(line: str) -> str | None:
    """What a line of pip's output says about where it is; None: nothing."""
    for pattern, meaning in STEPS:
        found = pattern.search(line)
        if found is None:
            continue
        if meaning.startswith("compiling"):
            return f"{meaning}: {found[1]} %" if found[2] == "%" else f"{meaning}: file {found[1]} of {found[2]}"
        if meaning in ("building", "collecting"):
            return f"{meaning} {Path(found[1]).name}"
        return meaning
    return None


class Teller:
    """One line at a time, with the time that has passed."""

    def __init__(self) -> None:
        self._bar = sys.stdout.isatty()
        self._began = time.monotonic()
        self._next = 0.0

    def tell(self, text: str, now_anyway: bool = False) -> None:
        seconds = int(time.monotonic() - self._began)
        if not self._bar and not now_anyway and seconds < self._next:
            return
        self._next = seconds + LINE_EVERY_S
        line = f"  {seconds // 60}:{seconds % 60:02d}  {text[:68]}"
        print(f"\r\x1b[K{line}" if self._bar else line, end="" if self._bar else "\n", flush=True)

    def end(self, text: str) -> None:
        self.tell(text, now_anyway=True)
        if self._bar:
            print()


def run(command: list[str]) -> subprocess.Popen[str]:
    """Start it in a session of its own, so that an interrupt reaches pip, ninja and the compilers together."""
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
    )


def main(log: str, *arguments: str) -> int:
    teller, last = Teller(), deque[str](maxlen=SHOWN_ON_FAILURE)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, "-v", "--progress-bar=off"]
    with open(log, "a", encoding="utf-8") as file, run(command) as pip:
        assert pip.stdout is not None
        try:
            for line in pip.stdout:
                file.write(line)
                last.append(line)
                if text := describe(line):
                    teller.tell(text)
        except KeyboardInterrupt:
            os.killpg(pip.pid, signal.SIGINT)  # not SIGTERM: pip then clears its temporary files
            teller.end("interrupted")
            return 130
    teller.end("done" if pip.returncode == 0 else f"pip failed; all of its output is in {log}, and it ends so:")
    if pip.returncode:
        print("".join(last))
    return pip.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
