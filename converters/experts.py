"""Tensors of a mixture of experts as Qwen, DeepSeek and their kin name them: a router, and per expert a gated
feed-forward, the experts stacked in the order of the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from converters.architecture import Weight

ROUTED_EXPERTS: Mapping[str, Weight] = {
    "model.layers.{i}.mlp.gate": Weight("blk.{i}.ffn_gate_inp", ("experts", "hidden")),
    "model.layers.{i}.mlp.experts.{x}.down_proj": Weight("blk.{i}.ffn_down_exps", ("hidden", "expert_feed_forward")),
    "model.layers.{i}.mlp.experts.{x}.gate_proj": Weight("blk.{i}.ffn_gate_exps", ("expert_feed_forward", "hidden")),
    "model.layers.{i}.mlp.experts.{x}.up_proj": Weight("blk.{i}.ffn_up_exps", ("expert_feed_forward", "hidden")),
}


def shared_expert(name: str, when: Callable[[Any, int], bool] | None = None) -> dict[str, Weight]:
    """The rows of the expert `name` (such as "shared_expert") that every token passes through."""
    wide, narrow = ("shared_feed_forward", "hidden"), ("hidden", "shared_feed_forward")
    return {
        f"model.layers.{{i}}.mlp.{name}.gate_proj": Weight("blk.{i}.ffn_gate_shexp", wide, when=when),
        f"model.layers.{{i}}.mlp.{name}.up_proj": Weight("blk.{i}.ffn_up_shexp", wide, when=when),
        f"model.layers.{{i}}.mlp.{name}.down_proj": Weight("blk.{i}.ffn_down_shexp", narrow, when=when),
    }
