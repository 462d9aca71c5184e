"""The top line: which engine and account, what must be said about its data, and how fresh the picture is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from client.config import Context
from tui.core import explain, units
from tui.core.contexts import Standing
from tui.core.facts import ENGINE, Facts
from tui.core.plain import labels
from tui.core.snapshot import Picture
from tui.widgets.paint import Piece, Text, tone

MOST_LINES = 3  # of the banner, over several contexts
CROWDED_BESIDE = 24  # cells for the alerts and the age of the data


class StatusBar(Text):
    def show_state(
        self,
        picture: Picture,
        context: Context,
        now: datetime,
        *,
        locked: bool,
        alerts: int = 0,
        facts: Facts = ENGINE,
        colour: str = "",
        others: Sequence[Standing] = (),
    ) -> None:
        """`alerts`: how many nobody has dealt with; `colour`: the tone that the context's name stands on; `others`: how
        the other contexts stand, where there are several."""
        left: list[tuple[int, list[Piece]]] = [(0, [(" firedeck ", "bold $background on $primary"), " "])]
        named = f" {context.name} " if colour else context.name
        left.append(
            (
                0,
                [
                    (named, f"bold $background on $tone-{colour}" if colour else "bold"),
                    ("  PROD " if context.prod else "", tone("failed", bold=True)),
                ],
            )
        )
        left += [_other(one) for one in others]
        left.append((5, [(f"  account {context.account}", tone("dim"))]))
        left += self._engine(picture, now) if facts.kind in ("engine", "rehearsal") else [(2, [f"  {facts.kind}"])]
        right: list[tuple[int, list[Piece]]] = [
            (0, [(f" {label} ", "bold $background on $tone-attention"), " "])
            for label in marks(picture, self.width - _cells([part for part in left if not part[0]]))
        ]
        loud = tone("attention", bold=True)
        right.append((0, [(f"▲ {alerts} ", loud)] if alerts else []))
        right.append((1, [(f"alert{'s' * (alerts != 1)} ", loud)] if alerts else []))
        right.append((2, [("READ-ONLY ", tone("attention", bold=True))] if locked else []))
        right += [(1, [piece, " "]) for piece in asked(facts, now)]
        if facts.kind != "recording" or picture.stale(now):  # a recording says itself where it stands
            right.append((0, [*freshness(picture, now), " "]))
        self.show(_joined(left, right, self.width))

    @property
    def width(self) -> int:
        return self.size.width or 80

    def _engine(self, picture: Picture, now: datetime) -> list[tuple[int, list[Piece]]]:
        if picture.snapshot is None:
            return []
        engine = picture.snapshot.engine
        up = units.since(engine.started_at, picture.engine_now(now))
        gpus = f" · {engine.accelerators} GPU" if engine.accelerators else ""
        cores = f" · {engine.cores} core{'s' * (engine.cores != 1)}" if engine.cores else ""
        return [
            (3, [(f"  engine {engine.version}", tone("dim"))]),
            (6, [(f" · up {up}", tone("dim"))]),
            (7, [(f"{cores}{gpus}", tone("dim"))]),
        ]


def _other(one: Standing) -> tuple[int, list[Piece]]:
    """One that is silent stays longest in the line: nobody must take its rows for now."""
    name: Piece = (f"  {one.name} ", tone(one.colour, bold=True) if one.colour else "bold")
    if one.live:
        return 2, [name, ("●", tone("healthy"))]
    return 1, [name, (one.word, tone(one.tone, bold=True))]


def marks(picture: Picture, width: int) -> tuple[str, ...]:
    """The labels, never left out; when all of them have too few cells beside the names the last word of one goes."""
    found = labels(picture.snapshot.engine) if picture.snapshot is not None else ()
    crowded = sum(len(label) + 3 for label in found) + CROWDED_BESIDE > width
    return tuple(label.removesuffix(" LIMITS") if crowded else label for label in found)


def asked(facts: Facts, now: datetime) -> list[Piece]:
    """The requests of the last minute, the pause after a refusal, and what the source says besides."""
    found: list[Piece] = []
    if facts.note:
        found.append((facts.note, tone("working", bold=True)))
    if facts.limit:
        found.append((f"{facts.used}/{facts.limit} metrics a minute", tone("dim")))
    if facts.held_until is not None and facts.held_until > now:
        found.append(
            (f"▲ refused, asks again in {units.countdown(facts.held_until, now)}", tone("attention", bold=True))
        )
    return found


def freshness(picture: Picture, now: datetime) -> list[Piece]:
    age = picture.age(now)
    if picture.link.lost_at is not None:
        return [("✖ LOST", tone("failed", bold=True))]
    if age is None:
        return [("◐ connecting", tone("working"))]
    if picture.stale(now):
        return [(f"▲ STALE {units.age(age.total_seconds())}", tone("attention", bold=True))]
    return [("● live", tone("healthy")), (f" {units.age(age.total_seconds()):>3}", tone("dim"))]


def _joined(left: list[tuple[int, list[Piece]]], right: list[tuple[int, list[Piece]]], width: int) -> list[Piece]:
    """Left and right ends with blanks between; what matters least goes first when the line is too short."""
    parts = [*left, *right]
    while _cells(parts) >= width and any(rank for rank, _ in parts):
        parts.remove(max(parts, key=lambda part: part[0]))
    kept_right = [part for part in right if part in parts]
    kept_left = [part for part in left if part in parts]
    gap = " " * max(0, width - _cells(parts))
    return [piece for _, pieces in kept_left for piece in pieces] + [gap] + [p for _, ps in kept_right for p in ps]


def _cells(parts: list[tuple[int, list[Piece]]]) -> int:
    return sum(units.width(p if isinstance(p, str) else p[0]) for _, pieces in parts for p in pieces)


class Banner(Text):
    """Shown only while a connection is lost or an account is suspended; the picture below it stays."""

    def show_troubles(self, parts: Mapping[str, tuple[str, Picture]], now: datetime) -> None:
        """`parts`: accounts and pictures by the contexts' names, one alone by an empty one."""
        lines: list[str] = []
        width = self.size.width or self.app.size.width  # none yet before it is shown the first time
        for name, (account, picture) in parts.items():
            told = _lost(name, picture, now, width)
            one = _hinted(" · ".join(line.strip() for line in told), width - 1)
            lines += told if len(parts) == 1 or not told else [f" {one}"]
            if picture.suspended:
                where = f"{name}: " if name else ""
                lines.append(f" ✖ {where}ACCOUNT {account} SUSPENDED: {explain.suspension(picture.suspended)}")
        if len(lines) > MOST_LINES and len(parts) > 1:
            lines = [*lines[: MOST_LINES - 1], f" ✖ and {len(lines) - MOST_LINES + 1} more"]
        self.display = bool(lines)
        if lines:
            self.show(*([line] for line in lines))


def _lost(name: str, picture: Picture, now: datetime, width: int) -> tuple[str, ...]:
    """Two lines at most: since when and what is done about it, and why."""
    link = picture.link
    if link.lost_at is None:
        return ()
    retry = units.countdown(link.retry_at, now)
    again = "trying again now" if retry == "now" else f"trying again in {retry}"
    kept = "showing the last picture" if picture.snapshot is not None else "nothing was received yet"
    since = f"since {units.clock(link.lost_at)}, {units.since(link.lost_at, now)} ago"
    where = f"{name}: " if name else ""
    short = f" ✖ {where}CONNECTION LOST {since} · {again}"
    whole = f"{short} · {kept}"
    return whole if units.width(whole) <= width else short, f"   {_hinted(link.reason, width - 3)}"


def _hinted(reason: str, width: int) -> str:
    """In one line: what is in brackets at its end, which says what to do, stays longest."""
    text, bracket, hint = reason.rpartition(" (")
    room = width - units.width(bracket + hint)
    if units.width(reason) <= width or not text or room < 1:
        return units.shorten(reason, width)
    return units.shorten(text, room) + bracket + hint
