"""The entries of an importance matrix that a quantization goes by, and how llama-quantize marks a file made with them.

By load_imatrix and prepare_imatrix in tools/quantize/quantize.cpp of the pinned llama.cpp.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf_bench.errors import ModelError, QuantizeError
from gguf_bench.quantize_options import MAX_TEXT_BYTES, Override, QuantizeOptions

if TYPE_CHECKING:
    import numpy as np  # takes its time to import, and few files are made with importances

    Array = np.ndarray[Any, np.dtype[np.float32]]
    Counts = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Importances:
    """Tensor name -> importance of each column (of each expert, one after the other).

    `counts` has the rows that each matrix of a tensor was multiplied with, also of tensors whose importances do not
    count. `datasets` names the texts they were computed on, in `n_chunks` chunks (0: the file does not say).
    """

    weights: Mapping[str, Array]
    counts: Mapping[str, Counts]
    datasets: Sequence[str]
    n_chunks: int

    @property
    def facts(self) -> dict[str, Any]:
        """For the record of what is made with them."""
        return {
            "calibration": list(self.datasets),
            "imatrix_chunks": self.n_chunks,
            "imatrix_entries": len(self.weights),
        }

    def overrides(self, typed: str) -> list[Override]:
        """The keys by which llama-quantize marks a file made with them; `typed` is their file as named there."""
        keys: list[Override] = [("quantize.imatrix.file", _cut(typed))]
        if self.datasets:
            keys.append(("quantize.imatrix.dataset", _cut(self.datasets[0])))
        keys.append(("quantize.imatrix.entries_count", len(self.weights)))
        if self.n_chunks > 0:
            keys.append(("quantize.imatrix.chunks_count", self.n_chunks))
        return keys


def _cut(text: str) -> str:
    """As much as llama.cpp's fixed field takes. Half a character may stay, which `os.fsencode` gives back as it was."""
    return os.fsdecode(os.fsencode(text)[:MAX_TEXT_BYTES])


def load(options: QuantizeOptions) -> Importances:
    """The entries of `options.imatrix` that count. Raises QuantizeError where there are none, or it is no such file."""
    from gguf_bench import imatrix_file  # gguf takes its time to import

    assert options.imatrix is not None
    try:
        found = imatrix_file.read(Path(options.imatrix))
    except ModelError as error:
        raise QuantizeError(f"--imatrix {error.message}", hint=error.hint) from error
    weights = {name: values for name, values in found.weights().items() if _counts(name, options)}
    if not weights:
        raise QuantizeError(f"no entry of {options.imatrix} is left by --include-weights and --exclude-weights")
    counts = {name: entry.counts for name, entry in found.entries.items()}
    return Importances(weights, counts, found.datasets, found.chunk_count)


def _counts(name: str, options: QuantizeOptions) -> bool:
    if any(part in name for part in options.exclude_weights):
        return False
    return not options.include_weights or any(part in name for part in options.include_weights)
