"""StableLM 3B, 2 1.6B (with biases) and 2 12B (with norms of queries and keys, and no second norm)."""

from __future__ import annotations

from typing import ClassVar

from converters.architecture import DECODER_TENSORS, Architecture, Weight, with_bias
from converters.gguf_file import Keys
from converters.hf_config import Config, require_numbers

FLAG = (True, False, None)


class StableLm(Architecture):
    hf_names = ("StableLmForCausalLM", "StableLMEpochForCausalLM")
    gguf_name = "stablelm"
    example = "stabilityai/stablelm-2-1_6b"
    model_types = ("stablelm", "stablelm_epoch")
    expects: ClassVar = {
        "hidden_act": ("silu",),
        "use_qkv_bias": FLAG,
        "qk_layernorm": FLAG,
        "use_parallel_residual": FLAG,
    }
    rope_types = ("default",)
    rope_base = 10000.0

    def _has_second_norm(self, layer: int) -> bool:
        return not self.config.get("use_parallel_residual")

    def _has_head_norms(self, layer: int) -> bool:
        return bool(self.config.get("qk_layernorm"))

    presumes: ClassVar = {"tie_word_embeddings": (False,)}
    tensors: ClassVar = with_bias(
        {name: row for name, row in DECODER_TENSORS.items() if ".mlp." not in name},
        input_layernorm=True,
        q_proj="use_qkv_bias",
        k_proj="use_qkv_bias",
        v_proj="use_qkv_bias",
        o_proj=False,
    ) | {
        "model.norm": Weight("output_norm", ("hidden",), bias=True),
        "lm_head": Weight("output", ("vocabulary", "hidden"), absent_if="tie_word_embeddings"),
        "model.layers.{i}.post_attention_layernorm": Weight(
            "blk.{i}.ffn_norm", ("hidden",), bias=True, when=_has_second_norm
        ),
        "model.layers.{i}.self_attn.q_layernorm.norms.{x}": Weight(
            "blk.{i}.attn_q_norm", ("head",), when=_has_head_norms
        ),
        "model.layers.{i}.self_attn.k_layernorm.norms.{x}": Weight(
            "blk.{i}.attn_k_norm", ("head",), when=_has_head_norms
        ),
        "model.layers.{i}.mlp.gate_proj": Weight("blk.{i}.ffn_gate", ("feed_forward", "hidden")),
        "model.layers.{i}.mlp.up_proj": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden")),
        "model.layers.{i}.mlp.down_proj": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward")),
    }

    def n_members(self, row: Weight) -> int:
        return self.n_heads if row.gguf_name.endswith("attn_q_norm") else self.n_kv_heads

    def derive(self, config: Config) -> None:
        # The keys of "stablelm_epoch", whose code lies on the Hub.
        if "norm_eps" in config:
            config["layer_norm_eps"] = config["norm_eps"]
        require_numbers(config["rope_parameters"], "partial_rotary_factor")
        require_numbers(config, "layer_norm_eps", "max_position_embeddings", "intermediate_size", "num_key_value_heads")

    def write_keys(self, keys: Keys, file_type: int) -> None:
        config, name = self.config, self.gguf_name
        rotary_share = config["rope_parameters"]["partial_rotary_factor"]
        keys.uint32(f"{name}.context_length", config["max_position_embeddings"])
        keys.uint32(f"{name}.embedding_length", self.hidden_size)
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.feed_forward_length", config["intermediate_size"])
        keys.uint32(f"{name}.rope.dimension_count", int(rotary_share * self.head_dim))
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        keys.uint32(f"{name}.attention.head_count_kv", self.n_kv_heads)
        # llama.cpp goes by whether there is a second norm, not by this.
        keys.bool(f"{name}.use_parallel_residual", config.get("use_parallel_residual", True))
        keys.float32(f"{name}.attention.layer_norm_epsilon", config["layer_norm_eps"])
        keys.uint32("general.file_type", file_type)
