"""StarCoder 2: a decoder with biases throughout, whose feed-forward has no gate."""

from __future__ import annotations

from typing import ClassVar

from converters.architecture import DECODER_TENSORS, GELU, Architecture, Weight, with_bias


class StarCoder2(Architecture):
    hf_names = ("Starcoder2ForCausalLM",)
    gguf_name = "starcoder2"
    example = "bigcode/starcoder2-3b"
    model_types = ("starcoder2",)
    expects: ClassVar = {"hidden_act": GELU}
    presumes: ClassVar = {"use_bias": (True,)}
    tensors: ClassVar = with_bias(
        {name: row for name, row in DECODER_TENSORS.items() if ".mlp." not in name}
        | {
            "model.layers.{i}.mlp.c_fc": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden")),
            "model.layers.{i}.mlp.c_proj": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward")),
        },
        norm=True,
        proj="use_bias",
        c_fc="use_bias",
    )
