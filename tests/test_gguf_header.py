"""Headers of GGUF files: what they say of memory against what llama.cpp allocates, and damaged and hostile ones."""

from __future__ import annotations

import ctypes
import re
import struct
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import pytest
from llama_cpp._ggml import libggml

from converters import convert
from gguf_bench import gguf_header, tiny_gguf
from gguf_bench.errors import ModelError
from gguf_bench.gguf_header import CacheShape, read_header
from gguf_bench.llama.log import log
from gguf_bench.llama.model import Model
from tests.converters.cases import read_cases, write_case
from tests.tiny_models import lfm2, mamba

CASES = read_cases()
FAMILIES = ("deepseek-v2", "gemma3", "gpt-oss", "cohere2", "qwen3-moe", "falcon-7b", "phi3", "minicpm3")
SHAPES = {
    "one sequence": CacheShape(n_ctx=65536),
    "unified": CacheShape(n_ctx=65536, n_seq=4, swa_full=False),
    "apart, no flash attention": CacheShape(n_ctx=65536, n_seq=4, n_ubatch=256, flash_attention=False, unified=False),
}


def allocated_bytes(path: Path, shape: CacheShape) -> float:
    """What llama.cpp's log says a context of this shape holds; nothing of it is really allocated."""
    log().recent.clear()
    model = Model(path, metadata_only=True)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_seq_max = shape.n_ctx, shape.n_seq
    params.n_batch = params.n_ubatch = shape.n_ubatch
    params.kv_unified, params.swa_full = shape.unified, shape.swa_full
    params.flash_attn_type = 1 if shape.flash_attention else 0
    params.type_k, params.type_v = (gguf_header.BLOCKS[name][0] for name in (shape.type_k, shape.type_v))
    context = llama_cpp.llama_init_from_model(model.handle, params)
    assert context, log().why()
    llama_cpp.llama_free(context)
    lines = list(log().recent)
    sizes = [float(found[1]) for line in lines if (found := re.search(r"size =\s+([\d.]+) MiB \(\s*\d+ cells", line))]
    assert sizes
    return sum(sizes) * 2**20


def agrees(path: Path, shape: CacheShape) -> bool:
    """The log has two decimals of a MiB for each of at most two buffers."""
    return abs(allocated_bytes(path, shape) - sum(read_header(path).cache_bytes(shape))) <= 0.011 * 2**20


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cache_is_what_llama_cpp_allocates(family: str, tmp_path: Path) -> None:
    path = convert(write_case(tmp_path, CASES[family]), tmp_path / "x.gguf", "f16")
    assert [name for name, shape in SHAPES.items() if not agrees(path, shape)] == []


@pytest.mark.model
@pytest.mark.parametrize("kv_type", ["F16", "Q8_0", "F32"])
def test_the_cache_of_a_real_model(kv_type: str, smollm2: Path) -> None:
    assert agrees(smollm2, CacheShape(n_ctx=8192, n_seq=8, type_k=kv_type, type_v=kv_type))


def test_a_recurrent_model_keeps_a_state_whatever_the_length(tmp_path: Path) -> None:
    path = mamba(tmp_path / "mamba.gguf")
    header = read_header(path)
    assert header.kv_bytes_per_token() == 0
    assert header.state_bytes_per_sequence == 3 * 4 * (3 * 64 + 16 * 64)
    assert agrees(path, CacheShape(n_ctx=4096, n_seq=200))


def test_a_mixed_model_keeps_both(tmp_path: Path) -> None:
    path = lfm2(tmp_path / "lfm2.gguf")
    header = read_header(path)
    assert header.kv_bytes_per_token() == 2 * 2 * (2 * 2 * 16)
    assert header.state_bytes_per_sequence == 4 * 4 * 64 * 2
    for n_seq, n_ctx in ((1, 65536), (200, 1024)):
        assert agrees(path, CacheShape(n_ctx=n_ctx, n_seq=n_seq))


@pytest.mark.model
def test_facts_of_a_real_file(smollm2: Path) -> None:
    header, model = read_header(smollm2), Model(smollm2, metadata_only=True)
    assert (header.architecture, header.n_layers, header.hidden_size, header.n_vocab) == ("llama", 30, 576, 49152)
    assert (header.n_layers, header.context_train) == (model.n_layers, model.context_train)
    assert header.tensor_bytes == model.tensor_bytes
    assert header.kv_bytes_per_token() == 30 * 2 * 3 * 64 * 2
    assert header.array_lengths["tokenizer.ggml.tokens"] == 49152
    assert header.values["general.architecture"] == "llama"
    assert len(set(header.layer_bytes)) == 1
    # The embedding is the output matrix too, so that a GPU gets a copy of it.
    assert sum(header.layer_bytes) + header.input_bytes + 576 * 4 == header.tensor_bytes
    assert header.output_bytes == header.input_bytes + 576 * 4


def test_every_type_is_packed_as_ggml_packs_it() -> None:
    libggml.ggml_type_size.restype, libggml.ggml_type_size.argtypes = ctypes.c_size_t, [ctypes.c_int]
    libggml.ggml_blck_size.restype, libggml.ggml_blck_size.argtypes = ctypes.c_int64, [ctypes.c_int]
    libggml.ggml_type_name.restype, libggml.ggml_type_name.argtypes = ctypes.c_char_p, [ctypes.c_int]
    for name, (number, values, size) in gguf_header.BLOCKS.items():
        assert libggml.ggml_type_name(number).decode().upper() == name
        assert (libggml.ggml_blck_size(number), libggml.ggml_type_size(number)) == (values, size), name
    known = {number for number, _, _ in gguf_header.BLOCKS.values()}
    assert {n for n in range(43) if libggml.ggml_blck_size(n)} == known, "ggml has types that are not in the table"


def test_parts_of_a_split_file_are_read_together(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama", split_max_tensors=1)
    writer.add_block_count(2)
    for n in range(2):
        writer.add_tensor(f"blk.{n}.attn_norm.weight", np.ones(8 + n, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert read_header(tmp_path / "x-00001-of-00002.gguf").layer_bytes == (32, 36)


def test_the_shape_is_the_same_for_models_that_run_at_the_same_speed(tmp_path: Path) -> None:
    first = tiny_gguf.write(tmp_path / "first.gguf")
    other = tmp_path / "other.gguf"
    content = bytearray(first.read_bytes())
    content[-100:] = bytes(100)  # other weights
    other.write_bytes(content)
    assert read_header(first).shape_key == read_header(other).shape_key
    assert read_header(first).shape_key != read_header(mamba(tmp_path / "mamba.gguf")).shape_key
    at = content.index(b"llama.feed_forward_length") + len(b"llama.feed_forward_length") + 4
    content[at : at + 4] = struct.pack("<I", 1024)
    other.write_bytes(content)
    assert read_header(first).shape_key != read_header(other).shape_key


# --- damaged and hostile files ---

U32, U64 = struct.Struct("<I").pack, struct.Struct("<Q").pack
HUGE = U64(2**64 - 1)


def text(value: bytes) -> bytes:
    return U64(len(value)) + value


def with_key(key: bytes, kind: int, value: bytes) -> bytes:
    return b"GGUF" + U32(3) + U64(0) + U64(1) + text(key) + U32(kind) + value + bytes(64)


def with_tensor(name: bytes, shape: tuple[int, ...], kind: int, offset: int, n_dimensions: int | None = None) -> bytes:
    dimensions = U32(len(shape) if n_dimensions is None else n_dimensions) + b"".join(map(U64, shape))
    return b"GGUF" + U32(3) + U64(1) + U64(0) + text(name) + dimensions + U32(kind) + U64(offset) + bytes(64)


HOSTILE = {
    "empty": (b"", "ends within its header"),
    "another format": (b"PK\x03\x04" + bytes(100), "no GGUF file"),
    "version 1": (b"GGUF" + U32(1) + bytes(100), "version 1"),
    "big-endian": (b"GGUF" + struct.pack(">I", 3) + bytes(100), "little-endian"),
    "too many tensors": (b"GGUF" + U32(3) + HUGE + U64(0) + bytes(64), "tensors follow"),
    "too many keys": (b"GGUF" + U32(3) + U64(0) + HUGE + bytes(64), "keys follow"),
    "a key without end": (b"GGUF" + U32(3) + U64(0) + U64(1) + HUGE + bytes(64), "a key of"),
    "a text without end": (with_key(b"a", 8, HUGE), "bytes of a follow"),
    "an array without end": (with_key(b"a", 9, U32(4) + HUGE), "values of a follow"),
    "texts without end": (with_key(b"a", 9, U32(8) + HUGE), "texts of a follow"),
    "a text in an array without end": (with_key(b"a", 9, U32(8) + U64(2) + U64(2**63) + bytes(8)), "beyond the end"),
    "a text that ends just behind": (with_key(b"a", 9, U32(8) + U64(1) + U64(65)), "beyond the end"),
    "arrays in arrays": (with_key(b"a", 9, (U32(9) + U64(1)) * 50), "array of arrays"),
    "an unknown kind of value": (with_key(b"a", 99, bytes(8)), "type 99"),
    "an alignment of 0": (with_key(b"general.alignment", 4, U32(0)), "power of two"),
    "an alignment of 48": (with_key(b"general.alignment", 4, U32(48)), "power of two"),
    "five dimensions": (with_tensor(b"t", (), 0, 0, n_dimensions=5), "5 dimensions"),
    "an unknown tensor type": (with_tensor(b"t", (4,), 99, 0), "type 99"),
    "a tensor without end": (with_tensor(b"t", (2**62, 2**62), 0, 0), "ends at byte"),
    "an offset without end": (with_tensor(b"t", (4,), 0, 2**64 - 32), "ends at byte"),
    "half a block": (with_tensor(b"t", (48,), 2, 0), "packs them by 32"),
    "no name": (with_tensor(b"", (4,), 0, 0), "a tensor name of 0"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.timeout(10)
def test_a_hostile_file_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    content, expected = HOSTILE[kind]
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=expected) as caught:
        read_header(path)
    assert str(caught.value).startswith("x.gguf")
    assert "\n" not in str(caught.value)


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = tiny_gguf.write(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "x.gguf"
    for length in (*range(0, 1500, 7), len(whole) // 2, len(whole) - 100):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"x\.gguf"):
            read_header(path)


def test_a_flipped_byte_is_refused_or_read_but_never_a_surprise(tmp_path: Path) -> None:
    whole = tiny_gguf.write(tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "x.gguf"
    random, surprises = np.random.default_rng(0), 0
    for at in random.integers(0, 1200, 400):
        content = bytearray(whole)
        content[at] ^= int(random.integers(1, 256))
        path.write_bytes(content)
        try:
            header = read_header(path)
            assert len(header.cache_bytes(CacheShape(n_ctx=4096))) == header.n_layers == len(header.layer_bytes)
            assert header.output_bytes >= 0
            assert header.shape_key
        except ModelError as error:
            surprises += "\n" in str(error)
    assert not surprises


def test_a_sparse_giant_is_not_read_into_memory(tmp_path: Path) -> None:
    """A text of 8 GB in a file that has them, all zeros: it is passed over, and what follows makes no sense."""
    path = tmp_path / "x.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + U32(3) + U64(0) + U64(2) + text(b"a") + U32(8) + U64(8 << 30))
        file.truncate(9 << 30)
    with pytest.raises(ModelError, match="a key of 0 bytes"):
        read_header(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("block_count", 0), ("block_count", 1000), ("block_count", -1), ("embedding_length", 2.5), ("block_count", True)],
)
def test_keys_that_make_no_sense(key: str, value: Any, tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    keys: dict[str, Any] = {"block_count": 2, "embedding_length": 64, "attention.head_count": 4, key: value}
    for name, number in keys.items():
        add = {bool: writer.add_bool, float: writer.add_float32, int: writer.add_int32}[type(number)]
        add(f"llama.{name}", number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match=rf"x\.gguf: llama\.{key} is"):
        _ = read_header(tmp_path / "x.gguf").layer_caches


def test_a_model_without_layers_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(with_key(b"general.architecture", 8, text(b"llama")))
    with pytest.raises(ModelError, match=r"no key llama\.block_count"):
        _ = read_header(path).n_layers
