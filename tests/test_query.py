"""`query` only reads, for no longer than it may, and wherever the store can be read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gguf_bench.errors import StoreError
from gguf_bench.query import query
from gguf_bench.store import Store

VIEW_COLUMNS = [
    *("run_id", "run_name", "created", "status", "model", "display_name", "model_group", "quant", "file_sha256"),
    *("size_bytes", "bits_per_weight", "n_documents", "eps_score", "eps_score_low", "eps_score_high"),
    *("exact_match", "exact_match_low", "exact_match_high", "basic_accuracy", "diluted_accuracy"),
    *("adjusted_accuracy", "unparseable", "over_context", "missed", "hallucinated", "prompt_tokens_per_second"),
    *("generation_tokens_per_second", "documents_per_minute", "load_seconds", "peak_rss_bytes", "peak_vram_bytes"),
    *("gpu_layers", "error"),
    *("base_url", "served_model", "schema_kept", "usd_per_document", "wall_seconds"),  # ours, behind what is promised
]
ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with something in it, closed."""
    path = tmp_path / "results.db"
    with closing(Store(path)) as store:
        store.lock_commit("org/name", None, "1" * 40)
    return path


def test_the_view_has_the_columns_that_programs_rely_on(path: Path) -> None:
    columns, rows = query(path, "select * from eps_scores")
    assert columns == VIEW_COLUMNS
    assert list(rows) == []


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        (mode,) = connection.execute("pragma journal_mode").fetchone()
        return [mode, *connection.iterdump()]


@pytest.mark.parametrize(
    "sql",
    [
        "delete from locks",
        "update locks set revision = 'x'",
        "insert into locks values ('a', 'b', 'c', 'd')",
        "drop view eps_scores",
        "create table t (a)",
        "create temp table t (a)",
        "attach database '{folder}/other.db' as x",
        "pragma journal_mode = delete",
        "pragma writable_schema = 1",
        "vacuum into '{folder}/other.db'",
        "select load_extension('x')",
        "begin",
        "select 1; delete from locks",
        "not sql",
        "",
    ],
)
def test_query_only_reads(path: Path, sql: str) -> None:
    before = dump(path)
    assert any("org/name" in line for line in before)
    with pytest.raises(StoreError):
        list(query(path, sql.format(folder=path.parent))[1])
    assert dump(path) == before
    assert {file.name for file in path.parent.iterdir()} <= {path.name, f"{path.name}-wal", f"{path.name}-shm"}


def test_query_stops_a_select_that_takes_too_long(path: Path) -> None:
    with pytest.raises(StoreError, match="too long"):
        list(query(path, ENDLESS, seconds=0.2)[1])


def test_a_reader_that_takes_its_time_does_not_use_up_the_query_s(path: Path) -> None:
    numbers = "with recursive n(i) as (select 1 union all select i + 1 from n limit 100000) select i from n"
    rows = query(path, numbers, seconds=1)[1]
    next(rows)
    time.sleep(1.2)
    assert sum(1 for _ in rows) == 99_999


def test_the_time_between_rows_counts_once_it_is_sqlite_s(path: Path) -> None:
    """Each row takes a while, and all of them more than allowed: the time is that of the whole query."""
    slow = "(with recursive m(j) as (select n.i union all select j + 1 from m limit 100000) select max(j) from m)"
    many = f"with recursive n(i) as (select 1 union all select i + 1 from n limit 2000) select {slow} from n"
    with pytest.raises(StoreError, match="too long"):
        list(query(path, many, seconds=0.3)[1])


def test_query_of_no_store_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="gguf-bench compare"):
        query(tmp_path / "none.db", "select 1")
    assert not list(tmp_path.iterdir())


def test_columns_of_one_name_are_told_apart(path: Path) -> None:
    columns, rows = query(path, "select 1 as a, 2 as a, 3 as a_2, 4 as a, 5 as b")
    assert columns == ["a", "a_2", "a_2_2", "a_3", "b"]
    assert list(rows) == [(1, 2, 3, 4, 5)]


def test_text_that_is_none_is_one_line(path: Path) -> None:
    with pytest.raises(StoreError, match="UTF-8"):
        list(query(path, "select cast(x'ff' as text) as a")[1])


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere; nobody may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """Not below tmp_path, which nobody but its owner may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_store_that_cannot_be_written_can_be_read(path: Path, read_only_folder: Path) -> None:
    read_only_folder.chmod(0o755)
    store = shutil.copy(path, read_only_folder / "results #1?.db")
    store.chmod(0o444)
    read_only_folder.chmod(0o555)
    with as_nobody():
        assert list(query(store, "select repo from locks")[1]) == [("org/name",)]
    assert list(read_only_folder.iterdir()) == [store]


def test_json_in_columns_can_be_taken_apart(path: Path) -> None:
    _, rows = query(path, "select value from json_each('[1, 2]')")
    assert list(rows) == [(1,), (2,)]
