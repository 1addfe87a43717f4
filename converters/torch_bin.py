"""Read the tensors of a PyTorch .bin file (zip format) without PyTorch and without running what the pickle says.

Such a file is a zip archive of `data.pkl`, which names tensors and how they view storages, and `data/KEY`, the raw
storages. A pickle may call anything, so only what rebuilds tensors is let through; anything else is refused by name.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NoReturn

from converters.errors import CheckpointFileError, UnsafePickle
from converters.tensor import NUMPY_TYPES, Tensor

MAX_PICKLE_BYTES = 100_000_000
LOCAL_HEADER_BYTES = 30

STORAGES = {
    "DoubleStorage": ("F64", 8), "FloatStorage": ("F32", 4), "HalfStorage": ("F16", 2), "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8), "IntStorage": ("I32", 4), "ShortStorage": ("I16", 2), "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1), "BoolStorage": ("BOOL", 1),
}  # fmt: skip


@dataclass(frozen=True)
class _Storage:
    dtype: str
    value_bytes: int
    offset: int
    n_values: int


@dataclass(frozen=True)
class _View:
    storage: _Storage
    first: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_bin(path: Path) -> list[Tensor]:
    """The tensors of a .bin file in the order of its dictionary; no values are read.

    Raises UnsafePickle when the pickle asks for more than tensors, CheckpointFileError when the file is damaged or of
    the format before PyTorch 1.6.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _tensors(path, archive)
    except zipfile.BadZipFile as error:
        raise CheckpointFileError(
            path,
            "is not a zip archive: cut off, or written before PyTorch 1.6; download it again or use a safetensors copy",
        ) from error
    except OSError as error:
        raise CheckpointFileError(path, f"cannot be read ({error.strerror or error})") from error


def _tensors(path: Path, archive: zipfile.ZipFile) -> list[Tensor]:
    members = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointFileError(path, f"holds {len(pickles)} data.pkl, expected one")
    folder = pickles[0].removesuffix("data.pkl")
    if members[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise CheckpointFileError(path, f"its data.pkl is larger than {MAX_PICKLE_BYTES} bytes")
    if f"{folder}byteorder" in members and archive.read(f"{folder}byteorder") != b"little":
        raise CheckpointFileError(path, "was written on a big-endian machine; use a safetensors copy")

    def storage(kind: tuple[str, int], key: str, n_values: int) -> _Storage:
        info = members.get(f"{folder}data/{key}")
        if info is None or info.compress_type != zipfile.ZIP_STORED or info.file_size < n_values * kind[1]:
            raise CheckpointFileError(path, f"the values of storage {key!r} are not all there; download it again")
        return _Storage(*kind, _data_offset(path, info), n_values)

    try:
        content = _TensorUnpickler(path, archive.read(pickles[0]), storage).load()
    except CheckpointFileError:
        raise
    except Exception as error:
        raise CheckpointFileError(path, f"its pickle cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict):
        raise CheckpointFileError(path, f"holds a {type(content).__name__}, expected a dictionary of tensors")
    return [_tensor(path, name, view) for name, view in content.items()]


def _tensor(path: Path, name: Any, view: Any) -> Tensor:
    if not isinstance(name, str) or not isinstance(view, _View):
        raise CheckpointFileError(path, f"holds {name!r} that is no tensor; use a safetensors copy")
    numbers = (view.first, *view.shape, *view.strides)
    if any(type(n) is not int or n < 0 for n in numbers) or len(view.shape) != len(view.strides):
        raise CheckpointFileError(path, f"tensor {name!r} has shape {view.shape} and strides {view.strides}")
    last = view.first + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    if prod(view.shape) and last >= view.storage.n_values:
        raise CheckpointFileError(path, f"tensor {name!r} reaches beyond its storage; download it again")
    row_by_row = tuple(prod(view.shape[axis + 1 :]) for axis in range(len(view.shape)))
    plain = all(
        have == want or size == 1 for have, want, size in zip(view.strides, row_by_row, view.shape, strict=True)
    )
    offset = view.storage.offset + view.first * view.storage.value_bytes
    return Tensor(name, view.storage.dtype, view.shape, path, offset, None if plain else view.strides)


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: the local header may be padded otherwise than the directory's."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(LOCAL_HEADER_BYTES)
    offset = info.header_offset + LOCAL_HEADER_BYTES
    offset += int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    if header[:4] != b"PK\x03\x04" or offset + info.file_size > path.stat().st_size:
        raise CheckpointFileError(path, f"member {info.filename!r} is cut off; download it again")
    return offset


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, path: Path, data: bytes, storage: Callable[[tuple[str, int], str, int], _Storage]) -> None:
        super().__init__(io.BytesIO(data))
        self.path, self.storage = path, storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise UnsafePickle(self.path, f"{module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        word, kind, key, _device, n_values = pid
        if word != "storage" or kind not in STORAGES.values() or type(n_values) is not int or n_values < 0:
            self._refuse(pid)
        return self.storage(kind, str(key), n_values)

    def _refuse(self, pid: Any) -> NoReturn:
        raise CheckpointFileError(self.path, f"its pickle refers to {str(pid)[:80]!r}, which is no storage")


def _rebuild_tensor(storage: Any, first: Any, shape: Any, strides: Any, *_rest: Any) -> _View:
    if not isinstance(storage, _Storage):
        raise TypeError("a tensor without a storage")
    return _View(storage, first, tuple(shape), tuple(strides))


def _rebuild_parameter(view: Any, *_rest: Any) -> Any:
    return view


assert {dtype for dtype, _ in STORAGES.values()} >= set(NUMPY_TYPES)
