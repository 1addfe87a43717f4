"""What every task says of itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gguf_bench.records import Document, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """`prompt(document, excerpt)` is the one user message; `score(output, document)` judges what came back.

    `grammar` is GBNF that admits every good answer and no endless one; `max_answer_tokens` is enough for the longest,
    `max_free_answer_tokens` for one without a grammar, which models begin and end with prose.
    `json_schema` says the same to a server that takes schemas instead: an object of numbers and nulls, all required.
    `version` is raised when what is asked changes, or how it may be answered, the others with their part; all are
    stored with the answers. A scorer has its version alone: what was answered can be scored again.
    """

    name: str
    version: str
    prompt_version: str
    scorer_version: str
    grammar: str
    json_schema: Mapping[str, Any]
    max_answer_tokens: int
    max_free_answer_tokens: int = 256
    prompt: Callable[[Document, str], str]
    score: Callable[[str, Document], Score]

    def answer_tokens(self, *, grammar: bool) -> int:
        """How long an answer may get, with the grammar or free."""
        return self.max_answer_tokens if grammar else self.max_free_answer_tokens


def prompt_sha256(message: str) -> str:
    """What identifies a prompt: the user message (the chat template around it is part of the file's own hash)."""
    return hashlib.sha256(message.encode("utf-8", "surrogatepass")).hexdigest()
