"""Tensors that are not stored row by row, as PyTorch saves a transposed view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.tensor import Tensor


@pytest.mark.parametrize("strides", [None, (1, 4)])
def test_rows_are_rows_of_the_whole(strides: tuple[int, ...] | None, tmp_path: Path) -> None:
    values = np.arange(24, dtype="<f4")
    path = tmp_path / "values"
    path.write_bytes(b"head" + values.tobytes())
    tensor = Tensor("x", "F32", (4, 6), path, 4, strides)
    expected = values.reshape(4, 6) if strides is None else values.reshape(6, 4).T
    assert np.array_equal(tensor.load(), expected)
    assert np.array_equal(tensor.rows(1, 3).load(), expected[1:3])
    assert np.array_equal(tensor.rows(3, 9).load(), expected[3:])
