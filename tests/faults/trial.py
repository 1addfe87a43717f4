"""One command run as a user runs it, in folders of its own, and all that can be seen of it from outside."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests import processes

LOST_AFTER_SECONDS = 400
HOMES = ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME", "HOME", "TMPDIR")
NO_CONTENT = {"db", "json", "html"}
"""Suffixes of files that hold times: only that they are there can be compared."""

FIGURES = (
    "select status, name, n_documents from runs order by id",
    "select run_id, position, model, quant, status, file_sha256, eps_score, eps_score_low, eps_score_high, exact_match,"
    " missed, hallucinated, unparseable, over_context, n_documents, gpu_layers, n_ctx, error from contenders"
    " order by run_id, position",
    "select c.run_id, c.position, a.document_id, a.status, a.output, a.score, a.prompt_sha256, a.prompt_tokens,"
    " a.generated_tokens from contenders c join answers a on a.contender_id = c.id order by 1, 2, 3",
    "select sha256, quant, size_bytes, architecture, source_repo, source_commit, made_by, parent_sha256 from artifacts"
    " order by 1",
    "select repo, revision, commit_sha from locks order by 1, 2",
)
"""All of a store that does not hang on the time of day, the machine's speed or the folder."""


@dataclass
class Trial:
    """One command with folders and a store of its own. `cache` spares it what other trials measured before.

    `before` is Python that runs before the command, `prefix` what the command line begins with, `environment` all of
    it but for the folders.
    """

    folder: Path
    arguments: Sequence[object]
    before: str = ""
    prefix: Sequence[str] = ()
    cache: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.database = self.folder / "results.db"

    def start(self, **how: Any) -> Trial:
        """`how` is for Popen."""
        script = [*self.before.splitlines(), "from gguf_bench.cli import main", "main()"]
        program = ["-c", "\n".join(script)] if self.before else ["-m", "gguf_bench"]
        command = [*self.prefix, sys.executable, *program, "--db", self.database, *self.arguments]
        homes = {home: self.folder / home.lower() for home in HOMES}
        homes["TMPDIR"].mkdir(exist_ok=True)
        if self.cache is not None:
            homes["XDG_CACHE_HOME"] = self.cache
        names = {name: str(home) for name, home in homes.items()}
        self.process = subprocess.Popen(
            [str(part) for part in command],
            env={**self.environment, **names},
            cwd=self.folder,
            stdout=how.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=processes.with_default_signals,
            **how,
        )
        return self

    def finish(self) -> Trial:
        self.stdout, self.stderr = self.process.communicate(timeout=600)
        return self

    def run(self) -> Trial:
        return self.start().finish()

    def again(self) -> Trial:
        """The same command, with nothing done to it."""
        return replace(self, before="", prefix=())

    @property
    def code(self) -> int:
        return int(self.process.returncode)

    # --- what can be seen ---

    def asked(self, sql: str) -> list[tuple[Any, ...]]:
        """Nothing where the store, or the table, is not there yet."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(self.database, timeout=30)) as connection:
            try:
                return connection.execute(sql).fetchall()
            except sqlite3.OperationalError:
                return []

    def contenders(self) -> list[dict[str, Any]]:
        """The store's rows of what was asked for, with `n_answers` each; none where there is no store yet."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(self.database, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            try:
                rows = connection.execute(
                    "select c.*, r.settings, (select count(*) from answers a where a.contender_id = c.id) as n_answers"
                    " from contenders c join runs r on r.id = c.run_id"
                    " where c.asked and r.id = (select max(id) from runs) order by c.position"
                ).fetchall()
            except sqlite3.OperationalError:  # no tables yet
                return []
        return [dict(row) for row in rows]

    def workers(self) -> list[int]:
        return processes.workers(self.process.pid)

    def wait_for(self, moment: Callable[[Trial], object]) -> Any:
        """What `moment` comes to, once it is true."""
        deadline = time.monotonic() + LOST_AFTER_SECONDS
        while time.monotonic() < deadline:
            if found := moment(self):
                return found
            if self.process.poll() is not None:
                raise RuntimeError(f"it was through before the moment came: {self.finish().stderr}")
            time.sleep(0.005)
        self.process.kill()
        raise RuntimeError("the moment did not come")

    def partials(self) -> list[str]:
        """What is there under a name that no finished work has, temporary folders included."""
        found = [
            path
            for pattern in ("*.partial", "*.incomplete", "*.tmp", "xdg_cache_home/tmp*")
            for path in self.folder.rglob(pattern)
        ]
        found += (self.folder / "tmpdir").iterdir()
        return sorted(path.relative_to(self.folder).as_posix() for path in found)

    def settings(self) -> dict[str, Any]:
        """Of the newest run."""
        rows = self.asked("select settings from runs order by id desc limit 1")
        return dict(json.loads(rows[0][0])) if rows else {}

    def figures(self) -> list[Any]:
        return [self.asked(sql) for sql in FIGURES]

    def files(self) -> dict[str, str]:
        """Every file there is -> the hash of what it holds, where that can be compared."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_dir() and not path.is_symlink() and not name.startswith("tmpdir/"):
                continue
            has_content = path.is_file() and path.suffix.lstrip(".") not in NO_CONTENT and ".before-" not in name
            found[name] = _hash_of(path) if has_content else ""
        return found

    # --- complaints ---

    def unsound(self) -> list[str]:
        """What is wrong with the store, and with what is left of processes."""
        found = [
            f"{check}: {rows}"
            for check, good in (("pragma integrity_check", [("ok",)]), ("pragma foreign_key_check", []))
            if self.database.exists() and (rows := self.asked(check)) != good
        ]
        marker = f"TMPDIR={self.folder / 'tmpdir'}"
        if not processes.comes_true(lambda: not processes.with_environment(marker), 10):
            found.append(f"processes live on: {processes.with_environment(marker)}")
        return found

    def message(self, *says: str, code: int = 1) -> list[str]:
        """What is wrong with how it ended, where that is to be a known failure of one line that `says` so."""
        errors = self.error_lines()
        found = [] if self.code == code else [f"exit {self.code} for {code}: {self.stderr[-600:]}"]
        if code == 1 and (len(errors) != 1 or self.stderr.splitlines()[-1:] != errors):
            found.append(f"no single line of error at the end: {self.stderr[-600:]!r}")
        if "Traceback" in self.stderr:
            found.append(f"a traceback: {self.stderr[-600:]}")
        found += [f"nothing of {part!r} in {self.stderr[-600:]!r}" for part in says if part not in self.stderr]
        return found

    def error_lines(self) -> list[str]:
        return [line for line in self.stderr.splitlines() if line.startswith("Error: ")]

    def said(self) -> str:
        """The last line on standard error, without what is different each time."""
        return plain(self.stderr.splitlines()[-1]) if self.stderr.strip() else ""

    def unlike(self, whole: Trial, may_lack: str = "\0") -> list[str]:
        """How what is there now differs from what an uninterrupted run left; files with `may_lack` in them aside."""
        found = self.unsound()
        mine, others = self.files(), whole.files()
        for word, names in (
            ("left over", mine.keys() - others.keys()),
            ("missing", {name for name in others.keys() - mine.keys() if may_lack not in name}),
            ("of other bytes", {name for name in mine.keys() & others.keys() if mine[name] != others[name]}),
        ):
            if names:
                found.append(f"{word}: {', '.join(sorted(names)[:4])}{' …' if len(names) > 4 else ''}")
        for sql, own, its in zip(FIGURES, self.figures(), whole.figures(), strict=True):
            if own != its:
                table = re.search(r"from (\w+)", sql)
                pair = next((pair for pair in zip(own, its, strict=False) if pair[0] != pair[1]), (len(own), len(its)))
                found.append(f"{table[1] if table else ''} differ: {pair}")
        return found


def plain(line: str) -> str:
    """`line` without folders and ports, which differ each time."""
    line = re.sub(r"(?<![:/\w.])/(?:[^\s:;,'\"/]+/)+", "…/", line.removeprefix("Error: "))
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", line)


_hashes: dict[tuple[int, int, int], str] = {}


def _hash_of(path: Path) -> str:
    """By inode, size and time, since trials share much by hard links."""
    status = path.stat()
    key = status.st_ino, status.st_size, status.st_mtime_ns
    if key not in _hashes:
        with path.open("rb") as file:
            _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _hashes[key]
