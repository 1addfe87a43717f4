"""Which worker gets which documents: cells large at first, smaller towards the end, so that all end together.

Pure: it knows workers by name only, and nothing of Dask.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from gguf_bench.errors import ModelError
from gguf_bench.place import Part, Question

SHARES = 1.5
"""A cell is a worker's even share of what is left, divided by this. Each loads the model and reads anew what prompts
share, so few are better; but the last ones have to be small, or all wait for one."""

MOST_LOST = 3
"""So many workers may be lost over a cell; then it is what kills them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A range of a contender's documents, for one worker. `n_lost` workers were lost over it before."""

    question: Question
    documents: tuple[str, ...]
    n_lost: int = 0


@dataclass(slots=True)
class _Contender:
    """What is left of a question: documents `waiting`, cells to be computed `again`, and cells `at_work`.

    `unfit` are workers that cannot answer it, and why.
    """

    question: Question
    position: int
    waiting: list[str]
    again: list[Cell] = field(default_factory=list)
    at_work: int = 0
    gpu_layers: int | None = None
    unfit: dict[str, ModelError] = field(default_factory=dict)
    has_failed: bool = False

    @property
    def is_through(self) -> bool:
        return not (self.waiting or self.again or self.at_work)


class Sharing:
    """Shares `questions` out. Every cell that `next` gives comes back by `done`, `lost` or `unfit`."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._contenders = {
            question.contender_id: _Contender(question, position, list(question.missing))
            for position, question in enumerate(questions)
        }
        self._open = dict(self._contenders)
        self._n_at_work = 0
        self._cost_left = sum(len(question.missing) * _cost(question) for question in questions)
        self._latest: dict[str, int] = {}

    @property
    def is_through(self) -> bool:
        return not self._open and not self._n_at_work

    def next(self, worker: str, n_workers: int) -> Cell | None:
        """What `worker`, one of `n_workers`, is to do; None where nothing is left to begin with.

        It goes on with the contender that it has just worked on, whose file it has; else it takes the first that the
        fewest work on.
        """
        latest = self._latest.get(worker)
        one = self._open.get(latest) if latest is not None else None
        if one is None or worker in one.unfit:
            fit = (one for one in self._open.values() if worker not in one.unfit)
            one = min(fit, key=lambda one: (one.at_work, one.position), default=None)
        if one is None:
            return None
        question = one.question
        self._latest[worker] = question.contender_id
        if one.again:
            cell = replace(one.again.pop(), question=question)
        else:
            share = self._cost_left / (SHARES * n_workers * _cost(question))
            count = max(question.settings.n_parallel, math.ceil(share))
            cell = Cell(question=question, documents=tuple(one.waiting[:count]))
            del one.waiting[:count]
        self._cost_left -= len(cell.documents) * _cost(question)
        one.at_work += 1
        self._n_at_work += 1
        self._note(one)
        return cell

    def done(self, cell: Cell, part: Part, worker: str) -> Part | None:
        """What counts of `part`, which came of `cell` on `worker`; None where another has to compute the cell again.

        The first cell of a contender decides how many of its layers are on GPUs: with others, answers would be others.
        After a failure nothing of the contender is begun any more; what is at work comes to its end.
        """
        one = self._contenders[cell.question.contender_id]
        if part.loaded is not None:
            if one.gpu_layers is None:
                one.gpu_layers = part.loaded.gpu_layers
                settings = replace(one.question.settings, gpu_layers=str(one.gpu_layers))
                one.question = replace(one.question, settings=settings, n_ctx=part.loaded.n_ctx)
            elif part.loaded.gpu_layers != one.gpu_layers:
                if part.failure is None and not one.has_failed:
                    layers = f"{part.loaded.gpu_layers} layers fit its GPU, wanted {one.gpu_layers} as on the others"
                    self.unfit(cell, worker, ModelError(f"worker {worker}: {layers}"))
                    return None
                part = replace(part, answers=(), loaded=None)
        self._end(cell)
        if part.failure is not None:
            self._give_up(one)
        self._note(one)
        return replace(part, is_last=one.is_through and not one.has_failed)

    def unfit(self, cell: Cell, worker: str, why: ModelError) -> None:
        """`worker` cannot compute `cell` for reasons of its own: another one takes it, and what else is asked so."""
        one = self._end(cell)
        one.unfit[worker] = why
        if not one.has_failed:
            self._put_back(one, cell)

    def without(self, workers: Collection[str]) -> list[Part]:
        """The failures of contenders that none of `workers`, all there are, can answer any more."""
        failed = [
            one for one in self._open.values() if workers and not one.at_work and one.unfit.keys() >= set(workers)
        ]
        for one in failed:
            self._give_up(one)
        return [
            Part(contender_id=one.question.contender_id, failure=one.unfit[min(set(workers) & one.unfit.keys())])
            for one in failed
        ]

    def lost(self, cell: Cell, *, is_gone: bool = True) -> Part | None:
        """The worker of `cell` is gone: another one takes it, unless it has been lost too often, which is a failure.

        Where it `is_gone` is not true, only the connection to it broke.
        """
        one = self._end(cell)
        n_lost = cell.n_lost + is_gone
        if n_lost < MOST_LOST:
            if not one.has_failed:
                self._put_back(one, replace(cell, n_lost=n_lost))
            return None
        self._give_up(one)
        failure = ModelError(
            f"{n_lost} workers were lost, one after the other, over the same {len(cell.documents)} documents",
            hint="see the workers' logs: did their memory run out?",
        )
        return Part(contender_id=cell.question.contender_id, failure=failure)

    def _end(self, cell: Cell) -> _Contender:
        one = self._contenders[cell.question.contender_id]
        one.at_work -= 1
        self._n_at_work -= 1
        return one

    def _put_back(self, one: _Contender, cell: Cell) -> None:
        one.again.append(cell)
        self._cost_left += len(cell.documents) * _cost(cell.question)
        self._note(one)

    def _give_up(self, one: _Contender) -> None:
        left = len(one.waiting) + sum(len(cell.documents) for cell in one.again)
        self._cost_left -= left * _cost(one.question)
        one.waiting.clear()
        one.again.clear()
        one.has_failed = True
        self._note(one)

    def _note(self, one: _Contender) -> None:
        """Keep what has anything to hand out among the open ones."""
        contender_id = one.question.contender_id
        if one.waiting or one.again:
            self._open[contender_id] = one
        else:
            self._open.pop(contender_id, None)


def _cost(question: Question) -> int:
    """About what a document costs, beside those of other contenders: every token reads the whole file."""
    return question.file.size_bytes
