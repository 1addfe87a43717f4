"""Vocabularies of SentencePiece models (tokenizer.model), each as its family's converter in llama.cpp reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gguf import TokenType
from sentencepiece import SentencePieceProcessor

from converters.checkpoint import read_json
from converters.errors import CheckpointFileError, TokenizerError
from converters.vocabulary import Vocabulary, added_token, added_tokens_decoder

ADDED_SCORE = -1000.0
PADDING_SCORE = -10000.0
MODEL_FILE = "tokenizer.model"


def sentencepiece_vocabulary(folder: Path, vocab_size: int | None) -> Vocabulary:
    """The pieces of tokenizer.model under the added tokens of added_tokens.json and tokenizer_config.json.

    Padded or cut to `vocab_size`; None stands for the model's own size. Raises CheckpointFileError and TokenizerError.
    """
    pieces = list(_pieces(folder))
    size = vocab_size or len(pieces)
    tokens, scores, types = _padded(pieces[:size], size)
    added: dict[str, int] = {}
    for content, i in _added_tokens_json(folder):
        if i < -size:
            raise TokenizerError("added_tokens.json", f"gives {content!r} the id {i!r}")
        if i < size:
            tokens[i], scores[i], types[i] = content, ADDED_SCORE, int(TokenType.USER_DEFINED)
            added[content] = i
    for i, token in added_tokens_decoder(folder):
        if i < size:
            tokens[i], types[i] = added_token(token["content"], special=bool(token.get("special")))
            scores[i] = ADDED_SCORE
            added[token["content"]] = i
    return Vocabulary("llama", "default", tokens, types, scores, added=added)


def phi3_sentencepiece_vocabulary(folder: Path, vocab_size: int | None) -> Vocabulary:
    """As `sentencepiece_vocabulary`, but added tokens of tokenizer.json count as well, and none is told by its looks.

    Raises CheckpointFileError, and TokenizerError for pieces or added tokens beyond `vocab_size`.
    """
    pieces = list(_pieces(folder))
    size = vocab_size or len(pieces)
    if len(pieces) > size:
        raise TokenizerError(MODEL_FILE, f"has {len(pieces)} pieces, but config.json's vocab_size is {size}")
    tokens, scores, types = _padded(pieces, size)
    for content, i in _added_tokens_json(folder):
        if -size <= i < size:
            tokens[i], scores[i], types[i] = content, ADDED_SCORE, int(TokenType.USER_DEFINED)
    added = _overlay(_listed(folder), tokens, scores, types)
    return Vocabulary("llama", "default", tokens, types, scores, added=added)


def internlm2_vocabulary(folder: Path, vocab_size: int | None) -> Vocabulary:
    """The first `vocab_size` pieces, then the tokens of added_tokens.json, under the added tokens of the other files.

    llama.cpp takes a zero byte for the end of a text, so its converter writes a dragon for it. Raises
    CheckpointFileError, and TokenizerError for ids that do not exist.
    """
    pieces = list(_pieces(folder))
    size = vocab_size or len(pieces)
    if len(pieces) < size:
        raise TokenizerError(MODEL_FILE, f"has {len(pieces)} pieces, but config.json's vocab_size is {size}")
    tokens, scores, types = _padded(pieces[:size], size)
    for i, token in enumerate(tokens):
        if token == "\x00":
            tokens[i] = "🐉"
        if token.startswith("[UNUSED"):
            types[i] = int(TokenType.UNUSED)
    for content in read_json(folder, "added_tokens.json") or {}:
        tokens.append(content)
        scores.append(ADDED_SCORE)
        types.append(int(TokenType.USER_DEFINED))
    added = _overlay(_listed(folder), tokens, scores, types)
    prefix = _adds_dummy_prefix(folder)
    return Vocabulary("llama", "default", tokens, types, scores, added=added, add_space_prefix=prefix)


def _load(folder: Path) -> SentencePieceProcessor:
    path = folder / MODEL_FILE
    if not path.is_file():
        raise CheckpointFileError(folder, f"has no {MODEL_FILE}, which models of this family are converted from")
    processor = SentencePieceProcessor()
    try:
        processor.LoadFromFile(str(path))
    except (RuntimeError, ValueError, OSError) as error:  # text that is no UTF-8 is a ValueError
        raise CheckpointFileError(
            path, "is not a SentencePiece model; download it again, or remove it where tokenizer.json is to be used"
        ) from error
    return processor


def _pieces(folder: Path) -> Iterator[tuple[str, float, int]]:
    """(text, score, type) by id."""
    processor = _load(folder)
    for i in range(processor.vocab_size()):
        try:
            yield processor.IdToPiece(i), processor.GetScore(i), _piece_type(processor, i)
        except ValueError as error:
            raise CheckpointFileError(folder / MODEL_FILE, f"has a piece {i} that is no text ({error})") from error


def _piece_type(processor: SentencePieceProcessor, i: int) -> int:
    if processor.IsUnknown(i):
        return int(TokenType.UNKNOWN)
    if processor.IsControl(i):
        return int(TokenType.CONTROL)
    if processor.IsUnused(i):
        return int(TokenType.UNUSED)
    return int(TokenType.BYTE if processor.IsByte(i) else TokenType.NORMAL)


def _adds_dummy_prefix(folder: Path) -> bool:
    """Whether the model puts a space before a text. Its settings are told by what it does to one letter."""
    return len(_load(folder).Normalize("a")) > 1


def _padded(pieces: list[tuple[str, float, int]], size: int) -> tuple[list[str], list[float], list[int]]:
    """Texts, scores and types of `pieces`, filled up to `size`."""
    padding = [(f"[PAD{i}]", PADDING_SCORE, int(TokenType.UNUSED)) for i in range(len(pieces), size)]
    rows = pieces + padding
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def _added_tokens_json(folder: Path) -> Iterator[tuple[str, int]]:
    for content, i in (read_json(folder, "added_tokens.json") or {}).items():
        if type(i) is not int:
            raise TokenizerError("added_tokens.json", f"gives {content!r} the id {i!r}")
        yield content, i


def _listed(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(id, properties) of the added tokens in tokenizer_config.json, then of those in tokenizer.json."""
    yield from added_tokens_decoder(folder)
    try:
        for token in (read_json(folder, "tokenizer.json") or {}).get("added_tokens", []):
            if int(token["id"]) < 0 or not isinstance(token["content"], str):
                raise ValueError(token)
            yield int(token["id"]), token
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TokenizerError("tokenizer.json", f"added_tokens is not as expected ({error!r})") from error


def _overlay(
    listed: Iterable[tuple[int, dict[str, Any]]], tokens: list[str], scores: list[float], types: list[int]
) -> dict[str, int]:
    """Put the `listed` tokens in their places; returns their ids by text."""
    added = {}
    for i, token in listed:
        if i >= len(tokens):
            raise TokenizerError(
                "tokenizer_config.json or tokenizer.json",
                f"gives {token['content']!r} the id {i}, but there are {len(tokens)} tokens",
            )
        tokens[i], scores[i] = token["content"], ADDED_SCORE
        types[i] = int(TokenType.CONTROL if token.get("special") else TokenType.USER_DEFINED)
        added[token["content"]] = i
    return added
