"""What a report shows beside the comparison: where figures went wrong, the files, documents that contenders read apart.

Bounded, so that a run of any size is gathered in a moment: every query is over the answers of these contenders alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gguf_bench.records import FIELDS, Comparison
from gguf_bench.store import Store

Row = Mapping[str, Any]

MOST_DOCUMENTS = 12
"""Documents shown of those that contenders read apart; of the others it is only said how many they are."""

MOST_ANSWERS = 12
"""Contenders whose answers are shown beside a document, the best ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A document that some read right and others wrong.

    `document` is its row of `documents`, None where its labels are not stored; `text` what the contenders got to read,
    None where an earlier version made the run. `answers` are rows of `answers` by contender id.
    """

    document_id: str
    document: Row | None
    text: str | None
    answers: Mapping[int, Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """`kinds` has for each contender id how many figures came out as "right", as an error kind, or as the status of an
    answer that had no figures ("unparseable", "over_context"). `files` are rows of `artifacts` by sha256, `contenders`
    rows of `contenders` by id, of all the runs. `n_apart` counts all documents that the contenders `apart_between` read
    apart.
    """

    kinds: Mapping[int, Mapping[str, int]]
    files: Mapping[str, Row]
    contenders: Mapping[int, Row]
    n_companies: int
    apart_between: Sequence[int]
    n_apart: int
    apart: Sequence[Disagreement]


def gather(comparison: Comparison, store: Store) -> Material:
    """Everything of the store that the page needs beside `comparison`."""
    ids = [row["contender_id"] for row in comparison.leaderboard]
    run_ids = [run["id"] for run in comparison.runs]
    contenders = {row["id"]: row for row in _among(store, "select * from contenders where run_id in", run_ids)}
    finished = [row for row in comparison.leaderboard if row["status"] == "finished"]
    asked = [row["contender_id"] for row in finished if row["asked"]]
    between = asked if len(asked) > 1 else [row["contender_id"] for row in finished]
    found = _apart(store, between)
    return Material(
        kinds=_kinds(store, ids),
        files=_files(store, contenders.values()),
        contenders=contenders,
        n_companies=_n_companies(store, ids, comparison),
        apart_between=between,
        n_apart=len(found),
        apart=_shown(comparison, store, found[:MOST_DOCUMENTS], [row["contender_id"] for row in finished]),
    )


def _among(store: Store, sql: str, ids: Sequence[Any], more: str = "", *, given: Sequence[Any] = ()) -> Sequence[Row]:
    """The rows of `sql`, which ends in "in", for `ids`; `given` are the parameters before those."""
    return store.rows(f"{sql} ({', '.join('?' * len(ids))}) {more}", [*given, *ids])


def _kinds(store: Store, ids: Sequence[int]) -> dict[int, dict[str, int]]:
    counted: dict[int, dict[str, int]] = {contender_id: defaultdict(int) for contender_id in ids}
    kinds = ", ".join(f"kind_{field} as {field}" for field in FIELDS)
    sql = f"select contender_id, status, {kinds}, count(*) as n from answers where contender_id in"
    for row in _among(store, sql, ids, "group by 1, 2, 3, 4, 5"):
        for field in FIELDS:
            counted[row["contender_id"]][row[field] if row["status"] == "answered" else row["status"]] += row["n"]
    return counted


def _files(store: Store, contenders: Any) -> dict[str, Row]:
    """The files of `contenders`, their adapters, and what each was made from."""
    files: dict[str, Row] = {}
    wanted = {row[name] for row in contenders for name in ("file_sha256", "adapter_sha256") if row[name]}
    while missing := sorted(wanted - files.keys()):
        found = {row["sha256"]: row for row in _among(store, "select * from artifacts where sha256 in", missing)}
        files |= found
        wanted = {row["parent_sha256"] for row in found.values() if row["parent_sha256"]}
    return files


def _n_companies(store: Store, ids: Sequence[int], comparison: Comparison) -> int:
    sql = (
        "select count(distinct company) as n from documents where dataset_sha256 = ? and document_id in"
        " (select document_id from answers where contender_id in"
    )
    (row,) = _among(store, sql, ids, ")", given=[comparison.run["dataset_sha256"]])
    return int(row["n"])


def _apart(store: Store, between: Sequence[int]) -> list[str]:
    """The documents that `between` read apart, the most evenly parted ones first; of equals, whichever."""
    rights = ", ".join(f"sum(kind_{field} = 'right') as {field}" for field in FIELDS)
    rows = _among(
        store,
        f"select document_id, count(*) as n, {rights} from answers where contender_id in",
        between,
        "group by document_id",
    )
    parted = {row["document_id"]: sum(min(row[field], row["n"] - row[field]) for field in FIELDS) for row in rows}
    return sorted((name for name, much in parted.items() if much), key=lambda name: (-parted[name], _shuffled(name)))


def _shuffled(name: str) -> str:
    """What puts names in an order that has nothing to do with how a dataset is sorted, the same every time."""
    return hashlib.sha256(name.encode()).hexdigest()


def _shown(
    comparison: Comparison, store: Store, document_ids: Sequence[str], contender_ids: Sequence[int]
) -> list[Disagreement]:
    if not document_ids:
        return []
    labels = {
        row["document_id"]: {**row, "gold": json.loads(row["gold"]), "tags": json.loads(row["tags"])}
        for row in _among(
            store,
            "select * from documents where dataset_sha256 = ? and document_id in",
            document_ids,
            given=[comparison.run["dataset_sha256"]],
        )
    }
    texts: dict[str, str] = {}
    for run in comparison.runs:
        texts |= store.excerpt_texts(run["id"], document_ids)
    answers: dict[str, dict[int, Row]] = defaultdict(dict)
    for contender_id in contender_ids[:MOST_ANSWERS]:
        sql = "select * from answers where contender_id = ? and document_id in"
        for row in _among(store, sql, document_ids, given=[contender_id]):
            answers[row["document_id"]][contender_id] = row
    return [
        Disagreement(document_id=name, document=labels.get(name), text=texts.get(name), answers=answers[name])
        for name in document_ids
    ]
