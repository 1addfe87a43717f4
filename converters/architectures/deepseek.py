"""DeepSeek: the first mixture of experts (V1), and V2 and V3 with latent attention."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
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
from converters.experts import ROUTED_EXPERTS, shared_expert
from converters.gguf_file import Keys
from converters.hf_config import Config, require_positive, require_sizes
from converters.latent_attention import (
    AROUND_ATTENTION,
    ATTENTION,
    KV_B_SHAPE,
    LATENT_KEYS,
    LATENT_QUERIES,
    key_parts,
    latent_sizes,
    queries_direct,
    value_parts,
)
from converters.tokenizer import Vocabulary, sentencepiece_or_bpe


def is_dense(model: Architecture, layer: int) -> bool:
    return bool(layer < model.config["first_k_dense_replace"])


def has_experts(model: Architecture, layer: int) -> bool:
    return not is_dense(model, layer)


FEED_FORWARD: Mapping[str, Weight] = {
    **{
        name: replace(row, when=is_dense)
        for name, row in DECODER_TENSORS.items()
        if ".mlp." in name and isinstance(row, Weight)
    },
    **{name: replace(row, when=has_experts) for name, row in ROUTED_EXPERTS.items()},
    **shared_expert("shared_experts", when=has_experts),
}
"""Some first layers have a plain feed-forward, all others experts."""


class Deepseek(Architecture):
    hf_names = ("DeepseekForCausalLM",)
    gguf_name = "deepseek"
    example = "deepseek-ai/deepseek-moe-16b-chat"
    model_types = ("deepseek",)
    tensors: ClassVar = {
        **with_arranged(DECODER_TENSORS, q_proj=interleave_queries, k_proj=interleave_keys),
        **FEED_FORWARD,
    }
    expects: ClassVar = {
        "hidden_act": ("silu",),
        "attention_bias": (False, None),
        "moe_layer_freq": (1, None),
        "norm_topk_prob": (False, None),
        "scoring_func": ("softmax", None),
    }
    rope_types = ("default",)

    def derive(self, config: Config) -> None:
        super().derive(config)
        require_sizes(config, "moe_intermediate_size", "n_routed_experts", "n_shared_experts", "num_experts_per_tok")
        require_sizes(config, "first_k_dense_replace", least=0)

    def sizes(self) -> dict[str, int]:
        width = self.config["moe_intermediate_size"]
        return super().sizes() | {
            "expert_feed_forward": width,
            "shared_feed_forward": width * self.config["n_shared_experts"],
        }

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        config, name = self.config, self.gguf_name
        keys.uint32(f"{name}.rope.dimension_count", self.head_dim)
        keys.string(f"{name}.rope.scaling.type", "none")
        keys.uint32(f"{name}.leading_dense_block_count", config["first_k_dense_replace"])
        keys.uint32(f"{name}.vocab_size", config["vocab_size"])
        keys.uint32(f"{name}.expert_feed_forward_length", config["moe_intermediate_size"])
        keys.float32(f"{name}.expert_weights_scale", 1.0)
        keys.uint32(f"{name}.expert_count", config["n_routed_experts"])
        keys.uint32(f"{name}.expert_shared_count", config["n_shared_experts"])

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        return sentencepiece_or_bpe(folder, self.config)


class DeepseekV2(Architecture):
    hf_names = ("DeepseekV2ForCausalLM",)
    gguf_name = "deepseek2"
    example = "deepseek-ai/DeepSeek-V2-Lite-Chat"
    model_types = ("deepseek_v2",)
    tensors: ClassVar = {
        **AROUND_ATTENTION,
        **FEED_FORWARD,
        **LATENT_QUERIES,
        **LATENT_KEYS,
        f"{ATTENTION}q_proj": Weight("blk.{i}.attn_q", ("queries", "hidden"), when=queries_direct),
        f"{ATTENTION}kv_b_proj": (
            Weight("blk.{i}.attn_k_b", KV_B_SHAPE, arrange=key_parts, out=("heads", "key_value_rank", "nope")),
            Weight("blk.{i}.attn_v_b", KV_B_SHAPE, arrange=value_parts, out=("heads", "value", "key_value_rank")),
        ),
    }
    expects: ClassVar = {
        "hidden_act": ("silu",),
        "attention_bias": (False, None),
        "mlp_bias": (False, None),
        "moe_layer_freq": (1, None),
        "scoring_func": ("softmax", None),
    }
    rope_types = ("default", "yarn")

    def derive(self, config: Config) -> None:
        super().derive(config)
        config["head_dim"] = config["qk_rope_head_dim"]
        if config["num_key_value_heads"] != config["num_attention_heads"]:
            wanted = f"the number of heads, {config['num_attention_heads']}, is needed"
            raise UnsupportedConfig("num_key_value_heads", config["num_key_value_heads"], wanted)
        require_sizes(config, "v_head_dim", "n_shared_experts", "num_experts_per_tok")
        if "mscale_all_dim" in config["rope_parameters"]:
            require_positive(config["rope_parameters"], "mscale_all_dim")
        require_sizes(config, "first_k_dense_replace", least=0)

    def sizes(self) -> dict[str, int]:
        width = self.config["moe_intermediate_size"]
        return (
            super().sizes()
            | latent_sizes(self.config)
            | {"expert_feed_forward": width, "shared_feed_forward": width * self.config["n_shared_experts"]}
        )

    def hf_name(self, name: str) -> str | None:
        """Without the layers that predict further tokens, and the head where it is the embedding."""
        layer = re.match(r"model\.layers\.(\d+)\.", name)
        if layer and len(layer[1]) < 10 and int(layer[1]) >= self.n_layers:
            return None
        if self.config["tie_word_embeddings"] and name == "lm_head.weight":
            return None
        return super().hf_name(name)

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        config, name = self.config, self.gguf_name
        rank, rope, nope = config["kv_lora_rank"], config["qk_rope_head_dim"], config["qk_nope_head_dim"]
        # To llama.cpp all heads share one wide key: the latent vector and the rotated part.
        keys.uint32(f"{name}.attention.head_count_kv", 1)
        keys.uint32(f"{name}.leading_dense_block_count", config["first_k_dense_replace"])
        keys.uint32(f"{name}.vocab_size", config["vocab_size"])
        if config["q_lora_rank"] is not None:
            keys.uint32(f"{name}.attention.q_lora_rank", config["q_lora_rank"])
        keys.uint32(f"{name}.attention.kv_lora_rank", rank)
        keys.uint32(f"{name}.attention.key_length", rank + rope)
        keys.uint32(f"{name}.attention.value_length", rank)
        keys.uint32(f"{name}.attention.key_length_mla", nope + rope)
        keys.uint32(f"{name}.attention.value_length_mla", config["v_head_dim"])
        keys.uint32(f"{name}.expert_feed_forward_length", config["moe_intermediate_size"])
        keys.uint32(f"{name}.expert_shared_count", config["n_shared_experts"])
        if config["routed_scaling_factor"] is not None:
            keys.float32(f"{name}.expert_weights_scale", config["routed_scaling_factor"])
        if config["norm_topk_prob"]:
            keys.bool(f"{name}.expert_weights_norm", True)
        keys.uint32(f"{name}.rope.dimension_count", rope)
        if (scale := config["rope_parameters"].get("mscale_all_dim")) is not None:
            keys.float32(f"{name}.rope.scaling.yarn_log_multiplier", 0.1 * scale)


class DeepseekV3(DeepseekV2):
    hf_names = ("DeepseekV3ForCausalLM",)
    example = "deepseek-ai/DeepSeek-V3"
    model_types = ("deepseek_v3",)
    tensors: ClassVar = {
        **DeepseekV2.tensors,
        "model.layers.{i}.mlp.gate.e_score_correction": Weight(
            "blk.{i}.exp_probs_b.bias", ("experts",), suffix=".bias", when=has_experts
        ),
    }
    expects: ClassVar = {
        **DeepseekV2.expects,
        "rope_interleave": (True, None),
        "scoring_func": ("sigmoid", None),
    }

    def derive(self, config: Config) -> None:
        super().derive(config)
        # transformers 5 does not save the key; without it llama.cpp takes softmax.
        self.doubt("scoring_func", "sigmoid", why='llama.cpp will take softmax; put "scoring_func": "sigmoid" there')
