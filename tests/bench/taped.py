"""How long a recording of a day takes to open: from its file to the first picture, to one of twelve hours later, and to
the curve of the day with its spikes.

Of the rehearsal fleet, a picture a second, a whole one a minute, and the peaks of each minute. Between whole ones every
picture has all of the fleet's changes again: what is measured does not depend on what they say.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from client.config import Context
from tui.core.tape import WHOLE_EVERY, Writer
from tui.sources.rehearsal import RehearsalSource
from tui.sources.replay import replayed

DAY_S = 86_400
START = datetime(2026, 11, 20, 12, tzinfo=UTC)


class _Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


async def _pictures() -> tuple[str, list[dict[str, Any]], dict[str, Any]]:
    """The first line, a whole picture, and the differences of a second later; the peaks of a minute."""
    clock, writer = _Clock(), Writer()
    source = RehearsalSource(clock)
    found = []
    for _ in range(60):
        found.append(json.loads(writer.frame(await source.snapshot(), clock.now)))
        clock.now += timedelta(seconds=1)
    return writer.head(Context(name="rehearsal")), found[:2], json.loads(writer.peaks())


def _later(peaks: dict[str, Any], seconds: float) -> str:
    moved = {
        name: {series: [[at + seconds, value] for at, value in found] for series, found in told.items()}
        for name, told in peaks["peaks"].items()
    }
    return json.dumps({"peaks": moved}, separators=(",", ":")) + "\n"


def _write(path: Path) -> None:
    head, (whole, changed), peaks = asyncio.run(_pictures())
    parts = [{name: value for name, value in one.items() if name != "at"} for one in (whole, changed)]
    rest = [json.dumps(part, separators=(",", ":"))[1:] for part in parts]
    with path.open("w") as file:
        file.write(head)
        for second in range(DAY_S):
            if second and second % 60 == 0:
                file.write(_later(peaks, second - 60))
            at = (START + timedelta(seconds=second)).isoformat()
            file.write(f'{{"at":"{at}",{rest[second % WHOLE_EVERY > 0]}\n')


def opened_s() -> tuple[float, float, float, int]:
    """Seconds to the first picture, from there to that of twelve hours later, and then to the curve of the day; and the
    file's size in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "day.tape"
        _write(path)
        began = time.perf_counter()
        (source,) = replayed(path).values()
        asyncio.run(source.snapshot())
        first = time.perf_counter()
        source.wind(DAY_S / 2 + WHOLE_EVERY - 1)  # type: ignore[attr-defined]
        name = asyncio.run(source.snapshot()).deployments[1].deployment.name
        other = time.perf_counter()
        source.wind(DAY_S)  # type: ignore[attr-defined]
        asyncio.run(source.history(name, DAY_S))
        curve = time.perf_counter()
        return first - began, other - first, curve - other, path.stat().st_size // 2**20


if __name__ == "__main__":
    told = (
        "a day's recording: {:.3f} s to the first picture, {:.3f} s to another one, {:.3f} s to the day's curve; {} MiB"
    )
    print(told.format(*opened_s()))
