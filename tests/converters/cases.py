"""Recorded tiny checkpoints of the model families: cases/NAME.json tells config.json, the names and shapes of the
tensors and the other files as transformers saves them; the values are made here, the same bits everywhere.

`scripts/parity_record.py` records the first, `scripts/parity.py --record` adds the SHA-256 of what llama.cpp's
converter makes of each case, or the error with which it refuses it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zlib import crc32

import numpy as np

from tests.converters.variants import HERE, LAYOUTS, TOKENIZERS
from tests.smollm2 import write_json
from tests.tiny import BITS, Array, write_safetensors

CASES = HERE / "cases"
NOTED = ("sums", "reference", "fails")
"""What the reference made of a case: outtype -> SHA-256; which reference, where it was not the first; or its error."""


@dataclass(frozen=True)
class Case:
    """`tensors` maps names, in which `{0-3}` stands for each number, to "320x64" or "320x64 uint8"; all others are of
    `dtype`. `files` adds files: text, or a JSON object that updates the tokenizer's file (null removes a key)."""

    name: str
    config: dict[str, Any]
    tensors: dict[str, str]
    dtype: str
    layout: str
    tokenizer: str
    files: dict[str, Any]
    folder: str
    outtypes: tuple[str, ...]
    noted: dict[str, Any]
    """The keys of NOTED."""
    logits: dict[str, Any]
    """What transformers computes: `tokens`, and `last`, the logits after them."""

    @property
    def architecture(self) -> str:
        """The name by which the reference chooses its class."""
        names = (self.config.get("text_config") or {}).get("architectures") or self.config["architectures"]
        return str(names[0])


def read_case(path: Path) -> Case:
    content = json.loads(path.read_text(encoding="utf-8"))
    content |= {
        "name": path.stem,
        "outtypes": tuple(content["outtypes"]),
        "noted": {key: content[key] for key in NOTED if key in content},
        "logits": content.get("logits", {}),
    }
    return Case(**{key: content[key] for key in Case.__dataclass_fields__})


def read_cases() -> dict[str, Case]:
    """All cases by name, in alphabetical order."""
    return {path.stem: read_case(path) for path in sorted(CASES.glob("*.json"))}


def write_case(parent: Path, case: Case, tokenizer: Mapping[str, bytes] | None = None) -> Path:
    """Write the checkpoint to a new folder in `parent`, and return that folder. `tokenizer` are other files than the
    case's own."""
    folder = parent / case.folder
    folder.mkdir(parents=True)
    for name, content in (tokenizer_files(case.tokenizer) if tokenizer is None else tokenizer).items():
        (folder / name).write_bytes(content)
    write_json(folder / "config.json", case.config)
    dtypes = tensor_types(case)
    tensors = {name: _values(name, shape, dtypes[name]) for name, shape in tensor_shapes(case).items()}
    if len(set(dtypes.values())) > 1:
        assert case.layout == "one"
        write_safetensors(folder / "model.safetensors", tensors, case.dtype, dtypes)
    else:
        LAYOUTS[case.layout](folder, tensors, case.dtype)
    for name, content in case.files.items():
        path = folder / name
        if isinstance(content, dict):
            had = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            write_json(path, {key: value for key, value in {**had, **content}.items() if value is not None})
        else:
            path.write_text(content, encoding="utf-8")
    return folder


def tensor_shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape. A safetensors file has the widest types first, names of one type in alphabetical order; a
    .bin file has them as listed."""
    shapes = {
        name: tuple(int(size) for size in entry.split(" ")[0].split("x"))
        for pattern, entry in case.tensors.items()
        for name in expand(pattern)
    }
    if "bin" in case.layout:
        return shapes
    types = tensor_types(case)
    width = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "uint8")
    return {name: shapes[name] for name in sorted(shapes, key=lambda name: (width.index(types[name]), name))}


def tensor_types(case: Case) -> dict[str, str]:
    return {
        name: entry.partition(" ")[2] or case.dtype
        for pattern, entry in case.tensors.items()
        for name in expand(pattern)
    }


def expand(pattern: str) -> list[str]:
    """The names that a pattern with ranges such as {0-3} stands for."""
    found = re.search(r"\{(\d+)-(\d+)\}", pattern)
    if not found:
        return [pattern]
    first, last = map(int, found.groups())
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [name for i in range(first, last + 1) for name in expand(f"{before}{i}{after}")]


def _values(name: str, shape: tuple[int, ...], dtype: str) -> Array:
    """Large numbers, so that any wrong order shows; norms and scales are positive. They depend on the name alone."""
    random = np.random.default_rng(crc32(name.encode()))
    if dtype in BITS:
        if name.endswith("_scales"):  # powers of two, as MXFP4 keeps them: 127 is 1
            return random.integers(119, 124, shape).astype("u1")
        bits = random.integers(0, 256, shape).astype("u1")
        if dtype == "float8_e4m3fn":
            bits[bits & 0x7F == 0x7F] = 0x3A  # no NaN
        return bits
    values = random.integers(-(1 << 20), 1 << 20, shape).astype(np.float32) / np.float32(1 << 21)
    is_norm = (name.endswith(".weight") and len(shape) == 1) or name.endswith(("norm.weight", "_scale_inv"))
    return np.abs(values) + np.float32(0.5) if is_norm else values


@cache
def tokenizer_files(name: str) -> dict[str, bytes]:
    """The files of a tokenizer: `spm`, `spm json` or `bpe`."""
    with TemporaryDirectory() as folder:
        TOKENIZERS[name](Path(folder))
        return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
