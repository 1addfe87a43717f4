"""PULL itself: what a model needs of a repo at one commit, and fetching it, weights last."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gguf_bench.errors import HubError
from gguf_bench.hub.access import cache_folder
from gguf_bench.hub.ready import ready_made
from gguf_bench.hub.repo import Found, Hashes, HubAway, Repo
from gguf_bench.hub_files import TOKENIZERS, Kind, NothingToConvert, RemoteFile, RepoFacts, choose, matches
from gguf_bench.paths import require_free_space
from gguf_bench.progress import SILENT, Progress, SilentBar
from gguf_bench.quants import DEFAULT_QUANT
from gguf_bench.records import ModelSpec


@dataclass(frozen=True)
class PullPlan:
    """What a pull fetches: `files` of `repo` at `commit` (40 hex), weights last.

    `total_bytes` is the size of all of them, `missing_bytes` what is still to be downloaded.
    """

    repo: str
    commit: str
    kind: Kind
    files: tuple[RemoteFile, ...]
    total_bytes: int
    missing_bytes: int

    @property
    def weights_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files if file.is_weights)


@dataclass(frozen=True)
class Pulled:
    """`folder` is the snapshot in the Hub cache, `paths` the files of `plan` in it, in the plan's order."""

    plan: PullPlan
    folder: Path
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Preview:
    """What is known before gigabytes are fetched: `folder` holds configuration and tokenizer, no weights."""

    plan: PullPlan
    facts: RepoFacts
    folder: Path


def look(spec: ModelSpec, *, progress: Progress = SILENT) -> Found:
    """What the Hub says of the repo: one request, and nothing is fetched. Raises HubError and its kinds."""
    repo = Repo(spec, progress=progress)
    with repo.errors():
        return repo.ask()


def preview(spec: ModelSpec, *, commit: str | None = None, progress: Progress = SILENT) -> Preview:
    """All but the weights: what a pull would fetch, whether that is allowed, and what the conversion reads first.

    It is never of the cache alone: raises HubAway where the Hub cannot be asked, HubError and its other kinds.
    """
    repo = Repo(spec, commit, progress)
    with repo.errors():
        found = repo.ask()
        if found.facts.gated:
            repo.require_access()
        kind, files = _chosen(repo, spec, found)
        early = [file for file in files if not file.is_weights]
        require_free_space(f"looking at {repo.name}", cache_folder(), sum(file.size_bytes for file in early))
        for file in early:
            repo.fetch(file, found.commit)
    return Preview(_planned(repo, found.commit, kind, files), found.facts, repo.snapshot(found.commit))


def plan(spec: ModelSpec, *, commit: str | None = None, progress: Progress = SILENT) -> PullPlan:
    """Look up what pulling `spec` would fetch: its revision (or the default branch) locked to a commit, and the files.

    With `commit`, that commit, and where the revision has moved on, that is said. Nothing is downloaded but the shard
    index of sharded weights, which says what the shards are. Offline, or when the Hub cannot be reached, or gives
    `commit` no more, the plan is of what the cache holds, if that is whole. Raises HubError and its kinds.
    """
    return _plan(Repo(spec, commit, progress), spec)


def pull(
    spec: ModelSpec,
    *,
    commit: str | None = None,
    progress: Progress = SILENT,
    check: Callable[[Path, PullPlan], None] | None = None,
    hashes: Hashes | None = None,
) -> Pulled:
    """Fetch what `plan` says into the Hub cache, where it is used in place; what is there already is not fetched.

    Configuration and tokenizer come first; then `check` is called with the folder and the plan, and may raise to stop
    before the weights are fetched. An interrupted pull resumes in the middle of the file. Everything is held against
    the Hub's hashes, what was there before, too: `hashes` remembers those of large files.
    Raises DiskSpaceError before anything is fetched, HubError and its kinds.
    """
    repo = Repo(spec, commit, progress, hashes)
    planned = _plan(repo, spec)
    require_free_space(f"pulling {repo.name}", cache_folder(), planned.missing_bytes)
    folder = repo.snapshot(planned.commit)
    early = [file for file in planned.files if not file.is_weights]
    weights = [file for file in planned.files if file.is_weights]
    bar = progress.bar(f"pull {repo.name}", planned.missing_bytes, "B") if planned.missing_bytes else SilentBar()
    try:
        with repo.errors():
            for file in early:
                repo.fetch(file, planned.commit, bar)
        if check is not None:
            check(folder, planned)
        with repo.errors():
            for file in weights:
                repo.fetch(file, planned.commit, bar)
    finally:
        bar.close()
    repo.remember_revision(planned.commit)
    return Pulled(planned, folder, tuple(folder / file.path for file in planned.files))


def _plan(repo: Repo, spec: ModelSpec) -> PullPlan:
    try:
        with repo.errors():
            found = repo.ask()
            return _planned(repo, found.commit, *_chosen(repo, spec, found))
    except HubAway as away:
        commit, kind, files = _cached_choice(repo, spec, away)
        repo.progress.say(f"{away.message}; using {repo.name}@{commit[:7]} from the cache")
    except HubError as refused:
        # What was pulled once and has scores can be used again, though its owner has taken it from the Hub since.
        cached = _cached(repo, spec) if repo.locked else None
        if cached is None:
            raise
        commit, kind, files = cached
        repo.progress.say(f"{refused.message}; using {repo.name}@{commit[:7]} from the cache")
    return _planned(repo, commit, kind, files)


def _chosen(repo: Repo, spec: ModelSpec, found: Found) -> tuple[Kind, tuple[RemoteFile, ...]]:
    try:
        return choose(spec, repo.name, found.listing, lambda file: repo.fetch(file, found.commit).read_bytes())
    except NothingToConvert as error:
        raise HubError(error.message, hint=way_out(spec)) from error


def way_out(spec: ModelSpec, otherwise: str = "") -> str:
    """What to do about a repo of which no GGUF can be made: a ready-made one that the Hub lists, and `otherwise`."""
    ready = ready_made(str(spec.name), spec.quantization or DEFAULT_QUANT)
    found = f"the Hub lists it ready-made: use {ready}" if ready else ""
    return "; ".join(part for part in (found, otherwise) if part)


def _planned(repo: Repo, commit: str, kind: Kind, files: tuple[RemoteFile, ...]) -> PullPlan:
    return PullPlan(
        repo=repo.name,
        commit=commit,
        kind=kind,
        files=files,
        total_bytes=sum(file.size_bytes for file in files),
        # By etag: files with the same content are downloaded once.
        missing_bytes=sum({file.etag: repo.missing_bytes(file, commit) for file in files}.values()),
    )


def _cached_choice(repo: Repo, spec: ModelSpec, away: HubAway) -> tuple[str, Kind, tuple[RemoteFile, ...]]:
    """What `_cached` finds; raises HubError, saying why the Hub was not asked, when that is not whole."""
    if found := _cached(repo, spec):
        return found
    what = f"{repo.name}@{repo.revision or 'main'}"
    raise HubError(
        f"{away.message}, and {what} is not in the cache {cache_folder()}, or not all of it",
        hint=away.hint,
    ) from away


def _cached(repo: Repo, spec: ModelSpec) -> tuple[str, Kind, tuple[RemoteFile, ...]] | None:
    """Commit, kind and files from what the cache holds, None when that is not whole.

    A shard that its index names must be there. Weights are fetched last, so where they are, the rest is.
    """
    commit = repo.cached_commit()
    if commit is None:
        return None
    listing = repo.cached_listing(commit)
    with suppress(HubError):  # it says that something is not in the repo, when it is only not in the cache
        kind, files = choose(spec, repo.name, listing, lambda file: repo.pointer(file, commit).read_bytes())
        if kind == "gguf" or "adapter_config.json" in listing or any(matches(path, TOKENIZERS) for path in listing):
            return commit, kind, files
    return None
