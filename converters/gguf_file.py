"""Write a GGUF file: keys, tensor descriptions, then the tensors one by one, none held for longer than its turn.

Format: docs/gguf.md of the ggml project, version 3, little-endian, alignment 32. The file gets its name when whole.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from gguf import GGUF_DEFAULT_ALIGNMENT, GGUF_MAGIC, GGUF_VERSION, GGMLQuantizationType, GGUFValueType

from converters.errors import MetadataError
from converters.tensor import Array

NUMBER_FORMATS = {
    GGUFValueType.UINT32: "<I", GGUFValueType.INT32: "<i", GGUFValueType.FLOAT32: "<f", GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT64: "<Q",
}  # fmt: skip


class Keys:
    """The key-value pairs of a GGUF file, in the order in which each key was first set."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[GGUFValueType, Any]] = {}

    def uint32(self, key: str, value: int) -> None:
        self._values[key] = GGUFValueType.UINT32, value

    def float32(self, key: str, value: float) -> None:
        self._values[key] = GGUFValueType.FLOAT32, value

    def bool(self, key: str, value: bool) -> None:
        self._values[key] = GGUFValueType.BOOL, value

    def string(self, key: str, value: str) -> None:
        """Empty strings are left out."""
        if value:
            self._values[key] = GGUFValueType.STRING, value

    def array(self, key: str, values: Sequence[Any]) -> None:
        """Of strings (or bytes), bools, ints (int32) or floats (float32). Empty arrays are left out."""
        if len(values):
            self._values[key] = GGUFValueType.ARRAY, values

    def set(self, key: str, value_type: GGUFValueType, value: Any) -> None:
        self._values[key] = value_type, value

    def get(self, key: str) -> Any:
        """The value set for `key`, None when there is none."""
        return self._values.get(key, (None, None))[1]

    def __len__(self) -> int:
        return len(self._values)

    def packed(self) -> bytes:
        """All pairs as they stand in the file. Raises MetadataError for a value its type cannot hold."""
        out = bytearray()
        for key, (value_type, value) in self._values.items():
            try:
                out += _packed_string(key) + struct.pack("<I", value_type)
                if value_type == GGUFValueType.ARRAY:
                    out += _packed_array(value)
                else:
                    out += _packed_value(value_type, value)
            except (struct.error, TypeError, AttributeError, KeyError, ValueError) as error:
                problem = f"is {str(value)[:80]!r}, which is no {value_type.name.lower()} ({error})"
                raise MetadataError(f"{key} {problem}; mend the file it is from") from error
        return bytes(out)


def _packed_string(value: str | bytes) -> bytes:
    data = value.encode("utf-8") if isinstance(value, str) else bytes(value)
    return struct.pack("<Q", len(data)) + data


def _packed_value(value_type: GGUFValueType, value: Any) -> bytes:
    if value_type == GGUFValueType.STRING:
        if not isinstance(value, (str, bytes)):
            raise TypeError(f"it is of type {type(value).__name__}")
        return _packed_string(value)
    return struct.pack(NUMBER_FORMATS[value_type], value)


def _packed_array(values: Sequence[Any]) -> bytes:
    element = GGUFValueType.get_type(values[0])
    if element != GGUFValueType.STRING:
        if any(GGUFValueType.get_type(value) is not element for value in values):
            raise TypeError("its items are of several types")
        body = struct.pack(f"<{len(values)}{NUMBER_FORMATS[element][1:]}", *values)
    else:
        body = b"".join(_packed_value(element, value) for value in values)
    return struct.pack("<IQ", element, len(values)) + body


class Encoded(Protocol):
    """A tensor to write: `shape` outermost first; `chunks` gives its `n_bytes` bytes in pieces."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def type(self) -> GGMLQuantizationType: ...
    @property
    def n_bytes(self) -> int: ...
    def chunks(self) -> Iterator[Array]: ...


@dataclass(frozen=True, slots=True)
class Written:
    tensor: str
    n_bytes: int


def write_gguf(target: Path, keys: Keys, tensors: Sequence[Encoded]) -> Iterator[Written]:
    """Write the file, yielding after each piece of a tensor how much it was; `target` is there when this ends."""
    header = struct.pack("<IIQQ", GGUF_MAGIC, GGUF_VERSION, len(tensors), len(keys))
    header += keys.packed() + b"".join(_descriptions(tensors))
    with written_whole(target) as partial, partial.open("wb") as file:
        file.write(header)
        _pad(file)
        for tensor in tensors:
            start = file.tell()
            for chunk in tensor.chunks():
                file.write(np.ascontiguousarray(chunk).data.cast("B"))
                yield Written(tensor.name, chunk.nbytes)
            if file.tell() - start != tensor.n_bytes:
                raise AssertionError(f"{tensor.name} took {file.tell() - start} bytes, {tensor.n_bytes} were announced")
            _pad(file)


def _descriptions(tensors: Iterable[Encoded]) -> Iterator[bytes]:
    offset = 0
    for tensor in tensors:
        sizes = tensor.shape[::-1]
        yield _packed_string(tensor.name) + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        yield struct.pack("<IQ", tensor.type, offset)
        offset += tensor.n_bytes + -tensor.n_bytes % GGUF_DEFAULT_ALIGNMENT


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % GGUF_DEFAULT_ALIGNMENT))


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; on success flush it to disk and rename it, else remove it.

    A partial file is locked while its writer lives, so one that a killed process left is known and removed here.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}.*.partial"):
        with suppress(OSError), leftover.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    with partial.open("xb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            yield partial
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
