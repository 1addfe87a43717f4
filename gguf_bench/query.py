"""QUERY: one SELECT against the store, which cannot be changed by it, nor keep the machine busy for long."""

from __future__ import annotations

import functools
import itertools
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gguf_bench.errors import ParameterError, StoreError
from gguf_bench.sqlite_errors import explained, require_store
from gguf_bench.sqlite_reading import opened_to_read

Row = tuple[Any, ...]
Value = int | float | str | None
Result = TypeVar("Result")

MAX_VALUE_BYTES = 1 << 24
"""The longest text or blob of a query: a hundred times the longest release."""


def query(
    path: Path,
    sql: str,
    parameters: Mapping[str, Value] | None = None,
    *,
    seconds: float = 60,
    memory_bytes: int | None = None,
) -> tuple[list[str], Iterator[Row]]:
    """Run one SELECT against the store, read-only: (column names, rows as they come).

    `parameters` are the values of its `:name`s. Columns of one name are numbered (a, a_2), so that no two are alike.
    SQLite itself refuses everything else: the file is opened read-only, and an authorizer allows reading alone. Raises
    ParameterError where a value is missing or superfluous, StoreError for what is refused, wrong, or takes SQLite
    longer than `seconds`; what the caller does between two rows does not count. `memory_bytes` is for `read_only`.
    """
    require_store(path)
    asked = _Asked(parameters or {})
    with _explained(path):
        connection = read_only(path, memory_bytes=memory_bytes)
        aside = _Aside(connection, seconds)
        cursor = aside.result(lambda: connection.execute(sql, asked))
    if superfluous := asked.superfluous():
        aside.end()
        raise superfluous
    if cursor.description is None:
        aside.end()
        raise StoreError("that statement returns no rows", hint="`query` takes a SELECT")
    return _numbered(column[0] for column in cursor.description), _fetched(path, cursor, aside)


def read_only(path: Path, *, memory_bytes: int | None = None) -> sqlite3.Connection:
    """The store at `path`, opened for nothing but reading, by SQLite's own means; for use in any one thread at a time.

    With `memory_bytes`, sorting and temporary tables take memory instead of the disk, and SQLite gets no more than
    that. This holds for all of SQLite in this process and cannot be taken back: it is for a process that does nothing
    else with it. Raises sqlite3.Error where the file cannot be read.
    """
    connection = opened_to_read(path)
    if memory_bytes is not None:
        connection.execute("pragma temp_store = memory")
        connection.execute(f"pragma hard_heap_limit = {memory_bytes}")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_authorizer(_reading_only)
    return connection


class _Asked(dict[str, Value]):
    """Values of parameters, and which of them SQLite asked for."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        super().__init__(values)
        self._names: list[str] = []

    def __getitem__(self, name: str) -> Value:
        self._names.append(name)
        return super().__getitem__(name)

    def __missing__(self, name: str) -> Value:
        raise ParameterError(f"the query has a parameter :{name}, which got no value", name=name)

    def superfluous(self) -> ParameterError | None:
        for name in self:
            if name not in self._names:
                has = f"only {', '.join(f':{known}' for known in self._names)}" if self._names else "none at all"
                return ParameterError(f"the query has no parameter :{name}, {has}", name=name)
        return None


class _Aside:
    """A thread in which SQLite works, so that the caller's hears Ctrl-C and does not wait for longer than allowed.

    One step of SQLite may take hours (instr() of two long texts), and until it ends SQLite heeds nobody.
    """

    def __init__(self, connection: sqlite3.Connection, seconds: float) -> None:
        self._connection = connection
        self._allowed = self._left = seconds
        self._calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def result(self, call: Callable[[], Result]) -> Result:
        """What `call` returns or raises; StoreError where that takes too long, after which there is no more."""
        began = time.monotonic()
        self._calls.put(call)
        try:
            result, error = self._results.get(timeout=max(0.0, self._left))
        except queue.Empty:
            self.end()
            raise StoreError(
                f"the query took too long: SQLite was at it for {self._allowed:g} s", hint="ask for less"
            ) from None
        except BaseException:
            self.end()
            raise
        self._left -= time.monotonic() - began
        if error is not None:
            self.end()
            raise error
        return result  # type: ignore[no-any-return]

    def end(self) -> None:
        self._calls.put(None)
        self._connection.interrupt()

    def _work(self) -> None:
        with closing(self._connection):
            while (call := self._calls.get()) is not None:
                try:
                    self._results.put((call(), None))
                except BaseException as error:  # noqa: BLE001 (it is raised where the result is waited for)
                    self._results.put((None, error))


MOST_AT_ONCE = 32
"""How many rows are handed over from thread to thread at most, in memory until then; one by one takes twice as long."""
QUICKLY_SECONDS = 0.01


def _fetched(path: Path, cursor: sqlite3.Cursor, aside: _Aside) -> Iterator[Row]:
    n_rows = 1
    try:
        while True:
            began = time.monotonic()
            with _explained(path):
                rows = aside.result(functools.partial(cursor.fetchmany, n_rows))
            if not rows:
                return
            n_rows = min(2 * n_rows, MOST_AT_ONCE) if time.monotonic() - began < QUICKLY_SECONDS else 1
            yield from rows
    finally:
        aside.end()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        with explained(path):
            yield
    except MemoryError as error:  # what the sqlite3 module makes of SQLITE_NOMEM
        raise StoreError("the query needs more memory than it may take", hint="sort or group fewer rows") from error


def _numbered(names: Iterable[str]) -> list[str]:
    numbered: list[str] = []
    for name in names:
        candidates = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        numbered.append(next(candidate for candidate in candidates if candidate not in numbered))
    return numbered


READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
HARMFUL_FUNCTIONS = (
    "load_extension",
    "fts3_tokenizer",  # takes a blob for a pointer and calls what is there
)
DESCRIBING_PRAGMAS = ("table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list")
TELLING_PRAGMAS = ("database_list", "schema_version", "page_count", "page_size")
"""With a value, which is what the authorizer's second argument is, they would set something."""


def _reading_only(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action == sqlite3.SQLITE_FUNCTION and second in HARMFUL_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    # json_each and its like announce themselves as an update of the schema; the file is opened read-only all the same.
    announced = action == sqlite3.SQLITE_UPDATE and first == "sqlite_master"
    tells = first in DESCRIBING_PRAGMAS or (first in TELLING_PRAGMAS and second is None)
    harmless = action in READING or announced or (action == sqlite3.SQLITE_PRAGMA and tells)
    return sqlite3.SQLITE_OK if harmless else sqlite3.SQLITE_DENY
