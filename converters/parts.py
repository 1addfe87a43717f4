"""Tensors on their way from a checkpoint into a GGUF file: read, arranged and encoded piece by piece."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType

from converters.architecture import Planned
from converters.dtypes import F32, encode, encoded_bytes, has_nan, working_type
from converters.gguf_file import Keys, Piece, write_gguf
from converters.tensor import NUMPY_TYPES, Array, Tensor

PIECE_VALUES = 1 << 20
"""So many values are read, turned and written at once (more where a single row has more)."""

Warn = Callable[[str], None]


class Made:
    """A tensor of the converter's own making, float32."""

    type = F32

    def __init__(self, name: str, values: Array) -> None:
        """`values` (float32, in one block of memory) are written as they are, under `name`."""
        self.name, self.values = name, values
        self.shape, self.n_bytes = values.shape, values.nbytes

    def pieces(self) -> Iterator[Piece]:
        yield self.n_bytes, lambda: self.values


class FromCheckpoint:
    """A tensor of the checkpoint. `with_nan` fills with the names of those of its sources that hold a NaN."""

    def __init__(self, planned: Planned, target: GGMLQuantizationType) -> None:
        self.planned = planned
        self.name, self.shape, self.type = planned.gguf_name, planned.shape, target
        self.n_bytes = encoded_bytes(planned.shape, target)
        self.with_nan: set[str] = set()

    def pieces(self) -> Iterator[Piece]:
        arrange = self.planned.arrange
        for source in self.planned.sources:
            if arrange is None:
                # Mapped piece by piece, so that no more than a piece stays in memory.
                for start, stop, n_bytes in self._cuts(source.shape):
                    yield n_bytes, partial(self._encoded, source, partial(_rows, source, start, stop))
            else:
                mapped = source.load()
                values = arrange(mapped)
                for start, stop, n_bytes in self._cuts(values.shape):
                    yield n_bytes, partial(self._encoded, source, partial(_slice, values, start, stop), mapped)

    def _cuts(self, shape: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
        """(first row, row after the last, bytes they take as they are written) of each piece of values of `shape`."""
        n_rows, row_values = (shape[0], prod(shape[1:])) if shape else (1, 1)
        step = max(1, PIECE_VALUES // max(1, row_values))
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            yield start, stop, encoded_bytes(((stop - start) * row_values,), self.type)

    def _encoded(self, source: Tensor, read: Callable[[], Array], mapped: Array | None = None) -> Array:
        values, stored = np.ascontiguousarray(read()), source.dtype
        if mapped is not None:
            _forget_pages(mapped)
        if stored in NUMPY_TYPES and has_nan(values, stored):
            self.with_nan.add(source.name)
        if self.planned.compute is not None:
            values, stored = working_type(values, stored)
            values = self.planned.compute(values)
        return encode(np.ascontiguousarray(values), stored, self.type)


def _rows(source: Tensor, start: int, stop: int) -> Array:
    return source.rows(start, stop).load() if source.shape else source.load()


def _slice(values: Array, start: int, stop: int) -> Array:
    return values[start:stop]


def _forget_pages(values: Array) -> None:
    """Take what was read of a mapped file out of our memory: experts of a layer in one tensor are gigabytes."""
    base: object = values
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and values.nbytes > PIECE_VALUES:
        base.madvise(mmap.MADV_DONTNEED)


def write_parts(
    target: Path,
    keys: Keys,
    parts: Sequence[Made | FromCheckpoint],
    progress: Callable[[int, int], None] | None,
    warn: Warn | None,
) -> Path:
    """Write the file and return its path.

    `progress` is told (bytes done, bytes in all), `warn` a line for each tensor of the checkpoint that holds a NaN;
    without it, Python's warnings are.
    """
    total = sum(part.n_bytes for part in parts)
    done = 0
    # Closed here and now if `progress` raises: the threads end and the partial file goes before anybody looks.
    with closing(write_gguf(target, keys, parts)) as written:
        for n_bytes in written:
            done += n_bytes
            if progress is not None:
                progress(done, total)
    for name in sorted(name for part in parts if isinstance(part, FromCheckpoint) for name in part.with_nan):
        line = f"tensor {name} holds values that are no numbers (NaN); the model will most likely answer nonsense"
        tell(warn, line)
    return target


def tell(warn: Warn | None, line: str) -> None:
    """Give `line` to who listens, else to Python's warnings."""
    if warn is None:
        warnings.warn(line, stacklevel=3)
    else:
        warn(line)
