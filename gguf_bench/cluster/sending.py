"""What a worker lacks is sent to it: a run's messages, and files in pieces, few at once, so that memory is bounded."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from gguf_bench.cluster import cell
from gguf_bench.cluster.cell import Needs, Outcome
from gguf_bench.cluster.files import Wanted
from gguf_bench.cluster.workers import Say, Workers
from gguf_bench.errors import ModelError

PIECE_BYTES = 4 << 20
TRANSFERS = 2
"""Files that are sent at the same time."""


class Sender:
    """Has `workers` do something, and sends what they lack for it: files, each once to a host; messages by `keep`."""

    def __init__(self, workers: Workers, keep: Callable[[str], Awaitable[object]] | None = None) -> None:
        self._workers, self._keep = workers, keep
        self._transfers = asyncio.Semaphore(TRANSFERS)
        self._turns: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def done_by(
        self, address: str, function: Callable[..., Outcome | Needs], arguments: Sequence[object], say: Say
    ) -> Outcome:
        """What `function` comes to on the worker at `address`. Raises as `send`."""
        sent: set[Wanted] = set()
        while True:
            outcome = await self._workers.on(address, function, *arguments)
            for line in outcome.said:
                say(f"{address}: {line}")
            if isinstance(outcome, Outcome):
                return outcome
            if outcome.messages and self._keep is not None:
                await self._keep(address)
            for file in outcome.files:
                if file in sent:
                    raise ModelError(f"worker {address} cannot find {file.parts[0].path.name}, which was sent to it")
                await self.send(file, address)
                sent.add(file)

    async def send(self, file: Wanted, address: str) -> None:
        """Have the worker at `address` receive `file`, unless another one of its host has meanwhile.

        Raises ModelError with the reason where it cannot be received, OSError where it cannot be read, WorkerLost.
        """
        host = self._workers.alike[address].host
        async with self._turns[host, file.parts[0].sha256], self._transfers:
            if await self._workers.on(address, cell.lacks, file):  # hosts may share a disk
                await self._send(file, address)

    async def _send(self, file: Wanted, address: str) -> None:
        transfer = secrets.token_hex(8)
        receiving = asyncio.create_task(self._workers.on(address, cell.receive, transfer, file))
        try:
            for part in file.parts:
                await self._pieces(part.path, transfer, address, receiving)
            fault = await receiving
        finally:
            receiving.cancel()
        if fault is not None:
            raise fault

    async def _pieces(self, path: Path, transfer: str, address: str, receiving: asyncio.Task[object]) -> None:
        """The content of `path`, as fast as it is taken, and the mark of its end. Ends early with `receiving`."""
        with path.open("rb") as content:
            while not receiving.done():
                piece = await asyncio.to_thread(content.read, PIECE_BYTES) or None
                while not receiving.done() and not await self._workers.run(address, cell.put, transfer, piece):
                    pass
                if piece is None:
                    return
