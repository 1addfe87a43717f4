"""Phi 1, 1.5 and 2, and Phi 3 to 4, which are another design: attention and feed-forward each fused, long contexts by
two sets of rotary factors."""

from __future__ import annotations

from collections.abc import Iterator
from math import log, sqrt
from pathlib import Path
from typing import ClassVar

from converters.architecture import DECODER_TENSORS, GELU, NOT_LOADED, Architecture, Weight
from converters.errors import UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import Config, first
from converters.rope import long_and_short_factors
from converters.tensor import Array
from converters.tokenizer import Vocabulary, phi3_vocabulary


class Phi2(Architecture):
    hf_names = ("PhiForCausalLM",)
    gguf_name = "phi2"
    example = "microsoft/phi-2"
    model_types = ("phi",)
    expects: ClassVar = {"hidden_act": GELU, "qk_layernorm": (False, None)}
    presumes: ClassVar = {"tie_word_embeddings": (False,)}
    rope_types = ("default",)
    rope_base = 10000.0
    tensors: ClassVar = {
        "model.embed_tokens": Weight("token_embd", ("vocabulary", "hidden")),
        "model.final_layernorm": Weight("output_norm", ("hidden",), bias=True),
        "lm_head": Weight("output", ("vocabulary", "hidden"), bias=True, absent_if="tie_word_embeddings"),
        "model.layers.{i}.input_layernorm": Weight("blk.{i}.attn_norm", ("hidden",), bias=True),
        "model.layers.{i}.self_attn.q_proj": Weight("blk.{i}.attn_q", ("hidden", "hidden"), bias=True),
        "model.layers.{i}.self_attn.k_proj": Weight("blk.{i}.attn_k", ("keys", "hidden"), bias=True),
        "model.layers.{i}.self_attn.v_proj": Weight("blk.{i}.attn_v", ("keys", "hidden"), bias=True),
        "model.layers.{i}.self_attn.dense": Weight("blk.{i}.attn_output", ("hidden", "hidden"), bias=True),
        "model.layers.{i}.mlp.fc1": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden"), bias=True),
        "model.layers.{i}.mlp.fc2": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward"), bias=True),
    }

    def derive(self, config: Config) -> None:
        super().derive(config)
        self.doubt("num_key_value_heads", config["num_attention_heads"], why=NOT_LOADED)
        self.doubt("intermediate_size", 4 * config["hidden_size"], why=NOT_LOADED)

    def write_keys(self, keys: Keys, file_type: int) -> None:
        config, name, hidden = self.config, self.gguf_name, self.hidden_size
        rotary_share = config["rope_parameters"]["partial_rotary_factor"]
        keys.uint32(f"{name}.context_length", first(config, ("n_positions", "max_position_embeddings")))
        keys.uint32(f"{name}.embedding_length", hidden)
        keys.uint32(f"{name}.feed_forward_length", 4 * hidden)
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        keys.uint32(f"{name}.attention.head_count_kv", self.n_heads)
        keys.float32(f"{name}.attention.layer_norm_epsilon", config["layer_norm_eps"])
        keys.uint32(f"{name}.rope.dimension_count", int(rotary_share * hidden) // self.n_heads)
        keys.uint32("general.file_type", file_type)
        keys.bool("tokenizer.ggml.add_bos_token", False)


class Phi3(Architecture):
    hf_names = ("Phi3ForCausalLM",)
    gguf_name = "phi3"
    example = "microsoft/Phi-4-mini-instruct"
    model_types = ("phi3",)
    expects: ClassVar = {"hidden_act": ("silu",)}
    rope_types = ("default", "longrope", "su", "yarn")
    tensors: ClassVar = {
        name: row for name, row in DECODER_TENSORS.items() if ".self_attn." not in name and ".mlp." not in name
    } | {
        "model.layers.{i}.self_attn.qkv_proj": Weight("blk.{i}.attn_qkv", ("queries_keys_values", "hidden")),
        "model.layers.{i}.self_attn.o_proj": Weight("blk.{i}.attn_output", ("hidden", "queries")),
        "model.layers.{i}.mlp.gate_up_proj": Weight("blk.{i}.ffn_up", ("gate_and_up", "hidden")),
        "model.layers.{i}.mlp.down_proj": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward")),
    }

    def derive(self, config: Config) -> None:
        super().derive(config)
        original = config["rope_parameters"].get("original_max_position_embeddings")
        if type(original) is not int or original < 2:
            wanted = "a whole number greater than 1 is needed"
            raise UnsupportedConfig("original_max_position_embeddings", original, wanted)

    @property
    def rope_dims(self) -> int:
        share = self.config["rope_parameters"].get("partial_rotary_factor", 1.0)
        return int(share * self.hidden_size) // self.n_heads

    @property
    def context(self) -> int:
        return int(first(self.config, ("n_positions", "max_position_embeddings")))

    def sizes(self) -> dict[str, int]:
        sizes = super().sizes()
        return sizes | {
            "queries_keys_values": sizes["queries"] + 2 * sizes["keys"],
            "gate_and_up": 2 * sizes["feed_forward"],
        }

    def write_first_keys(self, keys: Keys) -> None:
        """By how much longrope strengthens attention, once the context is longer than the original one (Ding et al.,
        LongRoPE, 2024)."""
        rope = self.config["rope_parameters"]
        if not rope.get("long_factor"):
            return
        original = rope["original_max_position_embeddings"]
        scale = self.context / original
        # Known to transformers as "longrope" whatever its name is here: "su" and "yarn" are former ones.
        factor = sqrt(1 + log(scale) / log(original)) if scale > 1 else 1.0
        keys.float32(f"{self.gguf_name}.rope.scaling.attn_factor", factor)

    def write_keys(self, keys: Keys, file_type: int) -> None:
        config, name, rope = self.config, self.gguf_name, self.config["rope_parameters"]
        keys.uint32(f"{name}.context_length", self.context)
        keys.uint32(f"{name}.rope.scaling.original_context_length", rope["original_max_position_embeddings"])
        keys.uint32(f"{name}.embedding_length", self.hidden_size)
        keys.uint32(f"{name}.feed_forward_length", config["intermediate_size"])
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        keys.uint32(f"{name}.attention.head_count_kv", self.n_kv_heads)
        keys.float32(f"{name}.attention.layer_norm_rms_epsilon", config["rms_norm_eps"])
        keys.uint32(f"{name}.rope.dimension_count", self.rope_dims)
        keys.float32(f"{name}.rope.freq_base", rope["rope_theta"])
        keys.uint32("general.file_type", file_type)
        # 0 tells llama.cpp that there is none, as in Phi 4.
        keys.uint32(f"{name}.attention.sliding_window", config.get("sliding_window") or 0)

    def extra_tensors(self) -> Iterator[tuple[str, Array]]:
        yield from long_and_short_factors(self.config["rope_parameters"], self.rope_dims)

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        return phi3_vocabulary(folder, self.config)
