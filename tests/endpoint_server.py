"""A server that speaks OpenAI's chat completions as a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = '{"basic": 0.57, "diluted": 0.56, "adjusted": null}'


@dataclass
class Asked:
    """One request: its path, its headers (names in small letters) and its body."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def message(self) -> str:
        return self.body["messages"][0]["content"]


@dataclass
class Reply:
    """What goes back. `body` is sent as JSON, bytes as they are; a function writes to the connection by itself."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def completion(content: Any = GOOD, **changes: Any) -> dict[str, Any]:
    """A chat completion as llama-server sends it, some of its parts changed."""
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    message = {"role": "assistant", "content": content}
    return {
        "id": "x",
        "object": "chat.completion",
        "model": "tiny",
        "system_fingerprint": "b1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
        **changes,
    }


def error(words: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": words, **more}}


class EndpointServer:
    """Use as a context manager. `answer` is given each request and how many there were before it."""

    def __init__(self, answer: Callable[[Asked, int], Reply]) -> None:
        self.answer, self.asked = answer, []
        self.in_flight, self.most_in_flight = 0, 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.path, headers, json.loads(body))
                with outer._lock:
                    number = len(outer.asked)
                    outer.asked.append(asked)
                    outer.in_flight += 1
                    outer.most_in_flight = max(outer.most_in_flight, outer.in_flight)
                try:
                    reply = outer.answer(asked, number)
                finally:
                    with outer._lock:
                        outer.in_flight -= 1
                try:
                    self.send(reply)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def do_GET(self) -> None:
                raise AssertionError("nobody asks for this")

            def send(self, reply: Reply) -> None:
                if callable(reply.body):
                    self.close_connection = True
                    reply.body(self.wfile)
                    return
                content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> EndpointServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
