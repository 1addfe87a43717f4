"""What each type would do to each tensor: rows are quantized by ggml and read back, and the difference is weighed.

The error of a type is sum_ij w_j (W_ij - Q_ij)^2 / sum_ij w_j W_ij^2, where w_j are the mean squares of the inputs that
the importance matrix has (1 without one): what products change by, beside what they would be of values without any
order. Of a mixture of experts each counts by how many tokens chose it. Large tensors are judged by a part of their
rows, the same ones whenever it is asked for.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gguf_bench.errors import QuantizeError
from gguf_bench.gguf_header import BLOCKS, Tensor, read_header
from gguf_bench.llama import quantize
from gguf_bench.llama.ggml_types import Types
from gguf_bench.llama.gguf_source import GgufSource
from gguf_bench.llama.pack import PlannedTensor
from gguf_bench.llama.quantize_imatrix import Importances
from gguf_bench.quantize_options import QuantizeOptions, old_name
from gguf_bench.quants import QUANTS

Array = np.ndarray[Any, Any]
Choice = tuple[str, int, float]
"""A type, the bytes that the tensor takes in it, its error."""

SAMPLE_VALUES, LEAST_ROWS = 1 << 16, 32
"""How much of a tensor is judged: so many values, and at least so many rows of it and one of each expert."""

PROBED, PROBED_ERROR = "Q4_0", 0.01
"""The type that sensitivity is measured at, quickly made, and about its error: where it is none of the choices, the one
that comes nearest."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A tensor of the file that is to be, called `old_name` in its source, and its choices.

    Where the type is not to be chosen, there is one. Of the others `probe` is the type to measure sensitivity at.
    """

    name: str
    old_name: str
    n_weights: int
    choices: Sequence[Choice]

    @property
    def probe(self) -> Choice | None:
        lossy = [choice for choice in self.choices if choice[2] > 0]
        known = [choice for choice in lossy if choice[0] == PROBED]
        return min(known or lossy, key=lambda choice: abs(math.log(choice[2] / PROBED_ERROR)), default=None)


class Judge:
    """Tells what types do to the tensors of `source`, of which `options` make another file. A context manager.

    Raises QuantizeError, as do its methods, where that cannot be.
    """

    def __init__(self, source: Path, options: QuantizeOptions, importances: Importances | None, n_layers: int) -> None:
        self._path, self._options, self._importances, self._n_layers = source, options, importances, n_layers
        self._found = {tensor.name: tensor for tensor in read_header(source).tensors}
        self._weighing, self._types = _Weighing(importances), Types()
        self._source = GgufSource(source)

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def judged(self, candidates: Sequence[str], tell: Callable[[int, int], None]) -> tuple[int, list[Judged]]:
        """The bytes before the tensors of the file that is to be, and all tensors.

        Their choices are the `candidates` that fit a tensor's rows, are smaller than what it is and that llama.cpp
        takes, and the type it has, whose error is 0. `tell` hears (tensors done, in all).
        """
        options = replace(self._options, pure=True)
        # What llama.cpp gives the same type in both of these is not for us to choose.
        one, other = (
            quantize.plan(self._path, QUANTS[name].file_type, options, self._importances, self._n_layers).tensors
            for name in ("Q8_0", "Q4_0")
        )
        overrides = quantize.overrides(options, self._importances)
        named = [(tensor.name, old_name(tensor.name, options, self._n_layers)) for tensor in one]

        def judged(place: int) -> Judged:
            tensor, (name, old) = one[place], named[place]
            if tensor.new_type == other[place].new_type:
                choices = [(tensor.new_type, tensor.n_bytes, 0.0)]
            else:
                choices = list(self._choices(self._found[old], candidates))
            return Judged(name, old, math.prod(tensor.shape), choices)

        tensors = []
        with ThreadPoolExecutor(options.n_threads or os.cpu_count() or 1) as pool:
            for tensor in pool.map(judged, range(len(one))):
                tensors.append(tensor)
                tell(len(tensors), len(one))
        header = self._source.header_of_result([(*names, None) for names in named], 0, overrides)
        return len(header), tensors

    def shape(self, name: str) -> tuple[int, int, int]:
        """(matrices, rows of each, columns) of a tensor of the source."""
        columns, rows, *matrices = (*self._found[name].shape, 1)
        return math.prod(matrices), rows, columns

    def changes(self, name: str, type_name: str, numbers: Sequence[int]) -> Array:
        """What quantizing changes (rows, columns): rows of one matrix of a tensor, of these numbers, to a type."""
        tensor, (n_matrices, n_rows, _) = self._found[name], self.shape(name)
        columns = self._weighing.of_columns(tensor, n_matrices)
        rows = self._types.unpacked(tensor.type, self._source.rows(tensor, numbers))
        return self._changes(rows, type_name, None if columns is None else columns[numbers[0] // n_rows])

    def _changes(self, rows: Array, type_name: str, columns: Array | None) -> Array:
        changed: Array = self._types.unpacked(type_name, self._types.packed(type_name, rows, columns))
        changed -= rows
        return changed

    def _choices(self, tensor: Tensor, candidates: Sequence[str]) -> Iterator[Choice]:
        n_matrices, n_rows, n_columns = self.shape(tensor.name)
        columns = self._weighing.of_columns(tensor, n_matrices)
        matrices = self._weighing.of_matrices(tensor, n_matrices)
        numbers = _sample(n_columns, n_rows, n_matrices)
        sample = self._types.unpacked(tensor.type, self._source.rows(tensor, numbers.ravel().tolist()))
        if not np.isfinite(sample).all():
            raise QuantizeError(
                f"{tensor.name} holds what is no number", hint="its weights are broken: try another file"
            )
        sample = sample.reshape(*numbers.shape, n_columns)

        def weighed(rows: Array, place: int) -> float:
            squares = np.square(rows, dtype=np.float64).sum(axis=0)
            return float(matrices[place] * (squares.sum() if columns is None else squares @ columns[place]))

        whole = sum(weighed(rows, place) for place, rows in enumerate(sample))
        yield tensor.type, tensor.size_bytes, 0.0
        for name in candidates:
            n_bytes = PlannedTensor(tensor.name, tensor.shape, tensor.type, name).n_bytes
            lacks_importances = columns is None and name in quantize.LOW_BITS
            if n_columns % BLOCKS[name][1] or n_bytes >= tensor.size_bytes or lacks_importances:
                continue
            lost = sum(
                weighed(self._changes(rows, name, None if columns is None else columns[place]), place)
                for place, rows in enumerate(sample)
            )
            if math.isfinite(lost):  # scales are of 16 bits, which large weights overflow
                yield name, n_bytes, lost / whole if whole > 0 else 0.0


def _sample(n_columns: int, n_rows: int, n_matrices: int) -> Array:
    """Numbers of rows (matrices, rows of each), counted through all matrices, in order."""
    n_wanted = max(LEAST_ROWS, SAMPLE_VALUES // n_columns)
    n_each = min(n_rows, -(-n_wanted // n_matrices))
    random = np.random.default_rng(0)
    return np.stack(
        [matrix * n_rows + np.sort(random.choice(n_rows, n_each, replace=False)) for matrix in range(n_matrices)]
    )


class _Weighing:
    """How much each column of each matrix counts, and each matrix of a mixture of experts."""

    def __init__(self, importances: Importances | None) -> None:
        self._weights: Mapping[str, Array] = {} if importances is None else importances.weights
        self._counts: Mapping[str, Array] = {} if importances is None else importances.counts

    def of_columns(self, tensor: Tensor, n_matrices: int) -> Array | None:
        """(matrices, columns), None where nothing is known; llama.cpp passes over importances of another shape."""
        weights = self._weights.get(tensor.name)
        if weights is None or len(weights) != n_matrices * tensor.shape[0]:
            return None
        return weights.reshape(n_matrices, tensor.shape[0])

    def of_matrices(self, tensor: Tensor, n_matrices: int) -> Array:
        counts = self._counts.get(tensor.name)
        known = counts is not None and len(counts) == n_matrices and counts.any()
        return counts.astype(np.float64) if counts is not None and known else np.ones(n_matrices)
