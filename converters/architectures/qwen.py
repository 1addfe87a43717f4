"""Qwen 1.5, 2, 2.5 and 3, dense and as mixtures of experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from converters.architecture import (
    CONTEXT_LENGTH,
    DECODER_TENSORS,
    QUERY_KEY_NORMS,
    Architecture,
    Planned,
    Rows,
    Weight,
    with_bias,
)
from converters.checkpoint import read_text, refuse_embedding_model
from converters.errors import CheckpointFileError, UnsupportedConfig
from converters.experts import ROUTED_EXPERTS, STACKED_EXPERTS, shared_expert
from converters.gguf_file import Keys
from converters.hf_config import Config, first
from converters.tensor import Tensor
from converters.tokenizer import Vocabulary, sentencepiece_or_bpe

NO_FEED_FORWARD = {name: row for name, row in DECODER_TENSORS.items() if ".mlp." not in name}


class Qwen2(Architecture):
    hf_names = ("Qwen2ForCausalLM",)
    gguf_name = "qwen2"
    example = "Qwen/Qwen2.5-0.5B-Instruct"
    model_types = ("qwen2",)
    tensors: ClassVar = with_bias(DECODER_TENSORS, q_proj=True, k_proj=True, v_proj=True, o_proj=False)
    expects: ClassVar = {"hidden_act": ("silu",), "is_causal": (True, None)}

    def derive(self, config: Config) -> None:
        """Raises UnsupportedConfig for a window that cuts what some layer sees: llama.cpp gives these models none."""
        super().derive(config)
        if not config["use_sliding_window"] or (window := config["sliding_window"]) is None:
            return
        slides = (
            (config["max_window_layers"] < self.n_layers)
            if (types := config["layer_types"]) is None
            else ("sliding_attention" in types)
        )
        if slides and window < first(config, CONTEXT_LENGTH):
            wanted = "llama.cpp lets all layers of this family see the whole context; false is converted"
            raise UnsupportedConfig("use_sliding_window", True, wanted)

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        refuse_embedding_model(folder)
        return sentencepiece_or_bpe(folder, self.config)


class Qwen3(Qwen2):
    hf_names = ("Qwen3ForCausalLM",)
    gguf_name = "qwen3"
    example = "Qwen/Qwen3-0.6B"
    model_types = ("qwen3",)
    tensors: ClassVar = {**DECODER_TENSORS, **QUERY_KEY_NORMS}
    presumes: ClassVar = {"attention_bias": (False, None)}

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        refuse_reranker(folder)
        return super().read_vocabulary(folder)


def experts_are_stacked(model: Qwen2Moe, layer: int) -> bool:
    return model.experts_are_stacked


def experts_are_apart(model: Qwen2Moe, layer: int) -> bool:
    return not model.experts_are_stacked


def _with_when(rows: Rows, when: Callable[[Qwen2Moe, int], bool]) -> Rows:
    return replace(rows, when=when) if isinstance(rows, Weight) else tuple(replace(row, when=when) for row in rows)


EITHER_EXPERTS: Mapping[str, Rows] = {
    name: _with_when(row, experts_are_apart) if "{x}" in name else row for name, row in ROUTED_EXPERTS.items()
} | {name: _with_when(row, experts_are_stacked) for name, row in STACKED_EXPERTS.items()}


class Qwen2Moe(Architecture):
    hf_names = ("Qwen2MoeForCausalLM",)
    gguf_name = "qwen2moe"
    example = "Qwen/Qwen1.5-MoE-A2.7B-Chat"
    model_types = ("qwen2_moe",)
    tensors: ClassVar = {
        **with_bias(NO_FEED_FORWARD, q_proj="qkv_bias", k_proj="qkv_bias", v_proj="qkv_bias", o_proj=False),
        **EITHER_EXPERTS,
        **shared_expert("shared_expert"),
        "model.layers.{i}.mlp.shared_expert_gate": Weight("blk.{i}.ffn_gate_inp_shexp", (1, "hidden")),
    }
    expects: ClassVar = {
        "hidden_act": ("silu",),
        "is_causal": (True, None),
        "use_sliding_window": (False, None),
        "decoder_sparse_step": (1,),
        "mlp_only_layers": (None, []),
    }
    presumes: ClassVar = {"norm_topk_prob": (False,)}
    experts_are_stacked = False
    """Whether the checkpoint has the experts of a layer in two tensors, and not each by itself."""

    def plan(self, tensors: Mapping[str, Tensor]) -> list[Planned]:
        self.experts_are_stacked = any(name.endswith(".mlp.experts.gate_up_proj") for name in tensors)
        return super().plan(tensors)

    def sizes(self) -> dict[str, int]:
        return super().sizes() | {
            "expert_feed_forward": self.config["moe_intermediate_size"],
            "expert_gates_and_ups": 2 * self.config["moe_intermediate_size"],
            "shared_feed_forward": self.config.get("shared_expert_intermediate_size", 0),
        }

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        keys.uint32(f"{self.gguf_name}.expert_feed_forward_length", self.config["moe_intermediate_size"])
        if (shared := self.config.get("shared_expert_intermediate_size")) is not None:
            keys.uint32(f"{self.gguf_name}.expert_shared_feed_forward_length", shared)


class Qwen3Moe(Qwen2Moe):
    hf_names = ("Qwen3MoeForCausalLM",)
    gguf_name = "qwen3moe"
    example = "Qwen/Qwen3-30B-A3B"
    model_types = ("qwen3_moe",)
    tensors: ClassVar = {**NO_FEED_FORWARD, **QUERY_KEY_NORMS, **EITHER_EXPERTS}
    presumes: ClassVar = {"norm_topk_prob": (True,), "attention_bias": (False, None)}


def refuse_reranker(folder: Path) -> None:
    """Raise CheckpointFileError for a Qwen 3 that judges documents: the reference makes a classifier of it, which it
    tells by the folder's name or the heading of the model card."""
    kinds = ("qwen3-reranker", "qwen3-vl-reranker")
    card = read_text(folder / "README.md").lower()
    if any(kind in folder.name.lower() or f"# {kind}" in card for kind in kinds):
        raise CheckpointFileError(
            folder, "is a reranker by its name or model card; only models that write are converted"
        )
