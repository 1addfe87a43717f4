"""What no model gives: answers of plain rules, and of nothing at all, to stand beside every model's. Pure.

The rules read as an analyst in a hurry would: find the rows of tables that are labelled as earnings per share, choose
the column of the period asked for, and where no table tells, take the headline sentence. Every figure found is a
candidate for a field, with points for how plainly it says what it is; the best one is the answer, none is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from gguf_bench.baselines.sentences import read_sentence, sentences
from gguf_bench.baselines.tables import Tables, read_row
from gguf_bench.baselines.words import Asked, Candidate
from gguf_bench.records import FIELDS, Document

BASELINES_VERSION = "1"
"""Raised whenever the same document and excerpt could give another answer."""

_MAX_LINE_CHARS = 20_000  # of a longer line only so much is read
_MAX_LABEL_CHARS = 250


def baseline_null(document: Document, excerpt: str) -> str:
    """Null for every field, whatever the document says."""
    return _written({})


def baseline_rules(document: Document, excerpt: str) -> str:
    """What the rules of this module find in `excerpt` for the period of `document`."""
    asked = Asked.of(document.period)
    best: dict[str, Candidate] = {}
    for candidate in _candidates(excerpt, asked):
        if candidate.field not in best or candidate.points > best[candidate.field].points:
            best[candidate.field] = candidate
    return _written({field: candidate.figure for field, candidate in best.items()})


BASELINES: dict[str, Callable[[Document, str], str]] = {
    "baseline_null": baseline_null,
    "baseline_rules": baseline_rules,
}
"""By name: `answer(document, excerpt) -> output`, as a good model writes it. Of the document only the period counts."""


def _written(figures: Mapping[str, Decimal]) -> str:
    """The answer as JSON, each figure with the decimals it was printed with."""
    return "{" + ", ".join(f'"{field}": {figures.get(field, "null")}' for field in FIELDS) + "}"


def _candidates(excerpt: str, asked: Asked) -> Iterator[Candidate]:
    lines = [line[:_MAX_LINE_CHARS].strip() for line in excerpt.split("\n")]
    lowered = [line.lower() for line in lines]
    tables = Tables(lowered, asked)
    for index, line in enumerate(lowered):
        label, values = read_row(line)
        if values and len(label) <= _MAX_LABEL_CHARS:
            yield from tables.read(index, label, values)
        else:
            for sentence in sentences(lines[index]):
                yield from read_sentence(sentence.lower(), asked)
