"""Write a GGUF file: keys, tensor descriptions, then the tensors one by one, none held for longer than its turn.

Format: docs/gguf.md of the ggml project, version 3, little-endian, alignment 32. The file gets its name when whole.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from gguf import GGUF_DEFAULT_ALIGNMENT, GGUF_MAGIC, GGUF_VERSION, GGMLQuantizationType, GGUFValueType

from converters.errors import ConversionError, MetadataError
from converters.tensor import Array

NUMBER_FORMATS = {
    GGUFValueType.UINT32: "<I", GGUFValueType.INT32: "<i", GGUFValueType.FLOAT32: "<f", GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT64: "<Q",
}  # fmt: skip

MAX_THREADS = 4
"""Beyond a few, memory is what limits."""


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
            except (struct.error, ArithmeticError, TypeError, AttributeError, KeyError, ValueError) as error:
                problem = f"is {str(value)[:80]!r}, which is no {value_type.name.lower()} ({error})"
                raise MetadataError(f"{key} {problem}; mend the file it is from") from error
        return bytes(out)


def _packed_string(value: str | bytes) -> bytes:
    data = value.encode("utf-8") if isinstance(value, str) else bytes(value)
    return len(data).to_bytes(8, "little") + data


def _packed_value(value_type: GGUFValueType, value: Any) -> bytes:
    if value_type == GGUFValueType.STRING:
        if not isinstance(value, (str, bytes)):
            raise TypeError(f"it is of type {type(value).__name__}")
        return _packed_string(value)
    return struct.pack(NUMBER_FORMATS[value_type], value)


def _packed_array(values: Sequence[Any]) -> bytes:
    elements = {GGUFValueType.get_type(value) for value in {type(value): value for value in values}.values()}
    if len(elements) > 1:
        raise TypeError("its items are of several types")
    (element,) = elements
    if element == GGUFValueType.STRING:
        body = b"".join(map(_packed_string, values))
    else:
        body = struct.pack(f"<{len(values)}{NUMBER_FORMATS[element][1:]}", *values)
    return struct.pack("<IQ", element, len(values)) + body


Piece = tuple[int, Callable[[], Array]]
"""A part of a tensor: its bytes, and what makes them when its turn comes (in any thread)."""


class Encoded(Protocol):
    """A tensor to write: `shape` outermost first; `pieces` follow each other and are `n_bytes` in all."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def type(self) -> GGMLQuantizationType: ...
    @property
    def n_bytes(self) -> int: ...
    def pieces(self) -> Iterator[Piece]: ...


def write_gguf(target: Path, keys: Keys, tensors: Sequence[Encoded]) -> Generator[int, None, None]:
    """Write the file, yielding after each piece of a tensor its bytes; `target` is there when this ends.

    The file is laid out whole at once, so that a full disk shows before the work and not after; pieces are made and
    written by a few threads, and no more of them are held than there are threads, twice. Raises MetadataError for a key
    that cannot be packed, ConversionError where the file cannot be written, and whatever making a piece raises; then,
    and when it is closed before its end, nothing is left of the file and a former one of that name stays.
    """
    header = struct.pack("<IIQQ", GGUF_MAGIC, GGUF_VERSION, len(tensors), len(keys))
    header += keys.packed() + b"".join(_descriptions(tensors))
    header += bytes(-len(header) % GGUF_DEFAULT_ALIGNMENT)
    size = len(header) + sum(_aligned(tensor.n_bytes) for tensor in tensors)
    n_threads = min(MAX_THREADS, len(os.sched_getaffinity(0)))
    with written_whole(target) as partial, partial.open("wb") as file, ThreadPoolExecutor(n_threads) as pool:
        _lay_out(file.fileno(), size, target)
        _write_at(file.fileno(), header, 0)
        waiting: deque[Future[int]] = deque()
        try:
            for offset, piece in _placed(tensors, len(header)):
                waiting.append(pool.submit(_make_and_write, file.fileno(), offset, piece))
                if len(waiting) > 2 * n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            for future in waiting:
                future.cancel()
            raise


def _lay_out(descriptor: int, size: int, target: Path) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise ConversionError(f"{target} cannot be written ({error.strerror}): it takes {size} bytes") from error
        os.ftruncate(descriptor, size)


def _placed(tensors: Iterable[Encoded], offset: int) -> Iterator[tuple[int, Piece]]:
    """Every piece of every tensor, and where in the file it goes."""
    for tensor in tensors:
        start = offset
        for piece in tensor.pieces():
            yield offset, piece
            offset += piece[0]
        if offset - start != tensor.n_bytes:
            raise AssertionError(f"{tensor.name} has {offset - start} bytes, {tensor.n_bytes} were announced")
        offset = start + _aligned(tensor.n_bytes)


def _make_and_write(descriptor: int, offset: int, piece: Piece) -> int:
    n_bytes, make = piece
    data = np.ascontiguousarray(make()).reshape(-1).view(np.uint8)
    if data.nbytes != n_bytes:
        raise AssertionError(f"a piece has {data.nbytes} bytes, {n_bytes} were announced")
    _write_at(descriptor, data.data, offset)
    return n_bytes


def _write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        try:
            n_written = os.pwrite(descriptor, rest, offset)
        except OSError as error:
            raise ConversionError(f"the output cannot be written ({error.strerror}) at byte {offset}") from error
        rest, offset = rest[n_written:], offset + n_written


def _aligned(n_bytes: int) -> int:
    return n_bytes + -n_bytes % int(GGUF_DEFAULT_ALIGNMENT)


def _descriptions(tensors: Iterable[Encoded]) -> Iterator[bytes]:
    offset = 0
    for tensor in tensors:
        sizes = tensor.shape[::-1]
        yield _packed_string(tensor.name) + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        yield struct.pack("<IQ", tensor.type, offset)
        offset += _aligned(tensor.n_bytes)


def _locked_partial(target: Path) -> tuple[Path, BinaryIO]:
    while True:
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
        try:
            held = partial.open("xb")
        except OSError as error:
            raise ConversionError(f"{target} cannot be written ({error.strerror})") from error
        fcntl.flock(held, fcntl.LOCK_EX)
        if partial.exists():
            return partial, held
        held.close()  # another writer of the same took it for a leftover before it was locked


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; on success flush it to disk and rename it, else remove it.

    A partial file is locked while its writer lives, so one that a killed process left is known and removed here.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConversionError(f"{target.parent} cannot be made a folder ({error.strerror})") from error
    for leftover in target.parent.glob(f".{target.name}.*.partial"):
        with suppress(OSError), leftover.open("r+b") as file:  # NFS locks only what is open for writing
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
    partial, held = _locked_partial(target)
    with held:
        try:
            yield partial
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
