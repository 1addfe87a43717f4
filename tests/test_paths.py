"""A file that has its name is whole, whoever else writes it and however its writer ends."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

import converters.gguf_file
from gguf_bench import paths
from gguf_bench.cli.state import State
from gguf_bench.errors import DiskSpaceError

WRITERS = {"gguf_bench.paths": paths.written_whole, "converters.gguf_file": converters.gguf_file.written_whole}


@pytest.mark.parametrize("module", WRITERS)
def test_what_fails_leaves_nothing(tmp_path: Path, module: str) -> None:
    target = tmp_path / "new" / "x.gguf"

    def interrupted() -> None:
        with WRITERS[module](target) as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("module", WRITERS)
def test_an_earlier_file_stays_until_the_new_one_is_whole(tmp_path: Path, module: str) -> None:
    target = tmp_path / "x.gguf"
    target.write_bytes(b"earlier")
    with WRITERS[module](target) as partial:
        partial.write_bytes(b"new")
        assert target.read_bytes() == b"earlier"
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("module", WRITERS)
def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path: Path, module: str) -> None:
    target = tmp_path / "x.gguf"
    script = (
        f"import sys, time, pathlib; from {module} import written_whole\n"
        "with written_whole(pathlib.Path(sys.argv[1])) as partial:\n"
        "    partial.write_bytes(b'half'); print('writing', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    paths.remove_leftovers(target)
    assert len(list(tmp_path.iterdir())) == 1, "a living writer keeps its file"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with WRITERS[module](target) as partial:
        partial.write_bytes(b"whole")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("module", WRITERS)
def test_two_writers_of_one_file_do_not_meet(tmp_path: Path, module: str) -> None:
    target, both = tmp_path / "x.gguf", threading.Barrier(2)

    def write(content: bytes) -> None:
        with WRITERS[module](target) as partial:
            both.wait(timeout=10)
            partial.write_bytes(content)
            both.wait(timeout=10)

    threads = [threading.Thread(target=write, args=(content,)) for content in (b"a" * 1000, b"b" * 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() in (b"a" * 1000, b"b" * 1000)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("module", WRITERS)
def test_a_partial_file_that_is_taken_for_a_leftover_before_it_is_locked_is_made_anew(
    tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, lock, n_locks = tmp_path / "x.gguf", fcntl.flock, 0

    def late(file: Any, how: int) -> None:
        nonlocal n_locks
        n_locks += 1
        if n_locks == 1:
            paths.remove_leftovers(target)  # by a second writer, which begins at that moment
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with WRITERS[module](target) as partial:
        partial.write_bytes(b"whole")
    assert n_locks > 2
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_beside_a_file_goes_with_its_block_or_with_its_killed_owner(tmp_path: Path) -> None:
    target = tmp_path / "x.gguf"
    with paths.folder_beside(target) as folder:
        (folder / "link").symlink_to(tmp_path)
        paths.remove_leftovers(target)
        assert (folder / "link").exists(), "a living owner keeps its folder"
    assert list(tmp_path.iterdir()) == []
    script = (
        "import sys, os, pathlib; from gguf_bench.paths import folder_beside\n"
        "with folder_beside(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'link').symlink_to(folder.parent); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with paths.written_whole(target) as partial:
        partial.write_bytes(b"whole")
    assert list(tmp_path.iterdir()) == [target]


def test_too_little_space_is_said_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(DiskSpaceError, match=r"x\.gguf needs 1000000000\.00 GB, but only .* are free"):
        paths.require_free_space("x.gguf", tmp_path / "not" / "there", 10**18)
    paths.require_free_space("x.gguf", tmp_path / "not" / "there", 1)


def test_only_the_users_own_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.from_home("~/x") == paths.from_home(Path("~/x")) == tmp_path / "x"
    for text in ("~nouser/x", "~root/x", "~", "a/~/x", "/x"):
        assert paths.from_home(text) == Path(text)
    assert State(db=Path("~/x"), models_file=None, verbose=False).store_path == tmp_path / "x"
    assert State(db=Path("~nouser/x"), models_file=None, verbose=False).store_path == Path("~nouser/x")
    for value, expanded in (("~/x", tmp_path / "x"), ("~nouser/x", Path("~nouser/x"))):
        monkeypatch.setenv("GGUF_BENCH_DB", value)
        assert paths.store_path() == expanded


def test_without_a_home_a_path_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert paths.from_home("~/x") == Path("~/x")


@pytest.mark.parametrize("way", [*WRITERS.values(), paths.folder_beside])
def test_what_is_locked_is_open_for_writing(
    way: Callable[[Path], AbstractContextManager[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS, where home folders of clusters are, refuses an exclusive lock of anything else (flock(2))."""

    def as_on_nfs(held: int, operation: int, lock: Any = fcntl.flock) -> None:
        if fcntl.fcntl(held, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        lock(held, operation)

    monkeypatch.setattr(fcntl, "flock", as_on_nfs)
    target = tmp_path / "x.gguf"
    left = tmp_path / ".x.gguf.0000.partial"
    left.mkdir() if way is paths.folder_beside else left.touch()
    with way(target) as partial:
        assert not left.exists()
        assert partial.exists()
    assert list(tmp_path.glob(".*")) == []


def test_a_lock_that_is_refused_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(held: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    for way in (paths.written_whole, paths.folder_beside):
        with pytest.raises(OSError, match="No locks"), way(tmp_path / "x.gguf"):
            raise AssertionError("never here")
    assert list(tmp_path.iterdir()) == []
