"""GLM-4 of 2025 (0414)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from converters.architecture import DECODER_TENSORS, Architecture, Weight, with_bias
from converters.errors import TokenizerError, UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import Config
from converters.tokenizer import Vocabulary, bpe_vocabulary, write_tokenizer

SPECIAL_TOKENS = {"eos": "<|endoftext|>", "eot": "<|user|>", "unk": "<|endoftext|>", "bos": "<|endoftext|>"}
"""Kind -> the token it is where no file names another."""


class Glm4(Architecture):
    """Norms before and after attention and feed-forward; half of each head is turned."""

    hf_names = ("Glm4ForCausalLM",)
    gguf_name = "glm4"
    example = "zai-org/GLM-4-9B-0414"
    model_types = ("glm4",)
    expects: ClassVar[Mapping[str, tuple[Any, ...]]] = {"hidden_act": ("silu",)}
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

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        return bpe_vocabulary(folder, self.config)

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        write_tokenizer(keys, folder, vocabulary, ids=special_ids(vocabulary, SPECIAL_TOKENS))


def special_ids(vocabulary: Vocabulary, tokens: Mapping[str, str]) -> dict[str, int]:
    """Kind -> id of its token among the added ones. Raises TokenizerError for one that is not there."""
    for text in tokens.values():
        if text not in vocabulary.added:
            raise TokenizerError("tokenizer.json", f"has no added token {text!r}, which models of this family need")
    return {kind: vocabulary.added[text] for kind, text in tokens.items()}
