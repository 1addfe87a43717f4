"""QUERY: one SELECT against the store, which cannot be changed by it."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gguf_bench.errors import StoreError
from gguf_bench.sqlite_errors import BUSY_SECONDS, explained, require_store


def query(path: Path, sql: str, *, seconds: float = 60) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Run one SELECT against the store, read-only: (column names, rows as they come).

    Columns of one name are numbered (a, a_2), so that no two are alike. SQLite itself refuses everything else: the
    file is opened read-only, and an authorizer allows reading alone. Raises StoreError for what is refused, wrong, or
    takes SQLite longer than `seconds`; what the caller does between two rows does not count.
    """
    require_store(path)
    allowance = _Allowance(seconds)
    with explained(path), allowance.spent():
        cursor = _executed(path, sql, allowance)
    if cursor.description is None:
        raise StoreError("that statement returns no rows", hint="`query` takes a SELECT")
    return _numbered(column[0] for column in cursor.description), _fetched(path, cursor, allowance)


class _Allowance:
    """The seconds that SQLite may still take."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._since = time.monotonic()

    def used_up(self) -> bool:
        """Asked by SQLite as it works; it stops when told so, or when the asking itself raises."""
        return time.monotonic() - self._since > self._left

    @contextmanager
    def spent(self) -> Iterator[None]:
        self._since = time.monotonic()
        try:
            yield
        except sqlite3.OperationalError as error:
            if _kind(error) == sqlite3.SQLITE_INTERRUPT and not self.used_up():
                raise KeyboardInterrupt from error  # what `used_up` raised was Ctrl-C, and sqlite3 swallowed it
            raise
        self._left -= time.monotonic() - self._since


def _executed(path: Path, sql: str, allowance: _Allowance) -> sqlite3.Cursor:
    try:
        return _connection(path, "mode=ro", allowance).execute(sql)
    except sqlite3.OperationalError as error:
        # Even to read, SQLite makes files beside a database in WAL mode. Where it cannot, and no such file is there,
        # nobody writes, and the file may be taken as it is.
        cannot_write = _kind(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if not cannot_write or not path.is_file() or Path(f"{path.resolve()}-wal").exists():
            raise
        return _connection(path, "mode=ro&immutable=1", allowance).execute(sql)


def _kind(error: sqlite3.Error) -> int:
    """SQLite's result code, without what it may add to it; 0 for an error of the sqlite3 module's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _connection(path: Path, how: str, allowance: _Allowance) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS)
    connection.set_authorizer(_reading_only)
    connection.set_progress_handler(allowance.used_up, 10_000)
    return connection


def _numbered(names: Iterable[str]) -> list[str]:
    numbered: list[str] = []
    for name in names:
        candidates = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        numbered.append(next(candidate for candidate in candidates if candidate not in numbered))
    return numbered


def _fetched(path: Path, cursor: sqlite3.Cursor, allowance: _Allowance) -> Iterator[tuple[Any, ...]]:
    while True:
        with explained(path), allowance.spent():
            row = cursor.fetchone()
        if row is None:
            return
        yield row


READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
HARMLESS_PRAGMAS = ("table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list")


def _reading_only(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action == sqlite3.SQLITE_FUNCTION and second == "load_extension":
        return sqlite3.SQLITE_DENY
    # json_each and its like announce themselves as an update of the schema; the file is opened read-only all the same.
    announced = action == sqlite3.SQLITE_UPDATE and first == "sqlite_master"
    harmless = action in READING or announced or (action == sqlite3.SQLITE_PRAGMA and first in HARMLESS_PRAGMAS)
    return sqlite3.SQLITE_OK if harmless else sqlite3.SQLITE_DENY
