"""Granite: Llama with factors on embeddings, attention, residuals and logits; and its kinds with experts."""

from __future__ import annotations

from typing import ClassVar

from converters.architecture import Architecture, Weight
from converters.architectures.llama import Llama
from converters.experts import gates, ups
from converters.gguf_file import Keys
from converters.hf_config import Config

SCALES = (
    ("attention_multiplier", "attention.scale"),
    ("embedding_multiplier", "embedding_scale"),
    ("residual_multiplier", "residual_scale"),
    ("logits_scaling", "logit_scale"),
)
"""Key of config.json -> key of GGUF."""


def has_shared_expert(model: Architecture, layer: int) -> bool:
    return bool(model.config.get("shared_intermediate_size"))


class Granite(Llama):
    hf_names: ClassVar[tuple[str, ...]] = ("GraniteForCausalLM",)
    gguf_name = "granite"
    example = "ibm-granite/granite-3.3-2b-instruct"
    model_types: ClassVar[tuple[str, ...]] = ("granite",)
    rope_types = Architecture.rope_types

    def derive(self, config: Config) -> None:
        super().derive(config)
        config.pop("head_dim", None)  # llama.cpp has no Granite with heads of another width than the usual one

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        for name, key in SCALES:
            if scale := self.config[name]:
                keys.float32(f"{self.gguf_name}.{key}", scale)


class GraniteMoe(Granite):
    """All experts of a layer are one tensor already; GraniteMoeShared has one that is always used beside them."""

    hf_names = ("GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM")
    gguf_name = "granitemoe"
    example = "ibm-granite/granite-3.1-3b-a800m-instruct"
    model_types = ("granitemoe", "granitemoeshared")
    tensors: ClassVar = {key: row for key, row in Llama.tensors.items() if ".mlp." not in key} | {
        "model.layers.{i}.block_sparse_moe.router.layer": Weight("blk.{i}.ffn_gate_inp", ("experts", "hidden")),
        "model.layers.{i}.block_sparse_moe.input_linear": (
            Weight(
                "blk.{i}.ffn_gate_exps",
                ("experts", "gates_and_ups", "hidden"),
                arrange=gates,
                out=("experts", "feed_forward", "hidden"),
            ),
            Weight(
                "blk.{i}.ffn_up_exps",
                ("experts", "gates_and_ups", "hidden"),
                arrange=ups,
                out=("experts", "feed_forward", "hidden"),
            ),
        ),
        "model.layers.{i}.block_sparse_moe.output_linear": Weight(
            "blk.{i}.ffn_down_exps", ("experts", "hidden", "feed_forward")
        ),
        "model.layers.{i}.shared_mlp.input_linear": (
            Weight(
                "blk.{i}.ffn_gate_shexp",
                ("shared_gates_and_ups", "hidden"),
                when=has_shared_expert,
                arrange=gates,
                out=("shared_feed_forward", "hidden"),
            ),
            Weight(
                "blk.{i}.ffn_up_shexp",
                ("shared_gates_and_ups", "hidden"),
                arrange=ups,
                out=("shared_feed_forward", "hidden"),
            ),
        ),
        "model.layers.{i}.shared_mlp.output_linear": Weight(
            "blk.{i}.ffn_down_shexp", ("hidden", "shared_feed_forward"), when=has_shared_expert
        ),
    }

    def sizes(self) -> dict[str, int]:
        sizes = super().sizes()
        shared = self.config.get("shared_intermediate_size") or 0
        return sizes | {
            "gates_and_ups": 2 * sizes["feed_forward"],
            "shared_feed_forward": shared,
            "shared_gates_and_ups": 2 * shared,
        }

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        if shared := self.config.get("shared_intermediate_size"):
            keys.uint32(f"{self.gguf_name}.expert_shared_feed_forward_length", shared)
