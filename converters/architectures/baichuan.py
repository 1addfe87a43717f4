"""Baichuan 1 and 2: a Llama whose queries, keys and values are one matrix."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from converters.architecture import CONTEXT_LENGTH, DECODER_TENSORS, Architecture, Weight, interleave_halves
from converters.errors import UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import Config, require_positive, require_sizes
from converters.tensor import Array
from converters.tokenizer import Vocabulary, sentencepiece_vocabulary

W_PACK = ("all", "hidden")


def third(values: Array, n: int) -> Array:
    part: Array = values.reshape(3, -1, values.shape[-1])[n]
    return part


def queries(model: Architecture, values: Array) -> Array:
    return interleave_halves(third(values, 0), model.n_heads)


def keys_of(model: Architecture, values: Array) -> Array:
    return interleave_halves(third(values, 1), model.n_heads)


def values_of(model: Architecture, values: Array) -> Array:
    return third(values, 2)


def output_head(model: Architecture, values: Array) -> Array:
    """Baichuan 2 (the one with a z-loss) sets each row to length 1 before it is used: NormHead in its code."""
    if "z_loss_weight" not in model.config:
        return values
    lengths = np.linalg.norm(values.astype(np.float32), axis=-1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, 1e-12), values.dtype)


class Baichuan(Architecture):
    """llama.cpp knows the 7B models, which have a rotary embedding, by 32 layers, and the 13B ones, which have ALiBi,
    by 40; any others would get neither (src/models/baichuan.cpp)."""

    hf_names = ("BaichuanForCausalLM", "BaiChuanForCausalLM")
    gguf_name = "baichuan"
    example = "baichuan-inc/Baichuan2-7B-Chat"
    model_types = ("baichuan",)
    tensors: ClassVar = {
        **{name: row for name, row in DECODER_TENSORS.items() if not name.endswith(("q_proj", "k_proj", "v_proj"))},
        "lm_head": Weight("output", ("vocabulary", "hidden"), compute=output_head),
        "model.layers.{i}.self_attn.W_pack": (
            Weight("blk.{i}.attn_q", W_PACK, arrange=queries, out=("hidden", "hidden")),
            Weight("blk.{i}.attn_k", W_PACK, arrange=keys_of, out=("hidden", "hidden")),
            Weight("blk.{i}.attn_v", W_PACK, arrange=values_of, out=("hidden", "hidden")),
        ),
    }
    expects: ClassVar = {
        "hidden_act": ("silu",),
        "head_dim": (None,),
        "num_hidden_layers": (32, 40),
    }
    rope_types = ("default",)

    def derive(self, config: Config) -> None:
        super().derive(config)
        require_positive(config, "rms_norm_eps")
        require_sizes(
            config, "intermediate_size", next((key for key in CONTEXT_LENGTH if key in config), CONTEXT_LENGTH[0])
        )
        if self.n_kv_heads != self.n_heads:
            raise UnsupportedConfig(
                "num_key_value_heads", self.n_kv_heads, f"{self.n_heads}, one for each head, is needed"
            )

    def sizes(self) -> dict[str, int]:
        return super().sizes() | {"all": 3 * self.hidden_size}

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        keys.string(f"{self.gguf_name}.tensor_data_layout", "Meta AI original pth")
        keys.uint32(f"{self.gguf_name}.rope.dimension_count", self.head_dim)

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        return sentencepiece_vocabulary(folder, self.config["vocab_size"])
