"""What a model family is to the converter: names, shapes and assumptions as data, registered by subclassing.

A family states its tensors in a table (`Weight` rows) and its GGUF keys in `write_keys`; where values move or change on
the way, a row names the function that does it. Everything else is here, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from gguf import GGMLQuantizationType

from converters.errors import TensorError, UnknownArchitecture, UnsupportedConfig
from converters.gguf_file import Keys
from converters.hf_config import (
    HIDDEN_SIZE,
    N_EXPERTS,
    N_HEADS,
    N_KV_HEADS,
    N_LAYERS,
    Config,
    first,
    one_spelling,
    require,
)
from converters.rope import llama3_factors, write_rope_keys
from converters.tensor import NUMPY_TYPES, Array, Tensor
from converters.tokenizer import Vocabulary, bpe_vocabulary, write_tokenizer

ARCHITECTURES: dict[str, type[Architecture]] = {}
"""Name in config.json -> class. Filled by subclassing."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One row of an architecture's table: what becomes of one tensor of the checkpoint.

    `gguf_name` lacks ".weight" unless it ends with another suffix (".bias"). `shape` is that of the tensor in the
    checkpoint, outermost first: names of `Architecture.sizes` or numbers. A key of the table with `{i}` stands for one
    tensor a layer, with `{x}` for one an expert (or head): these are stacked along a new first axis, so all have to be
    there, and have no biases. Where a tensor becomes several, the table has a tuple of rows, of which the first says
    for all what concerns the tensor in the checkpoint; it has no bias.

    bias       whether a tensor KEY.bias of the first size goes with KEY.weight: True, or the key of config.json that
               says so
    absent_if  the key of config.json that says that the tensor may be left out
    optional   the tensor may be left out
    suffix     what follows the key in the checkpoint
    when       (model, layer) -> whether that layer has it
    arrange    (model, values) -> the same values in llama.cpp's order, or its part of them, in any numpy type (bfloat16
               as its bits), as a view where that can be; of a bias too
    compute    (model, values) -> new values, row by row; gets float16 as such and all else as float32, as the reference
               does; of a bias too
    out        the shape that is written, where it is not `shape`
    """

    gguf_name: str
    shape: tuple[str | int, ...]
    bias: bool | str = False
    absent_if: str | None = None
    optional: bool = False
    suffix: str = ".weight"
    when: Callable[[Any, int], bool] | None = None
    arrange: Callable[[Any, Array], Array] | None = None
    compute: Callable[[Any, Array], Array] | None = None
    out: tuple[str | int, ...] | None = None


Rows = Weight | tuple[Weight, ...]

DECODER_TENSORS: Mapping[str, Rows] = {
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

QUERY_KEY_NORMS: Mapping[str, Weight] = {
    "model.layers.{i}.self_attn.q_norm": Weight("blk.{i}.attn_q_norm", ("head",)),
    "model.layers.{i}.self_attn.k_norm": Weight("blk.{i}.attn_k_norm", ("head",)),
}
"""Norms of each head of queries and keys."""

POST_NORMS: Mapping[str, Weight] = {
    "model.layers.{i}.post_attention_layernorm": Weight("blk.{i}.post_attention_norm", ("hidden",)),
    "model.layers.{i}.post_feedforward_layernorm": Weight("blk.{i}.post_ffw_norm", ("hidden",)),
}
"""Norms after attention and feed-forward; DECODER_TENSORS has one of these names for what stands before."""

IGNORED_SUFFIXES = (".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias")
"""Buffers that old checkpoints saved along; they follow from config.json."""

NOT_TEXT_PREFIXES = (
    "mlp", "vit.", "vpm.", "siglip2.", "conformer.", "merger.", "resampler.", "sound_encoder.", "sound_projection.",
    "speech_embeddings.",
)  # fmt: skip
NOT_TEXT_PARTS = (
    "visual.", "vision.", "audio.", "talker.", "vision_", "audio_", "token2wav.", "code2wav.", "projector.",
    "pre_mm_projector_norm", "image_newline", "view_seperator", "patch_embed", "patch_embedding", "patch_merger.",
    "patch_merge_mlp.", "model.connector.",
)  # fmt: skip
"""How names of tensors that see or hear begin, or what is in them: of multimodal checkpoints the text part is taken."""

CONTEXT_LENGTH = (
    "max_position_embeddings", "n_ctx", "n_positions", "max_length", "max_sequence_length", "model_max_length",
)  # fmt: skip
KEYS_BEFORE_ROPE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("context_length", CONTEXT_LENGTH),
    ("embedding_length", ("hidden_size", "n_embd", "dim")),
    ("feed_forward_length",
     ("prefix_dense_intermediate_size", "dense_intermediate_size", "intermediate_size", "n_inner", "hidden_dim")),
    ("attention.head_count", N_HEADS),
    ("attention.head_count_kv", ("num_key_value_heads", "n_kv_heads")),
)  # fmt: skip
"""GGUF key -> names in config.json: whole numbers that are written where one of the names is there."""

EPSILONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("attention.layer_norm_rms_epsilon", ("rms_norm_eps", "norm_eps")),
    ("attention.layer_norm_epsilon", ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")),
)
KEYS_AFTER_ROPE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("expert_count", N_EXPERTS),
    ("expert_used_count", ("num_experts_per_tok", "num_experts_per_token", "top_k_experts")),
    ("expert_group_count", ("n_group",)),
    ("expert_group_used_count", ("topk_group",)),
)
GATING_NAMES = (
    "score_function", "scoring_func", "score_func", "moe_router_activation", "moe_router_activation_func",
    "expert_selection_fn",
)  # fmt: skip
GATING_FUNCTIONS = {"softmax": 1, "sigmoid": 2, "sqrtsoftplus": 4}
"""llama.cpp's numbers for how a router weighs its experts."""


GELU = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh")
"""llama.cpp has one GELU, an approximation of them all."""

NOT_LOADED = "the keys of this family cannot say so, and llama.cpp will not load the file"


@dataclass(frozen=True, slots=True)
class Out:
    """A tensor that is to be written: one of `row`, of `shape` (that of one member, if it is stacked)."""

    gguf_name: str
    row: Weight
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What a tensor of the checkpoint is to be, and what is made of it.

    `stack` names the tensors that are written together, when the last of them is there; `member` is its place there.
    """

    outs: tuple[Out, ...]
    shape: tuple[int, ...]
    required: bool
    stack: str | None = None
    member: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor to write: of one source, or of several whose values follow each other. `type` is set where the values
    are stored in llama.cpp's own blocks already."""

    gguf_name: str
    shape: tuple[int, ...]
    sources: tuple[Tensor, ...]
    arrange: Callable[[Array], Array] | None = None
    compute: Callable[[Array], Array] | None = None
    type: GGMLQuantizationType | None = None


class Architecture:
    """A family of models. Subclass it with `hf_names`, `gguf_name`, `example`, `tensors`, `expects`."""

    hf_names: ClassVar[tuple[str, ...]] = ()
    """Its names in config.json's `architectures`."""
    gguf_name: ClassVar[str]
    example: ClassVar[str]
    """A checkpoint on the Hub to try it with."""
    model_types: ClassVar[tuple[str | None, ...]] = ()
    """What config.json's `model_type` may be; transformers' defaults depend on it."""
    tensors: ClassVar[Mapping[str, Rows]] = DECODER_TENSORS
    expects: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Key of config.json -> values under which the conversion is faithful; None stands for a key that is left out."""
    presumes: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """The same, of what llama.cpp computes whatever config.json says: other values are converted as by the reference,
    and told."""
    rope_types: ClassVar[tuple[str, ...]] = ("default", "linear", "dynamic", "yarn")
    """How the rotary embedding may be scaled, of what is in config.json."""
    rope_base: ClassVar[float | None] = None
    """The rotary embedding's base that llama.cpp takes, where a GGUF file of this family has no key for it."""
    optional_prefix: ClassVar[str] = ""
    """What names in some checkpoints begin with; the table's names lack it."""
    lacking_prefix: ClassVar[str] = ""
    """What the table's names begin with that this family's tensors do not."""
    ignored: ClassVar[tuple[str, ...]] = ()
    """Names of tensors that are left out."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "hf_names" not in cls.__dict__:
            cls.hf_names = ()
        for name in cls.hf_names:
            if name in ARCHITECTURES:
                raise TypeError(f"both {ARCHITECTURES[name].__name__} and {cls.__name__} claim {name}")
            ARCHITECTURES[name] = cls

    def __init__(self, config: Config) -> None:
        """Raises UnsupportedConfig when `config` says something this family's conversion does not know."""
        self.config = one_spelling(config)
        self.doubts: list[str] = []
        """A line for each value of config.json that the reference converts all the same, though llama.cpp then computes
        something else than transformers, or does not load the file."""
        require(self.config, "model_type", *self.model_types)
        self.derive(self.config)
        for key, allowed in self.expects.items():
            require(self.config, key, *allowed)
        for key, allowed in self.presumes.items():
            self.doubt(key, *allowed, why="llama.cpp goes by that, and will answer otherwise or not load the file")
        rope = self.config["rope_parameters"]
        for each in (rope.get("full_attention", rope), rope.get("sliding_attention", {})):
            if each.get("rope_type", "default") not in self.rope_types:
                wanted = f"only {', '.join(self.rope_types)} are converted"
                raise UnsupportedConfig("rope_type", each["rope_type"], wanted)
        if self.rope_base is not None and (theta := rope.get("rope_theta", self.rope_base)) != self.rope_base:
            wanted = f"{self.gguf_name} files have no key for it, and llama.cpp takes {self.rope_base:g}"
            raise UnsupportedConfig("rope_theta", theta, wanted)

    def doubt(self, key: str, *faithful: Any, why: str) -> None:
        """Note in `doubts` when config's `key` has none of the values; None stands for a key that is left out."""
        if self.config.get(key) not in faithful:
            wanted = " or ".join("nothing" if value is None else repr(value) for value in faithful)
            self.doubts.append(f"config.json: {key} is {self.config.get(key)!r}, not {wanted}: {why}")

    def derive(self, config: Config) -> None:
        """Fill in, in place, what transformers' configuration class computes from other keys."""
        if "num_key_value_heads" in config and config["num_key_value_heads"] is None:
            config["num_key_value_heads"] = first(config, N_HEADS)

    @property
    def n_layers(self) -> int:
        return int(first(self.config, N_LAYERS))

    @property
    def n_heads(self) -> int:
        return int(first(self.config, N_HEADS))

    @property
    def n_kv_heads(self) -> int:
        return int(first(self.config, N_KV_HEADS) or self.n_heads)

    @property
    def hidden_size(self) -> int:
        return int(first(self.config, HIDDEN_SIZE))

    @property
    def head_dim(self) -> int:
        return int(self.config.get("head_dim") or self.hidden_size // self.n_heads)

    @property
    def n_experts(self) -> int:
        return int(first(self.config, N_EXPERTS) or 0)

    def sizes(self) -> dict[str, int]:
        """What the names in `Weight.shape` stand for."""
        return {
            "vocabulary": self.config["vocab_size"],
            "hidden": self.hidden_size,
            "feed_forward": self.config.get("intermediate_size") or 4 * self.hidden_size,
            "queries": self.n_heads * self.head_dim,
            "keys": self.n_kv_heads * self.head_dim,
            "head": self.head_dim,
            "experts": self.n_experts,
        }

    def n_members(self, row: Weight) -> int:
        """How many tensors are stacked by a row whose key has `{x}`."""
        return self.n_experts

    def hf_name(self, name: str) -> str | None:
        """The name of a tensor as the table has it, None for one that is no part of the text model."""
        if name.startswith(NOT_TEXT_PREFIXES) or any(part in name for part in NOT_TEXT_PARTS):
            return None
        name = name.replace("e_score_correction_bias", "e_score_correction.bias").replace("language_model.", "")
        return None if name in self.ignored else name.removeprefix(self.optional_prefix)

    def write_first_keys(self, keys: Keys) -> None:
        """Write keys that stand before all but `general.architecture`."""

    def write_keys(self, keys: Keys, file_type: int) -> None:
        """Write the keys under the architecture's name that follow from config.json, and the file type.

        The order is that of the reference (`TextModel.set_gguf_parameters` in conversion/base.py).
        """
        config, name = self.config, self.gguf_name
        keys.uint32(f"{name}.block_count", self.n_layers)
        self._write_numbers(keys, KEYS_BEFORE_ROPE)
        if config.get("is_causal") is False:
            keys.bool(f"{name}.attention.causal", False)
        write_rope_keys(keys, name, config["rope_parameters"])
        for key, names in EPSILONS:
            if (epsilon := first(config, names)) is not None:
                keys.float32(f"{name}.{key}", epsilon)
        self._write_numbers(keys, KEYS_AFTER_ROPE)
        if (gating := first(config, GATING_NAMES)) is not None:
            if gating not in GATING_FUNCTIONS:
                raise UnsupportedConfig("scoring_func", gating, f"only {', '.join(GATING_FUNCTIONS)} are converted")
            keys.uint32(f"{name}.expert_gating_func", GATING_FUNCTIONS[gating])
        if (head_dim := config.get("head_dim")) is not None:
            keys.uint32(f"{name}.attention.key_length", head_dim)
            keys.uint32(f"{name}.attention.value_length", head_dim)
        keys.uint32("general.file_type", file_type)

    def _write_numbers(self, keys: Keys, table: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
        for key, names in table:
            if (value := first(self.config, names)) is not None:
                keys.uint32(f"{self.gguf_name}.{key}", value)

    def read_vocabulary(self, folder: Path) -> Vocabulary:
        """The vocabulary of the checkpoint in `folder`, read as the reference reads it for this family."""
        return bpe_vocabulary(folder, self.config)

    def write_tokenizer(self, keys: Keys, folder: Path, vocabulary: Vocabulary) -> None:
        """Write all keys of the tokenizer."""
        write_tokenizer(keys, folder, vocabulary)

    def extra_tensors(self) -> Iterator[tuple[str, Array]]:
        """(GGUF name, float32 values) of tensors that the checkpoint does not hold; they are written first.

        Here Llama 3's factors, for families whose `rope_types` allow them.
        """
        yield from llama3_factors(self.config["rope_parameters"], self.head_dim)

    def expected(self) -> dict[str, Expected]:
        """Every tensor a checkpoint of this configuration may hold, by its name there."""
        result: dict[str, Expected] = {}
        for pattern, rows in self.tensors.items():
            rows = rows if isinstance(rows, tuple) else (rows,)
            row = rows[0]
            required = not (row.optional or (row.absent_if and self.config.get(row.absent_if)))
            shape, out_shapes = self._shape(row.shape), [self._shape(each.out or each.shape) for each in rows]
            has_bias = row.bias is True or (row.bias and self.config.get(row.bias))
            stack, stacked, _ = pattern.partition("{x}")
            for i in range(self.n_layers if "{i}" in pattern else 1):
                if row.when is not None and not row.when(self, i):
                    continue
                outs = tuple(Out(_full_name(r.gguf_name, i), r, s) for r, s in zip(rows, out_shapes, strict=True))
                for x in range(self.n_members(row) if stacked else 1):
                    name = pattern.format(i=i, x=x).removeprefix(self.lacking_prefix)
                    where = stack.format(i=i) if stacked else None
                    result[name + row.suffix] = Expected(outs, shape, required, where, x)
                    if has_bias:
                        bias = Out(f"{outs[0].gguf_name.removesuffix('.weight')}.bias", row, outs[0].shape[:1])
                        result[f"{name}.bias"] = Expected((bias,), bias.shape, required)
        return result

    def _shape(self, names: tuple[str | int, ...]) -> tuple[int, ...]:
        sizes = self.sizes()
        return tuple(size if isinstance(size, int) else sizes[size] for size in names)

    def plan(self, tensors: Mapping[str, Tensor]) -> list[Planned]:
        """The tensors to write, in the order of `tensors`; stacked ones where the last of their stack comes.

        Raises TensorError for a tensor that is unknown, missing, misshapen or of a type that holds no weights.
        """
        expected = self.expected()
        stacks: dict[str, dict[Out, dict[int, Tensor]]] = {}
        lacking: Counter[str] = Counter()
        for want in expected.values():
            if want.stack is not None:
                stacks.setdefault(want.stack, {})[want.outs[0]] = {}
                lacking[want.stack] += 1
        planned: list[Planned] = []
        taken: dict[str, str] = {}
        for stored_name, tensor in tensors.items():
            name = self.hf_name(stored_name)
            if name is None or stored_name.endswith(IGNORED_SUFFIXES):
                continue
            if name in taken:
                raise TensorError(stored_name, f"it once, and it is there as {taken[name]} as well", "it")
            if name not in expected:
                wanted = f"only tensors that a {self.gguf_name} model of this config.json has"
                raise TensorError(stored_name, wanted, "it")
            want, taken[name] = expected.pop(name), stored_name
            if tensor.shape != want.shape:
                raise TensorError(stored_name, f"shape {list(want.shape)}", f"{list(tensor.shape)}")
            if tensor.dtype not in NUMPY_TYPES:
                raise TensorError(stored_name, f"one of the types {', '.join(NUMPY_TYPES)}", tensor.dtype)
            if want.stack is None:
                planned += [self.planned(out, out.shape, (tensor,)) for out in want.outs]
                continue
            stacks[want.stack][want.outs[0]][want.member] = tensor
            lacking[want.stack] -= 1
            if not lacking[want.stack]:
                for out, members in stacks[want.stack].items():
                    whole = tuple(members[member] for member in sorted(members))
                    planned.append(self.planned(out, (len(whole), *out.shape), whole))
        missing = [name for name, want in expected.items() if want.required]
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            row = expected[missing[0]].outs[0].row
            way_out = f"; add it, or set {row.absent_if}: true in config.json" if row.absent_if else ""
            raise TensorError(missing[0], f"it in the checkpoint{more}", f"none of that name{way_out}")
        return planned

    def planned(self, out: Out, shape: tuple[int, ...], sources: tuple[Tensor, ...]) -> Planned:
        """`out` with what its row of the table does bound to this model."""
        arrange = partial(out.row.arrange, self) if out.row.arrange else None
        compute = partial(out.row.compute, self) if out.row.compute else None
        return Planned(out.gguf_name, shape, sources, arrange, compute)


def _full_name(gguf_name: str, layer: int) -> str:
    name = gguf_name.format(i=layer)
    return name if name.endswith((".weight", ".bias")) else f"{name}.weight"


def interleave_halves(values: Array, n_heads: int) -> Array:
    """values (n_heads * head_dim, ...) -> (n_heads, head_dim / 2, 2, ...): in each head, row j of the first half comes
    to 2j, of the second to 2j + 1. transformers rotates the halves of a head, llama.cpp's "norm" rope neighbours."""
    halves = values.reshape(n_heads, 2, values.shape[0] // n_heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2)


def interleave_queries(model: Architecture, values: Array) -> Array:
    return interleave_halves(values, model.n_heads)


def interleave_keys(model: Architecture, values: Array) -> Array:
    return interleave_halves(values, model.n_kv_heads)


def transposed(model: Architecture, values: Array) -> Array:
    """The last two axes changed; a vector stays as it is."""
    return values.swapaxes(-1, -2) if values.ndim > 1 else values


def with_arranged(table: Mapping[str, Rows], **functions: Callable[[Any, Array], Array]) -> dict[str, Rows]:
    """`table` with an `arrange` for every row whose key ends with the name of one of `functions`."""
    result = dict(table)
    for ending, arrange in functions.items():
        for key, row in table.items():
            if key.endswith(ending) and isinstance(row, Weight):
                result[key] = replace(row, arrange=arrange)
    return result


def plus_one(model: Architecture, values: Array) -> Array:
    added: Array = values + values.dtype.type(1)
    return added


def with_norms_plus_one(table: Mapping[str, Rows]) -> dict[str, Rows]:
    """`table` with 1 added to what every norm multiplies by, of families that keep it as its difference from 1."""
    return {
        key: replace(row, compute=plus_one) if isinstance(row, Weight) and key.endswith("norm") else row
        for key, row in table.items()
    }


def with_bias(table: Mapping[str, Rows], **biases: bool | str) -> dict[str, Rows]:
    """`table` with another `bias` for every row whose key ends with the name of one of `biases`."""
    result = dict(table)
    for ending, bias in biases.items():
        for key, row in table.items():
            if key.endswith(ending) and isinstance(row, Weight):
                result[key] = replace(row, bias=bias)
    return result


def text_architectures(config: Config) -> Any:
    """`architectures` of the text part, where a multimodal config.json names one, else of the whole."""
    nested = config.get("text_config")
    return (nested.get("architectures") if isinstance(nested, dict) else None) or config.get("architectures")


def find_architecture(config: Config) -> Architecture:
    """The architecture that config.json names, set up for it. Raises UnknownArchitecture and UnsupportedConfig."""
    names = text_architectures(config)
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise UnsupportedConfig("architectures", names, "a list with the name of an architecture is needed")
    if names[0] not in ARCHITECTURES:
        raise UnknownArchitecture(names[0], ARCHITECTURES)
    return ARCHITECTURES[names[0]](config)
