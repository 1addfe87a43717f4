"""A file's sha256 while it is written: the same as afterwards, or none."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gguf_bench.errors import QuantizeError
from gguf_bench.llama.hash_written import CHUNK_BYTES, LEAST_PRIORITY, HashWritten

HEADER = b"GGUF" + bytes(range(200))


def write(path: Path, sizes: list[int], header: bytes, pause_seconds: float = 0.0) -> None:
    """As llama.cpp does: room for the header, what comes behind it, and the header last."""
    with path.open("wb") as file:
        file.write(bytes(len(HEADER)))
        for number, size in enumerate(sizes):
            file.write(random.Random(number).randbytes(size))
            file.flush()
            time.sleep(pause_seconds)
        file.seek(0)
        file.write(header)


@pytest.mark.parametrize("sizes", [[], [1], [CHUNK_BYTES], [CHUNK_BYTES - 1, 2, 3 * CHUNK_BYTES + 7], [5] * 40])
def test_it_is_that_of_the_whole_file(sizes: list[int], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with HashWritten(path, lambda: HEADER, sum(sizes)) as hashed:
        write(path, sizes, HEADER, pause_seconds=0.005)
    assert hashed.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("header", [HEADER[:-1] + b"\0", HEADER[:10]])
def test_there_is_none_where_the_header_is_another(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with HashWritten(path, lambda: HEADER, 1000) as hashed:
        write(path, [1000], header)
    assert hashed.sha256 is None


@pytest.mark.parametrize("n_bytes", [999, 1001])
def test_there_is_none_where_the_file_is_shorter_or_longer(n_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with HashWritten(path, lambda: HEADER, 1000) as hashed:
        write(path, [n_bytes], HEADER)
    assert hashed.sha256 is None


def test_there_is_none_where_the_header_cannot_be_foretold(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise QuantizeError("no such tensor")

    path = tmp_path / "file"
    path.touch()
    with HashWritten(path, fail, 1000) as hashed:
        write(path, [1000], HEADER)
    assert hashed.sha256 is None


def test_an_error_of_the_writer_gets_through(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(OSError, match="full"), HashWritten(path, lambda: HEADER, 0) as hashed:
        raise OSError("full")
    assert hashed.sha256 is None


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_it_gives_way_to_who_writes(tmp_path: Path) -> None:
    path, before = tmp_path / "file", os.getpriority(os.PRIO_PROCESS, 0)
    others = {thread.native_id for thread in threading.enumerate()}
    path.touch()
    with HashWritten(path, lambda: HEADER, 1):
        time.sleep(0.1)
        (hashing,) = {thread.native_id for thread in threading.enumerate()} - others
        assert hashing is not None
        assert os.getpriority(os.PRIO_PROCESS, hashing) == LEAST_PRIORITY
        assert os.getpriority(os.PRIO_PROCESS, 0) == before
        write(path, [1], HEADER)


def test_there_is_none_where_it_could_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash of a beginning would be the file's name in the store for ever."""
    path, n_reads, read = tmp_path / "file", iter(range(99)), os.preadv

    def failing(fd: int, buffers: Any, place: int) -> int:
        if next(n_reads) == 2:
            raise OSError(errno.EIO, "Input/output error")
        return read(fd, buffers, place)

    monkeypatch.setattr(os, "preadv", failing)
    path.touch()
    with HashWritten(path, lambda: HEADER, 3 * CHUNK_BYTES) as hashed:
        write(path, [3 * CHUNK_BYTES], HEADER, pause_seconds=0.1)
    assert next(n_reads) > 2
    assert hashed.sha256 is None
