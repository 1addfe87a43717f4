"""Llama 1, 2, 3 and what shares their shape: Mistral, Vicuna, FinMA, SmolLM 1 and 2, Mixtral, ..."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from converters.architecture import (
    DECODER_TENSORS,
    Architecture,
    interleave_keys,
    interleave_queries,
    with_arranged,
)
from converters.errors import UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import Config
from converters.tokenizer import Vocabulary, llama_vocabulary, write_llama_tokenizer


class Llama(Architecture):
    hf_names: ClassVar[tuple[str, ...]] = ("LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM")
    gguf_name = "llama"
    example = "HuggingFaceTB/SmolLM2-135M-Instruct"
    model_types: ClassVar[tuple[str, ...]] = ("llama", "mistral")
    expects: ClassVar = {
        "hidden_act": ("silu",),
        "partial_rotary_factor": (1.0, None),
        "is_causal": (True, None),
    }
    tensors = with_arranged(DECODER_TENSORS, q_proj=interleave_queries, k_proj=interleave_keys)

    rope_types = (*Architecture.rope_types, "llama3")

    def derive(self, config: Config) -> None:
        super().derive(config)
        if config.get("model_type") == "mistral" and "layer_types" in config:
            # Even with null there, transformers takes a Mistral for a Ministral, which has other defaults.
            raise UnsupportedConfig("layer_types", config["layer_types"], "only models without this key are converted")
        if config.get("head_dim") is None and config.get("model_type") in ("llama", "mistral"):
            config["head_dim"] = config["hidden_size"] // config["num_attention_heads"]

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        keys.uint32(f"{self.gguf_name}.vocab_size", self.config["vocab_size"])
        keys.uint32(f"{self.gguf_name}.rope.dimension_count", self.head_dim)

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        return llama_vocabulary(folder, self.config)

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        write_llama_tokenizer(keys, folder, vocabulary, self.config["vocab_size"])


class LlamaBody(Llama):
    """A Llama saved without its head: the names lack the leading "model."."""

    hf_names = ("LlamaModel",)
    example = "meta-llama/Llama-2-7b (saved with AutoModel)"
    lacking_prefix = "model."
    tensors: ClassVar = {name: weight for name, weight in Llama.tensors.items() if name != "lm_head"}
