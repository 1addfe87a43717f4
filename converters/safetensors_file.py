"""Read the header of a .safetensors file, believing nothing in it.

The format: 8 bytes of header length, a JSON object {name: {dtype, shape, data_offsets}}, then the values. The
rules that are checked are those of the safetensors library: the tensors tile the rest of the file without a gap or an
overlap. Its limit for the header, 100 MB, would let a hostile one take gigabytes once parsed; ours is lower.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from reprlib import repr as short
from typing import Any

from converters.errors import CheckpointFileError
from converters.tensor import MAX_DIMENSIONS, Tensor

MAX_HEADER_BYTES = 25_000_000
"""Some 200,000 tensors."""

BYTES_PER_VALUE = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip


def read_header(path: Path) -> list[Tensor]:
    """The tensors of a .safetensors file, sorted by name; no values are read.

    Raises CheckpointFileError when the header is cut off, too large, not JSON, or describes what is not there.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise CheckpointFileError(
                    path, f"a header of {length} bytes cannot be in a file of {size} bytes; download it again"
                )
            if length > MAX_HEADER_BYTES:
                raise CheckpointFileError(
                    path, f"its header takes {length} bytes, more than the {MAX_HEADER_BYTES} that are believed"
                )
            header = file.read(length)
    except OSError as error:
        raise CheckpointFileError(path, f"cannot be read ({error.strerror})") from error
    try:
        entries = json.loads(header.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise CheckpointFileError(path, f"its header is not JSON ({error}); download it again") from error
    if not isinstance(entries, dict):
        raise CheckpointFileError(path, "its header is not a JSON object; download it again")
    notes = entries.pop("__metadata__", None)
    if notes is not None and not (isinstance(notes, dict) and all(map(_is_text, notes.values()))):
        raise CheckpointFileError(path, "its __metadata__ is no object of texts; download it again")

    spans = []
    for name, entry in entries.items():
        dtype, shape, (begin, end) = _checked(path, name, entry)
        spans.append((begin, end, Tensor(name, dtype, shape, path, 8 + length + begin)))
    spans.sort(key=lambda span: span[:2])
    reached = 0
    for begin, end, tensor in spans:
        if begin != reached:
            what = "overlap" if begin < reached else "leave a gap"
            raise CheckpointFileError(path, f"its tensors {what} before {tensor.name!r} (byte {begin})")
        reached = end
    if reached != size - 8 - length:
        raise CheckpointFileError(
            path,
            f"its tensors take {reached} bytes, but {size - 8 - length} bytes follow the header; download it again",
        )
    return sorted((tensor for _, _, tensor in spans), key=lambda tensor: tensor.name)


def _checked(path: Path, name: str, entry: Any) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    problem = ""
    try:
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if dtype not in BYTES_PER_VALUE:
            problem = f"the unknown type {short(dtype)}"
        elif isinstance(shape, list) and len(shape) > MAX_DIMENSIONS:
            problem = f"{len(shape)} dimensions"
        elif not (isinstance(shape, list) and all(_is_count(n) for n in shape)):
            problem = f"the shape {short(shape)}"
        elif not (isinstance(offsets, list) and len(offsets) == 2 and all(_is_count(n) for n in offsets)):
            problem = f"the offsets {short(offsets)}"
        elif offsets[1] - offsets[0] != prod(shape) * BYTES_PER_VALUE[dtype]:
            problem = f"{offsets[1] - offsets[0]} bytes for shape {short(shape)} of {dtype}"
    except (KeyError, TypeError) as error:
        raise CheckpointFileError(path, f"the header entry of {name!r} is not one of a tensor") from error
    if problem:
        raise CheckpointFileError(path, f"the header gives {name!r} {problem}; download it again")
    return dtype, tuple(shape), (offsets[0], offsets[1])


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_text(value: Any) -> bool:
    """Whether it is a string that can be written: JSON may hold half a surrogate pair."""
    try:
        value.encode()
    except (AttributeError, UnicodeEncodeError):
        return False
    return True


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    if not all(map(_is_text, result)):
        raise ValueError("a name holds half a surrogate pair")
    return result
