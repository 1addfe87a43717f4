"""BROWSE: the store in a web browser, served by Datasette to this machine alone, for reading alone."""

from __future__ import annotations

import asyncio
import functools
import socket
import sqlite3
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from importlib import resources
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from datasette.app import Datasette
from datasette.database import Database

from gguf_bench.errors import StoreError
from gguf_bench.queries import saved_queries
from gguf_bench.query import read_only
from gguf_bench.sqlite_errors import explained, require_store

LOOPBACK = "127.0.0.1"
DATABASE = "results"
SETTINGS = {
    "sql_time_limit_ms": 10_000,
    "max_returned_rows": 1000,
    "default_page_size": 100,
    "truncate_cells_html": 200,
}
HEADERS = {
    # Whatever a page may hold, a browser asks nobody else, and no other site can put it into a frame.
    "content-security-policy": "default-src 'self' 'unsafe-inline' data:; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def listen(port: int = 0) -> socket.socket:
    """A socket that nobody outside this machine can reach; port 0 is a free one. Raises StoreError when it is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that ended a moment ago does not count
    try:
        listening.bind((LOOPBACK, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise StoreError(f"port {port} of {LOOPBACK}: {error.strerror}", hint="choose another --port") from error
    return listening


def address(listening: socket.socket) -> str:
    """The URL of the store's first page."""
    return f"http://{LOOPBACK}:{listening.getsockname()[1]}/{DATABASE}"


def serve(path: Path, listening: socket.socket, *, memory_bytes: int | None = None) -> None:
    """Serve the store at `path` until the process is interrupted; it may be written meanwhile.

    `memory_bytes` as of `query`. Raises KeyboardInterrupt when interrupted.
    """
    # Where rich is there, Datasette would print a traceback with all locals on standard output for each query refused.
    sys.modules["datasette.handle_exception"].rich = None  # type: ignore[attr-defined]
    config = uvicorn.Config(
        _guarded(_datasette(path, memory_bytes).app(), listening.getsockname()[1]),
        log_level="error",
        lifespan="on",
        timeout_graceful_shutdown=1,
    )
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


def require_readable(path: Path) -> None:
    """Raise StoreError unless there is a store of ours at `path`."""
    require_store(path)
    with explained(path):
        connection = read_only(path)
        found = connection.execute("select 1 from sqlite_master where name = 'eps_scores'").fetchall()
        connection.close()
    if not found:
        raise StoreError(f"{path} is a database of something else", hint="choose another store with --db")


def described() -> dict[str, Any]:
    """Datasette's metadata: what the tables and columns hold, and the saved queries."""
    told = yaml.safe_load(resources.files("gguf_bench").joinpath("browse.yaml").read_text(encoding="utf-8"))
    queries = {
        each.name: {
            "title": each.title,
            "description": " ".join(
                filter(
                    None, [each.description, *(_in_words(one.name, one.default, one.what) for one in each.parameters)]
                )
            ),
            "params": [one.name for one in each.parameters],
            "sql": each.sql,
            "hide_sql": True,
        }
        for each in saved_queries().values()
    }
    return {"title": told["title"], "databases": {DATABASE: told["database"] | {"queries": queries}}}


def _in_words(name: str, default: str | None, what: str) -> str:
    return f"{name}: {what}" + (f" ({default} when left empty)." if default else ".")


class _Store(Database):  # type: ignore[misc]
    """The store, opened as `query` opens it."""

    def __init__(self, datasette: Datasette, path: Path, memory_bytes: int | None) -> None:
        super().__init__(datasette, path=str(path), is_mutable=True)
        self._connect = functools.partial(read_only, path, memory_bytes=memory_bytes)

    def connect(self, write: bool = False) -> sqlite3.Connection:
        if write:
            raise StoreError("the store is served for reading")
        connection = self._connect()
        self._all_file_connections.append(connection)
        return connection


def _datasette(path: Path, memory_bytes: int | None) -> Datasette:
    datasette = Datasette([], metadata=described(), settings=SETTINGS)
    datasette.remove_database("_memory")
    datasette.add_database(_Store(datasette, path.resolve(), memory_bytes), name=DATABASE)
    return datasette


def _guarded(app: App, port: int) -> App:
    """`app` for who asks by our own address: a page elsewhere could let its name point here, and read along."""
    hosts = {f"{name}:{port}".encode() for name in (LOOPBACK, "localhost")}

    async def guarded(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
        elif dict(scope["headers"]).get(b"host") not in hosts:
            await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"this is not the address of the store"})
        else:
            await app(scope, receive, functools.partial(_with_headers, send))

    return guarded


async def _with_headers(send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        message["headers"] = [
            *message["headers"],
            *((name.encode(), value.encode()) for name, value in HEADERS.items()),
        ]
    await send(message)
