"""RESCORE. Stored answers -> what today's scorer makes of them, and what that changes. Pure: rows in, records out.

Outputs are kept as models wrote them, so a better parser or another rule needs no model: only what follows from an
output is computed again. Times, memory and tokens stay as they were measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gguf_bench.records import FIELDS, Score

Row = dict[str, Any]

MEASURED = ("prompt_tokens_per_second", "generation_tokens_per_second", "documents_per_minute")
"""Figures of a contender that no scorer changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedAnswer:
    """An answer that is judged otherwise now; `before` and `after` are its columns that a scorer decides on."""

    document_id: str
    before: Row
    after: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class RescoredContender:
    """A contender's answers, judged again. A score is None where it is not finished."""

    contender_id: int
    model: str
    quant: str | None
    status: str
    n_answers: int
    changed: Sequence[ChangedAnswer]
    score_before: float | None
    score_after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescored:
    """A run, judged again by the scorer `version_after`."""

    run_id: int
    run_name: str
    version_before: str
    version_after: str
    contenders: Sequence[RescoredContender]

    @property
    def n_answers(self) -> int:
        return sum(contender.n_answers for contender in self.contenders)

    @property
    def n_changed(self) -> int:
        return sum(len(contender.changed) for contender in self.contenders)

    @property
    def moves(self) -> Counter[tuple[str, str]]:
        """(kind before, kind after) -> how many fields changed so."""
        return Counter(
            (before, after)
            for contender in self.contenders
            for answer in contender.changed
            for field in FIELDS
            if (before := answer.before[f"kind_{field}"]) != (after := answer.after[f"kind_{field}"])
        )


def changed_answers(rows: Sequence[Row], judge: Callable[[Row], Score]) -> list[ChangedAnswer]:
    """Those of `rows` (of `answers`) that `judge` scores otherwise than they are stored, in their order."""
    changed = []
    for row in rows:
        after = judge(row).columns
        before = {name: row[name] for name in after}
        if before != after:
            changed.append(ChangedAnswer(document_id=row["document_id"], before=before, after=after))
    return changed


def with_changes(rows: Sequence[Row], changed: Sequence[ChangedAnswer]) -> list[Row]:
    """`rows` as they will be stored."""
    after = {answer.document_id: answer.after for answer in changed}
    return [{**row, **after.get(row["document_id"], {})} for row in rows]
