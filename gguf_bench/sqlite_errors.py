"""SQLite's and the file system's errors, and a store that is not there, as StoreError with the way out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gguf_bench.errors import StoreError

BUSY_SECONDS = 60
"""How long one process waits for another that is writing."""


def require_store(path: Path) -> None:
    """Raise StoreError where there is no store at `path`: who only reads makes none."""
    with explained(path):
        if not path.exists():
            raise StoreError(
                f"there is no store at {path} yet", hint="run `gguf-bench compare` first, or name one with --db"
            )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's and the file system's errors into StoreError with the way out."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}", hint=_way_out(str(error))) from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint="choose another store with --db") from error


WAYS_OUT = {
    "not a database": "choose another store with --db",
    "readonly": "choose another store with --db, or give yourself the right to write it",
    "unable to open": "choose another store with --db, or give yourself the right to write its folder",
    "locked": "another process is writing it, wait for that one to finish",
    "full": "free some space: what was stored before is safe",
    "disk I/O": "see whether the disk is full: what was stored before is safe",
    "not authorized": "`query` only reads",
    "too big": "one value may take 16 MiB",
    "has no name": "write parameters as :name",
}


def _way_out(message: str) -> str:
    return next((way for sign, way in WAYS_OUT.items() if sign in message), "")
