"""What a worker does. Plain functions and plain data: a crash in llama.cpp comes back as an answer, no worker dies."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gguf_bench import calibrate
from gguf_bench import run as run_stage
from gguf_bench.calibrate import Choice, Subject, Work
from gguf_bench.cluster import files
from gguf_bench.cluster.files import Wanted
from gguf_bench.cluster.shares import Cell
from gguf_bench.cluster.watch import Watch
from gguf_bench.errors import GgufBenchError, ModelError
from gguf_bench.gguf_header import read_header
from gguf_bench.place import Part
from gguf_bench.records import Answer, Finished, Loaded
from gguf_bench.tasks import TASKS

RUNS_KEPT = 4
"""Runs whose messages a worker keeps: several coordinators may share it."""

PIECES_WAITING = 2
"""Pieces of a file that a worker takes before it has written those that came before."""

PIECE_SECONDS = 0.5
"""For so long the two ends of a transfer wait for each other before they look whether the other is still there."""
LOOK_SECONDS = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A cell as it is sent. `files` are its model and, where it has one, the adapter; `run` names the messages."""

    cell: Cell
    task: str
    run: str
    files: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the worker has to be sent before it can do what it was asked: the run's messages, or some of the files."""

    messages: bool = False
    files: tuple[Wanted, ...] = ()
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it, and what the user is to hear. `choice` is that of `measure`, `part` that of `answer`.

    `unfit` is why this worker cannot, where that is not the model's affair: its disk is full, say.
    """

    part: Part | None = None
    unfit: ModelError | None = None
    choice: Choice | None = None
    said: tuple[str, ...] = ()


_kept: dict[str, Mapping[str, str]] = {}


def keep(run: str, messages: Mapping[str, str]) -> None:
    """Remember the messages of a run: document id -> user message."""
    while len(_kept) >= RUNS_KEPT:
        del _kept[next(iter(_kept))]
    _kept[run] = messages


def answer(order: Order) -> Outcome | Needs:
    """Ask the model of a cell about the cell's documents, in a child process of this worker."""
    messages = _kept.get(order.run)
    if messages is None:
        return Needs(messages=True)
    watch = Watch()
    try:
        paths = [files.found(file, watch) for file in order.files]
        if lacking := tuple(file for file, there in zip(order.files, paths, strict=True) if there is None):
            return Needs(files=lacking, said=tuple(watch.said))
    except (GgufBenchError, OSError) as error:
        return Outcome(unfit=_plain(error), said=tuple(watch.said))
    try:
        part = _asked(order, messages, [there for there in paths if there is not None], watch)
    except (GgufBenchError, OSError) as error:
        part = Part(contender_id=order.cell.question.contender_id, failure=_plain(error))
    return Outcome(part=part, said=tuple(watch.said))


def _asked(order: Order, messages: Mapping[str, str], paths: Sequence[Sequence[Path]], watch: Watch) -> Part:
    question = order.cell.question
    gguf = replace(question.file, path=paths[0][0], shard_paths=tuple(paths[0]))
    if gguf.adapter is not None:
        gguf = replace(gguf, adapter=replace(gguf.adapter, path=paths[1][0], shard_paths=tuple(paths[1])))
    part = Part(contender_id=question.contender_id)
    answers: list[Answer] = []
    started = ended = time.monotonic()
    try:
        with watch.ending():
            for event in run_stage.run(
                *(gguf, question.spec, TASKS[order.task], messages, question.settings),
                missing=order.cell.documents,
                n_ctx=question.n_ctx,
                progress=watch,
                on_child=watch.on_child,
            ):
                match event:
                    case Loaded():
                        part = replace(part, loaded=event)
                        started = ended = time.monotonic()
                    case Answer():
                        answers.append(event)
                        ended = time.monotonic()
                    case Finished():
                        part = replace(part, finished=event)
    except ModelError as error:
        part = replace(part, failure=_plain(error))
    return replace(part, answers=tuple(answers), wall_seconds=ended - started)


def _plain(error: GgufBenchError | OSError) -> ModelError:
    """As an error that can be sent, whatever else its kind has."""
    if isinstance(error, GgufBenchError):
        return ModelError(error.message, hint=error.hint)
    return ModelError(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def bring(file: Wanted) -> Outcome | Needs:
    """See that `file` is here."""
    watch = Watch()
    is_here = files.found(file, watch) is not None
    return Outcome(said=tuple(watch.said)) if is_here else Needs(files=(file,), said=tuple(watch.said))


def measure(subjects: Sequence[tuple[Wanted, Subject]], work: Work, machine: str) -> Outcome:
    """As `calibrate.choose`, of files that were brought; one that is gone again has no say."""
    watch = Watch()
    here = [
        replace(subject, path=paths[0], header=read_header(paths[0]))
        for file, subject in subjects
        if (paths := files.found(file, watch)) is not None
    ]
    with watch.ending():
        choice = calibrate.choose(here, work, machine, watch, watch.on_child)
    return Outcome(choice=choice, said=tuple(watch.said))


# --- receiving files ---

_arriving: dict[str, queue.Queue[bytes | None]] = {}


def receive(transfer: str, file: Wanted) -> ModelError | None:
    """Take the parts of `file` from what `put` brings; returns why that failed, if it did."""
    pieces: queue.Queue[bytes | None] = queue.Queue(PIECES_WAITING)
    _arriving[transfer], watch = pieces, Watch()

    def arriving() -> Iterator[bytes]:
        while True:
            try:
                piece = pieces.get(timeout=PIECE_SECONDS)
            except queue.Empty:
                watch.check()
                continue
            if piece is None:
                return
            yield piece

    try:
        for part, target in zip(file.parts, file.received_paths, strict=True):
            files.receive(part, target, arriving)
    except (GgufBenchError, OSError) as error:
        return _plain(error)
    finally:
        del _arriving[transfer]
    return None


async def put(transfer: str, piece: bytes | None) -> bool:
    """One piece for `receive`, None behind the last of a part; false where there is no room for it yet."""
    for _ in range(int(PIECE_SECONDS / LOOK_SECONDS)):
        pieces = _arriving.get(transfer)
        if pieces is not None and not pieces.full():
            pieces.put_nowait(piece)
            return True
        await asyncio.sleep(LOOK_SECONDS)
    return False


def lacks(file: Wanted) -> bool:
    """Whether it was not received before."""
    return not files.is_it(file, file.received_paths)
