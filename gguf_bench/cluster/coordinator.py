"""The coordinator: one coroutine a worker hands it a cell, sends what it lacks, and takes back what came of it.

The coroutines run in the thread of Dask's client. What they have to tell goes through a queue to the thread of the
comparison, which alone writes the store.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from gguf_bench.calibrate import Choice, Subject, Work
from gguf_bench.cluster import cell as on_worker
from gguf_bench.cluster import files, vetting
from gguf_bench.cluster.cell import Needs, Order, Outcome
from gguf_bench.cluster.files import Wanted
from gguf_bench.cluster.sending import Sender
from gguf_bench.cluster.shares import Cell, Sharing
from gguf_bench.cluster.workers import LOOK_SECONDS, Say, WorkerLost, Workers
from gguf_bench.errors import ClusterError, ModelError
from gguf_bench.llama_build import Build
from gguf_bench.place import Part, Question
from gguf_bench.progress import Progress
from gguf_bench.tasks import Task

NO_WORKER_SECONDS = 600.0
"""How long a comparison waits when all workers are gone: a queue may bring others."""

Answer = Callable[[Order], Outcome | Needs]


class Coordinator:
    """The workers of a cluster as a place to compute; see `place.Cluster`.

    Raises ClusterError where there are none, or they are not alike. `answer` is what a worker does for a cell.
    """

    def __init__(self, workers: Workers, progress: Progress, answer: Answer = on_worker.answer) -> None:
        self._workers, self._answer = workers, answer
        self._here = workers.sync(workers.require_alike(progress.say))
        self._n_threads, self._memory_bytes = vetting.shared_by(workers.alike.values())

    def look(self) -> Build:
        """What all workers have; `physical_cores` are those that each computes with."""
        return replace(self._here.build, physical_cores=self._n_threads)

    def extra_buffers_work(self) -> bool:
        return self._here.extra_buffers

    def crash_note(self) -> str | None:
        return self._here.note

    def memory_bytes(self) -> int:
        return self._memory_bytes

    def facts(self) -> dict[str, Any]:
        return {"memory_bytes": self._memory_bytes, "os": self._here.os, "workers": len(self._workers.alike)}

    def choose(self, subjects: Sequence[Subject], work: Work, machine: str, progress: Progress) -> Choice:
        """As `calibrate.choose`, on one of the workers: they are alike."""
        said: SimpleQueue[str] = SimpleQueue()
        try:
            return self._workers.sync(self._measured(subjects, work, machine, said.put))
        finally:
            while not said.empty():
                progress.say(said.get())

    async def _measured(self, subjects: Sequence[Subject], work: Work, machine: str, say: Say) -> Choice:
        while alike := sorted(self._workers.alike):
            try:
                return await self._measured_on(alike[0], subjects, work, machine, say)
            except WorkerLost:
                self._workers.forget(alike[0])
        raise ClusterError("every worker was lost before the first model was measured", hint="see the workers' logs")

    async def _measured_on(
        self, address: str, subjects: Sequence[Subject], work: Work, machine: str, say: Say
    ) -> Choice:
        sender = Sender(self._workers)
        there = []
        for subject in subjects:
            with suppress(ModelError, OSError):  # its own cells will say what is wrong with it
                file = await asyncio.to_thread(files.wanted, subject.path)
                await sender.done_by(address, on_worker.bring, (file,), say)
                there.append((file, subject))
        outcome = await sender.done_by(address, on_worker.measure, (there, work, machine), say)
        assert outcome.choice is not None
        return outcome.choice

    def answers(
        self, questions: Sequence[Question], task: Task, messages: Mapping[str, str], progress: Progress
    ) -> Iterator[Part]:
        """See `place.Cluster`."""
        told: SimpleQueue[Part | str | None] = SimpleQueue()
        sitting = _Sitting(self._workers, self._answer, questions, task.name, messages, told.put)
        work = asyncio.run_coroutine_threadsafe(sitting.run(), self._workers.loop)
        work.add_done_callback(lambda _: told.put(None))
        try:
            while (one := told.get()) is not None:
                if isinstance(one, str):
                    progress.say(one)
                else:
                    yield one
            work.result()
        finally:
            work.cancel()


class _Sitting:
    """All questions of a comparison, answered once. `tell` gets what comes of them, and lines for the user."""

    def __init__(
        self,
        workers: Workers,
        answer: Answer,
        questions: Sequence[Question],
        task: str,
        messages: Mapping[str, str],
        tell: Callable[[Part | str], None],
    ) -> None:
        self._workers, self._answer, self._task, self._tell = workers, answer, task, tell
        self._sharing = Sharing(questions)
        self._run = secrets.token_hex(8)
        self._sender = Sender(workers, lambda address: workers.run(address, on_worker.keep, self._run, messages))
        self._files: dict[int, asyncio.Task[tuple[Wanted, ...]]] = {}
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Until every question is through. Raises ClusterError where the cluster is gone."""
        n_idle = 0
        try:
            while not self._sharing.is_through:
                for address in await self._workers.present() - self._serving.keys() - self._workers.left_out:
                    self._serving[address] = asyncio.create_task(self._serve(address))
                for part in self._sharing.without(await self._workers.present() - self._workers.left_out):
                    self._take(part)
                if self._serving:
                    n_idle = 0
                    await asyncio.wait(
                        self._serving.values(), timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                    )
                    for address in [address for address, served in self._serving.items() if served.done()]:
                        self._serving.pop(address).result()
                    continue
                n_idle += 1
                if n_idle * LOOK_SECONDS > NO_WORKER_SECONDS:
                    raise ClusterError("all workers are gone", hint="start some, and run the same command again")
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in (*self._serving.values(), *self._files.values()):
                task.cancel()
            await asyncio.gather(*self._serving.values(), return_exceptions=True)

    async def _serve(self, address: str) -> None:
        """Give the worker one cell after the other, until none is left or it is gone."""
        try:
            if not await self._workers.admit(address, self._tell):
                return
        except WorkerLost:
            return
        while (cell := await self._next(address)) is not None:
            try:
                came = await self._computed(cell, address)
            except WorkerLost:
                self._workers.forget(address)
                self._tell(f"worker {address} was lost; what it was at is computed again")
                self._take(self._sharing.lost(cell, is_gone=address not in await self._workers.present()))
                return
            if isinstance(came, ModelError):
                self._tell(f"WARNING: worker {address} cannot answer for {cell.question.spec.key}: {came}")
                self._sharing.unfit(cell, address, came)
                self._take(None)
            else:
                self._take(self._sharing.done(cell, came, address))

    def _take(self, part: Part | None) -> None:
        """Hand on what counts, and wake those that wait for a cell."""
        if part is not None:
            self._tell(part)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _next(self, address: str) -> Cell | None:
        """A cell as soon as there is one; None when there will be none."""
        while not self._sharing.is_through:
            if address not in await self._workers.present():  # while it waited
                return None
            changed = self._changed
            if (cell := self._sharing.next(address, len(self._serving))) is not None:
                return cell
            await changed.wait()
        return None

    async def _computed(self, cell: Cell, address: str) -> Part | ModelError:
        """What came of the cell, or why this worker cannot compute it."""
        question = cell.question
        try:
            wanted = await self._files_of(question)
        except (ModelError, OSError) as error:
            failure = error if isinstance(error, ModelError) else ModelError(str(error))
            return Part(contender_id=question.contender_id, failure=failure)
        try:
            order = Order(cell=cell, task=self._task, run=self._run, files=wanted)
            outcome = await self._sender.done_by(address, self._answer, (order,), self._tell)
        except ModelError as error:
            return error
        except OSError as error:  # of the file that is sent
            return Part(contender_id=question.contender_id, failure=ModelError(str(error)))
        if outcome.unfit is not None:
            return outcome.unfit
        assert outcome.part is not None
        return outcome.part

    async def _files_of(self, question: Question) -> tuple[Wanted, ...]:
        """What the workers have to find, looked at once."""
        if question.contender_id not in self._files:
            self._files[question.contender_id] = asyncio.create_task(asyncio.to_thread(_wanted, question))
        return await asyncio.shield(self._files[question.contender_id])


def _wanted(question: Question) -> tuple[Wanted, ...]:
    found = []
    for gguf in (question.file, question.file.adapter):
        if gguf is not None:
            found.append(files.wanted(gguf.path))
            if files.sha256_of(found[-1]) != gguf.sha256:
                raise ModelError(f"{gguf.path} is not the file any more that it was", hint="run the same command again")
    return tuple(found)
