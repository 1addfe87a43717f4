"""What the header of a GGUF says: its keys, its tensors' shapes and sizes, and the memory a cache of its will take.

Read without the weights and without llama.cpp, in milliseconds, so that the parent can plan before it starts a child.
The file may come from a stranger: every count, length and offset is held against the file's size, and what is kept is
bounded too, however large the file. How llama.cpp lays out its caches is told once, in `_layer_caches`; read from
llama-hparams.cpp, llama-model.cpp (create_memory) and llama-kv-cache*.cpp of the llama.cpp that is pinned.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NoReturn

from gguf_bench.errors import ModelError
from gguf_bench.gguf_files import gguf_shards

Value = int | float | bool | str | tuple[int | float | bool, ...]

BLOCKS: Mapping[str, tuple[int, int, int]] = {
    # name: number in the file, values a block, bytes a block (ggml.h, ggml-common.h)
    "F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q8_1": (9, 32, 36), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "Q8_K": (15, 256, 292),
    "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74), "IQ3_XXS": (18, 256, 98), "IQ1_S": (19, 256, 50),
    "IQ4_NL": (20, 32, 18), "IQ3_S": (21, 256, 110), "IQ2_S": (22, 256, 82), "IQ4_XS": (23, 256, 136),
    "I8": (24, 1, 1), "I16": (25, 1, 2), "I32": (26, 1, 4), "I64": (27, 1, 8), "F64": (28, 1, 8),
    "IQ1_M": (29, 256, 56), "BF16": (30, 1, 2), "TQ1_0": (34, 256, 54), "TQ2_0": (35, 256, 66), "MXFP4": (39, 32, 17),
    "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18),
}  # fmt: skip

_TYPES = {number: (name, values, size) for name, (number, values, size) in BLOCKS.items()}
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")

MAX_KEYS, MAX_TENSORS, MAX_STRINGS = 10_000, 1 << 17, 1 << 24
MAX_NAME_BYTES, MAX_DIMENSIONS, MAX_LAYERS = 1024, 4, 512
KEPT_ARRAY, KEPT_STRING_BYTES, KEPT_BYTES = 1024, 1 << 20, 1 << 24
"""Longer arrays and strings are passed over; the ones that matter here have a value a layer, or are templates."""
CHUNK_BYTES = 1 << 20

ALIGNMENT = 32
"""Where tensors begin in what llama.cpp writes."""


def tensor_bytes(shape: Sequence[int], type_name: str) -> int:
    """What a tensor of whole blocks takes in the type of this name."""
    _, per_block, block_bytes = BLOCKS[type_name]
    return math.prod(shape) // per_block * block_bytes


def padded(n_bytes: int) -> int:
    """What a tensor of `n_bytes` takes there."""
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: `shape` in ggml's order (the values of a row first), `type` by ggml's name ("Q4_K")."""

    name: str
    shape: tuple[int, ...]
    type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LayerCache:
    """What one layer remembers: `k_values` and `v_values` numbers a token, and `state_bytes` a sequence of any length.

    With a `window` only about that many tokens of a sequence are kept, without one (0) all of them.
    """

    k_values: int = 0
    v_values: int = 0
    window: int = 0
    state_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheShape:
    """The size of a context: `n_ctx` tokens in all, shared by `n_seq` sequences, decoded `n_ubatch` at a time.

    `unified` is llama.cpp's kv_unified: one buffer for all sequences, or one of n_ctx / n_seq tokens for each. With
    `swa_full`, as by llama.cpp's default, layers with a sliding window keep every token all the same. `n_outputs` says
    for how many tokens of a micro-batch logits may be asked (0: for all of them).
    """

    n_ctx: int
    n_seq: int = 1
    n_ubatch: int = 512
    type_k: str = "F16"
    type_v: str = "F16"
    flash_attention: bool = True
    unified: bool = True
    swa_full: bool = True
    n_outputs: int = 0


@dataclass(frozen=True)
class GgufHeader:
    """A GGUF's header, all parts of a split file together. `values` has its keys, save long arrays and strings.

    `array_lengths` has the lengths of all arrays. What is derived raises ModelError where the keys it needs are missing
    or make no sense (an adapter or a vocabulary alone has no layers).
    """

    name: str
    architecture: str
    values: Mapping[str, Value]
    array_lengths: Mapping[str, int]
    tensors: tuple[Tensor, ...]

    @cached_property
    def n_layers(self) -> int:
        """The model's blocks, those that only predict further tokens (MTP) included, the output layer not."""
        count = self._int("block_count")
        if not 1 <= count <= MAX_LAYERS:
            self._refuse("block_count", count, f"1 to {MAX_LAYERS}")
        return count

    @cached_property
    def hidden_size(self) -> int:
        return self._int("embedding_length")

    @cached_property
    def context_train(self) -> int:
        return self._int("context_length")

    @cached_property
    def n_vocab(self) -> int:
        """Tokens of the vocabulary: the rows of the embedding; 0 where there is none."""
        embedding = next((tensor for tensor in self.tensors if tensor.name == "token_embd.weight"), None)
        return embedding.shape[1] if embedding and len(embedding.shape) > 1 else 0

    @cached_property
    def tensor_bytes(self) -> int:
        return sum(tensor.size_bytes for tensor in self.tensors)

    @cached_property
    def layer_bytes(self) -> tuple[int, ...]:
        """The bytes of each layer's tensors."""
        sizes = [0] * self.n_layers
        for tensor in self.tensors:
            match = _LAYER.search(tensor.name)
            if match and int(match[1]) < self.n_layers:
                sizes[int(match[1])] += tensor.size_bytes
        return tuple(sizes)

    @cached_property
    def input_bytes(self) -> int:
        """The embeddings of tokens and positions, which llama.cpp keeps in the CPU's memory."""
        return sum(tensor.size_bytes for tensor in self.tensors if tensor.name.startswith(_INPUT))

    @cached_property
    def output_bytes(self) -> int:
        """The output layer's tensors. Where the token embedding serves as output matrix too, a second copy counts."""
        rest = self.tensor_bytes - sum(self.layer_bytes) - self.input_bytes
        if any(tensor.name == "output.weight" for tensor in self.tensors):
            return rest
        return rest + sum(tensor.size_bytes for tensor in self.tensors if tensor.name == "token_embd.weight")

    @cached_property
    def layer_caches(self) -> tuple[LayerCache, ...]:
        """What each layer remembers of a sequence."""
        return tuple(_layer_caches(self))

    def kv_bytes_per_token(self, type_k: str = "F16", type_v: str = "F16") -> int:
        """What one more token takes in the cache, as long as it is within the window of the layers that have one."""
        return sum(_bytes_per_token(cache, type_k, type_v) for cache in self.layer_caches)

    @cached_property
    def state_bytes_per_sequence(self) -> int:
        """What recurrent layers keep of a sequence, however long it is."""
        return sum(cache.state_bytes for cache in self.layer_caches)

    def cache_bytes(self, shape: CacheShape) -> tuple[int, ...]:
        """The bytes of each layer's part of a context of this `shape`, as llama.cpp allocates them."""
        return tuple(
            _tokens_kept(cache, shape) * _bytes_per_token(cache, shape.type_k, shape.type_v)
            + max(1, shape.n_seq) * cache.state_bytes
            for cache in self._padded(shape)
        )

    def _padded(self, shape: CacheShape) -> tuple[LayerCache, ...]:
        """Without flash attention V is stored transposed, and every layer gets the room of the widest one."""
        if shape.flash_attention:
            return self.layer_caches
        widest = max(cache.v_values for cache in self.layer_caches)
        return tuple(
            LayerCache(cache.k_values, widest if cache.v_values else 0, cache.window, cache.state_bytes)
            for cache in self.layer_caches
        )

    @cached_property
    def shape_key(self) -> str:
        """A short hash of what speed depends on: architecture, sizes, tensor types; nothing of names or values."""
        sizes = {
            key: value
            for key, value in self.values.items()
            if key.startswith(f"{self.architecture}.") and isinstance(value, int | tuple) and "context" not in key
        }
        tensors = sorted((tensor.name, tensor.shape, tensor.type) for tensor in self.tensors)
        text = json.dumps([self.architecture, sorted(sizes.items()), tensors])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _int(self, key: str, default: int | None = None) -> int:
        """The whole number (0 or more) of the architecture's own `key`."""
        value = self.values.get(f"{self.architecture}.{key}", default)
        if value is None:
            raise ModelError(f"{self.name} has no key {self.architecture}.{key}, so it is no model llama.cpp runs")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 32:
            self._refuse(key, value, "a whole number")
        return value

    def _per_layer(self, key: str, default: int | Sequence[int]) -> list[int]:
        """A value for each layer: an array, or one number for all of them."""
        value = self.values.get(f"{self.architecture}.{key}", default)
        if not isinstance(value, Sequence) or isinstance(value, str):
            return [self._int(key, value if isinstance(value, int) else None)] * self.n_layers
        if len(value) != self.n_layers or not all(isinstance(part, int) and 0 <= part < 1 << 32 for part in value):
            self._refuse(key, f"{len(value)} values", f"{self.n_layers} whole numbers, one a layer")
        return [int(part) for part in value]

    def _refuse(self, key: str, found: object, wanted: str) -> NoReturn:
        raise ModelError(f"{self.name}: {self.architecture}.{key} is {found!r}, but {wanted} is what llama.cpp takes")


_LAYER = re.compile(r"(?:^|\.)blk\.(\d{1,4})\.")
_INPUT = ("token_embd", "position_embd", "token_types", "per_layer_token_embd")


# --- the memory of a context ---


def _bytes_per_token(cache: LayerCache, type_k: str, type_v: str) -> int:
    return _row_bytes(cache.k_values, type_k) + _row_bytes(cache.v_values, type_v)


def _row_bytes(values: int, type_name: str) -> int:
    _, per_block, size = BLOCKS[type_name.upper()]
    return -(-values // per_block) * size


def _tokens_kept(cache: LayerCache, shape: CacheShape) -> int:
    """The cells of a layer's cache. A window's have room for all sequences' windows and what is being decoded."""
    streams = 1 if shape.unified else shape.n_seq
    every = shape.n_ctx // streams
    if not cache.window or shape.swa_full:
        return every * streams
    kept = min(every, cache.window * (shape.n_seq if shape.unified else 1) + shape.n_ubatch)
    return -(-kept // 256) * 256 * streams


SLIDING: Mapping[str, tuple[int, int | None, bool]] = {
    # architecture: layers from one without a window to the next, the window where the file names none, that layer first
    "afmoe": (4, None, False),
    "cohere2": (4, None, False),
    "cohere2moe": (4, None, True),
    "exaone-moe": (4, 128, False),
    "exaone4": (4, 4096, False),
    "gemma2": (2, 4096, False),
    "gemma3": (6, None, False),
    "gemma3n": (5, None, False),
    "gpt-oss": (2, None, False),
    "laguna": (4, None, True),
    "llama4": (4, 8192, False),
    "mellum": (4, None, False),
    "muse-glimmer": (4, None, False),
    "olmo2": (4, None, False),
    "plamo3": (8, None, False),
    "smallthinker": (4, None, True),
}
FIXED_WINDOWS = {"llama4": 8192, "smallthinker": 4096}
"""Windows that llama.cpp sets itself, whatever the file says, unless the file says 0."""
WITHOUT_A_CACHE = ("bert", "nomic-bert", "modern-bert", "neo-bert", "eurobert", "jina-bert", "dream", "llada", "rnd1")

RECURRENT = ("mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7")
HYBRID = (
    *("jamba", "plamo2", "granitehybrid", "lfm2", "lfm2moe", "kimi-linear", "bailingmoe3", "kimi-k3", "glm5-next"),
    *("nemotron_h", "nemotron_h_moe"),
)
"""Mixed models whose recurrent layers are those without KV heads."""
HYBRID_BY_INTERVAL = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "qwen4exp": 4, "minimax-01": 8}
"""Mixed models where every so-manieth layer is one of attention, unless the file says otherwise."""


def _layer_caches(header: GgufHeader) -> list[LayerCache]:
    if header.architecture.startswith(WITHOUT_A_CACHE):
        return [LayerCache()] * header.n_layers
    heads = header._per_layer("attention.head_count", 0)
    kv_heads = header._per_layer("attention.head_count_kv", heads)
    windows, recurrent = _windows(header, kv_heads), _recurrent_layers(header, kv_heads)
    per_head = header.hidden_size // heads[0] if heads[0] else 0
    k, v = header._int("attention.key_length", per_head), header._int("attention.value_length", per_head)
    k_sliding = header._int("attention.key_length_swa", k)
    v_sliding = header._int("attention.value_length_swa", v)
    if header._int("attention.key_length_mla", 0) and header._int("attention.value_length_mla", 0):
        v = v_sliding = 0  # V is a part of K, which holds the compressed vector of all heads
    indexer = header._int("attention.indexer.key_length", 0)
    state = _state_bytes(header, heads[0]) if any(recurrent) else 0
    n_trunk = header.n_layers - min(header.n_layers - 1, header._int("nextn_predict_layers", 0))
    n_own = min(n_trunk, _layers_with_own_cache(header))
    caches = []
    for layer in range(header.n_layers):
        sliding, n_kv = windows[layer] > 0, kv_heads[layer]
        attends = layer < n_own and (not recurrent[layer] or header.architecture == "falcon-h1")
        caches.append(
            LayerCache(
                k_values=(n_kv * (k_sliding if sliding else k) + (indexer if n_kv else 0)) if attends else 0,
                v_values=n_kv * (v_sliding if sliding else v) if attends else 0,
                window=windows[layer],
                state_bytes=state if recurrent[layer] and layer < n_trunk else 0,
            )
        )
    return caches


def _layers_with_own_cache(header: GgufHeader) -> int:
    """Later layers of a Gemma 3n or 4 look into the caches of earlier ones."""
    if header.architecture == "gemma3n":
        return 20
    if header.architecture == "gemma4":
        return header.n_layers - min(header.n_layers, header._int("attention.shared_kv_layers", 0))
    return header.n_layers


def _windows(header: GgufHeader, kv_heads: Sequence[int]) -> list[int]:
    """Each layer's window, 0 for those that see everything.

    An architecture that is not known here has no windows unless its file lists the layers that do: too much is then
    reckoned rather than too little.
    """
    none = [0] * header.n_layers
    key = "attention.sliding_window"
    if header.architecture == "phi3" or (header.architecture == "exaone4" and header.n_layers != 64):
        return none  # llama.cpp does without the window there
    if header.architecture in ("lfm2", "lfm2moe"):
        return [header._int(key, 0) if n_kv else 0 for n_kv in kv_heads]
    interval, default, first = SLIDING.get(header.architecture, (0, None, False))
    window = header._int(key, default or 0)
    if window:
        window = FIXED_WINDOWS.get(header.architecture, window)
    pattern = header.values.get(f"{header.architecture}.attention.sliding_window_pattern")
    if not window or (header.architecture not in SLIDING and not isinstance(pattern, tuple)):
        return none
    if isinstance(pattern, tuple):
        return [window if layer < len(pattern) and pattern[layer] else 0 for layer in range(header.n_layers)]
    interval = header._int("attention.sliding_window_pattern", interval)
    whole = 0 if first else interval - 1
    return [0 if interval and layer % interval == whole else window for layer in range(header.n_layers)]


def _recurrent_layers(header: GgufHeader, kv_heads: Sequence[int]) -> list[bool]:
    """Which layers keep a state instead of (Falcon H1: beside) the keys and values of every token."""
    if header.architecture in (*RECURRENT, "falcon-h1"):
        return [True] * header.n_layers
    if header.architecture.startswith("nemotron_h"):  # its layers of feed-forward alone have no KV heads either
        feed_forward = header._per_layer("feed_forward_length", 0)
        return [not n_kv and not n_ff for n_kv, n_ff in zip(kv_heads, feed_forward, strict=True)]
    if header.architecture in HYBRID:
        return [not n_kv for n_kv in kv_heads]
    if header.architecture in HYBRID_BY_INTERVAL:
        listed = header.values.get(f"{header.architecture}.attention.recurrent_layers")
        if isinstance(listed, tuple):
            return [layer < len(listed) and bool(listed[layer]) for layer in range(header.n_layers)]
        interval = header._int("full_attention_interval", HYBRID_BY_INTERVAL[header.architecture])
        return [bool(interval) and (layer + 1) % interval != 0 for layer in range(header.n_layers)]
    return [False] * header.n_layers


def _state_bytes(header: GgufHeader, n_heads: int) -> int:
    """The float32 state of one recurrent layer and sequence: what its convolution looks back at, and what it carries.

    By family, as llama_hparams::n_embd_r and n_embd_s have them.
    """
    width, convolution = header.hidden_size, max(0, header._int("ssm.conv_kernel", 0) - 1)
    if header._int("wkv.head_size", 0):
        values = header._int("token_shift_count", 2) * width + header._int("wkv.head_size", 0) * width
    elif header._int("shortconv.l_cache", 0):
        values = width * (header._int("shortconv.l_cache", 0) - 1)
    elif head := header._int("kda.head_dim", 0):
        values = 3 * (convolution or 3) * n_heads * head + head * head * n_heads
    elif header.architecture == "minimax-01":
        head = header._int("attention.key_length", width // max(1, n_heads))
        values = head * head * n_heads
    else:
        inner, state = header._int("ssm.inner_size", 0), header._int("ssm.state_size", 0)
        values = convolution * (inner + 2 * header._int("ssm.group_count", 0) * state) + state * inner
    return 4 * values


# --- reading ---


def read_header(path: Path) -> GgufHeader:
    """The header of the GGUF at `path`; of a split one all parts, which lie beside the first.

    Raises ModelError, one line with the byte where it was found, for a file that is no GGUF, is cut off, or says things
    of itself that cannot be.
    """
    values: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    tensors: dict[str, Tensor] = {}
    for shard in gguf_shards(path):
        try:
            with shard.open("rb") as file:
                reader = _Reader(file, shard.name, shard.stat().st_size)
                shard_values, shard_lengths = _read_into(reader, tensors)
        except OSError as error:
            raise ModelError(f"{shard} cannot be read: {error.strerror}") from error
        values, lengths = shard_values | values, shard_lengths | lengths  # the first part has them all
    architecture = values.get("general.architecture", "")
    if not isinstance(architecture, str):
        raise ModelError(f"{path.name}: general.architecture is {architecture!r}, but a name is wanted")
    return GgufHeader(path.name, architecture, values, lengths, tuple(tensors.values()))


def _read_into(reader: _Reader, tensors: dict[str, Tensor]) -> tuple[dict[str, Value], dict[str, int]]:
    """Read one file: its keys and the lengths of its arrays; its tensors are added to `tensors`."""
    if reader.bytes(4) != b"GGUF":
        raise ModelError(f"{reader.name} is no GGUF file: it does not begin with GGUF")
    version = reader.u32()
    if version not in (2, 3):
        reader.refuse(f"GGUF version {version}, but llama.cpp reads 2 and 3 (little-endian)")
    n_tensors, n_keys = reader.u64(), reader.u64()
    reader.bound(n_tensors, MAX_TENSORS, 24, "tensors")
    reader.bound(n_keys, MAX_KEYS, 13, "keys")
    values: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    for _ in range(n_keys):
        key = reader.name_text("key", MAX_NAME_BYTES)
        if key in values or key in lengths:
            reader.refuse(f"the key {key!r} stands there twice")
        kind = reader.u32()
        value = reader.array(key, lengths) if kind == _ARRAY else reader.value(key, kind)
        if value is not None:
            values[key] = value
    found = [_read_tensor(reader, tensors) for _ in range(n_tensors)]
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        reader.refuse(f"general.alignment is {alignment!r}, which is no power of two")
    start = -(-reader.at // alignment) * alignment
    for tensor, offset in found:
        if start + offset + tensor.size_bytes > reader.size:
            raise ModelError(
                f"{reader.name}: {tensor.name} ends at byte {start + offset + tensor.size_bytes:,}, but the file has "
                f"{reader.size:,}",
                hint="it was cut off; fetch or make it again",
            )
    return values, lengths


def _read_tensor(reader: _Reader, tensors: dict[str, Tensor]) -> tuple[Tensor, int]:
    """One tensor and where its data begins, counted from the first tensor's."""
    name = reader.name_text("tensor name", 64)
    if name in tensors:
        reader.refuse(f"the tensor {name} stands there twice")
    n_dimensions = reader.u32()
    if n_dimensions > MAX_DIMENSIONS:
        reader.refuse(f"{name} has {n_dimensions} dimensions, but {MAX_DIMENSIONS} are the most")
    shape = tuple(reader.u64() for _ in range(n_dimensions))
    type_number, offset = reader.u32(), reader.u64()
    if type_number not in _TYPES:
        reader.refuse(f"{name} has type {type_number}, which this llama.cpp does not know")
    type_name, per_block, block_bytes = _TYPES[type_number]
    if shape and shape[0] % per_block:
        reader.refuse(f"{name} has rows of {shape[0]} values, but {type_name} packs them by {per_block}")
    tensor = Tensor(name, shape, type_name, math.prod(shape) // per_block * block_bytes)
    tensors[name] = tensor
    return tensor, offset


class _Reader:
    """A cursor (`at`) over a file of `size` bytes, of which one piece at a time is in memory."""

    def __init__(self, file: BinaryIO, name: str, size: int) -> None:
        self.name, self.size, self.at = name, size, 0
        self._file, self._piece, self._start = file, b"", 0
        self._strings_left, self._kept_left = MAX_STRINGS, KEPT_BYTES

    def refuse(self, found: str) -> NoReturn:
        raise ModelError(f"{self.name}, byte {self.at:,}: {found}", hint="the file is damaged, or was never sound")

    def bound(self, count: int, most: int, bytes_each: int, what: str) -> None:
        """Refuse a `count` of things that the rest of the file has no room for, or that no real file has."""
        if count > min(most, (self.size - self.at) // bytes_each):
            self.refuse(f"it says that {count:,} {what} follow, in a file of {self.size:,} bytes")

    def bytes(self, count: int) -> bytes:
        offset = self._load(count)
        self.at += count
        return self._piece[offset : offset + count]

    def u32(self) -> int:
        return int(_U32.unpack(self.bytes(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self.bytes(8))[0])

    def name_text(self, what: str, most: int) -> str:
        length = self.u64()
        if not 0 < length <= most:
            self.refuse(f"a {what} of {length:,} bytes, but 1 to {most} is what there is")
        return self.bytes(length).decode("utf-8", "replace")

    def value(self, key: str, kind: int) -> Value | None:
        """A number, or a text where it is not too long to keep."""
        if kind == _STRING:
            length = self.u64()
            self.bound(length, self.size, 1, f"bytes of {key}")
            if length > min(KEPT_STRING_BYTES, self._kept_left):
                self.at += length
                return None
            self._kept_left -= length
            return self.bytes(length).decode("utf-8", "replace")
        number: int | float | bool = self._scalar(key, kind).unpack(self.bytes(self._scalar(key, kind).size))[0]
        return number

    def array(self, key: str, lengths: dict[str, int]) -> Value | None:
        """The numbers of a short array; a longer one, or one of texts, is passed over."""
        kind, count = self.u32(), self.u64()
        lengths[key] = count
        if kind == _ARRAY:
            self.refuse(f"{key} is an array of arrays, which llama.cpp does not read")
        if kind == _STRING:
            self._skip_strings(key, count)
            return None
        item = self._scalar(key, kind)
        self.bound(count, self.size, item.size, f"values of {key}")
        if count > KEPT_ARRAY:
            self.at += count * item.size
            return None
        return struct.unpack(f"<{count}{item.format[-1]}", self.bytes(count * item.size))

    def _scalar(self, key: str, kind: int) -> struct.Struct:
        if kind not in _SCALARS:
            self.refuse(f"{key} has type {kind}, which GGUF does not have")
        return _STRUCTS[kind]

    def _skip_strings(self, key: str, count: int) -> None:
        """Pass over `count` strings: a loop as tight as can be, since vocabularies have hundreds of thousands."""
        self.bound(count, self._strings_left, 8, f"texts of {key}")
        self._strings_left -= count
        length_at, left = _U64.unpack_from, count
        while left:
            offset, piece = self._load(8), self._piece
            with suppress(struct.error, OverflowError):  # beyond the piece: on with the next one
                while left:
                    offset += 8 + length_at(piece, offset)[0]
                    left -= 1
            self.at = self._start + offset
            if self.at > self.size:
                self.refuse(f"the texts of {key} go beyond the end of the file")

    def _load(self, count: int) -> int:
        """Have the next `count` bytes in the piece, and say where in it they begin."""
        if self.at + count > self.size:
            self.refuse(f"the file ends within its header, after {self.size:,} bytes")
        offset = self.at - self._start
        if not 0 <= offset <= len(self._piece) - count:
            self._file.seek(self.at)
            self._piece, self._start, offset = self._file.read(max(count, CHUNK_BYTES)), self.at, 0
            if len(self._piece) < count:
                self.refuse("the file ends within its header: it was cut off while it was read")
        return offset


_STRUCTS = {kind: struct.Struct(f"<{code}") for kind, code in _SCALARS.items()}
