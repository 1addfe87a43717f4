"""Gemma 1, 2 and 3. Their norms multiply by 1 + weight, so that 1 is added here; embeddings are scaled by llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from converters.architecture import (
    DECODER_TENSORS,
    POST_NORMS,
    QUERY_KEY_NORMS,
    Architecture,
    Planned,
    Weight,
    with_norms_plus_one,
)
from converters.checkpoint import read_json
from converters.errors import UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import Config
from converters.layer_types import every_nth_full, require_layer_types
from converters.tensor import Tensor
from converters.tokenizer import (
    Vocabulary,
    sentencepiece_or_bpe,
    sentencepiece_vocabulary,
    write_special_tokens,
    write_tokenizer,
)

CODE_GEMMA_IDS = {"eot": 107}
CODE_GEMMA_KINDS = ("prefix", "suffix", "middle", "fsep", "eot")
"""Special tokens that every Gemma 1 gets for the sake of CodeGemma. All but one have no key any more."""


GEMMA_TENSORS = with_norms_plus_one({key: row for key, row in DECODER_TENSORS.items() if key != "lm_head"})
GEMMA2_TENSORS = GEMMA_TENSORS | with_norms_plus_one(
    {
        **POST_NORMS,
        "model.layers.{i}.pre_feedforward_layernorm": Weight("blk.{i}.ffn_norm", ("hidden",)),
    }
)


class Gemma(Architecture):
    hf_names = ("GemmaForCausalLM",)
    gguf_name = "gemma"
    example = "google/gemma-2b"
    model_types = ("gemma",)
    expects: ClassVar = {
        # The released models say "gelu" and mean its approximation by tanh.
        "hidden_act": ("gelu", "gelu_pytorch_tanh"),
        "hidden_activation": ("gelu_pytorch_tanh", None),
        "attention_bias": (False,),
        "tie_word_embeddings": (True,),
        "use_bidirectional_attention": (False, None),
    }
    tensors = GEMMA_TENSORS
    rope_types = ("default",)
    rope_base = 10000.0
    ignored = ("lm_head.weight",)

    def write_keys(self, keys: Keys, file_type: int) -> None:
        config, name = self.config, self.gguf_name
        keys.uint32(f"{name}.context_length", config["max_position_embeddings"])
        keys.uint32(f"{name}.embedding_length", self.hidden_size)
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.feed_forward_length", config["intermediate_size"])
        keys.uint32(f"{name}.attention.head_count", self.n_heads)
        keys.uint32(f"{name}.attention.head_count_kv", self.n_kv_heads)
        keys.float32(f"{name}.attention.layer_norm_rms_epsilon", config["rms_norm_eps"])
        keys.uint32(f"{name}.attention.key_length", self.head_dim)
        keys.uint32(f"{name}.attention.value_length", self.head_dim)
        keys.uint32("general.file_type", file_type)

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        return sentencepiece_vocabulary(folder, self.config["vocab_size"])

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        write_tokenizer(keys, folder, vocabulary)
        write_special_tokens(keys, folder, kinds=CODE_GEMMA_KINDS, fallback_ids=CODE_GEMMA_IDS, chat_templates=False)
        keys.bool("tokenizer.ggml.add_space_prefix", False)


class Gemma2(Gemma):
    """llama.cpp scales queries by what the released models say in `query_pre_attn_scalar`, whatever stands there."""

    hf_names = ("Gemma2ForCausalLM",)
    gguf_name = "gemma2"
    example = "google/gemma-2-2b-it"
    model_types = ("gemma2",)
    expects: ClassVar = {
        **Gemma.expects,
        "hidden_act": ("gelu_pytorch_tanh", None),
        "hidden_activation": ("gelu_pytorch_tanh",),
    }
    tensors = GEMMA2_TENSORS

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        require_layer_types(self.config, every_nth_full(2, self.n_layers))

    def derive(self, config: Config) -> None:
        super().derive(config)
        if config.get("layer_types") is None:
            config["layer_types"] = every_nth_full(2, config["num_hidden_layers"])

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        keys.float32(f"{self.gguf_name}.attn_logit_softcapping", self.config["attn_logit_softcapping"])
        keys.float32(f"{self.gguf_name}.final_logit_softcapping", self.config["final_logit_softcapping"])
        keys.uint32(f"{self.gguf_name}.attention.sliding_window", self.config["sliding_window"])

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        write_tokenizer(keys, folder, vocabulary)
        keys.bool("tokenizer.ggml.add_space_prefix", False)


class Gemma3(Architecture):
    """The text part of Gemma 3. As for Gemma 2, `query_pre_attn_scalar` is taken to be that of the released models."""

    hf_names = ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration")
    gguf_name = "gemma3"
    example = "google/gemma-3-1b-it"
    model_types = ("gemma3_text",)
    expects: ClassVar = {
        "hidden_activation": ("gelu_pytorch_tanh",),
        "attention_bias": (False,),
        "attn_logit_softcapping": (None,),
        "use_bidirectional_attention": (False, None),
    }
    tensors = GEMMA2_TENSORS | {"lm_head": DECODER_TENSORS["lm_head"]} | with_norms_plus_one(QUERY_KEY_NORMS)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.n_tokens: int = self.config["vocab_size"]
        require_layer_types(self.config, every_nth_full(6 if self._slides else 1, self.n_layers))

    def derive(self, config: Config) -> None:
        super().derive(config)
        if config.get("layer_types") is None:
            pattern = config.get("sliding_window_pattern", 6)
            if type(pattern) is not int or pattern < 1:
                raise UnsupportedConfig("sliding_window_pattern", pattern, "a positive whole number is needed")
            config["layer_types"] = every_nth_full(pattern, config["num_hidden_layers"])

    @property
    def _slides(self) -> bool:
        return bool(self.config.get("sliding_window_pattern") != 1)

    def write_keys(self, keys: Keys, file_type: int) -> None:
        super().write_keys(keys, file_type)
        if softcapping := self.config["final_logit_softcapping"]:
            keys.float32(f"{self.gguf_name}.final_logit_softcapping", softcapping)
        if self._slides:
            keys.uint32(f"{self.gguf_name}.attention.sliding_window", self.config["sliding_window"])

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        """Notes, too, how many tokens tokenizer.json has: the rows of the embedding beyond them are cut."""
        vocabulary = sentencepiece_or_bpe(folder, self.config)
        if vocabulary.model == "gpt2" and (content := read_json(folder, "tokenizer.json")) is not None:
            # What is added may be in the vocabulary as well; the reference counts it twice.
            self.n_tokens = len(content["model"]["vocab"]) + len(content.get("added_tokens") or [])
        return vocabulary

    def plan(self, tensors: Mapping[str, Tensor]) -> list[Planned]:
        return [self._without_padding(tensor) for tensor in super().plan(tensors)]

    def _without_padding(self, tensor: Planned) -> Planned:
        if tensor.gguf_name != "token_embd.weight" or tensor.shape[0] <= self.n_tokens:
            return tensor
        rows = tensor.sources[0].rows(0, self.n_tokens)
        return replace(tensor, shape=(self.n_tokens, *tensor.shape[1:]), sources=(rows,))

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        write_tokenizer(keys, folder, vocabulary)
        if vocabulary.model == "llama":
            keys.bool("tokenizer.ggml.add_space_prefix", False)
