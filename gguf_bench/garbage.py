"""GC: what lies in the caches and no score depends on.

A score depends on the file it was computed from, on what that was made of, down to the revision in the Hub cache, and
on the importance matrix: with these it can be computed again without fetching or making anything. Files of ours in the
cache folder, and revisions that this store knows to have been pulled, are all that is looked at; what a file outside of
them is for, nobody here knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gguf_bench import hub, provenance
from gguf_bench.errors import ModelError, StoreError
from gguf_bench.gguf_files import gguf_shards
from gguf_bench.paths import cache_folder, remove_leftovers
from gguf_bench.store import WHEN_THROUGH, Row, Store

FOLDERS = ("gguf", "imatrix")
"""Of our cache: where what takes room lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unneeded:
    """`what` says what it is: 'Hub revision', 'interrupted download', 'converted', 'quantized', ..."""

    what: str
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """What can be freed, largest first, and how much of ours this store does not know: another may have its scores."""

    files: Sequence[Path]
    revisions: Sequence[hub.CachedRevision]
    downloads: Sequence[hub.Interrupted]
    shown: Sequence[Unneeded]
    n_unknown: int
    unknown_bytes: int

    @property
    def size_bytes(self) -> int:
        return sum(one.size_bytes for one in self.shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What scores depend on: files by path and by content, and (repo, commit)."""

    paths: set[Path]
    hashes: set[str]
    revisions: set[tuple[str, str]]


def find(store: Store) -> Garbage:
    """What can be freed. Raises StoreError while a run is prepared or computed: what it makes has no scores yet."""
    if store.is_computing():
        running = [str(run["id"]) for run in store.runs() if run["status"] == "running"]
        what = f"run {', '.join(running)} is being computed" if running else "a comparison is being prepared or deleted"
        raise StoreError(what, hint=WHEN_THROUGH)
    return _found(store)


def _found(store: Store) -> Garbage:
    kept = _kept(store)
    known = store.rows("select path, iif(made_by = 'computed', quant, made_by) as what from artifacts")
    made = {Path(row["path"]): str(row["what"]) for row in known}
    hashed = {Path(row["path"]): str(row["sha256"]) for row in store.rows("select path, sha256 from file_hashes")}
    shards = {shard: made_by for path, made_by in made.items() for shard in _shards(path)}
    files, shown, n_unknown, unknown_bytes = [], [], 0, 0
    for path in _cached_files():
        size = path.stat().st_size
        if path in kept.paths or hashed.get(path) in kept.hashes:
            continue
        if path not in shards and path not in hashed:
            n_unknown, unknown_bytes = n_unknown + 1, unknown_bytes + size
            continue
        files.append(path)
        shown.append(Unneeded(what=shards.get(path, "importance matrix"), path=str(path), size_bytes=size))
    pulled = _pulled(store) - kept.revisions
    revisions = [one for one in hub.cached_revisions() if (one.repo, one.commit) in pulled]
    shown += [Unneeded(what="Hub revision", path=str(one.folder), size_bytes=one.size_bytes) for one in revisions]
    downloads = hub.interrupted_downloads()
    shown += [Unneeded(what="interrupted download", path=str(one.path), size_bytes=one.size_bytes) for one in downloads]
    return Garbage(
        files=files,
        revisions=revisions,
        downloads=downloads,
        shown=sorted(shown, key=lambda one: (-one.size_bytes, one.path)),
        n_unknown=n_unknown,
        unknown_bytes=unknown_bytes,
    )


def free(garbage: Garbage, store: Store) -> int:
    """Delete what of it can still be freed, and return how many bytes that were; no comparison begins meanwhile.

    A repo of which a revision goes is no longer locked at it: the next pull takes its branch's newest. Raises
    StoreError while a run is prepared or computed, HubError, OSError where something cannot be deleted; what was
    deleted before that is.
    """
    with store.no_run_lock():
        still = _found(store)
        was_shown = {one.path for one in garbage.shown}
        revisions = [one for one in still.revisions if str(one.folder) in was_shown]
        for path in still.files:
            if str(path) in was_shown:
                _delete(path)
        hub.free(revisions, [one for one in still.downloads if str(one.path) in was_shown])
        for revision in revisions:
            store.unlock_commit(revision.repo, revision.commit)
    return sum(one.size_bytes for one in still.shown if one.path in was_shown)


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    remove_leftovers(path)
    for folder in path.parents:
        if folder == cache_folder():
            break
        with suppress(OSError):  # other files are in it
            folder.rmdir()


def _kept(store: Store) -> _Kept:
    """By every contender that has answers, or may yet get some."""
    found = store.rows(
        "select file_sha256, adapter_sha256 from contenders where status <> 'failed'"
        " or exists (select 1 from answers where contender_id = contenders.id)"
    )
    kept = _Kept(paths=set(), hashes=set(), revisions=set())
    for sha256 in {sha256 for row in found for sha256 in row.values() if sha256 is not None}:
        row = store.artifact(sha256)
        for step in provenance.rows(row, store) if row is not None else ():
            kept.hashes.add(step["sha256"])
            kept.paths.update(_shards(Path(step["path"])))
            kept.revisions.add((step["source_repo"], step["source_commit"]))
            made_with = json.loads(step["made_with"])
            kept.revisions.add((made_with.get("base"), made_with.get("base_commit")))
            if imatrix := (made_with.get("options") or {}).get("imatrix"):
                kept.paths.add(Path(imatrix))
    return kept


def _shards(path: Path) -> tuple[Path, ...]:
    try:
        return gguf_shards(path)
    except ModelError:  # a part is gone
        return (path,)


def _cached_files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from sorted(path for path in (cache_folder() / folder).rglob("*.gguf") if path.is_file())


def _pulled(store: Store) -> set[tuple[str, str]]:
    rows: list[Row] = store.rows(
        "select repo, commit_sha from locks union"
        " select source_repo, source_commit from artifacts where source_commit is not null"
    )
    return {(row["repo"], row["commit_sha"]) for row in rows}
