"""llama.cpp's converter fails on Baichuan, so there are no bytes to compare with: llama.cpp's logits are compared with
those of the model as the code beside its weights has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import convert
from converters.checkpoint import read_tensors
from tests.converters.cases import read_case, write_case
from tests.converters.test_logits import TOKENS, computed, decode
from tests.converters.variants import HERE


@pytest.mark.parametrize("version", [1, 2])
def test_logits_are_those_of_a_llama_with_packed_weights(version: int, tmp_path: Path) -> None:
    """Version 2 (the one with a z-loss) sets each row of its head to length 1."""
    case = read_case(HERE / "cases" / "baichuan-7b.json")
    config: dict[str, Any] = {**case.config, **({"z_loss_weight": 0} if version == 2 else {})}
    folder = write_case(tmp_path, replace(case, config=config, dtype="float32"))
    weights = {name: tensor.load() for name, tensor in read_tensors(folder).items()}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}.self_attn."
        parts = np.split(weights[f"{layer}W_pack.weight"], 3)
        weights |= {f"{layer}{letter}_proj.weight": part for letter, part in zip("qkv", parts, strict=True)}
    head = weights["lm_head.weight"]
    lengths = np.linalg.norm(head, axis=1, keepdims=True)
    assert lengths.min() > 2
    weights["lm_head.weight"] = head / lengths if version == 2 else head
    frequencies = 10000.0 ** (-np.arange(0, 24, 2) / 24)
    expected = decode(weights, {**config, "num_key_value_heads": 4}, TOKENS, frequencies)
    found = computed(convert(folder, tmp_path / "x.gguf", "f32"), TOKENS)
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())
