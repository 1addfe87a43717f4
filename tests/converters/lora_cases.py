"""Tiny LoRA adapters as PEFT saves them, for the recorded bases of tests/converters/cases; made without PEFT.

`scripts/parity_lora.py --record` notes in lora_golden.json the SHA-256 of what llama.cpp's convert_lora_to_gguf.py
makes of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from tests.converters.cases import CASES, Case, read_case, tensor_shapes, write_case
from tests.converters.variants import HERE
from tests.smollm2 import write_json
from tests.tiny import Array, write_safetensors, write_torch_bin

GOLDEN = HERE / "lora_golden.json"

PREFIX = "base_model.model."
EMBEDDING = "embed_tokens"
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
LLAMA_LINEAR = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
CARD = """---
license: apache-2.0
base_model: org/Base-7B
library_name: peft
tags: [lora, finance]
---
"""


@dataclass(frozen=True)
class Adapter:
    """An adapter for the base `case`: pairs for its matrices whose module's name ends with one of `targets`.

    `rank` 32 is a whole block of Q8_0. `config` updates adapter_config.json, `ranks` gives modules (by a part of their
    name) another rank. `whole` are names of tensors of the base that are replaced as they are, `extra` are further
    tensors. `dtypes` names the types of tensors that differ, by the end of their name. `rename` replaces in names.
    """

    case: str
    targets: tuple[str, ...] = ATTENTION
    rank: int = 8
    dtype: str = "float32"
    layout: str = "safetensors"
    folder: str = "Tiny-Base-finance-lora"
    card: str = CARD
    config: Mapping[str, Any] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    extra: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    outtypes: tuple[str, ...] = ("f32", "f16", "bf16", "q8_0")

    @property
    def base(self) -> Case:
        return read_case(CASES / f"{self.case}.json")


ADAPTERS: Mapping[str, Adapter] = {
    "llama": Adapter("llama"),
    "llama-all-linear-bf16": Adapter("llama", LLAMA_LINEAR, 32, dtype="bfloat16"),
    "llama-head-and-embedding": Adapter("llama", ("q_proj", "lm_head", EMBEDDING), 32, dtype="float16"),
    "llama-norms": Adapter(
        "llama", ("v_proj",), whole=("model.norm.weight", "model.layers.1.post_attention_layernorm.weight")
    ),
    "llama-base-layer": Adapter("llama", (EMBEDDING,), extra={"model.embed_tokens.base_layer.weight": (320, 96)}),
    "llama-bin": Adapter("llama", layout="bin", dtype="float16", card=""),
    "llama-ranks": Adapter("llama", LLAMA_LINEAR, ranks={"down_proj": 64, "layers.0.": 4}, config={"lora_alpha": 7.5}),
    "llama-mixed-types": Adapter(
        "llama", dtypes={"q_proj.lora_A.weight": "bfloat16", "v_proj.lora_B.weight": "float16"}
    ),
    "llama-3": Adapter("llama-3", LLAMA_LINEAR, 16, dtype="bfloat16", folder="Tiny-8B-Instruct-v2-lora"),
    "mistral": Adapter("mistral", ("q_proj", "v_proj"), 64, dtype="bfloat16"),
    "mixtral-attention": Adapter("mixtral", ATTENTION, 16),
    "mixtral-experts": Adapter("mixtral", ("w1", "w2", "w3", "q_proj", "gate"), 32, dtype="bfloat16"),
    "qwen2": Adapter("qwen2", LLAMA_LINEAR, 8, dtype="bfloat16"),
    "qwen3": Adapter("qwen3", LLAMA_LINEAR, 8),
    "phi3": Adapter("phi3", ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"), 32, dtype="bfloat16"),
    "gemma": Adapter("gemma", LLAMA_LINEAR, 8),
    "gemma2": Adapter("gemma2", LLAMA_LINEAR, 32, dtype="bfloat16", whole=("model.layers.0.input_layernorm.weight",)),
    "gemma3-multimodal": Adapter("gemma3-multimodal", (*LLAMA_LINEAR, "fc1"), 8),
    "gemma3": Adapter("gemma3", (*LLAMA_LINEAR, EMBEDDING), 8),
    "falcon-7b": Adapter("falcon-old", ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"), 8),
    "falcon-40b": Adapter("falcon-40b", ("query_key_value",), 32, dtype="bfloat16"),
    "gpt-neox": Adapter("gpt-neox", ("query_key_value", "dense"), 8),
    "internlm2": Adapter("internlm2-chat", ("wqkv", "wo", "w1", "w2", "w3"), 8),
    "phi2": Adapter("phi2", ("q_proj", "v_proj", "dense", "fc1", "fc2"), 8),
    "olmo2": Adapter("olmo2", LLAMA_LINEAR, 8),
    "granite": Adapter("granite", LLAMA_LINEAR, 8),
    "stablelm2": Adapter("stablelm2", LLAMA_LINEAR, 8),
    "starcoder2": Adapter("starcoder2", ("q_proj", "k_proj", "v_proj", "c_fc"), 8),
    **{
        name: Adapter(case, targets, outtypes=("f16", "q8_0"))
        for name, case, targets in (
            ("bloom", "bloom", ("query_key_value", "dense")),
            ("cohere", "cohere", LLAMA_LINEAR),
            ("qwen2-moe", "qwen2-moe", (*LLAMA_LINEAR, "gate", "shared_expert_gate")),
            ("qwen3-moe", "qwen3-moe", (*LLAMA_LINEAR, "gate")),
            ("deepseek-moe", "deepseek-moe", LLAMA_LINEAR),
            ("deepseek-v2", "deepseek-v2-lite", ("q_proj", "kv_a_proj_with_mqa", "o_proj")),
            ("glm4", "glm4", (*ATTENTION, "gate_up_proj", "down_proj")),
            ("exaone", "exaone3.5", ("q_proj", "k_proj", "v_proj", "out_proj", "c_fc_0", "c_fc_1", "c_proj")),
            ("nemotron", "nemotron", LLAMA_LINEAR),
            ("minicpm", "minicpm", LLAMA_LINEAR),
            ("smollm3", "smollm3", LLAMA_LINEAR),
            ("internlm3", "internlm3", LLAMA_LINEAR),
            ("granite-moe", "granite-moe", ATTENTION),
            ("olmoe", "olmoe", LLAMA_LINEAR),
        )
    },
}  # fmt: skip


def adapter_config(adapter: Adapter) -> dict[str, Any]:
    return {
        "alpha_pattern": {}, "auto_mapping": None, "base_model_name_or_path": "org/Base-7B", "bias": "none",
        "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True, "layers_pattern": None,
        "layers_to_transform": None, "lora_alpha": 16, "lora_dropout": 0.05, "modules_to_save": None,
        "peft_type": "LORA", "r": adapter.rank, "rank_pattern": dict(adapter.ranks), "task_type": "CAUSAL_LM",
        "target_modules": list(adapter.targets), "use_dora": False, "use_rslora": False, **adapter.config,
    }  # fmt: skip


def pairs(adapter: Adapter) -> dict[str, tuple[Array, Array]]:
    """The base's tensors that are changed -> A (r, columns) and B (rows, r), float32; of an embedding both of W^T."""
    result = {}
    for name, shape in tensor_shapes(adapter.base).items():
        module, _, kind = name.rpartition(".")
        if kind != "weight" or module.rpartition(".")[2] not in adapter.targets or len(shape) != 2:
            continue
        rank = next((rank for part, rank in adapter.ranks.items() if part in name), adapter.rank)
        rows, columns = shape[::-1] if module.endswith(EMBEDDING) else shape
        result[name] = _values(f"{name} A", (rank, columns)), _values(f"{name} B", (rows, rank))
    return result


def tensors(adapter: Adapter) -> dict[str, Array]:
    """What the adapter's file holds, under PEFT's names."""
    found: dict[str, Array] = {}
    for name, (a, b) in pairs(adapter).items():
        module = PREFIX + name.removesuffix(".weight")
        kinds = (
            ("lora_embedding_A", "lora_embedding_B")
            if module.endswith(EMBEDDING)
            else ("lora_A.weight", "lora_B.weight")
        )
        found |= {f"{module}.{kinds[0]}": a, f"{module}.{kinds[1]}": b}
    shapes = tensor_shapes(adapter.base)
    found |= {PREFIX + name: _values(name, shapes[name]) for name in adapter.whole}
    found |= {PREFIX + name: _values(name, shape) for name, shape in adapter.extra.items()}
    for part, replacement in adapter.rename.items():
        found = {name.replace(part, replacement): values for name, values in found.items()}
    return found


def write_adapter(parent: Path, adapter: Adapter, *, whole_base: bool = False) -> tuple[Path, Path]:
    """Write adapter and base to new folders in `parent`; return (adapter's folder, base's folder).

    Of the base no more than config.json, which is all that conversion reads, unless `whole_base`.
    """
    base = parent / adapter.base.folder
    if whole_base:
        write_case(parent, replace(adapter.base, layout="one"))
    else:
        base.mkdir(parents=True)
        write_json(base / "config.json", adapter.base.config)
    folder = parent / adapter.folder
    folder.mkdir(parents=True)
    write_json(folder / "adapter_config.json", adapter_config(adapter))
    if adapter.card:
        (folder / "README.md").write_text(adapter.card, encoding="utf-8")
    found = tensors(adapter)
    if adapter.layout == "bin":
        write_torch_bin(folder / "adapter_model.bin", found, adapter.dtype)
        return folder, base
    dtypes = {n: dtype for n in found for end, dtype in adapter.dtypes.items() if n.endswith(end)}
    # The safetensors library writes the widest type first, and names of one type in alphabetical order.
    width = ("float32", "bfloat16", "float16")
    ordered = sorted(found, key=lambda name: (width.index(dtypes.get(name, adapter.dtype)), name))
    write_safetensors(
        folder / "adapter_model.safetensors", {name: found[name] for name in ordered}, adapter.dtype, dtypes
    )
    return folder, base


def _values(name: str, shape: tuple[int, ...]) -> Array:
    random = np.random.default_rng(crc32(name.encode()))
    return random.integers(-(1 << 20), 1 << 20, shape).astype(np.float32) / np.float32(1 << 21)
