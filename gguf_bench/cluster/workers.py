"""The workers of a scheduler: which there are, what they are, and having one of them do something.

All coroutines run in the thread of Dask's client; `sync` is for other threads.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker

from gguf_bench.cluster import vetting
from gguf_bench.cluster.vetting import Facts
from gguf_bench.errors import ClusterError, ModelError, one_line

T = TypeVar("T")
Say = Callable[[str], None]

GPU = "GPU"
"""The resource that a worker with a GPU says it has: `dask worker --resources GPU=1`."""

LOOK_SECONDS = 1.0
"""How often is looked which workers there are."""
FIRST_WORKER_SECONDS = 60.0
"""How long a comparison waits for its first worker."""


class WorkerLost(Exception):
    """The worker is not there any more."""


class Workers:
    """The workers of `client`'s scheduler at `address`. Those in `alike` were looked at and may compute."""

    def __init__(self, client: Client, address: str) -> None:
        self.alike: dict[str, Facts] = {}
        self.left_out: set[str] = set()
        self._client, self._address = client, address
        self._version = version("gguf-bench")
        self._resources: dict[str, float] = {}
        self._model: tuple[str, Facts] | None = None
        self._present: set[str] = set()
        self._looked = float("-inf")
        self._looking = asyncio.Lock()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = self._client.loop.asyncio_loop
        return loop

    def sync(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` comes to; interrupted, it is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        finally:
            future.cancel()

    async def present(self) -> set[str]:
        """Addresses of the workers that there are, looked up once a second. Raises ClusterError without a scheduler."""
        async with self._looking:  # those who ask meanwhile wait for the same answer
            if time.monotonic() - self._looked >= LOOK_SECONDS:
                try:
                    self._present = set(await self._client.scheduler.ncores())
                except (OSError, RuntimeError) as error:
                    raise ClusterError(
                        f"the scheduler at {self._address} is gone: {one_line(str(error))}",
                        hint="run the same command again to go on when it is back",
                    ) from error
                self._looked = time.monotonic()
                self.left_out &= self._present  # one that comes back to its address is another
        return self._present

    def forget(self, address: str) -> None:
        """The worker was lost; one that comes back to its address is another."""
        self.alike.pop(address, None)
        self._looked = float("-inf")

    async def on(self, address: str, function: Callable[..., T], *arguments: Any) -> T:
        """What `function` returns as a task of the worker at `address`, and of no other.

        Cancelled, it cancels the task. Raises WorkerLost, and ModelError for a fault that `function` did not foresee.
        """
        future = self._client.submit(
            *(function, *arguments),
            key=f"gguf-bench-{function.__name__}-{secrets.token_hex(8)}",
            workers=[address],
            allow_other_workers=False,
            resources=self._resources or None,
            pure=False,
        )
        result: asyncio.Task[T] = asyncio.create_task(_settled(future, address))
        try:
            while not (await asyncio.wait([result], timeout=LOOK_SECONDS))[0]:
                if address not in await self.present():
                    raise WorkerLost(address)
            return result.result()
        finally:
            result.cancel()
            future.release()

    async def run(self, address: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function`, which has to be quick, returns beside the tasks of the worker. Raises WorkerLost."""
        try:
            found = await self._client.run(function, *arguments, workers=[address])
            return found[address]
        except (OSError, KeyError) as error:
            raise WorkerLost(address) from error

    async def require_alike(self, say: Say) -> Facts:
        """Look at all workers, waiting for the first; what all have in common.

        Where some have GPUs, only those count. Raises ClusterError where there are none, or they are not alike.
        """
        addresses = await self._first(say)
        with_gpu = await self._with_gpu() & addresses
        if with_gpu:
            self._resources = {GPU: 1}
            self.left_out = addresses - with_gpu
            addresses = with_gpu
        if self.left_out:
            say(f"{len(self.left_out)} workers have no resource {GPU} and are left out, since others have")
        looks = [self._fault(address) for address in sorted(addresses)]
        for fault in await asyncio.gather(*looks, return_exceptions=True):
            if fault is not None and not isinstance(fault, WorkerLost):
                raise fault
        if self._model is None:
            raise ClusterError(f"all workers at {self._address} went away", hint="see their logs")
        return self._model[1]

    async def _with_gpu(self) -> set[str]:
        known = (await self._client.scheduler.identity(n_workers=-1))["workers"]
        return {address for address, worker in known.items() if worker.get("resources", {}).get(GPU, 0) >= 1}

    async def _first(self, say: Say) -> set[str]:
        since = time.monotonic()
        while not (addresses := await self.present()):
            if time.monotonic() - since > FIRST_WORKER_SECONDS:
                raise ClusterError(
                    f"there is no worker at {self._address}",
                    hint=f"start one on each machine: dask worker {self._address} --nthreads 1",
                )
            if self._looked - since < LOOK_SECONDS:
                say(f"waiting for a worker at {self._address}")
            await asyncio.sleep(LOOK_SECONDS)
        return addresses

    async def admit(self, address: str, say: Say) -> bool:
        """Whether the worker at `address`, which may have just come, can compute with the others; says why not."""
        if address not in self.alike and address not in self.left_out:
            try:
                fault = await self._fault(address)
            except ModelError as error:
                fault = ClusterError(error.message, hint=error.hint)
            if fault is not None:
                self.left_out.add(address)
                say(f"WARNING: {fault}; it is left out")
        return address in self.alike

    async def _fault(self, address: str) -> ClusterError | None:
        """Why the worker cannot be used; otherwise it is among those that are alike."""
        if self._resources and address not in await self._with_gpu():  # a task for it would wait for ever
            return ClusterError(f"worker {address} has no resource {GPU}=1, and the others have")
        try:
            has: object = await self.run(address, version, "gguf-bench")
        except WorkerLost:
            raise
        except Exception as error:  # noqa: BLE001 (whatever its Python lacks)
            has = error
        if fault := vetting.version_fault(address, has, self._version):
            return fault
        found = await self.on(address, vetting.facts)
        if isinstance(found, ModelError):
            return ClusterError(f"worker {address} cannot compute: {found.message}", hint=found.hint)
        self._model = self._model or (address, found)
        if fault := vetting.fault(address, found, *self._model):
            return fault
        self.alike[address] = found
        return None


async def _settled(future: Future[T], address: str) -> T:
    error = await future.exception()
    if future.cancelled() or isinstance(error, KilledWorker):
        raise WorkerLost(address)
    if error is not None:
        raise ModelError(f"worker {address} failed: {type(error).__name__}: {one_line(str(error))}")
    result: T = await future
    return result
