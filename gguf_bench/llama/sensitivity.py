"""How much worse predictions get when single weights are quantized, without making a file of it.

While llama.cpp computes, the products of some weights are changed by what quantizing these weights would change them
by: by (Q - W) x, where Q is W quantized by ggml and read back. The divergence of what is predicted then from what was
predicted before, over the error of the weights, is their sensitivity: divergence grows in proportion to the error as
long as both are small. Nothing of the model is changed or copied, so it may lie on disk, in memory or on a GPU.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gguf_bench.errors import ModelError
from gguf_bench.llama.chunks import ChunkContext, chunks_of
from gguf_bench.llama.eval_callback import F32, Reader, Tensor, Watcher, name_of, tensor_operations
from gguf_bench.llama.ggml import function
from gguf_bench.llama.model import Model
from gguf_bench.llama.tensor_errors import Judge, Judged

Array = np.ndarray[Any, Any]

UNPREDICTED = 4
"""One in so many of a chunk's tokens, the first ones, has too little before it to be predicted."""

MOST_CHARACTERS = 32
"""More than a token has on average: so much of the text is split into tokens, since all of it may take long."""

SLAB_VALUES = 1 << 22
"""How much of a weight is quantized at a time."""

OWN_LAYERS, PARTS_BETWEEN = 2, 4
"""Sensitivity changes quickly among the first and the last layers and slowly between them (docs/quantizing.md), so that
so many at each end are measured alone, and those between in so many parts."""

Errors = Callable[[str, Sequence[int]], Array]
"""(name of a weight, numbers of rows counted through all its matrices) -> (rows, columns): Q - W."""
Group = Sequence[str]


class Worsening:
    """Changes the products of the weights that `start` names. `seen` are the weights that there were products of.

    `shapes` has (matrices, rows of each, columns) of all weights that may be named. A Watcher's `wants` and `sees`.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, int, int]], errors: Errors) -> None:
        operations = tensor_operations()
        self._mul_mat, self._mul_mat_id = operations.mul_mat, operations.mul_mat_id
        self._shapes, self._errors, self._reader = shapes, errors, Reader()
        self._is_host = function("ggml_backend_buffer_is_host", ctypes.c_bool, ctypes.c_void_p)
        size = ctypes.c_size_t
        self._set = function("ggml_backend_tensor_set", None, ctypes.c_void_p, ctypes.c_void_p, size, size)
        self.seen: dict[str, None] = {}
        self.start(())

    def start(self, names: Iterable[str]) -> None:
        self._on = frozenset(names)

    def wants(self, node: Tensor) -> bool:
        if not node.src[0] or not node.src[1] or node.view_src or node.type != F32:
            return False
        name = name_of(Tensor.from_address(node.src[0]))
        if name in self._shapes:
            self.seen[name] = None
        return name in self._on

    def sees(self, node: Tensor) -> None:
        name = name_of(Tensor.from_address(node.src[0]))
        address = ctypes.addressof(node)
        products, inputs = self._reader.values(address), self._reader.values(node.src[1])
        if node.op == self._mul_mat:
            n_matrices = self._shapes[name][0]
            for place in range(products.shape[1]):  # ggml lets several matrices of inputs share one of weights
                matrix = place * n_matrices // products.shape[1]
                for rows, errors in self._slabs(name, matrix):
                    products[:, place, :, rows] += inputs[:, place] @ errors.T
        elif node.op == self._mul_mat_id:
            chosen = self._reader.values(node.src[2])[0, 0]  # (tokens, choices)
            rows_in = np.broadcast_to(inputs[0], (*chosen.shape, inputs.shape[-1]))  # one row a token, or one a choice
            for expert in np.unique(chosen):
                where = chosen == expert
                for rows, errors in self._slabs(name, int(expert)):
                    products[0][where, rows] += rows_in[where] @ errors.T
        else:  # rows of an embedding are fetched, whose numbers are the inputs
            products += self._errors(name, inputs.ravel().tolist()).reshape(products.shape)
        if not self._is_host(node.buffer):  # what was changed is a copy
            self._set(address, products.ctypes.data, 0, products.nbytes)

    def _slabs(self, name: str, matrix: int) -> Iterator[tuple[slice, Array]]:
        """The errors of a matrix, some rows at a time."""
        _, n_rows, n_columns = self._shapes[name]
        step = max(1, SLAB_VALUES // n_columns)
        for start in range(0, n_rows, step):
            rows = slice(start, min(start + step, n_rows))
            numbers = range(matrix * n_rows + rows.start, matrix * n_rows + rows.stop)
            yield rows, self._errors(name, numbers)


class Probe:
    """A context of a model whose predictions of one chunk of a text can be made worse. Raises ModelError."""

    def __init__(self, model: Model, judge: Judge, judged: Iterable[Judged], n_ctx: int, n_threads: int) -> None:
        self._model, self._n_ctx = model, n_ctx
        self._probes = {tensor.old_name: tensor.probe for tensor in judged if tensor.probe is not None}
        shapes = {name: judge.shape(name) for name in self._probes}
        self._worsening = Worsening(shapes, lambda name, rows: judge.changes(name, self._probes[name][0], rows))
        watcher = Watcher(self._worsening.wants, self._worsening.sees)
        self._context = ChunkContext(
            model, n_ctx, n_threads=n_threads, watcher=watcher, logits_from=n_ctx // UNPREDICTED
        )

    def sensitivities(self, text: str, tell: Callable[[int, int], None]) -> dict[str, float]:
        """By the names of weights, the mean divergence (nats) that an error of 1 would cause in proportion.

        Of weights that the model does not use, as layers that only predict further tokens, the least of all. `tell`
        hears (groups of weights done, in all). Raises ModelError where the text is too short or the model computes no
        numbers.
        """
        middle = len(text) // 2
        chunk = chunks_of(self._model, text[middle : middle + MOST_CHARACTERS * self._n_ctx], self._n_ctx)[:1]
        if not len(chunk):
            raise ModelError(f"the text is shorter than {self._n_ctx} tokens")
        expected = self._predictions(chunk, ()).copy()
        groups = grouped(self._worsening.seen)
        found: dict[str, float] = {}
        for place, group in enumerate(groups, 1):
            error = sum(self._probes[name][2] for name in group)
            found |= dict.fromkeys(group, divergence(expected, self._predictions(chunk, group)) / error)
            tell(place, len(groups))
        least = min(found.values(), default=0.0)
        return {name: found.get(name, least) for name in self._probes}

    def _predictions(self, chunk: Array, worsened: Group) -> Array:
        """(tokens, n_vocab), good until the next call; the last token's are left out."""
        self._worsening.start(worsened)
        parts = [logits[0] for _, logits in self._context.decode(chunk) if logits.shape[1]]
        assert len(parts) == 1, "a chunk that is decoded at once"
        predictions: Array = parts[0][:-1]
        return predictions


def divergence(expected: Array, logits: Array) -> float:
    """The mean Kullback-Leibler divergence (nats) of predictions from those `expected`, both (tokens, n_vocab).

    In 32 bits, in which differences of logits are exact enough: `divergence.compared` takes several times as long.
    Raises ModelError where one is no number.
    """
    found = []
    for p, q in zip(expected, logits, strict=True):
        shifted_p, shifted_q = p - p.max(), q - q.max()
        weights, others = np.exp(shifted_p), np.exp(shifted_q)
        total, other_total = (float(each.sum(dtype=np.float64)) for each in (weights, others))
        possible = weights > 0  # elsewhere a logit may be minus infinity
        difference = np.subtract(shifted_p, shifted_q, where=possible, out=np.zeros_like(p))
        found.append(float(weights @ difference) / total - math.log(total) + math.log(other_total))
    mean = sum(found) / len(found)
    if not math.isfinite(mean):
        raise ModelError("the model computes no numbers (NaN or infinity): its weights are broken")
    return max(0.0, mean)


def grouped(names: Iterable[str]) -> list[Group]:
    """Weights that are measured together: those of one kind in neighbouring layers; what is in no layer alone."""
    kinds: dict[str, dict[int, str]] = {}
    groups: list[Group] = []
    for name in names:
        if found := re.match(r"blk\.(\d+)\.", name):
            kinds.setdefault(name[found.end() :], {})[int(found[1])] = name
        else:
            groups.append([name])
    for by_layer in kinds.values():
        of_kind = [by_layer[layer] for layer in sorted(by_layer)]
        groups += [of_kind[start:stop] for start, stop in pairwise(_bounds(len(of_kind)))]
    return groups


def _bounds(n_layers: int) -> list[int]:
    """Where groups of layers begin, and the end."""
    if n_layers <= 2 * OWN_LAYERS + PARTS_BETWEEN:
        return list(range(n_layers + 1))
    between = n_layers - 2 * OWN_LAYERS
    middle = [OWN_LAYERS + between * part // PARTS_BETWEEN for part in range(PARTS_BETWEEN + 1)]
    return [*range(OWN_LAYERS), *middle, *range(n_layers - OWN_LAYERS + 1, n_layers + 1)]
