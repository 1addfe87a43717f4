"""Kill a comparison with SIGKILL at random moments, its parent and its child, and show that nothing is lost or doubled.

    python scripts/kill_9.py [N] [SEED]

N (10) comparisons of SmolLM2 at two quantizations have their parent killed at a random moment, N their child; each is
then run again. Its store must be sound, every document answered once, and every figure equal to an uninterrupted run's;
no partial file may stay, no process live on. Prints one line a kill; exits with 1 if anything differs.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEFAULTS = ("10", "1")
ASKED = ["smollm2_135m", "-q", "Q8_0", "-q", "Q2_K", "--limit", "4", "--excerpt", "400", "--json"]
FIGURES = """
    select c.model, c.quant, c.status, c.eps_score, c.eps_score_low, c.eps_score_high, c.exact_match, c.missed,
           c.hallucinated, c.n_documents, a.document_id, a.output, a.score, a.prompt_sha256
    from contenders c join answers a on a.contender_id = c.id order by c.position, a.document_id
"""


class Trial:
    """One store and one cache of files, and the same comparison in them again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.database = folder, folder / "results.db"
        self.environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "gguf_bench", "--db", str(self.database), "compare", *ASKED]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder
        )

    def finish(self) -> None:
        process = self.start()
        _, errors = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"the rerun ended with {process.returncode}: {errors}")

    def figures(self) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.database) as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
            assert connection.execute("pragma foreign_key_check").fetchall() == []
            return connection.execute(FIGURES).fetchall()

    def leftovers(self) -> list[Path]:
        return list(self.folder.rglob("*.partial"))


def children(pid: int) -> list[int]:
    """The worker processes of `pid`."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [int(child) for child in found]


def kill(trial: Trial, whom: str, after_seconds: float) -> str:
    """Start the comparison, kill its parent or its child once, wait until both are gone; what happened, in words."""
    process = trial.start()
    time.sleep(after_seconds)
    while whom == "child" and process.poll() is None and not children(process.pid):
        time.sleep(0.005)
    workers = children(process.pid)
    if process.poll() is not None:
        process.communicate()
        return "it was through before"
    target = process.pid if whom == "parent" else workers[0]
    os.kill(target, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.01)
    if alive := [worker for worker in workers if Path(f"/proc/{worker}/cmdline").exists()]:
        raise SystemExit(f"the child {alive} outlived its parent")
    return f"exit {process.returncode}"


def moments(n: int, seed: int, longest: float) -> Iterator[tuple[str, float]]:
    rng = random.Random(seed)
    for whom in ("parent", "child"):
        for _ in range(n):
            yield whom, rng.uniform(0.3, 0.75 * longest)  # so that a faster run is not through before


def main() -> None:
    n, seed = (int(argument) for argument in [*sys.argv[1:], *DEFAULTS[len(sys.argv) - 1 :]])
    n_different = 0
    with tempfile.TemporaryDirectory() as folder:
        whole = Trial(Path(folder) / "whole")
        whole.folder.mkdir()
        started = time.monotonic()
        whole.finish()
        longest = time.monotonic() - started
        expected = whole.figures()
        print(f"an uninterrupted run: {longest:.1f} s, {len(expected)} answers")
        for number, (whom, after_seconds) in enumerate(moments(n, seed, longest)):
            trial = Trial(Path(folder) / str(number))
            trial.folder.mkdir()
            happened = kill(trial, whom, after_seconds)
            n_stored = len(trial.figures()) if trial.database.exists() and has_answers(trial.database) else 0
            trial.finish()
            same = trial.figures() == expected and not trial.leftovers()
            n_different += not same
            verdict = "equal" if same else "DIFFERENT"
            moment = f"{whom:6} killed after {after_seconds:5.1f} s ({happened}), {n_stored} answers stored"
            print(f"{moment}; rerun: {verdict}", flush=True)
    print(json.dumps({"kills": 2 * n, "different": n_different}))
    raise SystemExit(n_different > 0)


def has_answers(database: Path) -> bool:
    with sqlite3.connect(database) as connection:
        return bool(connection.execute("select count(*) from sqlite_master where name = 'answers'").fetchone()[0])


if __name__ == "__main__":
    main()
