"""One repo on the Hub and its folder in the cache: what is asked, what is fetched, and what the answers mean."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import httpx2
from huggingface_hub import HfApi, ModelInfo, constants, get_session, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined] # exported lazily

from gguf_bench.errors import GgufBenchError, HubError, LicenceNotAccepted, RepoNotFound, TokenMissing, one_line
from gguf_bench.hub.access import cache_folder, find_token
from gguf_bench.hub.patience import RETRIED_STATUSES, Patience, reason, wait_asked_for
from gguf_bench.hub_files import Listing, RemoteFile, RepoFacts, listing_of
from gguf_bench.paths import written_whole
from gguf_bench.progress import SILENT, Bar, Progress, SilentBar
from gguf_bench.records import ModelSpec

Result = TypeVar("Result")

CHUNK_BYTES = 1 << 20

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class HubAway(HubError):
    """The Hub could not be reached, or only answers that it is busy or broken: what the cache has may do."""


class CommitGone(HubAway):
    """The Hub answers, but has the commit no more at which a repo is locked."""


class Hashes(Protocol):
    """Remembers the sha256 of files until their size or time changes. A Store is one."""

    def sha256(self, paths: Sequence[Path]) -> str: ...
    def remember_sha256(self, path: Path, sha256: str) -> None: ...


class Forgetful:
    """Hashes that are computed every time."""

    def sha256(self, paths: Sequence[Path]) -> str:
        (path,) = paths
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def remember_sha256(self, path: Path, sha256: str) -> None:
        pass


@dataclass(frozen=True)
class Found:
    """What the Hub says of a repo: the commit (40 hex) of the revision, the files at it, and the rest."""

    commit: str
    listing: Listing
    facts: RepoFacts


class Repo:
    """One repo on the Hub and its folder in the cache. Methods that ask the Hub are used inside `errors()`.

    `named` is the revision that a user or models.yaml names, None for the default branch; `locked` the commit it stood
    for when it was first pulled, which stays in use wherever the branch has moved since.
    """

    def __init__(
        self, spec: ModelSpec, commit: str | None = None, progress: Progress = SILENT, hashes: Hashes | None = None
    ) -> None:
        if spec.name is None:
            raise HubError(f"{spec.key} names no Hub repo")
        self.name = spec.name
        self.locked = commit
        self.named = spec.revision
        self.progress = progress
        self.hashes = hashes or Forgetful()
        self.token = find_token()
        try:
            self.folder = cache_folder() / repo_folder_name(repo_id=self.name, repo_type="model")
        except HFValidationError as error:
            raise RepoNotFound(f"{self.name!r} is no name of a Hub repo", hint="it should be org/name") from error
        self.locks = cache_folder() / ".locks" / self.folder.name

    @property
    def revision(self) -> str | None:
        return self.locked or self.named

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

    def ask(self) -> Found:
        """The commit of the revision and the files at it: one request, two where a branch moved after it was locked.

        Raises HubAway where the Hub has the locked commit no more.
        """
        if self.locked is None or self.named == self.locked:
            return self._ask(self.revision)
        try:
            now = self._ask(self.named)
        except RevisionNotFoundError:
            now = None
        if now is not None and now.commit == self.locked:
            return now
        what = f"{self.name}@{self.named or constants.DEFAULT_REVISION}"
        new = f"; the new one is {self.name}@{now.commit}" if now else ""
        try:
            locked = self._ask(self.locked)
        except RevisionNotFoundError as error:
            raise CommitGone(
                f"the Hub has {self.name}@{self.locked} no more, at which {what} is locked",
                hint=f"{self.name}@{now.commit} is what it has now" if now else "",
            ) from error
        moved = "has moved" if now else "is gone"
        self.progress.say(f"{what} {moved} since it was first pulled: it stays at {self.locked[:7]}, as scored{new}")
        return locked

    def _ask(self, revision: str | None) -> Found:
        try:
            info = self._patiently(
                lambda: HfApi().model_info(
                    self.name,
                    revision=revision,
                    files_metadata=True,
                    timeout=constants.HF_HUB_ETAG_TIMEOUT,
                    token=self._token(),
                )
            )
            facts = _facts(info)
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
        return Found(info.sha, listing_of(files, self.name), facts)

    def require_access(self) -> None:
        """Raise what the Hub refuses: TokenMissing or LicenceNotAccepted for a gated repo that may not be read."""
        self._patiently(lambda: HfApi().auth_check(self.name, token=self._token()))

    def _token(self) -> str | Literal[False]:
        return self.token.value if self.token else False

    def fetch(self, file: RemoteFile, commit: str, bar: Bar | None = None) -> Path:
        """The file's path in the snapshot, after downloading what of it is not there.

        What is there is held against the Hub's hash, too: another tool may have left it, or a disk have lost bits.
        """
        pointer, blob = self.pointer(file, commit), self.blob(file)
        if self._is_whole(file, pointer):
            return pointer
        blob.parent.mkdir(parents=True, exist_ok=True)
        self.locks.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(self.locks / f"{file.etag}.lock"):
            if self._is_whole(file, pointer):  # another process was faster
                return pointer
            if not self._is_whole(file, blob):
                if _size(blob) == file.size_bytes:
                    self.progress.say(f"{pointer} is damaged: it is not what the Hub has, and is fetched again")
                self._download(file, commit, bar or SilentBar())
            _link(blob, pointer)
            if file.sha256 is not None:
                self.hashes.remember_sha256(pointer.absolute(), file.sha256)
        return pointer

    def _is_whole(self, file: RemoteFile, path: Path) -> bool:
        if _size(path) != file.size_bytes:
            return False
        if file.sha256 is not None:
            return self.hashes.sha256([path.absolute()]) == file.sha256
        if _COMMIT.fullmatch(file.etag):
            return _hash_like(file, path) == file.etag
        return True  # a cache without links does not say what it holds, nor does the Hub while it is away

    def _download(self, file: RemoteFile, commit: str, bar: Bar) -> None:
        bar.note(file.path)
        url = hf_hub_url(self.name, file.path, revision=commit)
        partial = self.partial(file)
        partial.touch()
        try:
            self._receive(file, url, partial, bar)
        except BaseException:
            if not _size(partial):  # nothing came
                partial.unlink(missing_ok=True)
            raise
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

    def _receive(self, file: RemoteFile, url: str, partial: Path, bar: Bar) -> None:
        """Fill `partial` from where it ends, however often the line breaks as long as something comes."""
        patience = Patience(self.progress)
        begun_again = False
        while (have := partial.stat().st_size) < file.size_bytes:
            try:
                self._append(file, url, partial, have, bar)
            except (HfHubHTTPError, httpx2.TransportError) as error:
                if have and not begun_again and _is_refused_range(error):
                    self.progress.say(f"the Hub does not go on with {file.path} from byte {have}: it is begun again")
                    os.truncate(partial, 0)
                    bar.advance(-have)
                    begun_again = True
                    continue
                if partial.stat().st_size > have:
                    patience.restart()
                patience.after(error)
            else:
                if partial.stat().st_size <= have:
                    raise HubError(f"the Hub sends nothing of {self.name}/{file.path} after byte {have}")

    def _append(self, file: RemoteFile, url: str, partial: Path, have: int, bar: Bar) -> None:
        """Add to `partial` what the Hub sends of the file from byte `have` on, and no more than the file has.

        The session follows redirects to the storage host, and sends the token to the Hub's own origin only.
        """
        headers = build_hf_headers(
            token=self._token(),
            # Compressed answers have no ranges, and no length to hold against the file's.
            headers={"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {}),
        )
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            resumes = have > 0 and response.status_code == httpx2.codes.PARTIAL_CONTENT
            if have and not resumes:
                if response.headers.get("Content-Length", str(file.size_bytes)) != str(file.size_bytes):
                    raise HubError(f"the Hub sends something else than {self.name}/{file.path}", hint="try again later")
                bar.advance(-have)
            with partial.open("ab" if resumes else "wb") as out:
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    if out.tell() + len(chunk) > file.size_bytes:
                        raise HubError(
                            f"the Hub sends more of {self.name}/{file.path} than the {file.size_bytes} bytes it lists",
                            hint="try again later; what came is kept",
                        )
                    out.write(chunk)
                    bar.advance(len(chunk))

    def _patiently(self, question: Callable[[], Result]) -> Result:
        """Ask again when the Hub is busy; a Hub that cannot be reached is not asked twice: the cache may do."""
        patience = Patience(self.progress)
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
            raise HubAway("HF_HUB_OFFLINE is set", hint="unset it to pull") from error
        except httpx2.TransportError as error:
            raise HubAway(
                f"{constants.ENDPOINT} cannot be reached ({reason(error)})", hint="check the network and HF_ENDPOINT"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise HubError(f"{constants.ENDPOINT} cannot be asked: {reason(error)}") from error
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
        said = one_line(error.server_message or "", 200)
        page, asked = f"{constants.ENDPOINT}/{self.name}", error.response.request.url.path
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
            case _ if isinstance(error, RemoteEntryNotFoundError) or (status == 404 and not asked.startswith("/api/")):
                path = asked.partition("/resolve/")[2].partition("/")[2] or asked
                return RepoNotFound(
                    f"{self.name} has no file {path!r} at this commit",
                    hint=f"see {page}/tree/main, and whether HF_ENDPOINT is what it should be",
                )
            case DisabledRepoError():
                return HubError(f"{self.name} was disabled on the Hub: {said}")
            case _ if status == 401 and self.token:
                return HubError(f"the Hub does not know the token in {source}", hint=f"renew it: {login}")
            case _ if status == 403:
                return HubError(
                    f"{f'the token in {source}' if source else 'who has no token'} may not read {self.name}"
                    f" (403{said and f': {said}'})",
                    hint=f"see {page}, or use a token that may: {login}",
                )
            case _ if status in RETRIED_STATUSES:
                wait = wait_asked_for(error.response)
                when = f"in {wait:.0f} s" if wait else "later"
                return HubAway(
                    f"the Hub answers {status} {error.response.reason_phrase}", hint=f"try again {when}; it resumes"
                )
            case _ if status not in (401, 404):
                return HubError(
                    f"the Hub answers {status} for {self.name}: {said or error.response.reason_phrase}",
                    hint="try again later, and see whether HF_ENDPOINT is what it should be",
                )
        if self.token:
            return RepoNotFound(
                f"there is no model {self.name} on {constants.ENDPOINT}, or the token in {source} may not see it",
                hint="check the name",
            )
        return RepoNotFound(
            f"there is no model {self.name} on {constants.ENDPOINT}, or it is private and no token was found",
            hint=f"check the name; if it is private, {login}",
        )


def _is_refused_range(error: Exception) -> bool:
    return isinstance(error, HfHubHTTPError) and error.response.status_code == 416


def _facts(info: ModelInfo) -> RepoFacts:
    """What of the Hub's answer is told on; a card may say anything, and what it says in another form is left out."""
    card: dict[str, Any] = info.card_data.to_dict() if info.card_data else {}  # type: ignore[no-untyped-call]
    licence = card.get("license_name") if card.get("license") == "other" else card.get("license")
    bases = card.get("base_model")
    gguf = info.gguf or {}
    counted, context = info.safetensors.total if info.safetensors else gguf.get("total"), gguf.get("context_length")
    return RepoFacts(
        gated=bool(info.gated),
        licence=licence if isinstance(licence, str) else None,
        base_models=tuple(
            base for base in ([bases] if isinstance(bases, str) else bases or ()) if isinstance(base, str)
        ),
        n_params=counted if isinstance(counted, int) and counted > 0 else None,
        context=context if isinstance(context, int) and context > 0 else None,
    )


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
