"""The store keeps what it was given, and refuses what it cannot keep."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import re
import sqlite3
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from gguf_bench import migrations
from gguf_bench.errors import StoreError
from gguf_bench.progress import SilentBar
from gguf_bench.records import Answer, Document, GgufFile, Score
from gguf_bench.store import Store
from tests.disks import as_nobody, make_read_only, open_folder

GGUF = GgufFile(
    path=Path("/models/a.gguf"),
    shard_paths=(Path("/models/a.gguf"),),
    sha256="a" * 64,
    size_bytes=100,
    quant="Q4_K_M",
    bits_per_weight=6.17,
    n_params=1000,
    architecture="llama",
    context_train=2048,
)
SCORE = Score(
    status="answered",
    values={"basic": Decimal("-0.57"), "diluted": None, "adjusted": Decimal("1")},
    kinds={"basic": "right", "diluted": "missed", "adjusted": "hallucinated"},
    value=1 / 3,
)
DOCUMENT = Document(
    id="d1",
    company="A",
    period="Q1",
    text="",
    gold={"basic": Decimal("-0.57"), "diluted": Decimal(1), "adjusted": None},
)


EXCERPT = {"text": "EPS 1", "text_chars": 9, "excerpt_chars": 5, "gold_figures": 2, "gold_kept": 1, "lost": "basic"}
OLD_RUN = {
    "key": "k",
    "status": "finished",
    "dataset_sha256": "x",
    "n_documents": 1,
    "fresh": 0,
    "settings": "{}",
    "machine": "{}",
    "versions": "{}",
} | dict.fromkeys(
    [
        *("name", "description", "created", "task", "task_version", "prompt_version", "scorer_version", "finished"),
        *("dataset", "excerpt_version"),
    ],
    "",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


@pytest.fixture
def store(path: Path) -> Store:
    return Store(path)


def a_run(store: Store, *, key: str = "0" * 64, models: tuple[str, ...] = ("m",), settings: str = "s") -> int:
    facts = {
        "key": key,
        "name": "",
        "description": "",
        "task": "eps_extraction",
        "task_version": "1",
        "prompt_version": "1",
        "scorer_version": "1",
        "dataset": "d",
        "dataset_sha256": "x",
        "n_documents": 1,
        "excerpt_chars": None,
        "excerpt_version": "1",
        "fresh": False,
        "settings": "{}",
        "machine": "{}",
        "versions": "{}",
    }
    contender = {
        "display_name": "M",
        "model_group": "",
        "quant": None,
        "settings_sha256": settings,
        "status": "pending",
    }
    return store.create_run(facts, [{"model": model, **contender} for model in models])


def an_answer(document_id: str = "d1", prompt: str = "p") -> Answer:
    return Answer(document_id=document_id, status="answered", prompt_sha256=prompt, output="{}", generation_seconds=2.0)


def test_an_answer_comes_back_as_it_was_scored(store: Store) -> None:
    run_id = a_run(store)
    (contender,) = store.contenders(run_id)
    store.save_answer(contender["id"], an_answer(), SCORE)
    (row,) = store.answers(contender["id"])
    assert (row["basic"], row["diluted"], row["adjusted"]) == (-0.57, None, 1.0)
    assert (row["kind_basic"], row["kind_diluted"], row["kind_adjusted"]) == ("right", "missed", "hallucinated")
    assert (row["score"], row["seconds"], row["output"]) == (pytest.approx(1 / 3), 2.0, "{}")


def test_a_document_is_answered_once(store: Store) -> None:
    (contender,) = store.contenders(a_run(store))
    store.save_answer(contender["id"], an_answer(), SCORE)
    with pytest.raises(StoreError, match="UNIQUE"):
        store.save_answer(contender["id"], an_answer(), SCORE)


def test_answers_are_known_only_for_the_same_file_settings_and_prompt(store: Store) -> None:
    store.save_artifact(GGUF, made_by="found", made_with={})
    (first,) = store.contenders(a_run(store))
    store.set_contender(first["id"], file_sha256=GGUF.sha256)
    store.save_answer(first["id"], an_answer(), SCORE)

    def known(
        *, settings: str = "s", file: str | None = GGUF.sha256, adapter: str | None = None, prompt: str = "p"
    ) -> list[Answer]:
        (later,) = store.contenders(a_run(store, settings=settings))
        store.set_contender(later["id"], file_sha256=file, adapter_sha256=adapter)
        return store.known_answers(later["id"], {"d1": prompt, "d2": "q"})

    assert known(settings="other") == []
    assert known(file=None) == []
    assert known(adapter=GGUF.sha256) == []
    assert known(prompt="other") == []
    assert known() == [an_answer()]


def test_answers_are_stored_together_or_not_at_all(store: Store) -> None:
    (contender,) = store.contenders(a_run(store))
    with pytest.raises(StoreError, match="UNIQUE"):
        store.save_answers(contender["id"], [(an_answer("d1"), SCORE), (an_answer("d1"), SCORE)])
    assert store.answers(contender["id"]) == []
    store.save_answer(contender["id"], an_answer("d1"), SCORE)


def test_a_file_known_by_content_keeps_its_history(store: Store) -> None:
    store.save_artifact(GGUF, made_by="quantized", made_with={"llama_cpp_python": "1"})
    store.save_artifact(GGUF, made_by="found", made_with={})
    row = store.artifact(GGUF.sha256)
    assert row is not None
    assert row["made_by"] == "quantized"


def test_a_hash_is_taken_again_when_the_file_changes(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    before = store.sha256([file])
    file.write_bytes(b"other")
    assert store.sha256([file]) != before
    assert store.sha256([file, file]) != store.sha256([file])


def test_the_first_commit_of_a_branch_stays_the_locked_one(store: Store) -> None:
    assert store.locked_commit("org/name", None) is None
    store.lock_commit("org/name", None, "1" * 40)
    store.lock_commit("org/name", None, "2" * 40)
    store.lock_commit("org/name", "dev", "3" * 40)
    assert store.locked_commit("org/name", None) == "1" * 40
    assert store.locked_commit("org/name", "dev") == "3" * 40


def test_documents_keep_their_printed_labels(store: Store) -> None:
    store.save_documents("x", [DOCUMENT])
    (row,) = store.rows("select * from documents")
    assert json.loads(row["gold"]) == {"basic": "-0.57", "diluted": "1", "adjusted": None}


def test_a_newer_store_is_refused_and_left_alone(store: Store, path: Path) -> None:
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "insert into _sqlite_migrations (migration_set, name, applied_at) values ('gguf_bench', 'm999_future', '')"
        )
    with pytest.raises(StoreError, match=r"newer gguf-bench.*m999_future.*upgrade"):
        Store(path)


def test_a_file_that_is_no_store_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("these are my notes, and they are long enough to be taken for a database header, " * 3)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"not a database.*--db"):
        Store(path)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--db"):
        Store(tmp_path / "file" / "results.db")


# Stores of an earlier version


def test_every_step_of_the_schema_is_taken() -> None:
    written = [name for name in vars(migrations) if re.fullmatch(r"m\d{3}_\w+", name)]
    assert written == migrations.NAMES


def an_old_store(path: Path, stop_before: str = "m006_texts") -> Path:
    """A store as an earlier version left it, with a run in it."""
    database = sqlite3.connect(path)
    database.execute("pragma journal_mode = wal")
    migrations.apply(database, stop_before=stop_before)
    columns = f"({', '.join(OLD_RUN)}) values (:{', :'.join(OLD_RUN)})"
    with database:
        database.execute(f"insert into runs {columns}", OLD_RUN)
    database.close()
    return path


class Said:
    """What was said of the progress."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def bar(self, label: str, total: float | None, unit: str) -> SilentBar:
        return SilentBar()

    def say(self, line: str) -> None:
        self.lines.append(line)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_of_an_older_store_a_copy_is_kept(path: Path) -> None:
    an_old_store(path).chmod(0o600)
    before, said = dump(path), Said()
    Store(path, said).close()
    copy = path.with_name("results.db.before-m006")
    assert dump(copy) == before != dump(path)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert said.lines == [f"{path} was of an earlier version and is up to date now; as it was, it is in {copy}"]
    Store(path, said).close()
    assert (names_in(path.parent), len(said.lines)) == ([path.name, copy.name], 1)


def test_a_copy_takes_no_other_s_place(path: Path) -> None:
    for number in range(3):
        path.unlink(missing_ok=True)
        an_old_store(path)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("update runs set name = ?", [str(number)])
        Store(path).close()
    copies = names_in(path.parent)[1:]
    assert copies == ["results.db.before-m006", "results.db.before-m006.2", "results.db.before-m006.3"]
    assert [_names_of_runs(path.with_name(copy)) for copy in copies] == [["0"], ["1"], ["2"]]


def test_what_was_copied_already_is_not_copied_again(path: Path) -> None:
    """As where the first process was killed between the copy and the change."""
    content = an_old_store(path).read_bytes()
    for _ in range(3):
        path.write_bytes(content)
        Store(path).close()
    assert names_in(path.parent) == [path.name, "results.db.before-m006"]


def _names_of_runs(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("select name from runs")]


def test_of_a_new_store_there_is_no_copy(path: Path) -> None:
    said = Said()
    Store(path, said).close()
    assert (names_in(path.parent), said.lines) == ([path.name], [])


def test_a_migration_that_fails_leaves_the_store_as_it_was_and_no_copy(path: Path) -> None:
    an_old_store(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table texts (a)")  # in the way of m006
    before = dump(path)
    with pytest.raises(StoreError, match="texts already exists"):
        Store(path)
    assert dump(path) == before
    assert names_in(path.parent) == [path.name]


def test_the_first_of_many_processes_brings_a_store_up_to_date(path: Path) -> None:
    an_old_store(path)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(_open_and_count, [path] * 8) == [1] * 8
    assert [name for name in names_in(path.parent) if "before" in name] == ["results.db.before-m006"]


@pytest.mark.parametrize(
    ("to_read", "says"),
    [(True, "of an earlier version and cannot be brought up to date"), (False, "cannot be written")],
)
def test_an_older_store_that_cannot_be_written_is_one_line(to_read: bool, says: str) -> None:
    with open_folder() as folder:
        an_old_store(folder / "r.db")
        make_read_only(folder)
        before = names_in(folder)
        with as_nobody(), pytest.raises(StoreError, match=f"{says}: it is read-only.*copy this one"):
            Store(folder / "r.db", to_read=to_read)
        assert names_in(folder) == before


# Reading


def test_a_store_open_for_reading_hashes_files_and_remembers_nothing(tmp_path: Path) -> None:
    part, other = tmp_path / "a", tmp_path / "b"
    part.write_bytes(b"a")
    other.write_bytes(b"b")
    with closing(Store(tmp_path / "r.db")) as store:
        store.remember_sha256(part, "known")
    with closing(Store(tmp_path / "r.db", to_read=True)) as reader:
        assert reader.sha256([part]) == "known"
        assert reader.sha256([other]) == hashlib.sha256(b"b").hexdigest()
        assert len(reader.rows("select * from file_hashes")) == 1


def test_a_reader_sees_one_moment(store: Store, path: Path) -> None:
    a_run(store)
    reader = Store(path, to_read=True)
    assert len(reader.runs()) == 1
    a_run(store)
    assert len(reader.runs()) == 1
    assert len(Store(path, to_read=True).runs()) == 2


def test_a_reader_cannot_write(store: Store, path: Path) -> None:
    reader = Store(path, to_read=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("delete from runs")


def test_a_reader_makes_no_store(path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        Store(path, to_read=True)
    assert names_in(path.parent) == []


def test_a_run_that_ends_while_it_is_looked_at_was_not_interrupted(store: Store, path: Path) -> None:
    """The reader's moment is before the end, and the lock is free after it."""
    run_id = a_run(store, key="c" * 64)
    reader = Store(path, to_read=True)
    assert reader.run(run_id)["status"] == "interrupted"
    store.set_run(run_id, status="finished")
    assert reader.run(run_id)["status"] == "running"


def test_a_run_of_somebody_else_can_be_seen_running(path: Path) -> None:
    """Its lock cannot be taken by who may only read the file."""
    with open_folder() as folder:
        store = Store(folder / "r.db")
        running, killed = a_run(store, key="c" * 64), a_run(store, key="d" * 64)
        with store.run_lock("c" * 64):
            make_read_only(folder)
            with as_nobody():
                reader = Store(folder / "r.db", to_read=True)
                assert reader.run(running)["status"] == "running"
                assert reader.run(killed)["status"] == "interrupted"


def test_who_cannot_write_is_told_so_at_once() -> None:
    with open_folder() as folder:
        Store(folder / "r.db").close()
        folder.chmod(0o555)
        with as_nobody(), pytest.raises(StoreError, match="it is read-only for you"):
            Store(folder / "r.db")
        (folder / "r.db").chmod(0o666)
        with as_nobody(), pytest.raises(StoreError, match="its folder is read-only for you"):
            Store(folder / "r.db")


# Several processes


def _open_and_count(path: Path) -> int:
    store = Store(path)
    return len(store.rows("select * from runs"))


def test_many_processes_may_open_a_new_store_at_once(path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(_open_and_count, [path] * 8) == [0] * 8


def test_the_same_comparison_is_not_computed_twice_at_once(store: Store, path: Path) -> None:
    other = multiprocessing.get_context("spawn").Process(target=_try_lock, args=(path, "a" * 64))
    with store.run_lock("a" * 64):
        other.start()
        other.join()
    assert other.exitcode == 7

    free = multiprocessing.get_context("spawn").Process(target=_try_lock, args=(path, "b" * 64))
    with store.run_lock("a" * 64):
        free.start()
        free.join()
    assert free.exitcode == 0


def _try_lock(path: Path, key: str) -> None:
    try:
        with Store(path).run_lock(key):
            pass
    except StoreError as error:
        raise SystemExit(7 if "another process" in str(error) else 1) from error


def test_the_lock_holds_within_a_process_too(store: Store, path: Path) -> None:
    """Releasing one lock must not release another: POSIX record locks would."""
    other = Store(path)
    with store.run_lock("a" * 64):
        with other.run_lock("b" * 64):
            pass
        with pytest.raises(StoreError, match="another process"), other.run_lock("a" * 64):
            pass
    with other.run_lock("a" * 64):
        pass


def test_a_run_nobody_computes_any_more_was_interrupted(store: Store, path: Path) -> None:
    run_id = a_run(store, key="c" * 64)
    assert store.run(run_id)["status"] == "interrupted"
    with store.run_lock("c" * 64):
        assert Store(path).run(run_id)["status"] == "running"


def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table notes (text)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"something else.*--db"):
        Store(path)
    assert path.read_bytes() == before


def test_deleting_runs_takes_along_what_was_theirs_alone(store: Store) -> None:
    """The second run has a text of its own and shares another with the third."""
    store.save_artifact(GGUF, made_by="found", made_with={})
    store.save_documents("x", [DOCUMENT])
    runs = [a_run(store, key=key * 64) for key in ("a", "a", "b")]
    for run_id, text in zip(runs, ("first", "second", "third"), strict=True):
        (contender,) = store.contenders(run_id)
        store.save_answer(contender["id"], an_answer(), SCORE)
        store.save_excerpts(run_id, [{**EXCERPT, "document_id": "d1"}, {**EXCERPT, "document_id": "d2", "text": text}])
    store.delete_runs(runs[:2])
    assert [run["id"] for run in store.runs()] == [runs[2]]
    counts = {table: store.rows(f"select count(*) as n from {table}")[0]["n"] for table in ("contenders", "answers")}
    assert counts == {"contenders": 1, "answers": 1}
    assert {row["text"] for row in store.rows("select text from texts")} == {"EPS 1", "third"}
    assert len(store.rows("select * from excerpts")) == 2
    assert len(store.rows("select * from artifacts")) == len(store.rows("select * from documents")) == 1


def test_no_run_is_deleted_where_one_cannot_be(store: Store, path: Path) -> None:
    run_id, computed = a_run(store, key="a" * 64), a_run(store, key="b" * 64)
    with pytest.raises(StoreError, match="no run 99"):
        store.delete_runs([run_id, 99])
    with Store(path).run_lock("b" * 64), pytest.raises(StoreError, match=f"run {computed} is being computed"):
        store.delete_runs([run_id, computed])
    assert len(store.runs()) == 2


def test_no_run_is_begun_again_while_it_is_deleted(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, other = a_run(store, key="a" * 64), Store(path)
    writing = store._writing

    def watched() -> AbstractContextManager[sqlite3.Connection]:
        with pytest.raises(StoreError, match="another process"), other.run_lock("a" * 64):
            pass
        return writing()

    monkeypatch.setattr(store, "_writing", watched)
    store.delete_runs([run_id])
    assert store.runs() == []


def test_a_store_from_before_adapters_keeps_what_it_has(path: Path) -> None:
    """Its contenders have no adapter, and their answers are known to later ones without."""
    database = sqlite3.connect(path)
    migrations.apply(database, stop_before="m002_adapters")
    database.close()
    with sqlite3.connect(path) as connection:
        connection.execute(
            "insert into artifacts values ('f', '/f', 7, 'Q8_0', 8, 1, 'llama', 1, null, null, null, '', '{}', '')"
        )
        columns = ", ".join(OLD_RUN)
        connection.execute(f"insert into runs ({columns}) values (:{', :'.join(OLD_RUN)})", OLD_RUN)
        connection.execute(
            "insert into contenders (run_id, position, model, display_name, model_group, file_sha256, settings_sha256,"
            " status) values (1, 0, 'm', 'M', '', 'f', 's', 'finished')"
        )
        columns_before = [row[1] for row in connection.execute("pragma table_info(eps_scores)")]
    store = Store(path)
    (row,) = store.rows("select * from eps_scores")
    assert list(row)[: len(columns_before)] == columns_before, "later ones follow"
    assert (row["model"], row["size_bytes"]) == ("m", 7)
    store.save_answer(1, an_answer(), SCORE)
    (later,) = store.contenders(a_run(store))
    store.set_contender(later["id"], file_sha256="f")
    assert store.known_answers(later["id"], {"d1": "p"}) == [an_answer()]


def test_a_store_from_before_baselines_keeps_what_it_has(path: Path) -> None:
    """Whoever is in it was asked for and answered by a grammar, and of its excerpts nothing is known."""
    database = sqlite3.connect(path)
    migrations.apply(database, stop_before="m005_what_a_run_shows")
    database.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"insert into runs ({', '.join(OLD_RUN)}) values (:{', :'.join(OLD_RUN)})", OLD_RUN)
        connection.execute(
            "insert into contenders (run_id, position, model, display_name, model_group, settings_sha256, status,"
            " eps_score) values (1, 0, 'm', 'M', '', 's', 'finished', 0.5)"
        )
        columns_before = [row[1] for row in connection.execute("pragma table_info(eps_scores)")]
    store = Store(path)
    (row,) = store.leaderboard(1)
    assert list(row)[: len(columns_before)] == columns_before, "later ones follow"
    assert (row["model"], row["asked"], row["grammar"], row["contender_id"]) == ("m", 1, 1, 1)
    assert (store.runs()[0]["n_contenders"], store.runs()[0]["best_eps_score"]) == (1, 0.5)
    assert store.excerpts(1) == []


def test_what_nobody_asked_for_is_not_counted(store: Store) -> None:
    """It may fail, though, and that is told."""
    run_id = a_run(store, models=("m", "baseline"))
    model, baseline = store.contenders(run_id)
    store.set_contender(model["id"], eps_score=0.2)
    store.set_contender(baseline["id"], eps_score=0.9, asked=0, status="failed")
    (run,) = store.runs()
    assert (run["n_contenders"], run["best_eps_score"], run["n_failed"]) == (1, 0.2, 1)


def test_excerpts_are_written_once_and_go_with_their_run(store: Store) -> None:
    run_id = a_run(store)
    store.save_excerpts(run_id, [{"document_id": "d1", **EXCERPT}])
    store.save_excerpts(run_id, [{"document_id": "d1", **EXCERPT, "gold_kept": 2}, {"document_id": "d2", **EXCERPT}])
    assert [(found["document_id"], found["gold_kept"]) for found in store.excerpts(run_id)] == [("d1", 1), ("d2", 1)]
    with store._writing() as connection:
        connection.execute("delete from runs where id = ?", [run_id])
    assert store.excerpts(run_id) == []


def test_a_text_is_stored_once_however_many_runs_show_it(store: Store) -> None:
    one, other = a_run(store), a_run(store)
    store.save_excerpts(one, [{"document_id": "d1", **EXCERPT}, {"document_id": "d2", **EXCERPT, "text": "£ 1.20"}])
    store.save_excerpts(other, [{"document_id": "d1", **EXCERPT}])
    assert store.rows("select count(*) as n from texts") == [{"n": 2}]
    assert list(store.excerpt_texts(one, ["d2", "d1", "d9"]).items()) == [("d2", "£ 1.20"), ("d1", "EPS 1")]
    assert store.excerpt_texts(other, ["d1", "d2"]) == {"d1": "EPS 1"}


def test_the_texts_of_any_number_of_documents_can_be_had(store: Store) -> None:
    """More of them than SQLite takes parameters."""
    run_id, names = a_run(store), [f"d{number}" for number in range(40_000)]
    store.save_excerpts(run_id, [{"document_id": "d7", **EXCERPT}])
    assert store.excerpt_texts(run_id, names) == {"d7": "EPS 1"}


def test_a_store_from_before_texts_gets_them_when_its_run_goes_on(path: Path) -> None:
    database = sqlite3.connect(path)
    migrations.apply(database, stop_before="m006_texts")
    database.close()
    with sqlite3.connect(path) as connection:
        run = OLD_RUN | {"scorer_version": "7"}
        connection.execute(f"insert into runs ({', '.join(run)}) values (:{', :'.join(run)})", run)
        connection.execute(
            "insert into contenders (run_id, position, model, display_name, model_group, settings_sha256, status,"
            " eps_score) values (1, 0, 'm', 'M', '', 's', 'finished', 0.5)"
        )
        connection.execute("insert into excerpts values (1, 'd1', 9, 5, 2, 1, 'basic')")
        before = connection.execute("select * from eps_scores")
        columns_before, scores_before = [column[0] for column in before.description], before.fetchone()
    store = Store(path)
    (row,) = store.leaderboard(1)
    n_before = len(columns_before)
    assert (list(row)[:n_before], tuple(row.values())[:n_before]) == (columns_before, scores_before)
    assert row["scorer_version"] == "7"
    assert store.excerpt_texts(1, ["d1"]) == {}
    store.save_excerpts(1, [{"document_id": "d1", **EXCERPT, "gold_kept": 2}])
    assert store.excerpt_texts(1, ["d1"]) == {"d1": "EPS 1"}
    assert store.excerpts(1)[0]["gold_kept"] == 1, "what is there stays"


def test_tiers_come_in_the_order_of_the_documents(store: Store) -> None:
    run_id = a_run(store)
    documents = [
        replace(DOCUMENT, id=name, tier=tier) for name, tier in (("z", "plain"), ("a", "hard"), ("b", "plain"))
    ]
    store.save_documents("x", documents)
    assert list(store.tiers(run_id).items()) == [("z", "plain"), ("a", "hard"), ("b", "plain")]
