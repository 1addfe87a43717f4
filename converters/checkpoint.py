"""A checkpoint folder as the Hub keeps it: JSON files by name, and the tensors of all its parts by name."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from converters.errors import CheckpointFileError
from converters.safetensors_file import read_header
from converters.tensor import Tensor
from converters.torch_bin import read_bin

FORMATS: tuple[tuple[str, str, Callable[[Path], list[Tensor]]], ...] = (
    ("model", ".safetensors", read_header),
    ("pytorch_model", ".bin", read_bin),
)
"""Prefix and suffix of the files that hold weights, in order of preference. Other names (adapters, `consolidated`,
optimizer states) are not the model's."""


MAX_PARTS = 99999
"""As many as the five digits of a file name can count."""

MAX_JSON_BYTES = 50_000_000
"""More than the largest tokenizer.json known. Parsed, a hostile file takes some twenty times as much."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def read_json(folder: Path, name: str) -> dict[str, Any] | None:
    """The JSON object in a file of the folder, None when there is no such file. Raises CheckpointFileError."""
    path = folder / name
    if not _is_there(path):
        return None
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise CheckpointFileError(path, f"is larger than {MAX_JSON_BYTES} bytes, which is not believed")
        content = json.loads(data.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointFileError(path, f"is not readable JSON ({error}); download it again") from error
    if not isinstance(content, dict):
        raise CheckpointFileError(path, f"holds a {type(content).__name__}, expected a JSON object")
    return content


def read_text(path: Path) -> str:
    """The text a file begins with, what is not UTF-8 replaced; "" when there is no such file.

    At most MAX_JSON_BYTES of it are read. Raises CheckpointFileError.
    """
    if not _is_there(path):
        return ""
    try:
        with path.open("rb") as file:
            return file.read(MAX_JSON_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise CheckpointFileError(path, f"cannot be read ({error.strerror})") from error


def refuse_embedding_model(folder: Path) -> None:
    """Raise CheckpointFileError where modules.json (of sentence-transformers) says that the outputs are pooled."""
    if 'Pooling"' in read_text(folder / "modules.json"):
        raise CheckpointFileError(folder, "modules.json pools the outputs, but only models that write are converted")


def _is_there(path: Path) -> bool:
    """Whether there is a file. Raises CheckpointFileError for what is none: reading a pipe may never end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise CheckpointFileError(path, "is a link to a file that is not there; download it again") from None
        return False
    except (OSError, ValueError) as error:
        raise CheckpointFileError(path, f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not stat.S_ISREG(mode):
        raise CheckpointFileError(path, f"is a {_file_kind(mode)}, expected a file")
    return True


def _file_kind(mode: int) -> str:
    return "folder" if stat.S_ISDIR(mode) else "pipe" if stat.S_ISFIFO(mode) else "device or socket"


def _require_weights(path: Path) -> None:
    if not _is_there(path):
        raise CheckpointFileError(path, "is missing; download it again")
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise CheckpointFileError(path, f"cannot be read ({error.strerror})") from error
    if start == LFS_POINTER:
        raise CheckpointFileError(path, "only tells where Git LFS keeps the file; run `git lfs pull`")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. Raises CheckpointFileError when the folder or the file is not there or not readable."""
    try:
        is_folder = folder.is_dir()
    except OSError as error:
        raise CheckpointFileError(folder, f"cannot be read ({error.strerror})") from error
    if not is_folder:
        raise CheckpointFileError(folder, "is not a folder; expected a checkpoint folder as the Hub keeps it")
    config = read_json(folder, "config.json")
    if config is None:
        raise CheckpointFileError(folder, "has no config.json; expected a checkpoint folder as the Hub keeps it")
    return config


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors by name, in the order of llama.cpp's converter: parts by file name, then each part's own order.

    Raises CheckpointFileError when there are no weights, a part is missing or damaged, or index and parts disagree.
    """
    try:
        in_folder = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise CheckpointFileError(folder, f"cannot be read ({error.strerror})") from error
    for prefix, suffix, read in FORMATS:
        index = read_json(folder, f"{prefix}{suffix}.index.json")
        names = [name for name in in_folder if name.startswith(prefix) and name.endswith(suffix)]
        if index is None and not names:
            continue
        if index is not None:
            weight_map = _weight_map(folder, f"{prefix}{suffix}.index.json", index)
            names = sorted(set(weight_map.values()))
        else:
            weight_map = {}
            _require_whole_set(folder, names)
        tensors: dict[str, Tensor] = {}
        for name in names:
            _require_weights(folder / name)
            for tensor in read(folder / name):
                if tensor.name in tensors:
                    raise CheckpointFileError(
                        folder / name, f"holds {tensor.name!r}, which {tensors[tensor.name].path.name} holds as well"
                    )
                if weight_map and tensor.name not in weight_map:
                    raise CheckpointFileError(folder / name, f"holds {tensor.name!r}, which the index does not name")
                tensors[tensor.name] = tensor
        if missing := sorted(set(weight_map) - set(tensors)):
            raise CheckpointFileError(
                folder / weight_map[missing[0]], f"lacks {missing[0]!r} that the index names; download it again"
            )
        return tensors
    raise CheckpointFileError(folder, "has no weights: no model*.safetensors and no pytorch_model*.bin")


def read_weights(path: Path, read: Callable[[Path], list[Tensor]]) -> list[Tensor] | None:
    """What `read` makes of one file of weights, None when there is no such file. Raises CheckpointFileError."""
    if not _is_there(path):
        return None
    _require_weights(path)
    return read(path)


def _weight_map(folder: Path, index_name: str, index: dict[str, Any]) -> dict[str, str]:
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise CheckpointFileError(folder / index_name, "has no weight_map of tensor names to file names")
    for name in set(weight_map.values()):
        # A Hub cache links files to blobs elsewhere, so links are followed; names may not leave the folder.
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or not pure.parts:
            raise CheckpointFileError(folder / index_name, f"names {name!r}, a file outside the checkpoint folder")
    return weight_map


def _require_whole_set(folder: Path, names: list[str]) -> None:
    """Without an index, the names model-00001-of-00003 still say how many parts there are."""
    there, sets = set(names), set()
    for name in names:
        stem = name.removesuffix(".safetensors").removesuffix(".bin")
        head, _, total = stem.rpartition("-of-")
        start, _, number = head.rpartition("-")
        if start and number.isdecimal() and total.isdecimal() and len(total) <= len(str(MAX_PARTS)):
            sets.add((start, len(number), total, name[len(stem) :]))
    for start, n_digits, total, suffix in sorted(sets):
        for i in range(1, int(total) + 1):
            part = f"{start}-{i:0{n_digits}d}-of-{total}{suffix}"
            if part not in there:
                raise CheckpointFileError(folder / part, "is missing; download it again")
