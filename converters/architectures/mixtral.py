"""Mixtral: Mistral with eight feed-forward experts, of which a router picks two."""

from __future__ import annotations

from typing import ClassVar

from converters.architecture import Weight
from converters.architectures.llama import Llama


class Mixtral(Llama):
    hf_names = ("MixtralForCausalLM",)
    example = "mistralai/Mixtral-8x7B-Instruct-v0.1"
    model_types = ("mixtral",)
    tensors: ClassVar = {name: weight for name, weight in Llama.tensors.items() if ".mlp." not in name} | {
        "model.layers.{i}.block_sparse_moe.gate": Weight("blk.{i}.ffn_gate_inp", ("experts", "hidden")),
        "model.layers.{i}.block_sparse_moe.experts.{x}.w1": Weight("blk.{i}.ffn_gate_exps", ("feed_forward", "hidden")),
        "model.layers.{i}.block_sparse_moe.experts.{x}.w2": Weight("blk.{i}.ffn_down_exps", ("hidden", "feed_forward")),
        "model.layers.{i}.block_sparse_moe.experts.{x}.w3": Weight("blk.{i}.ffn_up_exps", ("feed_forward", "hidden")),
    }
