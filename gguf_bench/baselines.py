"""What no model gives: answers of plain rules, and of nothing at all, to stand beside every model's. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal

from gguf_bench.records import FIELDS, Document

BASELINES_VERSION = "1"
"""Raised whenever the same document and excerpt could give another answer."""


def baseline_null(document: Document, excerpt: str) -> str:
    """Null for every field, whatever the document says."""
    return _written({})


def _written(figures: Mapping[str, Decimal]) -> str:
    """The answer as a good model writes it, each figure as it was printed."""
    return json.dumps(dict.fromkeys(FIELDS)) if not figures else ""


BASELINES: dict[str, Callable[[Document, str], str]] = {"baseline_null": baseline_null}
"""By name: `answer(document, excerpt) -> output`. Of the document only company and period are looked at."""
