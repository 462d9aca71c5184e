"""A file fetched over HTTP, from where it was interrupted (RFC 9110: ranges, and If-Range against another file).

    data   Located        where a file lies, and what is known of it before it is here
    verbs  download_url   the file, whole, below a folder; what an earlier try left there is gone on with

What is left of an interrupted download is `FILE.part`, and beside it `FILE.same`: by what the server named that file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from client.errors import FailedPrecondition, FiredeckError, Internal, NotFound, Unavailable

TIMEOUT_S = 60.0
TRIES = 4  # each goes on where the one before ended
PARTIAL_CONTENT = 206
_WHOLE = re.compile(r"bytes [0-9]+-[0-9]+/([0-9]+)")
Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Located:
    """`identity`: the same as long as the file is; "" where only the server's own headers tell. `revision`: of the
    repository that it is in; "" where there is none."""

    url: str
    identity: str = ""
    sha256: str | None = None
    size_bytes: int | None = None
    revision: str = ""


def download_url(located: Located, folder: Path, tick: Tick) -> Path:
    """The path of the file. Unavailable where the network ends it (what has come stays), NotFound, FailedPrecondition
    where the server wants somebody else. `tick` is called with the bytes that are here; it may raise to stop."""
    whole, lost = folder / "file", Unavailable("nothing was fetched")
    for _ in range(TRIES):
        try:
            if _all_of_it(located, whole, tick):
                whole.with_suffix(".part").rename(whole)
                return whole
        except httpx.HTTPError as error:
            lost = Unavailable(
                f"{httpx.URL(located.url).host} cannot be reached: {type(error).__name__}",
                hint="check the network and ask again: it goes on where it was", retry_after_s=30,
            )  # fmt: skip
    raise lost


def _all_of_it(located: Located, whole: Path, tick: Tick) -> bool:
    """One request; whether the file is complete then."""
    part, same = whole.with_suffix(".part"), whole.with_suffix(".same")
    known = same.read_text() if same.exists() else ""
    if located.identity and known != located.identity:
        part.unlink(missing_ok=True)
    done = max(0, part.stat().st_size - 1) if part.exists() and known else 0  # a range must not be empty
    headers = {"range": f"bytes={done}-", "accept-encoding": "identity"} if done else {"accept-encoding": "identity"}
    if done and not located.identity:
        headers["if-range"] = known
    with httpx.stream("GET", located.url, headers=headers, follow_redirects=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code >= 400:
            raise _refusal(answer)
        if answer.status_code != PARTIAL_CONTENT:
            done = 0
        same.write_text(located.identity or _identity(answer))
        total = _total(answer, done)
        with part.open("r+b" if done else "wb") as out:
            out.truncate(done)
            out.seek(done)
            for chunk in answer.iter_raw():
                tick(done)
                out.write(chunk)
                done += len(chunk)
    return total is None or done == total


def _identity(answer: httpx.Response) -> str:
    """What If-Range takes: a strong entity tag, or the instant of the last change."""
    tag = answer.headers.get("etag", "")
    return tag if tag.startswith('"') else str(answer.headers.get("last-modified", ""))


def _total(answer: httpx.Response, done: int) -> int | None:
    ranged = _WHOLE.fullmatch(answer.headers.get("content-range", ""))
    if ranged is not None:
        return int(ranged[1])
    length = answer.headers.get("content-length", "")
    return done + int(length) if length.isdecimal() else None


def _refusal(answer: httpx.Response) -> FiredeckError:
    host, status = answer.url.host, answer.status_code
    if status in (404, 410):
        return NotFound(f"{host} has no such file", hint="check the address")
    if status in (401, 403):
        return FailedPrecondition(f"{host} does not give that file to everybody", hint="accept its terms, set HF_TOKEN")
    if status == 429 or status >= 500:
        return Unavailable(
            f"{host} answered {status}", hint="ask again later: it goes on where it was", retry_after_s=30
        )
    return Internal(f"{host} answered {status}", hint="check the address")
