"""Make a store of a million answers, and time the commands that look at it.

    python -m benchmarks.store [--store FILE] [--repeats N]

The store has 280 runs of three to eight contenders over 300 to 1,000 documents each, and one of 20 contenders over
1,000 documents, about a million answers in all, with their excerpts. Each command is a process of its own, N (5) times,
after one that is not counted. Of the medians, the processor's seconds (of all threads) tell more on a machine that does
other things as well; beside them stands the ratio to the floor, `query --list`, which opens no store: Python, its
imports and a table.
`results show` prints what `compare` prints of a run that is finished, and computes it the same way. FILE is used again
where it is there already. Prints Markdown; exits with 1 where a command takes 2 s or more by the clock.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

from gguf_bench.compare import summarise
from gguf_bench.store import Store

SEED = 6
TARGET_SECONDS = 2.0
RUNS, MOST_DOCUMENTS, LARGE_CONTENDERS = 280, 1000, 20
CHARACTERS = 24
"""Contenders that answer differently; those of a run all do."""
DATASETS = 4
EXCERPT_CHARS = 2000
QUANTS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K", "IQ4_XS")
TIERS = ("plain", "ordinary", "hard")
KINDS = ("missed", "hallucinated", "sign", "scale", "prior_period", "basic_diluted_swap", "other")
RUN = {
    **dict.fromkeys(("description", "task_version", "prompt_version"), "1"),
    "task": "eps_extraction",
    "scorer_version": "2",
    "excerpt_version": "2",
    "excerpt_chars": EXCERPT_CHARS,
    "fresh": 0,
    "settings": json.dumps({"n_parallel": 8, "flash_attention": True, "kv_type": "f16", "n_ubatch": 256}),
    "machine": json.dumps({"cpu": "a CPU", "gpus": [], "os": "Linux"}),
    "versions": json.dumps({"gguf_bench": "0.1.0", "llama_cpp": "0.3.36", "python": "3.11"}),
}


def make(path: Path) -> int:
    """Write the store; returns how many answers it has."""
    rng = random.Random(SEED)
    Store(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma synchronous = off")
        with connection:
            for dataset in range(DATASETS):
                connection.executemany(
                    "insert into documents values (?, ?, ?, 'Q2 2024', ?, '[]', ?, '{}')", _documents(dataset)
                )
                connection.executemany("insert into texts values (?, ?)", _texts(dataset))
            for model in range(6):
                for number, quant in enumerate(QUANTS):
                    connection.execute(
                        ARTIFACT,
                        [f"{model} {quant}", (8 - number) * (model + 1) * 10**8, quant, 8.5 - number],
                    )
        for number in range(RUNS):
            _run(connection, rng, number, rng.randint(3, 8), rng.choice(range(300, MOST_DOCUMENTS + 1, 100)))
        _run(connection, rng, RUNS, LARGE_CONTENDERS, MOST_DOCUMENTS)
        (n_answers,) = connection.execute("select count(*) from answers").fetchone()
    return int(n_answers)


def _documents(dataset: int) -> Iterator[tuple[Any, ...]]:
    gold = json.dumps({"basic": "1.50", "diluted": "1.40", "adjusted": None})
    for number in range(MOST_DOCUMENTS):
        yield f"dataset {dataset}", f"d{number:06}", f"Quellmark {number // 2} Inc.", TIERS[number % 3], gold


def _texts(dataset: int) -> Iterator[tuple[str, str]]:
    for number in range(MOST_DOCUMENTS):
        yield f"text {dataset} {number}", f"Quellmark {number // 2} Inc. reports. ".ljust(EXCERPT_CHARS, "x")


def _run(connection: sqlite3.Connection, rng: random.Random, number: int, n_contenders: int, n_documents: int) -> None:
    dataset = number % DATASETS
    facts = RUN | {
        "key": f"{number:064x}",
        "name": f"trial {number}",
        "status": "finished",
        "created": f"2026-{1 + number // 28 % 12:02}-{1 + number % 28:02}T00:00:00+00:00",
        "dataset": f"releases-{dataset}",
        "dataset_sha256": f"dataset {dataset}",
        "n_documents": n_documents,
    }
    with connection:
        run_id = _insert(connection, "runs", facts)
        connection.executemany(
            "insert into excerpts values (?, ?, 20000, ?, 2, 2, null, ?)",
            ((run_id, f"d{each:06}", EXCERPT_CHARS, f"text {dataset} {each}") for each in range(n_documents)),
        )
        for position in range(n_contenders):
            model, quant = position % 6, QUANTS[(position // 6 + number) % len(QUANTS)]
            contender = {
                "run_id": run_id,
                "position": position,
                "model": f"model_{model}b",
                "display_name": f"Model {model}B",
                "model_group": "",
                "quant": quant,
                "file_sha256": f"{model} {quant}",
                "settings_sha256": f"{number}",
                "status": "finished",
                "load_seconds": 1.0,
                "peak_rss_bytes": (model + 1) * 10**9,
            }
            contender_id = _insert(connection, "contenders", contender)
            character = (position + number) % CHARACTERS
            connection.executemany(INSERT, [(contender_id, *row) for row in _answers(character)[:n_documents]])
            figures = _figures(character, n_documents)
            assignments = ", ".join(f"{name} = ?" for name in figures)
            connection.execute(f"update contenders set {assignments} where id = ?", [*figures.values(), contender_id])


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> int:
    names = f"({', '.join(row)}) values (:{', :'.join(row)})"
    return connection.execute(f"insert into {table} {names}", row).lastrowid or 0


COLUMNS = (
    *("document_id", "status", "prompt_sha256", "output", "basic", "diluted", "adjusted"),
    *("kind_basic", "kind_diluted", "kind_adjusted", "score", "prompt_tokens", "decoded_prompt_tokens"),
    *("generated_tokens", "sampled_tokens", "prompt_seconds", "generation_seconds", "seconds"),
)
ARTIFACT = "insert into artifacts values (?, '/f', ?, ?, ?, 1, 'llama', 1, null, null, null, 'quantized', '{}', '')"
INSERT = f"insert into answers (contender_id, {', '.join(COLUMNS)}) values (?{', ?' * len(COLUMNS)})"
OUTPUT = '{"basic": 1.50, "diluted": 1.40, "adjusted": null}'


@cache
def _answers(character: int) -> list[tuple[Any, ...]]:
    rng, rows = random.Random(character), []
    for number in range(MOST_DOCUMENTS):
        share = 0.3 + 0.65 * character / CHARACTERS
        kinds = ["right" if rng.random() < share else rng.choice(KINDS) for _ in range(3)]
        figures = (1400, 1200, 30, 12, 1.5, 0.4, 1.9)
        said = (f"d{number:06}", "answered", f"{number:064x}", OUTPUT, 1.5, 1.4, None)
        rows.append((*said, *kinds, kinds.count("right") / 3, *figures))
    return rows


@cache
def _figures(character: int, n_documents: int) -> dict[str, Any]:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in _answers(character)[:n_documents]]
    return summarise(rows, {row["document_id"]: row["document_id"] for row in rows})


def commands(large: int, folder: Path) -> list[tuple[str, list[str]]]:
    """What is timed: what it is called, and its arguments. The run before the large one is of the usual size."""
    usual = large - 1
    return [
        ("`query --list` (the floor)", ["query", "--list"]),
        ("`results list`", ["results", "list"]),
        ("`results list --all`", ["results", "list", "--all"]),
        ("`results show`, a usual run", ["results", "show", str(usual)]),
        ("`results show`, 20 contenders x 1,000", ["results", "show", str(large)]),
        ("`query leaderboard`", ["query", "leaderboard"]),
        ("`query disagreements`, 20 x 1,000", ["query", "disagreements", "--csv"]),
        ("`query worst-documents`, 20 x 1,000", ["query", "worst-documents"]),
        ("`recommend`, a usual run", ["recommend", str(usual)]),
        ("`recommend`, 20 x 1,000", ["recommend", str(large)]),
        ("`report`, a usual run", ["report", str(usual), "-o", str(folder / "usual.html")]),
        ("`report`, 20 x 1,000", ["report", str(large), "-o", str(folder / "large.html")]),
        ("`results export` of 20 x 1,000 answers", ["results", "export", str(large)]),
    ]


def timed(store: Path, arguments: list[str], repeats: int) -> tuple[list[tuple[float, float]], str]:
    """(Seconds of the processor, seconds by the clock) of each repeat after the first, and what went wrong."""
    command = [sys.executable, "-m", "gguf_bench", "--db", str(store), *arguments]
    measured: list[tuple[float, float]] = []
    for _ in range(repeats + 1):
        began, before = time.monotonic(), _processor_seconds()
        found = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        measured.append((_processor_seconds() - before, time.monotonic() - began))
        if found.returncode:
            return [], found.stderr.strip().splitlines()[-1]
    return measured[1:], ""


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = options.store or folder / "results.db"
        if not store.exists():
            began = time.monotonic()
            print(f"made in {make(store) and time.monotonic() - began:.0f} s", file=sys.stderr)
        with closing(sqlite3.connect(store)) as connection:
            (large,) = connection.execute("select max(id) from runs").fetchone()
            (n_answers,) = connection.execute("select count(*) from answers").fetchone()
        mib = store.stat().st_size / 2**20
        print(f"{large} runs, {n_answers:,} answers, {mib:,.0f} MiB; n = {options.repeats}, medians\n")
        print("| command | processor s | of the floor | clock s |\n|---|---|---|---|")
        floor, is_slow = 0.0, False
        for name, arguments in commands(large, folder):
            measured, wrong = timed(store, arguments, options.repeats)
            if wrong:
                print(f"| {name} | {wrong} | | |", flush=True)
                continue
            processor, clock = (statistics.median(column) for column in zip(*measured, strict=True))
            floor = floor or processor
            is_slow = is_slow or clock >= TARGET_SECONDS
            print(f"| {name} | {processor:.2f} | {processor / floor:.1f} | {clock:.2f} |", flush=True)
    raise SystemExit(is_slow)


if __name__ == "__main__":
    main()
