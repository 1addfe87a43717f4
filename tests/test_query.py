"""`query` only reads, for no longer than it may, and wherever the store can be read."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gguf_bench.errors import ParameterError, StoreError
from gguf_bench.queries import SavedQuery, saved_queries
from gguf_bench.query import query
from gguf_bench.store import Store
from tests.disks import as_nobody, make_read_only, open_folder
from tests.filled_store import filled
from tests.processes import signals_caught, with_default_signals

Command = Callable[..., "subprocess.CompletedProcess[str]"]

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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with something in it, closed."""
    path = tmp_path / "results.db"
    with closing(Store(path)) as store:
        store.lock_commit("org/name", None, "1" * 40)
    return path


def test_the_view_has_the_columns_that_programs_rely_on(path: Path) -> None:
    columns, rows = query(path, "select * from eps_scores")
    assert columns[: len(VIEW_COLUMNS)] == VIEW_COLUMNS  # more may come behind
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
        "select fts3_tokenizer('x', x'4141414141414141')",
        "select fts3_tokenizer('simple')",
        "pragma schema_version = 1",
        "pragma hard_heap_limit = 1",
        "pragma temp_store_directory = '{folder}'",
        "savepoint x",
        "with n as (select 1) delete from locks",
        "explain delete from locks",
        "create virtual table temp.t using fts5(a)",
        "select zeroblob(2147483647)",
        "select replace(hex(zeroblob(10000000)), '0', 'xxxxxxxxxx')",
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
    numbers = "with recursive n(i) as (select 1 union all select i + 1 from n limit 20000) select i from n"
    rows = query(path, numbers, seconds=3)[1]
    next(rows)
    time.sleep(3.2)
    assert sum(1 for _ in rows) == 19_999


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


def test_a_store_that_cannot_be_written_can_be_read(path: Path) -> None:
    with open_folder() as folder:
        store = shutil.copy(path, folder / "results #1?.db")
        make_read_only(folder)
        with as_nobody():
            assert list(query(store, "select repo from locks")[1]) == [("org/name",)]
        assert list(folder.iterdir()) == [store]


@pytest.mark.parametrize(("beside", "is_read"), [(("-wal", "-shm"), True), (("-wal",), False)], ids=str)
def test_what_was_stored_last_is_read_or_missed_loudly(path: Path, beside: tuple[str, ...], is_read: bool) -> None:
    """In a read-only folder SQLite needs both files, left there by a writer that was killed."""
    with open_folder() as folder, closing(sqlite3.connect(path)) as writer:
        writer.execute("insert into locks values ('org/last', '', '', '')")
        writer.commit()
        for suffix in ("", *beside):
            shutil.copy(f"{path}{suffix}", folder / f"r.db{suffix}")
        make_read_only(folder)
        with as_nobody():
            if is_read:
                assert list(query(folder / "r.db", "select count(*) from locks")[1]) == [(2,)]
            else:
                with pytest.raises(StoreError, match=r"given last is in r\.db-wal.*copy both"):
                    query(folder / "r.db", "select count(*) from locks")


def test_an_empty_wal_holds_nothing_back(path: Path) -> None:
    with open_folder() as folder:
        shutil.copy(path, folder / "r.db")
        (folder / "r.db-wal").touch()
        make_read_only(folder)
        with as_nobody():
            assert list(query(folder / "r.db", "select repo from locks")[1]) == [("org/name",)]


def test_json_in_columns_can_be_taken_apart(path: Path) -> None:
    _, rows = query(path, "select value from json_each('[1, 2]')")
    assert list(rows) == [(1,), (2,)]


# What a query may take

TWO_LONG_TEXTS = "replace(hex(zeroblob(4000000)), '00', 'a'), replace(hex(zeroblob(2000000)), '00', 'a') || 'b'"
ONE_LONG_STEP = f"select instr({TWO_LONG_TEXTS})"
"""SQLite is at it for minutes, and hears of no limit until it is done."""


def in_a_process(path: Path, sql: str, **limits: object) -> subprocess.Popen[str]:
    """A process that runs `sql` and prints what goes wrong: its memory limit cannot be taken back."""
    script = (
        "import sys; from pathlib import Path; from gguf_bench.query import query\n"
        f"try: print(sum(1 for _ in query(Path(sys.argv[1]), sys.argv[2], **{limits!r})[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", script, str(path), sql]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=with_default_signals)


def test_one_long_step_ends_when_the_time_is_up(path: Path) -> None:
    began = time.monotonic()
    with in_a_process(path, ONE_LONG_STEP, seconds=0.5) as process:
        assert "StoreError the query took too long" in process.communicate(timeout=30)[0]
    assert time.monotonic() - began < 20


def test_one_long_step_hears_ctrl_c(path: Path) -> None:
    command = [sys.executable, "-m", "gguf_bench", "--db", str(path), "query", ONE_LONG_STEP]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=with_default_signals) as process:
        while signal.SIGINT not in signals_caught(process.pid):
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        assert "interrupted" in process.communicate(timeout=30)[1]
    assert process.returncode == 130


NUMBERS = "with recursive n(i) as (select 1 union all select i + 1 from n limit 10000000) select i from n"


@pytest.mark.parametrize(
    "sql", [ENDLESS.replace("union all", "union"), f"select i from ({NUMBERS}) order by -i", "select 1"], ids=len
)
def test_memory_is_bounded_and_no_disk_is_taken_instead(path: Path, sql: str) -> None:
    with in_a_process(path, sql, memory_bytes=5_000_000, seconds=300) as process:
        said = process.communicate(timeout=300)[0]
    assert said == "1\n" if sql == "select 1" else said.startswith("StoreError the query needs more memory")


def test_rows_are_not_kept(path: Path) -> None:
    """800 MB pass through a process that never holds half of them."""
    rows = query(path, "with recursive n(i) as (select 1 union all select i + 1 from n limit 100) "
                       "select hex(zeroblob(4000000)) from n", seconds=300)[1]  # fmt: skip
    before = peak_bytes()
    assert sum(len(text) for (text,) in rows) == 100 * 8_000_000
    assert peak_bytes() - before < 400_000_000


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


# Parameters


def test_parameters_are_bound_by_name(path: Path) -> None:
    sql = "select :a + 1, :b || '', typeof(@c), $d"
    assert list(query(path, sql, {"a": 2, "b": "x' or 1", "c": 1.5, "d": None})[1]) == [(3, "x' or 1", "real", None)]


def test_a_parameter_without_a_value_is_named(path: Path) -> None:
    with pytest.raises(ParameterError, match=":b, which got no value") as caught:
        query(path, "select :a, :b", {"a": 1})
    assert caught.value.name == "b"


@pytest.mark.parametrize(("sql", "has"), [("select 1", "none at all"), ("select :a, :c", "only :a, :c")])
def test_a_superfluous_parameter_is_named(path: Path, sql: str, has: str) -> None:
    with pytest.raises(ParameterError, match=f"no parameter :x, {has}"):
        query(path, sql, {"a": 1, "c": 2, "x": 3} if "only" in has else {"x": 3})


def test_question_marks_are_no_names(path: Path) -> None:
    with pytest.raises(StoreError, match="write parameters as :name"):
        query(path, "select ?", {})


@pytest.mark.parametrize(
    ("typed", "kind"),
    [
        *((number, "integer") for number in ("0", "7", "-12", "123456789012345")),
        *((number, "real") for number in ("0.5", "-1.50")),
        *((text, "text") for text in ("", "007", "1e5", "inf", "1_000", "0x1", "٣", " 1", "1234567890123456789012")),
    ],
)
def test_what_reads_as_a_number_is_one(path: Path, gguf_bench: Command, typed: str, kind: str) -> None:
    found = gguf_bench("--db", path, "query", "select typeof(:x) as kind", "-p", "x", typed, "--nl")
    assert json.loads(found.stdout) == {"kind": kind}, found.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["select :x"], ":x, which got no value"),
        (["select 1", "-p", "x", "1"], "no parameter :x"),
        (["select :x", "-p", "x", "1", "-p", ":x", "2"], "x is given twice"),
        (["leaderbord"], "no saved query 'leaderbord'"),
        (["leaderboard", "-p", "rum", "1"], "no parameter :rum, only :run"),
        (["history"], ":model, which got no value"),
        ([], "--list"),
        (["select 1", "--list"], "--list takes no query"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_usage_errors(path: Path, gguf_bench: Command, arguments: list[str], says: str) -> None:
    found = gguf_bench("--db", path, "query", *arguments)
    assert (found.returncode, found.stdout) == (2, "")
    assert says in found.stderr


# Saved queries

SAVED = list(saved_queries().values())
REQUIRED = {"model": "bloop_1b", "document": "d000001"}


def run_saved(path: Path, saved: SavedQuery, **given: object) -> list[dict[str, object]]:
    values = {each.name: REQUIRED[each.name] if each.default is None else None for each in saved.parameters}
    columns, rows = query(path, saved.sql, values | given)  # type: ignore[arg-type]
    return [dict(zip(columns, row, strict=True)) for row in rows]


@pytest.mark.parametrize("saved", SAVED, ids=lambda saved: saved.name)
def test_a_saved_query_says_what_it_shows_and_asks_for_what_it_says(path: Path, saved: SavedQuery) -> None:
    assert saved.title
    assert len(saved.title) < 100
    assert not any(":" in each.name or each.what.startswith("[") for each in saved.parameters)
    assert run_saved(path, saved) == []  # on a store without a run; a parameter that no comment names would be missed


@pytest.mark.parametrize("saved", SAVED, ids=lambda saved: saved.name)
def test_a_saved_query_finds_something_and_what_is_left_empty_is_the_default(tmp_path: Path, saved: SavedQuery) -> None:
    store = filled(tmp_path / "r.db")
    found = run_saved(store, saved)
    if saved.name != "quantization-cost":  # there are no files in this store
        assert found
    assert run_saved(store, saved, **{each.name: "" for each in saved.parameters if each.default}) == found
    numbers = {each.name: int(each.default) for each in saved.parameters if (each.default or "").isdigit()}
    run = {each.name: "2" for each in saved.parameters if each.name == "run"}
    assert run_saved(store, saved, **numbers, **run) == found
    assert not run or saved.name == "disagreements" or run_saved(store, saved, run=1) == []


def test_the_leaderboard_is_that_of_the_view(tmp_path: Path) -> None:
    found = run_saved(filled(tmp_path / "r.db"), saved_queries()["leaderboard"])
    assert [(row["model"], row["quant"], row["eps_percent"]) for row in found] == [
        ("bloop_1b", "Q8_0", 90),
        ("zorp_3b", "Q4_K_M", 70),
        ("bloop_1b", "Q2_K", 50),
        ("wreck_7b", "Q4_0", None),
    ]


def test_the_worst_documents_come_first(tmp_path: Path) -> None:
    found = run_saved(filled(tmp_path / "r.db"), saved_queries()["worst-documents"], rows=3)
    assert [(row["document"], row["percent"], row["basic"], row["tried"]) for row in found] == [
        ("d000018", 0, 0, 3),
        ("d000019", 0, 0, 3),
        ("d000014", 33.3, 1, 3),
    ]


def test_error_kinds_add_up(tmp_path: Path) -> None:
    found = run_saved(filled(tmp_path / "r.db"), saved_queries()["error-kinds"])
    assert [(row["model"], row["quant"], row["kind"], row["basic"], row["n"], row["percent"]) for row in found[:2]] == [
        ("bloop_1b", "Q8_0", "right", 18, 54, 90),
        ("bloop_1b", "Q8_0", "scale", 2, 6, 10),
    ]
    assert sum(row["n"] for row in found) == 3 * 3 * 20  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "a", "b", "n"),
    [
        ({}, "bloop_1b Q8_0", "zorp_3b Q4_K_M", 4 * 3),
        ({"a": "bloop_1b Q8_0", "b": "bloop_1b Q2_K"}, "bloop_1b Q8_0", "bloop_1b Q2_K", 8 * 3),
        ({"a": "bloop_1b Q2_K", "b": "bloop_1b"}, "bloop_1b Q2_K", "bloop_1b Q8_0", 8 * 3),
        ({"a": 3, "b": "1"}, "zorp_3b Q4_K_M", "bloop_1b Q8_0", 4 * 3),
        ({"a": "nobody"}, "run 2 has no contender nobody", "bloop_1b Q8_0", 1),
        ({"b": "nobody"}, "bloop_1b Q8_0", "run 2 has no other contender nobody", 1),
        ({"b": "bloop_1b Q8_0"}, "bloop_1b Q8_0", "run 2 has no other contender bloop_1b Q8_0", 1),
    ],
    ids=str,
)
def test_disagreements_take_what_a_user_can_type(
    tmp_path: Path, given: dict[str, object], a: str, b: str, n: int
) -> None:
    found = run_saved(filled(tmp_path / "r.db"), saved_queries()["disagreements"], **given)
    assert (found[0]["a"], found[0]["b"], len(found)) == (a, b, n)
    assert all((row["a_kind"] == "right") != (row["b_kind"] == "right") for row in found if row["document"])


def test_quantization_is_measured_beside_the_largest_file(tmp_path: Path) -> None:
    store = filled(tmp_path / "r.db")
    with closing(sqlite3.connect(store)) as connection, connection:
        for sha, quant, size in (("8", "Q8_0", 1000), ("2", "Q2_K", 400)):
            connection.execute(
                "insert into artifacts values (?, '', ?, ?, 4, 1, 'x', 1, null, null, null, 'found', '{}', '')",
                [sha, size, quant],
            )
            connection.execute(
                "update contenders set file_sha256 = ? where quant = ? and model = 'bloop_1b'", [sha, quant]
            )
    largest, smallest = run_saved(store, saved_queries()["quantization-cost"])
    assert (largest["quant"], largest["points_lost"]) == ("Q8_0", 0)
    assert (smallest["beside"], smallest["points_lost"], smallest["size_saved_percent"]) == ("Q8_0", 40, 60)


def test_saved_queries_look_things_up(tmp_path: Path) -> None:
    """No saved query reads all answers of the store: each finds its run's, and each document, by index."""
    store = filled(tmp_path / "r.db", n_documents=100)
    for saved in SAVED:
        values = {each.name: REQUIRED.get(each.name) for each in saved.parameters}
        plan = [str(row[-1]) for row in query(store, f"explain query plan {saved.sql}", values)[1]]
        assert not [step for step in plan if step.startswith(("SCAN answers", "SCAN documents"))], (saved.name, plan)


def test_the_saved_queries_are_listed(gguf_bench: Command) -> None:
    found = gguf_bench("query", "--list")
    assert found.returncode == 0
    assert all(saved.name in found.stdout for saved in SAVED)
    listed = json.loads(gguf_bench("query", "--list", "--json").stdout)
    assert [each["name"] for each in listed] == [saved.name for saved in SAVED]
    assert {"name": "rows", "default": "20", "what": "how many documents"} in listed[-1]["parameters"]


def test_names_are_completed(gguf_bench: Command) -> None:
    words = {"_GGUF_BENCH_COMPLETE": "bash_complete", "COMP_WORDS": "gguf-bench query lea", "COMP_CWORD": "2"}
    assert gguf_bench(env=words).stdout == "plain,leaderboard\n"


def test_a_saved_query_in_every_form(tmp_path: Path, gguf_bench: Command) -> None:
    store = filled(tmp_path / "r.db")
    rows = json.loads(gguf_bench("--db", store, "query", "leaderboard", "--json").stdout)
    assert len(rows) == 4
    lines = gguf_bench("--db", store, "query", "leaderboard", "--nl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert gguf_bench("--db", store, "query", "leaderboard", "--csv").stdout.startswith("model,quant,eps_percent,")
    table = gguf_bench("--db", store, "query", "leaderboard").stdout.splitlines()
    assert max(map(len, table)) <= 80
    assert "model" in table[1]
    assert "eps_percent" in table[1]


# What models wrote, on a terminal


def on_a_terminal(*arguments: object) -> str:
    """What the command writes to a terminal."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "gguf_bench", *map(str, arguments)]
    with subprocess.Popen(command, stdout=terminal, env={**os.environ, "TERM": "dumb"}) as process:
        os.close(terminal)
        written = b""
        try:
            while block := os.read(controller, 65536):
                written += block
        except OSError:  # the other end was closed
            pass
        os.close(controller)
    assert process.returncode == 0
    return written.decode()


@pytest.mark.parametrize("form", ["--table", "--csv", "--json", "--nl"])
def test_a_terminal_gets_no_commands_from_a_model(tmp_path: Path, form: str) -> None:
    store = filled(tmp_path / "r.db", hostile="a\x1b[2J\x1b]0;owned\x07b\x9b31m\u202ec\r\x08\x00")
    written = on_a_terminal("--db", store, "query", "select output from answers where status = 'unparseable'", form)
    ours = re.sub("\r+\n", "\n", written)
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\r", "\x08", "\x00"} & set(ours)
    assert "2J" in ours


def test_a_file_gets_what_the_model_wrote(tmp_path: Path, gguf_bench: Command) -> None:
    store = filled(tmp_path / "r.db", hostile="\x1b[2J\x9b\u202e")
    sql = "select output from answers where status = 'unparseable' limit 1"
    assert gguf_bench("--db", store, "query", sql, "--csv").stdout == "output\n\x1b[2J\x9b\u202e\n"
    assert json.loads(gguf_bench("--db", store, "query", sql, "--nl").stdout) == {"output": "\x1b[2J\x9b\u202e"}


def test_a_table_ends_where_it_would_fill_the_memory(path: Path, gguf_bench: Command) -> None:
    found = gguf_bench("--db", path, "query", f"select i from ({NUMBERS}) limit 1001")
    assert "only the first 1000 rows" in found.stderr
    assert "1000" in found.stdout
    assert "1001" not in found.stdout
    long = gguf_bench("--db", path, "query", "select hex(zeroblob(3000)) as b").stdout
    assert "(5,000 characters more)" in " ".join(long.split())
    whole = gguf_bench("--db", path, "query", f"select i from ({NUMBERS}) limit 1000")
    assert (whole.returncode, whole.stderr) == (0, "")
