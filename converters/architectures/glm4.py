"""GLM-4 of 2025 (0414), and of 2024 in the form that transformers knows (glm-4-9b-chat-hf)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from converters.architecture import DECODER_TENSORS, Architecture, Weight, with_bias
from converters.errors import TokenizerError, UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import Config
from converters.tokenizer import Vocabulary, write_tokenizer

SPECIAL_TOKENS = {"eos": "<|endoftext|>", "eot": "<|user|>", "unk": "<|endoftext|>", "bos": "<|endoftext|>"}
"""Kind -> the token it is where no file names another."""

EPSILON, ROPE_BASE = 1e-5, 10000.0
NOT_SAID = "llama.cpp's converter writes that, whatever is there"


class Glm4(Architecture):
    """Norms before and after attention and feed-forward; half of each head is turned."""

    hf_names = ("Glm4ForCausalLM",)
    gguf_name = "glm4"
    example = "zai-org/GLM-4-9B-0414"
    model_types = ("glm4",)
    expects: ClassVar = {"hidden_act": ("silu",)}
    tensors = with_bias(
        {key: row for key, row in DECODER_TENSORS.items() if key.rpartition(".")[2] not in ("gate_proj", "up_proj")}
        | {
            "model.layers.{i}.post_self_attn_layernorm": Weight("blk.{i}.post_attention_norm", ("hidden",)),
            "model.layers.{i}.post_mlp_layernorm": Weight("blk.{i}.post_ffw_norm", ("hidden",)),
            "model.layers.{i}.mlp.gate_up_proj": Weight("blk.{i}.ffn_up", ("gate_up", "hidden")),
        },
        o_proj=False,
        down_proj=False,
    )

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if "mrope_section" in self.config["rope_parameters"]:
            found = self.config["rope_parameters"]["mrope_section"]
            raise UnsupportedConfig("rope_parameters mrope_section", found, "only text models are converted")

    def sizes(self) -> dict[str, int]:
        sizes = super().sizes()
        return sizes | {"gate_up": 2 * sizes["feed_forward"]}

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        share = self.config["rope_parameters"]["partial_rotary_factor"]
        keys.uint32(f"{self.gguf_name}.rope.dimension_count", int(self.head_dim * share))

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        write_tokenizer(keys, folder, vocabulary, ids=special_ids(vocabulary, SPECIAL_TOKENS))


class Glm(Glm4):
    """A ChatGLM to llama.cpp, whose converter looks for keys under names that this config.json does not have."""

    hf_names = ("GlmForCausalLM",)
    gguf_name = "chatglm"
    example = "zai-org/glm-4-9b-chat-hf"
    model_types = ("glm",)
    tensors: ClassVar = {
        key: row
        for key, row in Glm4.tensors.items()
        if not key.endswith(("post_self_attn_layernorm", "post_mlp_layernorm"))
    }

    def derive(self, config: Config) -> None:
        super().derive(config)
        self.doubt("rms_norm_eps", EPSILON, why=NOT_SAID)
        self.doubt("max_position_embeddings", config["hidden_size"], why=NOT_SAID)
        if config["rope_parameters"]["rope_theta"] != ROPE_BASE:
            self.doubt("rope_theta", ROPE_BASE, why=NOT_SAID)

    def write_keys(self, keys: Keys, file_type: int) -> None:
        config, name = self.config, self.gguf_name
        keys.uint32(f"{name}.context_length", config["hidden_size"])
        keys.uint32(f"{name}.embedding_length", config["hidden_size"])
        keys.uint32(f"{name}.feed_forward_length", config["intermediate_size"])
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        keys.uint32(f"{name}.attention.head_count_kv", self.n_kv_heads)
        keys.float32(f"{name}.attention.layer_norm_rms_epsilon", EPSILON)
        keys.uint32("general.file_type", file_type)
        width = config["hidden_size"] // self.n_heads
        keys.uint32(f"{name}.rope.dimension_count", int(width * config["rope_parameters"]["partial_rotary_factor"]))
        keys.bool("tokenizer.ggml.add_bos_token", False)
        keys.float32(f"{name}.rope.freq_base", ROPE_BASE)

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        tokens = {kind: text for kind, text in SPECIAL_TOKENS.items() if kind != "bos"}
        write_tokenizer(keys, folder, vocabulary, ids=special_ids(vocabulary, tokens))


def special_ids(vocabulary: Vocabulary, tokens: Mapping[str, str]) -> dict[str, int]:
    """Kind -> id of its token among the added ones. Raises TokenizerError for one that is not there."""
    for text in tokens.values():
        if text not in vocabulary.added:
            raise TokenizerError("tokenizer.json", f"has no added token {text!r}, which models of this family need")
    return {kind: vocabulary.added[text] for kind, text in tokens.items()}
