"""Cohere's Command R and Aya: attention and feed-forward side by side after one norm; the embedding is the head too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from converters.architecture import DECODER_TENSORS, Architecture, Planned, Weight
from converters.dtypes import to_float32
from converters.errors import TensorError
from converters.gguf_file import Keys
from converters.hf_config import Config
from converters.layer_types import every_nth_full, require_layer_types
from converters.tensor import NUMPY_TYPES, Tensor

COHERE_TENSORS = {
    key: row for key, row in DECODER_TENSORS.items() if key != "lm_head" and "post_attention_layernorm" not in key
}


def norms_queries_and_keys(model: Architecture, layer: int) -> bool:
    return bool(model.config.get("use_qk_norm"))


class Cohere(Architecture):
    """llama.cpp looks for norms of queries and keys in models of 64 layers and more, and in no other."""

    hf_names = ("CohereForCausalLM",)
    gguf_name = "command-r"
    example = "CohereLabs/c4ai-command-r-v01"
    model_types = ("cohere",)
    expects: ClassVar = {
        "hidden_act": ("silu",),
        "attention_bias": (False,),
        "tie_word_embeddings": (True,),
    }
    tensors = COHERE_TENSORS | {
        "model.layers.{i}.self_attn.q_norm": Weight(
            "blk.{i}.attn_q_norm", ("heads", "head"), when=norms_queries_and_keys
        ),
        "model.layers.{i}.self_attn.k_norm": Weight(
            "blk.{i}.attn_k_norm", ("kv_heads", "head"), when=norms_queries_and_keys
        ),
    }
    rope_types = ("default", "dynamic")

    def derive(self, config: Config) -> None:
        super().derive(config)
        if "model_max_length" in config:
            # Command R was trained on more than the 8,192 tokens that max_position_embeddings tells.
            config["max_position_embeddings"] = config["model_max_length"]

    def sizes(self) -> dict[str, int]:
        return super().sizes() | {"heads": self.n_heads, "kv_heads": self.n_kv_heads}

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        keys.float32(f"{self.gguf_name}.logit_scale", self.config["logit_scale"])
        keys.string(f"{self.gguf_name}.rope.scaling.type", "none")


class Cohere2(Architecture):
    """Command R7B and Command A: sliding windows; layers that see everything know no positions."""

    hf_names = ("Cohere2ForCausalLM",)
    gguf_name = "cohere2"
    example = "CohereLabs/c4ai-command-r7b-12-2024"
    model_types = ("cohere2",)
    expects: ClassVar = {
        "hidden_act": ("silu",),
        "tie_word_embeddings": (True,),
        "rotary_pct": (1.0, None),
        "use_qk_norm": (False, None),
    }
    tensors = COHERE_TENSORS
    rope_types = ("default", "dynamic")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_layer_types(self.config, every_nth_full(4, self.n_layers))

    def derive(self, config: Config) -> None:
        super().derive(config)
        config["head_dim"] = self.hidden_size // self.n_heads
        if config.get("layer_types") is None:
            config["layer_types"] = every_nth_full(config.get("sliding_window_pattern", 4), self.n_layers)

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        name = self.gguf_name
        keys.float32(f"{name}.logit_scale", self.config["logit_scale"])
        keys.uint32(f"{name}.attention.sliding_window", self.config["sliding_window"])
        keys.uint32(f"{name}.vocab_size", self.config["vocab_size"])
        keys.uint32(f"{name}.rope.dimension_count", self.head_dim)
        keys.string(f"{name}.rope.scaling.type", "none")

    def plan(self, tensors: Mapping[str, Tensor]) -> list[Planned]:
        """llama.cpp knows no biases here; those that were saved are all zero, and left out."""
        biases = {name: tensor for name, tensor in tensors.items() if name.endswith(".bias")}
        for name, tensor in biases.items():
            if tensor.dtype not in NUMPY_TYPES or np.any(to_float32(tensor.load(), tensor.dtype)):
                raise TensorError(name, "a bias of zeros, for llama.cpp has none in this architecture", "another")
        return super().plan({name: tensor for name, tensor in tensors.items() if name not in biases})
