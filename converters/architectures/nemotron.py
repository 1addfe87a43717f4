"""Nemotron and Minitron: layer norms that multiply by 1 + weight, squared ReLU, no gates."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from converters.architecture import DECODER_TENSORS, Architecture, Weight, with_norms_plus_one
from converters.gguf_file import Keys
from converters.hf_config import Config
from converters.tokenizer import Vocabulary, sentencepiece_vocabulary, write_tokenizer

PAD_ID, UNKNOWN_ID = 0, 1
"""As in NVIDIA's tokenizers, whatever the files say."""


class Nemotron(Architecture):
    hf_names = ("NemotronForCausalLM",)
    gguf_name = "nemotron"
    example = "nvidia/Minitron-4B-Base"
    model_types = ("nemotron",)
    expects: ClassVar = {
        "hidden_act": ("relu2",),
        "factor": (None,),
    }
    presumes: ClassVar = {"tie_word_embeddings": (False,)}
    tensors: ClassVar = with_norms_plus_one(
        {key: row for key, row in DECODER_TENSORS.items() if not key.endswith("gate_proj")}
    ) | {
        # Rows of their own, for 1 is not added to biases.
        "model.norm.bias": Weight("output_norm.bias", ("hidden",), suffix=""),
        "model.layers.{i}.input_layernorm.bias": Weight("blk.{i}.attn_norm.bias", ("hidden",), suffix=""),
        "model.layers.{i}.post_attention_layernorm.bias": Weight("blk.{i}.ffn_norm.bias", ("hidden",), suffix=""),
    }
    rope_types = ("default", "linear")

    def derive(self, config: Config) -> None:
        super().derive(config)
        config["head_dim"] = self.head_dim

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        config, name = self.config, self.gguf_name
        rope = config["rope_parameters"]
        keys.uint32(f"{name}.vocab_size", config["vocab_size"])
        keys.float32(f"{name}.attention.layer_norm_epsilon", config["norm_eps"])
        share = int(rope["partial_rotary_factor"] * self.hidden_size)
        keys.uint32(f"{name}.rope.dimension_count", share // self.n_heads)
        if rope.get("factor") is None:
            keys.string(f"{name}.rope.scaling.type", "none")

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        return sentencepiece_vocabulary(folder, self.config["vocab_size"])

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        write_tokenizer(keys, folder, vocabulary)
        keys.uint32("tokenizer.ggml.padding_token_id", PAD_ID)
        keys.uint32("tokenizer.ggml.unknown_token_id", UNKNOWN_ID)
