"""What of the Hub cache can be freed: revisions of repos, and downloads that were broken off."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import Timeout
from huggingface_hub import CachedRepoInfo, DeleteCacheStrategy, HFCacheInfo, scan_cache_dir
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined] # exported lazily

from gguf_bench.errors import HubError
from gguf_bench.hub.access import cache_folder

PARTIAL = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64})\.incomplete")
"""A download of ours: huggingface_hub's own have more in their names, and cannot be resumed."""

LOCK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedRevision:
    """A repo at one commit in the cache. `size_bytes` is what there is more room by when it goes."""

    repo: str
    commit: str
    folder: Path
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """What came of a file before its download was broken off."""

    path: Path
    size_bytes: int


def cached_revisions(is_wanted: Callable[[CachedRevision], bool] = lambda revision: True) -> list[CachedRevision]:
    """Every wanted revision of a model's repo in the cache, by name, but of no repo that is being fetched into.

    The size of one is reckoned as if those before it had gone: what several share is counted at the last of them, and
    what one shares with a revision that stays is not. `is_wanted` gets to see no size.
    """
    scan, found = _scanned(), []
    for repo in sorted(_repos(scan), key=lambda repo: repo.repo_id):
        gone: list[str] = []
        size = 0
        for revision in sorted(repo.revisions, key=lambda revision: revision.commit_hash):
            commit, folder = revision.commit_hash, revision.snapshot_path
            one = CachedRevision(repo=repo.repo_id, commit=commit, folder=folder, size_bytes=0)
            if is_wanted(one):
                gone.append(commit)
                before, size = size, _deletion(scan, repo, gone).expected_freed_size
                found.append(replace(one, size_bytes=size - before))
    return found


def interrupted_downloads() -> list[Interrupted]:
    """Downloads of ours that nobody goes on with at this moment."""
    found = [Interrupted(path=file.file_path, size_bytes=file.size_on_disk) for file in _scanned().incomplete_files]
    return sorted((one for one in found if _is_idle(one.path)), key=lambda one: one.path)


def free(revisions: Collection[CachedRevision], downloads: Sequence[Interrupted]) -> None:
    """Delete revisions, with the files that no other revision has, and what came of downloads.

    Raises HubError where something of it is still there afterwards.
    """
    for download in downloads:
        if _is_idle(download.path):
            download.path.unlink(missing_ok=True)
    scan = _scanned()
    for repo in _repos(scan):
        if commits := [revision.commit for revision in revisions if revision.repo == repo.repo_id]:
            _deletion(scan, repo, commits).execute()
    if left := [str(revision.folder) for revision in revisions if revision.folder.exists()]:
        raise HubError(f"{', '.join(left)} could not be deleted", hint="is it yours? see its owner and mode")


def _scanned() -> HFCacheInfo:
    folder = cache_folder()
    if not folder.is_dir():
        return HFCacheInfo(size_on_disk=0, repos=frozenset(), incomplete_files=frozenset(), warnings=[])
    return scan_cache_dir(folder)


def _repos(scan: HFCacheInfo) -> list[CachedRepoInfo]:
    """Of models, and not being fetched into: a download would go with the last revision of its repo."""
    busy = {file.file_path.parent.parent for file in scan.incomplete_files if _is_held(file.file_path)}
    return [repo for repo in scan.repos if repo.repo_type == "model" and repo.repo_path not in busy]


def _deletion(scan: HFCacheInfo, repo: CachedRepoInfo, commits: Sequence[str]) -> DeleteCacheStrategy:
    """Of these revisions of this repo: of several repos that have a commit, huggingface_hub takes the first it sees."""
    return replace(scan, repos=frozenset({repo})).delete_revisions(*commits)


def _is_idle(partial: Path) -> bool:
    """Whether `partial` is of our naming, and no process holds the lock under which it is written."""
    return PARTIAL.fullmatch(partial.name) is not None and not _is_held(partial) and partial.exists()


def _is_held(partial: Path) -> bool:
    """Whether a process holds the lock under which `partial` is written, by us or by huggingface_hub, or may do so."""
    lock = cache_folder() / ".locks" / partial.parent.parent.name / f"{partial.name.partition('.')[0]}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock, timeout=LOCK_SECONDS):
            return False
    except (Timeout, OSError):
        return True
