"""Tiny checkpoints that differ in all that checkpoints differ in; each is written the same, bit for bit, anywhere.

`golden.json` holds, for each variant and outtype, the SHA-256 of what llama.cpp's converter makes of it
(`scripts/parity.py` records it).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sentencepiece import SentencePieceProcessor

from tests.smollm2 import find_smollm2_gguf, read_gguf, write_json, write_tokenizer_files
from tests.tiny import CONFIG, Array, weights, write_safetensors, write_torch_bin

HERE = Path(__file__).parent
PIECES = 300
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
PLAIN = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}

Files = Callable[[Path], None]


@dataclass(frozen=True)
class Variant:
    """`config` overrides tests.tiny.CONFIG (None removes a key); `layout` is how the weights lie in the folder;
    `folder` is its name, from which names in the file derive; `files` adds or changes files at the end."""

    config: dict[str, Any] = field(default_factory=dict)
    tokenizer: str = "spm"
    layout: str = "one"
    dtype: str = "bfloat16"
    outtypes: tuple[str, ...] = ("f16",)
    folder: str = "tiny"
    files: Files = lambda folder: None
    change: Callable[[dict[str, Array]], None] = lambda tensors: None


def write_checkpoint(parent: Path, variant: Variant) -> Path:
    """Write the checkpoint to a new folder in `parent`, and return that folder."""
    folder = parent / variant.folder
    folder.mkdir(parents=True)
    config = {key: value for key, value in {**CONFIG, **variant.config}.items() if value is not None}
    TOKENIZERS[variant.tokenizer](folder)
    write_json(folder / "config.json", config)
    tensors = weights(config)
    variant.change(tensors)
    LAYOUTS[variant.layout](folder, tensors, variant.dtype)
    variant.files(folder)
    return folder


def _one(folder: Path, tensors: dict[str, Array], dtype: str) -> None:
    write_safetensors(folder / "model.safetensors", tensors, dtype)


def _parts(folder: Path, tensors: dict[str, Array], dtype: str, *, indexed: bool) -> None:
    names = list(tensors)
    weight_map = {}
    for i in range(3):
        file = f"model-{i + 1:05d}-of-00003.safetensors"
        part = {name: tensors[name] for name in names[i::3]}
        write_safetensors(folder / file, part, dtype)
        weight_map |= dict.fromkeys(part, file)
    if indexed:
        write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def _bin(folder: Path, tensors: dict[str, Array], dtype: str) -> None:
    write_torch_bin(folder / "pytorch_model.bin", tensors, dtype)


def _bin_parts(folder: Path, tensors: dict[str, Array], dtype: str) -> None:
    names, weight_map = list(tensors), {}
    for i in range(2):
        file = f"pytorch_model-{i + 1:05d}-of-00002.bin"
        part = {name: tensors[name] for name in names[i::2]}
        write_torch_bin(folder / file, part, dtype)
        weight_map |= dict.fromkeys(part, file)
    write_json(folder / "pytorch_model.bin.index.json", {"weight_map": weight_map})


LAYOUTS: dict[str, Callable[[Path, dict[str, Array], str], None]] = {
    "one": _one,
    "indexed": lambda folder, tensors, dtype: _parts(folder, tensors, dtype, indexed=True),
    "unindexed": lambda folder, tensors, dtype: _parts(folder, tensors, dtype, indexed=False),
    "bin": _bin,
    "bin parts": _bin_parts,
}


def _sentencepiece(folder: Path) -> None:
    shutil.copyfile(HERE / "spm.model", folder / "tokenizer.model")
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": {"content": "<s>", **PLAIN},
            "eos_token": {"content": "</s>", **PLAIN},
            "unk_token": "<unk>",
            "tokenizer_class": "LlamaTokenizer",
            "chat_template": TEMPLATE,
        },
    )


def _sentencepiece_json(folder: Path) -> None:
    """A tokenizer.json as transformers writes it for a SentencePiece model, without the model beside it."""
    processor = SentencePieceProcessor()
    processor.LoadFromFile(str(HERE / "spm.model"))
    pieces = [processor.IdToPiece(i) for i in range(PIECES)]
    known = set(pieces)
    merges = [
        f"{piece[:cut]} {piece[cut:]}"
        for piece in sorted(pieces, key=lambda piece: -processor.GetScore(processor.PieceToId(piece)))
        for cut in range(1, len(piece))
        if not piece.startswith("<") and piece[:cut] in known and piece[cut:] in known
    ]
    added = [(0, "<unk>", True), (1, "<s>", True), (2, "</s>", True), (300, "<|turn|>", False), (301, "<extra>", False)]
    entries = [{"id": i, "content": text, **PLAIN, "special": special} for i, text, special in added]
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    a, b = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": entries,
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Prepend", "prepend": "▁"},
                    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
                ],
            },
            "pre_tokenizer": None,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [bos, a],
                "pair": [bos, a, bos, b],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
            },
            "decoder": {
                "type": "Sequence",
                "decoders": [
                    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                    {"type": "Strip", "content": " ", "start": 1, "stop": 0},
                ],
            },
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": "<unk>",
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": True,
                "byte_fallback": True,
                "vocab": {piece: i for i, piece in enumerate(pieces)},
                "merges": merges,
            },
        },
    )
    write_json(
        folder / "tokenizer_config.json",
        {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "pad_token": "<extra>",
            "tokenizer_class": "LlamaTokenizerFast",
            "additional_special_tokens": ["<ctl>"],
        },
    )
    write_json(folder / "special_tokens_map.json", {"bos_token": "<s>", "eos_token": {"content": "</s>", **PLAIN}})


def _smollm2(folder: Path) -> None:
    _, keys = read_gguf(find_smollm2_gguf())
    write_tokenizer_files(folder, keys)


TOKENIZERS: dict[str, Files] = {"spm": _sentencepiece, "spm json": _sentencepiece_json, "bpe": _smollm2}


def _update(file: str, **changes: Any) -> Files:
    def apply(folder: Path) -> None:
        content = json.loads((folder / file).read_text(encoding="utf-8"))
        content |= {key: value for key, value in changes.items() if value is not None}
        for key in [key for key, value in changes.items() if value is None]:
            content.pop(key, None)
        write_json(folder / file, content)

    return apply


def _write(**texts: str) -> Files:
    """Write files; a name's `__` stands for a dot, its `___` for a slash."""

    def apply(folder: Path) -> None:
        for name, text in texts.items():
            path = folder / name.replace("___", "/").replace("__", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")

    return apply


def _all(*steps: Files) -> Files:
    def apply(folder: Path) -> None:
        for step in steps:
            step(folder)

    return apply


def _odd_numbers(tensors: dict[str, Array]) -> None:
    """Infinities, NaNs with and without the quiet bit, signed zeros, subnormals, ties, and blocks of zeros."""
    row = tensors["model.layers.0.mlp.up_proj.weight"]
    bits = [0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x80000000, 1, 0x80000001, 0x00800000, 0x33000000]
    bits += [0x33000001, 0x477FF000, 0x477FEFFF, 0x38800000, 0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x7FC12345]
    row[0, : len(bits)] = np.array(bits, "<u4").view("<f4")
    row[1] = 0
    row[2] = -0.0
    row[3, :32] = np.arange(32) / 2 - 8
    row[3, 31] = 127


def _without_prefix(tensors: dict[str, Array]) -> None:
    for name in list(tensors):
        values = tensors.pop(name)
        if name != "lm_head.weight":
            tensors[name.removeprefix("model.")] = values


def _with_head(tensors: dict[str, Array]) -> None:
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]


def _with_buffers(tensors: dict[str, Array]) -> None:
    for i in range(2):
        tensors[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = np.ones(8, "<f4")


CARD = """---
license:
- mit
- apache-2.0
language:
- en
- no
- de
pipeline_tag: text-generation
tags:
- finance
base_model:
- meta-llama/Llama-3.2-1B-Instruct
- https://huggingface.co/mistralai/Mistral-7B-v0.1
datasets:
- HuggingFaceH4/ultrachat_200k
- https://huggingface.co/datasets/org/eps
model_name: Tiny Finance
license_link: https://example.com/license
---
# Tiny
"""


BIG = {"vocab_size": 49152}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
ALL = ("f32", "f16", "bf16", "q8_0", "auto")

VARIANTS: dict[str, Variant] = {
    "grouped queries": Variant(outtypes=ALL),
    "float16": Variant(dtype="float16", outtypes=ALL),
    "float32": Variant(dtype="float32", outtypes=ALL),
    "float64": Variant(dtype="float64", outtypes=("f32", "bf16", "auto")),
    "tied": Variant({"tie_word_embeddings": True}),
    "tied, with a head": Variant({"tie_word_embeddings": True}, change=_with_head),
    "first Llama": Variant(
        {
            "architectures": ["LLaMAForCausalLM"],
            "num_key_value_heads": 4,
            "rope_theta": None,
            "max_position_embeddings": None,
            "max_sequence_length": 2048,
        },
        layout="bin",
        dtype="float16",
        change=_with_buffers,
        outtypes=("f16", "auto"),
        files=_update("config.json", num_key_value_heads=None),
    ),
    "Mistral": Variant(
        {
            "architectures": ["MistralForCausalLM"],
            "model_type": "mistral",
            "head_dim": 32,
            "sliding_window": 4096,
            "rope_theta": 1000000.0,
            "num_key_value_heads": 2,
        },
        folder="Mistral-7B-Instruct-v0.3",
    ),
    "body only": Variant({"architectures": ["LlamaModel"]}, change=_without_prefix),
    "indexed parts": Variant(layout="indexed"),
    "parts without an index": Variant(layout="unindexed"),
    "bin parts": Variant(layout="bin parts", dtype="bfloat16", outtypes=("bf16", "q8_0")),
    "biases": Variant({"attention_bias": True, "mlp_bias": True}, outtypes=("f16", "q8_0")),
    "rope llama3": Variant({"rope_scaling": {"rope_type": "llama3", **LLAMA3}, "rope_theta": 500000.0, "head_dim": 16}),
    "rope llama3 of transformers 5": Variant(
        {"rope_theta": None, "rope_parameters": {"rope_type": "llama3", **LLAMA3, "rope_theta": 500000.0}}
    ),
    "rope linear": Variant({"rope_scaling": {"type": "linear", "factor": 4}}),
    "rope yarn": Variant(
        {"rope_scaling": {"type": "yarn", "factor": 2.5, "original_max_position_embeddings": 128, "beta_fast": 32}}
    ),
    "rope dynamic": Variant({"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    "rope default of transformers 5": Variant(
        {"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 250000}, "dtype": "bfloat16"}
    ),
    "width not a multiple of 32": Variant(
        {"hidden_size": 80, "num_attention_heads": 5, "num_key_value_heads": 5}, outtypes=("q8_0", "bf16")
    ),
    "odd numbers": Variant(dtype="float32", change=_odd_numbers, outtypes=("f32", "f16", "bf16")),
    "odd numbers in bfloat16": Variant(dtype="bfloat16", change=_odd_numbers, outtypes=("f32", "f16", "bf16")),
    "Mixtral": Variant(
        {
            "architectures": ["MixtralForCausalLM"],
            "model_type": "mixtral",
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "rms_norm_eps": None,
            "rope_theta": None,
        },
        outtypes=("f16", "q8_0"),
        files=_update("config.json", num_experts_per_tok=None),
    ),
    "added tokens": Variant(
        files=_all(
            _write(added_tokens__json='{"<one>": 300, "<|two|>": 301, "<beyond>": 999, "<pad>": 302}'),
            _update(
                "tokenizer_config.json",
                added_tokens_decoder={
                    "0": {"content": "<unk>", **PLAIN, "special": True},
                    "302": {"content": "<pad>", **PLAIN, "special": False},
                    "303": {"content": "▁spaced▁", **PLAIN, "special": False},
                    "304": {"content": "<|seems|>", **PLAIN, "special": False},
                    "900": {"content": "<beyond>", **PLAIN, "special": True},
                },
                add_prefix_space=True,
                legacy=False,
            ),
        )
    ),
    "fewer ids than pieces": Variant({"vocab_size": 290}),
    "CodeLlama's vocabulary size": Variant({"vocab_size": 32016, "hidden_size": 32, "num_hidden_layers": 1}),
    "model card": Variant(
        folder="Tiny-Llama-3.2-1B-Instruct-v0.3-16k",
        files=_all(
            _write(
                README__md=CARD,
                generation_config__json='{"temperature": 0.7, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.05}',
            ),
            _update("config.json", _name_or_path="org/Other-Name-7B-chat"),
        ),
    ),
    "no card, odd name": Variant(folder="my model 7b"),
    "named templates": Variant(
        files=_update(
            "tokenizer_config.json",
            chat_template=[{"name": "default", "template": TEMPLATE}, {"name": "tool-use", "template": "{{ tools }}"}],
        )
    ),
    "template file": Variant(
        files=_all(
            _update("tokenizer_config.json", chat_template=None),
            _write(chat_template__jinja=TEMPLATE + "\n", additional_chat_templates___rag__jinja="{{ documents }}"),
        )
    ),
    "template in JSON": Variant(
        files=_all(
            _update("tokenizer_config.json", chat_template=None),
            _write(chat_template__json=json.dumps({"chat_template": TEMPLATE})),
        )
    ),
    "SentencePiece without its model": Variant(tokenizer="spm json"),
    "SentencePiece without its model, Mistral": Variant(
        {"architectures": ["MistralForCausalLM"], "model_type": "mistral"}, tokenizer="spm json"
    ),
    "SentencePiece without its model, plain class": Variant(
        tokenizer="spm json",
        files=_update(
            "tokenizer_config.json",
            tokenizer_class="PreTrainedTokenizerFast",
            added_tokens_decoder={"302": {"content": "<late>", **PLAIN, "special": True}},
        ),
    ),
    "SentencePiece without its model, listed tokens": Variant(
        tokenizer="spm json",
        files=_update(
            "tokenizer_config.json",
            added_tokens_decoder={
                "0": {"content": "<unk>", **PLAIN, "special": True},
                "1": {"content": "<s>", **PLAIN, "special": True},
                "2": {"content": "</s>", **PLAIN, "special": True},
                "300": {"content": "<|turn|>", **PLAIN, "special": True},
            },
            pad_token="<|turn|>",
            chat_template=TEMPLATE,
        ),
    ),
    "byte-level BPE": Variant(BIG, tokenizer="bpe", outtypes=("f16", "q8_0")),
    "byte-level BPE, more ids than tokens": Variant({"vocab_size": 49160}, tokenizer="bpe"),
    "byte-level BPE, late tokens": Variant(
        {"vocab_size": 49160},
        tokenizer="bpe",
        files=_update(
            "tokenizer_config.json",
            added_tokens_decoder={
                "49152": {"content": "<|late|>", **PLAIN, "special": False},
                "49153": {"content": " spaced ", **PLAIN, "special": False},
            },
            pad_token="<padding>",
            tokenizer_class="PreTrainedTokenizerFast",
        ),
    ),
    "byte-level BPE, byte-level post-processor": Variant(
        BIG,
        tokenizer="bpe",
        files=_update("tokenizer.json", post_processor=BYTE_LEVEL),
    ),
    "no tokenizer_config": Variant(
        files=lambda folder: (folder / "tokenizer_config.json").unlink(), config={"pad_token_id": 0}
    ),
    "template processing": Variant(
        tokenizer="spm json",
        files=_update("tokenizer_config.json", eos_token="<extra>", add_eos_token=True, sep_token="</s>"),
    ),
}
