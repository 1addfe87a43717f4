"""Falcon: 7B, whose heads share one key and value, and 11B to 180B, whose heads do so in groups.

Falcon RW (with ALiBi) and Falcon 11B (another rotary base) are refused: llama.cpp has no way to say so in a file.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from converters.architecture import NOT_LOADED, Architecture, Weight
from converters.gguf_file import Keys
from converters.hf_config import Config, require, require_numbers
from converters.tensor import Array


class Falcon(Architecture):
    hf_names = ("FalconForCausalLM", "RWForCausalLM")
    gguf_name = "falcon"
    example = "tiiuae/falcon-7b"
    model_types = ("falcon", "RefinedWeb", "RefinedWebModel")
    expects: ClassVar = {
        "activation": ("gelu", None),
        "alibi": (False, None),
        "bias": (False, None),
        "parallel_attn": (True, None),
        "apply_residual_connection_post_layernorm": (False, None),
    }
    rope_types = ("default",)
    rope_base = 10000.0

    def derive(self, config: Config) -> None:
        hidden = self.hidden_size
        require_numbers(config, "layer_norm_epsilon")
        grouped = config.get("new_decoder_architecture", "n_head_kv" in config)
        if not grouped:
            require(config, "multi_query", True, None)
        # Without groups there is one key, whatever num_kv_heads says (FalconAttention in transformers).
        n_kv_heads = config.get("num_kv_heads") or config.get("n_head_kv") or self.n_heads
        config["num_kv_heads"] = n_kv_heads if grouped else 1
        config["two_norms"] = grouped and config.get("num_ln_in_parallel_attn") in (2, None)
        if config.get("ffn_hidden_size") is not None:
            self.doubt("ffn_hidden_size", 4 * hidden, why=NOT_LOADED)
        # What a configuration that transformers does not know of inherits there.
        config.setdefault("tie_word_embeddings", True)

    def _one_norm(self, layer: int) -> bool:
        return not self.config["two_norms"]

    def _two_norms(self, layer: int) -> bool:
        return bool(self.config["two_norms"])

    def _sort_groups(self, values: Array) -> Array:
        """values: for each key its queries, it and its value, each (head_dim, hidden) -> queries, keys, values."""
        groups = values.reshape(self.n_kv_heads, -1, self.head_dim, values.shape[-1])
        parts = (groups[:, :-2], groups[:, -2], groups[:, -1])
        return np.concatenate([part.reshape(-1, values.shape[-1]) for part in parts])

    tensors: ClassVar = {
        "transformer.word_embeddings": Weight("token_embd", ("vocabulary", "hidden")),
        "transformer.ln_f": Weight("output_norm", ("hidden",), bias=True),
        "lm_head": Weight("output", ("vocabulary", "hidden"), absent_if="tie_word_embeddings"),
        "transformer.h.{i}.input_layernorm": Weight("blk.{i}.attn_norm", ("hidden",), bias=True, when=_one_norm),
        "transformer.h.{i}.ln_attn": Weight("blk.{i}.attn_norm_2", ("hidden",), bias=True, when=_two_norms),
        "transformer.h.{i}.ln_mlp": Weight("blk.{i}.attn_norm", ("hidden",), bias=True, when=_two_norms),
        "transformer.h.{i}.self_attention.query_key_value": Weight(
            "blk.{i}.attn_qkv", ("queries_keys_values", "hidden"), arrange=_sort_groups
        ),
        "transformer.h.{i}.self_attention.dense": Weight("blk.{i}.attn_output", ("hidden", "hidden")),
        "transformer.h.{i}.mlp.dense_h_to_4h": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden")),
        "transformer.h.{i}.mlp.dense_4h_to_h": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward")),
    }

    def sizes(self) -> dict[str, int]:
        sizes = super().sizes()
        return sizes | {
            "feed_forward": self.config.get("ffn_hidden_size") or 4 * self.hidden_size,
            "queries_keys_values": sizes["queries"] + 2 * sizes["keys"],
        }

    @property
    def n_kv_heads(self) -> int:
        return int(self.config["num_kv_heads"])

    def write_keys(self, keys: Keys, file_type: int) -> None:
        name = self.gguf_name
        keys.uint32(f"{name}.context_length", 2048)
        keys.string(f"{name}.tensor_data_layout", "jploski")
        keys.uint32(f"{name}.embedding_length", self.hidden_size)
        keys.uint32(f"{name}.feed_forward_length", 4 * self.hidden_size)
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        keys.uint32(f"{name}.attention.head_count_kv", self.n_kv_heads)
        keys.float32(f"{name}.attention.layer_norm_epsilon", self.config["layer_norm_epsilon"])
        keys.uint32("general.file_type", file_type)
