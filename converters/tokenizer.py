"""From a checkpoint's tokenizer files to the tokenizer keys of GGUF.

Three kinds are told apart, in this order: `tokenizer.model` (SentencePiece); a tokenizer.json that was made from
SentencePiece (BPE with byte fallback); any other BPE tokenizer.json. The first two become llama.cpp's "llama"
tokenizer, the last its "gpt2" tokenizer with a named pre-tokenizer. Nothing here reads weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gguf import TokenType
from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Tokenizer

from converters.checkpoint import read_json
from converters.errors import CheckpointFileError, TokenizerError
from converters.gguf_file import Keys
from converters.pretokenizers import pre_tokenizer_name
from converters.special_tokens import write_special_tokens

ADDED_SCORE = -1000.0
PADDING_SCORE = -10000.0
NAMED_TOKENS = tuple(f"{kind}_token" for kind in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
SENTENCEPIECE_SPACE = "▁"

PLAIN_CLASSES = ("", "PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend")
LLAMA_CLASSES = ("LlamaTokenizer", "LlamaTokenizerFast")
LLAMA_CLASS_TOKENS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`model` and `pre` are llama.cpp's names; `tokens`, `types` and `scores` (SentencePiece only) go by id."""

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)


def read_vocabulary(folder: Path, config: dict[str, Any]) -> Vocabulary:
    """The vocabulary, padded to config's vocab_size where the kind of tokenizer calls for it.

    Raises CheckpointFileError for missing or damaged files, UnknownPreTokenizer, and TokenizerError for files that do
    not fit together.
    """
    if (folder / "tokenizer.model").is_file():
        return _from_sentencepiece(folder, config["vocab_size"])
    content = read_json(folder, "tokenizer.json")
    if content is None:
        raise CheckpointFileError(folder, "has no tokenizer.json and no tokenizer.model")
    try:
        model = content["model"]
        kind = model["type"]
        has_byte_fallback = bool(model.get("byte_fallback", False))
        decoder = (content.get("decoder") or {}).get("type")
    except (KeyError, TypeError, AttributeError) as error:
        raise TokenizerError("tokenizer.json", f"has no model with a type ({error!r})") from error
    if kind != "BPE":
        raise TokenizerError("tokenizer.json", f"its model is {kind}, but only BPE is converted")
    try:
        if has_byte_fallback and decoder == "Sequence":
            return _from_sentencepiece_json(folder, content, config)
        return _from_bpe(folder, content, config["vocab_size"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise TokenizerError("tokenizer.json or tokenizer_config.json", f"is not as expected ({error!r})") from error


def write_tokenizer(keys: Keys, folder: Path, vocabulary: Vocabulary, vocab_size: int) -> None:
    """Write all tokenizer keys, in the order of the reference."""
    tokenizer_config = read_json(folder, "tokenizer_config.json") or {}
    if (prefix := tokenizer_config.get("add_prefix_space")) is not None:
        keys.bool("tokenizer.ggml.add_space_prefix", prefix)
    keys.string("tokenizer.ggml.model", vocabulary.model)
    keys.string("tokenizer.ggml.pre", vocabulary.pre)
    keys.array("tokenizer.ggml.tokens", vocabulary.tokens)
    keys.array("tokenizer.ggml.scores", vocabulary.scores)
    keys.array("tokenizer.ggml.token_type", vocabulary.types)
    keys.array("tokenizer.ggml.merges", vocabulary.merges)
    # The pieces of a "gpt2" vocabulary are not counted against the ids: the reference does not either.
    write_special_tokens(keys, folder, n_vocab=len(vocabulary.tokens) if vocabulary.scores else None)
    # Two families are known to the reference by nothing but the size of their vocabulary: CodeLlama and Granite (whose
    # size SmolLM shares).
    if vocab_size == 32016:
        kinds = ("prefix", "suffix", "middle", "eot")
        write_special_tokens(keys, folder, kinds=kinds, fallback_ids={"eot": 32010})
    if vocab_size == 49152:
        keys.bool("tokenizer.ggml.add_bos_token", False)


def _from_sentencepiece(folder: Path, vocab_size: int) -> Vocabulary:
    path = folder / "tokenizer.model"
    processor = SentencePieceProcessor()
    try:
        processor.LoadFromFile(str(path))
    except (RuntimeError, OSError) as error:
        raise CheckpointFileError(
            path, "is not a SentencePiece model; download it again, or remove it where tokenizer.json is to be used"
        ) from error
    tokens = [f"[PAD{i}]" for i in range(vocab_size)]
    scores = [PADDING_SCORE] * vocab_size
    types = [int(TokenType.UNUSED)] * vocab_size
    for i in range(min(processor.vocab_size(), vocab_size)):
        tokens[i], scores[i], types[i] = processor.IdToPiece(i), processor.GetScore(i), _piece_type(processor, i)

    for content, i in (read_json(folder, "added_tokens.json") or {}).items():
        if type(i) is not int or i < -vocab_size:
            raise TokenizerError("added_tokens.json", f"gives {content!r} the id {i!r}")
        if i < vocab_size:
            tokens[i], scores[i], types[i] = content, ADDED_SCORE, int(TokenType.USER_DEFINED)
    for i, token in _added_tokens_decoder(folder):
        if i < vocab_size:
            tokens[i], types[i] = _added_token(token["content"], special=bool(token.get("special")))
            scores[i] = ADDED_SCORE
    return Vocabulary("llama", "default", tokens, types, scores)


def _piece_type(processor: SentencePieceProcessor, i: int) -> int:
    if processor.IsUnknown(i):
        return int(TokenType.UNKNOWN)
    if processor.IsControl(i):
        return int(TokenType.CONTROL)
    if processor.IsUnused(i):
        return int(TokenType.UNUSED)
    return int(TokenType.BYTE if processor.IsByte(i) else TokenType.NORMAL)


def _added_tokens_decoder(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(id, properties) of the added tokens in tokenizer_config.json."""
    decoder = (read_json(folder, "tokenizer_config.json") or {}).get("added_tokens_decoder") or {}
    try:
        for i, token in decoder.items():
            if int(i) < 0 or not isinstance(token["content"], str):
                raise ValueError(i)
            yield int(i), token
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TokenizerError("tokenizer_config.json", f"added_tokens_decoder is not as expected ({error!r})") from error


def _added_token(text: str, *, special: bool) -> tuple[str, int]:
    """The text and type of an added token. Some makers do not mark their control tokens as special; looks tell them."""
    if special or _looks_special(text):
        return text, int(TokenType.CONTROL)
    return text.replace(SENTENCEPIECE_SPACE, " "), int(TokenType.USER_DEFINED)


def _looks_special(text: str) -> bool:
    return (
        text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
        or (text.startswith(("<|", "<｜")) and text.endswith(("|>", "｜>")) and text[1] == text[-2])
        or (text.startswith("<unused") and text.endswith(">"))
    )


def _from_bpe(folder: Path, content: dict[str, Any], vocab_size: int) -> Vocabulary:
    tokenizer, _ = _load(folder, content, rebuilt=False)
    pre = pre_tokenizer_name(tokenizer)
    by_id = {i: token for token, i in tokenizer.get_vocab(with_added_tokens=True).items()}
    if max(by_id) >= vocab_size:
        raise TokenizerError("tokenizer.json", f"has the id {max(by_id)}, but config.json's vocab_size is {vocab_size}")
    added = tokenizer.get_added_tokens_decoder()
    tokens, types = [], []
    for i in range(vocab_size):
        if i not in by_id:
            token, token_type = f"[PAD{i}]", int(TokenType.UNUSED)
        elif i in added:
            token = by_id[i]
            if not added[i].normalized:
                # llama.cpp looks for these as they are after a round trip.
                token = tokenizer.decode(tokenizer.encode(token, add_special_tokens=False).ids, False)
            token, token_type = _added_token(token, special=added[i].special)
        else:
            token, token_type = by_id[i], int(TokenType.NORMAL)
        tokens.append(token)
        types.append(token_type)
    return Vocabulary("gpt2", pre, tokens, types, merges=_merges(content["model"]))


def _merges(model: dict[str, Any]) -> list[str]:
    """Merges as "left right"; a space within a part (only seen in pairs, not in strings) is written as Ġ."""
    merges = model.get("merges") or []
    if merges and isinstance(merges[0], str):
        return list(merges)
    return [" ".join(part.replace(" ", "Ġ") for part in pair) for pair in merges]


def _from_sentencepiece_json(folder: Path, content: dict[str, Any], config: dict[str, Any]) -> Vocabulary:
    """What is left of a SentencePiece model in tokenizer.json: the pieces, but not their scores."""
    tokenizer_config = read_json(folder, "tokenizer_config.json") or {}
    tokenizer_class = tokenizer_config.get("tokenizer_class") or config.get("tokenizer_class") or ""
    if tokenizer_class not in (*PLAIN_CLASSES, *LLAMA_CLASSES):
        raise TokenizerError("tokenizer_config.json", f"the tokenizer_class {tokenizer_class} is not converted")
    # For Llama's own class transformers builds the tokenizer anew, from the pieces alone.
    rebuilt = (
        tokenizer_class in LLAMA_CLASSES
        and config["model_type"] == "llama"
        and '"ByteLevel"' not in json.dumps(content, ensure_ascii=False)
    )
    tokenizer, named = _load(folder, content, rebuilt=rebuilt)
    n_base = tokenizer.get_vocab_size(with_added_tokens=False)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    by_id = {i: token for token, i in vocabulary.items()}
    special_ids = {vocabulary[token] for token in named if token in vocabulary}
    tokens, types = [], []
    for i in range(n_base):
        if i not in by_id:
            raise TokenizerError("tokenizer.json", f"has {n_base} pieces, but none has the id {i}")
        is_byte = re.fullmatch("<0x[0-9A-Fa-f]{2}>", by_id[i])
        plain = TokenType.CONTROL if i in special_ids else TokenType.NORMAL
        tokens.append(by_id[i])
        types.append(int(TokenType.BYTE if is_byte else plain))
    for i, added in sorted(tokenizer.get_added_tokens_decoder().items()):
        if i >= n_base:
            tokens.append(added.content)
            types.append(int(TokenType.CONTROL if i in special_ids else TokenType.USER_DEFINED))
    return Vocabulary("llama", "default", tokens, types, [ADDED_SCORE] * len(tokens))


def _load(folder: Path, content: dict[str, Any], *, rebuilt: bool) -> tuple[Tokenizer, list[str]]:
    """The tokenizer with every token the other files add to it, as transformers loads it; and its named special tokens.

    `rebuilt` drops the added tokens of tokenizer.json unless tokenizer_config.json lists none.
    """
    config = read_json(folder, "tokenizer_config.json") or {}
    listed = {i: AddedToken(**token) for i, token in _added_tokens_decoder(folder)}
    if "added_tokens_decoder" not in config:
        config |= read_json(folder, "special_tokens_map.json") or {}
        for name, i in (read_json(folder, "added_tokens.json") or {}).items():
            listed[i] = AddedToken(name)
        for token in content.get("added_tokens") or []:
            listed[token["id"]] = AddedToken(**{key: value for key, value in token.items() if key != "id"})
    source = {**content, "added_tokens": []} if rebuilt else content
    try:
        tokenizer = Tokenizer.from_str(json.dumps(source))
    except Exception as error:
        raise TokenizerError("tokenizer.json", f"is not understood ({error})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()

    defaults = LLAMA_CLASS_TOKENS if rebuilt else {}
    named = list(dict.fromkeys(_named_tokens({**defaults, **config})))
    present = {repr(token) for token in tokenizer.get_added_tokens_decoder().values()}
    to_add = [token for _, token in sorted(listed.items()) if repr(token) not in present]
    have = {token.content for token in (*tokenizer.get_added_tokens_decoder().values(), *to_add)}
    to_add += [AddedToken(token, special=True) for token in named if token not in have]
    for token in to_add:
        token.special = token.special or token.content in named
    tokenizer.add_tokens(to_add)
    return tokenizer, named


def _named_tokens(config: dict[str, Any]) -> Iterator[str]:
    """The texts of all special tokens that tokenizer_config.json gives a role or lists as extra ones."""
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    others = [key for key in config if key.endswith("_token") and key not in NAMED_TOKENS]
    entries = [config.get(key) for key in NAMED_TOKENS]
    entries += [config[key] for key in others if isinstance(config[key], str)]
    entries += list(extra.values() if isinstance(extra, dict) else extra)
    for entry in entries:
        text = entry.get("content") if isinstance(entry, dict) else entry
        if isinstance(text, str):
            yield text
