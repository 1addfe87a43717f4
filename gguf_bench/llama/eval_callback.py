"""Looking at tensors while llama.cpp computes: its evaluation callback, and ggml's tensor as ctypes sees it.

A context that is made with `cb_eval` asks for every node of the graph whether somebody wants to see it, and stops
behind each one that is wanted (`ggml_backend_sched_compute_splits` in ggml-backend.cpp). What a node is, only `struct
ggml_tensor` of ggml.h says, of which llama-cpp-python has no mirror, and which may change with every version. So
`tensor_operations` holds ours against tensors that the loaded library makes, before anything is read through it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from gguf_bench.errors import ModelError
from gguf_bench.llama.bindings import llama_cpp
from gguf_bench.llama.ggml import function, other

Array = np.ndarray[Any, Any]

F32, I32 = 0, 26
"""Numbers of `enum ggml_type`."""

OBJECT_BYTES = 32
"""sizeof(struct ggml_object), which `ggml_tensor_overhead` counts in (ggml.c)."""


class Tensor(ctypes.Structure):
    """`struct ggml_tensor` of ggml.h. `ne` are elements and `nb` bytes from one to the next, the values of a row first.

    Pointers are plain addresses, None for NULL: `Tensor.from_address` reads what they point to.
    """

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )


@dataclass(frozen=True, slots=True)
class Operations:
    """The numbers that products with weights have in `enum ggml_op`: plain, and with the experts that a row chose."""

    mul_mat: int
    mul_mat_id: int


class _InitParams(ctypes.Structure):
    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


def _other(found: str) -> ModelError:
    return other(f"lays tensors out in another way than gguf-bench knows: {found}")


# --- the layout ---


def tensor_operations(layout: type[ctypes.Structure] = Tensor) -> Operations:
    """What the operations that are looked at are called, after `layout` has proved true for the loaded llama.cpp.

    The library makes tensors of known type, shape, name, operation, sources and place, some of them views; each field
    that we read has to be what it was made with. Raises ModelError that names the first one that is not.
    """
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64
    actual = function("ggml_tensor_overhead", size)() - OBJECT_BYTES
    if ctypes.sizeof(layout) != actual:
        raise _other(f"ggml_tensor has {actual} bytes, not {ctypes.sizeof(layout)}")
    new = function("ggml_new_tensor", pointer, pointer, ctypes.c_int, ctypes.c_int, ctypes.POINTER(number))
    name_it = function("ggml_set_name", pointer, pointer, ctypes.c_char_p)
    describe = function("ggml_op_desc", ctypes.c_char_p, pointer)
    get_data = function("ggml_get_data", pointer, pointer)

    def made(kind: int, name: bytes, *dimensions: int) -> int:
        return int(name_it(new(context, kind, len(dimensions), (number * len(dimensions))(*dimensions)), name))

    with _context() as context:
        weights = made(F32, b"blk.7.ffn_up_exps.weight", 32, 5, 3, 2)
        experts = made(F32, b"experts", 32, 5, 3)
        rows = made(F32, b"rows", 32, 1, 7)
        chosen = made(I32, b"chosen", 2, 7)
        plain = made(F32, b"plain", 32, 11, 3, 2)
        product = function("ggml_mul_mat", pointer, pointer, pointer, pointer)(context, weights, plain)
        routed = function("ggml_mul_mat_id", pointer, pointer, pointer, pointer, pointer)(
            context, experts, rows, chosen
        )
        view = function("ggml_view_2d", pointer, pointer, pointer, number, number, size, size)(
            context, weights, 16, 4, 128, 256
        )
        place = function("ggml_backend_cpu_buffer_type", pointer)()
        buffer = function("ggml_backend_alloc_ctx_tensors_from_buft", pointer, pointer, pointer)(context, place)
        try:
            expected: list[tuple[int, dict[str, Any]]] = [
                (weights, {"type": F32, "name": b"blk.7.ffn_up_exps.weight", "ne": [32, 5, 3, 2]}),
                (weights, {"nb": [4, 128, 640, 1920], "buffer": buffer, "data": get_data(weights), "view_src": None}),
                (chosen, {"type": I32, "ne": [2, 7, 1, 1], "name": b"chosen", "data": get_data(chosen)}),
                (product, {"ne": [5, 11, 3, 2], "src": [weights, plain] + [None] * 8, "buffer": buffer}),
                (routed, {"ne": [5, 2, 7, 1], "src": [experts, rows, chosen] + [None] * 7}),
                (view, {"ne": [16, 4, 1, 1], "view_src": weights, "view_offs": 256, "data": get_data(view)}),
            ]
            for address, fields in expected:
                for name, wanted in fields.items():
                    found = getattr(layout.from_address(address), name)
                    if (list(found) if isinstance(found, ctypes.Array) else found) != wanted:
                        raise _other(f"field {name!r} of ggml_tensor is not where it was")
            operations = [layout.from_address(address).op for address in (product, routed)]
            if [describe(product), describe(routed)] != [b"MUL_MAT", b"MUL_MAT_ID"] or len(set(operations)) != 2:
                raise _other("field 'op' of ggml_tensor is not where it was")
        finally:
            function("ggml_backend_buffer_free", None, pointer)(buffer)
    if not all(0 < operation < 1000 for operation in operations):
        raise _other("field 'op' of ggml_tensor is not where it was")
    return Operations(*operations)


@contextmanager
def _context() -> Iterator[int]:
    """A ggml context for a few tensors that have no data yet."""
    context = function("ggml_init", ctypes.c_void_p, _InitParams)(_InitParams(1 << 16, None, True))
    if not context:
        raise ModelError("llama.cpp has no memory for a few tensors")
    try:
        yield context
    finally:
        function("ggml_free", None, ctypes.c_void_p)(context)


# --- reading ---


class Reader:
    """The values of tensors, wherever they are: in place where the CPU can read them, else copied from the device."""

    def __init__(self) -> None:
        self._is_host = function("ggml_backend_buffer_is_host", ctypes.c_bool, ctypes.c_void_p)
        self._n_bytes = function("ggml_nbytes", ctypes.c_size_t, ctypes.c_void_p)
        size = ctypes.c_size_t
        self._fetch = function("ggml_backend_tensor_get", None, ctypes.c_void_p, ctypes.c_void_p, size, size)

    def values(self, address: int) -> Array:
        """The values (ne3, ne2, ne1, ne0) of a tensor of type F32 or I32, good until the callback returns.

        Raises ModelError for another type.
        """
        tensor = Tensor.from_address(address)
        if tensor.type not in (F32, I32):
            raise ModelError(f"{name_of(tensor)} has type {tensor.type}, but only F32 and I32 are read")
        owner = Tensor.from_address(tensor.view_src) if tensor.view_src else tensor
        n_bytes = self._n_bytes(address)
        if owner.buffer and self._is_host(owner.buffer):
            memory = (ctypes.c_char * n_bytes).from_address(tensor.data)
        else:
            memory = (ctypes.c_char * n_bytes)()
            self._fetch(address, memory, 0, n_bytes)
        kind = np.dtype(np.float32 if tensor.type == F32 else np.int32)
        return np.ndarray(tensor.ne[::-1], kind, memory, strides=tensor.nb[::-1])


def name_of(tensor: Tensor) -> str:
    """A weight's name in the file. Copies on other devices are called "CUDA0#blk.0.attn_k.weight#0"."""
    name = bytes(tensor.name).decode("utf-8", "replace")
    return name.split("#")[1] if "#" in name else name


# --- the callback ---


class Watcher:
    """Shows the nodes that `wants` says yes to, once they are computed, to `sees`.

    `callback` goes into `llama_context_params.cb_eval`; the watcher has to live as long as the context. A fault of
    either stops looking (an exception cannot pass through llama.cpp) and is raised by `check`, after the decode.
    """

    def __init__(self, wants: Callable[[Tensor], bool], sees: Callable[[Tensor], None]) -> None:
        self._wants, self._sees = wants, sees
        self._fault: BaseException | None = None
        self.callback = llama_cpp.ggml_backend_sched_eval_callback(self._called)

    def _called(self, address: int, ask: bool, _user_data: object) -> bool:
        try:
            if self._fault is None:
                node = Tensor.from_address(address)
                if ask:
                    return self._wants(node)
                self._sees(node)
                return True
        except BaseException as fault:  # noqa: BLE001 (raised by `check`)
            self._fault = fault
        return False

    def check(self) -> None:
        """Raise what went wrong while looking."""
        if self._fault is not None:
            raise self._fault
