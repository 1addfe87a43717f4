"""Stored answers judged again: nothing is asked, nothing is half-written, and no run holds scores of two scorers.

The answers are those of a baseline that says what a test wants: no model is needed for them.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gguf_bench import dataset as datasets
from gguf_bench import pipeline, results, session
from gguf_bench.baselines import BASELINES
from gguf_bench.catalog import baseline
from gguf_bench.cli.commands import cli
from gguf_bench.errors import StoreError
from gguf_bench.pipeline import Options
from gguf_bench.prepare import Contender
from gguf_bench.records import Document, Score
from gguf_bench.score import SCORER_VERSION, score_output
from gguf_bench.store import Store
from gguf_bench.tasks import TASKS

TODAY = TASKS["eps_extraction"]
PLAIN = '{"basic": 0.40, "diluted": 0.30, "adjusted": null}'
OUTPUTS = {
    "d0": PLAIN,  # all right
    "d1": '{"company": "Q", "eps": {"basic": 1.41, "diluted": 1.31}}',  # all right, for who looks inside
    "d2": "I do not know.",
    "d3": '{"basic": 3.43, "diluted": 333, "adjusted": 9}',  # right, scale, hallucinated
    "d4": '{"basic": null, "diluted": -4.34, "adjusted": null}',  # missed, sign, right
}
SAYER = [Contender(baseline("baseline_rules"), None)]


def old_score(output: str, document: Document) -> Score:
    """A scorer that reads no wrapped object and knows no scale."""
    score = score_output("" if "company" in output else output, document)
    return dataclasses.replace(
        score, kinds={name: "other" if kind == "scale" else kind for name, kind in score.kinds.items()}
    )


OLD = dataclasses.replace(TODAY, scorer_version="0.9", score=old_score)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The documents that were asked about so far."""
    asked: list[str] = []

    def answer(document: Document, _excerpt: str) -> str:
        asked.append(document.id)
        return OUTPUTS[document.id]

    monkeypatch.setitem(BASELINES, "baseline_rules", answer)
    return asked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store(path)) as store:
        yield store


@pytest.fixture
def options(releases: Path) -> Options:
    return Options(task=TODAY, dataset=datasets.load(str(releases)), excerpt_chars=None)


Compare = Callable[..., int]


@pytest.fixture
def by_old(asked: list[str], store: Store, options: Options, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Compares by the old scorer, as an earlier version of gguf-bench did."""

    def compare(**changes: Any) -> int:
        with monkeypatch.context() as then:
            then.setitem(TASKS, TODAY.name, OLD)
            return pipeline.compare(SAYER, dataclasses.replace(options, task=OLD, **changes), store)

    return compare


def everything(store: Store, run_id: int) -> list[dict[str, Any]]:
    """What a scorer decides on in a run."""
    measured = {"id", "run_id", "contender_id", "position", "settings_sha256", "name", "key", "created", "finished"}
    rows = store.contenders(run_id)
    found = [*rows, *(answer for row in rows for answer in store.answers(row["id"]))]
    return [{name: value for name, value in row.items() if name not in measured} for row in found]


def row_of(store: Store, run_id: int) -> dict[str, Any]:
    return store.contenders(run_id)[0]


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(sql).rowcount != 0


def gguf_bench(path: Path, *arguments: object) -> Result:
    return CliRunner().invoke(cli, ["--db", str(path), *map(str, arguments)])


def test_a_run_is_judged_by_today_s_scorer_without_asking(
    by_old: Compare, asked: list[str], store: Store, options: Options
) -> None:
    run_id = by_old()
    assert row_of(store, run_id)["eps_score"] == pytest.approx((3 + 0 + 0 + 1 + 1) / 15)
    found = results.rescore(run_id, store)
    assert len(asked) == 5
    assert store.run(run_id)["scorer_version"] == SCORER_VERSION
    fresh = pipeline.compare(SAYER, dataclasses.replace(options, name="from scratch"), store)
    assert everything(store, run_id) == everything(store, fresh)
    assert (found.version_before, found.version_after, found.n_answers, found.n_changed) == (
        "0.9",
        SCORER_VERSION,
        10,
        2,
    )
    sayer, null = found.contenders
    assert [answer.document_id for answer in sayer.changed] == ["d1", "d3"]
    assert (sayer.score_before, sayer.score_after) == (pytest.approx(5 / 15), pytest.approx(8 / 15))
    assert (null.model, null.changed, null.score_before) == ("baseline_null", [], null.score_after)
    assert dict(found.moves) == {("missed", "right"): 2, ("other", "right"): 1, ("other", "scale"): 1}
    wrapped = sayer.changed[0]
    assert (wrapped.before["status"], wrapped.before["basic"], wrapped.before["score"]) == ("unparseable", None, 0)
    assert (wrapped.after["status"], wrapped.after["basic"], wrapped.after["score"]) == ("answered", 1.41, 1)


def test_what_was_measured_stays(by_old: Compare, store: Store, path: Path) -> None:
    run_id = by_old()
    change(path, "update contenders set documents_per_minute = 7, wall_seconds = 9, prompt_tokens_per_second = 3")
    finished = store.run(run_id)["finished"]
    results.rescore(run_id, store)
    row = row_of(store, run_id)
    assert (row["documents_per_minute"], row["wall_seconds"], row["prompt_tokens_per_second"]) == (7, 9, 3)
    assert store.run(run_id)["finished"] == finished


def test_scores_that_were_tampered_with_come_back(asked: list[str], store: Store, options: Options, path: Path) -> None:
    run_id = pipeline.compare(SAYER, options, store)
    before = everything(store, run_id)
    change(path, "update answers set kind_basic = 'sign', basic = 99, score = 1, status = 'answered'")
    change(path, "update contenders set eps_score = 1, missed = 0, exact_match_low = null")
    assert everything(store, run_id) != before
    found = results.rescore(run_id, store)
    assert everything(store, run_id) == before
    assert found.version_before == found.version_after == SCORER_VERSION
    again = results.rescore(run_id, store)
    assert (again.n_changed, dict(again.moves)) == (0, {})


def test_a_prompt_that_did_not_fit_stays_unasked_and_scores_nothing(by_old: Compare, store: Store, path: Path) -> None:
    """It has no output, which is not the same as an empty one."""
    run_id = by_old()
    change(path, "update answers set status = 'over_context', output = '', score = 0 where document_id = 'd0'")
    results.rescore(run_id, store)
    row, answer = row_of(store, run_id), store.answers(row_of(store, run_id)["id"])[0]
    assert (answer["status"], answer["basic"], answer["score"], answer["kind_basic"]) == (
        "over_context",
        None,
        0,
        "missed",
    )
    assert (row["over_context"], row["unparseable"], row["eps_score"]) == (1, 1, pytest.approx(5 / 15))


@pytest.mark.parametrize("status", ["failed", "interrupted", "pending"])
def test_what_is_not_finished_has_no_score_before_and_after(
    by_old: Compare, store: Store, path: Path, status: str
) -> None:
    run_id = by_old()
    change(path, f"update contenders set status = '{status}', eps_score = null, error = 'it broke' where position = 0")
    change(path, "delete from answers where document_id = 'd0'")
    found = results.rescore(run_id, store).contenders[0]
    assert (found.score_before, found.score_after, len(found.changed), found.n_answers) == (None, None, 2, 4)
    row = row_of(store, run_id)
    assert (row["status"], row["eps_score"], row["error"]) == (status, None, "it broke")
    assert store.scores(row["id"])["d1"] == 1


def test_a_contender_without_answers_is_no_hindrance(by_old: Compare, store: Store, path: Path) -> None:
    run_id = by_old()
    change(path, "update contenders set status = 'failed', eps_score = null")
    change(path, "delete from answers")
    assert results.rescore(run_id, store).n_answers == 0
    assert store.run(run_id)["scorer_version"] == SCORER_VERSION


def test_a_run_is_rescored_wholly_or_not_at_all(by_old: Compare, store: Store, path: Path) -> None:
    run_id = by_old()
    before = everything(store, run_id)
    change(
        path,
        "create trigger full before update of scorer_version on runs begin select raise(abort, 'disk full'); end",
    )
    with pytest.raises(StoreError, match="disk full"):
        results.rescore(run_id, store)
    assert everything(store, run_id) == before
    assert store.run(run_id)["scorer_version"] == "0.9"


def test_labels_of_the_store_count_not_a_file_s(by_old: Compare, store: Store, releases: Path) -> None:
    run_id = by_old()
    releases.unlink()
    results.rescore(run_id, store)
    assert row_of(store, run_id)["eps_score"] == pytest.approx(8 / 15)


def test_a_run_of_a_task_that_is_gone_and_one_without_labels_are_named(
    by_old: Compare, store: Store, path: Path
) -> None:
    run_id = by_old()
    change(path, "update runs set task = 'revenue'")
    with pytest.raises(StoreError, match=r"run 1 is of the task 'revenue'.*version that made it"):
        results.rescore(run_id, store)
    change(path, "update runs set task = 'eps_extraction'")
    change(path, "delete from documents where document_id = 'd3'")
    with pytest.raises(StoreError, match=r"labels of document 'd3' of run 1 are not in .*--name"):
        results.rescore(run_id, store)
    assert store.run(run_id)["scorer_version"] == "0.9"


def test_a_finished_run_asked_for_again_is_rescored_and_not_computed_again(
    by_old: Compare, asked: list[str], store: Store, options: Options
) -> None:
    said: list[str] = []

    class Listener:
        def say(self, message: str) -> None:
            said.append(message)

        def bar(self, *_: Any) -> Any:
            raise AssertionError("nothing takes long here")

    run_id = by_old()
    assert pipeline.compare(SAYER, options, store, Listener()) == run_id
    assert len(asked) == 5
    assert row_of(store, run_id)["eps_score"] == pytest.approx(8 / 15)
    assert said == [f"run 1 was scored by scorer 0.9; by {SCORER_VERSION}, 2 of 10 answers are judged otherwise"]
    pipeline.compare(SAYER, options, store, Listener())
    assert len(said) == 1


@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_is_gone_on_with_by_one_scorer_only(
    by_old: Compare,
    asked: list[str],
    store: Store,
    options: Options,
    monkeypatch: pytest.MonkeyPatch,
    fresh: bool,
) -> None:
    """The first answers were scored by the old one, the others were never asked."""
    monkeypatch.setattr(session, "SAVED_TOGETHER", 2)
    answer = BASELINES["baseline_rules"]

    def breaks(document: Document, excerpt: str) -> str:
        if document.id == "d2":
            raise KeyboardInterrupt
        return answer(document, excerpt)

    with monkeypatch.context() as then:
        then.setitem(BASELINES, "baseline_rules", breaks)
        with pytest.raises(KeyboardInterrupt):
            by_old(fresh=fresh)
    assert store.scores(row_of(store, 1)["id"]) == {"d0": 1, "d1": 0}
    assert pipeline.compare(SAYER, dataclasses.replace(options, fresh=fresh), store) == 1
    assert sorted(asked) == sorted(OUTPUTS)
    assert store.scores(row_of(store, 1)["id"])["d1"] == 1
    assert store.run(1)["scorer_version"] == SCORER_VERSION
    assert row_of(store, 1)["eps_score"] == pytest.approx(8 / 15)


# The command


def test_all_runs_are_rescored_where_none_is_named(by_old: Compare, store: Store, path: Path) -> None:
    by_old(), by_old(name="another")
    result = gguf_bench(path, "results", "rescore", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = json.loads(result.stdout)
    assert (first["run_id"], second["run_id"], second["run_name"]) == (1, 2, "another")
    assert first["scorer_version"] == {"from": "0.9", "to": SCORER_VERSION}
    assert (first["n_answers"], first["n_changed"]) == (10, 2)
    assert {"from": "missed", "to": "right", "fields": 2} in first["kinds"]
    contender = first["contenders"][0]
    assert (contender["model"], contender["n_changed"]) == ("baseline_rules", 2)
    assert contender["eps_score"] == {"from": pytest.approx(5 / 15), "to": pytest.approx(8 / 15)}
    answer = contender["changed"][1]
    assert (answer["document_id"], answer["from"]["kind_diluted"], answer["to"]["kind_diluted"]) == (
        "d3",
        "other",
        "scale",
    )
    assert gguf_bench(path, "results", "rescore", "--json").stdout.count('"n_changed": 0') == 6


def test_one_run_is_rescored_in_words(by_old: Compare, store: Store, path: Path) -> None:
    by_old(), by_old(name="another")
    result = gguf_bench(path, "results", "rescore", 2)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"run 2 'another': scorer 0.9 -> {SCORER_VERSION}, 2 of 10 answers changed"
    assert any(line.split() == ["baseline_rules", "5", "2", "33.3", "->", "53.3"] for line in lines)
    assert "  missed -> right: 2" in lines
    assert [store.run(number)["scorer_version"] for number in (1, 2)] == ["0.9", SCORER_VERSION]
    again = gguf_bench(path, "results", "rescore", 2, 2)
    assert again.stdout == f"run 2 'another': scorer {SCORER_VERSION}, no answer changed\n"


def test_an_unknown_run_is_a_known_failure_and_nothing_is_rescored(by_old: Compare, store: Store, path: Path) -> None:
    by_old()
    result = gguf_bench(path, "results", "rescore", 1, 7)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no run 7" in result.stderr
    assert "`gguf-bench results list` shows them" in result.stderr
    assert store.run(1)["scorer_version"] == "0.9"


@pytest.mark.parametrize("wrong", ["0", "-1", "x", "9" * 30])
def test_what_is_no_run_s_number_is_misuse(by_old: Compare, path: Path, wrong: str) -> None:
    by_old()
    assert gguf_bench(path, "results", "rescore", "--", wrong).exit_code == 2


def test_without_a_store_there_is_nothing_to_rescore(tmp_path: Path) -> None:
    result = gguf_bench(tmp_path / "none.db", "results", "rescore")
    assert result.exit_code == 1
    assert not (tmp_path / "none.db").exists()


def test_an_empty_store_is_no_failure(store: Store, path: Path) -> None:
    assert json.loads(gguf_bench(path, "results", "rescore", "--json").stdout) == []
    assert gguf_bench(path, "results", "rescore").exit_code == 0


def test_a_run_being_computed_is_left_alone_and_the_others_are_rescored(
    by_old: Compare, store: Store, path: Path
) -> None:
    by_old(), by_old(name="another")
    change(path, "update runs set status = 'running' where id = 1")
    with store.run_lock(store.run(1)["key"]):
        result = gguf_bench(path, "results", "rescore")
    assert result.exit_code == 1
    assert result.stderr == "Error: run 1 is being computed by another process; rescore it when it is through\n"
    assert [store.run(number)["scorer_version"] for number in (1, 2)] == ["0.9", SCORER_VERSION]
    assert "run 2" in result.stdout


def test_a_run_of_another_scorer_says_so_when_shown(by_old: Compare, store: Store, path: Path) -> None:
    by_old()
    shown = gguf_bench(path, "results", "show", 1, "--json")
    assert json.loads(shown.stdout)["run"]["scorer_version"] == "0.9"
    assert "scored by scorer 0.9" in shown.stderr
    assert "`gguf-bench results rescore 1`" in shown.stderr
    gguf_bench(path, "results", "rescore")
    assert gguf_bench(path, "results", "show", 1).stderr == ""
