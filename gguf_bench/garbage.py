"""GC: what lies in the caches and no score depends on.

A score depends on the file it was computed from, on what that was made of, down to the revision in the Hub cache, and
on the importance matrix: with these it can be computed again without fetching or making anything. Files of ours in the
cache folder, and revisions that this store knows to have been pulled, are all that is looked at; what a file outside of
them is for, nobody here knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gguf_bench import hub, provenance
from gguf_bench.errors import ModelError, StoreError
from gguf_bench.gguf_files import gguf_shards
from gguf_bench.paths import cache_folder, remove_leftovers
from gguf_bench.store import FILES_IN_USE, WHEN_THROUGH, Row, Store, joint_sha256

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
    """What scores depend on: files wherever they lie, and (repo, commit)."""

    paths: set[Path]
    revisions: set[tuple[str, str]]


def find(store: Store) -> Garbage:
    """What can be freed. Raises StoreError while anybody makes or runs files: what they make has no scores yet."""
    if store.is_computing():
        running = [str(run["id"]) for run in store.runs() if run["status"] == "running"]
        what = f"run {', '.join(running)} is being computed" if running else FILES_IN_USE
        raise StoreError(what, hint=WHEN_THROUGH)
    return _found(store)


def _found(store: Store) -> Garbage:
    known = store.rows("select sha256, path, iif(made_by = 'computed', quant, made_by) as what from artifacts")
    made = {str(row["sha256"]): str(row["what"]) for row in known}
    places = _places(store)
    kept = _kept(store, places)
    shards = {shard: str(row["what"]) for row in known for shard in _shards(Path(row["path"]))}
    shards |= {path: made[sha256] for path, sha256 in places.items() if sha256 in made}
    files, shown, n_unknown, unknown_bytes = [], [], 0, 0
    for path in _cached_files():
        size = path.stat().st_size
        if path in kept.paths:
            continue
        if path not in shards and path not in places:
            n_unknown, unknown_bytes = n_unknown + 1, unknown_bytes + size
            continue
        files.append(path)
        shown.append(Unneeded(what=shards.get(path, "importance matrix"), path=str(path), size_bytes=size))
    pulled = _pulled(store) - kept.revisions
    lie_in = {folder for path in kept.paths for folder in (path.parent.resolve() / path.name).parents}
    revisions = hub.cached_revisions(lambda one: (one.repo, one.commit) in pulled and one.folder not in lie_in)
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
    """Delete what of it can still be freed, and return how many bytes that were; nobody makes or runs files meanwhile.

    A repo of which a revision goes is no longer locked at it: the next pull takes its branch's newest. Raises
    StoreError while anybody makes or runs files, HubError, OSError where something cannot be deleted; what was
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


def _places(store: Store) -> dict[Path, str]:
    """Every file that was read, and the sha256 by which it is known: that of all its parts, where it has several."""
    hashed = {Path(row["path"]): str(row["sha256"]) for row in store.rows("select path, sha256 from file_hashes")}
    places = dict(hashed)
    for path in hashed:
        parts = _shards(path)
        if len(parts) > 1 and hashed.keys() >= set(parts):
            places |= dict.fromkeys(parts, joint_sha256([hashed[part] for part in parts]))
    return places


def _kept(store: Store, places: Mapping[Path, str]) -> _Kept:
    """By every contender that has answers, or may yet get some.

    The store has one history of a file, and where it was last; a copy of it may be what was compared. So it stays
    wherever it lies, and so does what its repos are locked at: other revisions of them may give the same bytes.
    """
    found = store.rows(
        "select file_sha256, adapter_sha256 from contenders where status <> 'failed'"
        " or exists (select 1 from answers where contender_id = contenders.id)"
    )
    kept, hashes = _Kept(paths=set(), revisions=set()), set()
    for sha256 in {sha256 for row in found for sha256 in row.values() if sha256 is not None}:
        row = store.artifact(sha256)
        for step in provenance.rows(row, store) if row is not None else ():
            hashes.add(step["sha256"])
            kept.paths.update(_shards(Path(step["path"])))
            kept.revisions.add((step["source_repo"], step["source_commit"]))
            made_with = json.loads(step["made_with"])
            kept.revisions.add((made_with.get("base"), made_with.get("base_commit")))
            if imatrix := (made_with.get("options") or {}).get("imatrix"):
                kept.paths.add(Path(imatrix))
    kept.paths.update(path for path, sha256 in places.items() if sha256 in hashes)
    repos = {repo for repo, _ in kept.revisions}
    locked = store.rows("select repo, commit_sha from locks")
    kept.revisions.update((row["repo"], row["commit_sha"]) for row in locked if row["repo"] in repos)
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
