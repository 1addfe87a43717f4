"""The results store: one SQLite file that holds every run, contender, answer and file, and what made them.

One process writes (the parent of a comparison), any number read. Every method is one transaction, so a process killed
at any moment leaves nothing half-written. The schema is in `migrations`.
"""

from __future__ import annotations

import dataclasses
import fcntl
import filecmp
import hashlib
import itertools
import json
import os
import shutil
import sqlite3
import struct
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

from gguf_bench import migrations
from gguf_bench.errors import StoreError
from gguf_bench.paths import written_whole
from gguf_bench.progress import SILENT, Progress
from gguf_bench.records import Answer, Document, GgufFile, Score, Settings
from gguf_bench.sqlite_errors import BUSY_SECONDS, explained, require_store
from gguf_bench.sqlite_reading import opened_to_read

Row = dict[str, Any]

MEASURED_AT_LOAD = (
    "n_ctx",
    "gpu_layers",
    "load_seconds",
    "peak_rss_bytes",
    "peak_vram_bytes",
)

EACH_ANSWER = """
    select answers.*, documents.company, documents.period, documents.tier,
           documents.gold ->> '$.basic' as gold_basic,
           documents.gold ->> '$.diluted' as gold_diluted,
           documents.gold ->> '$.adjusted' as gold_adjusted
    from answers
    join contenders on contenders.id = answers.contender_id
    join runs on runs.id = contenders.run_id
    left join documents on documents.dataset_sha256 = runs.dataset_sha256
        and documents.document_id = answers.document_id
    where answers.contender_id = ?
    order by answers.document_id
"""

PAGES_AT_ONCE = 4096
"""Of a copy: between two such pieces Ctrl-C is heard."""


def now() -> str:
    """The time as stored: UTC, ISO 8601, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Store:
    """The store at `path`, for the one who writes it. Made where there is none, brought up to date where it is older.

    A copy of an older store, as it was, is kept beside it; `progress` says where. With `to_read` a store that is up to
    date is opened for nothing but reading, and shows what it holds at that moment, whatever is stored meanwhile.
    Raises StoreError, saying what to do, where it cannot be opened.
    """

    def __init__(self, path: Path, progress: Progress = SILENT, *, to_read: bool = False) -> None:
        self.path = path
        self._to_read = to_read
        with explained(path):
            self._connection = self._opened_to_read() if to_read else self._opened_to_write()
            try:
                if self._lacks() and to_read:
                    self.close()
                    self._require_writable("is of an earlier version and cannot be brought up to date")
                    Store(path, progress).close()
                    self._connection = self._opened_to_read()
                elif self._lacks():
                    self._migrate(progress)
                if to_read:  # all that is read belongs together, though another process may be writing
                    self._connection.execute("begin")
            except BaseException:
                self.close()
                raise

    def _opened_to_write(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._require_writable()
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, check_same_thread=False)
        connection.execute("pragma foreign_keys = on")
        connection.execute("pragma synchronous = normal")
        connection.row_factory = sqlite3.Row
        return connection

    def _opened_to_read(self) -> sqlite3.Connection:
        require_store(self.path)
        connection = opened_to_read(self.path)
        connection.row_factory = sqlite3.Row
        return connection

    def _require_writable(self, otherwise: str = "cannot be written") -> None:
        if self.path.exists():
            for place, name in ((self.path, "it"), (self.path.parent, "its folder")):
                if not os.access(place, os.W_OK, effective_ids=True):
                    raise StoreError(
                        f"{self.path} {otherwise}: {name} is read-only for you",
                        hint="choose another store with --db, or copy this one to a folder of your own",
                    )

    def _lacks(self) -> list[str]:
        """Names of the migrations that the store lacks. Raises StoreError for a newer one, and for what is none."""
        tables = {name for (name,) in self._connection.execute("select name from sqlite_master")}
        if tables and migrations.TABLE not in tables:
            raise StoreError(f"{self.path} is a database of something else", hint="choose another store with --db")
        applied = migrations.applied(self._connection) if tables else set()
        if newer := applied - set(migrations.NAMES):
            raise StoreError(
                f"{self.path} was written by a newer gguf-bench (it has {', '.join(sorted(newer))})",
                hint="upgrade gguf-bench, or choose another store with --db",
            )
        return [name for name in migrations.NAMES if name not in applied]

    def _migrate(self, progress: Progress) -> None:
        self._connection.execute("pragma journal_mode = wal")
        copy = None
        try:
            with self._writing():  # others that open an older store, or a new one, wait here and find it done
                lacking = self._lacks()
                if lacking and self._connection.execute("select 1 from sqlite_master").fetchone():
                    copy = self._copy_before(lacking[0])
                migrations.apply(self._connection)
        except BaseException:
            if copy is not None:
                copy.unlink()  # the store itself is as it was
            raise
        if copy is not None:
            progress.say(f"{self.path} was of an earlier version and is up to date now; as it was, it is in {copy}")

    def _copy_before(self, step: str) -> Path:
        """A whole copy of the store beside it, for which nobody may be writing it; returns its path."""
        base = f"{self.path.name}.before-{step.partition('_')[0]}"
        names = itertools.chain([base], (f"{base}.{number}" for number in itertools.count(2)))
        earlier = list(itertools.takewhile(Path.exists, map(self.path.with_name, names)))
        copy = self.path.with_name(f"{base}.{len(earlier) + 1}" if earlier else base)
        try:
            with written_whole(copy) as partial:
                shutil.copymode(self.path, partial)
                with closing(opened_to_read(self.path)) as source, closing(sqlite3.connect(partial)) as target:
                    target.execute("pragma journal_mode = off")  # there is nothing to go back to
                    source.backup(target, pages=PAGES_AT_ONCE)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"{self.path} is of an earlier version and is copied before it is brought up to date, but "
                f"{copy.name} cannot be written: {error.strerror if isinstance(error, OSError) else error}",
                hint="make room for it; nothing was changed",
            ) from error
        for same in earlier:  # left by a process that was killed before it could change the store
            if filecmp.cmp(same, copy, shallow=False):
                copy.unlink()
                return same
        return copy

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One write transaction, taking the lock at once, so that it waits its turn instead of failing half-way."""
        with explained(self.path):
            try:
                self._connection.execute("begin immediate")
                yield self._connection
                self._connection.commit()
            finally:
                self._connection.rollback()  # of what was not committed; nothing otherwise

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        with explained(self.path):
            return [dict(row) for row in self._connection.execute(sql, parameters)]

    def close(self) -> None:
        self._connection.close()

    # Commits of Hub repos

    def locked_commit(self, repo: str, revision: str | None) -> str | None:
        """The commit that `repo` at `revision` (None: its default branch) was pulled at the first time."""
        found = self.rows("select commit_sha from locks where repo = ? and revision = ?", [repo, revision or ""])
        return str(found[0]["commit_sha"]) if found else None

    def lock_commit(self, repo: str, revision: str | None, commit: str) -> None:
        with self._writing() as connection:
            connection.execute("insert or ignore into locks values (?, ?, ?, ?)", [repo, revision or "", commit, now()])

    def unlock_commit(self, repo: str, commit: str) -> None:
        """Forget that `repo` was pulled at `commit`: the next pull takes what its branch then stands for."""
        with self._writing() as connection:
            connection.execute("delete from locks where repo = ? and commit_sha = ?", [repo, commit])

    # Files

    def sha256(self, paths: Sequence[Path]) -> str:
        """The sha256 by which the file of these parts is known; remembered until a part's size or time changes.

        A store that is open for reading uses what is remembered and adds nothing to it.
        """
        return joint_sha256([self._sha256_of_one(path) for path in paths])

    def _sha256_of_one(self, path: Path) -> str:
        stat = path.stat()
        facts = [str(path), stat.st_size, stat.st_mtime_ns]
        known = self.rows("select sha256 from file_hashes where path = ? and size_bytes = ? and mtime_ns = ?", facts)
        if known:
            return str(known[0]["sha256"])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not self._to_read:
            self._remember(facts, digest)
        return digest

    def remember_sha256(self, path: Path, sha256: str) -> None:
        """Note the hash of the file at `path`, which has just been computed, so that `sha256` need not."""
        stat = path.stat()
        self._remember([str(path), stat.st_size, stat.st_mtime_ns], sha256)

    def _remember(self, facts: Sequence[Any], sha256: str) -> None:
        with self._writing() as connection:
            connection.execute("insert or replace into file_hashes values (?, ?, ?, ?)", [*facts, sha256])

    def artifact(self, sha256: str) -> Row | None:
        found = self.rows("select * from artifacts where sha256 = ?", [sha256])
        return found[0] if found else None

    def save_artifact(
        self, gguf: GgufFile, *, made_by: str, made_with: Mapping[str, Any], parent_sha256: str | None = None
    ) -> None:
        """Record a file by its content; a file already known keeps its history and only its path is renewed.

        One that was only found gets a history once it is known what makes it, unless others were made of it already.
        """
        row = {
            "sha256": gguf.sha256,
            "path": str(gguf.path),
            "size_bytes": gguf.size_bytes,
            "quant": gguf.quant,
            "bits_per_weight": gguf.bits_per_weight,
            "n_params": gguf.n_params,
            "architecture": gguf.architecture,
            "context_train": gguf.context_train,
            "source_repo": gguf.repo,
            "source_commit": gguf.commit,
            "parent_sha256": parent_sha256,
            "made_by": made_by,
            "made_with": json.dumps(made_with),
            "created": now(),
        }
        with self._writing() as connection:
            connection.execute(
                f"insert into artifacts ({', '.join(row)}) values ({', '.join(':' + name for name in row)})"
                " on conflict (sha256) do update set path = excluded.path",
                row,
            )
            if made_by != "found":
                connection.execute(
                    "update artifacts set (made_by, made_with, parent_sha256, source_repo, source_commit)"
                    " = (:made_by, :made_with, :parent_sha256, :source_repo, :source_commit)"
                    " where sha256 = :sha256 and made_by = 'found' and parent_sha256 is not :sha256"
                    " and not exists (select 1 from artifacts made where made.parent_sha256 = :sha256)",
                    row,
                )

    # How near files are to their references

    def save_fidelity(self, measurement: Mapping[str, Any]) -> None:
        """Add a row of `fidelity_measurements`, whose files are known. An earlier one of the same stays."""
        with self._writing() as connection:
            _insert(connection, "fidelity_measurements", {**measurement, "created": now()})

    def known_fidelity(self, same: Mapping[str, Any], n_chunks: int | None) -> Row | None:
        """The newest measurement whose columns are those of `same`, of `n_chunks` chunks (None: of the whole text).

        A whole text of fewer chunks is as many as there are.
        """
        alike = " and ".join(f"{name} = :{name}" for name in same)
        found = self.rows(
            f"select * from fidelity_measurements where {alike}"
            " and case when :wanted is null then is_whole_text"
            " else n_chunks = :wanted or (is_whole_text and n_chunks < :wanted) end order by id desc limit 1",
            {**same, "wanted": n_chunks},
        )
        return found[0] if found else None

    def fidelity(self, measurement_ids: Iterable[int]) -> dict[int, Row]:
        """Measurements by id, each with the type of its reference in `reference`."""
        found = self.rows(
            "select measured.*, reference.quant as reference from json_each(?) asked"
            " join fidelity_measurements measured on measured.id = asked.value"
            " join artifacts reference on reference.sha256 = measured.reference_sha256",
            [json.dumps(list(measurement_ids))],
        )
        return {row["id"]: row for row in found}

    # Runs

    def find_run(self, key: str) -> Row | None:
        """The newest run of this key, finished or not."""
        found = self.rows("select * from runs where key = ? order by id desc limit 1", [key])
        return found[0] if found else None

    def create_run(self, facts: Mapping[str, Any], contenders: Sequence[Mapping[str, Any]]) -> int:
        """Write a run and its contenders, all pending; return its id. `facts` and `contenders` are columns."""
        with self._writing() as connection:
            run = {**facts, "status": "running", "created": now()}
            run_id = _insert(connection, "runs", run)
            for position, contender in enumerate(contenders):
                _insert(connection, "contenders", {**contender, "run_id": run_id, "position": position})
        return run_id

    def save_documents(self, dataset_sha256: str, documents: Sequence[Document]) -> None:
        rows = [
            [
                dataset_sha256,
                document.id,
                document.company,
                document.period,
                document.tier,
                json.dumps(document.tags),
                json.dumps({field: None if gold is None else str(gold) for field, gold in document.gold.items()}),
                json.dumps({name: str(value) for name, value in document.traps.items()}),
            ]
            for document in documents
        ]
        with self._writing() as connection:
            connection.executemany("insert or ignore into documents values (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def save_excerpts(self, run_id: int, rows: Iterable[Row]) -> None:
        """Write what contenders of a run get to read: rows of `excerpts`, with its `text` instead of `text_sha256`.

        What is there already stays; only the text is added to rows of earlier versions, which stored none.
        """
        with self._writing() as connection:
            for row in rows:
                text = row["text"]
                sha256 = hashlib.sha256(text.encode()).hexdigest()
                _insert(connection, "texts", {"sha256": sha256, "text": text}, "insert or ignore")
                columns = {name: value for name, value in row.items() if name != "text"}
                _insert(
                    connection, "excerpts", {"run_id": run_id, **columns, "text_sha256": sha256}, "insert or ignore"
                )
                connection.execute(
                    "update excerpts set text_sha256 = ? where run_id = ? and document_id = ? and text_sha256 is null",
                    [sha256, run_id, row["document_id"]],
                )

    def excerpts(self, run_id: int) -> list[Row]:
        return self.rows("select * from excerpts where run_id = ?", [run_id])

    def excerpt_texts(self, run_id: int, document_ids: Iterable[str]) -> dict[str, str]:
        """Document id -> what the contenders of a run got to read of it, in the order asked for.

        A document that the run does not have is left out, and so is one whose text an earlier version did not store.
        """
        found = self.rows(
            """
            select asked.value as document_id, texts.text from json_each(?) asked
            join excerpts on excerpts.run_id = ? and excerpts.document_id = asked.value
            join texts on texts.sha256 = excerpts.text_sha256
            order by asked.key
            """,
            [json.dumps(list(document_ids)), run_id],
        )
        return {row["document_id"]: row["text"] for row in found}

    def set_run(self, run_id: int, **columns: Any) -> None:
        self._update("runs", run_id, columns)

    def contenders(self, run_id: int) -> list[Row]:
        return self.rows("select * from contenders where run_id = ? order by position", [run_id])

    def contender(self, contender_id: int) -> Row:
        return self.rows("select * from contenders where id = ?", [contender_id])[0]

    def interrupt(self, run_id: int) -> None:
        """Mark a run, and the contender it was at, as stopped."""
        with self._writing() as connection:
            connection.execute("update runs set status = 'interrupted' where id = ?", [run_id])
            connection.execute(
                "update contenders set status = 'interrupted' where run_id = ? and status = 'running'", [run_id]
            )

    def set_contender(self, contender_id: int, **columns: Any) -> None:
        self._update("contenders", contender_id, columns)

    def _update(self, table: str, row_id: int, columns: Mapping[str, Any]) -> None:
        assignments = ", ".join(f"{name} = :{name}" for name in columns)
        with self._writing() as connection:
            connection.execute(f"update {table} set {assignments} where id = :id", {**columns, "id": row_id})

    # Answers

    def answered(self, contender_id: int) -> set[str]:
        """Ids of the documents this contender has answered already."""
        found = self.rows("select document_id from answers where contender_id = ?", [contender_id])
        return {row["document_id"] for row in found}

    def answers(self, contender_id: int) -> list[Row]:
        return self.rows("select * from answers where contender_id = ?", [contender_id])

    def n_answers(self, contender_id: int) -> int:
        (found,) = self.rows("select count(*) as n from answers where contender_id = ?", [contender_id])
        return int(found["n"])

    def save_answer(self, contender_id: int, answer: Answer, score: Score) -> None:
        self.save_answers(contender_id, [(answer, score)])

    def save_answers(self, contender_id: int, scored: Iterable[tuple[Answer, Score]]) -> None:
        """Store all of them, or none. Raises StoreError for a document that this contender has answered before."""
        with self._writing() as connection:
            for answer, score in scored:
                _insert(connection, "answers", _answer_row(contender_id, answer, score))

    def known_answers(self, contender_id: int, prompts: Mapping[str, str]) -> list[Answer]:
        """What earlier contenders with the same files and settings answered to the same prompts of the same documents.

        `prompts` maps document ids to prompt_sha256. Documents this contender has answered are left out.
        """
        found = self.rows(
            """
            select a.* from contenders me
            join contenders earlier on earlier.file_sha256 = me.file_sha256
                and earlier.adapter_sha256 is me.adapter_sha256
                and earlier.settings_sha256 = me.settings_sha256 and earlier.id <> me.id
            join answers a on a.contender_id = earlier.id
            where me.id = ? and a.document_id not in (select document_id from answers where contender_id = me.id)
            order by earlier.id
            """,
            [contender_id],
        )
        same = (row for row in found if prompts.get(row["document_id"]) == row["prompt_sha256"])
        return list({row["document_id"]: _answer(row) for row in same}.values())

    def reuse_figures(self, contender_id: int) -> None:
        """Copy memory and load time from the contender whose answers were all reused: nothing was measured anew."""
        names = ", ".join(MEASURED_AT_LOAD)
        with self._writing() as connection:
            connection.execute(
                f"""
                update contenders as me set ({names}) = (
                    select {names} from contenders earlier
                    where earlier.file_sha256 = me.file_sha256 and earlier.adapter_sha256 is me.adapter_sha256
                        and earlier.settings_sha256 = me.settings_sha256
                        and earlier.id <> me.id and earlier.load_seconds is not null
                    order by earlier.id desc limit 1
                ) where me.id = ? and me.load_seconds is null
                """,
                [contender_id],
            )

    def rescore(
        self,
        run_id: int,
        scorer_version: str,
        answers: Mapping[tuple[int, str], Row],
        figures: Mapping[int, Row],
    ) -> None:
        """Write what another scorer makes of a run, all of it or nothing.

        `answers` maps (contender id, document id) to columns of `answers`, `figures` contender ids to columns of
        `contenders`.
        """
        with self._writing() as connection:
            for (contender_id, document_id), columns in answers.items():
                assignments = ", ".join(f"{name} = ?" for name in columns)
                connection.execute(
                    f"update answers set {assignments} where contender_id = ? and document_id = ?",
                    [*columns.values(), contender_id, document_id],
                )
            for contender_id, columns in figures.items():
                assignments = ", ".join(f"{name} = ?" for name in columns)
                connection.execute(
                    f"update contenders set {assignments} where id = ?", [*columns.values(), contender_id]
                )
            connection.execute("update runs set scorer_version = ? where id = ?", [scorer_version, run_id])

    def run(self, run_id: int) -> Row:
        """The row of a run, its JSON columns read. Raises StoreError when there is no such run."""
        found = self.rows("select * from runs where id = ?", [run_id])
        if not found:
            raise StoreError(f"there is no run {run_id} in {self.path}", hint="`gguf-bench results list` shows them")
        return self._read_run(found[0])

    def newest_run(self) -> int | None:
        """The id of the newest run; None where there is none."""
        (found,) = self.rows("select max(id) as id from runs")
        return None if found["id"] is None else int(found["id"])

    def runs(self) -> list[Row]:
        """Every run with how many contenders were asked for, the best of them, and how many failed, newest first."""
        found = self.rows(
            """
            select runs.*, count(contenders.id) filter (where contenders.asked) as n_contenders,
                   count(contenders.id) filter (where contenders.status = 'failed') as n_failed,
                   max(contenders.eps_score) filter (where contenders.asked) as best_eps_score
            from runs left join contenders on contenders.run_id = runs.id
            group by runs.id order by runs.id desc
            """
        )
        return [self._read_run(row) for row in found]

    def delete_runs(self, run_ids: Iterable[int]) -> None:
        """Delete runs with their contenders, answers and excerpts, and the texts that no other run shows: all, or none.

        What is known of files and of documents stays. Raises StoreError where there is no such run, or where one is
        being computed.
        """
        runs = [self.run(run_id) for run_id in dict.fromkeys(run_ids)]
        with ExitStack() as locks:
            for key, run in {run["key"]: run for run in runs}.items():
                locks.enter_context(self.run_lock(key, f"run {run['id']}", "delete it when it is through"))
            ids = json.dumps([run["id"] for run in runs])
            with self._writing() as connection:
                shown = connection.execute(
                    "select distinct text_sha256 from excerpts where run_id in (select value from json_each(?))", [ids]
                ).fetchall()
                connection.execute("delete from runs where id in (select value from json_each(?))", [ids])
                connection.executemany(
                    "delete from texts where sha256 = ? and sha256 not in"
                    " (select text_sha256 from excerpts where text_sha256 = texts.sha256)",
                    shown,
                )

    def each_answer(self, run_id: int) -> Iterator[Row]:
        """Every answer of a run beside who gave it and what the document's labels say, one after the other.

        By the leaderboard's order, and by document within; gold figures are texts as printed. They are read as they are
        asked for, so that a run of any size takes little memory.
        """
        for contender in self.leaderboard(run_id):
            with explained(self.path):
                for row in self._connection.execute(EACH_ANSWER, [contender["contender_id"]]):
                    yield {**contender, **dict(row)}

    def _read_run(self, row: Row) -> Row:
        """A run that no process is computing any more was interrupted, whatever a killed one could not write."""
        parsed = {name: json.loads(row[name]) for name in ("settings", "machine", "versions")}
        stopped = row["status"] == "running" and self._was_killed(row["id"], row["key"])
        return row | parsed | ({"status": "interrupted"} if stopped else {})

    def _was_killed(self, run_id: int, key: str) -> bool:
        """Whether nobody computes a run that says it is running, nor came to its end since we opened the store."""
        if self._is_locked(key):
            return False
        with explained(self.path), closing(opened_to_read(self.path)) as now_in_it:
            found = now_in_it.execute("select status from runs where id = ?", [run_id]).fetchone()
        return bool(found == ("running",))

    def scores(self, contender_id: int) -> dict[str, float]:
        """Document id -> score of one contender."""
        found = self.rows("select document_id, score from answers where contender_id = ?", [contender_id])
        return {row["document_id"]: row["score"] for row in found}

    def companies(self, run_id: int) -> dict[str, str]:
        """Document id -> company, over the dataset of a run."""
        found = self.rows(
            "select document_id, company from documents where dataset_sha256 ="
            " (select dataset_sha256 from runs where id = ?)",
            [run_id],
        )
        return {row["document_id"]: row["company"] for row in found}

    def documents(self, run_id: int) -> dict[str, Document]:
        """Document id -> document with its labels and without its text, over the dataset of a run."""
        found = self.rows(
            "select * from documents where dataset_sha256 = (select dataset_sha256 from runs where id = ?)", [run_id]
        )
        return {row["document_id"]: _document(row) for row in found}

    def tiers(self, run_id: int) -> dict[str, str]:
        """Document id -> tier, over the dataset of a run, in the order the documents were first seen in."""
        found = self.rows(
            "select document_id, tier from documents where dataset_sha256 ="
            " (select dataset_sha256 from runs where id = ?) order by rowid",
            [run_id],
        )
        return {row["document_id"]: row["tier"] for row in found}

    def leaderboard(self, run_id: int) -> list[Row]:
        """The rows of `eps_scores` of one run, best first, of equals the smaller file, failed contenders last."""
        order = "eps_score is null, eps_score desc, size_bytes, model, quant"
        return self.rows(f"select * from eps_scores where run_id = ? order by {order}", [run_id])

    @contextmanager
    def run_lock(
        self,
        key: str,
        what: str = "this very comparison",
        way_out: str = "wait for it, or give this one another --name",
    ) -> Iterator[None]:
        """Held while a comparison is computed or deleted: nobody else computes it meanwhile, or deletes it.

        The lock is the operating system's and goes with its holder, however that ends. Raises StoreError, naming `what`
        and the `way_out`, where another holds it.
        """
        with ExitStack() as stack:
            with explained(self.path):
                file = stack.enter_context(self._lock_path.open("ab"))
            try:
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, _byte_of(key))
            except (BlockingIOError, PermissionError) as error:
                if _holder(file, _byte_of(key)) == "every run":
                    raise StoreError("files of the store are being freed", hint="try again in a minute") from error
                raise StoreError(f"{what} is being computed by another process", hint=way_out) from error
            yield

    @contextmanager
    def files_in_use(self) -> Iterator[None]:
        """Held while files are made, read or run, by any number at once: nobody frees files meanwhile.

        Raises StoreError where files are being freed.
        """
        with self.run_lock(uuid.uuid4().hex):  # as the lock of a run of its own
            yield

    def is_computing(self) -> bool:
        """Whether anybody holds the lock of a run, or `files_in_use`: a comparison holds its lock while its files are
        made, before its row is there."""
        return self._holder_of(EVERY_RUN) == "a run"

    @contextmanager
    def no_run_lock(self) -> Iterator[None]:
        """Held while files are freed: nobody begins a comparison meanwhile, or makes or runs files.

        Raises StoreError where one is being prepared, computed or deleted, or files are in use, or being freed by
        another.
        """
        with ExitStack() as stack:
            with explained(self.path):
                file = stack.enter_context(self._lock_path.open("ab"))
            try:
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, EVERY_RUN)
            except (BlockingIOError, PermissionError) as error:
                raise StoreError(FILES_IN_USE, hint=WHEN_THROUGH) from error
            yield

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(f".{self.path.name}.lock")

    def _is_locked(self, key: str) -> bool:
        """Whether somebody holds the lock, without taking it: that would keep away who wants it at this moment."""
        return self._holder_of(_byte_of(key)) == "a run"

    def _holder_of(self, lock: bytes) -> Holder:
        if not self._lock_path.exists():
            return "nobody"
        with explained(self.path), self._lock_path.open("rb") as file:
            return _holder(file, lock)


FLOCK = "hhqqi0q"
"""The system's struct flock: l_type, l_whence, l_start, l_len, l_pid."""

EVERY_RUN = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
"""The lock on every byte of a file, however long."""

FILES_IN_USE = "another command makes or runs files, or deletes a comparison"
WHEN_THROUGH = "free what is left when it is through"

Holder: TypeAlias = Literal["nobody", "a run", "every run"]


def _holder(file: IO[bytes], lock: bytes) -> Holder:
    """What keeps `lock` from being taken: the lock of one run, or that of all of them (whose l_len is 0)."""
    kind, _, _, length, _ = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_OFD_GETLK, lock))
    if kind == fcntl.F_UNLCK:
        return "nobody"
    return "a run" if length else "every run"


def _byte_of(key: str) -> bytes:
    """The lock on the one byte of a file that stands for `key`; it belongs to the open file (fcntl(2), OFD)."""
    return struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, int(key[:12], 16), 1, 0)


def joint_sha256(hashes: Sequence[str]) -> str:
    """By which a file is known whose parts have these hashes; of one part it is its own."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def settings_sha256(settings: Settings) -> str:
    """What has to be equal for two answers to be the same experiment, as one hash."""
    return hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode()).hexdigest()


def _answer_row(contender_id: int, answer: Answer, score: Score) -> Row:
    return {
        "contender_id": contender_id,
        "document_id": answer.document_id,
        "prompt_sha256": answer.prompt_sha256,
        "output": answer.output,
        **score.columns,
        "prompt_tokens": answer.prompt_tokens,
        "decoded_prompt_tokens": answer.decoded_prompt_tokens,
        "generated_tokens": answer.generated_tokens,
        "sampled_tokens": answer.sampled_tokens,
        "prompt_seconds": answer.prompt_seconds,
        "generation_seconds": answer.generation_seconds,
        "seconds": answer.prompt_seconds + answer.generation_seconds,
    }


def _document(row: Row) -> Document:
    gold, traps = json.loads(row["gold"]), json.loads(row["traps"])
    return Document(
        id=row["document_id"],
        company=row["company"],
        period=row["period"],
        text="",
        gold={field: None if figure is None else Decimal(figure) for field, figure in gold.items()},
        traps={name: Decimal(figure) for name, figure in traps.items()},
        tags=tuple(json.loads(row["tags"])),
        tier=row["tier"],
    )


def _answer(row: Row) -> Answer:
    """The raw answer of a stored row, to be scored again."""
    names = [field.name for field in dataclasses.fields(Answer) if field.name != "status"]
    status: Literal["answered", "over_context"] = "over_context" if row["status"] == "over_context" else "answered"
    return Answer(status=status, **{name: row[name] for name in names})


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any], insert: str = "insert") -> int:
    columns, places = ", ".join(row), ", ".join(f":{name}" for name in row)
    return connection.execute(f"{insert} into {table} ({columns}) values ({places})", row).lastrowid or 0
