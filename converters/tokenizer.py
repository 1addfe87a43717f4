"""From a checkpoint's tokenizer files to the tokenizer keys of GGUF.

There are two kinds: llama.cpp's "llama" tokenizer, from a SentencePiece model (tokenizer.model) or what is left of one
in tokenizer.json, and its "gpt2" tokenizer, from any other BPE, with a named pre-tokenizer. Which kind a checkpoint is,
where it could be either, is for its family to say: hence a function for each order of preference. None reads weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf import TokenType

from converters.checkpoint import read_json
from converters.errors import CheckpointFileError, TokenizerError
from converters.gguf_file import Keys
from converters.hf_tokenizer import encode, load_tokenizer
from converters.pretokenizers import pre_tokenizer_name
from converters.sentencepiece_tokenizer import (
    ADDED_SCORE,
    MODEL_FILE,
    internlm2_vocabulary,
    phi3_sentencepiece_vocabulary,
    sentencepiece_vocabulary,
)
from converters.special_tokens import write_special_tokens
from converters.vocabulary import Vocabulary, added_token

__all__ = [
    "Vocabulary",
    "bpe_or_sentencepiece",
    "bpe_vocabulary",
    "internlm2_vocabulary",
    "llama_vocabulary",
    "phi3_vocabulary",
    "sentencepiece_json_vocabulary",
    "sentencepiece_or_bpe",
    "sentencepiece_vocabulary",
    "write_llama_tokenizer",
    "write_special_tokens",
    "write_tokenizer",
]


def bpe_vocabulary(folder: Path, config: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary of a byte-level BPE: tokenizer.json, or vocab.json and merges.txt, padded to config's vocab_size.

    Raises CheckpointFileError for missing or damaged files, UnknownPreTokenizer, and TokenizerError for files that do
    not fit together.
    """
    content = read_json(folder, "tokenizer.json")
    model = (content or {}).get("model") or {}
    if content is not None and (kind := _kind(model)) != "BPE":
        raise TokenizerError("tokenizer.json", f"its model is {kind}, but only BPE is converted")
    merges = _merges(folder, model)
    tokenizer = load_tokenizer(folder).tokenizer
    pre = pre_tokenizer_name(tokenizer)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    by_id = _by_id(vocabulary)
    size = config.get("vocab_size") or len(vocabulary)
    if max(by_id) >= size:
        raise TokenizerError("tokenizer.json", f"has the id {max(by_id)}, but config.json's vocab_size is {size}")
    added = tokenizer.get_added_tokens_decoder()
    tokens, types = [], []
    for i in range(size):
        if i not in by_id:
            token, token_type = f"[PAD{i}]", int(TokenType.UNUSED)
        elif i in added:
            token = by_id[i]
            if not added[i].normalized:
                # llama.cpp looks for these as they are after a round trip.
                token = tokenizer.decode(encode(tokenizer, token, add_special_tokens=False), False)
            token, token_type = added_token(token, special=added[i].special)
        else:
            token, token_type = by_id[i], int(TokenType.NORMAL)
        tokens.append(token)
        types.append(token_type)
    by_text = {token.content: i for i, token in sorted(added.items())}
    return Vocabulary("gpt2", pre, tokens, types, merges=merges, added=by_text)


def sentencepiece_json_vocabulary(folder: Path) -> Vocabulary:
    """What is left of a SentencePiece model in tokenizer.json: the pieces, but not their scores. It is not padded.

    Raises CheckpointFileError and TokenizerError.
    """
    loaded = load_tokenizer(folder)
    tokenizer = loaded.tokenizer
    n_base = tokenizer.get_vocab_size(with_added_tokens=False)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    by_id = _by_id(vocabulary)
    special_ids = {vocabulary[token] for token in loaded.special if token in vocabulary}
    tokens, types = [], []
    for i in range(n_base):
        if i not in by_id:
            raise TokenizerError("tokenizer.json", f"has {n_base} pieces, but none has the id {i}")
        is_byte = re.fullmatch("<0x[0-9A-Fa-f]{2}>", by_id[i])
        plain = TokenType.CONTROL if i in special_ids else TokenType.NORMAL
        tokens.append(by_id[i])
        types.append(int(TokenType.BYTE if is_byte else plain))
    added = {token.content: i for i, token in sorted(tokenizer.get_added_tokens_decoder().items())}
    for text, i in added.items():
        if i >= n_base:
            tokens.append(text)
            types.append(int(TokenType.CONTROL if i in special_ids else TokenType.USER_DEFINED))
    return Vocabulary("llama", "default", tokens, types, [ADDED_SCORE] * len(tokens), added=added)


def llama_vocabulary(folder: Path, config: Mapping[str, Any]) -> Vocabulary:
    """For Llama and its kin: tokenizer.model, else a tokenizer.json made from one (BPE with byte fallback), else BPE.

    Raises as `sentencepiece_vocabulary` and `bpe_vocabulary`.
    """
    if (folder / MODEL_FILE).is_file():
        return sentencepiece_vocabulary(folder, config.get("vocab_size"))
    content = read_json(folder, "tokenizer.json")
    if content is None and (folder / "tekken.json").is_file():
        raise CheckpointFileError(
            folder, "has tekken.json, but no tokenizer.json, which is needed; take it from a checkpoint that has one"
        )
    if content is not None:
        model = content.get("model")
        decoder = content.get("decoder")
        from_sentencepiece = isinstance(model, dict) and bool(model.get("byte_fallback")) and _kind(model) == "BPE"
        if from_sentencepiece and isinstance(decoder, dict) and decoder.get("type") == "Sequence":
            return sentencepiece_json_vocabulary(folder)
    return bpe_vocabulary(folder, config)


def sentencepiece_or_bpe(folder: Path, config: Mapping[str, Any]) -> Vocabulary:
    """For Qwen 2 and later, Gemma 3, and the first DeepSeek: tokenizer.model, else BPE. Raises as those do."""
    if (folder / MODEL_FILE).is_file():
        return sentencepiece_vocabulary(folder, config.get("vocab_size"))
    return bpe_vocabulary(folder, config)


def bpe_or_sentencepiece(folder: Path, config: Mapping[str, Any]) -> Vocabulary:
    """For MPT: BPE where there is a tokenizer.json or vocab.json, else tokenizer.model. Raises as those do."""
    if (folder / MODEL_FILE).is_file() and not any((folder / f).is_file() for f in ("tokenizer.json", "vocab.json")):
        return sentencepiece_vocabulary(folder, config.get("vocab_size"))
    return bpe_vocabulary(folder, config)


def phi3_vocabulary(folder: Path, config: Mapping[str, Any]) -> Vocabulary:
    """For Phi 3 and 4: BPE if tokenizer_config.json says GPT2Tokenizer, else tokenizer.model. Raises as those do."""
    if (read_json(folder, "tokenizer_config.json") or {}).get("tokenizer_class") == "GPT2Tokenizer":
        return bpe_vocabulary(folder, config)
    return phi3_sentencepiece_vocabulary(folder, config.get("vocab_size"))


def write_tokenizer(
    keys: Keys,
    folder: Path,
    vocabulary: Vocabulary,
    *,
    ids: Mapping[str, int] | None = None,
    replaced_ids: Mapping[str, int] | None = None,
) -> None:
    """Write all tokenizer keys, in the order of the reference.

    `ids` (kind -> id, such as "eot") stand in for kinds that no file gives; `replaced_ids` take the place of what the
    files give. Raises CheckpointFileError and TokenizerError.
    """
    keys.string("tokenizer.ggml.model", vocabulary.model)
    keys.string("tokenizer.ggml.pre", vocabulary.pre)
    keys.array("tokenizer.ggml.tokens", vocabulary.tokens)
    keys.array("tokenizer.ggml.scores", vocabulary.scores)
    keys.array("tokenizer.ggml.token_type", vocabulary.types)
    if vocabulary.add_space_prefix is not None:
        keys.bool("tokenizer.ggml.add_space_prefix", vocabulary.add_space_prefix)
    keys.array("tokenizer.ggml.merges", vocabulary.merges)
    # The pieces of a "gpt2" vocabulary are not counted against the ids: the reference does not either.
    n_vocab = len(vocabulary.tokens) if vocabulary.scores else None
    write_special_tokens(keys, folder, n_vocab=n_vocab, fallback_ids=ids, replaced_ids=replaced_ids)


def write_llama_tokenizer(keys: Keys, folder: Path, vocabulary: Vocabulary, vocab_size: int) -> None:
    """`write_tokenizer` with the rules that llama.cpp has for the Llama family alone; raises as that."""
    tokenizer_config = read_json(folder, "tokenizer_config.json") or {}
    if (prefix := tokenizer_config.get("add_prefix_space")) is not None:
        keys.bool("tokenizer.ggml.add_space_prefix", prefix)
    write_tokenizer(keys, folder, vocabulary)
    # Two families are known to the reference by nothing but the size of their vocabulary: CodeLlama and Granite (whose
    # size SmolLM shares).
    if vocab_size == 32016:
        kinds = ("prefix", "suffix", "middle", "eot")
        write_special_tokens(keys, folder, kinds=kinds, fallback_ids={"eot": 32010})
    if vocab_size == 49152:
        keys.bool("tokenizer.ggml.add_bos_token", False)


def _kind(model: Any) -> str:
    """The kind of model; old files do not name it, but only a BPE has merges."""
    if not isinstance(model, dict) or not isinstance(kind := model.get("type", "BPE"), str) or not model:
        raise TokenizerError("tokenizer.json", "has no model with a type")
    return kind if "type" in model or "merges" in model else "of an unknown kind"


def _by_id(vocabulary: Mapping[str, int]) -> dict[int, str]:
    by_id = {i: token for token, i in vocabulary.items()}
    if not by_id:
        raise TokenizerError("tokenizer.json", "has no tokens")
    if len(by_id) < len(vocabulary):
        token, i = next((token, i) for token, i in sorted(vocabulary.items()) if by_id[i] != token)
        raise TokenizerError("tokenizer.json", f"gives both {token!r} and {by_id[i]!r} the id {i}")
    return by_id


def _merges(folder: Path, model: Mapping[str, Any]) -> list[str]:
    """Merges as "left right"; a space within a part (only seen in pairs, not in strings) is written as Ġ."""
    merges = model.get("merges") or []
    if not isinstance(merges, list):
        raise TokenizerError("tokenizer.json", f"its merges are of type {type(merges).__name__}, expected a list")
    if not merges:
        return _merges_txt(folder / "merges.txt")
    if all(isinstance(merge, str) for merge in merges):
        return list(merges)
    if all(isinstance(merge, list) and all(isinstance(part, str) for part in merge) for merge in merges):
        return [" ".join(part.replace(" ", "Ġ") for part in pair) for pair in merges]
    raise TokenizerError("tokenizer.json", "its merges are neither all texts nor all pairs of texts")


def _merges_txt(path: Path) -> list[str]:
    """The pairs of words in merges.txt, [] when there is no such file. What is no pair does not count."""
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8") as file:
            lines = list(file)
    except (OSError, ValueError) as error:
        raise CheckpointFileError(path, f"cannot be read ({error})") from error
    if lines and lines[0].strip().startswith("#"):
        del lines[0]
    pairs = [line.split(None, 3) for line in lines]
    return [" ".join(pair) for pair in pairs if len(pair) == 2]
