"""EXAONE 3, 3.5 and 4."""

from __future__ import annotations

from typing import Any, ClassVar

from converters.architecture import DECODER_TENSORS, POST_NORMS, QUERY_KEY_NORMS, Architecture, Weight
from converters.errors import UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import FULL, SLIDING, Config, require_positive, require_sizes
from converters.layer_types import every_nth_full, sliding_layers


class Exaone(Architecture):
    """EXAONE 3 and 3.5, whose code lies beside the weights."""

    hf_names = ("ExaoneForCausalLM",)
    gguf_name = "exaone"
    example = "LGAI-EXAONE/EXAONE-3.5-2.4B-Instruct"
    model_types = ("exaone",)
    expects: ClassVar = {"activation_function": ("silu",)}
    tensors: ClassVar = {
        "transformer.wte": Weight("token_embd", ("vocabulary", "hidden")),
        "transformer.ln_f": Weight("output_norm", ("hidden",)),
        "lm_head": DECODER_TENSORS["lm_head"],
        "transformer.h.{i}.ln_1": Weight("blk.{i}.attn_norm", ("hidden",)),
        "transformer.h.{i}.attn.attention.q_proj": Weight("blk.{i}.attn_q", ("queries", "hidden")),
        "transformer.h.{i}.attn.attention.k_proj": Weight("blk.{i}.attn_k", ("keys", "hidden")),
        "transformer.h.{i}.attn.attention.v_proj": Weight("blk.{i}.attn_v", ("keys", "hidden")),
        "transformer.h.{i}.attn.attention.out_proj": Weight("blk.{i}.attn_output", ("hidden", "queries")),
        "transformer.h.{i}.ln_2": Weight("blk.{i}.ffn_norm", ("hidden",)),
        "transformer.h.{i}.mlp.c_fc_0": Weight("blk.{i}.ffn_gate", ("feed_forward", "hidden")),
        "transformer.h.{i}.mlp.c_fc_1": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden")),
        "transformer.h.{i}.mlp.c_proj": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward")),
    }
    rope_types = (*Architecture.rope_types, "llama3")

    def derive(self, config: Config) -> None:
        super().derive(config)
        require_sizes(config, "intermediate_size", "max_position_embeddings")
        require_positive(config, "layer_norm_epsilon")

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        share = self.config["rope_parameters"].get("partial_rotary_factor", 1.0)
        keys.uint32(f"{self.gguf_name}.rope.dimension_count", int(share * (self.hidden_size // self.n_heads)))


class Exaone4(Architecture):
    """Norms of queries and keys, and after attention and feed-forward instead of before.

    llama.cpp knows the model with sliding windows (32B) by its 64 layers; those that see everything know no positions.
    """

    hf_names = ("Exaone4ForCausalLM",)
    gguf_name = "exaone4"
    example = "LGAI-EXAONE/EXAONE-4.0-1.2B"
    model_types = ("exaone4",)
    expects: ClassVar = {"hidden_act": ("silu",)}
    tensors: ClassVar = {key: row for key, row in DECODER_TENSORS.items() if not key.endswith("input_layernorm")} | {
        **QUERY_KEY_NORMS,
        **POST_NORMS,
    }
    rope_types = (*Architecture.rope_types, "llama3")

    def derive(self, config: Config) -> None:
        super().derive(config)
        if config.get("layer_types") is None:
            config["layer_types"] = _layer_types(config.get("sliding_window_pattern", 4), config["num_hidden_layers"])

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        keys.uint32(f"{self.gguf_name}.vocab_size", self.config["vocab_size"])
        if (window := self.config["sliding_window"]) is not None:
            keys.uint32(f"{self.gguf_name}.attention.sliding_window", window)
            keys.array(f"{self.gguf_name}.attention.sliding_window_pattern", sliding_layers(self.config))


def _layer_types(pattern: Any, n_layers: int) -> list[str]:
    """From a number (every so manieth layer sees everything) or a word that repeats, such as LLLG: local, global."""
    if type(pattern) is int and pattern > 0:
        return every_nth_full(pattern, n_layers)
    if isinstance(pattern, str) and pattern and set(pattern) <= {"L", "G"}:
        return [SLIDING if pattern[i % len(pattern)] == "L" else FULL for i in range(n_layers)]
    raise UnsupportedConfig("sliding_window_pattern", pattern, "a number, or a word of the letters L and G is needed")
