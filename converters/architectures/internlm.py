"""InternLM 2, whose queries, keys and values are one matrix, and InternLM 3, a Llama with a tokenizer of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from converters.architecture import Architecture, Weight
from converters.architectures.llama import Llama
from converters.checkpoint import read_json
from converters.errors import UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import Config, require_positive, require_sizes
from converters.tensor import Array
from converters.tokenizer import Vocabulary, internlm2_vocabulary, sentencepiece_vocabulary, write_tokenizer
from converters.vocabulary import added_tokens_decoder

END_OF_TURN = "<|im_end|>"


def groups(model: Architecture, values: Array) -> Array:
    """wqkv ((heads + 2 * key heads) * head_dim, hidden) -> (key heads, queries each + 2, head_dim, hidden)."""
    return values.reshape(model.n_kv_heads, -1, model.head_dim, values.shape[-1])


def interleaved(heads: Array) -> Array:
    """(..., head_dim, hidden) -> (..., head_dim / 2, 2, hidden), as `interleave_halves` does."""
    *outer, head_dim, hidden = heads.shape
    return heads.reshape(*outer, 2, head_dim // 2, hidden).swapaxes(-3, -2)


def queries(model: Architecture, values: Array) -> Array:
    return interleaved(groups(model, values)[:, :-2])


def keys_of(model: Architecture, values: Array) -> Array:
    return interleaved(groups(model, values)[:, -2])


def values_of(model: Architecture, values: Array) -> Array:
    return groups(model, values)[:, -1]


class InternLM2(Architecture):
    hf_names = ("InternLM2ForCausalLM",)
    gguf_name = "internlm2"
    example = "internlm/internlm2-chat-1_8b"
    model_types = ("internlm2",)
    tensors: ClassVar = {
        "model.tok_embeddings": Weight("token_embd", ("vocabulary", "hidden")),
        "model.norm": Weight("output_norm", ("hidden",)),
        "output": Weight("output", ("vocabulary", "hidden")),
        "model.layers.{i}.attention_norm": Weight("blk.{i}.attn_norm", ("hidden",)),
        "model.layers.{i}.attention.wqkv": (
            Weight("blk.{i}.attn_q", ("all", "hidden"), arrange=queries, out=("queries", "hidden")),
            Weight("blk.{i}.attn_k", ("all", "hidden"), arrange=keys_of, out=("keys", "hidden")),
            Weight("blk.{i}.attn_v", ("all", "hidden"), arrange=values_of, out=("keys", "hidden")),
        ),
        "model.layers.{i}.attention.wo": Weight("blk.{i}.attn_output", ("hidden", "queries")),
        "model.layers.{i}.ffn_norm": Weight("blk.{i}.ffn_norm", ("hidden",)),
        "model.layers.{i}.feed_forward.w1": Weight("blk.{i}.ffn_gate", ("feed_forward", "hidden")),
        "model.layers.{i}.feed_forward.w2": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward")),
        "model.layers.{i}.feed_forward.w3": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden")),
    }
    expects: ClassVar = {"hidden_act": ("silu",), "bias": (False, None)}

    def derive(self, config: Config) -> None:
        super().derive(config)
        require_sizes(config, "max_position_embeddings", "intermediate_size")
        require_positive(config, "rms_norm_eps")

    def sizes(self) -> dict[str, int]:
        return super().sizes() | {"all": (self.n_heads + 2 * self.n_kv_heads) * self.head_dim}

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        return internlm2_vocabulary(folder, self.config["vocab_size"])

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        """Of chat models a turn's end ends the text: generation would not stop at the base model's mark."""
        ends = {"eos": vocabulary.added[END_OF_TURN]} if END_OF_TURN in vocabulary.added else {}
        write_tokenizer(keys, folder, vocabulary, replaced_ids=ends)


class InternLM3(Llama):
    hf_names = ("InternLM3ForCausalLM",)
    example = "internlm/internlm3-8b-instruct"
    model_types = ("internlm3",)
    rope_types = Architecture.rope_types

    def derive(self, config: Config) -> None:
        super().derive(config)
        if config["attention_bias"] != config["mlp_bias"]:
            raise UnsupportedConfig(
                "qkv_bias", config["attention_bias"], f"{config['mlp_bias']}, as bias is, is needed"
            )

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        vocabulary = sentencepiece_vocabulary(folder, self.config["vocab_size"])
        tokenizer_config = read_json(folder, "tokenizer_config.json") or {}
        # Where the key is there, null (as transformers 5 saves it) stands for false.
        prefix = bool(tokenizer_config["add_prefix_space"]) if "add_prefix_space" in tokenizer_config else None
        return replace(vocabulary, add_space_prefix=prefix)

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        """Of chat models a turn's end ends the text, as with InternLM 2; here the token has to be a special one."""
        ends = [i for i, each in added_tokens_decoder(folder) if each["content"] == END_OF_TURN and each.get("special")]
        write_tokenizer(keys, folder, vocabulary, replaced_ids={"eos": ends[-1]} if ends else {})
