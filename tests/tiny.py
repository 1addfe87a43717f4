"""Tiny checkpoints: 2 layers, 64 wide, weights of standard deviation 0.3, so that any wrong order shows."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SAFETENSORS_TYPES = {
    "bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64", "float8_e4m3fn": "F8_E4M3", "uint8": "U8",
}  # fmt: skip
BITS = ("float8_e4m3fn", "uint8")
"""Types whose values are given as the bytes to store."""
TORCH_STORAGES = {"bfloat16": "BFloat16Storage", "float16": "HalfStorage", "float32": "FloatStorage"}

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "bfloat16",
    "vocab_size": 320,
}


def weights(config: Mapping[str, Any], seed: int = 0) -> dict[str, Array]:
    """Random float32 weights of a Llama, Mistral or Mixtral with this config.json, by their names on the Hub."""
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head_dim = config.get("head_dim") or hidden // heads
    feed_forward = config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        shapes[f"{layer}input_layernorm.weight"] = (hidden,)
        shapes[f"{layer}post_attention_layernorm.weight"] = (hidden,)
        for name, rows, columns in (
            ("q_proj", heads * head_dim, hidden),
            ("k_proj", kv_heads * head_dim, hidden),
            ("v_proj", kv_heads * head_dim, hidden),
            ("o_proj", hidden, heads * head_dim),
        ):
            shapes[f"{layer}self_attn.{name}.weight"] = (rows, columns)
            if config.get("attention_bias"):
                shapes[f"{layer}self_attn.{name}.bias"] = (rows,)
        if n_experts := config.get("num_local_experts"):
            shapes[f"{layer}block_sparse_moe.gate.weight"] = (n_experts, hidden)
            for x in range(n_experts):
                expert = f"{layer}block_sparse_moe.experts.{x}."
                shapes[f"{expert}w1.weight"] = (feed_forward, hidden)
                shapes[f"{expert}w2.weight"] = (hidden, feed_forward)
                shapes[f"{expert}w3.weight"] = (feed_forward, hidden)
            continue
        for name, rows, columns in (
            ("gate_proj", feed_forward, hidden),
            ("up_proj", feed_forward, hidden),
            ("down_proj", hidden, feed_forward),
        ):
            shapes[f"{layer}mlp.{name}.weight"] = (rows, columns)
            if config.get("mlp_bias"):
                shapes[f"{layer}mlp.{name}.bias"] = (rows,)
    shapes["model.norm.weight"] = (hidden,)
    if not config.get("tie_word_embeddings"):
        shapes["lm_head.weight"] = (vocabulary, hidden)
    random = np.random.default_rng(seed)
    return {name: _random(random, name, shape) for name, shape in shapes.items()}


def _random(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> Array:
    # Whole numbers from the generator, scaled exactly: no libm takes part, so every machine gets the same bits.
    values = random.integers(-(1 << 20), 1 << 20, shape).astype(np.float32) / np.float32(1 << 21)
    return np.abs(values) + np.float32(0.5) if name.endswith("norm.weight") else values


def stored(values: Array, dtype: str) -> Array:
    """float32 `values` in the type a file holds; bfloat16 as the upper halves (uint16), rounded to nearest even."""
    if dtype in BITS:
        return values.astype("u1", casting="safe")
    if dtype != "bfloat16":
        return values.astype({"float16": "<f2", "float32": "<f4", "float64": "<f8"}[dtype])
    bits = np.ascontiguousarray(values, "<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_safetensors(
    path: Path, tensors: Mapping[str, Array], dtype: str = "bfloat16", dtypes: Mapping[str, str] | None = None
) -> None:
    """Write float32 arrays as a .safetensors file of `dtype`; `dtypes` names the types of tensors that differ."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset, blobs = 0, []
    for name, values in tensors.items():
        own = (dtypes or {}).get(name, dtype)
        blob = stored(values, own).tobytes()
        shape = list(values.shape)
        header[name] = {
            "dtype": SAFETENSORS_TYPES[own],
            "shape": shape,
            "data_offsets": [offset, offset + len(blob)],
        }
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(blobs)


def write_torch_bin(path: Path, tensors: Mapping[str, Array], dtype: str = "float16") -> None:
    """Write float32 arrays as PyTorch's zip format lays them out, without PyTorch."""
    storages: list[Array] = []
    buffer = io.BytesIO()
    pickler = _TorchPickler(buffer, dtype, storages)
    pickler.dump(OrderedDict((name, _AsTensor(values)) for name, values in tensors.items()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{path.stem}/data.pkl", buffer.getvalue())
        archive.writestr(f"{path.stem}/byteorder", "little")
        for key, values in enumerate(storages):
            archive.writestr(f"{path.stem}/data/{key}", stored(values, dtype).tobytes())
        archive.writestr(f"{path.stem}/version", "3\n")


class _AsTensor:
    def __init__(self, values: Array) -> None:
        self.values = values


class _Global:
    """Stands for a name of PyTorch's that is written into the pickle without being imported."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Storage:
    def __init__(self, key: int, n_values: int) -> None:
        self.key, self.n_values = key, n_values


class _TorchPickler(pickle._Pickler):  # the Python one: only it lets globals be written by hand
    def __init__(self, buffer: io.BytesIO, dtype: str, storages: list[Array]) -> None:
        super().__init__(buffer, protocol=2)
        self.dtype, self.storages = dtype, storages

    def persistent_id(self, item: Any) -> Any:
        if not isinstance(item, _Storage):
            return None
        return ("storage", _Global("torch", TORCH_STORAGES[self.dtype]), str(item.key), "cpu", item.n_values)

    def save(self, item: Any, save_persistent_id: bool = True) -> None:
        if isinstance(item, _Global):
            self.write(pickle.GLOBAL + f"{item.module}\n{item.name}\n".encode())
        elif isinstance(item, _AsTensor):
            values = item.values
            self.storages.append(values)
            strides = tuple(stride // values.itemsize for stride in np.ascontiguousarray(values).strides)
            self.save(_Global("torch._utils", "_rebuild_tensor_v2"))
            storage = _Storage(len(self.storages) - 1, values.size)
            self.save((storage, 0, values.shape, strides, False, OrderedDict()))
            self.write(pickle.REDUCE)
        else:
            super().save(item, save_persistent_id)
