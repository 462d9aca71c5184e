"""Between the state and its disk: opening, what each failure asks for, and files that vanish under a running engine.

SQLite keeps on writing to a file that somebody has removed: what is acknowledged then is gone at the next start. So the
store looks after every commit. A write-ahead log that was removed loses nothing, because what it held is moved into the
database through the handle that is still open; a database that was removed or replaced cannot be mended from here, and
takes no more changes.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from engine.store.migrations import migrate

DATABASE = "firedeck.db"  # in the data folder
BUSY_TIMEOUT_S = 5.0
RESTORE = (
    "stop the engine and put a backup in its place (`firedeck backup` makes them); the damaged file was left as it is"
)
ROOM = "make room on the disk: an engine that runs goes on by itself, one that did not start can be started then"
_PRIMARY = 0xFF  # the low byte of an extended result code (sqlite.org/rescode.html)
_REMEDIES = {
    sqlite3.SQLITE_FULL: ROOM,
    sqlite3.SQLITE_READONLY: "make the disk and the file writable again",
    sqlite3.SQLITE_BUSY: "another program holds the database: let it finish",
    sqlite3.SQLITE_IOERR: "the disk fails: see the system's log, and take a copy with `firedeck backup` while it reads",
    sqlite3.SQLITE_CORRUPT: RESTORE,
    sqlite3.SQLITE_NOTADB: RESTORE,
}


class Replaced(sqlite3.OperationalError):
    """The database file is not the one that was opened."""


def remedy(error: sqlite3.DatabaseError) -> str:
    """What whoever runs the engine can do about it."""
    if isinstance(error, Replaced):
        return "put the file back, or restart the engine: it goes on with what lies there then"
    return _REMEDIES.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY, "is the disk full or read-only?")


def remedy_at_start(error: sqlite3.DatabaseError) -> str:
    """The same where the database could not even be opened."""
    full = getattr(error, "sqlite_errorcode", 0) & _PRIMARY == sqlite3.SQLITE_FULL
    return ROOM if full else "it was left as it is: restore a copy, or move it away"


class Disk:
    """The database at `path`: `connect()` first, the rest on the thread that uses the connection."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._database_seen: tuple[int, int] | None = None
        self._log_seen: tuple[int, int] | None = None

    def connect(self) -> sqlite3.Connection:
        """A connection to a whole database of the present schema; sqlite3.DatabaseError says what is wrong."""
        connection = self._open()
        try:
            _check_whole(connection)
            migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._remember()
        return connection

    def check(self) -> None:
        """Replaced when the database is no longer the file that was opened."""
        if _identity(self._path) != self._database_seen:
            raise Replaced(f"{self._path} was removed or replaced while the engine was running")

    def has_log(self) -> bool:
        """Whether the write-ahead log is the one that the connection writes to."""
        return _identity(self._log) == self._log_seen

    def save(self, connection: sqlite3.Connection) -> None:
        """Move into the database what a removed write-ahead log held; the connection is of no more use then."""
        self.check()
        [busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError(f"{self._log} was removed, and a reader keeps it from being saved")

    def reconnect(self) -> sqlite3.Connection:
        """Another connection to the database that was opened; sqlite3.DatabaseError says why there is none now."""
        self.check()
        connection = self._open()
        self._remember()
        return connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )  # fmt: skip
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens the log
        except BaseException:
            connection.close()
            raise
        return connection

    def _remember(self) -> None:
        self._database_seen, self._log_seen = _identity(self._path), _identity(self._log)


def copy(source: Path, target: Path) -> None:
    """A whole copy of a database that others may be writing to; sqlite3.DatabaseError says why there is none.

    In one go, and so of one moment: a reader in WAL mode holds up no writer.
    """
    if not target.exists():
        target.touch(mode=0o600)
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as live,
        contextlib.closing(sqlite3.connect(target)) as made,
    ):
        live.backup(made)
        made.execute("PRAGMA synchronous = FULL")
        _check_whole(made)


def _check_whole(connection: sqlite3.Connection) -> None:
    [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"it is damaged: {found}")


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
