"""Errors whose cause is known, put into right answers: does the scorer name them?

    python -m scripts.injected_errors [NAME|FILE.jsonl ...]        # a table by kind; eps-v1 where none is named

A wrong figure may equal two things (last year's figure may be this year's dividend): such a name counts as wrong here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from gguf_bench.dataset import DEFAULT_DATASET, load
from gguf_bench.records import FIELDS, Dataset, Document
from gguf_bench.score import KINDS, score_answer, trap_kind

COMBINED = " +"
"""Behind a kind: the figure has also lost its sign, or is in cents."""


@dataclass(frozen=True, slots=True)
class Injected:
    """`figure` in place of the gold of `field`, an error that is to be called `kind`; `combined`: with a second one."""

    field: str
    figure: Decimal | None
    kind: str
    combined: bool = False


def injections(document: Document) -> Iterator[Injected]:
    """Every kind of error that `document` has a figure for."""
    for field in FIELDS:
        gold = document.gold[field]
        if gold is None:
            yield from (Injected(field, figure, "hallucinated") for figure in _figures_for_silence(document))
            continue
        yield Injected(field, None, "missed")
        if gold:
            yield Injected(field, -gold, "sign")
            yield from (Injected(field, gold.scaleb(shift), "scale") for shift in (2, -2, 3, 6))
            yield Injected(field, -gold.scaleb(2), "scale", combined=True)
        for other, kind in _rivals(field):
            rival = document.gold[other]
            if rival is not None and rival != gold:
                yield Injected(field, rival, kind)
                if rival not in (0, -gold):
                    yield Injected(field, -rival, kind, combined=True)
        for name, figure in document.traps.items():
            owner, kind = trap_kind(name)
            if owner in (field, None) and figure != gold:
                yield Injected(field, figure, kind)
                if figure not in (0, -gold):
                    yield Injected(field, -figure, kind, combined=True)
                    yield Injected(field, figure.scaleb(2), kind, combined=True)
        yield Injected(field, _from_nowhere(gold, document), "other")


def _rivals(field: str) -> list[tuple[str, str]]:
    if field == "adjusted":
        return [("diluted", "gaap_adjusted_swap"), ("basic", "gaap_adjusted_swap")]
    other = "diluted" if field == "basic" else "basic"
    return [(other, "basic_diluted_swap"), ("adjusted", "gaap_adjusted_swap")]


def _figures_for_silence(document: Document) -> Iterator[Decimal]:
    """What a model may put where nothing is: another field's figure, a trap, a number from nowhere."""
    yield from (figure for figure in document.gold.values() if figure is not None)
    yield from document.traps.values()
    yield Decimal("3.17")


MISREAD = ("0.3", "-0.2", "0.01", "0.1", "-0.04", "3", "-0.5", "0.06", "7", "0.08")


def _from_nowhere(gold: Decimal, document: Document) -> Decimal:
    """The gold with a digit misread, so that it is no figure that the document is known to print."""
    known = {*document.gold.values(), *document.traps.values()}
    sign = -1 if gold < 0 else 1
    return next(figure for step in MISREAD if (figure := gold + sign * Decimal(step)) not in known and figure)


def named(dataset: Dataset) -> dict[str, tuple[int, int]]:
    """Kind, with COMBINED behind it where two errors meet -> (injected, named right)."""
    counts: dict[str, tuple[int, int]] = {}
    for document in dataset.documents:
        for error in injections(document):
            found = score_answer({**document.gold, error.field: error.figure}, document).kinds[error.field]
            row = error.kind + COMBINED * error.combined
            n, n_right = counts.get(row, (0, 0))
            counts[row] = n + 1, n_right + (found == error.kind)
    return counts


def main() -> None:
    datasets = [load(name) for name in sys.argv[1:] or [DEFAULT_DATASET]]
    columns = [(dataset.name + row, row, named(dataset)) for dataset in datasets for row in ("", COMBINED)]
    print(f"| kind | {' | '.join(head for head, _, _ in columns)} |")
    print(f"| --- {'| --- ' * len(columns)}|")
    for kind in KINDS[1:]:
        cells = [counts.get(kind + row) for _, row, counts in columns]
        print(f"| `{kind}` | {' | '.join(f'{cell[1]} of {cell[0]}' if cell else '' for cell in cells)} |")


if __name__ == "__main__":
    main()
