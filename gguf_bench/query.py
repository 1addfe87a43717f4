"""QUERY: one SELECT against the store, which cannot be changed by it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gguf_bench.errors import StoreError
from gguf_bench.sqlite_errors import BUSY_SECONDS, explained


def query(path: Path, sql: str, *, seconds: float = 60) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Run one SELECT against the store, read-only: (column names, rows as they come).

    SQLite itself refuses everything else: the file is opened read-only, and an authorizer allows reading alone.
    Raises StoreError for what is refused, wrong, or takes longer than `seconds`.
    """
    if not path.exists():
        raise StoreError(
            f"there is no store at {path} yet", hint="run `gguf-bench compare` first, or name one with --db"
        )
    with explained(path):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        connection.set_authorizer(_reading_only)
        deadline = time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
        cursor = connection.execute(sql)
    if cursor.description is None:
        raise StoreError("that statement returns no rows", hint="`query` takes a SELECT")
    return [column[0] for column in cursor.description], _fetched(path, cursor)


def _fetched(path: Path, cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    with explained(path):
        yield from cursor


READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
HARMLESS_PRAGMAS = ("table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list")


def _reading_only(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action == sqlite3.SQLITE_FUNCTION and second == "load_extension":
        return sqlite3.SQLITE_DENY
    harmless = action in READING or (action == sqlite3.SQLITE_PRAGMA and first in HARMLESS_PRAGMAS)
    return sqlite3.SQLITE_OK if harmless else sqlite3.SQLITE_DENY
