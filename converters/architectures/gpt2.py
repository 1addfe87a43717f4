"""GPT-2, and StarCoder 1 (GPTBigCode): GPT-2 with one key and value for all heads."""

from __future__ import annotations

from typing import ClassVar

from converters.architecture import GELU, NOT_LOADED, Architecture, Weight, transposed
from converters.gguf_file import Keys
from converters.hf_config import Config, require

BUFFERS = (".attn.bias", ".attn.masked_bias")
"""Endings of causal masks that transformers once saved."""


class Gpt2(Architecture):
    hf_names = ("GPT2LMHeadModel",)
    gguf_name = "gpt2"
    example = "openai-community/gpt2"
    model_types = ("gpt2",)
    expects: ClassVar = {
        "activation_function": GELU,
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    }
    optional_prefix = "transformer."
    tensors: ClassVar = {
        "wte": Weight("token_embd", ("vocabulary", "hidden")),
        "wpe": Weight("position_embd", ("positions", "hidden")),
        "ln_f": Weight("output_norm", ("hidden",), bias=True),
        "lm_head": Weight("output", ("vocabulary", "hidden"), absent_if="tie_word_embeddings"),
        "h.{i}.ln_1": Weight("blk.{i}.attn_norm", ("hidden",), bias=True),
        "h.{i}.ln_2": Weight("blk.{i}.ffn_norm", ("hidden",), bias=True),
        "h.{i}.attn.c_attn": Weight(
            "blk.{i}.attn_qkv",
            ("hidden", "queries_keys_values"),
            True,
            arrange=transposed,
            out=("queries_keys_values", "hidden"),
        ),
        "h.{i}.attn.c_proj": Weight("blk.{i}.attn_output", ("hidden", "hidden"), True, arrange=transposed),
        "h.{i}.mlp.c_fc": Weight(
            "blk.{i}.ffn_up", ("hidden", "feed_forward"), True, arrange=transposed, out=("feed_forward", "hidden")
        ),
        "h.{i}.mlp.c_proj": Weight(
            "blk.{i}.ffn_down", ("feed_forward", "hidden"), True, arrange=transposed, out=("hidden", "feed_forward")
        ),
    }

    def derive(self, config: Config) -> None:
        self.doubt("n_inner", 4 * config["n_embd"], None, why=NOT_LOADED)
        # The same number by its former name.
        require(config, "n_ctx", config["n_positions"], None)

    def hf_name(self, name: str) -> str | None:
        return None if name.endswith(BUFFERS) else super().hf_name(name)

    def sizes(self) -> dict[str, int]:
        sizes = super().sizes()
        return sizes | {
            "positions": self.config["n_positions"],
            "feed_forward": self.config.get("n_inner") or 4 * self.hidden_size,
            "queries_keys_values": sizes["queries"] + 2 * sizes["keys"],
        }

    def write_keys(self, keys: Keys, file_type: int) -> None:
        name = self.gguf_name
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.context_length", self.config["n_positions"])
        keys.uint32(f"{name}.embedding_length", self.hidden_size)
        keys.uint32(f"{name}.feed_forward_length", 4 * self.hidden_size)
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        keys.float32(f"{name}.attention.layer_norm_epsilon", self.config["layer_norm_epsilon"])
        keys.uint32("general.file_type", file_type)


class GptBigCode(Gpt2):
    """Its matrices are stored as those of other models, not the other way round as GPT-2's."""

    hf_names = ("GPTBigCodeForCausalLM",)
    gguf_name = "starcoder"
    example = "bigcode/starcoderbase-1b"
    model_types = ("gpt_bigcode",)
    expects: ClassVar = {
        "activation_function": GELU,
        "scale_attn_weights": (True,),
        "multi_query": (True,),
        "add_cross_attention": (False,),
    }
    tensors: ClassVar = {
        **Gpt2.tensors,
        "h.{i}.attn.c_attn": Weight("blk.{i}.attn_qkv", ("queries_keys_values", "hidden"), bias=True),
        "h.{i}.attn.c_proj": Weight("blk.{i}.attn_output", ("hidden", "hidden"), bias=True),
        "h.{i}.mlp.c_fc": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden"), bias=True),
        "h.{i}.mlp.c_proj": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward"), bias=True),
    }

    @property
    def n_kv_heads(self) -> int:
        return 1

    def write_keys(self, keys: Keys, file_type: int) -> None:
        name = self.gguf_name
        keys.uint32(f"{name}.context_length", self.config["n_positions"])
        keys.uint32(f"{name}.embedding_length", self.hidden_size)
        keys.uint32(f"{name}.feed_forward_length", 4 * self.hidden_size)
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        keys.uint32(f"{name}.attention.head_count_kv", self.n_kv_heads)
        keys.float32(f"{name}.attention.layer_norm_epsilon", self.config["layer_norm_epsilon"])
        keys.uint32("general.file_type", file_type)
