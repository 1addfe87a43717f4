"""ggml's types of tensors: rows of numbers packed as a type has them, and back, by ggml's own code."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from gguf_bench.errors import QuantizeError
from gguf_bench.gguf_header import BLOCKS
from gguf_bench.llama.ggml import function, unknown

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


class _Traits(ctypes.Structure):
    """`struct ggml_type_traits` of ggml.h."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.c_void_p),
        ("from_float_ref", ctypes.c_void_p),
    )


class Types:
    """Packs and unpacks. Calls of several threads run side by side: ctypes lets go of Python's lock.

    Raises ModelError where the loaded library has other types than BLOCKS, or lays out their traits otherwise.
    """

    def __init__(self) -> None:
        size, number, pointer = ctypes.c_size_t, ctypes.c_int64, ctypes.c_void_p
        self._quantize = function(
            "ggml_quantize_chunk", size, ctypes.c_int, pointer, pointer, number, number, number, pointer
        )
        self._is_valid = function("ggml_validate_row_data", ctypes.c_bool, ctypes.c_int, pointer, size)
        get_traits = function("ggml_get_type_traits", ctypes.POINTER(_Traits), ctypes.c_int)
        signature = ctypes.CFUNCTYPE(None, pointer, pointer, number)
        self._to_float = {}
        for name, (type_number, per_block, block_bytes) in BLOCKS.items():
            traits = get_traits(type_number).contents
            known = (name, per_block, block_bytes)
            if (traits.type_name.decode().upper(), traits.blck_size, traits.type_size) != known:
                raise unknown(f"has another type {type_number} than {name}, or of another size")
            if traits.to_float:
                self._to_float[name] = signature(traits.to_float)

    def is_valid(self, type_name: str, packed: Any, n_bytes: int) -> bool:
        """Whether what lies at `packed` is all numbers. ggml says on standard error what is none."""
        return bool(self._is_valid(BLOCKS[type_name][0], packed, n_bytes))

    def pack(self, type_name: str, values: Any, packed: Any, shape: tuple[int, int], weights: int | None) -> None:
        """Pack float32 `values` of `shape` (rows, columns) into `packed`; `weights` is where the columns' lie."""
        self._quantize(BLOCKS[type_name][0], values, packed, 0, *shape, weights)

    def unpack(self, type_name: str, packed: Any, values: Any, n_values: int) -> None:
        """Unpack into float32 `values`. Raises QuantizeError."""
        if type_name not in self._to_float:
            raise QuantizeError(f"llama.cpp cannot read tensors of type {type_name} back")
        self._to_float[type_name](packed, values, n_values)

    def packed(self, type_name: str, rows: Array, importances: Array | None = None) -> Array:
        """`rows` (n, columns) of float32 as bytes (n, bytes a row) of this type, by `importances` (columns,)."""
        import numpy as np  # takes its time to import, and who packs in place needs none of it

        _, per_block, block_bytes = BLOCKS[type_name]
        n_rows, n_columns = rows.shape
        rows = np.ascontiguousarray(rows, np.float32)
        packed = np.empty((n_rows, n_columns // per_block * block_bytes), np.uint8)
        if importances is not None:
            importances = np.ascontiguousarray(importances, np.float32)
            assert importances.shape == (n_columns,)
        weights = None if importances is None else importances.ctypes.data
        self.pack(type_name, rows.ctypes.data, packed.ctypes.data, (n_rows, n_columns), weights)
        return packed

    def unpacked(self, type_name: str, packed: Array) -> Array:
        """What `packed` (n, bytes a row) of this type stands for, as float32 (n, columns). Raises QuantizeError."""
        import numpy as np

        packed = np.ascontiguousarray(packed)
        _, per_block, block_bytes = BLOCKS[type_name]
        if type_name == "F32":
            return packed.view(np.float32)
        values = np.empty((packed.shape[0], packed.shape[1] // block_bytes * per_block), np.float32)
        self.unpack(type_name, packed.ctypes.data, values.ctypes.data, values.size)
        return values
