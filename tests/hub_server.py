"""A Hugging Face Hub on loopback: folders on disk, served the way the real client of huggingface_hub asks for them.

    with HubServer() as server:
        commit = server.add_repo("org/name", folder)
        subprocess.run([..., "pull", "org/name"], env=server.environment(tmp_path))

It answers model info, tree, resolve (HEAD and GET) and ranges. Large files are redirected to a second server on
another port, as the Hub redirects to its storage host; `requests` holds what both were asked, headers and all.

Two ways to point the client at it, because huggingface_hub reads its environment when it is imported:
- `environment(home)` for a subprocess. This is what a user has, so whole-pipeline tests take it.
- `use(monkeypatch, home)` for this process: it sets the constants that the library has read by then. Faster, for
  tests that look at Python objects.

Tokens it knows: READER may read everything, STRANGER is valid but has accepted no licence and sees nothing private.
Any other is refused, as the Hub does, whatever is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

READER = "hf_readerreaderreaderreader"
STRANGER = "hf_strangerstrangerstranger"

LARGE_SUFFIXES = (".safetensors", ".bin", ".gguf", ".model", "tokenizer.json")
"""What the Hub keeps as LFS: etag is the sha256, and the content comes from the storage host."""


@dataclass(frozen=True)
class Request:
    """`host` is "hub" or "storage"; `path` is decoded, without the query; header names are in lower case."""

    host: str
    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class ServedFile:
    local: Path
    size: int
    blob_id: str
    sha256: str | None

    @property
    def etag(self) -> str:
        return self.sha256 or self.blob_id


@dataclass
class Repo:
    files: dict[str, dict[str, ServedFile]] = field(default_factory=dict)
    """By commit, then by path."""
    revisions: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else model info says: cardData, safetensors, tags, ..."""


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose path contains `part`."""

    part: str
    times: int
    method: str = "GET"
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    reset: bool = False
    stall_after: int | None = None
    damage: bool = False
    ignore_range: bool = False
    refuse_range: bool = False


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away (killed, or cut off by a Fault) is what tests are about, and no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class HubServer:
    """Serves until closed; a context manager. `endpoint` is what HF_ENDPOINT should be."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.stalled = threading.Event()
        """Set when a response has stalled, that is, when half a file is on its way."""
        self._hosts = {name: self._start(name) for name in ("hub", "storage")}

    def _start(self, name: str) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"hub": self, "host": name})
        server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def url(self, host: str) -> str:
        return f"http://127.0.0.1:{self._hosts[host].server_address[1]}"

    @property
    def endpoint(self) -> str:
        return self.url("hub")

    def close(self) -> None:
        self.closing.set()
        for server in self._hosts.values():
            server.shutdown()
            server.server_close()

    def __enter__(self) -> HubServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- what it serves -----------------------------------------------------------------------------------------------

    def add_repo(
        self,
        name: str,
        folder: Path,
        *,
        gated: bool = False,
        private: bool = False,
        revisions: Mapping[str, Path] | None = None,
        **facts: Any,
    ) -> str:
        """Serve `folder` as the repo's main branch, and `revisions` (name -> folder) beside it; main's commit.

        `facts` are what else model info says of it, by the Hub's names: cardData, safetensors, tags, ...

        A commit is a hash of the content, so adding a repo again with changed files moves the branch and keeps the
        old commit. The folders are read while serving: leave their files as they are.
        """
        repo = self.repos.setdefault(name, Repo())
        repo.gated, repo.private, repo.facts = gated, private, facts
        for revision, source in {"main": folder, **(revisions or {})}.items():
            files = {
                path.relative_to(source).as_posix(): _served(path)
                for path in sorted(source.rglob("*"))
                if path.is_file()
            }
            commit = hashlib.sha1(repr([(path, file.etag) for path, file in files.items()]).encode()).hexdigest()
            repo.files[commit] = files
            repo.revisions[revision] = commit
        return repo.revisions["main"]

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    def fail(self, status: int, part: str, *, times: int = 1, method: str = "GET", **headers: str) -> None:
        """Answer `status` to the next requests whose path contains `part`; `retry_after="1"` sets Retry-After."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(part, times, method, status=status, headers=named))

    def cut(self, part: str, after: int, *, times: int = 1, reset: bool = False) -> None:
        """Close the connection after `after` bytes of the content; with `reset`, as a crashed machine would (RST)."""
        self.faults.append(Fault(part, times, cut_after=after, reset=reset))

    def stall(self, part: str, after: int) -> None:
        """Send `after` bytes of the content, set `stalled`, and then nothing until the server closes."""
        self.faults.append(Fault(part, 1, stall_after=after))

    def damage(self, part: str, *, times: int = 1) -> None:
        """Send content of the right length with other bytes."""
        self.faults.append(Fault(part, times, damage=True))

    def ignore_range(self, part: str, *, times: int = 1) -> None:
        """Answer a range request with the whole file, as some proxies do."""
        self.faults.append(Fault(part, times, ignore_range=True))

    def refuse_range(self, part: str, *, times: int = 1) -> None:
        """Answer a range request with 416, as some proxies do."""
        self.faults.append(Fault(part, times, refuse_range=True))

    # -- what was asked -----------------------------------------------------------------------------------------------

    def fetched(self) -> list[str]:
        """Paths (within their repos) of the files whose content was asked for, in order, repeats included."""
        return [
            match[1]
            for request in self.requests
            if request.method == "GET" and request.host == "hub"
            if (match := re.match(r"/.+?/resolve/[^/]+/(.+)", request.path))
        ]

    # -- pointing a client at it --------------------------------------------------------------------------------------

    def environment(self, home: Path, *, token: str | None = None) -> dict[str, str]:
        """The environment for a subprocess: this one's, without its Hub settings, tokens and proxies."""
        return {name: value for name, value in os.environ.items() if not _OF_THE_HUB.match(name)} | self._settings(
            home, token
        )

    def _settings(self, home: Path, token: str | None) -> dict[str, str]:
        settings = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }
        return settings | ({"HF_TOKEN": token} if token else {})

    def use(self, monkeypatch: Any, home: Path, *, token: str | None = None) -> None:
        """Point huggingface_hub in this process here, with `home` as its HF_HOME, until `monkeypatch` undoes it."""
        from huggingface_hub import close_session, constants

        for name in list(os.environ):
            if _OF_THE_HUB.match(name):
                monkeypatch.delenv(name)
        for name, value in self._settings(home, token).items():
            monkeypatch.setenv(name, value)
        for name, constant in {
            "ENDPOINT": self.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": self.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_TELEMETRY": True,
        }.items():
            monkeypatch.setattr(constants, name, constant)
        close_session()  # one made before would keep its proxies, and connections to a server that is gone


_OF_THE_HUB = re.compile(r"HF_|HUGGING|TRANSFORMERS_OFFLINE$|(https?|all|no)_proxy$", re.IGNORECASE)


def _served(path: Path) -> ServedFile:
    content = path.read_bytes()
    large = path.name.endswith(LARGE_SUFFIXES)
    return ServedFile(
        local=path,
        size=len(content),
        blob_id=hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest(),
        sha256=hashlib.sha256(content).hexdigest() if large else None,
    )


class _RefusalError(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    """One request to either host. Errors carry the Hub's X-Error-Code and X-Error-Message."""

    hub: ClassVar[HubServer]
    host: ClassVar[str]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
        pass

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.hub.lock:
            self.hub.requests.append(Request(self.host, self.command, path, headers))
        try:
            if self.host == "hub":
                self._hub(url.path, parse_qs(url.query))
            else:
                self._storage(path)
        except _RefusalError as refused:
            self._send(refused.status, {"X-Error-Code": refused.code, "X-Error-Message": refused.message})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _fault(self, path: str, *kinds: str) -> Fault | None:
        """The next fault for this request of one of the `kinds` (field names), counted down."""
        with self.hub.lock:
            for fault in self.hub.faults:
                fits = fault.part in path and fault.method == self.command and fault.times > 0
                # By identity: to cut after 0 bytes is a fault, and 0 == False.
                if fits and any(getattr(fault, kind) is not getattr(Fault, kind) for kind in kinds):
                    fault.times -= 1
                    return fault
        return None

    def _hub(self, raw_path: str, query: dict[str, list[str]]) -> None:
        path = unquote(raw_path)
        fault = self._fault(path, "status")
        if fault is not None:
            assert fault.status is not None
            return self._send(fault.status, dict(fault.headers))
        if path == "/api/models":
            return self._send_json(self._list(set(query.get("filter", []))))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/auth-check", raw_path):
            self._require_licence(match[1], self._repo_at(match[1], "main")[0])
            return self._send_json({})
        # Slashes inside a revision are quoted, so the raw path is what can be split.
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", raw_path):
            repo, commit = self._repo_at(match[1], unquote(match[2] or "main"))
            return self._send_json(_info(match[1], repo, commit, blobs="blobs" in query))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", raw_path):
            repo, commit = self._repo_at(match[1], unquote(match[2]))
            return self._send_json(_tree(repo.files[commit]))
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", raw_path):
            return self._resolve(match[1], unquote(match[2]), unquote(match[3]))
        raise _RefusalError(404)

    def _repo_at(self, name: str, revision: str) -> tuple[Repo, str]:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in (READER, STRANGER):
            raise _RefusalError(401, message="Invalid credentials in Authorization header")
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and token != READER):
            if token:
                raise _RefusalError(404, "RepoNotFound", "Repository not found")
            raise _RefusalError(401, "RepoNotFound", "Invalid username or password.")
        commit = repo.revisions.get(revision, revision)
        if commit not in repo.files:
            raise _RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo, commit

    def _require_licence(self, name: str, repo: Repo) -> None:
        if repo.gated:
            token = self.headers.get("Authorization")
            if not token:
                raise _RefusalError(401, "GatedRepo", f"Access to model {name} is restricted. Log in.")
            if not token.endswith(READER):
                raise _RefusalError(403, "GatedRepo", f"Access to model {name} is restricted; you are not authorized.")

    def _list(self, tags: set[str]) -> list[dict[str, Any]]:
        """What everybody may see and has all of `tags`, in the order it was added in."""
        return [
            _info(name, repo, repo.revisions["main"], blobs=False)
            for name, repo in self.hub.repos.items()
            if tags and not repo.private and tags <= set(repo.facts.get("tags", ()))
        ]

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repo, commit = self._repo_at(name, revision)
        self._require_licence(name, repo)
        file = repo.files[commit].get(path)
        headers = {"X-Repo-Commit": commit}
        if file is None:
            raise _RefusalError(404, "EntryNotFound", "Entry not found")
        if file.sha256 is None:
            return self._send_file(file, path, headers)
        # The storage host's address is signed and holds no repo; ours names the file so that tests can read the log.
        headers["Location"] = f"{self.hub.url('storage')}/{file.sha256}/{quote(name)}/{commit}/{quote(path)}"
        headers["X-Linked-Etag"] = f'"{file.etag}"'
        headers["X-Linked-Size"] = str(file.size)
        return self._send(302, headers)

    def _storage(self, path: str) -> None:
        fault = self._fault(path, "status")
        if fault is not None:
            assert fault.status is not None
            return self._send(fault.status, dict(fault.headers))
        if self.headers.get("Authorization"):
            raise _RefusalError(400, message="a signed address takes no Authorization")
        _, _, org, name, commit, inner = path.split("/", 5)
        return self._send_file(self.hub.repos[f"{org}/{name}"].files[commit][inner], inner, {})

    def _send_file(self, file: ServedFile, path: str, headers: dict[str, str]) -> None:
        """The content, or the range asked for, with what a Fault does to it."""
        fault = self._fault(path, "cut_after", "stall_after", "damage", "ignore_range", "refuse_range")
        content = file.local.read_bytes()
        status, start = 200, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and fault and fault.refuse_range:
            return self._send(416, {"Content-Range": f"bytes */{file.size}"})
        if asked and not (fault and fault.ignore_range):
            start = int(asked[1])
            if start >= file.size:
                return self._send(416, {"Content-Range": f"bytes */{file.size}"})
            status = 206
            headers["Content-Range"] = f"bytes {start}-{file.size - 1}/{file.size}"
        content = content[start:]
        if fault and fault.damage:
            content = bytes(byte ^ 1 for byte in content[:64]) + content[64:]
        self._send(status, {**headers, "ETag": f'"{file.etag}"', "Content-Length": str(len(content))})
        if self.command == "HEAD":
            return None
        stop = fault.cut_after if fault and fault.cut_after is not None else fault.stall_after if fault else None
        self.wfile.write(content[:stop])
        if stop is not None:
            self.wfile.flush()
            self.close_connection = True
            if fault and fault.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())
            if fault and fault.stall_after is not None:
                self.hub.stalled.set()
                self.hub.closing.wait()
        return None

    def _send_json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self._send(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": "0"} | dict(headers)).items():
            if value:
                self.send_header(name, value)
        self.end_headers()


def _info(name: str, repo: Repo, commit: str, *, blobs: bool) -> dict[str, Any]:
    siblings: list[dict[str, Any]] = []
    for path, file in repo.files[commit].items():
        sibling: dict[str, Any] = {"rfilename": path}
        if blobs:
            sibling |= {"size": file.size, "blobId": file.blob_id}
            if file.sha256:
                sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": 134}
        siblings.append(sibling)
    gated = "auto" if repo.gated else False
    info = {"id": name, "modelId": name, "sha": commit, "private": repo.private, "gated": gated, "siblings": siblings}
    return info | dict(repo.facts)


def _tree(files: Mapping[str, ServedFile]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for path, file in files.items():
        entry: dict[str, Any] = {"type": "file", "oid": file.blob_id, "size": file.size, "path": path}
        if file.sha256:
            entry["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": 134}
        entries.append(entry)
    return entries


@contextmanager
def served_here(monkeypatch: Any, folder: Path) -> Iterator[HubServer]:
    """A server that this process is pointed at, which works in `folder` meanwhile."""
    from huggingface_hub import close_session

    monkeypatch.chdir(folder)
    with HubServer() as running:
        running.use(monkeypatch, folder / "hf")
        yield running
        close_session()
