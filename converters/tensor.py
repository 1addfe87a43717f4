"""A tensor in a file: its name, type and shape are known, its values are mapped only when asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import CheckpointFileError

Array = np.ndarray[Any, np.dtype[Any]]

NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""How the types that weights come in are mapped. numpy has no bfloat16: its bits are carried as uint16."""

CODES = {"F8_E4M3": "u1", "F8_E5M2": "u1", "F8_E8M0": "u1", "I8": "i1", "U8": "u1"}
"""Types whose values mean a number only by a table or a scale; they are mapped as they are (see fp8.py, gpt_oss.py)."""

_MAPPED = {**NUMPY_TYPES, **CODES}

MAX_DIMENSIONS = 64
"""PyTorch's own limit. It bounds what the arithmetic on a hostile shape can cost."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """`offset` counts bytes in `path`; `strides` (in elements) where the values are not stored row by row.

    `dtype` is spelled as in safetensors; only those in NUMPY_TYPES and CODES can be loaded.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    strides: tuple[int, ...] | None = None

    def rows(self, start: int, stop: int) -> Tensor:
        """The part of it from row `start` to before row `stop` of the first axis."""
        stop = min(stop, self.shape[0])
        row = prod(self.shape[1:]) if self.strides is None else self.strides[0]
        offset = self.offset + start * row * np.dtype(_MAPPED[self.dtype]).itemsize
        return replace(self, shape=(stop - start, *self.shape[1:]), offset=offset)

    def load(self) -> Array:
        """A read-only view of `shape` on the mapped file; the map goes when the last view of it goes.

        Raises CheckpointFileError where the file cannot be mapped any more.
        """
        dtype = np.dtype(_MAPPED[self.dtype])
        if prod(self.shape) == 0:
            return np.empty(self.shape, dtype)
        if self.strides is None:
            return self._mapped(dtype, self.shape)
        span = 1 + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        values = self._mapped(dtype, (span,))
        byte_strides = tuple(stride * dtype.itemsize for stride in self.strides)
        return np.lib.stride_tricks.as_strided(values, self.shape, byte_strides, writeable=False)

    def _mapped(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        try:
            return np.memmap(self.path, dtype, "r", self.offset, shape)
        except (OSError, ValueError) as error:  # a file that became too short is a ValueError
            problem = f"cannot be read any more ({error}); was it changed or removed meanwhile?"
            raise CheckpointFileError(self.path, problem) from error
