"""GPT-OSS: experts of which the released weights are MXFP4 already, attention with sinks and sliding windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from converters.architecture import DECODER_TENSORS, Architecture, Planned, Weight, transposed
from converters.errors import TensorError
from converters.gguf_file import Keys
from converters.hf_config import Config
from converters.layer_types import every_nth_full, require_layer_types
from converters.tensor import Array, Tensor

MXFP4 = GGMLQuantizationType.MXFP4
BLOCK = int(GGML_QUANT_SIZES[MXFP4][0])

UNPACKED_FILE_TYPES = (LlamaFileType.ALL_F32, LlamaFileType.MOSTLY_F16, LlamaFileType.MOSTLY_BF16)
"""File types that are called MXFP4 where the checkpoint is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mxfp4Tensor(Tensor):
    """Rows of MXFP4 weights in ggml's blocks; it stands where a Tensor stands.

    `shape` is (experts, rows, columns). `blocks` (experts, stored rows, columns / 32, 16) hold two codes a byte, the
    even one in the lower half; `scales` (experts, stored rows, columns / 32) an exponent for each block. Of the stored
    rows every `step`-th is taken, from row `first` on.
    """

    blocks: Tensor
    scales: Tensor
    first: int = 0
    step: int = 1

    def rows(self, start: int, stop: int) -> Mxfp4Tensor:
        """The experts from `start` to before `stop`."""
        blocks, scales = self.blocks.rows(start, stop), self.scales.rows(start, stop)
        return replace(self, shape=(blocks.shape[0], *self.shape[1:]), blocks=blocks, scales=scales)

    def load(self) -> Array:
        """uint8 (experts, rows, columns / 32, 17): the scale, then codes i and i + 16 in the halves of byte i."""
        packed = self.blocks.load()[:, self.first :: self.step]
        codes = np.stack((packed & 0x0F, packed >> 4), -1).reshape(*packed.shape[:-1], BLOCK)
        scales = self.scales.load()[:, self.first :: self.step, :, None]
        return np.concatenate((scales, codes[..., : BLOCK // 2] | codes[..., BLOCK // 2 :] << 4), -1)


@dataclass(frozen=True, slots=True)
class Packed:
    """What is made of a pair of tensors, blocks and scales, of `shape` but for the experts: (GGUF name, first row)
    of each tensor, which takes every so manieth row as there are tensors."""

    shape: tuple[str, str]
    outs: tuple[tuple[str, int], ...]


PACKED = {
    "down_proj": Packed(("hidden", "feed_forward"), (("blk.{i}.ffn_down_exps.weight", 0),)),
    "gate_up_proj": Packed(
        ("gate_up", "hidden"), (("blk.{i}.ffn_gate_exps.weight", 0), ("blk.{i}.ffn_up_exps.weight", 1))
    ),
}


def gates(model: Architecture, values: Array) -> Array:
    """Every other value of the last axis, which becomes the last but one of experts: gates and ups take turns."""
    return transposed(model, values[..., ::2]) if values.ndim > 2 else values[..., ::2]


def ups(model: Architecture, values: Array) -> Array:
    return transposed(model, values[..., 1::2]) if values.ndim > 2 else values[..., 1::2]


EXPERTS = "model.layers.{i}.mlp.experts"


class GptOss(Architecture):
    hf_names = ("GptOssForCausalLM",)
    gguf_name = "gpt-oss"
    example = "openai/gpt-oss-20b"
    model_types = ("gpt_oss",)
    expects: ClassVar = {
        "hidden_act": ("silu",),
        "swiglu_alpha": (1.702,),
        "swiglu_limit": (7.0,),
        "attention_bias": (True,),
    }
    presumes: ClassVar = {"tie_word_embeddings": (False,)}
    tensors: ClassVar = {key: row for key, row in DECODER_TENSORS.items() if ".mlp." not in key} | {
        "model.layers.{i}.self_attn.sinks": Weight("blk.{i}.attn_sinks", ("heads",), suffix=""),
        "model.layers.{i}.post_attention_layernorm": Weight("blk.{i}.post_attention_norm", ("hidden",)),
        "model.layers.{i}.mlp.router": Weight("blk.{i}.ffn_gate_inp", ("experts", "hidden"), bias=True),
        f"{EXPERTS}.down_proj": Weight(
            "blk.{i}.ffn_down_exps",
            ("experts", "feed_forward", "hidden"),
            suffix="",
            optional=True,
            arrange=transposed,
            out=("experts", "hidden", "feed_forward"),
        ),
        f"{EXPERTS}.gate_up_proj": tuple(
            Weight(
                f"blk.{{i}}.ffn_{name}_exps",
                ("experts", "hidden", "gate_up"),
                suffix="",
                optional=True,
                arrange=arrange,
                out=("experts", "feed_forward", "hidden"),
            )
            for name, arrange in (("gate", gates), ("up", ups))
        ),
        f"{EXPERTS}.down_proj_bias": Weight("blk.{i}.ffn_down_exps.bias", ("experts", "hidden"), suffix=""),
        f"{EXPERTS}.gate_up_proj_bias": tuple(
            Weight(
                f"blk.{{i}}.ffn_{name}_exps.bias",
                ("experts", "gate_up"),
                suffix="",
                arrange=arrange,
                out=("experts", "feed_forward"),
            )
            for name, arrange in (("gate", gates), ("up", ups))
        ),
    }

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_layer_types(self.config, every_nth_full(2, self.n_layers))

    def derive(self, config: Config) -> None:
        super().derive(config)
        if config.get("layer_types") is None:
            config["layer_types"] = every_nth_full(2, self.n_layers)

    def sizes(self) -> dict[str, int]:
        sizes = super().sizes()
        return sizes | {"heads": self.n_heads, "gate_up": 2 * sizes["feed_forward"]}

    def write_keys(self, keys: Keys, file_type: int) -> None:
        quantization = self.config.get("quantization_config") or {}
        if quantization.get("quant_method") == "mxfp4" and file_type in UNPACKED_FILE_TYPES:
            file_type = LlamaFileType.MOSTLY_MXFP4_MOE
        super().write_keys(keys, file_type)
        keys.uint32(f"{self.gguf_name}.attention.sliding_window", self.config["sliding_window"])
        keys.uint32(f"{self.gguf_name}.expert_feed_forward_length", self.config["intermediate_size"])

    def plan(self, tensors: Mapping[str, Tensor]) -> list[Planned]:
        """Packed experts first, then the others; those of a layer may be packed or not. Raises TensorError."""
        rest = dict(tensors)
        packed: list[tuple[int, list[Planned]]] = []
        places = {name: place for place, name in enumerate(tensors)}
        for i in range(self.n_layers):
            for kind, made in PACKED.items():
                name = f"{EXPERTS.format(i=i)}.{kind}"
                blocks, scales = rest.pop(f"{name}_blocks", None), rest.pop(f"{name}_scales", None)
                if blocks is not None and name in rest:
                    raise TensorError(name, "its values once", f"{name}_blocks beside it")
                if blocks is not None and scales is not None:
                    packed.append((places[scales.name], self._packed(i, made, blocks, scales)))
                elif blocks is not None or scales is not None or name not in rest:
                    lacking = f"{name}_scales" if blocks is not None else f"{name}_blocks"
                    raise TensorError(lacking, "it in the checkpoint", "none of that name")
        first = [planned for _, each in sorted(packed, key=lambda pair: pair[0]) for planned in each]
        return first + super().plan(rest)

    def _packed(self, layer: int, made: Packed, blocks: Tensor, scales: Tensor) -> list[Planned]:
        sizes = self.sizes()
        n_experts, (n_rows, n_columns) = sizes["experts"], (sizes[name] for name in made.shape)
        if n_columns % BLOCK:
            raise TensorError(blocks.name, f"rows in blocks of {BLOCK}, as MXFP4 has them", f"rows of {n_columns}")
        stored = (n_experts, n_rows, n_columns // BLOCK)
        for tensor, shape in ((blocks, (*stored, BLOCK // 2)), (scales, stored)):
            if tensor.shape != shape or tensor.dtype != "U8":
                raise TensorError(tensor.name, f"U8 of shape {list(shape)}", f"{tensor.dtype} of {list(tensor.shape)}")
        step = len(made.outs)
        shape = (n_experts, n_rows // step, n_columns)
        result = []
        for gguf_name, first in made.outs:
            source = Mxfp4Tensor(
                blocks.name, MXFP4.name, shape, blocks.path, 0, blocks=blocks, scales=scales, first=first, step=step
            )
            result.append(Planned(gguf_name.format(i=layer), shape, (source,), type=MXFP4))
        return result
