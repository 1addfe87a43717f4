"""Stored runs beside each other: what is the same is shown once, and what is not alike is refused."""

from __future__ import annotations

import json
import shlex
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gguf_bench import pipeline, results
from gguf_bench.catalog import baseline
from gguf_bench.errors import ComparisonError, StoreError
from gguf_bench.prepare import contenders
from gguf_bench.records import Limits
from gguf_bench.store import Store
from tests.filled_store import filled

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "r.db")) as store:
        yield store


def run_of(store: Store, releases: Path, *names: str, **options: Any) -> int:
    found = pipeline.options(dataset=str(releases), **options)
    return pipeline.compare(contenders([baseline(name) for name in names], []), found, store)


def change(store: Store, sql: str) -> None:
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute(sql)


def test_what_two_runs_asked_is_compared(store: Store, releases: Path) -> None:
    """Each run has both baselines; in each another one was asked for."""
    runs = [run_of(store, releases, "baseline_null"), run_of(store, releases, "baseline_rules")]
    found = results.comparison(runs[::-1], store)
    assert [run["id"] for run in found.runs] == runs
    assert found.run["id"] == runs[1]
    assert [row["name"] for row in found.leaderboard] == ["baseline_rules", "baseline_null"]
    assert [row["run_id"] for row in found.leaderboard] == [runs[1]] * 2, "the newest of what is the same"
    assert all(row["asked"] for row in found.leaderboard)
    (verdict,) = found.verdicts
    assert (verdict.better, verdict.worse, verdict.n_documents) == ("baseline_rules", "baseline_null", 5)
    assert found.excerpts is not None
    assert found.excerpts["n_documents"] == 5


def test_a_run_named_twice_is_one(store: Store, releases: Path) -> None:
    run = run_of(store, releases, "baseline_null")
    assert results.comparison([run, run], store) == results.comparison([run], store)


def test_other_answers_are_other_contenders(store: Store, releases: Path) -> None:
    runs = [run_of(store, releases, "baseline_null", name=name) for name in ("first", "second")]
    change(
        store,
        "update answers set output = 'otherwise', score = 1, kind_basic = 'right', kind_diluted = 'right' where "
        f"document_id = 'd0' and contender_id = (select id from contenders where run_id = {runs[0]} and asked)",
    )
    found = results.comparison(runs, store)
    names = [f"baseline_null (run {run})" for run in runs]
    assert sorted(row["name"] for row in found.leaderboard if row["asked"]) == names
    assert [row["name"] for row in found.leaderboard if not row["asked"]] == ["baseline_rules"]
    (verdict,) = found.verdicts
    assert {verdict.better, verdict.worse} == set(names)


def test_what_failed_in_one_run_is_shown_beside_what_finished_in_another(store: Store, releases: Path) -> None:
    runs = [run_of(store, releases, "baseline_null", name=name) for name in ("first", "second")]
    change(
        store,
        "update contenders set status = 'failed', error = 'died', eps_score = null "
        f"where run_id = {runs[0]} and model = 'baseline_null'",
    )
    found = results.comparison(runs, store)
    assert [(row["name"], row["status"]) for row in found.leaderboard if row["asked"]] == [
        (f"baseline_null (run {runs[1]})", "finished"),
        (f"baseline_null (run {runs[0]})", "failed"),
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limit": 2}, "documents (5 and 2, 2 of them the same)"),
        ({"excerpt_chars": 3000}, "characters of an excerpt (6,000 and 3,000)"),
        ({"grammar": False}, "grammar (yes and no)"),
    ],
    ids=str,
)
def test_what_was_asked_otherwise_is_refused(store: Store, releases: Path, options: dict[str, Any], words: str) -> None:
    run_of(store, releases, "baseline_null")
    run_of(store, releases, "baseline_null", **options)
    with pytest.raises(ComparisonError) as caught:
        results.comparison([1, 2], store)
    assert words in str(caught.value)
    with pytest.raises(ComparisonError):
        results.recommendation([1, 2], store, Limits())


def test_the_documents_of_a_run_without_excerpts_are_those_it_answered(store: Store, releases: Path) -> None:
    """As an earlier version stored it."""
    run_of(store, releases, "baseline_null")
    run_of(store, releases, "baseline_null", limit=2)
    change(store, "delete from excerpts")
    with pytest.raises(ComparisonError, match="5 and 2, 2 of them the same"):
        results.comparison([1, 2], store)


def test_an_old_scorer_is_mended_as_it_is_said(store: Store, releases: Path) -> None:
    runs = [run_of(store, releases, "baseline_null", name=name) for name in ("first", "second")]
    change(store, f"update runs set scorer_version = '0' where id = {runs[0]}")
    with pytest.raises(ComparisonError, match=f"`gguf-bench results rescore {runs[0]}`"):
        results.comparison(runs, store)
    results.rescore(runs[0], store)
    assert len(results.comparison(runs, store).runs) == 2


def test_no_such_run(store: Store, releases: Path) -> None:
    run_of(store, releases, "baseline_null")
    with pytest.raises(StoreError, match="no run 7"):
        results.comparison([1, 7], store)


# ------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A store whose run 2 has files: bloop_1b at two types, made of one another, and zorp_3b; a fourth failed."""
    path = filled(tmp_path / "f.db", n_documents=200)
    with closing(sqlite3.connect(path)) as connection, connection:
        known = connection.execute("select id, model, quant from contenders where status = 'finished'").fetchall()
        for number, (key, model, quant) in enumerate(known):
            connection.execute(
                "insert into artifacts values (?, ?, ?, ?, ?, 1e9, 'llama', 4096, ?, null, null, 'found', '{}', '')",
                [quant, f"/models/{model} {quant}.gguf", 10**9 - number * 10**8, quant, 8 - number, f"org/{model}"],
            )
            connection.execute(
                "update contenders set file_sha256 = ?, n_ctx = 2560, peak_rss_bytes = 1e9, gpu_layers = ?,"
                " documents_per_minute = ? where id = ?",
                [quant, number, 10 + number, key],
            )
    return path


def test_by_family_and_what_quantizing_costs(files: Path, gguf_bench: Command) -> None:
    shown = gguf_bench("--db", files, "compare", "--runs", 2, "--by", "base_model")
    assert shown.returncode == 3, "a contender failed in it"
    assert max(map(len, shown.stdout.splitlines())) <= 80
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["bloop_1b", "bloop_1b", "Q8_0", "90.0", "70.0", "2"] in lines
    assert ["wreck_7b", "–", "–", "–", "0", "1"] in lines
    assert "what quantizing bloop_1b costs, beside bloop_1b Q8_0" in shown.stdout
    (cost,) = (line for line in lines if line[:3] == ["bloop_1b", "Q2_K", "7.00"])
    assert (cost[3:5], cost[-3:]) == (["10", "%"], ["1.10", "x", "yes"])
    as_json = json.loads(gguf_bench("--db", files, "results", "show", 2, "--by", "base_model", "--json").stdout)
    assert as_json["by"] == "base_model"
    assert as_json["families"][0]["best"] == "bloop_1b Q8_0"
    (cost_json,) = as_json["quantization_costs"]
    assert (cost_json["beside"], cost_json["score_lost"]) == ("bloop_1b Q8_0", pytest.approx(0.4))
    assert "runs" not in as_json
    assert "wreck_7b Q4_0 failed: died (SIGSEGV)" in shown.stdout


def test_recommend_prints_the_file_and_the_command_that_runs_it(files: Path, gguf_bench: Command) -> None:
    found = gguf_bench("--db", files, "recommend")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[1] == "the smallest and fastest file within 2 points of the best: bloop_1b Q8_0"
    assert shlex.split(lines[2]) == [
        *("llama-server", "-m", "/models/bloop_1b Q8_0.gguf", "-c", "2560", "-np", "1", "--temp", "0")
    ]
    assert max(map(len, lines[:2] + lines[3:])) <= 80
    assert "\x1b" not in found.stdout
    told = " ".join(found.stdout.split())
    assert "not zorp_3b Q4_K_M: shown to be worse than bloop_1b Q8_0 by more than the margin: 20.0 points [" in told
    assert "not wreck_7b Q4_0: failed: died (SIGSEGV)" in told
    advice = json.loads(gguf_bench("--db", files, "recommend", 2, "--json", "--max-size", "900MB").stdout)
    assert (advice["smallest"], advice["runs"], advice["limits"]["max_size_bytes"]) == (
        "zorp_3b Q4_K_M",
        [2],
        9 * 10**8,
    )
    assert advice["commands"]["zorp_3b Q4_K_M"].endswith("-c 2560 -ngl 2 -np 1 --temp 0")
    assert [each["within"] for each in advice["candidates"]] == [None, "shown", "refuted", None]


def test_the_command_gives_the_chat_template_what_it_was_given(files: Path, gguf_bench: Command) -> None:
    given = {"enable_thinking": False, "chat_template": "{{ messages[0].content }}"}
    with closing(sqlite3.connect(files)) as db, db:
        db.execute("update contenders set template_kwargs = ? where model = 'bloop_1b'", [json.dumps(given)])
    lines = gguf_bench("--db", files, "recommend").stdout.splitlines()
    words = shlex.split(lines[2])
    assert words[words.index("--chat-template") + 1] == given["chat_template"]
    assert json.loads(words[words.index("--chat-template-kwargs") + 1]) == {"enable_thinking": False}


def test_where_nothing_fits_the_reasons_are_shown_and_the_exit_code_says_so(files: Path, gguf_bench: Command) -> None:
    found = gguf_bench("--db", files, "recommend", "--max-size", "1MiB")
    assert found.returncode == 1
    assert "not bloop_1b Q8_0: size 954 MiB, over 1 MiB" in found.stdout
    assert len([line for line in found.stderr.splitlines() if line.startswith("Error: no file")]) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["compare", "--runs", "1", "smollm2_135m"], "takes no MODEL"),
        (["compare", "--runs", "1", "--limit", "3"], "takes no --limit"),
        (["compare", "--runs", "1,x"], "x"),
        (["compare", "--runs", "0"], "range"),
        (["compare", "--runs", "1", "--by", "colour"], "colour"),
        (["recommend", "--max-size", "4G"], "4G"),
        (["recommend", "--margin", "-1"], "-1"),
        (["recommend", "0"], "range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_usage_errors(gguf_bench: Command, arguments: list[str], says: str) -> None:
    found = gguf_bench(*arguments)
    assert (found.returncode, found.stdout) == (2, "")
    assert says in found.stderr
