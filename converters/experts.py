"""Tensors of a mixture of experts as Qwen, DeepSeek and their kin name them: a router, and per expert a gated
feed-forward, the experts stacked in the order of the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from converters.architecture import Architecture, Rows, Weight
from converters.tensor import Array

ROUTED_EXPERTS: Mapping[str, Weight] = {
    "model.layers.{i}.mlp.gate": Weight("blk.{i}.ffn_gate_inp", ("experts", "hidden")),
    "model.layers.{i}.mlp.experts.{x}.down_proj": Weight("blk.{i}.ffn_down_exps", ("hidden", "expert_feed_forward")),
    "model.layers.{i}.mlp.experts.{x}.gate_proj": Weight("blk.{i}.ffn_gate_exps", ("expert_feed_forward", "hidden")),
    "model.layers.{i}.mlp.experts.{x}.up_proj": Weight("blk.{i}.ffn_up_exps", ("expert_feed_forward", "hidden")),
}


def gates(model: Architecture, values: Array) -> Array:
    """The first half of the last axis but one, of (..., gates and ups, hidden): many keep the two in one tensor."""
    return values[..., : values.shape[-2] // 2, :]


def ups(model: Architecture, values: Array) -> Array:
    return values[..., values.shape[-2] // 2 :, :]


GATES_AND_UPS = ("experts", "expert_gates_and_ups", "hidden")
EXPERTS_OUT = ("experts", "expert_feed_forward", "hidden")
STACKED_EXPERTS: Mapping[str, Rows] = {
    "model.layers.{i}.mlp.experts.gate_up_proj": (
        Weight("blk.{i}.ffn_gate_exps", GATES_AND_UPS, suffix="", arrange=gates, out=EXPERTS_OUT),
        Weight("blk.{i}.ffn_up_exps", GATES_AND_UPS, suffix="", arrange=ups, out=EXPERTS_OUT),
    ),
    "model.layers.{i}.mlp.experts.down_proj": Weight(
        "blk.{i}.ffn_down_exps", ("experts", "hidden", "expert_feed_forward"), suffix=""
    ),
}
"""The experts as transformers 5 has them in memory, and saves them on demand: those of a layer in two tensors."""


def shared_expert(name: str, when: Callable[[Any, int], bool] | None = None) -> dict[str, Weight]:
    """The rows of the expert `name` (such as "shared_expert") that every token passes through."""
    wide, narrow = ("shared_feed_forward", "hidden"), ("hidden", "shared_feed_forward")
    return {
        f"model.layers.{{i}}.mlp.{name}.gate_proj": Weight("blk.{i}.ffn_gate_shexp", wide, when=when),
        f"model.layers.{{i}}.mlp.{name}.up_proj": Weight("blk.{i}.ffn_up_shexp", wide, when=when),
        f"model.layers.{{i}}.mlp.{name}.down_proj": Weight("blk.{i}.ffn_down_shexp", narrow, when=when),
    }
