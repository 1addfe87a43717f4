"""MiniCPM 1, 2 and 4: a Llama with scaled embeddings, residuals and logits; MiniCPM 3 has latent attention too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from converters.architecture import (
    DECODER_TENSORS,
    Architecture,
    Weight,
    interleave_keys,
    interleave_queries,
    with_arranged,
)
from converters.errors import UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import Config, require, require_positive, require_sizes
from converters.latent_attention import (
    AROUND_ATTENTION,
    ATTENTION,
    KV_B_SHAPE,
    LATENT_KEYS,
    LATENT_QUERIES,
    latent_sizes,
)
from converters.rope import long_and_short_factors
from converters.tensor import Array
from converters.tokenizer import Vocabulary, sentencepiece_vocabulary


def refuse_longer_context(config: Config) -> None:
    """Raise UnsupportedConfig where longrope stretches the context: llama.cpp is told neither from where on, nor by how
    much attention is scaled then."""
    rope, context = config["rope_parameters"], config["max_position_embeddings"]
    original = rope.get("original_max_position_embeddings")
    if rope.get("rope_type") in ("longrope", "su") and original is not None and original != context:
        wanted = f"{context}, as max_position_embeddings is, is needed: llama.cpp's MiniCPM does not stretch it"
        raise UnsupportedConfig("rope_scaling original_max_position_embeddings", original, wanted)


class MiniCPM(Architecture):
    hf_names = ("MiniCPMForCausalLM",)
    gguf_name = "minicpm"
    example = "openbmb/MiniCPM-2B-sft-bf16"
    model_types = ("minicpm", None)
    tensors: ClassVar = with_arranged(DECODER_TENSORS, q_proj=interleave_queries, k_proj=interleave_keys)
    expects: ClassVar = {
        "hidden_act": ("silu",),
        "attention_bias": (False, None),
        "mlp_bias": (False, None),
    }
    rope_types = (*Architecture.rope_types, "longrope", "su")

    def derive(self, config: Config) -> None:
        super().derive(config)
        config.setdefault("tie_word_embeddings", True)
        require_sizes(config, "max_position_embeddings", "intermediate_size")
        require_positive(config, "rms_norm_eps", "scale_emb", "scale_depth", "dim_model_base")
        refuse_longer_context(config)

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        config, name = self.config, self.gguf_name
        keys.float32(f"{name}.embedding_scale", config["scale_emb"])
        keys.float32(f"{name}.residual_scale", config["scale_depth"] / self.n_layers**0.5)
        keys.float32(f"{name}.logit_scale", self.hidden_size / config["dim_model_base"])

    def extra_tensors(self) -> Iterator[tuple[str, Array]]:
        yield from long_and_short_factors(self.config["rope_parameters"], self.head_dim)

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        return sentencepiece_vocabulary(folder, self.config["vocab_size"])


class MiniCPM3(Architecture):
    hf_names = ("MiniCPM3ForCausalLM",)
    gguf_name = "minicpm3"
    example = "openbmb/MiniCPM3-4B"
    model_types = ("minicpm3",)
    tensors: ClassVar = {
        **AROUND_ATTENTION,
        **{name: row for name, row in DECODER_TENSORS.items() if ".mlp." in name},
        **LATENT_QUERIES,
        **LATENT_KEYS,
        f"{ATTENTION}kv_b_proj": Weight("blk.{i}.attn_kv_b", KV_B_SHAPE),
    }
    expects: ClassVar = {
        "hidden_act": ("silu",),
        "attention_bias": (False, None),
        "mlp_bias": (False, None),
        # llama.cpp has these numbers in its code (src/models/minicpm3.cpp).
        "scale_emb": (12,),
        "scale_depth": (1.4,),
        "dim_model_base": (256,),
    }
    rope_types = ("default", "longrope", "su")
    rope_base = 10000

    def derive(self, config: Config) -> None:
        super().derive(config)
        require_sizes(config, "q_lora_rank", "max_position_embeddings")
        # What llama.cpp assumes, for no key tells it.
        if config["v_head_dim"] is None:
            config["v_head_dim"] = self.hidden_size // self.n_heads
        require(config, "v_head_dim", self.hidden_size // self.n_heads)
        require(config, "num_key_value_heads", self.n_heads)
        refuse_longer_context(config)

    def sizes(self) -> dict[str, int]:
        return super().sizes() | latent_sizes(self.config)

    def write_keys(self, keys: Keys, file_type: int) -> None:
        config, name = self.config, self.gguf_name
        keys.uint32("general.file_type", file_type)
        keys.uint32(f"{name}.context_length", config["max_position_embeddings"])
        keys.uint32(f"{name}.embedding_length", config["hidden_size"])
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.feed_forward_length", config["intermediate_size"])
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        keys.uint32(f"{name}.attention.head_count_kv", config["num_key_value_heads"])
        keys.float32(f"{name}.attention.layer_norm_rms_epsilon", config["rms_norm_eps"])
        keys.uint32(f"{name}.vocab_size", config["vocab_size"])
        keys.uint32(f"{name}.attention.q_lora_rank", config["q_lora_rank"])
        keys.uint32(f"{name}.attention.kv_lora_rank", config["kv_lora_rank"])
        keys.uint32(f"{name}.attention.key_length", config["qk_nope_head_dim"] + config["qk_rope_head_dim"])
        keys.uint32(f"{name}.rope.dimension_count", config["qk_rope_head_dim"])

    def extra_tensors(self) -> Iterator[tuple[str, Array]]:
        yield from long_and_short_factors(self.config["rope_parameters"], self.config["qk_rope_head_dim"])

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        return sentencepiece_vocabulary(folder, self.config["vocab_size"])
