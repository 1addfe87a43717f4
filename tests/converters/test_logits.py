"""llama.cpp computes with a converted checkpoint what the checkpoint says: an independent decoder in numpy agrees, and
so does what transformers computed with the recorded checkpoints (scripts/parity_logits.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import ARCHITECTURES, convert
from converters.architecture import Weight, write_rope_keys
from tests.converters.cases import read_cases, write_case
from tests.converters.variants import LLAMA3, Variant, write_checkpoint
from tests.tiny import CONFIG, Array, weights

llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")

TOKENS = [1, 270, 33, 281, 299, 262, 7, 290]


def decode(w: dict[str, Array], config: dict[str, Any], tokens: list[int], frequencies: Array) -> Array:
    """Logits (n_tokens, vocabulary) of a Llama as transformers defines it: rotation of the halves of a head."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    n, head_dim = len(tokens), config["hidden_size"] // heads
    angles = np.arange(n)[:, None] * np.concatenate([frequencies, frequencies])
    cos, sin = np.cos(angles), np.sin(angles)

    def norm(x: Array, weight: Array) -> Array:
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + config["rms_norm_eps"]) * weight

    def rotate(x: Array) -> Array:
        first, second = np.split(x, 2, -1)
        return x * cos + np.concatenate([-second, first], -1) * sin

    x = w["model.embed_tokens.weight"][tokens].astype(np.float64)
    for i in range(config["num_hidden_layers"]):
        layer = {name.removeprefix(f"model.layers.{i}."): value for name, value in w.items()}
        h = norm(x, layer["input_layernorm.weight"])
        q, k, v = (
            (h @ layer[f"self_attn.{name}_proj.weight"].T).reshape(n, -1, head_dim).swapaxes(0, 1) for name in "qkv"
        )
        k, v = (np.repeat(part, heads // kv_heads, 0) for part in (k, v))
        scores = rotate(q) @ rotate(k).swapaxes(1, 2) / np.sqrt(head_dim) + np.triu(np.full((n, n), -np.inf), 1)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = shares / shares.sum(-1, keepdims=True) @ v
        x = x + mixed.swapaxes(0, 1).reshape(n, -1) @ layer["self_attn.o_proj.weight"].T
        h = norm(x, layer["post_attention_layernorm.weight"])
        gate = h @ layer["mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ layer["mlp.up_proj.weight"].T)) @ layer["mlp.down_proj.weight"].T
    logits: Array = norm(x, w["model.norm.weight"]) @ w["lm_head.weight"].T
    return logits


def llama3_frequencies(plain: Array) -> Array:
    """Meta's rule, written as transformers has it: by frequency rather than by factor."""
    wavelength, context = 2 * np.pi / plain, LLAMA3["original_max_position_embeddings"]
    smooth = (context / wavelength - LLAMA3["low_freq_factor"]) / (
        LLAMA3["high_freq_factor"] - LLAMA3["low_freq_factor"]
    )
    smooth = np.clip(smooth, 0, 1)
    blended: Array = (1 - smooth) * plain / LLAMA3["factor"] + smooth * plain
    return blended


@pytest.mark.parametrize("scaled", [False, True])
def test_logits_agree_with_numpy(scaled: bool, tmp_path: Path) -> None:
    changes = {"rope_scaling": {"rope_type": "llama3", **LLAMA3}} if scaled else {}
    path = convert(write_checkpoint(tmp_path, Variant(changes, dtype="float32")), tmp_path / "x.gguf", "f32")
    found = computed(path, TOKENS)
    plain = 10000.0 ** (-np.arange(0, 16, 2) / 16)
    expected = decode(weights(CONFIG), CONFIG, TOKENS, llama3_frequencies(plain) if scaled else plain)
    assert np.abs(expected).max() > 3
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


CASES = {name: case for name, case in read_cases().items() if case.logits}
RECORDED = [name for name, case in CASES.items() if case.architecture in ARCHITECTURES]
TOLERANCE, FAR = 0.02, 0.1
"""Of the largest logit: less is rounding (llama.cpp rounds to float16 on the way), more is another model."""


def computed(path: Path, tokens: list[int]) -> Array:
    """llama.cpp's logits (n_tokens, vocabulary) of a GGUF file."""
    model = llama_cpp.Llama(str(path), n_ctx=64, logits_all=True, verbose=False, n_threads=1)
    try:
        model.eval(tokens)
        return np.array(model.scores[: len(tokens)])
    finally:
        model.close()


def distance(name: str, folder: Path) -> float:
    """How far llama.cpp with our f16 file is from transformers: the largest difference, by the largest logit.

    The weights are bfloat16 numbers that float16 holds exactly, so the file rounds nothing.
    """
    recorded = CASES[name].logits
    path = convert(write_case(folder, CASES[name]), folder / "x.gguf", "f16")
    expected = np.array([row.split() for row in recorded["values"]], float)
    found = computed(path, recorded["tokens"])[:, recorded["ids"]]
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_logits_of_many_families_are_recorded() -> None:
    assert len({CASES[name].architecture for name in RECORDED}) >= 20


@pytest.mark.parametrize("name", RECORDED)
def test_logits_agree_with_transformers(name: str, tmp_path: Path) -> None:
    assert distance(name, tmp_path) < TOLERANCE


def without(what: str, *gguf_names: str) -> Callable[[str, pytest.MonkeyPatch], None]:
    """Take what a family's table says of the tensors that end with these names: no `arrange`, or no `compute`."""

    def changed(weight: Weight) -> Weight:
        return replace(weight, **{what: None}) if weight.gguf_name.endswith(gguf_names) else weight

    def apply(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        family = ARCHITECTURES[CASES[name].architecture]
        tensors = {
            pattern: changed(rows) if isinstance(rows, Weight) else tuple(map(changed, rows))
            for pattern, rows in family.tensors.items()
        }
        assert tensors != family.tensors
        monkeypatch.setattr(family, "tensors", tensors)

    return apply


def another_base(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(keys: Any, architecture: str, rope: dict[str, Any]) -> None:
        write_rope_keys(keys, architecture, {**rope, "rope_theta": rope["rope_theta"] / 1000})

    monkeypatch.setattr("converters.architecture.write_rope_keys", write)


def no_factors(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ARCHITECTURES[CASES[name].architecture], "extra_tensors", lambda self: iter(()))


BREAKS: dict[str, tuple[str, Callable[[str, pytest.MonkeyPatch], None]]] = {
    "queries in another order": ("llama", without("arrange", "attn_q")),
    "keys in another order": ("mistral-nemo", without("arrange", "attn_k")),
    "queries, keys and values in another order": ("falcon-40b", without("arrange", "attn_qkv")),
    "another frequency base": ("qwen3", another_base),
    "no factors for Llama 3's rope": ("llama-3", no_factors),
    "no one added to the norms": ("gemma", without("compute", "_norm")),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_break_of_the_converter_shows(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an agreement of logits would say little."""
    name, break_it = BREAKS[what]
    break_it(name, monkeypatch)
    assert distance(name, tmp_path) > FAR
