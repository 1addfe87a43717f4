"""Earnings per share as an analyst in a hurry would read them.

Find the rows of tables that are labelled as earnings per share, choose the column of the period asked for, and where no
table tells, take the headline sentence. Every figure found is a candidate for a field, with points for how plainly it
says what it is; the best one is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from gguf_bench.baselines.sentences import read_sentence, sentences
from gguf_bench.baselines.tables import Tables, read_row
from gguf_bench.baselines.words import Asked, Candidate

_MAX_LINE_CHARS = 20_000  # of a longer line only so much is read
_MAX_LABEL_CHARS = 250


def figures(excerpt: str, period: str) -> dict[str, Decimal]:
    """The best candidate for each field that has any, in US dollars as printed."""
    best: dict[str, Candidate] = {}
    for candidate in _candidates(excerpt, Asked.of(period)):
        if candidate.field not in best or candidate.points > best[candidate.field].points:
            best[candidate.field] = candidate
    return {field: candidate.figure for field, candidate in best.items()}


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
