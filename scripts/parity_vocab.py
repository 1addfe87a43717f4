"""Real tokenizers as their makers' checkpoints have them, out of the vocabularies that llama.cpp's sources hold
(models/ggml-vocab-*.gguf) and mistral-common's SentencePiece models.

A GGUF vocabulary has tokens, types, scores and merges; how text is normalized and split, and what is put around it, is
told here. That it is told right shows in the reference recognizing the tokenizer (`get_vocab_base_pre`).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from gguf import GGUFValueType, TokenType
from sentencepiece import SentencePieceProcessor

from tests.converters.cases import Case, read_cases

Json = dict[str, Any]
Files = dict[str, bytes]

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"
    "\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-"
    "\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec"
    "\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-"
    "\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3"
    "\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17"
    "\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-"
    "\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
"""Of DeepSeek's first tokenizer; escaped, for some are no letters any more once an editor has normalized them."""


def split(pattern: str) -> Json:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def byte_level(*, use_regex: bool = True, trim_offsets: bool = True) -> Json:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": trim_offsets, "use_regex": use_regex}


def sequence(*steps: Json) -> Json:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def begins_with(token: str, i: int) -> Json:
    """A post-processor that puts a token first."""
    first = {"SpecialToken": {"id": token, "type_id": 0}}
    a, b = ({"Sequence": {"id": name, "type_id": type_id}} for name, type_id in (("A", 0), ("B", 1)))
    return {
        "type": "TemplateProcessing",
        "single": [first, a],
        "pair": [first, a, {"SpecialToken": {"id": token, "type_id": 1}}, b],
        "special_tokens": {token: {"id": token, "ids": [i], "tokens": [token]}},
    }


DIGITS = {"type": "Digits", "individual_digits": True}
LLAMA3_SPLIT = CONTRACTIONS + (
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace("{1,3}", "")
DEEPSEEK_BOS = "<｜begin▁of▁sentence｜>"


@dataclass(frozen=True)
class Bpe:
    """How a byte-level BPE tokenizer treats text. `case` is the recorded case whose model it goes with."""

    case: str
    pre_tokenizer: Json
    tokenizer_class: str
    normalizer: Json | None = None
    post_processor: Json | None = None
    ignore_merges: bool = False
    config: Json = field(default_factory=dict)
    outside: bool = True
    """Whether added tokens after the last common one stand beside the vocabulary (in added_tokens alone)."""


TOKENIZERS: Mapping[str, Bpe] = {
    "llama-bpe": Bpe(
        "llama-3",
        sequence(split(LLAMA3_SPLIT), byte_level(use_regex=False)),
        "PreTrainedTokenizerFast",
        post_processor={
            "type": "Sequence",
            "processors": [byte_level(trim_offsets=False), begins_with("<|begin_of_text|>", 128000)],
        },
        ignore_merges=True,
        config={"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>", "model_max_length": 131072},
    ),
    "qwen2": Bpe(
        "qwen2",
        sequence(split(QWEN2_SPLIT), byte_level(use_regex=False)),
        "Qwen2Tokenizer",
        normalizer={"type": "NFC"},
        post_processor=byte_level(use_regex=False, trim_offsets=False),
        config={"bos_token": None, "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": None,
                "add_bos_token": False, "errors": "replace", "split_special_tokens": False},
    ),
    "falcon": Bpe(
        "falcon-40b",
        sequence(
            {"type": "Punctuation", "behavior": "Contiguous"},
            byte_level(),
            {"type": "Digits", "individual_digits": False},
            split("[0-9][0-9][0-9]"),
        ),
        "PreTrainedTokenizerFast",
        config={"add_prefix_space": False, "eos_token": "<|endoftext|>", "model_max_length": 2048},
        outside=False,
    ),
    "gpt-2": Bpe(
        "gpt2-hub",
        byte_level(),
        "GPT2Tokenizer",
        post_processor=byte_level(trim_offsets=False),
        config={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
        outside=False,
    ),
    "starcoder": Bpe(
        "starcoder2",
        sequence(DIGITS, byte_level()),
        "GPT2Tokenizer",
        config={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
        outside=False,
    ),
    "refact": Bpe(
        "starcoder",
        sequence(DIGITS, byte_level()),
        "GPT2TokenizerFast",
        config={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
        outside=False,
    ),
    "deepseek-llm": Bpe(
        "deepseek-v2-lite",
        sequence(
            split("[\r\n]"),
            split(f"\\s?[{LETTERS}]+"),
            split("\\s?[!-/:-~！-／：-～‘-‟　-。]+"),
            split("\\s+$"),
            split("[一-龥ࠀ-一가-퟿]+"),
            {"type": "Digits", "individual_digits": True},
            byte_level(use_regex=False),
        ),
        "LlamaTokenizerFast",
        post_processor=begins_with(DEEPSEEK_BOS, 100000),
        config={"bos_token": DEEPSEEK_BOS, "eos_token": "<｜end▁of▁sentence｜>", "add_bos_token": True},
    ),
    "deepseek-coder": Bpe(
        "llama-linear",
        sequence(
            split("[\r\n]"),
            split("\\s?\\p{L}+"),
            split("\\s?\\p{P}+"),
            split("[一-龥ࠀ-一가-퟿]+"),
            {"type": "Digits", "individual_digits": True},
            byte_level(use_regex=False),
        ),
        "LlamaTokenizerFast",
        post_processor=begins_with(DEEPSEEK_BOS, 32013),
        config={"bos_token": DEEPSEEK_BOS, "eos_token": "<|EOT|>", "add_bos_token": True},
    ),
    "command-r": Bpe(
        "cohere-old",
        sequence(DIGITS, byte_level()),
        "CohereTokenizer",
        normalizer={"type": "NFC"},
        post_processor=begins_with("<BOS_TOKEN>", 5),
        config={"bos_token": "<BOS_TOKEN>", "eos_token": "<|END_OF_TURN_TOKEN|>", "pad_token": "<PAD>",
                "unk_token": None, "add_bos_token": True, "add_eos_token": False, "add_prefix_space": False},
        outside=False,
    ),
    "gpt-neox": Bpe(
        "gpt-neox",
        byte_level(),
        "GPTNeoXTokenizer",
        normalizer={"type": "NFC"},
        post_processor=byte_level(),
        config={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
                "add_prefix_space": False},
    ),
    "mpt": Bpe(
        "mpt-hub",
        byte_level(),
        "GPTNeoXTokenizer",
        normalizer={"type": "NFC"},
        post_processor=byte_level(),
        config={"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
                "add_prefix_space": False},
    ),
}  # fmt: skip


def read_fields(path: Path) -> Json:
    """All keys of a GGUF file; gguf's own reader takes a minute for half a million strings."""
    data = path.read_bytes()
    position = 16

    def number(form: str) -> Any:
        nonlocal position
        (value,) = struct.unpack_from(f"<{form}", data, position)
        position += struct.calcsize(f"<{form}")
        return value

    def value(kind: int) -> Any:
        nonlocal position
        if kind == GGUFValueType.STRING:
            end = number("Q") + position
            text, position = data[position:end].decode("utf-8"), end
            return text
        if kind == GGUFValueType.ARRAY:
            items = number("I")
            return [value(items) for _ in range(number("Q"))]
        return number("BbHhIifxxxQqd"[kind] if kind != GGUFValueType.BOOL else "?")

    return {value(GGUFValueType.STRING): value(number("I")) for _ in range(number("Q"))}


def bpe_files(vocabulary: Path, how: Bpe) -> Files:
    """tokenizer.json and tokenizer_config.json of a GGUF vocabulary."""
    fields = read_fields(vocabulary)
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    named = {value for key, value in how.config.items() if key.endswith("_token") and isinstance(value, str)}
    last = max(i for i, kind in enumerate(types) if kind == TokenType.NORMAL)
    added, vocab = [], {}
    for i, (token, kind) in enumerate(zip(tokens, types, strict=True)):
        if kind == TokenType.UNUSED:
            continue
        is_added = kind != TokenType.NORMAL or token in named
        if is_added:
            special = kind == TokenType.CONTROL or token in named
            flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": not special}
            added.append({"id": i, "content": token, **flags, "special": special})
        if not (is_added and how.outside and i > last):
            vocab[token] = i
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": how.normalizer,
        "pre_tokenizer": how.pre_tokenizer,
        "post_processor": how.post_processor,
        "decoder": byte_level(),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": how.ignore_merges,
            "vocab": vocab,
            "merges": fields["tokenizer.ggml.merges"],
        },
    }
    config = {"tokenizer_class": how.tokenizer_class, "clean_up_tokenization_spaces": False, **how.config}
    return {name: json.dumps(part, ensure_ascii=False).encode() for name, part in (
        ("tokenizer.json", content), ("tokenizer_config.json", config))}  # fmt: skip


SPM_FLAGS = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
LLAMA_CONFIG: Json = {
    "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
    "legacy": False, "tokenizer_class": "LlamaTokenizer",
}  # fmt: skip
SENTENCEPIECE: Mapping[str, str] = {"llama-spm": "vicuna", "phi-3": "phi3-longrope-old"}
"""Vocabulary -> the recorded case whose model it goes with."""
MISTRAL: Mapping[str, str] = {
    "tokenizer.model.v1": "mixtral",
    "mistral_instruct_tokenizer_240323.model.v3": "mistral-old",
    "mistral_instruct_tokenizer_241114.model.v7": "mistral",
}
"""File of mistral-common -> the recorded case whose model it goes with."""


def sentencepiece_files(vocabulary: Path) -> tuple[Files, int]:
    """tokenizer.model and tokenizer_config.json of a GGUF vocabulary, and the number of ids. What comes after the last
    byte or common piece was added by hand, and so is here."""
    fields = read_fields(vocabulary)
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    n_pieces = 1 + max(i for i, kind in enumerate(types) if kind in (TokenType.NORMAL, TokenType.BYTE))
    pieces = zip(tokens[:n_pieces], fields["tokenizer.ggml.scores"], types, strict=False)
    added = {
        str(i): {"content": tokens[i], **SPM_FLAGS}
        for i in (0, 1, 2, *range(n_pieces, len(tokens)))
        if types[i] != TokenType.UNUSED
    }
    config = {**LLAMA_CONFIG, "added_tokens_decoder": added}
    files = {"tokenizer.model": sentencepiece_model(pieces), "tokenizer_config.json": json.dumps(config).encode()}
    return files, len(tokens)


def sentencepiece_model(pieces: Iterable[tuple[str, float, int]]) -> bytes:
    """A SentencePiece model (protocol buffer) of BPE kind; types are numbered as GGUF's are."""

    def bytes_field(number: int, content: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(content)) + content

    def varint(value: int) -> bytes:
        low, rest = value & 0x7F, value >> 7
        return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])

    model = b""
    for piece, score, kind in pieces:
        entry = bytes_field(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + varint(kind)
        model += bytes_field(1, entry)
    trainer = b"\x18\x02" + varint(35 << 3) + b"\x01"  # BPE, with bytes for what is unknown
    normalizer = bytes_field(1, b"identity") + b"\x18\x01\x20\x00\x28\x01"  # a space first; others as they are
    return model + bytes_field(2, trainer) + bytes_field(3, normalizer)


VOCABULARY_TENSORS = re.compile(r"(embed_tokens|lm_head|wte|word_embeddings|embed_in|embed_out)\.weight$")


@dataclass(frozen=True)
class Real:
    """A recorded case with another tokenizer."""

    name: str
    case: Case
    files: Callable[[], Files]


def real_cases(models: Path, mistral: Path) -> Iterator[Real]:
    """`models` is the folder of llama.cpp's vocabularies, `mistral` that of mistral-common's data."""
    cases = read_cases()
    for name, how in TOKENIZERS.items():
        path = models / f"ggml-vocab-{name}.gguf"
        n_tokens = len(read_fields(path)["tokenizer.ggml.tokens"])
        yield Real(f"{how.case} with {name}", with_ids(cases[how.case], n_tokens), partial(bpe_files, path, how))
    for name, case in SENTENCEPIECE.items():
        files, n_tokens = sentencepiece_files(models / f"ggml-vocab-{name}.gguf")
        yield Real(f"{case} with {name}", with_ids(cases[case], n_tokens), lambda files=files: files)  # type: ignore[misc]
    for file, case in MISTRAL.items():
        content = (mistral / file).read_bytes()
        processor = SentencePieceProcessor()
        processor.LoadFromSerializedProto(content)
        files = {"tokenizer.model": content, "tokenizer_config.json": json.dumps(LLAMA_CONFIG).encode()}
        real = with_ids(cases[case], processor.vocab_size())
        yield Real(f"{case} with {file}", real, lambda files=files: files)  # type: ignore[misc]


def with_ids(case: Case, n_tokens: int) -> Case:
    """The case with a vocabulary of another size."""
    tensors = {
        name: re.sub("^[0-9]+", str(n_tokens), entry) if VOCABULARY_TENSORS.search(name) else entry
        for name, entry in case.tensors.items()
    }
    return replace(case, config={**case.config, "vocab_size": n_tokens}, tensors=tensors, noted={}, files={})
