"""What a model family is to the converter: names, shapes and assumptions as data, registered by subclassing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from converters.errors import TensorError, UnknownArchitecture, UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import Config, one_spelling
from converters.rope import write_rope_keys
from converters.tensor import NUMPY_TYPES, Array, Tensor

ARCHITECTURES: dict[str, type[Architecture]] = {}
"""Name in config.json -> class. Filled by subclassing."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One row of an architecture's table.

    `gguf_name` has no ".weight"; `shape` names entries of `Architecture.sizes`, outermost first. `bias` is the key of
    config.json that says whether there is a bias of the first size. `absent_if` is the key that says whether the weight
    may be left out. A table key with `{x}` stands for one tensor per expert, stacked along a new first axis.
    """

    gguf_name: str
    shape: tuple[str, ...]
    bias: str | None = None
    absent_if: str | None = None


DECODER_TENSORS: Mapping[str, Weight] = {
    "model.embed_tokens": Weight("token_embd", ("vocabulary", "hidden")),
    "model.norm": Weight("output_norm", ("hidden",)),
    "lm_head": Weight("output", ("vocabulary", "hidden"), absent_if="tie_word_embeddings"),
    "model.layers.{i}.input_layernorm": Weight("blk.{i}.attn_norm", ("hidden",)),
    "model.layers.{i}.self_attn.q_proj": Weight("blk.{i}.attn_q", ("queries", "hidden"), bias="attention_bias"),
    "model.layers.{i}.self_attn.k_proj": Weight("blk.{i}.attn_k", ("keys", "hidden"), bias="attention_bias"),
    "model.layers.{i}.self_attn.v_proj": Weight("blk.{i}.attn_v", ("keys", "hidden"), bias="attention_bias"),
    "model.layers.{i}.self_attn.o_proj": Weight("blk.{i}.attn_output", ("hidden", "queries"), bias="attention_bias"),
    "model.layers.{i}.post_attention_layernorm": Weight("blk.{i}.ffn_norm", ("hidden",)),
    "model.layers.{i}.mlp.gate_proj": Weight("blk.{i}.ffn_gate", ("feed_forward", "hidden"), bias="mlp_bias"),
    "model.layers.{i}.mlp.up_proj": Weight("blk.{i}.ffn_up", ("feed_forward", "hidden"), bias="mlp_bias"),
    "model.layers.{i}.mlp.down_proj": Weight("blk.{i}.ffn_down", ("hidden", "feed_forward"), bias="mlp_bias"),
}
"""The tensors of a pre-norm decoder with gated feed-forward, by the name transformers gives them."""

IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias")
"""Buffers that old checkpoints saved along; they follow from config.json."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a tensor is to be; `expert` is its place in the stack `gguf_name`, None if it stands alone."""

    gguf_name: str
    shape: tuple[int, ...]
    required: bool
    expert: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor to write: one source, or one per expert, each of `shape`'s last axes."""

    gguf_name: str
    shape: tuple[int, ...]
    sources: tuple[Tensor, ...]


class Architecture:
    """A family of models. Subclass it with `hf_names`, `gguf_name`, `example`, `tensors`, `expects`."""

    hf_names: ClassVar[tuple[str, ...]] = ()
    """Its names in config.json's `architectures`."""
    gguf_name: ClassVar[str]
    example: ClassVar[str]
    """A checkpoint on the Hub to try it with."""
    tensors: ClassVar[Mapping[str, Weight]] = DECODER_TENSORS
    expects: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Key of config.json -> values under which the conversion is faithful; None stands for a key that is left out."""
    hf_prefix: ClassVar[str] = ""
    """What the table's names begin with that this family's tensors do not."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in cls.hf_names:
            if name in ARCHITECTURES:
                raise TypeError(f"both {ARCHITECTURES[name].__name__} and {cls.__name__} claim {name}")
            ARCHITECTURES[name] = cls

    def __init__(self, config: Config) -> None:
        """Raises UnsupportedConfig when `config` says something this family's conversion does not know."""
        for key, allowed in {"quantization_config": (None,), **self.expects}.items():
            if config.get(key) not in allowed:
                wanted = " or ".join("nothing" if value is None else repr(value) for value in allowed)
                raise UnsupportedConfig(key, config.get(key), f"only {wanted} is converted faithfully")
        self.config = one_spelling(config)

    @property
    def n_layers(self) -> int:
        return int(self.config["num_hidden_layers"])

    def sizes(self) -> dict[str, int]:
        """What the names in `Weight.shape` stand for."""
        config = self.config
        head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        return {
            "vocabulary": config["vocab_size"],
            "hidden": config["hidden_size"],
            "feed_forward": config["intermediate_size"],
            "queries": config["num_attention_heads"] * head_dim,
            "keys": config["num_key_value_heads"] * head_dim,
        }

    def write_keys(self, keys: Keys) -> None:
        """Write the keys under the architecture's name that follow from config.json, but for the file type."""
        config, name = self.config, self.gguf_name
        keys.uint32(f"{name}.block_count", self.n_layers)
        keys.uint32(f"{name}.context_length", config["max_position_embeddings"])
        keys.uint32(f"{name}.embedding_length", config["hidden_size"])
        keys.uint32(f"{name}.feed_forward_length", config["intermediate_size"])
        keys.uint32(f"{name}.attention.head_count", config["num_attention_heads"])
        keys.uint32(f"{name}.attention.head_count_kv", config["num_key_value_heads"])
        write_rope_keys(keys, name, config["rope_parameters"])
        keys.float32(f"{name}.attention.layer_norm_rms_epsilon", config["rms_norm_eps"])
        if (n_experts := config.get("num_local_experts")) is not None:
            keys.uint32(f"{name}.expert_count", n_experts)
        if (n_used := config.get("num_experts_per_tok")) is not None:
            keys.uint32(f"{name}.expert_used_count", n_used)
        if (head_dim := config.get("head_dim")) is not None:
            keys.uint32(f"{name}.attention.key_length", head_dim)
            keys.uint32(f"{name}.attention.value_length", head_dim)

    def write_last_keys(self, keys: Keys) -> None:
        """Write keys that stand after the file type."""

    def extra_tensors(self) -> Iterator[tuple[str, Array]]:
        """(GGUF name, float32 values) of tensors that the checkpoint does not hold; they are written first."""
        return iter(())

    def transform(self, hf_name: str, values: Array) -> Array:
        """`values` in the order llama.cpp wants them, of the same shape, in any numpy type."""
        return values

    def expected(self) -> dict[str, Expected]:
        """Every tensor a checkpoint of this configuration may hold, by its name there."""
        sizes = self.sizes()
        result: dict[str, Expected] = {}
        for pattern, weight in self.tensors.items():
            shape = tuple(sizes[size] for size in weight.shape)
            required = not (weight.absent_if and self.config.get(weight.absent_if))
            for i in range(self.n_layers if "{i}" in pattern else 1):
                for x in range(self.config["num_local_experts"] if "{x}" in pattern else 1):
                    hf_name = pattern.format(i=i, x=x).removeprefix(self.hf_prefix)
                    gguf_name = weight.gguf_name.format(i=i)
                    expert = x if "{x}" in pattern else None
                    result[f"{hf_name}.weight"] = Expected(f"{gguf_name}.weight", shape, required, expert)
                    if weight.bias and self.config.get(weight.bias):
                        result[f"{hf_name}.bias"] = Expected(f"{gguf_name}.bias", shape[:1], required)
        return result

    def plan(self, tensors: Mapping[str, Tensor]) -> list[Planned]:
        """The tensors to write, in the order of `tensors`; stacked ones where the last of their layer's experts comes.

        Raises TensorError for a tensor that is unknown, missing, misshapen or of a type that holds no weights.
        """
        expected = self.expected()
        planned: list[Planned] = []
        stacks: dict[int, dict[str, dict[int, Tensor]]] = {}
        for name, tensor in tensors.items():
            if name.endswith(IGNORED_SUFFIXES):
                continue
            if name not in expected:
                raise TensorError(name, f"only tensors that a {self.gguf_name} model of this config.json has", "it")
            want = expected.pop(name)
            if tensor.shape != want.shape:
                raise TensorError(name, f"shape {list(want.shape)}", f"{list(tensor.shape)}")
            if tensor.dtype not in NUMPY_TYPES:
                raise TensorError(name, f"one of the types {', '.join(NUMPY_TYPES)}", tensor.dtype)
            if want.expert is None:
                planned.append(Planned(want.gguf_name, want.shape, (tensor,)))
                continue
            layer = int(want.gguf_name.split(".")[1])
            stack = stacks.setdefault(layer, {})
            stack.setdefault(want.gguf_name, {})[want.expert] = tensor
            planned += self._finished(stack, want)
        missing = [name for name, want in expected.items() if want.required]
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            weight = self.tensors.get(missing[0].removesuffix(".weight"))
            way_out = f"; add it, or set {weight.absent_if}: true in config.json" if weight and weight.absent_if else ""
            raise TensorError(missing[0], f"it in the checkpoint{more}", f"none of that name{way_out}")
        return planned

    def _finished(self, stack: dict[str, dict[int, Tensor]], want: Expected) -> Iterator[Planned]:
        """All stacks of a layer once every expert of each is there, in the order of the table."""
        n_experts = int(self.config["num_local_experts"])
        names = [weight.gguf_name for pattern, weight in self.tensors.items() if "{x}" in pattern]
        if sum(map(len, stack.values())) < n_experts * len(names):
            return
        layer = want.gguf_name.split(".")[1]
        sizes = self.sizes()
        for weight in (weight for pattern, weight in self.tensors.items() if "{x}" in pattern):
            name = f"{weight.gguf_name.format(i=layer)}.weight"
            shape = (n_experts, *(sizes[size] for size in weight.shape))
            yield Planned(name, shape, tuple(stack[name][x] for x in range(n_experts)))


def find_architecture(config: Config) -> Architecture:
    """The architecture that config.json names, set up for it. Raises UnknownArchitecture and UnsupportedConfig."""
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise UnsupportedConfig("architectures", names, "a list with the name of an architecture is needed")
    if names[0] not in ARCHITECTURES:
        raise UnknownArchitecture(names[0], ARCHITECTURES)
    return ARCHITECTURES[names[0]](config)
