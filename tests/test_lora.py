"""LoRA adapters are really applied: llama.cpp, by our way of loading, computes what the merged weights say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from converters import convert, convert_lora
from converters.checkpoint import read_tensors
from converters.dtypes import to_float32
from gguf_bench import llama
from gguf_bench.errors import ModelError
from tests.converters.lora_cases import ADAPTERS, Adapter, adapter_config, pairs, write_adapter
from tests.tiny import Array, write_safetensors

TOKENS = [1, 270, 33, 281, 299, 262, 7, 290]


def logits(path: Path, adapter: Path | None = None) -> Array:
    """Logits (vocabulary) after TOKENS."""
    model = llama.Model(path, adapter=adapter)
    context = llama.Context(model, n_ctx=llama.PAD, n_threads=1, n_batch=64, gbnf=None)
    context._decode(TOKENS)
    found = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context.handle, -1), shape=(model.n_vocab,))
    return np.array(found)


def merge(folder: Path, adapter: Adapter) -> None:
    """Add lora_alpha / r * B @ A to the weights of the checkpoint in `folder`."""
    config = adapter_config(adapter)
    weights = {name: to_float32(tensor.load(), tensor.dtype) for name, tensor in read_tensors(folder).items()}
    weights = {name: np.array(values) for name, values in weights.items()}
    for name, (a, b) in pairs(adapter).items():
        change = np.float32(config["lora_alpha"] / len(a)) * (b @ a)
        weights[name] += change.T if name.endswith("embed_tokens.weight") else change
    (folder / "model.safetensors").unlink()
    write_safetensors(folder / "model.safetensors", weights, "float32")


@pytest.mark.parametrize(
    "name",
    [
        "llama", "llama-all-linear-bf16", "llama-head-and-embedding", "llama-ranks", "mistral", "mixtral-experts",
        "qwen2", "gemma2", "falcon-7b", "falcon-40b", "gpt-neox", "internlm2",
    ],
)  # fmt: skip
def test_logits_are_those_of_the_merged_weights(name: str, tmp_path: Path) -> None:
    adapter = replace(ADAPTERS[name], dtype="float32")
    folder, base = write_adapter(tmp_path, adapter)
    plain = convert(base, tmp_path / "base.gguf", "f32")
    changed = convert_lora(folder, base, tmp_path / "adapter.gguf")
    merge(base, adapter)
    expected = logits(convert(base, tmp_path / "merged.gguf", "f32"))
    size = np.abs(expected).max()
    np.testing.assert_allclose(logits(plain, changed), expected, atol=0.002 * size)
    assert np.abs(logits(plain) - expected).max() > 0.1 * size, "the adapter has to matter"


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path / "llama", ADAPTERS["llama"])
    adapter = convert_lora(folder, base, tmp_path / "adapter.gguf")
    _, other = write_adapter(tmp_path / "qwen2", ADAPTERS["qwen2"])
    with pytest.raises(ModelError, match=r"adapter\.gguf: llama\.cpp cannot apply it to qwen2\.gguf: .*arch mismatch"):
        llama.Model(convert(other, tmp_path / "qwen2.gguf"), adapter=adapter)
