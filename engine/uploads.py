"""Files of models that travel over HTTP: signed URLs, and the folder that uploads go to.

A signed URL is a capability for one file of one model until it expires; it needs no key, as with the object stores that
the SDKs upload to.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from client.errors import FailedPrecondition, InvalidArgument, PayloadTooLarge, ResourceExhausted, Unauthenticated
from engine import resumed
from engine.resumed import Piece, Resumed

FOLDER = "uploads"  # in the data folder
CONVERTED = "converted"  # in the folder of a model
EXPIRY_S = 24 * 3600.0
SPARE_BYTES = 1 << 30  # left free on the disk
FILES_MAX = 1000
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SIGNATURE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a signed URL is for: `method` PUT or GET, until `expires` (seconds since 1970)."""

    method: str
    model: str
    file: str
    size_bytes: int
    expires: float


class Uploads:
    """Files below `folder`, one folder a model."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder, self._secret = folder, secret
        self._resumed = Resumed()
        self.settling = asyncio.Lock()  # held while files are checked for good, so that none takes another's place

    def folder_of(self, model: str) -> Path:
        _, account, _, model_id = model.split("/")
        return self._folder / account / model_id

    def sign(self, ticket: Ticket) -> str:
        """The ticket as one segment of a URL."""
        body = json.dumps(asdict(ticket), separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(hmac.digest(self._secret, body, "sha256") + body).decode().rstrip("=")

    def ticket(self, text: str, method: str, now: float) -> Ticket:
        """The ticket of a URL, or Unauthenticated."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, hmac.digest(self._secret, body, "sha256")):
            raise Unauthenticated("this URL was not signed by this engine", hint="ask for a new one")
        ticket = Ticket(**json.loads(body))
        if ticket.method != method or ticket.expires < now:
            raise Unauthenticated("this URL has expired, or is for something else", hint="ask for a new one")
        return ticket

    def check_room(self, sizes: dict[str, int]) -> None:
        """Whether these files may be uploaded; InvalidArgument for a bad name, ResourceExhausted without room."""
        for name in sizes:
            if not _FILE_NAME.fullmatch(name):
                raise InvalidArgument(
                    f"{name[:80]!r} is no name for a file", field="filenameToSize",
                    hint="use letters, digits and . _ - alone",
                )  # fmt: skip
        self._folder.mkdir(parents=True, exist_ok=True)
        free, wanted = shutil.disk_usage(self._folder).free, sum(sizes.values())
        if wanted + SPARE_BYTES > free:
            raise ResourceExhausted(
                f"{wanted} bytes do not fit: {free} are free and {SPARE_BYTES} stay so", field="filenameToSize",
                hint="make room, or register a file that lies on the engine's machine: firedeck model create --file",
            )  # fmt: skip

    async def receive(self, ticket: Ticket, chunks: AsyncIterator[bytes], check: Callable[[], None]) -> None:
        """Write a file, which appears whole or not at all. InvalidArgument unless it has the announced size.

        `check` raises where the model takes no more files; it is asked once all has come, however long that took.
        """
        folder = self.folder_of(ticket.model)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished, size = (
            folder / f".{ticket.file}.{secrets.token_hex(8)}.part",
            0,
        )  # one URL may be used twice at once
        try:
            with unfinished.open("wb") as out:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > ticket.size_bytes:
                        raise PayloadTooLarge(f"{ticket.file} was announced with {ticket.size_bytes} bytes")
                    out.write(chunk)
            if size != ticket.size_bytes:
                raise InvalidArgument(f"{ticket.file} has {size} bytes; {ticket.size_bytes} were announced")
            await self._settle(ticket, unfinished, None, check)
        finally:
            unfinished.unlink(missing_ok=True)

    async def resume(
        self, ticket: Ticket, version: str, piece: Piece, chunks: AsyncIterator[bytes], check: Callable[[], None]
    ) -> int:
        """Write a piece of a file, of which what has come stays; how many bytes are there then. The file appears with
        its last byte. Raises as `receive` does."""
        if piece.total != ticket.size_bytes:
            raise InvalidArgument(f"{ticket.file} was announced with {ticket.size_bytes} bytes, not {piece.total}")
        folder = self.folder_of(ticket.model)
        folder.mkdir(parents=True, exist_ok=True)
        if resumed.is_whole(folder, ticket.file, version, ticket.size_bytes):
            return ticket.size_bytes
        part = resumed.part_of(folder, ticket.file, version)
        have = await self._resumed.append(part, piece, chunks)
        if have < ticket.size_bytes:
            return have
        if resumed.size_of(part) != have:
            raise FailedPrecondition(f"another {ticket.file} came meanwhile, or it is empty", hint="send it whole")
        await self._settle(ticket, part, version, check)
        return have

    async def _settle(self, ticket: Ticket, whole: Path, version: str | None, check: Callable[[], None]) -> None:
        folder = self.folder_of(ticket.model)
        async with self.settling:
            check()
            resumed.settle(whole, folder, ticket.file, version)

    def files_of(self, model: str) -> dict[str, Path]:
        """What was uploaded whole, by name."""
        files = sorted(p for p in self.folder_of(model).glob("*") if p.is_file() and not p.name.startswith("."))
        return {file.name: file for file in files}

    def converted(self, model: str) -> Path:
        """Where the GGUF file lies that is made of uploaded files, or of a folder on this machine."""
        return self.folder_of(model) / CONVERTED / f"{model.rpartition('/')[2]}.gguf"

    def gguf_of(self, model: str) -> Path:
        """The one GGUF file that was uploaded; FailedPrecondition says what is missing."""
        files = list(self.files_of(model).values())
        found = [path for path in files if path.suffix == ".gguf"]
        if len(found) == 1:
            return found[0]
        if not files:
            raise FailedPrecondition(f"no file of {model} has been uploaded", hint="PUT it to its URL first")
        if found:
            raise FailedPrecondition(f"{len(found)} GGUF files were uploaded", hint="a model has one: join its parts")
        raise FailedPrecondition(
            f"no GGUF file was uploaded, but {', '.join(p.name for p in files[:5])}",
            hint="of a model give config.json and tokenizer.json too, of an adapter adapter_config.json",
        )

    def forget(self, model: str) -> None:
        """Remove what was uploaded of a model."""
        shutil.rmtree(self.folder_of(model), ignore_errors=True)
