"""PROVENANCE: where a file comes from, as the store has it: file <- parent <- checkpoint, and what made each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf_bench.errors import StoreError
from gguf_bench.gguf_files import gguf_shards
from gguf_bench.store import Row, Store

LEAST_DIGITS = 6
"""Of a sha256 that names a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One file of a chain, and what made it of the next.

    `made_by` is 'downloaded', 'found', 'converted', 'quantized' or, of an importance matrix, 'computed'. `made_with`
    has versions and options; `repo` and `commit` are the Hub's, where it comes from there. `runs` are those that have
    its scores.
    """

    path: str
    sha256: str
    quant: str
    size_bytes: int
    bits_per_weight: float
    made_by: str
    made_with: dict[str, Any]
    created: str
    repo: str | None
    commit: str | None
    runs: list[int]


def chain(name: str, store: Store) -> list[Step]:
    """The file that `name` (a path, or the beginning of a sha256) names, then what it was made of, and so on.

    Raises StoreError where the store knows no such file, or several.
    """
    return [_step(row, store) for row in rows(_find(name, store), store)]


def scored_in(sha256: str, store: Store) -> list[int]:
    """The runs that have scores of the file, as a model or as an adapter."""
    found = store.rows(
        "select distinct run_id from contenders where ? in (file_sha256, adapter_sha256) and exists"
        " (select 1 from answers where contender_id = contenders.id) order by run_id",
        [sha256],
    )
    return [row["run_id"] for row in found]


def _find(name: str, store: Store) -> Row:
    path = Path(name)
    if path.is_file():
        row = store.artifact(store.sha256(gguf_shards(path.absolute())))
        if row is None:
            raise StoreError(f"the store knows nothing of {name}", hint="convert, quantize or compare it first")
        return row
    if not re.fullmatch(rf"[0-9a-fA-F]{{{LEAST_DIGITS},64}}", name):
        raise StoreError(f"{name!r} is neither a file nor {LEAST_DIGITS} or more digits of a sha256")
    found = store.rows("select * from artifacts where substr(sha256, 1, ?) = ?", [len(name), name.lower()])
    if len(found) != 1:
        number = f"{len(found)} files have" if found else "no file has"
        raise StoreError(f"{number} a sha256 that begins with {name}", hint="give more of it" if found else "")
    return found[0]


def rows(row: Row, store: Store) -> Iterator[Row]:
    """The row of a file in the store, and those of what it was made from, its importance matrix before its source.

    A store may say anything, a circle too.
    """
    seen = set()
    parent: Row | None = row
    while parent is not None and parent["sha256"] not in seen:
        yield parent
        seen.add(parent["sha256"])
        if imatrix_sha256 := json.loads(parent["made_with"]).get("imatrix_sha256"):
            imatrix = store.artifact(imatrix_sha256)
            if imatrix is not None:
                yield imatrix
        parent = store.artifact(parent["parent_sha256"]) if parent["parent_sha256"] else None


def _step(row: Row, store: Store) -> Step:
    return Step(
        path=row["path"],
        sha256=row["sha256"],
        quant=row["quant"],
        size_bytes=row["size_bytes"],
        bits_per_weight=row["bits_per_weight"],
        made_by=row["made_by"],
        made_with=json.loads(row["made_with"]),
        created=row["created"],
        repo=row["source_repo"],
        commit=row["source_commit"],
        runs=scored_in(row["sha256"], store),
    )
