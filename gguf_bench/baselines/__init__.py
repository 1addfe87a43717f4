"""What no model gives: answers of plain rules, and of nothing at all, to stand beside every model's. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

from gguf_bench.records import FIELDS, Document

BASELINES_VERSION = "1"
"""Raised whenever the same document and excerpt could give another answer."""


def baseline_null(document: Document, excerpt: str) -> str:
    """Null for every field, whatever the document says."""
    return _written({})


def baseline_rules(document: Document, excerpt: str) -> str:
    """What the module `rules` finds in `excerpt` for the period of `document`."""
    from gguf_bench.baselines.rules import figures  # its patterns take longer to compile than most commands need

    return _written(figures(excerpt, document.period))


BASELINES: dict[str, Callable[[Document, str], str]] = {
    "baseline_null": baseline_null,
    "baseline_rules": baseline_rules,
}
"""By name: `answer(document, excerpt) -> output`, as a good model writes it. Of the document only the period counts."""


def _written(figures: Mapping[str, Decimal]) -> str:
    """The answer as JSON, each figure with the decimals it was printed with."""
    return "{" + ", ".join(f'"{field}": {figures.get(field, "null")}' for field in FIELDS) + "}"
