"""llama.cpp's own quantization."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf_bench.errors import QuantizeError, if_full
from gguf_bench.gguf_header import BLOCKS
from gguf_bench.llama import pack
from gguf_bench.llama.bindings import llama_cpp
from gguf_bench.llama.gguf_source import GgufSource
from gguf_bench.llama.log import log
from gguf_bench.llama.pack import PlannedTensor
from gguf_bench.llama.quantize_imatrix import Importances
from gguf_bench.quantize_options import (
    NEED_IMATRIX,
    OUTPUT,
    TOKEN_EMBEDDINGS,
    Override,
    QuantizeOptions,
    old_name,
    quantized_already,
)

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# What llama.cpp logs of a tensor, in a dry run with the type it would get where that is another one.
_TENSOR = re.compile(
    r"\[\s*(?P<number>\d+)/\s*\d+\] (?P<name>.*?)\s+- \[(?P<shape>[\d, ]+)\], type =\s*(?P<type>\S+), "
    r"(?:size =\s*[\d.]+ MiB -> +[\d.]+ MiB \((?P<new>\S+)\))?"
)
LOW_BITS = ("IQ3_XXS", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_M", "IQ1_S")
"""Types that llama.cpp refuses to make of a layer's tensor without importances (tensor_requires_imatrix)."""
Q2_K_S = 21

BUFFER_MIB_A_THREAD = 8
"""For rows of a tensor, as they are, in 32 bits and packed. llama-quantize takes up to 8 GiB, and so goes through
memory three times; what fits the processor's cache is quantized faster, and no tensor is too large."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What llama.cpp's dry run came to. `uncovered` names tensors that the importance matrix has nothing of."""

    tensors: list[PlannedTensor]
    n_fallback: int
    needs_imatrix: bool
    uncovered: list[str]


def plan(
    source: Path, file_type: int, options: QuantizeOptions, importances: Importances | None, n_layers: int
) -> Plan:
    """What `write` would make of `source`, a model of `n_layers`. Nothing is written.

    Raises QuantizeError with llama.cpp's reason, where an importance matrix is of another model, and for what llama.cpp
    would refuse, or die of, when it comes to write.
    """
    tensors: list[PlannedTensor] = []

    def hear(line: str) -> None:
        if found := _TENSOR.match(line):
            shape = tuple(int(size) for size in found["shape"].split(","))
            old_type = found["type"].upper()
            tensors.append(PlannedTensor(found["name"], shape, old_type, (found["new"] or old_type).upper()))

    _run(source, source, file_type, options, importances, dry_run=True, hear=hear)
    for tensor in tensors:
        _check(tensor, options)
    fallback = log().last_match(r"(\d+) of \d+ tensor\(s\) required fallback")
    lacking, uncovered = log().last_match("will require an imatrix") is not None, []
    for tensor in tensors:
        if tensor.new_type == tensor.old_type or tensor.new_type in ("F32", "F16", "BF16"):
            continue
        if _weights(tensor, options, importances, n_layers) is not None:
            continue
        is_edge = tensor.name in (OUTPUT, *TOKEN_EMBEDDINGS)
        low_bits = tensor.new_type in LOW_BITS or (tensor.new_type == "Q2_K" and file_type == Q2_K_S)
        lacking = lacking or tensor.new_type in NEED_IMATRIX or (low_bits and not is_edge)
        if importances is not None and not is_edge:
            uncovered.append(tensor.name)
    return Plan(tensors, int(fallback.group(1)) if fallback else 0, lacking, uncovered)


def _check(tensor: PlannedTensor, options: QuantizeOptions) -> None:
    """Raise QuantizeError for what a dry run passes over."""
    if tensor.new_type == tensor.old_type:
        return
    if BLOCKS[tensor.old_type][1] > 1 and not options.allow_requantize:
        raise quantized_already(tensor.name, tensor.old_type)
    if tensor.shape[0] == 0 or prod(tensor.shape[3:]) != 1:
        raise QuantizeError(f"{tensor.name} is of shape {tensor.shape}, which llama.cpp does not quantize")


def _weights(
    tensor: PlannedTensor, options: QuantizeOptions, importances: Importances | None, n_layers: int
) -> Array | None:
    """The importances of its columns, of each matrix. Raises QuantizeError where they are of another shape.

    Of token embeddings llama.cpp passes them over then.
    """
    name = old_name(tensor.name, options, n_layers)
    found = None if importances is None else importances.weights.get(name)
    if found is None:
        return None
    wanted = tensor.shape[0] * (tensor.shape[2] if len(tensor.shape) > 2 else 1)
    if len(found) == wanted:
        return found
    if tensor.name in TOKEN_EMBEDDINGS:
        return None
    raise QuantizeError(
        f"{options.imatrix} has {len(found)} importances for {name}, which has {wanted} columns",
        hint="it was computed on another model",
    )


def write(
    source: Path,
    target: Path,
    file_type: int,
    options: QuantizeOptions,
    importances: Importances | None,
    n_layers: int,
    on_tensor: Callable[[int, str], None],
    planned: Plan | None = None,
) -> str | None:
    """Quantize `source`, a model of `n_layers`, to `target`: the bytes are llama-quantize's.

    A file that was `planned` is packed by `pack`, and its sha256 returned; one of several parts (with
    `options.keep_split`, `target` is what their names begin with) or of fewer layers, or with names of tensors that are
    not as llama.cpp logs them, by llama_model_quantize.
    `on_tensor` hears (number, name) of each tensor done. Raises QuantizeError with the reason.
    """
    if planned is not None and not (planned.needs_imatrix or options.keep_split or options.prune_layers):
        with closing(GgufSource(source)) as opened:
            if opened.holds([(tensor.name, tensor.old_type, tensor.shape) for tensor in planned.tensors]):
                changed = [tensor for tensor in planned.tensors if tensor.new_type != tensor.old_type]
                found = ((tensor.name, _weights(tensor, options, importances, n_layers)) for tensor in changed)
                weights = {name: array for name, array in found if array is not None}
                types = [(tensor.name, tensor.name, tensor.new_type) for tensor in planned.tensors]
                header = partial(opened.header_of_result, types, file_type, overrides(options, importances))
                return _packed(opened, target, planned.tensors, weights, header, options, on_tensor)

    def hear(line: str) -> None:
        if found := _TENSOR.match(line):
            on_tensor(int(found["number"]), found["name"])

    _run(source, target, file_type, options, importances, dry_run=False, hear=hear)
    return None


def _packed(
    source: GgufSource,
    target: Path,
    tensors: Sequence[PlannedTensor],
    weights: Mapping[str, Array],
    header: Callable[[], bytes],
    options: QuantizeOptions,
    on_tensor: Callable[[int, str], None],
) -> str:
    """`pack.write`, with what the system refuses as QuantizeError."""
    n_threads = _n_threads(options)
    try:
        return pack.write(source, target, tensors, weights, header, n_threads, _buffer_bytes(options), on_tensor)
    except OSError as error:
        raise QuantizeError(f"{target} cannot be written: {error.strerror}", hint=if_full(error)) from error
    except RuntimeError as error:
        raise QuantizeError(f"{n_threads} threads cannot be started", hint="say --threads 1") from error


def _n_threads(options: QuantizeOptions) -> int:
    return options.n_threads or len(os.sched_getaffinity(0))


def _buffer_bytes(options: QuantizeOptions) -> int:
    return (options.max_buffer_mib or BUFFER_MIB_A_THREAD * _n_threads(options)) * 2**20


def _run(
    source: Path,
    target: Path,
    file_type: int,
    options: QuantizeOptions,
    importances: Importances | None,
    *,
    dry_run: bool,
    hear: Callable[[str], None],
) -> None:
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread, params.ftype, params.dry_run = options.n_threads, file_type, dry_run
    params.allow_requantize, params.keep_split = options.allow_requantize, options.keep_split
    params.quantize_output_tensor, params.pure = not options.leave_output_tensor, options.pure
    if options.output_tensor_type is not None:
        params.output_tensor_type = _ggml_type(options.output_tensor_type)
    if options.token_embedding_type is not None:
        params.token_embedding_type = _ggml_type(options.token_embedding_type)
    params.max_buf_size = _buffer_bytes(options)
    if importances is not None:
        params.imatrix = _imatrix(importances)
    if keys := overrides(options, importances):
        params.kv_overrides = _kv_overrides(keys)
    if options.tensor_types:
        params.tt_overrides = _tensor_overrides(options.tensor_types)
    if options.prune_layers:
        params.prune_layers = (ctypes.c_int32 * (len(options.prune_layers) + 1))(*options.prune_layers, -1)
    log().errors.clear()
    log().recent.clear()
    log().on_line = hear
    code = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params))
    log().on_line = None
    if code != 0:
        raise QuantizeError(f"llama.cpp cannot quantize {source.name}{log().why()}")


def overrides(options: QuantizeOptions, importances: Importances | None) -> list[Override]:
    """The keys that are set in the file besides those that quantizing sets."""
    if importances is None:
        return [*options.override_kv]
    assert options.imatrix is not None
    return [*options.override_kv, *importances.overrides(options.imatrix_name or options.imatrix)]


def _ggml_type(name: str) -> int:
    return BLOCKS[name][0]


def _imatrix(importances: Importances) -> Any:
    array = (llama_cpp.llama_model_imatrix_data * (len(importances.weights) + 1))()
    for item, (name, values) in zip(array, importances.weights.items(), strict=False):
        item.name, item.size = name.encode(), len(values)
        item.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))  # keeps `values` alive
    return array


def _kv_overrides(overrides: Sequence[Override]) -> Any:
    array = (llama_cpp.llama_model_kv_override * (len(overrides) + 1))()
    for item, (key, value) in zip(array, overrides, strict=False):
        item.key = key.encode()
        match value:
            case bool():
                item.tag, item.value.val_bool = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_BOOL, value
            case int():
                item.tag, item.value.val_i64 = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT, value
            case float():
                item.tag, item.value.val_f64 = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_FLOAT, value
            case str():
                item.tag, item.value.val_str = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR, os.fsencode(value)
    return array


def _tensor_overrides(tensor_types: Sequence[tuple[str, str]]) -> Any:
    array = (llama_cpp.llama_model_tensor_override * (len(tensor_types) + 1))()
    for item, (pattern, type_name) in zip(array, tensor_types, strict=False):
        item.pattern, item.type = pattern.encode(), _ggml_type(type_name)
    return array
