"""What a tokenizer comes down to in GGUF, and the rules that all kinds of tokenizers share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gguf import TokenType

from converters.checkpoint import read_json
from converters.errors import TokenizerError

SENTENCEPIECE_SPACE = "▁"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`model` and `pre` are llama.cpp's names; `tokens`, `types` and `scores` (SentencePiece only) go by id.

    `added` holds the ids of the added tokens by their text. `add_space_prefix` is None where nothing is to be said.
    """

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    added: dict[str, int] = field(default_factory=dict)
    add_space_prefix: bool | None = None


def added_tokens_decoder(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(id, properties with at least a text `content`) of the added tokens in tokenizer_config.json."""
    decoder = (read_json(folder, "tokenizer_config.json") or {}).get("added_tokens_decoder") or {}
    try:
        for i, token in decoder.items():
            if int(i) < 0 or not isinstance(token["content"], str):
                raise ValueError(i)
            yield int(i), token
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TokenizerError("tokenizer_config.json", f"added_tokens_decoder is not as expected ({error!r})") from error


def added_token(text: str, *, special: bool) -> tuple[str, int]:
    """The text and type of an added token. Some makers do not mark their control tokens as special; looks tell them."""
    if special or _looks_special(text):
        return text, int(TokenType.CONTROL)
    return text.replace(SENTENCEPIECE_SPACE, " "), int(TokenType.USER_DEFINED)


def _looks_special(text: str) -> bool:
    return (
        text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
        or (text.startswith("<|") and text.endswith("|>"))
        or (text.startswith("<｜") and text.endswith("｜>"))
        or (text.startswith("<unused") and text.endswith(">"))
    )
