"""The results store: one SQLite file that holds every run, contender, answer and file, and what made them.

One process writes (the parent of a comparison), any number read. Every method is one transaction, so a process killed
at any moment leaves nothing half-written. The schema is in `migrations`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from gguf_bench.errors import StoreError
from gguf_bench.migrations import migrations
from gguf_bench.records import FIELDS, Answer, Document, GgufFile, Score, Settings
from gguf_bench.sqlite_errors import BUSY_SECONDS, explained

Row = dict[str, Any]

MEASURED_AT_LOAD = (
    "n_ctx",
    "gpu_layers",
    "load_seconds",
    "peak_rss_bytes",
    "peak_vram_bytes",
)
HASH_BLOCK_BYTES = 1 << 22


def now() -> str:
    """The time as stored: UTC, ISO 8601, seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Store:
    """The store at `path`, made or migrated when opened. Raises StoreError, saying what to do, when it cannot be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = Database(sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False))
            self._db.conn.row_factory = sqlite3.Row
            self._db.execute("pragma foreign_keys = on")
            self._db.execute("pragma synchronous = normal")
            self._migrate()

    def _migrate(self) -> None:
        known = {migration.name for migration in migrations._migrations}
        applied = {migration.name for migration in migrations.applied(self._db)}
        if newer := applied - known:
            raise StoreError(
                f"{self.path} was written by a newer gguf-bench (it has {', '.join(sorted(newer))})",
                hint="upgrade gguf-bench, or choose another store with --db",
            )
        if known == applied:
            return
        self._db.execute("pragma journal_mode = wal")
        with self._writing():  # holds off a second process that opens the store for the first time, too
            migrations.apply(self._db)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One write transaction, taking the lock at once, so that it waits its turn instead of failing half-way."""
        with explained(self.path):
            self._db.execute("begin immediate")
            try:
                yield self._db.conn
            except BaseException:
                self._db.rollback()
                raise
            self._db.commit()

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[Row]:
        with explained(self.path):
            return [dict(row) for row in self._db.conn.execute(sql, parameters)]

    def close(self) -> None:
        self._db.close()

    # Commits of Hub repos

    def locked_commit(self, repo: str, revision: str | None) -> str | None:
        """The commit that `repo` at `revision` (None: its default branch) was pulled at the first time."""
        found = self.rows("select commit_sha from locks where repo = ? and revision = ?", [repo, revision or ""])
        return str(found[0]["commit_sha"]) if found else None

    def lock_commit(self, repo: str, revision: str | None, commit: str) -> None:
        with self._writing() as connection:
            connection.execute("insert or ignore into locks values (?, ?, ?, ?)", [repo, revision or "", commit, now()])

    # Files

    def sha256(self, paths: Sequence[Path]) -> str:
        """The sha256 of the files' bytes, one after the other; remembered until a file's size or time changes."""
        hashes = [self._sha256_of_one(path) for path in paths]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    def _sha256_of_one(self, path: Path) -> str:
        stat = path.stat()
        facts = [str(path), stat.st_size, stat.st_mtime_ns]
        known = self.rows("select sha256 from file_hashes where path = ? and size_bytes = ? and mtime_ns = ?", facts)
        if known:
            return str(known[0]["sha256"])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with self._writing() as connection:
            connection.execute("insert or replace into file_hashes values (?, ?, ?, ?)", [*facts, digest])
        return digest

    def artifact(self, sha256: str) -> Row | None:
        found = self.rows("select * from artifacts where sha256 = ?", [sha256])
        return found[0] if found else None

    def save_artifact(
        self, gguf: GgufFile, *, made_by: str, made_with: Mapping[str, Any], parent_sha256: str | None = None
    ) -> None:
        """Record a file by its content; a file already known keeps its history and only its path is renewed."""
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
                position,
                document.company,
                document.period,
                document.tier,
                json.dumps(document.tags),
                json.dumps({field: None if gold is None else str(gold) for field, gold in document.gold.items()}),
                json.dumps({name: str(value) for name, value in document.traps.items()}),
            ]
            for position, document in enumerate(documents)
        ]
        with self._writing() as connection:
            connection.executemany("insert or ignore into documents values (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def set_run(self, run_id: int, **columns: Any) -> None:
        self._update("runs", run_id, columns)

    def contenders(self, run_id: int) -> list[Row]:
        return self.rows("select * from contenders where run_id = ? order by position", [run_id])

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

    def save_answer(self, contender_id: int, answer: Answer, score: Score) -> None:
        values = score.values or dict.fromkeys(FIELDS)
        row = {
            "contender_id": contender_id,
            "document_id": answer.document_id,
            "status": score.status,
            "prompt_sha256": answer.prompt_sha256,
            "output": answer.output,
            **{field: None if (value := values[field]) is None else float(value) for field in FIELDS},
            **{f"kind_{field}": score.kinds[field] for field in FIELDS},
            "score": score.value,
            "prompt_tokens": answer.prompt_tokens,
            "decoded_prompt_tokens": answer.decoded_prompt_tokens,
            "generated_tokens": answer.generated_tokens,
            "prompt_seconds": answer.prompt_seconds,
            "generation_seconds": answer.generation_seconds,
            "seconds": answer.prompt_seconds + answer.generation_seconds,
        }
        with self._writing() as connection:
            _insert(connection, "answers", row)

    def reuse_answers(self, contender_id: int, prompts: Mapping[str, str]) -> int:
        """Copy answers that an earlier contender with the same file and settings gave to the same prompts.

        `prompts` maps document ids to prompt_sha256. Scores are copied too where the run's scorer is the same one.
        Returns how many were copied.
        """
        with self._writing() as connection:
            connection.execute(
                "create temp table if not exists wanted (document_id text primary key, prompt_sha256 text)"
            )
            connection.execute("delete from wanted")
            connection.executemany("insert into wanted values (?, ?)", list(prompts.items()))
            return connection.execute(
                """
                insert or ignore into answers
                select me.id, a.document_id, a.status, a.prompt_sha256, a.output, a.basic, a.diluted, a.adjusted,
                       a.kind_basic, a.kind_diluted, a.kind_adjusted, a.score, a.prompt_tokens,
                       a.decoded_prompt_tokens, a.generated_tokens, a.prompt_seconds, a.generation_seconds, a.seconds
                from contenders me
                join runs my_run on my_run.id = me.run_id
                join contenders earlier on earlier.file_sha256 = me.file_sha256
                    and earlier.settings_sha256 = me.settings_sha256 and earlier.id <> me.id
                join runs its_run on its_run.id = earlier.run_id
                    and its_run.dataset_sha256 = my_run.dataset_sha256
                    and its_run.scorer_version = my_run.scorer_version
                join answers a on a.contender_id = earlier.id
                join wanted on wanted.document_id = a.document_id and wanted.prompt_sha256 = a.prompt_sha256
                where me.id = ? and a.status <> 'over_context'  -- what fits is the contender's own setting
                """,
                [contender_id],
            ).rowcount

    def reuse_figures(self, contender_id: int) -> None:
        """Copy memory and load time from the contender whose answers were all reused: nothing was measured anew."""
        names = ", ".join(MEASURED_AT_LOAD)
        with self._writing() as connection:
            connection.execute(
                f"""
                update contenders as me set ({names}) = (
                    select {names} from contenders earlier
                    where earlier.file_sha256 = me.file_sha256 and earlier.settings_sha256 = me.settings_sha256
                        and earlier.id <> me.id and earlier.load_seconds is not null
                    order by earlier.id desc limit 1
                ) where me.id = ? and me.load_seconds is null
                """,
                [contender_id],
            )

    def run(self, run_id: int) -> Row:
        found = self.rows("select * from runs where id = ?", [run_id])
        if not found:
            raise StoreError(f"there is no run {run_id} in {self.path}", hint="`gguf-bench results list` shows them")
        return found[0]

    def runs(self) -> list[Row]:
        """Every run with how many contenders it has and how many failed, newest first."""
        return self.rows(
            """
            select runs.*, count(contenders.id) as n_contenders, total(contenders.status = 'failed') as n_failed,
                   max(contenders.eps_score) as best_eps_score
            from runs left join contenders on contenders.run_id = runs.id
            group by runs.id order by runs.id desc
            """
        )

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

    def leaderboard(self, run_id: int) -> list[Row]:
        """The rows of `eps_scores` of one run, best first, of equals the smaller file, failed contenders last."""
        order = "eps_score is null, eps_score desc, size_bytes, model, quant"
        return self.rows(f"select * from eps_scores where run_id = ? order by {order}", [run_id])

    @contextmanager
    def run_lock(self, key: str) -> Iterator[None]:
        """Held while a comparison is computed: a second one like it is refused instead of computing it twice.

        The lock is the operating system's and goes with the process; no file needs cleaning up.
        """
        file = self.path.with_name(f".{self.path.name}.lock")
        with explained(self.path), file.open("a") as held:
            offset = int(key[:12], 16)  # one byte of the file a key, so that other comparisons go on beside this one
            try:
                fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
            except OSError as error:
                raise StoreError(
                    "this very comparison is being computed by another process",
                    hint="wait for it, or give this one another --name",
                ) from error
            yield


def settings_sha256(settings: Settings) -> str:
    """What has to be equal for two answers to be the same experiment, as one hash."""
    return hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode()).hexdigest()


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> int:
    columns, places = ", ".join(row), ", ".join(f":{name}" for name in row)
    return connection.execute(f"insert into {table} ({columns}) values ({places})", row).lastrowid or 0
