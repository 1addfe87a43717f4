"""CONVERT: a checkpoint folder -> GGUF, by the `converters` package. The only caller of it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import converters
from gguf_bench.errors import CheckpointError
from gguf_bench.paths import cache_folder
from gguf_bench.progress import SILENT, Progress
from gguf_bench.records import Checkpoint


def _refused(error: converters.ConversionError) -> CheckpointError:
    unknown = isinstance(error, converters.UnknownArchitecture)
    return CheckpointError(str(error), hint="or try `gguf-bench convert --converter upstream`" if unknown else "")


def check(folder: Path) -> None:
    """Raise CheckpointError where config.json or the tokenizer in `folder` cannot be converted; reads no weights."""
    try:
        converters.check(folder)
    except converters.ConversionError as error:
        raise _refused(error) from error


def target_path(checkpoint: Checkpoint, outtype: str) -> Path:
    """Where `convert` puts its file when not told: in our cache, by repo and commit, or by a folder's content."""
    try:
        label = converters.resolve_outtype(checkpoint.folder, outtype).upper()
    except converters.ConversionError as error:
        raise _refused(error) from error
    if checkpoint.repo and checkpoint.commit:
        folder, name = checkpoint.repo.replace("/", "--"), checkpoint.repo.split("/")[-1]
        source = Path(folder) / checkpoint.commit[:12]
    else:
        name = checkpoint.folder.absolute().name
        source = Path(name) / _fingerprint(checkpoint.folder)
    # Named by version, because another version's bytes may be others.
    return cache_folder() / "gguf" / source / f"converted-{version('gguf-bench')}" / f"{name}-{label}.gguf"


def _fingerprint(folder: Path) -> str:
    """12 hex digits that change whenever a file in `folder` does (by name, size or time)."""
    facts = sorted(
        f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in folder.iterdir() if path.is_file()
    )
    return hashlib.sha256("\n".join([str(folder.resolve()), *facts]).encode()).hexdigest()[:12]


@contextmanager
def named_folder(checkpoint: Checkpoint) -> Iterator[Path]:
    """The checkpoint's folder under the name its repo has.

    The converter reads the model's name from its folder, and a snapshot in the Hub cache is called after its commit.
    """
    if checkpoint.repo is None:
        yield checkpoint.folder
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / checkpoint.repo.split("/")[-1]
        link.symlink_to(checkpoint.folder.absolute(), target_is_directory=True)
        yield link


def convert(checkpoint: Checkpoint, target: Path, outtype: str = "auto", *, progress: Progress = SILENT) -> Path:
    """Convert `checkpoint` to `target`, which is there whole or not at all; returns it.

    The bytes are those of llama.cpp's converter. Raises CheckpointError with the converter's reason.
    """
    bar = None
    done = 0

    def advance(bytes_done: int, bytes_total: int) -> None:
        nonlocal bar, done
        if bar is None:
            bar = progress.bar(f"convert {target.name}", bytes_total, "B")
        bar.advance(bytes_done - done)
        done = bytes_done

    try:
        with named_folder(checkpoint) as folder:
            return converters.convert(folder, target, outtype=outtype, progress=advance)
    except converters.ConversionError as error:
        raise _refused(error) from error
    except OSError as error:
        raise CheckpointError(f"{error.filename or target}: {error.strerror or error}") from error
    finally:
        if bar is not None:
            bar.close()
