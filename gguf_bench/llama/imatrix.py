"""The importance matrix of a model: for each of its weights, the squares of what it is multiplied with, summed up.

What is collected follows `IMatrixCollector::collect_imatrix` of llama.cpp's tools/imatrix/imatrix.cpp, so that the
values are llama-imatrix's: products with weights of blocks ("blk.*"; not the output matrix) of at least 16 rows, and
all products with experts, each expert apart. Rounding differs: llama-imatrix adds row after row to one float32, here
the rows of a micro-batch are summed first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from gguf_bench.errors import ModelError, if_full
from gguf_bench.imatrix_file import Counts, Entry, Floats, Imatrix, progress_of, save_progress
from gguf_bench.llama.chunks import ChunkContext, chunks_of
from gguf_bench.llama.eval_callback import F32, Array, Reader, Tensor, Watcher, name_of, tensor_operations
from gguf_bench.llama.model import Model

SAVING_SHARE = 20
"""Work goes on for so many times as long as saving it took, before it is saved again."""

LEAST_ROWS = 16
"""Smaller products are passed over, as by llama-imatrix: a rest of a micro-batch, or a matrix of another use."""


class Collector:
    """Sums up as a Watcher's `wants` and `sees`; `entries` is what there is so far. Goes on from `known` entries.

    Raises ModelError where the loaded llama.cpp lays out tensors in another way, and from `sees` for values that are
    no numbers.
    """

    def __init__(self, known: Mapping[str, Entry] | None = None) -> None:
        self._operations = tensor_operations()
        self._reader = Reader()
        self._sums = {name: entry.sums.copy() for name, entry in (known or {}).items()}
        self._counts = {name: entry.counts.copy() for name, entry in (known or {}).items()}

    @property
    def entries(self) -> dict[str, Entry]:
        return {name: Entry(sums, self._counts[name]) for name, sums in self._sums.items()}

    def imatrix(self, dataset: str, chunk_size: int) -> Imatrix:
        """What was collected; chunks are counted as llama-imatrix does, by the entry that most rows went through."""
        most = max((int(counts.max()) for counts in self._counts.values()), default=0)
        return Imatrix(self.entries, (dataset,), most // chunk_size, chunk_size)

    def wants(self, node: Tensor) -> bool:
        if node.op == self._operations.mul_mat_id:
            return True
        if node.op != self._operations.mul_mat:
            return False
        rows = Tensor.from_address(node.src[1])
        is_weight = name_of(Tensor.from_address(node.src[0])).startswith("blk.")
        return is_weight and rows.ne[1] >= LEAST_ROWS and rows.type == F32

    def sees(self, node: Tensor) -> None:
        weight = Tensor.from_address(node.src[0])
        rows = self._reader.values(node.src[1])
        name = name_of(weight)
        if node.op == self._operations.mul_mat_id:
            sums, counts = _of_experts(rows[0], self._reader.values(node.src[2])[0, 0], weight.ne[2])
        else:
            sums, counts = _of_matrices(rows, weight.ne[2], weight.ne[3])
        if not np.isfinite(sums).all():
            raise ModelError(
                f"the inputs of {name} hold what is no number (NaN, or too large to be squared)",
                hint="the model's weights are broken, or 16-bit arithmetic overflows: try another file of it",
            )
        if name not in self._sums:
            self._sums[name], self._counts[name] = sums, counts
            return
        if sums.shape != self._sums[name].shape:
            found = f"{sums.shape} and {self._sums[name].shape}"
            raise ModelError(f"{name} is multiplied in two shapes, {found}: no importance matrix holds both")
        self._sums[name] += sums
        self._counts[name] = self._counts[name] + counts  # one count is added to all, as where a use differs


def _of_matrices(rows: Array, n_matrices: int, n_outer: int) -> tuple[Floats, Counts]:
    """Sums (matrices, inputs) and the count (1,) for `rows` (outer, matrices, rows, inputs), which may be more of both.

    Where a weight is one matrix, all rows are its; where it is several, those with the same remainder.
    """
    sums = np.zeros((n_outer * n_matrices, rows.shape[-1]), np.float32)
    for outer in range(rows.shape[0]):
        for place in range(rows.shape[1]):
            x = rows[outer, place]
            sums[outer % n_outer * n_matrices + place % n_matrices] += np.einsum("ij,ij->j", x, x)
    n_rows = rows.shape[0] * rows.shape[1] * rows.shape[2]
    return sums, np.array([n_rows // len(sums)], np.int64)


def _of_experts(rows: Array, chosen: Array, n_experts: int) -> tuple[Floats, Counts]:
    """Sums (experts, inputs) and counts (experts,) for `rows` (tokens, 1 or choices, inputs) and who was `chosen`.

    `chosen` (tokens, choices) are the experts of each token; with one row a token, each of them is given that row.
    """
    if chosen.dtype != np.int32 or chosen.min(initial=0) < 0 or chosen.max(initial=0) >= n_experts:
        raise ModelError(f"a router chose expert {chosen.max()} of {n_experts}")
    sums = np.zeros((n_experts, rows.shape[-1]), np.float32)
    counts = np.bincount(chosen.ravel(), minlength=n_experts)
    for expert in np.flatnonzero(counts):
        token, choice = np.nonzero(chosen == expert)
        x = rows[token, choice % rows.shape[1]]
        sums[expert] = np.einsum("ij,ij->j", x, x)
    return sums, counts.astype(np.int64)


class Collection:
    """Collecting in chunks of `n_ctx` tokens of a text called `name`, which goes on from `state` of the same `key`."""

    def __init__(self, state: Path, key: str, name: str, n_ctx: int) -> None:
        self._state, self._key, self._name, self._n_ctx = state, key, name, n_ctx
        known, self._n_done = progress_of(state, key)
        self._collector = Collector(known.entries if known else None)

    def context(self, model: Model, n_threads: int) -> ChunkContext:
        """A context of `model` that collects. Raises ModelError where there is no memory for it."""
        watcher = Watcher(self._collector.wants, self._collector.sees)
        return ChunkContext(model, self._n_ctx, n_threads=n_threads, watcher=watcher)

    def collect(
        self,
        model: Model,
        context: ChunkContext,
        text: str,
        n_chunks: int | None,
        tell: Callable[..., None],
        beat: Callable[[], None],
    ) -> None:
        """Go through the first `n_chunks` chunks of `text` and leave all that was collected in the state.

        `tell` hears "loaded" and "progress" events with the chunks `done` and in `total`. Raises ModelError where the
        text is shorter than a chunk, the state has more chunks than are wanted, or cannot be written.
        """
        chunks = chunks_of(model, text, self._n_ctx)[:n_chunks]
        done, total = self._n_done, len(chunks)
        if not total:
            raise ModelError(f"{self._name} is shorter than {self._n_ctx} tokens", hint="give a longer text")
        if done > total:
            raise ModelError(
                f"{self._state} holds {done} chunks, but {total} are wanted", hint="ask for as many, or remove it"
            )
        tell("loaded", gpu_layers=model.offloaded_layers(), n_layers=model.n_layers, done=done, total=total)
        saved, cost = time.monotonic(), 0.0
        while done < total:
            batch = chunks[done : done + context.together]
            for _ in context.decode(batch):
                beat()
            done += len(batch)
            tell("progress", done=done, total=total)
            if done == total or time.monotonic() - saved > SAVING_SHARE * cost:
                started = time.monotonic()
                self._save(done)
                saved = time.monotonic()
                cost = saved - started

    def _save(self, done: int) -> None:
        try:
            save_progress(self._collector.imatrix(self._name, self._n_ctx), self._state, self._key, done)
        except OSError as error:
            raise ModelError(
                f"{self._state} cannot be written: {error.strerror or error}", hint=if_full(error)
            ) from error
