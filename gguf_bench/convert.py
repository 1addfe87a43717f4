"""CONVERT: a checkpoint folder -> GGUF, by the `converters` package. The only caller of it.

It is imported where it is called: with its tokenizers it takes as long to import as everything else, and whoever names
a GGUF needs none of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from gguf_bench.errors import AdapterFound, CheckpointError, if_full
from gguf_bench.paths import cache_folder, folder_beside
from gguf_bench.progress import SILENT, Progress, Reached
from gguf_bench.records import Checkpoint

if TYPE_CHECKING:
    import converters


def _refused(error: converters.ConversionError) -> CheckpointError:
    import converters

    if isinstance(error, converters.UnknownArchitecture):
        return CheckpointError(str(error), hint="or try `gguf-bench convert MODEL --converter upstream -o FILE`")
    return CheckpointError(str(error), hint=if_full(error.__cause__))


def is_adapter(folder: Path) -> bool:
    """Whether `folder` holds a LoRA adapter and no model of its own."""
    return (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()


def adapter_base(folder: Path) -> str | None:
    """The Hub id or folder of the model that the adapter in `folder` says it was trained on."""
    import converters

    try:
        return converters.lora_base(folder)
    except converters.ConversionError as error:
        raise _refused(error) from error


def check_adapter(folder: Path) -> None:
    """Raise CheckpointError where adapter_config.json in `folder` asks for what a GGUF adapter cannot do."""
    import converters

    try:
        converters.check_lora(folder)
    except converters.ConversionError as error:
        raise _refused(error) from error


def check(folder: Path) -> None:
    """Raise CheckpointError where config.json or the tokenizer in `folder` cannot be converted; reads no weights."""
    import converters

    if is_adapter(folder):
        raise AdapterFound(adapter_base(folder))
    try:
        converters.check(folder)
    except converters.ConversionError as error:
        raise _refused(error) from error


def context_train(folder: Path) -> int:
    """The context that the checkpoint in `folder` was trained for. Raises CheckpointError as `check` does."""
    import converters

    try:
        return converters.inspect_checkpoint(folder).context_train
    except converters.ConversionError as error:
        raise _refused(error) from error


def target_path(checkpoint: Checkpoint, outtype: str) -> Path:
    """Where `convert` puts its file when not told: in our cache, by repo and commit, or by a folder's content."""
    import converters

    try:
        label = converters.resolve_outtype(checkpoint.folder, outtype).upper()
    except converters.ConversionError as error:
        raise _refused(error) from error
    return _target(checkpoint, _source(checkpoint), label)


def adapter_target_path(adapter: Checkpoint, base: Checkpoint, outtype: str) -> Path:
    """Where `convert_adapter` puts its file when not told: as `target_path`, and by the base."""
    on_base = "on-" + "-".join(_source(base).parts)
    return _target(adapter, _source(adapter) / on_base, outtype.upper())


def _source(checkpoint: Checkpoint) -> Path:
    """Folders that stand for what the checkpoint holds."""
    if checkpoint.repo and checkpoint.commit:
        return Path(checkpoint.repo.replace("/", "--")) / checkpoint.commit[:12]
    return Path(checkpoint.folder.absolute().name) / _fingerprint(checkpoint.folder)


def _target(checkpoint: Checkpoint, source: Path, label: str) -> Path:
    name = checkpoint.repo.split("/")[-1] if checkpoint.repo else checkpoint.folder.absolute().name
    # Named by version, because another version's bytes may be others.
    return cache_folder() / "gguf" / source / f"converted-{version('gguf-bench')}" / f"{name}-{label}.gguf"


def _fingerprint(folder: Path) -> str:
    """12 hex digits that change whenever a file in `folder` does (by name, size or time)."""
    facts = sorted(
        f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in folder.iterdir() if path.is_file()
    )
    return hashlib.sha256("\n".join([str(folder.resolve()), *facts]).encode()).hexdigest()[:12]


@contextmanager
def named_folder(checkpoint: Checkpoint, target: Path) -> Iterator[Path]:
    """The checkpoint's folder under the name its repo has, while `target` is made of it.

    The converter reads the model's name from its folder, and a snapshot in the Hub cache is called after its commit.
    """
    if checkpoint.repo is None:
        yield checkpoint.folder
        return
    with folder_beside(target) as folder:
        link = folder / checkpoint.repo.split("/")[-1]
        link.symlink_to(checkpoint.folder.absolute(), target_is_directory=True)
        yield link


def convert(checkpoint: Checkpoint, target: Path, outtype: str = "auto", *, progress: Progress = SILENT) -> Path:
    """Convert `checkpoint` to `target`, which is there whole or not at all; returns it.

    The bytes are those of llama.cpp's converter. Raises CheckpointError with the converter's reason.
    """
    import converters

    with _told(target, progress) as advance, named_folder(checkpoint, target) as folder:
        return converters.convert(folder, target, outtype=outtype, progress=advance, warn=progress.say)


def convert_adapter(
    adapter: Checkpoint, base: Checkpoint, target: Path, outtype: str, *, progress: Progress = SILENT
) -> Path:
    """Convert a LoRA adapter of `base`, of which config.json is read, to `target`; otherwise as `convert`."""
    import converters

    with _told(target, progress) as advance, named_folder(adapter, target) as folder:
        return converters.convert_lora(
            folder, base.folder, target, outtype=outtype, progress=advance, warn=progress.say
        )


@contextmanager
def _told(target: Path, progress: Progress) -> Iterator[Callable[[int, int], None]]:
    """What is to hear (bytes done, bytes in all), and shows a bar; what fails within is raised as CheckpointError."""
    import converters

    bar = None

    def advance(bytes_done: int, bytes_total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = Reached(progress.bar(f"convert {target.name}", bytes_total, "B"))
        bar.at(bytes_done)

    try:
        yield advance
    except converters.ConversionError as error:
        raise _refused(error) from error
    except OSError as error:
        raise CheckpointError(f"{error.filename or target}: {error.strerror or error}", hint=if_full(error)) from error
    finally:
        if bar is not None:
            bar.close()
