"""GPT-NeoX (Pythia, Dolly 2, RedPajama, ...) and BLOOM, whose queries, keys and values lie together head by head."""

from __future__ import annotations

from typing import ClassVar

from converters.architecture import GELU, Architecture, Weight
from converters.gguf_file import Keys
from converters.hf_config import Config, require_numbers
from converters.tensor import Array


def sort_heads(model: Architecture, values: Array) -> Array:
    """values (n_heads * 3 * head_dim, ...) -> (3, n_heads, head_dim, ...): all queries, all keys, all values."""
    return values.reshape(model.n_heads, 3, model.head_dim, *values.shape[1:]).swapaxes(0, 1)


class GptNeox(Architecture):
    hf_names = ("GPTNeoXForCausalLM",)
    gguf_name = "gptneox"
    example = "EleutherAI/pythia-70m"
    model_types = ("gpt_neox",)
    expects: ClassVar = {"hidden_act": GELU, "attention_bias": (True,)}
    presumes: ClassVar = {"tie_word_embeddings": (False,)}
    rope_types = ("default",)
    rope_base = 10000.0
    tensors: ClassVar = {
        "gpt_neox.embed_in": Weight("token_embd", ("vocabulary", "hidden")),
        "gpt_neox.final_layer_norm": Weight("output_norm", ("hidden",), bias=True),
        "embed_out": Weight("output", ("vocabulary", "hidden"), absent_if="tie_word_embeddings"),
        "gpt_neox.layers.{i}.input_layernorm": Weight("blk.{i}.attn_norm", ("hidden",), bias=True),
        "gpt_neox.layers.{i}.post_attention_layernorm": Weight("blk.{i}.ffn_norm", ("hidden",), bias=True),
        "gpt_neox.layers.{i}.attention.query_key_value": Weight(
            "blk.{i}.attn_qkv", ("queries_keys_values", "hidden"), bias=True, arrange=sort_heads
        ),
        "gpt_neox.layers.{i}.attention.dense": Weight("blk.{i}.attn_output", ("hidden", "hidden"), bias=True),
        "gpt_neox.layers.{i}.mlp.dense_h_to_4h": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden"), bias=True),
        "gpt_neox.layers.{i}.mlp.dense_4h_to_h": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward"), bias=True),
    }

    def sizes(self) -> dict[str, int]:
        return super().sizes() | {"queries_keys_values": 3 * self.hidden_size}

    def write_keys(self, keys: Keys, file_type: int) -> None:
        """As for all families, but that the file type is not told."""
        config, name = self.config, self.gguf_name
        rotary_share = config["rope_parameters"]["partial_rotary_factor"]
        keys.uint32(f"{name}.context_length", config["max_position_embeddings"])
        keys.uint32(f"{name}.embedding_length", self.hidden_size)
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.feed_forward_length", config["intermediate_size"])
        keys.uint32(f"{name}.rope.dimension_count", int(rotary_share * self.head_dim))
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        keys.bool(f"{name}.use_parallel_residual", config["use_parallel_residual"])
        keys.float32(f"{name}.attention.layer_norm_epsilon", config["layer_norm_eps"])


class Bloom(Architecture):
    hf_names = ("BloomForCausalLM", "BloomModel")
    gguf_name = "bloom"
    example = "bigscience/bloom-560m"
    model_types = ("bloom",)
    expects: ClassVar = {"apply_residual_connection_post_layernorm": (False,)}
    optional_prefix = "transformer."
    tensors: ClassVar = {
        "word_embeddings": Weight("token_embd", ("vocabulary", "hidden")),
        "word_embeddings_layernorm": Weight("token_embd_norm", ("hidden",), bias=True),
        "ln_f": Weight("output_norm", ("hidden",), bias=True),
        "lm_head": Weight("output", ("vocabulary", "hidden"), absent_if="tie_word_embeddings"),
        "h.{i}.input_layernorm": Weight("blk.{i}.attn_norm", ("hidden",), bias=True),
        "h.{i}.post_attention_layernorm": Weight("blk.{i}.ffn_norm", ("hidden",), bias=True),
        "h.{i}.self_attention.query_key_value": Weight(
            "blk.{i}.attn_qkv", ("queries_keys_values", "hidden"), bias=True, arrange=sort_heads
        ),
        "h.{i}.self_attention.dense": Weight("blk.{i}.attn_output", ("hidden", "hidden"), bias=True),
        "h.{i}.mlp.dense_h_to_4h": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden"), bias=True),
        "h.{i}.mlp.dense_4h_to_h": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward"), bias=True),
    }

    def derive(self, config: Config) -> None:
        if "seq_length" in config:
            require_numbers(config, "seq_length")

    def sizes(self) -> dict[str, int]:
        return super().sizes() | {"queries_keys_values": 3 * self.hidden_size}

    def write_keys(self, keys: Keys, file_type: int) -> None:
        name, hidden = self.gguf_name, self.hidden_size
        # ALiBi sets no limit to the context; the width stands in for it where none is told.
        keys.uint32(f"{name}.context_length", self.config.get("seq_length", hidden))
        keys.uint32(f"{name}.embedding_length", hidden)
        keys.uint32(f"{name}.feed_forward_length", 4 * hidden)
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        keys.uint32(f"{name}.attention.head_count_kv", self.n_heads)
        keys.float32(f"{name}.attention.layer_norm_epsilon", self.config["layer_norm_epsilon"])
        keys.uint32("general.file_type", file_type)
