"""A GGUF through ggml's own functions: where its tensors lie, and how large the header of what is made of it is."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf_bench.errors import QuantizeError
from gguf_bench.gguf_files import gguf_shards
from gguf_bench.gguf_header import BLOCKS, Tensor, tensor_bytes
from gguf_bench.llama.ggml import function
from gguf_bench.quantize_options import Override

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

QUANTIZATION_VERSION = 2
"""GGML_QNT_VERSION of ggml.h."""
REMOVED = ("split.no", "split.count", "split.tensors.count")


class _InitParams(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.POINTER(ctypes.c_void_p)))


class GgufSource:
    """The tensors of the GGUF at `path`, all parts of it, until it is closed. Raises QuantizeError."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64
        self._find = function("gguf_find_tensor", number, pointer, text)
        self._offset = function("gguf_get_tensor_offset", ctypes.c_size_t, pointer, number)
        self._data_offset = function("gguf_get_data_offset", ctypes.c_size_t, pointer)
        self._get_tensor = function("ggml_get_tensor", pointer, pointer, text)
        open_file = function("gguf_init_from_file", pointer, text, _InitParams)
        self._parts: list[tuple[int, int, int]] = []  # GGUF, context of its tensors, file
        self._opened = ExitStack()
        try:
            for shard in gguf_shards(path):
                tensors = ctypes.c_void_p()
                gguf = open_file(os.fsencode(shard), _InitParams(True, ctypes.pointer(tensors)))
                if not gguf:
                    raise QuantizeError(f"llama.cpp cannot read {shard.name}")
                self._opened.callback(function("gguf_free", None, pointer), gguf)
                self._opened.callback(function("ggml_free", None, pointer), tensors.value)
                file = self._opened.enter_context(shard.open("rb"))
                self._parts.append((gguf, tensors.value or 0, file.fileno()))
        except BaseException:
            self._opened.close()
            raise

    def close(self) -> None:
        self._opened.close()

    def rows(self, tensor: Tensor, numbers: Sequence[int]) -> Array:
        """The rows of these numbers, counted through all matrices of `tensor`, as bytes (n, bytes a row)."""
        import numpy as np  # takes its time to import, and a header needs none of it

        row_bytes = tensor_bytes(tensor.shape[:1], tensor.type)
        if isinstance(numbers, range) and numbers.step == 1:
            read = self.read(tensor.name, numbers.start * row_bytes, len(numbers) * row_bytes)
        else:
            read = b"".join(self.read(tensor.name, row * row_bytes, row_bytes) for row in numbers)
        return np.frombuffer(read, np.uint8).reshape(-1, row_bytes)

    def holds(self, tensors: Sequence[tuple[str, str, tuple[int, ...]]]) -> bool:
        """Whether these (name, type, shape) are its tensors, and no others."""
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        count = function("gguf_get_n_tensors", number, pointer)
        get_type = function("gguf_get_tensor_type", ctypes.c_int, pointer, number)
        get_size = function("gguf_get_tensor_size", ctypes.c_size_t, pointer, number)
        known = [
            (gguf, found, type_, shape)
            for name, type_, shape in tensors
            for gguf, _, _ in self._parts
            if (found := self._find(gguf, _encoded(name))) >= 0
        ]
        return len(known) == len(tensors) == sum(count(gguf) for gguf, _, _ in self._parts) and all(
            (get_type(gguf, found), get_size(gguf, found)) == (BLOCKS[type_][0], tensor_bytes(shape, type_))
            for gguf, found, type_, shape in known
        )

    def read(self, name: str, start: int, n_bytes: int) -> bytes:
        """Bytes of a tensor, from its `start`-th on; any thread may."""
        for gguf, _, file in self._parts:
            if (number := self._find(gguf, _encoded(name))) >= 0:
                place = self._data_offset(gguf) + self._offset(gguf, number)
                try:
                    read = os.pread(file, n_bytes, place + start)
                    while len(read) < n_bytes:  # one call reads 2 GiB at most
                        more = os.pread(file, n_bytes - len(read), place + start + len(read))
                        if not more:
                            raise QuantizeError(f"{name} goes beyond the end of its file")
                        read += more
                except OSError as error:
                    raise QuantizeError(f"{name} cannot be read: {error.strerror}") from error
                return read
        raise QuantizeError(f"the file has no tensor {name}")

    def _address(self, name: str) -> int:
        for _, tensors, _ in self._parts:
            if address := self._get_tensor(tensors, _encoded(name)):
                return int(address)
        raise QuantizeError(f"the file has no tensor {name}")

    def header_of_result(
        self, tensors: Iterable[tuple[str, str, str | None]], file_type: int, overrides: Iterable[Override]
    ) -> bytes:
        """The bytes before the tensors of the one file that llama.cpp makes of it, as it puts them together.

        `tensors` are its (name, name in this file, type, or None where only the length is of interest), `overrides` the
        keys set besides those that quantizing sets. Raises QuantizeError for a tensor that is not there.
        """
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        new = function("gguf_init_empty", pointer)()
        try:
            function("gguf_set_kv", None, pointer, pointer)(new, self._parts[0][0])
            setters: dict[type, Any] = {
                int: function("gguf_set_val_u32", None, pointer, text, ctypes.c_uint32),
                float: function("gguf_set_val_f32", None, pointer, text, ctypes.c_float),
                bool: function("gguf_set_val_bool", None, pointer, text, ctypes.c_bool),
                str: function("gguf_set_val_str", None, pointer, text, text),
            }
            for key in REMOVED:
                function("gguf_remove_key", ctypes.c_int64, pointer, text)(new, key.encode())
            added = (("general.quantization_version", QUANTIZATION_VERSION), ("general.file_type", file_type))
            for key, value in (*added, *overrides):
                setters[type(value)](new, key.encode(), os.fsencode(value) if isinstance(value, str) else value)
            rename = function("ggml_set_name", pointer, pointer, text)
            add = function("gguf_add_tensor", None, pointer, pointer)
            set_type = function("gguf_set_tensor_type", None, pointer, text, ctypes.c_int)
            found = [(name, self._address(old), type_) for name, old, type_ in tensors]
            for name, address, type_ in found:
                add(new, rename(address, _encoded(name)))
                if type_ is not None:
                    set_type(new, _encoded(name), BLOCKS[type_][0])
            header = ctypes.create_string_buffer(function("gguf_get_meta_size", ctypes.c_size_t, pointer)(new))
            function("gguf_get_meta_data", None, pointer, pointer)(new, header)
            return header.raw
        finally:
            function("gguf_free", None, pointer)(new)


def _encoded(name: str) -> bytes:
    return name.encode(errors="surrogateescape")
