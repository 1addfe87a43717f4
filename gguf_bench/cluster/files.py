"""A GGUF file on a worker: found where the coordinator has it, fetched from the Hub, or received; always verified.

In this order: the same path, what was received before, the worker's own Hub cache and the Hub (with the worker's own
token), and at last the coordinator, which sends it in pieces. A file is used only when its size and sha256 are those of
the coordinator's; a hash is remembered until the file's size or time changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gguf_bench import hub
from gguf_bench.errors import HubError, ModelError
from gguf_bench.gguf_files import gguf_shards
from gguf_bench.paths import cache_folder, require_free_space, written_whole
from gguf_bench.progress import Progress
from gguf_bench.records import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """One file as the coordinator has it."""

    path: Path
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A GGUF with all its parts, and where it is in the Hub cache: (repo, commit, file), where it is there."""

    parts: tuple[FilePart, ...]
    on_hub: tuple[str, str, str] | None

    @property
    def received_paths(self) -> tuple[Path, ...]:
        """Where it lies when it was received: by content, in the cache, under its own names."""
        name = hashlib.sha256("\n".join(part.sha256 for part in self.parts).encode()).hexdigest()[:16]
        folder = cache_folder() / "gguf" / f"received-{name}"
        return tuple(folder / part.path.name for part in self.parts)


class Notes:
    """Hashes of files, remembered in the cache folder. As `hub.Hashes` has it."""

    def sha256(self, paths: Sequence[Path]) -> str:
        """The sha256 of the one file of `paths`."""
        (path,) = paths
        stat, note = path.stat(), _note(path)
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(note.read_text())
            if (known["size_bytes"], known["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns):
                return str(known["sha256"])
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.remember_sha256(path, sha256)
        return sha256

    def remember_sha256(self, path: Path, sha256: str) -> None:
        stat = path.stat()
        facts = {"size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256, "path": str(path)}
        with suppress(OSError), written_whole(_note(path)) as partial:  # a cache that cannot be written is no reason
            partial.write_text(json.dumps(facts))


NOTES = Notes()


def _note(path: Path) -> Path:
    return cache_folder() / "hashes" / f"{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:32]}.json"


def wanted(path: Path) -> Wanted:
    """The GGUF at `path`, as a worker has to find it. Reads it once. Raises ModelError, OSError."""
    parts = tuple(
        FilePart(path=shard.absolute(), size_bytes=shard.stat().st_size, sha256=NOTES.sha256([shard]))
        for shard in gguf_shards(path)
    )
    return Wanted(parts=parts, on_hub=_on_hub(parts[0].path))


def sha256_of(file: Wanted) -> str:
    """What the store calls it by."""
    hashes = [part.sha256 for part in file.parts]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _on_hub(path: Path) -> tuple[str, str, str] | None:
    """(repo, commit, file) of models--org--name/snapshots/COMMIT/file."""
    folder = hub.cache_folder()
    if not path.is_relative_to(folder):
        return None
    match path.relative_to(folder).parts:
        case (str(repo), "snapshots", str(commit), *names) if repo.startswith("models--") and names:
            return repo.removeprefix("models--").replace("--", "/", 1), commit, "/".join(names)
    return None


def found(file: Wanted, progress: Progress) -> tuple[Path, ...] | None:
    """The parts of `file` on this machine, verified; None where it has to be sent."""
    own = tuple(part.path for part in file.parts)
    for paths in (own, file.received_paths):
        if is_it(file, paths):
            return paths
    if file.on_hub is not None:
        repo, commit, name = file.on_hub
        try:
            pulled = hub.pull(
                ModelSpec(key=repo, name=repo, revision=commit, file=name),
                commit=commit,
                progress=progress,
                hashes=NOTES,
            )
        except HubError as error:
            progress.say(f"{error.message}; {name} is sent instead")
        else:
            if is_it(file, pulled.paths):
                return pulled.paths
    return None


def is_it(file: Wanted, paths: Sequence[Path]) -> bool:
    """Whether `paths` are the parts of `file`, byte for byte."""
    if len(paths) != len(file.parts):
        return False
    try:
        return all(
            path.is_file() and path.stat().st_size == part.size_bytes and NOTES.sha256([path]) == part.sha256
            for part, path in zip(file.parts, paths, strict=True)
        )
    except OSError:  # it may not be read here
        return False


def receive(part: FilePart, target: Path, pieces: Callable[[], Iterator[bytes]]) -> None:
    """Write `part` to `target` from `pieces`; it has its name only when it is whole and right.

    Raises DiskSpaceError before the first piece is taken, ModelError where something else arrived.
    """
    require_free_space(f"receiving {target.name}", target.parent, part.size_bytes)
    digest = hashlib.sha256()
    with written_whole(target) as partial:
        with partial.open("wb") as file:
            for piece in pieces():
                digest.update(piece)
                file.write(piece)
            n_bytes = file.tell()
        if (n_bytes, digest.hexdigest()) != (part.size_bytes, part.sha256):
            raise ModelError(
                f"{part.path} did not arrive as it is: {n_bytes} bytes with sha256 {digest.hexdigest()[:12]}…, "
                f"wanted {part.size_bytes} with {part.sha256[:12]}…",
                hint="run the same command again; if it stays so, the file or the network is damaged",
            )
    NOTES.remember_sha256(target, part.sha256)
