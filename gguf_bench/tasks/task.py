"""What every task says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gguf_bench.records import Document, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`prompt(document, excerpt)` is the one user message; `score(output, document)` judges what came back.

    `grammar` is GBNF that admits every good answer and no endless one; `max_answer_tokens` is enough for the longest.
    `version` is raised when any of the parts changes, the others with their part; all are stored with the answers.
    """

    name: str
    version: str
    prompt_version: str
    scorer_version: str
    grammar: str
    max_answer_tokens: int
    prompt: Callable[[Document, str], str]
    score: Callable[[str, Document], Score]
