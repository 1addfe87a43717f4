"""PULL: a Hub repo at one commit -> files in the Hub cache. The only module that imports huggingface_hub.

The cache is huggingface_hub's own, used in place: blobs by etag, snapshots of symlinks by commit, its locks. What
it has been given by other tools is not fetched again, and they find what was pulled here.

The bytes are fetched by our own loop through huggingface_hub's HTTP session, because `hf_hub_download` (2.4) writes
each try to a new temporary file and deletes it on failure, so an interrupted shard starts from nothing. Here they go
to `blobs/<etag>.incomplete`, under huggingface_hub's lock, and the next run asks for the rest. A file gets its name
only after its hash was checked against the Hub's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, constants, get_session, get_token, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    OIDCError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined] # exported lazily

from gguf_bench import hub_token
from gguf_bench.errors import GgufBenchError, HubError, LicenceNotAccepted, RepoNotFound, TokenMissing
from gguf_bench.hub_files import TOKENIZERS, Kind, Listing, RemoteFile, choose, listing_of, matches
from gguf_bench.hub_token import FoundToken
from gguf_bench.paths import require_free_space, written_whole
from gguf_bench.progress import SILENT, Bar, Progress, SilentBar
from gguf_bench.records import ModelSpec

Result = TypeVar("Result")

ATTEMPTS = 5
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
"""A server that asks for a longer wait is not waited for: the user is told, and pulling again resumes."""

RETRIED_STATUSES = (408, 429, 500, 502, 503, 504)
CHUNK_BYTES = 1 << 20

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


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


@dataclass(frozen=True)
class Pulled:
    """`folder` is the snapshot in the Hub cache, `paths` the files of `plan` in it, in the plan's order."""

    plan: PullPlan
    folder: Path
    paths: tuple[Path, ...]


def plan(spec: ModelSpec, *, commit: str | None = None, progress: Progress = SILENT) -> PullPlan:
    """Look up what pulling `spec` would fetch: its revision (or the default branch) locked to a commit, and the files.

    With `commit`, that commit. Nothing is downloaded but the shard index of sharded weights, which says what the
    shards are. Offline, or when the Hub cannot be reached, the plan is of what the cache holds, if that is whole.
    Raises HubError and its kinds.
    """
    return _plan(_Repo(spec, commit, progress), spec)


def pull(
    spec: ModelSpec,
    *,
    commit: str | None = None,
    progress: Progress = SILENT,
    check: Callable[[Path], None] | None = None,
) -> Pulled:
    """Fetch what `plan` says into the Hub cache, where it is used in place; what is there already is not fetched.

    Configuration and tokenizer come first; then `check` is called with the folder, and may raise to stop before
    the weights are fetched. An interrupted pull resumes in the middle of the file.
    Raises DiskSpaceError before anything is fetched, HubError and its kinds.
    """
    repo = _Repo(spec, commit, progress)
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
            check(folder)
        with repo.errors():
            for file in weights:
                repo.fetch(file, planned.commit, bar)
    finally:
        bar.close()
    repo.remember_revision(planned.commit)
    return Pulled(planned, folder, tuple(folder / file.path for file in planned.files))


def cache_folder() -> Path:
    """The Hub cache: $HF_HUB_CACHE, or $HF_HOME/hub, as huggingface_hub has it."""
    return Path(constants.HF_HUB_CACHE)


def find_token() -> FoundToken | None:
    """The token by the order in `hub_token`, the login cache of huggingface_hub last; None when there is none.

    Raises HubError when what was found cannot be read or cannot be a token.
    """
    token = hub_token.named_token()
    if token is not None:
        return token
    try:
        return hub_token.found("the login cache (`hf auth login`)", get_token())
    except (OIDCError, OSError) as error:
        raise HubError(f"the login of huggingface_hub cannot be used: {_one_line(str(error))}") from error
    except UnicodeDecodeError:  # no `from`: the error carries the file's content
        raise HubError(f"the token file {constants.HF_TOKEN_PATH} is not text", hint="run `hf auth login`") from None


def reachable() -> str | None:
    """None when the Hub answers, else one line that says why not. Sends no token; takes a few seconds at most."""
    try:
        response = get_session().get(f"{constants.ENDPOINT}/api/models", params={"limit": 1}, timeout=5)
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE is set"
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        return f"{constants.ENDPOINT} cannot be reached: {_reason(error)}"
    if response.status_code >= 500:
        return f"{constants.ENDPOINT} answers {response.status_code}"
    return None


class _HubAwayError(HubError):
    """The Hub could not be reached, or only answers that it is busy or broken: what the cache has may do."""


def _plan(repo: _Repo, spec: ModelSpec) -> PullPlan:
    try:
        with repo.errors():
            commit, listing = repo.ask()
            kind, files = choose(spec, repo.name, listing, lambda file: repo.fetch(file, commit).read_bytes())
    except _HubAwayError as away:
        commit, kind, files = _cached_choice(repo, spec, away)
        repo.progress.say(f"{away.message}; using {repo.name}@{commit[:7]} from the cache")
    return PullPlan(
        repo=repo.name,
        commit=commit,
        kind=kind,
        files=files,
        total_bytes=sum(file.size_bytes for file in files),
        # By etag: files with the same content are downloaded once.
        missing_bytes=sum({file.etag: repo.missing_bytes(file, commit) for file in files}.values()),
    )


def _cached_choice(repo: _Repo, spec: ModelSpec, away: _HubAwayError) -> tuple[str, Kind, tuple[RemoteFile, ...]]:
    """The plan from what the cache holds; raises HubError, saying why the Hub was not asked, when that is not whole.

    A shard that its index names must be there. Weights are fetched last, so where they are, the rest is.
    """
    commit = repo.cached_commit()
    if commit is not None:
        listing = repo.cached_listing(commit)
        with suppress(HubError):  # it says that something is not in the repo, when it is only not in the cache
            kind, files = choose(spec, repo.name, listing, lambda file: repo.pointer(file, commit).read_bytes())
            if kind == "gguf" or "adapter_config.json" in listing or any(matches(path, TOKENIZERS) for path in listing):
                return commit, kind, files
    what = f"{repo.name}@{repo.revision or 'main'}"
    raise HubError(
        f"{away.message}, and {what} is not in the cache {cache_folder()}, or not all of it",
        hint=away.hint,
    ) from away


class _Repo:
    """One repo on the Hub and its folder in the cache. Methods that ask the Hub are used inside `errors()`."""

    def __init__(self, spec: ModelSpec, commit: str | None, progress: Progress) -> None:
        if spec.name is None:
            raise HubError(f"{spec.key} names no Hub repo")
        self.name = spec.name
        self.commit = commit
        self.revision = commit or spec.revision
        self.progress = progress
        self.token = find_token()
        try:
            self.folder = cache_folder() / repo_folder_name(repo_id=self.name, repo_type="model")
        except HFValidationError as error:
            raise RepoNotFound(f"{self.name!r} is no name of a Hub repo", hint="it should be org/name") from error
        self.locks = cache_folder() / ".locks" / self.folder.name

    # -- the cache ----------------------------------------------------------------------------------------------------

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def pointer(self, file: RemoteFile, commit: str) -> Path:
        return self.snapshot(commit) / file.path

    def blob(self, file: RemoteFile) -> Path:
        return self.folder / "blobs" / file.etag

    def partial(self, file: RemoteFile) -> Path:
        return self.folder / "blobs" / f"{file.etag}.incomplete"

    def missing_bytes(self, file: RemoteFile, commit: str) -> int:
        if file.size_bytes in (_size(self.pointer(file, commit)), _size(self.blob(file))):
            return 0
        return max(0, file.size_bytes - (_size(self.partial(file)) or 0))

    def cached_commit(self) -> str | None:
        """The commit that the revision last stood for, as far as the cache knows."""
        if self.revision is not None and _COMMIT.fullmatch(self.revision):
            return self.revision
        try:
            commit = self._ref().read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return commit if _COMMIT.fullmatch(commit) else None

    def cached_listing(self, commit: str) -> Listing:
        """The files of a snapshot folder. A blob that is named by its sha256 says so."""
        snapshot = self.snapshot(commit)
        files = []
        for path in snapshot.rglob("*"):
            if path.is_file():
                etag = path.resolve().name
                sha256 = etag if _SHA256.fullmatch(etag) else None
                files.append(RemoteFile(path.relative_to(snapshot).as_posix(), path.stat().st_size, sha256, etag))
        return listing_of(files, self.name)

    def remember_revision(self, commit: str) -> None:
        """Note in refs/ what the revision stands for, now that the snapshot is whole, for when the Hub is away."""
        if self.revision is not None and _COMMIT.fullmatch(self.revision):
            return
        ref = self._ref()
        if self.cached_commit() != commit:
            with suppress(OSError), written_whole(ref) as partial:  # a read-only cache is no reason to fail
                partial.write_text(commit, encoding="ascii")

    def _ref(self) -> Path:
        revision = self.revision or constants.DEFAULT_REVISION
        if ".." in Path(revision).parts or Path(revision).is_absolute():
            raise RepoNotFound(f"{self.name} has no revision {revision!r}: no branch or tag is named like that")
        return self.folder / "refs" / revision

    # -- the Hub ------------------------------------------------------------------------------------------------------

    def ask(self) -> tuple[str, Listing]:
        """The commit of the revision and the files at it, in one request."""
        try:
            info = self._patiently(
                lambda: HfApi().model_info(
                    self.name,
                    revision=self.revision,
                    files_metadata=True,
                    timeout=constants.HF_HUB_ETAG_TIMEOUT,
                    token=self.token.value if self.token else False,
                )
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # a login page, another kind of server
            what = f"{constants.ENDPOINT} does not answer like a Hub ({type(error).__name__})"
            raise HubError(what, hint="check the network and HF_ENDPOINT") from error
        if info.sha is None or not _COMMIT.fullmatch(info.sha):
            raise HubError(f"{constants.ENDPOINT} gives no commit for {self.name}", hint="check HF_ENDPOINT")
        files = []
        for sibling in info.siblings or ():
            sha256 = sibling.lfs.sha256 if sibling.lfs else None
            size, etag = sibling.lfs.size if sibling.lfs else sibling.size, sha256 or sibling.blob_id
            if size is None or etag is None or not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", etag):
                raise HubError(f"{constants.ENDPOINT} does not give size and hash of {self.name}/{sibling.rfilename}")
            files.append(RemoteFile(sibling.rfilename, size, sha256, etag))
        return info.sha, listing_of(files, self.name)

    def fetch(self, file: RemoteFile, commit: str, bar: Bar | None = None) -> Path:
        """The file's path in the snapshot, after downloading what of it is not there."""
        pointer, blob = self.pointer(file, commit), self.blob(file)
        if _size(pointer) == file.size_bytes:
            return pointer
        blob.parent.mkdir(parents=True, exist_ok=True)
        self.locks.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(self.locks / f"{file.etag}.lock"):
            if _size(blob) != file.size_bytes:
                self._download(file, commit, bar or SilentBar())
            _link(blob, pointer)
        return pointer

    def _download(self, file: RemoteFile, commit: str, bar: Bar) -> None:
        bar.note(file.path)
        url = hf_hub_url(self.name, file.path, revision=commit)
        partial = self.partial(file)
        patience = _Patience(self.progress)
        partial.touch()
        while (have := partial.stat().st_size) < file.size_bytes:
            try:
                self._append(url, partial, have, bar)
            except (HfHubHTTPError, httpx2.TransportError) as error:
                if partial.stat().st_size > have:
                    patience.restart()
                patience.after(error)
            else:
                if partial.stat().st_size <= have:
                    raise HubError(f"the Hub sends nothing of {self.name}/{file.path} after byte {have}")
        bar.note(f"checking {file.path}")
        found = _hash_like(file, partial)
        if found != file.etag:
            partial.unlink()
            raise HubError(
                f"{self.name}/{file.path} was damaged on the way: its hash is {found}, the Hub's {file.etag}",
                hint="the download was removed; pull again",
            )
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(self.blob(file))

    def _append(self, url: str, partial: Path, have: int, bar: Bar) -> None:
        """Add to `partial` what the Hub sends of the file from byte `have` on.

        The session follows redirects to the storage host, and sends the token to the Hub's own origin only.
        """
        headers = build_hf_headers(
            token=self.token.value if self.token else False,
            # Compressed answers have no ranges, and no length to hold against the file's.
            headers={"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {}),
        )
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            resumes = have > 0 and response.status_code == httpx2.codes.PARTIAL_CONTENT
            if have and not resumes:
                bar.advance(-have)
            with partial.open("ab" if resumes else "wb") as out:
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    out.write(chunk)
                    bar.advance(len(chunk))

    def _patiently(self, question: Callable[[], Result]) -> Result:
        """Ask again when the Hub is busy; a Hub that cannot be reached is not asked twice: the cache may do."""
        patience = _Patience(self.progress)
        while True:
            try:
                return question()
            except HfHubHTTPError as error:
                patience.after(error)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what huggingface_hub, its HTTP client and the disk raise into our errors."""
        try:
            yield
        except HfHubHTTPError as error:
            raise self._refusal(error) from error
        except OfflineModeIsEnabled as error:
            raise _HubAwayError("HF_HUB_OFFLINE is set", hint="unset it to pull") from error
        except httpx2.TransportError as error:
            raise _HubAwayError(
                f"{constants.ENDPOINT} cannot be reached ({_reason(error)})", hint="check the network and HF_ENDPOINT"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise HubError(f"{constants.ENDPOINT} cannot be asked: {_reason(error)}") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise HubError(
                    f"the disk of the Hub cache {cache_folder()} is full",
                    hint="free some space, or point HF_HOME to a larger disk; pulling again resumes",
                ) from error
            raise HubError(
                f"the Hub cache cannot be written: {error}", hint="point HF_HOME to a folder of yours"
            ) from error

    def _refusal(self, error: HfHubHTTPError) -> GgufBenchError:
        """Our error for an HTTP status. The Hub hides what a caller may not see: 401 stands for three things."""
        status = error.response.status_code
        said = _one_line(error.server_message or "")
        page = f"{constants.ENDPOINT}/{self.name}"
        source = self.token.source if self.token else ""
        login = "set $HF_TOKEN or run `hf auth login`"
        match error:
            case GatedRepoError() if not self.token:
                return TokenMissing(
                    f"{self.name} is gated and no token was found", hint=f"accept its licence at {page}, then {login}"
                )
            case GatedRepoError() if status == 403 and "fine-grained" not in said:
                return LicenceNotAccepted(
                    f"the licence of {self.name} is not accepted by the owner of the token in {source}",
                    hint=f"accept it at {page}",
                )
            case RepositoryNotFoundError() if not isinstance(error, GatedRepoError):
                pass  # below
            case RevisionNotFoundError():
                return RepoNotFound(
                    f"{self.name} has no revision {self.revision!r}", hint=f"its branches and tags: {page}/tree/main"
                )
            case RemoteEntryNotFoundError():
                path = error.request.url.path.partition("/resolve/")[2].partition("/")[2]
                return RepoNotFound(f"{self.name} has no file {path!r} at this commit")
            case DisabledRepoError():
                return HubError(f"{self.name} was disabled on the Hub: {said}")
            case _ if status == 401 and self.token:
                return HubError(f"the Hub does not know the token in {source}", hint=f"renew it: {login}")
            case _ if status == 403:
                return HubError(f"the token in {source or 'use'} may not read {self.name} (403: {said})")
            case _ if status in RETRIED_STATUSES:
                wait = _wait_asked_for(error.response)
                when = f"in {wait:.0f} s" if wait else "later"
                return _HubAwayError(
                    f"the Hub answers {status} {error.response.reason_phrase}", hint=f"try again {when}; it resumes"
                )
            case _ if status not in (401, 404):
                return HubError(f"the Hub answers {status} for {self.name}: {said}")
        if self.token:
            return RepoNotFound(
                f"there is no model {self.name} on {constants.ENDPOINT}, or the token in {source} may not see it",
                hint="check the name",
            )
        return RepoNotFound(
            f"there is no model {self.name} on {constants.ENDPOINT}, or it is private and no token was found",
            hint=f"check the name; if it is private, {login}",
        )


class _Patience:
    """How long to wait after a failure, and when to give up. A server's own delay counts, up to a bound."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.failures = 0

    def restart(self) -> None:
        """Something came through: the next failure is the first again."""
        self.failures = 0

    def after(self, error: HfHubHTTPError | httpx2.TransportError) -> None:
        """Wait, and say so; raise `error` again when it is final, or the last of ATTEMPTS, or the wait is too long."""
        self.failures += 1
        wait = FIRST_WAIT_SECONDS * 2 ** (self.failures - 1)
        if isinstance(error, HfHubHTTPError):
            wait = _wait_asked_for(error.response) or wait
            if error.response.status_code not in RETRIED_STATUSES:
                raise error
            what = f"the Hub answers {error.response.status_code} {error.response.reason_phrase}"
        else:
            what = f"the connection broke ({_reason(error)})"
        if self.failures >= ATTEMPTS or wait > LONGEST_WAIT_SECONDS:
            raise error
        self.progress.say(f"{what}; trying again in {wait:.0f} s")
        time.sleep(wait)


def _wait_asked_for(response: httpx2.Response) -> float | None:
    """Seconds that the server asks to wait: Retry-After, or the reset time (`t=`) of the Hub's `RateLimit` header."""
    asked = response.headers.get("Retry-After", "").strip()
    if not asked and response.status_code == 429:
        match = re.search(r"\bt\s*=\s*(\d+)", response.headers.get("RateLimit", ""))
        asked = match[1] if match else ""
    return float(asked) if asked.isdecimal() else None


def _hash_like(file: RemoteFile, path: Path) -> str:
    """The hash of `path` of the kind that the Hub gives for `file`: sha256, or git's blob id (sha1 with a header)."""
    with path.open("rb") as content:
        if file.sha256 is not None:
            return hashlib.file_digest(content, "sha256").hexdigest()
        header = f"blob {path.stat().st_size}\0".encode()
        return hashlib.sha1(header + content.read(), usedforsecurity=False).hexdigest()


def _link(blob: Path, pointer: Path) -> None:
    """Make `pointer` a relative link to `blob`, as huggingface_hub does; where links cannot be, the file itself."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.unlink(missing_ok=True)
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except FileExistsError:  # another process was faster
        if _size(pointer) != _size(blob):
            raise
    except OSError:
        blob.replace(pointer)


def _size(path: Path) -> int | None:
    """The file's size; None where there is none, dangling links included."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def _reason(error: Exception) -> str:
    return _one_line(str(error)) or type(error).__name__


def _one_line(text: str) -> str:
    """Text of a server, fit for one line of a message."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= 200 else f"{line[:200]}…"
