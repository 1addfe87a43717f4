"""A store with two runs in it, of any size, made in a second."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from gguf_bench.store import Store

TIERS = ("plain", "ordinary", "hard")
RUN = {
    **dict.fromkeys(("key", "description", "task", "task_version", "prompt_version", "scorer_version"), "1"),
    "name": "a run",
    "dataset": "made-up",
    "dataset_sha256": "d" * 64,
    "excerpt_version": "1",
    "fresh": 0,
    **dict.fromkeys(("settings", "machine", "versions"), "{}"),
}
CONTENDERS = (("bloop_1b", "Q8_0", 0.9), ("bloop_1b", "Q2_K", 0.5), ("zorp_3b", "Q4_K_M", 0.7))
"""Model, quant and the share of documents that it has right."""
HOSTILE = "<script>document.title = 'owned'</script>\x1b[2Jgone\u202e"


def filled(path: Path, *, n_documents: int = 20, hostile: str = HOSTILE) -> Path:
    """A store with an empty first run and a finished second, whose every contender answered every document.

    Documents that a contender gets wrong are wrong in all three figures; the last answer of each holds `hostile`. A
    fourth contender failed.
    """
    with closing(Store(path)) as store:
        store.create_run(RUN | {"n_documents": 0}, [])
        run_id = store.create_run(RUN | {"n_documents": n_documents}, [_contender(*each) for each in CONTENDERS])
        ids = [row["id"] for row in store.contenders(run_id)]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "insert into documents values (:sha, :id, :company, 'Q2 2024', :tier, '[]', :gold, '{}')",
            ({"sha": RUN["dataset_sha256"], **_document(number)} for number in range(n_documents)),
        )
        connection.execute("update runs set status = 'finished'")
        for contender_id, (_, _, share) in zip(ids, CONTENDERS, strict=True):
            rows = _answers(contender_id, n_documents, share, hostile)
            columns = ", ".join(first := next(rows))
            places = ", ".join(f":{name}" for name in first)
            insert = f"insert into answers ({columns}) values ({places})"
            connection.execute(insert, first)
            connection.executemany(insert, rows)
            connection.execute(
                "update contenders set status = 'finished', n_documents = ?, eps_score = ? where id = ?",
                [n_documents, share, contender_id],
            )
        connection.execute(
            "insert into contenders (run_id, position, model, display_name, model_group, quant, settings_sha256,"
            " status, error) values (?, 9, 'wreck_7b', 'Wreck', '', 'Q4_0', 's', 'failed', 'died (SIGSEGV)')",
            [run_id],
        )
    return path


def _contender(model: str, quant: str, _share: float) -> dict[str, Any]:
    return {
        "model": model,
        "display_name": model,
        "model_group": "",
        "quant": quant,
        "settings_sha256": "s",
        "status": "running",
    }


def _document(number: int) -> Mapping[str, Any]:
    return {
        "id": f"d{number:06}",
        "company": f"Quellmark {number} Inc.",
        "tier": TIERS[number % len(TIERS)],
        "gold": json.dumps({"basic": "1.50", "diluted": "1.40", "adjusted": None}),
    }


def _answers(contender_id: int, n_documents: int, share: float, hostile: str) -> Iterator[Mapping[str, Any]]:
    counts = ("prompt_tokens", "decoded_prompt_tokens", "generated_tokens", "prompt_seconds", "generation_seconds")
    for number in range(n_documents):
        right = number < share * n_documents
        yield {
            "contender_id": contender_id,
            "document_id": f"d{number:06}",
            "status": "answered" if number + 1 < n_documents else "unparseable",
            "prompt_sha256": "p",
            "output": '{"basic": 1.5}' if number + 1 < n_documents else hostile,
            **dict.fromkeys(("basic", "diluted", "adjusted"), 1.5 if right else 2.5),
            **dict.fromkeys(("kind_basic", "kind_diluted", "kind_adjusted"), "right" if right else "scale"),
            "score": float(right),
            **dict.fromkeys((*counts, "seconds"), 1),
        }
