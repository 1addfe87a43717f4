"""Write the file of a plan: ggml's own packing on every thread, while what is packed already is hashed and written.

llama_model_quantize does these in turns, and checks and writes on one thread. What comes out is the same, since rows
are packed each by itself.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf_bench.errors import QuantizeError
from gguf_bench.gguf_header import padded, tensor_bytes
from gguf_bench.llama.ggml_types import Types
from gguf_bench.llama.gguf_source import GgufSource

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

PIECES_AHEAD = 3
"""For each thread, packed or being packed, while the first of them, or the header, is not written yet."""
BYTES_A_VALUE = 16
"""That a piece takes of memory for each of its values at most: as it was, in 32 bits, and packed while it waits."""
MOST_VALUES = 1 << 24
"""Of a piece: nothing is gained by more, and ggml counts the values of some types with 32 bits."""


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor and the type it will get; `shape` in ggml's order, types by ggml's names ("Q4_K")."""

    name: str
    shape: tuple[int, ...]
    old_type: str
    new_type: str

    @property
    def n_bytes(self) -> int:
        return tensor_bytes(self.shape, self.new_type)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of one matrix of a tensor. `number` counts tensors from 1, and is 0 but for its last piece."""

    tensor: PlannedTensor
    number: int
    first_row: int
    n_rows: int


def write(
    source: GgufSource,
    target: Path,
    tensors: Sequence[PlannedTensor],
    weights: Mapping[str, Array],
    header: Callable[[], bytes],
    n_threads: int,
    buffer_bytes: int,
    on_tensor: Callable[[int, str], None],
) -> str:
    """Write what `header` gives, and then `tensors` of `source`, to `target`; returns its sha256.

    `weights` has the importances of tensors that are packed by some (matrices x columns, float32), by name.
    All threads together hold about `buffer_bytes` of rows, one each at least. `on_tensor` hears (number, name) of each
    tensor written. Raises QuantizeError for weights that are no numbers or come to none, OSError where `target`
    cannot be written, and RuntimeError where there are no threads.
    """
    digest, packer = hashlib.sha256(), _Packer(source, weights)
    with target.open("wb") as file, ThreadPoolExecutor(n_threads) as pool:

        def put(data: Any) -> None:
            digest.update(data)
            file.write(data)

        pending: deque[tuple[_Piece | None, Future[Any]]] = deque([(None, pool.submit(header))])

        def put_first() -> None:
            piece, made = pending.popleft()
            put(made.result())
            if piece is not None and piece.number:
                put(bytes(padded(piece.tensor.n_bytes) - piece.tensor.n_bytes))
                on_tensor(piece.number, piece.tensor.name)

        try:
            for piece in _pieces(tensors, buffer_bytes // (BYTES_A_VALUE * n_threads)):
                pending.append((piece, pool.submit(packer.packed, piece)))
                if len(pending) > PIECES_AHEAD * n_threads:
                    put_first()
            while pending:
                put_first()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return digest.hexdigest()


def _pieces(tensors: Sequence[PlannedTensor], values_at_once: int) -> Iterator[_Piece]:
    for number, tensor in enumerate(tensors, 1):
        columns, rows, *matrices = (*tensor.shape, 1)
        n_rows, at_once, row = rows * prod(matrices), max(1, min(values_at_once, MOST_VALUES) // max(1, columns)), 0
        while row < n_rows:
            n = min(at_once, rows - row % rows)  # a matrix has weights of its own
            yield _Piece(tensor, number if row + n == n_rows else 0, row, n)
            row += n


class _Packer:
    """Packs pieces, on any thread."""

    def __init__(self, source: GgufSource, weights: Mapping[str, Array]) -> None:
        self._source, self._weights = source, weights
        self._types = Types()
        self._of_thread = threading.local()

    def packed(self, piece: _Piece) -> Any:
        """The bytes of a piece in its new type."""
        tensor, columns = piece.tensor, piece.tensor.shape[0]
        old, n_values = self._read(piece), piece.n_rows * columns
        if tensor.old_type == tensor.new_type:
            return old
        values: Any = old
        if tensor.old_type != "F32":
            values = self._values(n_values)
            self._types.unpack(tensor.old_type, old, values, n_values)
        weights = self._weights.get(tensor.name)
        matrix = 0 if weights is None else piece.first_row // tensor.shape[1]
        weights_at = None if weights is None else weights.ctypes.data + 4 * columns * matrix
        packed = ctypes.create_string_buffer(tensor_bytes((columns, piece.n_rows), tensor.new_type))
        self._types.pack(tensor.new_type, values, packed, (piece.n_rows, columns), weights_at)
        if not self._types.is_valid(tensor.new_type, packed, len(packed)):
            raise self._cannot(f"{tensor.name} has weights that {tensor.new_type} cannot hold")
        return packed

    def _read(self, piece: _Piece) -> bytes:
        tensor = piece.tensor
        row_bytes = tensor_bytes(tensor.shape[:1], tensor.old_type)
        read = self._source.read(tensor.name, piece.first_row * row_bytes, piece.n_rows * row_bytes)
        if not self._types.is_valid(tensor.old_type, read, len(read)):
            raise self._cannot(f"{tensor.name} holds what is no number")
        return read

    def _cannot(self, why: str) -> QuantizeError:
        return QuantizeError(f"llama.cpp cannot quantize {self._source.name}: {why}")

    def _values(self, n: int) -> Any:
        """Room for `n` values of float32 that is this thread's."""
        room = getattr(self._of_thread, "room", None)
        if room is None or len(room) < n:
            room = self._of_thread.room = (ctypes.c_float * n)()
        return room
