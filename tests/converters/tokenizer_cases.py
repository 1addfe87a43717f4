"""Small tokenizers as the Hub has them, one for each way they are loaded; written with the standard library alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
GOLDEN = HERE / "tokenizers.json"
PLAIN = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
KHMER = "Ģá"
"""The last byte of a letter of the check text and the first of the mark on it, as byte-level BPE writes them."""
WORDS = """
ĠĠĠĠ ĊĊ 333 3333 .. ... !!! ?? '' ``` === Ġ'' ĠĊ normal Ġnormal Ġthere Ġsure Ġtea 've 's 't 'll 'RE 'm Ġ3 Ġ33 --- ed
"""

Json = Mapping[str, Any]


def byte_letters() -> list[str]:
    """The 256 letters of a byte-level BPE, printable bytes first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, printable), *(chr(256 + i) for i in range(256 - len(printable)))]


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Ids and merges: of each word all that it begins with."""
    tokens, merges = byte_letters(), []
    for word in (*WORDS.split(), KHMER):
        for end in range(2, len(word) + 1):
            if word[:end] not in tokens:
                tokens.append(word[:end])
                merges.append((word[: end - 1], word[end - 1]))
    return {token: i for i, token in enumerate(tokens)}, merges


N = len(vocabulary()[0])
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BARE_BYTES = {**BYTES, "use_regex": False}
THREE_DIGITS = {
    "type": "Sequence",
    "pretokenizers": [
        {
            "type": "Split",
            "pattern": {"Regex": r"\p{N}{1,3}| ?[^\s\p{N}]+|\s+"},
            "behavior": "Isolated",
            "invert": False,
        },
        BARE_BYTES,
    ],
}
SPACES = {
    "type": "Sequence",
    "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ],
}


def added(i: int, text: str, *, special: bool = True, normalized: bool = False, **more: bool) -> dict[str, Any]:
    return {"id": N + i, "content": text, **PLAIN, "special": special, "normalized": normalized, **more}


ADDED = [
    added(0, "<|endoftext|>"),
    added(1, "<|im_end|>"),
    added(2, "<tool>", special=False),
    added(3, "<|looks|>", special=False),
    added(4, "▁piece▁", special=False, normalized=True),
    # Both are letters of the byte alphabet; decoded they are bytes of no text.
    added(5, "<É>", special=False),
]


def begins_with(text: str, i: int) -> dict[str, Any]:
    """A post-processor that puts a token before a text."""
    token, a, b = {"SpecialToken": {"id": text, "type_id": 0}}, *({"Sequence": {"id": x, "type_id": 0}} for x in "AB")
    names = {text: {"id": text, "ids": [i], "tokens": [text]}}
    return {"type": "TemplateProcessing", "single": [token, a], "pair": [token, a, token, b], "special_tokens": names}


def tokenizer_json(*, tokens: list[dict[str, Any]] = ADDED, model: Json | None = None, **parts: Any) -> dict[str, Any]:
    vocab, merges = vocabulary()
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": tokens,
        "normalizer": None,
        "pre_tokenizer": THREE_DIGITS,
        "post_processor": None,
        "decoder": BYTES,
        **parts,
        "model": {"type": "BPE", "vocab": vocab, "merges": [" ".join(merge) for merge in merges], **(model or {})},
    }


def decoder(tokens: list[dict[str, Any]] = ADDED) -> dict[str, Any]:
    """`tokens` as tokenizer_config.json has them."""
    return {str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in tokens}


def slow_files() -> dict[str, Any]:
    vocab, merges = vocabulary()
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    return {"vocab.json": vocab, "merges.txt": "\n".join(lines) + "\n"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """`reference` is the module, class and method of llama.cpp's converter; `ours` the function that reads it.

    `settings` is tokenizer_config.json, `files` the other files; "spm" copies spm.model as tokenizer.model.
    """

    model_type: str
    settings: Json | None = None
    files: Json = field(default_factory=dict)
    tokenizer: Json | None = None
    spm: bool = False
    config: Json = field(default_factory=dict)
    reference: tuple[str, str, str] = ("gpt2", "GPT2Model", "_set_vocab_gpt2")
    ours: str = "bpe_vocabulary"


def write(folder: Path, case: Case) -> None:
    folder.mkdir()
    files = {"config.json": {"model_type": case.model_type, "vocab_size": N + 10, **case.config}, **case.files}
    if case.tokenizer is not None:
        files["tokenizer.json"] = case.tokenizer
    if case.settings is not None:
        files["tokenizer_config.json"] = case.settings
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (folder / name).write_text(text, encoding="utf-8")
    if case.spm:
        shutil.copyfile(HERE / "spm.model", folder / "tokenizer.model")


def named(**tokens: Any) -> dict[str, Any]:
    return {f"{role}_token": token for role, token in tokens.items()}


def added_dict(text: str, **flags: bool) -> dict[str, Any]:
    return {"__type": "AddedToken", "content": text, **PLAIN, **flags}


def _sentencepiece_json() -> dict[str, Any]:
    parts: dict[str, Any] = {"decoder": SPACES, "pre_tokenizer": None}
    return tokenizer_json(model={"byte_fallback": True, "fuse_unk": True}, **parts)


def _pieces_as_bpe(**settings: Any) -> Case:
    """Pieces with marks for spaces, and an added token that begins with one, where the family wants a BPE."""
    vocab = {"▁" if piece == "Ā" else piece: i for piece, i in vocabulary()[0].items()}
    return Case(
        model_type="olmoe",
        settings={"tokenizer_class": "LlamaTokenizer", **settings},
        tokenizer=tokenizer_json(
            tokens=[*ADDED, added(N + 6, "  ", special=False)],
            model={"vocab": vocab},
            decoder=SPACES,
            pre_tokenizer=None,
        ),
        config={"vocab_size": N + 20},
    )


LLAMA = ("llama", "LlamaModel", "set_vocab")
PIECES: Json = {"vocab_size": 308}
SPM_SETTINGS: Json = {
    "tokenizer_class": "LlamaTokenizer",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "added_tokens_decoder": {
        "2": {"content": "</s>", **PLAIN, "special": True},
        "290": {"content": "▁x▁", **PLAIN, "special": False},
        "291": {"content": "<|im_end|>", **PLAIN, "special": True},
    },
}

CASES: dict[str, Case] = {
    "GPT-2 as it came first": Case(
        model_type="gpt2",
        settings={"model_max_length": 1024},
        tokenizer={**tokenizer_json(), "model": dict(zip(("vocab", "merges"), vocabulary(), strict=True))},
        files=slow_files(),
    ),
    "GPT-2, slow": Case(model_type="gpt2", files=slow_files()),
    "GPT-2, slow, with all old files": Case(
        model_type="gpt2",
        settings={"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_prefix_space": True},
        files={
            **slow_files(),
            "added_tokens.json": {"<|y|>": N + 1, "<É>": N, "<pad>": N + 2, "<È>": N + 3},
            "special_tokens_map.json": {
                "bos_token": {"content": "<s>", **PLAIN},
                "pad_token": "<É>",
                "additional_special_tokens": ["<É>", "<z>"],
            },
        },
    ),
    "GPT-2 class": Case(
        model_type="starcoder2",
        settings={"tokenizer_class": "GPT2TokenizerFast", **named(unk="<|endoftext|>", pad=None)},
        tokenizer=tokenizer_json(model={"merges": [list(merge) for merge in vocabulary()[1]], "ignore_merges": True}),
    ),
    "spaces in merges": Case(
        model_type="gpt2",
        tokenizer=tokenizer_json(
            tokens=[],
            model={
                "vocab": {**vocabulary()[0], " ": N, "! ": N + 1},
                "merges": [*map(list, vocabulary()[1]), ["!", " "]],
            },
        ),
    ),
    "CodeGen, slow": Case(
        model_type="phi",
        settings={"tokenizer_class": "CodeGenTokenizer", "added_tokens_decoder": decoder()},
        files=slow_files(),
    ),
    "GPT-NeoX class, which drops the template": Case(
        model_type="olmo",
        settings={"tokenizer_class": "GPTNeoXTokenizerFast", "add_bos_token": True},
        tokenizer=tokenizer_json(post_processor=begins_with("<|endoftext|>", N)),
    ),
    "Qwen 2": Case(
        model_type="qwen2",
        settings={
            "tokenizer_class": "Qwen2Tokenizer",
            "added_tokens_decoder": decoder(ADDED[:4]),
            "additional_special_tokens": ["<tool>"],
            **named(bos=None, eos="<|im_end|>", pad="<|endoftext|>", unk=None),
        },
        tokenizer=tokenizer_json(normalizer={"type": "NFC"}),
    ),
    "Qwen 2, slow": Case(
        model_type="qwen3",
        settings={"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": decoder(ADDED[1:])},
        files=slow_files(),
    ),
    "Qwen 2 under Llama's class": Case(
        model_type="qwen2",
        settings={"tokenizer_class": "LlamaTokenizerFast", **named(bos=added_dict("<|endoftext|>", normalized=True))},
        tokenizer=tokenizer_json(post_processor=begins_with("<|endoftext|>", N)),
    ),
    "Qwen 3 in a class without rules": Case(
        model_type="qwen3",
        settings={"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"},
        tokenizer=tokenizer_json(),
    ),
    "Qwen 3.5": Case(model_type="qwen3_5_text", settings={"eos_token": "<|im_end|>"}, tokenizer=tokenizer_json()),
    "Cohere": Case(
        model_type="cohere2",
        settings={
            "tokenizer_class": "CohereTokenizer",
            "extra_special_tokens": ["▁piece▁"],
            **named(eos=added_dict("<|im_end|>", lstrip=True), pad="<tool>"),
        },
        tokenizer=tokenizer_json(post_processor=begins_with("<|endoftext|>", N)),
        config={"vocab_size": N + 20},
    ),
    "byte-level under Llama's class": Case(
        model_type="llama",
        settings={"tokenizer_class": "LlamaTokenizer", "unk_token": None},
        tokenizer=tokenizer_json(post_processor=begins_with("<|endoftext|>", N)),
        reference=LLAMA,
        ours="llama_vocabulary",
    ),
    "pieces as a BPE": _pieces_as_bpe(),
    "pieces as a BPE, no space first": _pieces_as_bpe(add_prefix_space=False),
    "pieces as a BPE, legacy": _pieces_as_bpe(legacy=True, add_prefix_space=True),
    "Phi 4 says GPT-2, but is loaded as it is": Case(
        model_type="phi3",
        settings={"tokenizer_class": "GPT2Tokenizer"},
        tokenizer=tokenizer_json(),
        reference=("phi", "Phi3MiniModel", "set_vocab"),
        ours="phi3_vocabulary",
    ),
    "no class named, old model type": Case(
        model_type="RefinedWeb",
        settings={"eos_token": "<|endoftext|>"},
        tokenizer=tokenizer_json(normalizer={"type": "Lowercase"}),
        files={
            "special_tokens_map.json": {"additional_special_tokens": ["<tool>", "<new>"], "eos_token": "<|im_end|>"}
        },
    ),
    "made-up class": Case(
        model_type="granite", settings={"tokenizer_class": "MadeUpTokenizer"}, tokenizer=tokenizer_json()
    ),
    "own code beside a known class": Case(
        model_type="exaone",
        settings={"tokenizer_class": "GPT2Tokenizer", "auto_map": {"AutoTokenizer": ["x.Slow", None]}},
        tokenizer=tokenizer_json(),
    ),
    "extra tokens of every kind": Case(
        model_type="olmo2",
        settings={
            "tokenizer_class": "TokenizersBackend",
            "extra_special_tokens": {"image": "<image>", "piece": "▁piece▁"},
            "fim_token": "<fim>",
            "sep_token": added_dict("<tool>", rstrip=True),
            "mask_token": "<mask>",
            "added_tokens_decoder": decoder([*ADDED[:3], added(9, "<late>", special=False, normalized=True)]),
        },
        tokenizer=tokenizer_json(),
        config={"vocab_size": N + 30},
    ),
    "padding names a token": Case(
        model_type="stablelm",
        tokenizer=tokenizer_json(
            padding={
                "strategy": "BatchLongest",
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "<padding>",
            },
            truncation={"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0},
        ),
    ),
    "pieces in tokenizer.json": Case(
        model_type="llama",
        settings={"tokenizer_class": "LlamaTokenizerFast", "pad_token": "<tool>", "additional_special_tokens": ["<c>"]},
        tokenizer={**_sentencepiece_json(), "decoder": SPACES},
        reference=LLAMA,
        ours="llama_vocabulary",
    ),
    "pieces under Phi 3's class": Case(
        model_type="llama",
        settings={"tokenizer_class": "Phi3Tokenizer"},
        tokenizer=_sentencepiece_json(),
        reference=LLAMA,
        ours="llama_vocabulary",
    ),
    "Qwen with a SentencePiece model": Case(
        model_type="qwen2",
        settings=SPM_SETTINGS,
        spm=True,
        config=PIECES,
        reference=("qwen", "Qwen2Model", "set_vocab"),
        ours="sentencepiece_or_bpe",
    ),
    "Phi 3": Case(
        model_type="phi3",
        settings=SPM_SETTINGS,
        files={
            "added_tokens.json": {"<a>": 300},
            "tokenizer.json": {"added_tokens": [{"id": 301, "content": "<|b|>"}]},
        },
        spm=True,
        config=PIECES,
        reference=("phi", "Phi3MiniModel", "set_vocab"),
        ours="phi3_vocabulary",
    ),
    "InternLM 2": Case(
        model_type="internlm2",
        settings=SPM_SETTINGS,
        files={"added_tokens.json": {"<a>": 7}},
        spm=True,
        config={"vocab_size": 299, "eos_token_id": 2},
        reference=("internlm", "InternLM2Model", "set_vocab"),
        ours="internlm2_vocabulary",
    ),
}
