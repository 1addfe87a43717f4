"""Where files live (XDG folders), and how a file comes to exist: whole, or not at all."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path, user_config_path, user_data_path

from gguf_bench.errors import DiskSpaceError

APP = "gguf-bench"


def store_path() -> Path:
    """The results store: $GGUF_BENCH_DB, else results.db in the user's data folder."""
    chosen = os.environ.get("GGUF_BENCH_DB")
    return from_home(chosen) if chosen else user_data_path(APP) / "results.db"


def from_home(path: str | Path) -> Path:
    """`path`, a leading `~/` of it being the user's home; `~name/` is a folder's name like any other.

    Where no shell has expanded it: in a variable, in `--option=~/x`. Where there is no home it stays as it is.
    """
    if str(path).startswith("~/"):
        with suppress(RuntimeError):
            return Path(path).expanduser()
    return Path(path)


def config_folder() -> Path:
    """The folder of the user's own models.yaml."""
    return user_config_path(APP)


def cache_folder() -> Path:
    """The folder of what can be made again: converted and quantized files."""
    return user_cache_path(APP)


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; on success flush it to disk and rename it to `target`.

    When the block raises, or the process is interrupted, the partial file is removed. What `kill -9` leaves behind is
    removed by the next call for the same target: a partial file is locked for as long as its writer lives. So a file
    that has its name is whole.
    """
    with _partial(target, Path.touch) as partial:
        try:
            yield partial
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def folder_beside(target: Path) -> Iterator[Path]:
    """Yield a folder beside `target`, for what is needed until that is written; it goes with the block.

    One that `kill -9` leaves behind goes as a partial file does, which a folder of the system's for temporary files,
    whose name nobody knows any more, would not.
    """
    with _partial(target, Path.mkdir) as folder:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _partial(target: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Yield a new partial file or folder of `target`, which stays locked meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    held = None
    while held is None:
        partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
        make(partial)
        try:
            held = _locked(partial)
        except BaseException:
            _remove(partial)
            raise
    try:
        yield partial
    finally:
        os.close(held)


def _locked(partial: Path) -> int | None:
    """A descriptor of its lock; None where another writer of the same took it for a leftover before it was locked."""
    try:
        held = _opened_to_lock(partial)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        if partial.exists():
            return held
    except BaseException:
        os.close(held)
        raise
    os.close(held)
    return None


def _opened_to_lock(partial: Path) -> int:
    """The file itself, or one within the folder, open for writing: NFS locks nothing else."""
    if partial.is_dir():
        return os.open(partial / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    return os.open(partial, os.O_RDWR)


def _remove(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.unlink(missing_ok=True)


def remove_leftovers(target: Path) -> None:
    """Remove the partial files and folders of `target` whose writers are gone, the converters' own among them."""
    for leftover in target.parent.glob(f".{target.name}.*.partial"):
        with suppress(OSError):
            held = _opened_to_lock(leftover)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(leftover)
            finally:
                os.close(held)


def require_free_space(what: str, folder: Path, needed_bytes: int) -> None:
    """Raise DiskSpaceError unless the disk that holds (or will hold) `folder` has `needed_bytes` free."""
    require_room(what, [(folder, needed_bytes)])


def require_room(what: str, needs: Iterable[tuple[Path, int]]) -> None:
    """Raise DiskSpaceError unless every disk has room for the bytes that the folders on it need, taken together."""
    by_disk: dict[int, tuple[Path, int]] = {}
    for folder, needed_bytes in needs:
        disk = _existing(folder).stat().st_dev
        first, already = by_disk.get(disk, (folder, 0))
        by_disk[disk] = (first, already + needed_bytes)
    for folder, needed_bytes in by_disk.values():
        free_bytes = shutil.disk_usage(_existing(folder)).free
        if needed_bytes > free_bytes:
            raise DiskSpaceError(what, folder, needed_bytes, free_bytes)


def _existing(folder: Path) -> Path:
    """`folder`, or the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return folder
