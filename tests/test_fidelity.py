"""How near a quantized file is to its reference: the arithmetic, standard errors, and files through llama.cpp."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader

from gguf_bench.errors import ModelError
from gguf_bench.fidelity import measure, summarised
from gguf_bench.llama.divergence import ROWS, compared
from gguf_bench.texts import Text
from tests import tiny_models

Array = np.ndarray[Any, Any]


def logits(n_rows: int, n_vocab: int = 7, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 3, (n_rows, n_vocab)).astype(np.float32)


def test_divergence_surprise_and_agreement_by_their_definitions() -> None:
    n_rows = 2 * ROWS + 3
    expected, quantized = logits(n_rows), logits(n_rows, seed=1)
    following = np.random.default_rng(2).integers(0, 7, n_rows)
    found = compared(expected, quantized, following)
    for row in range(n_rows):
        p, q = ([math.exp(x) for x in each[row].tolist()] for each in (expected, quantized))
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        kl = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        assert found["divergence"][row] == pytest.approx(kl, rel=1e-9)
        assert found["surprise"][row] == pytest.approx(-math.log(q[following[row]]), rel=1e-9)
        assert found["reference_surprise"][row] == pytest.approx(-math.log(p[following[row]]), rel=1e-9)
        assert found["agrees"][row] == (p.index(max(p)) == q.index(max(q)))


def test_a_token_the_reference_rules_out_adds_nothing_and_nan_is_an_error() -> None:
    expected, quantized = logits(1), logits(1, seed=1)
    without = compared(expected[:, 1:], quantized[:, 1:], np.array([0]))
    expected[0, 0], quantized[0, 0] = -np.inf, -300.0
    assert compared(expected, quantized, np.array([1]))["divergence"][0] == pytest.approx(without["divergence"][0])
    quantized[0, 3] = np.nan
    with pytest.raises(ModelError, match="computes no numbers"):
        compared(expected, quantized, np.array([1]))


def test_figures_and_their_standard_errors() -> None:
    """Of independent tokens the bootstrap over chunks comes to the textbook's error; of chunks alike inside, more."""
    random = np.random.default_rng(5)
    tokens = random.exponential(0.1, (200, 50))
    chunks = np.repeat(random.exponential(0.1, (200, 1)), 50, axis=1)
    for divergence, n_independent in ((tokens, tokens.size), (chunks, 200)):
        found = summarised(
            {"divergence": divergence, "surprise": 2 + divergence, "reference_surprise": 2 + 0 * divergence}
            | {"agrees": (divergence < 0.1).astype(float)}
        )
        assert found.kl_divergence.value == pytest.approx(divergence.mean())
        textbook = divergence.std() / math.sqrt(n_independent)
        assert found.kl_divergence.standard_error == pytest.approx(textbook, rel=0.15)
        assert found.kl_divergence_99.value == pytest.approx(np.quantile(divergence, 0.99))
        assert found.top1_agreement.value == pytest.approx((divergence < 0.1).mean())
        assert found.perplexity.value == pytest.approx(math.exp((2 + divergence).mean()))
        assert found.reference_perplexity.value == pytest.approx(math.exp(2))
        assert found.perplexity_ratio.value == pytest.approx(math.exp(divergence.mean()))
        assert found.perplexity_ratio.standard_error == pytest.approx(found.perplexity_ratio.value * textbook, rel=0.15)


def words(n_bytes: int) -> Text:
    random = np.random.default_rng(7)
    return Text("words", bytes(random.integers(97, 123, n_bytes, np.uint8)).decode())


def test_a_model_is_itself_and_another_is_not(tmp_path: Path) -> None:
    one, other = (tiny_models.llama(tmp_path / f"{name}.gguf", n_layers=1) for name in ("one", "other"))
    found = measure(one, one, words(6 * 512))
    assert (found.n_chunks, found.n_tokens) == (6, 6 * 255)
    assert found.kl_divergence.value == 0
    assert found.top1_agreement.value == 1
    assert found.perplexity_ratio.value == 1

    output = next(tensor for tensor in GGUFReader(other, "r+").tensors if tensor.name == "output.weight")
    output.data[:] *= np.float32(0.9)
    del output
    found = measure(one, other, words(6 * 512), n_chunks=3)
    assert found.n_chunks == 3
    assert found.kl_divergence.value > 0.001
    assert found.top1_agreement.value == 1  # all logits shrink alike
    assert found.perplexity.value != found.reference_perplexity.value

    wide = tiny_models.llama(tmp_path / "wide.gguf", n_layers=1, n_more_tokens=5)
    with pytest.raises(ModelError, match=r"wide\.gguf and one\.gguf do not split text into the same tokens"):
        measure(one, wide, words(6 * 512))
    with pytest.raises(ModelError, match="words is shorter than 512 tokens"):
        measure(one, one, words(500))


def test_the_command(tmp_path: Path, gguf_bench: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    path, text = tiny_models.llama(tmp_path / "wide.gguf", n_layers=1, width=256, feed_forward=256), tmp_path / "t.txt"
    text.write_text(words(4 * 512).text)
    made = gguf_bench("fidelity", path, "-q", "Q8_0", "-q", "Q2_K", "--reference", "F32", "--text", text, "--json")
    assert made.returncode == 0, made.stderr
    eight, two = json.loads(made.stdout)
    assert (eight["quant"], two["quant"], two["reference"], two["text"]) == ("Q8_0", "Q2_K", "F32", str(text))
    assert 0 < eight["kl_divergence"]["value"] < two["kl_divergence"]["value"]
    assert eight["kl_divergence"]["standard_error"] > 0
    assert eight["top1_agreement"]["value"] > two["top1_agreement"]["value"]
    none = gguf_bench("fidelity", path)
    assert none.returncode == 2
    assert "at least one -q TYPE" in none.stderr
