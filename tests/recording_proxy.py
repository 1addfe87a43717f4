"""A TCP proxy that keeps what the one who connects sends, and can damage it on its way."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType


class RecordingProxy:
    """Forwards to `target` ('tcp://host:port'). `sent` is all that came from those who connected to `address`.

    Whenever they send `damage`, its first byte is turned round.
    """

    def __init__(self, target: str, damage: bytes | None = None) -> None:
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self.sent = bytearray()
        self._target, self._damage = (host, int(port)), damage
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for source, sink, is_sent in ((near, far, True), (far, near, False)):
                thread = threading.Thread(target=self._forward, args=(source, sink, is_sent), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _forward(self, source: socket.socket, sink: socket.socket, is_sent: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 20):
                if is_sent:
                    piece = self._damaged(piece)
                    self.sent += piece
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _damaged(self, piece: bytes) -> bytes:
        if self._damage is None or (at := piece.find(self._damage)) < 0:
            return piece
        return piece[:at] + bytes([piece[at] ^ 255]) + piece[at + 1 :]

    def __enter__(self) -> RecordingProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(5)
