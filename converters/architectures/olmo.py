"""OLMo 1, 2 and 3, and OLMoE."""

from __future__ import annotations

from typing import ClassVar

from converters.architecture import (
    DECODER_TENSORS,
    POST_NORMS,
    Architecture,
    Weight,
    interleave_keys,
    interleave_queries,
    with_arranged,
)
from converters.experts import ROUTED_EXPERTS
from converters.gguf_file import Keys
from converters.hf_config import Config
from converters.layer_types import every_nth_full, sliding_layers

EPSILON = 1e-5
"""What OLMo's norms add; its config.json does not tell."""


WHOLE_NORMS = {
    "model.layers.{i}.self_attn.q_norm": Weight("blk.{i}.attn_q_norm", ("queries",)),
    "model.layers.{i}.self_attn.k_norm": Weight("blk.{i}.attn_k_norm", ("keys",)),
}
"""Norms of all queries and all keys as one."""


class Olmo(Architecture):
    """Its norms have no weights."""

    hf_names = ("OlmoForCausalLM", "OLMoForCausalLM")
    gguf_name = "olmo"
    example = "allenai/OLMo-1B-hf"
    model_types = ("olmo",)
    expects: ClassVar = {"hidden_act": ("silu",)}
    presumes: ClassVar = {"attention_bias": (False,)}
    tensors = with_arranged(
        {key: row for key, row in DECODER_TENSORS.items() if not key.endswith("norm")},
        q_proj=interleave_queries,
        k_proj=interleave_keys,
    )

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        keys.float32(f"{self.gguf_name}.attention.layer_norm_epsilon", EPSILON)
        if (limit := self.config["clip_qkv"]) is not None:
            keys.float32(f"{self.gguf_name}.attention.clamp_kqv", limit)


class Olmo2(Architecture):
    """Norms after attention and feed-forward instead of before, and of all queries and keys as one."""

    hf_names = ("Olmo2ForCausalLM",)
    gguf_name = "olmo2"
    example = "allenai/OLMo-2-0425-1B"
    model_types = ("olmo2",)
    expects: ClassVar = {
        "hidden_act": ("silu",),
    }
    presumes: ClassVar = {"attention_bias": (False,), "tie_word_embeddings": (False,)}
    tensors = {key: row for key, row in DECODER_TENSORS.items() if not key.endswith("input_layernorm")} | {
        **WHOLE_NORMS,
        **POST_NORMS,
    }


class Olmo3(Olmo2):
    """OLMo 2 with sliding windows. Only the layers that see everything have their rotary embedding scaled."""

    hf_names = ("Olmo3ForCausalLM",)
    example = "allenai/Olmo-3-7B-Instruct"
    model_types = ("olmo3",)

    def derive(self, config: Config) -> None:
        super().derive(config)
        if config.get("layer_types") is None:
            config["layer_types"] = every_nth_full(4, config["num_hidden_layers"])

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        keys.uint32(f"{self.gguf_name}.attention.sliding_window", self.config["sliding_window"])
        keys.array(f"{self.gguf_name}.attention.sliding_window_pattern", sliding_layers(self.config))


class Olmoe(Architecture):
    hf_names = ("OlmoeForCausalLM",)
    gguf_name = "olmoe"
    example = "allenai/OLMoE-1B-7B-0924-Instruct"
    model_types = ("olmoe",)
    expects: ClassVar = {
        "hidden_act": ("silu",),
    }
    presumes: ClassVar = {
        "attention_bias": (False,),
        "clip_qkv": (None,),
        "norm_topk_prob": (False,),
        "rms_norm_eps": (EPSILON,),
        "tie_word_embeddings": (False,),
    }
    tensors = {key: row for key, row in DECODER_TENSORS.items() if ".mlp." not in key} | {
        **WHOLE_NORMS,
        **ROUTED_EXPERTS,
    }

    def sizes(self) -> dict[str, int]:
        sizes = super().sizes()
        return sizes | {"expert_feed_forward": sizes["feed_forward"]}

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        keys.float32(f"{self.gguf_name}.attention.layer_norm_rms_epsilon", EPSILON)
