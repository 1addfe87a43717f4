"""Importance matrices as files: llama.cpp's GGUF form, read and written, and its older .dat, read.

An importance matrix has an entry for each weight that rows are multiplied with: the sum of squares of every input, and
how many rows these were. By what llama-imatrix writes (save_imatrix in tools/imatrix/imatrix.cpp) and llama-quantize
reads (common/imatrix-loader.cpp, load_imatrix in tools/quantize/quantize.cpp):

GGUF  keys general.type "imatrix", imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size; for each entry, in the
      order of names, the F32 tensors NAME.in_sum2 {inputs, matrices} and NAME.counts {1, matrices}. A mixture of
      experts has a matrix for each expert, and each its own count.
.dat  int32 entries; each int32 length and bytes of its name, int32 calls, int32 values and as many floats, which are
      means times calls; then, where anything follows, int32 calls and int32 length and bytes of the dataset's name.

The files may come from strangers: what they say is held against their size.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFWriter

from gguf_bench.errors import ModelError, one_line
from gguf_bench.gguf_header import MAX_NAME_BYTES, read_header
from gguf_bench.paths import written_whole

Floats = np.ndarray[Any, np.dtype[np.float32]]
Counts = np.ndarray[Any, np.dtype[np.int64]]

SUMS, COUNTS = ".in_sum2", ".counts"
DATASETS, CHUNK_COUNT, CHUNK_SIZE = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"
_DAMAGED = "compute it anew with `gguf-bench imatrix`, or fetch it again"
_I32 = struct.Struct("<i")


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """`sums` (matrices, inputs) of squares over the rows that each matrix was multiplied with, `counts` (matrices,)."""

    sums: Floats
    counts: Counts

    def weights(self) -> Floats:
        """The mean squares (matrices * inputs,) that llama.cpp quantizes by; 1 for a matrix that was never reached.

        In float32, as llama-quantize divides.
        """
        counts = self.counts.astype(np.float32)[:, None]
        means = np.ones_like(self.sums)
        np.divide(self.sums, counts, out=means, where=counts > 0)
        return means.reshape(-1)


@dataclass(frozen=True, slots=True, eq=False)
class Imatrix:
    """An importance matrix: entries by the names of their weights, what text they are of, in chunks of how many tokens.

    Of a .dat file `chunk_size` is 0: it does not say. Names of texts are as the file has them, whatever that is.
    """

    entries: Mapping[str, Entry]
    datasets: tuple[str, ...]
    chunk_count: int
    chunk_size: int

    def weights(self) -> dict[str, Floats]:
        """What `llama_model_quantize_params.imatrix` takes, by name."""
        return {name: entry.weights() for name, entry in self.entries.items()}


# --- writing ---


class _Writer(GGUFWriter):  # type: ignore[misc]
    def add_architecture(self) -> None:
        """No architecture: an importance matrix is no model."""


def write(imatrix: Imatrix, target: Path, notes: Mapping[str, str | int] | None = None) -> None:
    """Write `imatrix` to `target`, whole or not at all; the bytes are llama-imatrix's for the same values.

    `notes` are further keys of the file, which llama.cpp passes over.
    """
    with written_whole(target) as partial:
        writer = _Writer(partial, arch="")
        writer.add_string("general.type", "imatrix")
        writer.add_array(DATASETS, list(imatrix.datasets))
        writer.add_uint32(CHUNK_COUNT, imatrix.chunk_count)
        writer.add_uint32(CHUNK_SIZE, imatrix.chunk_size)
        for key, value in (notes or {}).items():
            (writer.add_string if isinstance(value, str) else writer.add_uint64)(key, value)
        # By bytes, as std::sort has it. llama.cpp drops trailing dimensions of 1.
        for name, entry in sorted(imatrix.entries.items(), key=lambda named: os.fsencode(named[0])):
            sums, counts = entry.sums, entry.counts.astype(np.float32)
            one = len(counts) == 1
            writer.add_tensor(name + SUMS, np.ascontiguousarray(sums[0] if one else sums))
            writer.add_tensor(name + COUNTS, counts if one else counts[:, None])
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()


# --- work that goes on ---

KEY, DONE = "gguf_bench.imatrix.key", "gguf_bench.imatrix.chunks"


def save_progress(imatrix: Imatrix, state: Path, key: str, n_done: int) -> None:
    """Write what there is after `n_done` chunks of the work called `key`; it is an importance matrix as well."""
    write(imatrix, state, {KEY: key, DONE: n_done})


def progress_of(state: Path, key: str) -> tuple[Imatrix | None, int]:
    """What `save_progress` left, and of how many chunks; (None, 0) where there is nothing, or it is of other work."""
    if not state.exists():
        return None, 0
    try:
        noted = read_header(state).values
        n_done = noted.get(DONE)
        return (read(state), n_done) if noted.get(KEY) == key and isinstance(n_done, int) else (None, 0)
    except ModelError:
        return None, 0


# --- reading ---


def read(path: Path) -> Imatrix:
    """The importance matrix at `path`, in either form. Raises ModelError for a file that is none, or is damaged."""
    try:
        with path.open("rb") as file:
            is_gguf = file.read(4) == b"GGUF"
        return _read_gguf(path) if is_gguf else _read_dat(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_gguf(path: Path) -> Imatrix:
    header = read_header(path)  # refuses whatever a reader that trusts the file would stumble over
    chunk_count, chunk_size = (header.values.get(key) for key in (CHUNK_COUNT, CHUNK_SIZE))
    if not isinstance(chunk_count, int) or not isinstance(chunk_size, int) or DATASETS not in header.array_lengths:
        raise _wrong(path, f"it has no {DATASETS}, {CHUNK_COUNT} and {CHUNK_SIZE}, so it is no importance matrix")
    wrong_type = [tensor.name for tensor in header.tensors if tensor.type != "F32"]
    if wrong_type:
        raise _wrong(path, f"{one_line(wrong_type[0])} is no F32 tensor")
    try:
        reader = GGUFReader(path)
        datasets = tuple(map(str, reader.fields[DATASETS].contents()))
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise _wrong(path, f"it cannot be read: {one_line(str(error))}") from error
    tensors = {str(tensor.name): np.array(tensor.data, np.float32).reshape(-1) for tensor in reader.tensors}
    names = {name.removesuffix(SUMS) for name in tensors if name.endswith(SUMS)}
    if not names or len(tensors) != 2 * len(names) or any(name + COUNTS not in tensors for name in names):
        raise _wrong(path, f"its tensors are not pairs of NAME{SUMS} and NAME{COUNTS}")
    entries = {name: _entry(path, name, tensors[name + SUMS], tensors[name + COUNTS]) for name in sorted(names)}
    return Imatrix(entries, datasets, chunk_count, chunk_size)


def _entry(path: Path, name: str, sums: Floats, counts: Floats) -> Entry:
    shown = one_line(name)
    if not len(counts) or not len(sums) or len(sums) % len(counts):
        raise _wrong(path, f"{shown} has {len(sums)} sums for {len(counts)} matrices")
    if not np.isfinite(counts).all() or (counts < 0).any() or (counts > 2.0**53).any():
        raise _wrong(path, f"the counts of {shown} are no counts of rows")
    if not np.isfinite(sums).all() or (sums < 0).any():
        raise _wrong(path, f"the sums of squares of {shown} hold what is none: NaN, infinity or less than 0")
    return Entry(sums.reshape(len(counts), -1), np.rint(counts).astype(np.int64))


def _read_dat(path: Path) -> Imatrix:
    at, raw = 0, path.read_bytes()

    def taken(count: int, what: str) -> bytes:
        nonlocal at
        if not 0 <= count <= len(raw) - at:
            raise _wrong(path, f"it ends within {what}, or is no importance matrix")
        at += count
        return raw[at - count : at]

    def number(what: str) -> int:
        return int(_I32.unpack(taken(4, what))[0])

    entries: dict[str, Entry] = {}
    n_entries = number("the number of entries")
    if not 0 < n_entries <= len(raw) // 12:
        raise _wrong(path, "it is no importance matrix: neither GGUF nor llama-imatrix's older .dat")
    for place in range(1, n_entries + 1):
        name = taken(number(f"entry {place}"), f"the name of entry {place}").decode("utf-8", "replace")
        if not 0 < len(name) <= MAX_NAME_BYTES or name in entries:
            raise _wrong(path, f"the name of entry {place} is {one_line(name, 80)!r}, which is none or stands twice")
        calls, n_values = number(f"entry {place}"), number(f"entry {place}")
        values = np.frombuffer(taken(4 * n_values, f"the values of entry {place}"), "<f4").astype(np.float32)
        # Without calls the values are means already (load_imatrix).
        entries[name] = _entry(path, name, values, np.array([max(1, calls)], np.float32))
    chunk_count, datasets = 0, tuple[str, ...]()
    if at < len(raw):
        chunk_count = max(0, number("the number of calls"))
        dataset = taken(number("the dataset"), "the dataset's name").decode("utf-8", "replace")
        datasets = (dataset,) if dataset else ()
    return Imatrix(dict(sorted(entries.items())), datasets, chunk_count, 0)


def _wrong(path: Path, found: str) -> ModelError:
    return ModelError(f"{path.name}: {found}", hint=_DAMAGED)
