"""Files packed piece by piece on several threads: every row once, in order, or an error that says which tensor."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import quantize

from gguf_bench.errors import QuantizeError
from gguf_bench.llama import pack
from gguf_bench.llama.gguf_source import GgufSource
from gguf_bench.llama.pack import PlannedTensor

HEADER = b"GGUF and more"
SHAPES = {"one": (64,), "two": (64, 37), "three": (64, 10, 3), "same": (32, 5)}
PLAN = [PlannedTensor(name, shape, "F32", "F32" if name == "same" else "Q8_0") for name, shape in SHAPES.items()]


@pytest.fixture
def values() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {name: random.standard_normal(shape[::-1], np.float32) for name, shape in SHAPES.items()}


@pytest.fixture
def source(values: dict[str, np.ndarray], tmp_path: Path) -> Path:
    return written(tmp_path / "source.gguf", values)


def written(path: Path, values: dict[str, np.ndarray]) -> Path:
    writer = GGUFWriter(path, "llama")
    for name, array in values.items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def packed(
    source: Path, n_threads: int = 2, buffer_bytes: int = 1, on_tensor: Callable[[int, str], None] = lambda *_: None
) -> bytes:
    target = source.with_name("made")
    with closing(GgufSource(source)) as opened:
        digest = pack.write(opened, target, PLAN, {}, lambda: HEADER, n_threads, buffer_bytes, on_tensor)
    made = target.read_bytes()
    assert digest == hashlib.sha256(made).hexdigest()
    return made


@pytest.mark.parametrize("n_threads", [1, 2, 7])
@pytest.mark.parametrize("rows_at_once", [0, 1, 4, 10**6])
def test_every_row_is_packed_once_and_in_order(
    rows_at_once: int, n_threads: int, source: Path, values: dict[str, np.ndarray]
) -> None:
    """Beside the packing of the gguf package, which is numpy."""
    expected = HEADER
    for tensor in PLAN:
        array = values[tensor.name]
        rows = array if tensor.new_type == "F32" else quantize(array, GGMLQuantizationType.Q8_0)
        expected += rows.tobytes() + bytes(-rows.nbytes % 32)
    heard: list[tuple[int, str]] = []
    buffer_bytes = rows_at_once * 64 * pack.BYTES_A_VALUE * n_threads
    assert packed(source, n_threads, buffer_bytes, lambda *told: heard.append(told)) == expected
    assert heard == list(enumerate(SHAPES, 1))


@pytest.mark.parametrize("matrix", [0, 1, 2])
def test_each_matrix_is_packed_by_its_own_weights(matrix: int, tmp_path: Path) -> None:
    """Where all weight lies on one column, that one is kept nearest."""
    values = np.random.default_rng(5).standard_normal((3, 8, 256), np.float32)
    weights = np.full((3, 256), 1e-6, np.float32)
    weights[matrix, 100] = 1.0

    def packed_by(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
        source, target = written(tmp_path / "source.gguf", {"experts": values}), tmp_path / "made"
        tensor = PlannedTensor("experts", values.shape[::-1], "F32", "Q2_K")
        with closing(GgufSource(source)) as opened:
            pack.write(opened, target, [tensor], {"experts": weights}, lambda: b"", 2, 1 << 20, lambda *_: None)
        return np.frombuffer(target.read_bytes(), np.uint8).reshape(len(values), -1)

    alone = values[matrix : matrix + 1]
    made = packed_by(weights.ravel(), values)[matrix]
    assert np.array_equal(made, packed_by(weights[matrix].copy(), alone)[0])
    assert not np.array_equal(made, packed_by(np.ones(256, np.float32), alone)[0])


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_no_number_is_named(name: str, values: dict[str, np.ndarray], tmp_path: Path) -> None:
    values[name].flat[-1] = np.nan
    with pytest.raises(QuantizeError, match=rf"source\.gguf: {name} holds what is no number"):
        packed(written(tmp_path / "source.gguf", values))


def test_what_a_type_cannot_hold_is_named(values: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Scales of Q8_0 are of 16 bits."""
    values["two"] *= 1e30
    with pytest.raises(QuantizeError, match="two has weights that Q8_0 cannot hold"):
        packed(written(tmp_path / "source.gguf", values))


def test_a_source_that_ends_early_is_told(source: Path) -> None:
    """ggml looks for the end when it opens a file; this one was cut since."""
    place = int(GGUFReader(source).tensors[-1].data_offset)

    def cut() -> bytes:
        os.truncate(source, place + 8)
        return HEADER

    with (
        closing(GgufSource(source)) as opened,
        pytest.raises(QuantizeError, match="same goes beyond the end of its file"),
    ):
        pack.write(opened, source.with_name("made"), PLAN, {}, cut, 2, 1, lambda *_: None)


def test_what_comes_in_parts_is_read_to_its_end(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel hands out no more than 2 GiB at once."""
    whole, pread = packed(source, buffer_bytes=1 << 20), os.pread
    monkeypatch.setattr(os, "pread", lambda file, n, place: pread(file, min(n, 100), place))
    assert packed(source, buffer_bytes=1 << 20) == whole


def test_a_source_that_cannot_be_read_is_told(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(QuantizeError, match="one cannot be read: Input/output error"):
        packed(source)


def test_what_a_source_holds_is_known(source: Path) -> None:
    """A hostile name may be read otherwise from llama.cpp's log than it stands in the file."""
    there = [(name, "F32", shape) for name, shape in SHAPES.items()]
    with closing(GgufSource(source)) as opened:
        assert opened.holds(there)
        assert not opened.holds(there[1:])
        assert not opened.holds([*there[1:], ("other", "F32", (64,))])
        assert not opened.holds([*there[1:], ("one", "F16", (64,))])
        assert not opened.holds([*there[1:], ("one", "F32", (65,))])
        for missing in (opened.header_of_result, lambda *_: opened.read("other", 0, 1)):
            with pytest.raises(QuantizeError, match="no tensor other"):
                missing([("other", "other", "Q8_0")], 7, [])


def test_a_target_that_cannot_be_written_is_an_error_of_the_system(source: Path) -> None:
    with closing(GgufSource(source)) as opened, pytest.raises(OSError, match="No space left"):
        pack.write(opened, Path("/dev/full"), PLAN, {}, lambda: HEADER, 2, 1, lambda *_: None)
