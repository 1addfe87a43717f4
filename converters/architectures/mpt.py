"""MPT, and SEA-LION, which has norms of queries and keys and a SentencePiece vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from converters.architecture import Architecture, Weight
from converters.errors import UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import Config, require, require_numbers
from converters.tokenizer import Vocabulary, bpe_or_sentencepiece, write_tokenizer

ATTENTION = {
    "attn_type": ("multihead_attention", "grouped_query_attention"),
    "qk_ln": (False, True),
    "alibi": (True, False),
    "prefix_lm": (False,),
    "softmax_scale": (None,),
    "attn_uses_sequence_id": (False,),
    "rope": (False, None),
    "sliding_window_size": (-1, None),
}
"""Key of attn_config -> values that are converted."""

ATTENTION_DEFAULTS = {
    "attn_type": "multihead_attention", "clip_qkv": None, "softmax_scale": None, "prefix_lm": False, "qk_ln": False,
    "attn_uses_sequence_id": False, "alibi": True, "alibi_bias_max": 8,
}  # fmt: skip
"""transformers' MptAttentionConfig."""

EPSILON = 1e-5
"""Of all norms."""


class Mpt(Architecture):
    hf_names = ("MPTForCausalLM",)
    gguf_name = "mpt"
    example = "mosaicml/mpt-7b"
    model_types = ("mpt",)
    expects: ClassVar = {
        "layer_norm_epsilon": (EPSILON,),
        "expansion_ratio": (4,),
        "logit_scale": (None,),
        "norm_type": ("low_precision_layernorm", "layernorm"),
    }

    def derive(self, config: Config) -> None:
        given = config["attn_config"] or {}
        attention = config["attn_config"] = ATTENTION_DEFAULTS | given
        for key, allowed in ATTENTION.items():
            require(attention, key, *allowed)
        require_numbers(attention, "alibi_bias_max", *(["clip_qkv"] if attention["clip_qkv"] is not None else []))
        config["has_bias"] = not config["no_bias"]
        groups = attention["attn_type"] == "grouped_query_attention"
        n_kv_heads = attention.get("kv_n_heads") or (None if groups else self.n_heads)
        if type(n_kv_heads) is not int or n_kv_heads < 1 or self.n_heads % n_kv_heads:
            wanted = f"a number that divides {self.n_heads} heads is needed"
            raise UnsupportedConfig("attn_config kv_n_heads", n_kv_heads, wanted)
        config["num_key_value_heads"] = n_kv_heads

    def _has_positions(self, layer: int) -> bool:
        return not self.config["attn_config"]["alibi"]

    def _has_norms(self, layer: int) -> bool:
        return bool(self.config["attn_config"]["qk_ln"])

    tensors: ClassVar = {
        "transformer.wte": Weight("token_embd", ("vocabulary", "hidden")),
        "transformer.wpe": Weight("position_embd", ("positions", "hidden"), when=_has_positions),
        "transformer.norm_f": Weight("output_norm", ("hidden",), bias="has_bias"),
        "lm_head": Weight("output", ("vocabulary", "hidden"), absent_if="tie_word_embeddings"),
        "transformer.blocks.{i}.norm_1": Weight("blk.{i}.attn_norm", ("hidden",), bias="has_bias"),
        "transformer.blocks.{i}.norm_2": Weight("blk.{i}.ffn_norm", ("hidden",), bias="has_bias"),
        "transformer.blocks.{i}.attn.Wqkv": Weight(
            "blk.{i}.attn_qkv", ("queries_keys_values", "hidden"), bias="has_bias"
        ),
        "transformer.blocks.{i}.attn.q_ln": Weight(
            "blk.{i}.attn_q_norm", ("queries",), bias="has_bias", when=_has_norms
        ),
        "transformer.blocks.{i}.attn.k_ln": Weight("blk.{i}.attn_k_norm", ("keys",), bias="has_bias", when=_has_norms),
        "transformer.blocks.{i}.attn.out_proj": Weight("blk.{i}.attn_output", ("hidden", "hidden"), bias="has_bias"),
        "transformer.blocks.{i}.ffn.up_proj": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden"), bias="has_bias"),
        "transformer.blocks.{i}.ffn.down_proj": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward"), bias="has_bias"),
    }

    def sizes(self) -> dict[str, int]:
        sizes = super().sizes()
        return sizes | {
            "positions": self.config["max_seq_len"],
            "queries_keys_values": sizes["queries"] + 2 * sizes["keys"],
        }

    def write_keys(self, keys: Keys, file_type: int) -> None:
        """As for all families, but that the file type is not told."""
        name, attention = self.gguf_name, self.config["attn_config"]
        keys.uint32(f"{name}.context_length", self.config["max_seq_len"])
        keys.uint32(f"{name}.embedding_length", self.hidden_size)
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.feed_forward_length", 4 * self.hidden_size)
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        if attention.get("kv_n_heads"):
            keys.uint32(f"{name}.attention.head_count_kv", attention["kv_n_heads"])
        keys.float32(f"{name}.attention.layer_norm_epsilon", EPSILON)
        if attention["clip_qkv"] is not None:
            keys.float32(f"{name}.attention.clamp_kqv", attention["clip_qkv"])
        keys.float32(f"{name}.attention.max_alibi_bias", attention["alibi_bias_max"] if attention["alibi"] else 0.0)

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        return bpe_or_sentencepiece(folder, self.config)

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        write_tokenizer(keys, folder, vocabulary)
        if vocabulary.model == "llama":  # SEA-LION
            keys.bool("tokenizer.ggml.add_bos_token", False)
            keys.uint32("tokenizer.ggml.padding_token_id", 3)
            keys.uint32("tokenizer.ggml.eos_token_id", 1)
            keys.uint32("tokenizer.ggml.unknown_token_id", 0)
