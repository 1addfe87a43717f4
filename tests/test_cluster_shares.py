"""Who gets which documents: everything once, no worker idle while others have much left, and no endless loops."""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gguf_bench.cluster import coordinator
from gguf_bench.cluster.cell import Outcome, answer
from gguf_bench.cluster.shares import MOST_LOST, Cell, Sharing
from gguf_bench.cluster.workers import WorkerLost
from gguf_bench.errors import ModelError
from gguf_bench.place import Part, Question
from gguf_bench.records import GgufFile, Loaded, ModelSpec, Settings

SETTINGS = Settings(
    engine=1,
    task="t 1",
    build="b",
    machine="m",
    gpu_layers="auto",
    n_threads=1,
    n_parallel=8,
    n_ubatch=512,
    flash_attention=True,
    kv_type="f16",
    grammar=True,
    jump_forward=True,
    extra_buffers=True,
    max_answer_tokens=10,
)


def question(contender_id: int, n_documents: int, size_bytes: int = 1000) -> Question:
    path = Path(f"/{contender_id}.gguf")
    file = GgufFile(
        path=path,
        shard_paths=(path,),
        sha256=str(contender_id),
        size_bytes=size_bytes,
        quant="F16",
        bits_per_weight=16,
        n_params=1,
        architecture="llama",
        context_train=512,
    )
    return Question(
        contender_id=contender_id,
        spec=ModelSpec(key=f"m{contender_id}"),
        file=file,
        settings=SETTINGS,
        missing=tuple(f"d{number}" for number in range(n_documents)),
    )


def loaded(gpu_layers: int) -> Loaded:
    return Loaded(
        load_seconds=1, n_ctx=512, gpu_layers=gpu_layers, n_layers=9, gpu_build=True, peak_rss_bytes=1
    )  # fmt: skip


def came_of(cell: Cell, gpu_layers: int = 0) -> Part:
    return Part(contender_id=cell.question.contender_id, loaded=loaded(gpu_layers))


def worked_off(questions: list[Question], speeds: list[float], load: float = 1.0) -> tuple[list[Cell], float, float]:
    """(cells in the order they were given, seconds in all, seconds that the work takes without any waiting)."""
    sharing = Sharing(questions)
    cells, ready = [], [(0.0, worker) for worker in range(len(speeds))]
    busy: list[tuple[float, int, Cell]] = []
    heapq.heapify(ready)
    end = 0.0
    while not sharing.is_through:
        while ready:
            now, worker = heapq.heappop(ready)
            cell = sharing.next(str(worker), len(speeds))
            if cell is None:
                break
            cells.append(cell)
            work = load + len(cell.documents) * cell.question.file.size_bytes / 1000
            heapq.heappush(busy, (now + work / speeds[worker], worker, cell))
        end, worker, cell = heapq.heappop(busy)
        assert sharing.done(cell, came_of(cell), str(worker)) is not None
        heapq.heappush(ready, (end, worker))
    n_work = sum(len(one.missing) * one.file.size_bytes / 1000 for one in questions)
    return cells, end, n_work / sum(speeds)


@pytest.mark.parametrize(
    ("questions", "speeds"),
    [
        ([question(1, 300)], [1.0, 1.0]),
        ([question(1, 300)], [1.0, 2.0]),
        ([question(n, 300) for n in range(10)], [1.0] * 4),
        ([question(n, 100, 1000 * 4**n) for n in range(4)], [1.0] * 3),
        ([question(1, 3)], [1.0] * 5),
        ([question(n, 1) for n in range(40)], [1.0] * 7),
    ],
    ids=["two", "one is faster", "ten models", "large and small", "more workers than documents", "single documents"],
)
def test_every_document_is_given_once_and_all_end_about_together(
    questions: list[Question], speeds: list[float]
) -> None:
    cells, seconds, ideal = worked_off(questions, speeds)
    given = Counter((cell.question.contender_id, document) for cell in cells for document in cell.documents)
    assert given == Counter((one.contender_id, document) for one in questions for document in one.missing)
    last = max(len(cell.documents) * cell.question.file.size_bytes / 1000 for cell in cells[-len(speeds) :])
    assert seconds <= ideal + last + len(cells) + 1


def test_few_cells_do_it() -> None:
    """Each loads the model: one model of 300 documents on two workers, and ten on two."""
    assert len(worked_off([question(1, 300)], [1.0, 1.0])[0]) <= 14
    assert len(worked_off([question(n, 300) for n in range(10)], [1.0, 1.0])[0]) <= 24


def test_a_worker_stays_with_its_model_and_each_begins_with_another() -> None:
    sharing = Sharing([question(n, 1000) for n in (1, 2, 3)])
    first = [sharing.next(worker, 3) for worker in "abc"]
    assert [cell.question.contender_id for cell in first if cell] == [1, 2, 3]
    again = [sharing.next(worker, 3) for worker in "cba"]
    assert [cell.question.contender_id for cell in again if cell] == [3, 2, 1]


def test_a_range_is_no_smaller_than_what_is_decoded_side_by_side() -> None:
    cells, _, _ = worked_off([question(1, 100)], [1.0] * 50)
    assert all(len(cell.documents) >= 8 for cell in cells[:-1])


def test_what_a_lost_worker_was_at_is_given_again_and_at_last_a_failure() -> None:
    sharing = Sharing([question(1, 8)])
    for number in range(MOST_LOST):
        cell = sharing.next(f"w{number}", 2)
        assert cell is not None
        assert len(cell.documents) == 8
        part = sharing.lost(cell)
        assert (part is None) is (number < MOST_LOST - 1)
    assert part is not None
    assert "workers were lost" in str(part.failure)
    assert sharing.is_through


def test_the_others_go_on_after_a_failure() -> None:
    sharing = Sharing([question(1, 100), question(2, 100)])
    one, two = sharing.next("a", 2), sharing.next("b", 2)
    assert one is not None
    assert two is not None
    failed = sharing.done(one, dataclasses.replace(came_of(one), failure=ModelError("it broke")), "a")
    assert failed is not None
    assert not failed.is_last
    rest = [two]
    while (cell := sharing.next("a", 2)) is not None:
        rest.append(cell)
    assert {cell.question.contender_id for cell in rest} == {2}
    parts = [sharing.done(cell, came_of(cell), "a") for cell in rest]
    assert [part.is_last for part in parts if part] == [False] * (len(rest) - 1) + [True]
    assert sharing.is_through


def test_what_was_at_work_when_its_contender_failed_still_counts_but_ends_nothing() -> None:
    sharing = Sharing([question(1, 100)])
    one, two = sharing.next("a", 2), sharing.next("b", 2)
    assert one is not None
    assert two is not None
    sharing.done(one, dataclasses.replace(came_of(one), failure=ModelError("it broke")), "a")
    part = sharing.done(two, came_of(two), "b")
    assert part is not None
    assert not part.is_last
    assert sharing.is_through


def test_answers_of_one_contender_are_all_of_as_many_layers_on_gpus() -> None:
    sharing = Sharing([question(1, 16)])
    one, two = sharing.next("a", 2), sharing.next("b", 2)
    assert one is not None
    assert two is not None
    assert sharing.done(one, came_of(one, gpu_layers=9), "a") is not None
    assert sharing.done(two, came_of(two, gpu_layers=5), "b") is None
    assert sharing.next("b", 2) is None, "its GPU has no room for more"
    again = sharing.next("a", 2)
    assert again is not None
    assert (again.documents, again.question.settings.gpu_layers, again.question.n_ctx) == (two.documents, "9", 512)
    part = sharing.done(again, came_of(again, gpu_layers=9), "a")
    assert part is not None
    assert part.is_last


def test_a_cell_lost_before_the_layers_were_known_has_them_when_it_is_given_again() -> None:
    sharing = Sharing([question(1, 16)])
    one, two = sharing.next("a", 2), sharing.next("b", 2)
    assert one is not None
    assert two is not None
    sharing.done(one, came_of(one, gpu_layers=9), "a")
    sharing.lost(two)
    again = sharing.next("a", 2)
    assert again is not None
    assert again.question.settings.gpu_layers == "9"


def test_what_failed_with_other_layers_says_nothing_of_those_that_count() -> None:
    sharing = Sharing([question(1, 16)])
    one, two = sharing.next("a", 2), sharing.next("b", 2)
    assert one is not None
    assert two is not None
    sharing.done(one, came_of(one, gpu_layers=9), "a")
    part = sharing.done(two, dataclasses.replace(came_of(two, gpu_layers=5), failure=ModelError("it broke")), "b")
    assert part is not None
    assert (part.loaded, part.answers) == (None, ())


def test_a_worker_that_cannot_is_passed_over_and_none_is_a_failure() -> None:
    """A full disk is no fault of the model's: it fails where every worker there is cannot have it."""
    sharing = Sharing([question(1, 8), question(2, 8)])
    full = ModelError("the disk is full")
    one = sharing.next("a", 2)
    assert one is not None
    sharing.unfit(one, "a", full)
    other = sharing.next("a", 2)
    assert other is not None
    assert other.question.contender_id == 2
    assert sharing.without({"a", "b"}) == []
    again = sharing.next("b", 2)
    assert again is not None
    assert again.documents == one.documents
    sharing.unfit(again, "b", full)
    (failed,) = sharing.without({"a", "b"})
    assert (failed.contender_id, failed.failure) == (1, full)
    sharing.done(other, came_of(other), "a")
    assert sharing.is_through


def test_a_broken_connection_is_no_lost_worker() -> None:
    sharing = Sharing([question(1, 8)])
    for _ in range(2 * MOST_LOST):
        cell = sharing.next("a", 1)
        assert cell is not None
        assert sharing.lost(cell, is_gone=False) is None


def test_whatever_happens_it_comes_to_an_end() -> None:
    """Random losses, failures and layers: everything given comes back, and nothing is given when all is through."""
    dice = random.Random(0)
    for _ in range(200):
        questions = [question(number, dice.randrange(1, 60)) for number in range(dice.randrange(1, 5))]
        sharing = Sharing(questions)
        at_work: list[tuple[Cell, str]] = []
        workers = {"w0", "w1", "w2"}
        for _ in range(10_000):
            if sharing.is_through:
                break
            worker = f"w{dice.randrange(3)}"
            cell = sharing.next(worker, 3)
            if cell is not None:
                at_work.append((cell, worker))
            if at_work and (cell is None or dice.random() < 0.5):
                back, worker = at_work.pop(dice.randrange(len(at_work)))
                match dice.randrange(10):
                    case 0:
                        sharing.lost(back)
                    case 1:
                        sharing.done(back, dataclasses.replace(came_of(back), failure=ModelError("x")), worker)
                    case 2 if back.question.settings.gpu_layers == "auto":
                        sharing.done(back, came_of(back, gpu_layers=dice.randrange(3)), worker)
                    case 3:
                        sharing.unfit(back, worker, ModelError("x"))
                    case _:
                        layers = back.question.settings.gpu_layers
                        layers = 0 if layers == "auto" else int(layers)
                        sharing.done(back, came_of(back, gpu_layers=layers), worker)
            sharing.without(workers)
        assert sharing.is_through
        assert sharing.next("w", 3) is None


# --- and the coordinator, with workers that come and go as the test says ---


class ComingAndGoing:
    """What `Workers` tells of the workers in `there`; those in `slow` never finish."""

    def __init__(self, there: set[str], slow: set[str]) -> None:
        self.there, self.slow = there, slow
        self.alike: dict[str, object] = {}
        self.left_out: set[str] = set()
        self.asked: list[str] = []

    async def present(self) -> set[str]:
        return set(self.there)

    def forget(self, address: str) -> None:
        pass

    async def admit(self, address: str, say: object) -> bool:
        return True

    async def on(self, address: str, function: object, order: Any) -> Outcome:
        self.asked.append(address)
        while address in self.there:
            await asyncio.sleep(0.01)
            if address not in self.slow:
                return Outcome(part=came_of(order.cell))
        raise WorkerLost(address)

    async def run(self, *arguments: object) -> None:
        pass


def test_idle_workers_that_go_together_cost_the_contender_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host, or an allocation, ends: only the cell at work is lost, and once; a worker that comes computes it."""

    async def no_files(sitting: object, question: Question) -> tuple[()]:
        return ()

    monkeypatch.setattr(coordinator._Sitting, "_files_of", no_files)
    monkeypatch.setattr(coordinator, "LOOK_SECONDS", 0.05)
    told: list[Part | str] = []

    async def sitting() -> None:
        workers: Any = ComingAndGoing(set("ABCD"), slow=set("ABCD"))
        run = asyncio.create_task(coordinator._Sitting(workers, answer, [question(1, 8)], "t", {}, told.append).run())
        while not workers.asked:
            await asyncio.sleep(0.01)
        workers.there = set()
        await asyncio.sleep(0.3)
        workers.there = {"E"}
        await asyncio.wait_for(run, 10)
        assert workers.asked[1:] == ["E"]

    asyncio.run(sitting())
    (part,) = (one for one in told if isinstance(one, Part))
    assert (part.failure, part.is_last) == (None, True)
