"""Read the tensors of a PyTorch .bin file (zip format) without PyTorch and without running what the pickle says.

Such a file is a zip archive of `data.pkl`, which names tensors and how they view storages, and `data/KEY`, the raw
storages. A pickle is a program for a machine with a stack, and its calls may name anything. Here the machine knows only
the instructions that dictionaries of tensors need, every name stands for a function of this module, and a name that is
not in NAMES is refused. What it can build is bounded by the size of `data.pkl`.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, NoReturn

from converters.errors import CheckpointFileError, UnsafePickle
from converters.tensor import MAX_DIMENSIONS, NUMPY_TYPES, Tensor

MAX_PICKLE_BYTES = 3_000_000
"""Some 12,000 tensors. A hostile pickle makes 100 bytes of memory from one of its own."""

MAX_DIRECTORY_BYTES = 10_000_000
"""Of the archive: some 100,000 members."""

MAX_SMALL_MEMBER_BYTES = 100
LOCAL_HEADER_BYTES = 30
ENCRYPTED, UTF_8 = 0x1, 0x800
"""Flags of a member."""

BEFORE_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


@dataclass(frozen=True)
class _Type:
    """What the values of a storage are: `dtype` as safetensors spells it."""

    dtype: str
    value_bytes: int


STORAGES = {
    "DoubleStorage": _Type("F64", 8), "FloatStorage": _Type("F32", 4), "HalfStorage": _Type("F16", 2),
    "BFloat16Storage": _Type("BF16", 2), "LongStorage": _Type("I64", 8), "IntStorage": _Type("I32", 4),
    "ShortStorage": _Type("I16", 2), "CharStorage": _Type("I8", 1), "ByteStorage": _Type("U8", 1),
    "BoolStorage": _Type("BOOL", 1),
}  # fmt: skip
UNTYPED = _Type("", 1)
DTYPES = {
    "float8_e4m3fn": _Type("F8_E4M3", 1), "float8_e5m2": _Type("F8_E5M2", 1), "float8_e8m0fnu": _Type("F8_E8M0", 1),
    "uint16": _Type("U16", 2), "uint32": _Type("U32", 4), "uint64": _Type("U64", 8),
}  # fmt: skip
"""Types that came after PyTorch stopped making a storage class for each: they view storages of bytes."""


@dataclass(frozen=True)
class _Storage:
    type: _Type
    offset: int
    n_values: int


@dataclass(frozen=True)
class _View:
    """Part of a storage as a tensor sees it; `type` is not the storage's where that is one of bytes."""

    storage: _Storage
    type: _Type
    first: Any
    shape: Any
    strides: Any


def read_bin(path: Path) -> list[Tensor]:
    """The tensors of a .bin file in the order of its dictionary; no values are read.

    Raises UnsafePickle when the pickle asks for more than tensors, CheckpointFileError when the file is damaged, holds
    something else than a dictionary of tensors, or is of the format before PyTorch 1.6.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(BEFORE_1_6)) == BEFORE_1_6:
                raise CheckpointFileError(path, "is of the format before PyTorch 1.6; use a safetensors copy")
            with zipfile.ZipFile(_Bounded(path, file)) as archive:
                return _tensors(path, _Members(path, file, archive))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        raise CheckpointFileError(
            path,
            f"is not a whole zip archive, as of PyTorch 1.6 ({error}); download it again or use safetensors",
        ) from error
    except OSError as error:
        raise CheckpointFileError(path, f"cannot be read ({error.strerror or error})") from error


class _Bounded:
    """A file for zipfile, which reads the archive's directory at once, however large it claims to be."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self.file = path, file
        self.tell, self.seek, self.seekable = file.tell, file.seek, file.seekable

    def read(self, n_bytes: int = -1) -> bytes:
        if n_bytes > MAX_DIRECTORY_BYTES:
            raise CheckpointFileError(
                self.path, f"the directory of the archive takes {n_bytes} bytes, which is not believed"
            )
        return self.file.read(n_bytes if n_bytes >= 0 else MAX_DIRECTORY_BYTES)


class _Members:
    """The files in the archive. PyTorch stores them as they are, and so a member that is compressed is refused."""

    def __init__(self, path: Path, file: IO[bytes], archive: zipfile.ZipFile) -> None:
        self.path, self.file, self.archive = path, file, archive
        self.size = path.stat().st_size
        self.by_name: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            if info.filename in self.by_name:
                raise CheckpointFileError(path, f"holds {info.filename!r} twice")
            self.by_name[info.filename] = info

    def small(self, name: str, max_bytes: int) -> bytes | None:
        """The content of a member, None when there is none of that name; its checksum is compared."""
        if name not in self.by_name:
            return None
        info = self._stored(name)
        if info.file_size > max_bytes:
            raise CheckpointFileError(self.path, f"{name!r} takes {info.file_size} bytes, more than {max_bytes}")
        return self.archive.read(info)

    def _stored(self, name: str) -> zipfile.ZipInfo:
        info = self.by_name[name]
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & ENCRYPTED:
            raise CheckpointFileError(self.path, f"{name!r} is compressed or encrypted; use a safetensors copy")
        if info.compress_size != info.file_size:
            raise CheckpointFileError(self.path, f"{name!r} has two sizes; download it again")
        return info

    def offset(self, name: str, n_bytes: int) -> int:
        """Where the first of at least `n_bytes` bytes of a member stands in the file.

        The directory tells where its header is, and only that how far it is padded.
        """
        if name not in self.by_name or self._stored(name).file_size < n_bytes:
            raise CheckpointFileError(self.path, f"lacks the {n_bytes} bytes of {name!r}; download it again")
        info = self.by_name[name]
        self.file.seek(info.header_offset)
        header = self.file.read(LOCAL_HEADER_BYTES)
        name_bytes, padding = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
        offset = info.header_offset + LOCAL_HEADER_BYTES + name_bytes + padding
        if (
            header[:4] != b"PK\x03\x04"
            or self.file.read(name_bytes) != info.orig_filename.encode("utf-8" if info.flag_bits & UTF_8 else "cp437")
            or offset + info.file_size > self.size
        ):
            raise CheckpointFileError(self.path, f"{name!r} is cut off or not where it should be; download it again")
        return offset


def _tensors(path: Path, members: _Members) -> list[Tensor]:
    pickles = [name for name in members.by_name if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointFileError(path, f"holds {len(pickles)} files data.pkl, expected one; use a safetensors copy")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in members.by_name:
        raise CheckpointFileError(path, "is a TorchScript program, expected a dictionary of tensors")
    if members.small(f"{folder}byteorder", MAX_SMALL_MEMBER_BYTES) not in (None, b"little"):
        raise CheckpointFileError(path, "was written on a big-endian machine; use a safetensors copy")

    def storage(storage_type: _Type, key: str, n_values: int) -> _Storage:
        return _Storage(
            storage_type, members.offset(f"{folder}data/{key}", n_values * storage_type.value_bytes), n_values
        )

    program = members.small(pickles[0], MAX_PICKLE_BYTES) or b""
    try:
        content = _Machine(path, storage).run(program)
    except (CheckpointFileError, OSError, zipfile.BadZipFile):
        raise
    except Exception as error:
        raise CheckpointFileError(path, f"its pickle cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict):
        raise CheckpointFileError(path, f"holds {_kind(content)}, expected a dictionary of tensors")
    return [_tensor(path, name, view) for name, view in content.items()]


def _kind(value: Any) -> str:
    """What it is, in words. A hostile value is not printed: a small pickle makes lists of 2**100 items."""
    return "a tensor" if isinstance(value, _View) else f"something of type {type(value).__name__}"


def _tensor(path: Path, name: str, view: Any) -> Tensor:
    if not isinstance(view, _View):
        way_out = "; save what is under that name by itself" if isinstance(view, dict) and view else ""
        raise CheckpointFileError(path, f"holds {_kind(view)} named {name!r}, expected only tensors{way_out}")
    numbers = (view.first, *view.shape, *view.strides)
    if any(type(n) is not int or not 0 <= n < 1 << 63 for n in numbers):
        raise CheckpointFileError(path, f"tensor {name!r} has sizes or strides that are no whole numbers from 0 up")
    if len(view.shape) != len(view.strides) or len(view.shape) > MAX_DIMENSIONS:
        raise CheckpointFileError(path, f"tensor {name!r} has {len(view.shape)} sizes and {len(view.strides)} strides")
    n_values = prod(view.shape)
    last = view.first + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    there = view.storage.n_values * view.storage.type.value_bytes // view.type.value_bytes
    # A tensor with more values than its storage repeats them. It would be legal, but models have none, and a file of
    # some bytes could stand for terabytes.
    if n_values and (last >= there or n_values > there):
        raise CheckpointFileError(path, f"tensor {name!r} reaches beyond its storage; download it again")
    row_by_row = tuple(prod(view.shape[axis + 1 :]) for axis in range(len(view.shape)))
    plain = all(
        have == want or size == 1 for have, want, size in zip(view.strides, row_by_row, view.shape, strict=True)
    )
    offset = view.storage.offset + view.first * view.type.value_bytes
    return Tensor(name, view.type.dtype, view.shape, path, offset, None if plain else view.strides)


def _new_dictionary() -> dict[str, Any]:
    """Stands for collections.OrderedDict: dictionaries keep their order."""
    return {}


def _rebuild_tensor(
    storage: Any, first: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, metadata: Any = None
) -> _View:
    """Stands for torch._utils._rebuild_tensor_v2. `metadata` says that the values are to be negated or the like."""
    if not isinstance(storage, _Storage) or storage.type is UNTYPED or metadata:
        raise TypeError("a tensor without a storage of its numbers")
    return _view(storage, storage.type, first, shape, strides)


def _rebuild_tensor_of(
    storage: Any, first: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any, metadata: Any = None
) -> _View:
    """Stands for torch._utils._rebuild_tensor_v3."""
    if not isinstance(storage, _Storage) or not isinstance(dtype, _Type) or metadata:
        raise TypeError("a tensor without a storage and a dtype")
    return _view(storage, dtype, first, shape, strides)


def _view(storage: _Storage, dtype: _Type, first: Any, shape: Any, strides: Any) -> _View:
    if not isinstance(shape, (tuple, list)) or not isinstance(strides, (tuple, list)):
        raise TypeError("a tensor whose shape is no tuple")
    return _View(storage, dtype, first, tuple(shape), tuple(strides))


def _rebuild_parameter(view: Any, *_rest: Any) -> Any:
    """Stands for torch._utils._rebuild_parameter: a parameter is its tensor."""
    return view


NAMES: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _new_dictionary,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_of,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch.storage", "UntypedStorage"): UNTYPED,
    **{("torch", name): storage_type for name, storage_type in STORAGES.items()},
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
}
"""All that a pickle may name -> what it gets for it."""


class _Machine:
    """Runs a pickle, instruction by instruction as pickletools takes them apart.

    The standard library's own machine does more than is needed: it makes room for as many remembered values as a
    pickle says there are, follows nested tuples until its own stack ends, and sets attributes of whatever it is given.
    """

    def __init__(self, path: Path, storage: Callable[[_Type, str, int], _Storage]) -> None:
        self.path, self.storage = path, storage
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """What the pickle stands for: views, strings, numbers, and dictionaries, lists and tuples of these.

        Raises UnsafePickle and CheckpointFileError; ValueError, TypeError, IndexError or KeyError for a broken program.
        """
        for instruction, argument, _ in pickletools.genops(program):
            if instruction.name == "STOP":
                break
            if instruction.name not in INSTRUCTIONS:
                raise UnsafePickle(self.path, f"the instruction {instruction.name}")
            INSTRUCTIONS[instruction.name](self, argument)
        return self.stack.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _argument: Any) -> None:
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def tuple_of(self, n_items: int) -> None:
        if len(self.stack) < n_items:
            raise IndexError("fewer values than a tuple takes")
        items = tuple(self.stack[-n_items:])
        del self.stack[-n_items:]
        self.push(items)

    def append(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise TypeError("items for what is no list")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError("items for what is no dictionary")
        for name, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(name, str):
                self.refuse(f"holds a dictionary with {_kind(name)} for a name, expected names of tensors")
            target[name] = value

    def set_item(self, _argument: Any) -> None:
        value, name = self.stack.pop(), self.stack.pop()
        self.set_items([name, value])

    def find(self, module: str, name: str) -> None:
        if (module, name) not in NAMES:
            raise UnsafePickle(self.path, f"{module}.{name}")
        self.push(NAMES[module, name])

    def find_popped(self, _argument: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("a name that is no string")
        self.find(module, name)

    def call(self, _argument: Any) -> None:
        """Only functions of this module can be called; nothing else on the stack is one."""
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(arguments, tuple):
            raise TypeError("a call without arguments")
        self.push(function(*arguments))

    def set_state(self, _argument: Any) -> None:
        """Attributes of a dictionary (PyTorch gives it `_metadata`) say nothing about tensors."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            self.refuse(f"gives {_kind(self.stack[-1])} a state")

    def refer(self, _argument: Any) -> None:
        """To something outside of the pickle: ("storage", type, key, device, number of values)."""
        reference = self.stack.pop()
        if not isinstance(reference, tuple) or len(reference) != 5 or reference[0] != "storage":
            self.refuse(f"refers to {_kind(reference)} outside of it, which is no storage")
        _, storage_type, key, _device, n_values = reference
        if not isinstance(storage_type, _Type) or not isinstance(key, str) or type(n_values) is not int:
            self.refuse("refers to a storage without a type, a name and a size")
        if not 0 <= n_values < 1 << 63:
            self.refuse(f"refers to a storage {key!r} of an impossible size")
        self.push(self.storage(storage_type, key, n_values))

    def refuse(self, problem: str) -> NoReturn:
        raise CheckpointFileError(self.path, f"its pickle {problem}; use a safetensors copy")


INSTRUCTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, argument: None),
    **dict.fromkeys(
        ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "BINFLOAT", "STRING", "BINSTRING",
         "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        _Machine.push,
    ),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": _Machine.mark,
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), lambda machine, i: machine.memo.update({i: machine.stack[-1]})),
    "MEMOIZE": lambda machine, _: machine.memo.update({len(machine.memo): machine.stack[-1]}),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda machine, i: machine.push(machine.memo[i])),
    **dict.fromkeys(("GLOBAL", "INST"), lambda machine, names: machine.find(*names.split(" ", 1))),
    "STACK_GLOBAL": _Machine.find_popped,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.set_state,
    "BINPERSID": _Machine.refer,
}  # fmt: skip
"""INST is here for the name it gives: it would leave a function where a value is expected, which is refused later."""


assert {storage_type.dtype for storage_type in STORAGES.values()} >= set(NUMPY_TYPES)
