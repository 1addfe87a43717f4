"""Llama 1, 2, 3 and what shares their shape: Mistral, Vicuna, FinMA, SmolLM 1 and 2, ..."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from converters.architecture import Architecture
from converters.gguf_file import Keys
from converters.rope import llama3_factors
from converters.tensor import Array


class Llama(Architecture):
    hf_names: ClassVar[tuple[str, ...]] = ("LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM")
    gguf_name = "llama"
    example = "HuggingFaceTB/SmolLM2-135M-Instruct"
    expects: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "hidden_act": ("silu", None),
        "model_type": ("llama", "mistral"),
        "partial_rotary_factor": (1.0, None),
        "is_causal": (True, None),
    }

    def write_last_keys(self, keys: Keys) -> None:
        config = self.config
        keys.uint32(f"{self.gguf_name}.vocab_size", config["vocab_size"])
        rope_dims = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        keys.uint32(f"{self.gguf_name}.rope.dimension_count", rope_dims)

    def extra_tensors(self) -> Iterator[tuple[str, Array]]:
        rope = self.config["rope_parameters"]
        if rope["rope_type"] == "llama3":
            head_dim = self.sizes()["queries"] // self.config["num_attention_heads"]
            yield "rope_freqs.weight", llama3_factors(rope, head_dim)

    def transform(self, hf_name: str, values: Array) -> Array:
        """transformers rotates the halves of a head, llama.cpp neighbours: the rows of Q and K are dealt anew."""
        if ".q_proj." in hf_name:
            return interleave_halves(values, self.config["num_attention_heads"])
        if ".k_proj." in hf_name:
            return interleave_halves(values, self.config["num_key_value_heads"])
        return values


class LlamaBody(Llama):
    """A Llama saved without its head: the names lack the leading "model."."""

    hf_names = ("LlamaModel",)
    example = "meta-llama/Llama-2-7b (saved with AutoModel)"
    hf_prefix = "model."
    tensors: ClassVar = {name: weight for name, weight in Llama.tensors.items() if name != "lm_head"}


def interleave_halves(values: Array, n_heads: int) -> Array:
    """values (n_heads * head_dim, ...): in each head, row j of the first half comes to 2j, of the second to 2j + 1."""
    halves = values.reshape(n_heads, 2, values.shape[0] // n_heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)
