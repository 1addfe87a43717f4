"""A weight that is no number is told by the tensor's name; the file is written all the same, as the reference does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converters import convert
from converters.dtypes import BLOCK_VALUES, has_nan
from tests.converters.variants import Variant, write_checkpoint
from tests.tiny import Array

BITS = {"F32": ("<u4", 0x7F800001), "F16": ("<u2", 0x7C01), "BF16": ("<u2", 0x7F81), "F64": ("<u8", (0x7FF << 52) + 1)}


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("sign", [0, 1])
def test_every_nan_is_seen_wherever_it_is_and_infinity_is_none(dtype: str, sign: int) -> None:
    kind, smallest_nan = BITS[dtype]
    bits = np.zeros(2 * BLOCK_VALUES + 3, kind)
    values_type = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}[dtype]
    negative = np.dtype(kind).type(sign << (np.dtype(kind).itemsize * 8 - 1))
    for place in (0, BLOCK_VALUES, len(bits) - 1):
        bits[:] = smallest_nan - 1 | negative
        assert not has_nan(bits.view(values_type), dtype)
        bits[place] = smallest_nan | negative
        assert has_nan(bits.view(values_type), dtype)


def with_nans(tensors: dict[str, Array]) -> None:
    tensors["model.layers.1.self_attn.q_proj.weight"][3, 5] = np.nan  # arranged
    tensors["model.layers.0.mlp.down_proj.weight"][0, 0] = -np.nan  # as it is
    tensors["model.norm.weight"][0] = np.inf


WITH_NAN = ["model.layers.0.mlp.down_proj.weight", "model.layers.1.self_attn.q_proj.weight"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_tensors_with_nans_are_named(dtype: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, Variant(dtype=dtype, change=with_nans))
    told: list[str] = []
    assert convert(folder, tmp_path / "x.gguf", warn=told.append).exists()
    assert [line.split()[1] for line in told] == WITH_NAN


def test_without_a_listener_python_warns(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, Variant(dtype="float32", change=with_nans))
    with pytest.warns(UserWarning, match="NaN") as caught:
        convert(folder, tmp_path / "x.gguf")
    assert len(caught) == len(WITH_NAN)


def test_the_command_says_it_and_goes_on(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, Variant(dtype="float32", change=with_nans))
    command = [sys.executable, "-m", "converters", str(folder), str(tmp_path / "x.gguf")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("warning: tensor "), done.stderr.count("\n")) == (0, 2, 2)
