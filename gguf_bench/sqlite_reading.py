"""Open a database for nothing but reading, wherever it lies, without ever hiding what was stored last.

Even to read, SQLite makes two files beside a database in WAL mode (-wal, -shm). Where it cannot, the database may be
taken as it is ("immutable"), but only where no -wal holds anything: what was stored last is in there, and `immutable`
would look past it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gguf_bench.errors import StoreError
from gguf_bench.sqlite_errors import BUSY_SECONDS

CANNOT_WRITE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
NO_ROOM = (sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMMAP)
"""What SQLite says where it cannot make its files: the folder is read-only, or the disk is full."""


def opened_to_read(path: Path) -> sqlite3.Connection:
    """The database at `path`; SQLite refuses to change it through this connection, which any one thread may use.

    What another process stores meanwhile is seen, unless the folder is read-only or the disk full and nobody has the
    database open. Raises sqlite3.Error where it cannot be read, StoreError where what was stored last cannot be.
    """
    try:
        return _tried(path, "mode=ro")
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode
        if not (code & 0xFF in CANNOT_WRITE or code in NO_ROOM) or not path.is_file():
            raise
        wal = Path(f"{path.resolve()}-wal")
        if wal.exists() and wal.stat().st_size:
            raise StoreError(
                f"what {path} was given last is in {wal.name} beside it, and SQLite cannot read that where it can "
                "write no file",
                hint="copy both to a folder of your own and name the copy with --db",
            ) from error
        return _tried(path, "mode=ro&immutable=1")


def _tried(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
    )
    try:
        connection.execute("select 1 from sqlite_master limit 1").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection
