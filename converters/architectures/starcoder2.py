"""StarCoder 2: a decoder with biases throughout, whose feed-forward has no gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from converters.architecture import DECODER_TENSORS, Architecture, Rows, Weight, with_bias
from converters.architectures.phi import GELU


class StarCoder2(Architecture):
    hf_names: ClassVar[tuple[str, ...]] = ("Starcoder2ForCausalLM",)
    gguf_name = "starcoder2"
    example = "bigcode/starcoder2-3b"
    model_types: ClassVar[tuple[str, ...]] = ("starcoder2",)
    expects: ClassVar[Mapping[str, tuple[Any, ...]]] = {"hidden_act": GELU, "use_bias": (True,)}
    tensors: ClassVar[Mapping[str, Rows]] = with_bias(
        {name: row for name, row in DECODER_TENSORS.items() if ".mlp." not in name}
        | {
            "model.layers.{i}.mlp.c_fc": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden")),
            "model.layers.{i}.mlp.c_proj": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward")),
        },
        norm=True,
        proj=True,
        c_fc=True,
    )
