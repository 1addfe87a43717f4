"""Name the first thing in which two GGUF files differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader


def first_difference(ours: Path, theirs: Path) -> str:
    """The first key or tensor that differs, by order, value, type, shape or data; in one line."""
    if ours.read_bytes() == theirs.read_bytes():
        return "nothing differs"
    a, b = GGUFReader(ours), GGUFReader(theirs)
    return _keys(a, b) or _tensors(a, b) or "the same keys and tensors, but other bytes (padding or alignment)"


def _keys(a: GGUFReader, b: GGUFReader) -> str:
    # The first three stand for the file's header: version and counts.
    keys_a, keys_b = ([key for key in reader.fields if not key.startswith("GGUF.")] for reader in (a, b))
    if missing := [key for key in keys_b if key not in keys_a]:
        return f"key {missing[0]} = {_short(b.fields[missing[0]].contents())} is missing{_more(missing)}"
    if extra := [key for key in keys_a if key not in keys_b]:
        return f"key {extra[0]} = {_short(a.fields[extra[0]].contents())} is not in the reference's{_more(extra)}"
    for key in keys_b:
        ours, theirs = a.fields[key], b.fields[key]
        if ours.types != theirs.types:
            return f"key {key} has type {_types(ours)}, the reference's {_types(theirs)}"
        found, wanted = ours.contents(), theirs.contents()
        if isinstance(wanted, list) and found != wanted:
            return f"key {key}{_first_item(found, wanted)}"
        if found != wanted and not (found != found and wanted != wanted):
            return f"key {key} is {_short(found)}, the reference's {_short(wanted)}"
    for ours, theirs in zip(keys_a, keys_b, strict=True):
        if ours != theirs:
            return f"keys are in another order: {ours} where the reference has {theirs}"
    return ""


def _tensors(a: GGUFReader, b: GGUFReader) -> str:
    names_a, names_b = ([tensor.name for tensor in reader.tensors] for reader in (a, b))
    if missing := [name for name in names_b if name not in names_a]:
        return f"tensor {missing[0]} is missing{_more(missing)}"
    if extra := [name for name in names_a if name not in names_b]:
        return f"tensor {extra[0]} is not in the reference's{_more(extra)}"
    by_name = {tensor.name: tensor for tensor in a.tensors}
    for theirs in b.tensors:
        ours = by_name[theirs.name]
        for what, found, wanted in (
            ("shape (innermost first)", list(ours.shape), list(theirs.shape)),
            ("type", ours.tensor_type.name, theirs.tensor_type.name),
        ):
            if found != wanted:
                return f"tensor {theirs.name} has {what} {found}, the reference's {wanted}"
        if not np.array_equal(ours.data.view(np.uint8), theirs.data.view(np.uint8)):
            rows = (part.data.reshape(-1, part.data.shape[-1]).view(np.uint8) for part in (ours, theirs))
            differs = np.not_equal(*rows).any(axis=1)
            return (
                f"tensor {theirs.name} ({theirs.tensor_type.name}) has other values in {int(differs.sum())} of "
                f"{len(differs)} rows, first in row {int(differs.argmax())}"
            )
    for ours_name, theirs_name in zip(names_a, names_b, strict=True):
        if ours_name != theirs_name:
            return f"tensors are in another order: {ours_name} where the reference has {theirs_name}"
    return ""


def _first_item(found: list[Any], wanted: list[Any]) -> str:
    if len(found) != len(wanted):
        return f" has {len(found)} items, the reference's {len(wanted)}"
    i = next(i for i, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1])
    return f"[{i}] is {_short(found[i])}, the reference's {_short(wanted[i])}"


def _types(field: Any) -> str:
    return " of ".join(kind.name for kind in field.types)


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more: {', '.join(names[1:6])})" if len(names) > 1 else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
