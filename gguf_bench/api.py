"""The Python API: run a comparison from a program, and hold a model in memory to ask it questions.

from gguf_bench import create_benchmark_runner, get_model_loader

runner = create_benchmark_runner()
result = await runner.run_benchmark(models=["smollm2_135m"], tasks=["eps_extraction"], run_name="first")
result.model_metrics["smollm2_135m"].final_score

loader = get_model_loader()
model = loader.load("smollm2_135m")
model.generate("What is diluted EPS?")
loader.unload_model("smollm2_135m")
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gguf_bench import dataset as datasets
from gguf_bench import llama_build, pipeline, prepare, results
from gguf_bench.catalog import Catalog, find_catalog, load_catalog, resolve
from gguf_bench.child import Child
from gguf_bench.errors import GgufBenchError, ModelError
from gguf_bench.excerpt import DEFAULT_EXCERPT_CHARS
from gguf_bench.paths import store_path
from gguf_bench.progress import SILENT, Bar, Progress
from gguf_bench.quants import quant
from gguf_bench.records import GgufFile, Verdict
from gguf_bench.store import Store

CONTEXT = 8192
"""Tokens a loaded model's conversation may have by default: models made for 128k would take gigabytes for it."""


@dataclass(frozen=True, slots=True)
class ModelMetrics:
    """One contender's figures. `final_score` is the EPS score (0 … 1), None where the contender failed.

    `row` is its row of the view `eps_scores`; `error` says why it failed.
    """

    final_score: float | None
    row: Mapping[str, Any]
    error: str | None


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """What a run came to. `model_metrics` is keyed by the model as it was named, plus " Q4_K_M" where several
    quantizations of it were asked for. Baselines are in it where they were named.
    """

    run_id: int
    model_metrics: Mapping[str, ModelMetrics]
    verdicts: Sequence[Verdict]


class _Stopped(Exception):
    """Ends a comparison that its caller has cancelled."""


class _Stoppable:
    """A progress that ends the work it watches, at its next sign of life, once `stopped` is set."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self.stopped = progress, threading.Event()

    def bar(self, label: str, total: float | None, unit: str) -> Bar:
        return _StoppableBar(self._progress.bar(label, total, unit), self.stopped)

    def say(self, line: str) -> None:
        self._progress.say(line)


class _StoppableBar:
    def __init__(self, bar: Bar, stopped: threading.Event) -> None:
        self._bar, self._stopped = bar, stopped

    def advance(self, amount: float) -> None:
        self._bar.advance(amount)
        if self._stopped.is_set():
            raise _Stopped

    def note(self, text: str) -> None:
        self._bar.note(text)

    def close(self) -> None:
        self._bar.close()


@dataclass(frozen=True, slots=True)
class BenchmarkRunner:
    """Runs comparisons into one store. Make it with `create_benchmark_runner`."""

    catalog: Catalog
    store_path: Path
    progress: Progress = SILENT

    async def run_benchmark(
        self,
        models: Sequence[str],
        tasks: Sequence[str] = ("eps_extraction",),
        run_name: str = "",
        description: str = "",
        *,
        quants: Sequence[str] = (),
        dataset: str = datasets.DEFAULT_DATASET,
        limit: int | None = None,
        excerpt_chars: int | None = DEFAULT_EXCERPT_CHARS,
        grammar: bool = True,
        gpu_layers: str = "auto",
        parallel: int | None = None,
        fresh: bool = False,
    ) -> BenchmarkResult:
        """Do what `gguf-bench compare` does, without blocking the event loop.

        Cancelled, it stops after the answer it is at, and the same call goes on from there. `models` are MODEL
        arguments, `quants` GGUF types. Raises GgufBenchError where nothing can be run at all; a contender that fails
        has its error in the result instead.
        """
        if len(tasks) != 1:
            raise GgufBenchError(f"tasks {list(tasks)}: one task is run at a time")
        options = pipeline.options(
            tasks[0],
            dataset,
            limit=limit,
            excerpt_chars=excerpt_chars,
            grammar=grammar,
            gpu_layers=gpu_layers,
            n_parallel=parallel,
            name=run_name,
            description=description,
            fresh=fresh,
        )
        specs = [resolve(model, self.catalog) for model in models]
        contenders = prepare.contenders(specs, [quant(name) for name in quants])
        stoppable = _Stoppable(self.progress)
        running = asyncio.ensure_future(asyncio.to_thread(self._run, contenders, options, stoppable))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stoppable.stopped.set()
            await asyncio.wait([running])
            raise

    def _run(
        self, contenders: Sequence[prepare.Contender], options: pipeline.Options, progress: Progress
    ) -> BenchmarkResult:
        store = Store(self.store_path, progress)
        try:
            run_id = pipeline.compare(contenders, options, store, progress)
            comparison = results.comparison([run_id], store)
        finally:
            store.close()
        rows = [row for row in comparison.leaderboard if row["asked"]]
        per_model = [row["model"] for row in rows]
        metrics = {
            row["model"] if per_model.count(row["model"]) == 1 else f"{row['model']} {row['quant']}": ModelMetrics(
                final_score=row["eps_score"], row=row, error=row["error"]
            )
            for row in rows
        }
        return BenchmarkResult(run_id=run_id, model_metrics=metrics, verdicts=comparison.verdicts)


def create_benchmark_runner(
    *, db: str | Path | None = None, models: str | Path | None = None, progress: Progress = SILENT
) -> BenchmarkRunner:
    """A runner on the store `db` and the catalog `models`; by default the ones the command line uses."""
    catalog = load_catalog(find_catalog(Path(models) if models else None))
    return BenchmarkRunner(catalog, Path(db) if db else store_path(), progress)


class LoadedModel:
    """A model in the memory of a process of its own. Made by `ModelLoader.load`."""

    def __init__(self, name: str, file: GgufFile, child: Child, loaded: Mapping[str, Any]) -> None:
        self.name, self.file = name, file
        self.n_ctx: int = loaded["n_ctx"]
        self.gpu_layers: int = loaded["gpu_layers"]
        self._child, self._turn = child, threading.Lock()

    @property
    def pid(self) -> int:
        """The process that holds the weights."""
        return self._child.pid

    def generate(self, message: str, max_tokens: int = 256) -> str:
        """The greedy answer to one user message, asked by the model's own chat template.

        Raises ModelError where message and answer do not fit the context, or the model was unloaded.
        """
        with self._turn:
            if not self._child.is_alive:
                raise ModelError(f"{self.name} is not loaded any more")
            self._child.send({"message": message, "max_tokens": max_tokens})
            event = self._child.receive()
        if event is None or event["event"] == "refused":
            raise ModelError(event["message"] if event else f"{self.name} is not loaded any more")
        return str(event["output"])

    @property
    def is_alive(self) -> bool:
        return self._child.is_alive

    def close(self) -> None:
        self._child.close()


@dataclass
class ModelLoader:
    """Loads models by name and frees them. Each lives in a process of its own, so unloading gives all memory back."""

    catalog: Catalog
    store_path: Path
    models: dict[str, LoadedModel] = field(default_factory=dict)

    def load(self, name: str, *, gpu_layers: str = "auto", context: int | None = None) -> LoadedModel:
        """The model a MODEL argument names, pulled, converted and quantized as needed; the same one if loaded already.

        `context` is its size in tokens: by default the entry's, else 8,192, and never more than the model's own.
        Raises GgufBenchError's kinds.
        """
        if name in self.models and self.models[name].is_alive:
            return self.models[name]
        spec = resolve(name, self.catalog)
        store = Store(self.store_path)
        try:
            with store.files_in_use():
                file = prepare.gguf_of(prepare.contenders([spec], [])[0], store)
        finally:
            store.close()
        settings = {
            "gpu_layers": gpu_layers,
            "extra_buffers": llama_build.extra_buffers_work(),
        }
        job = {
            "job": "chat",
            "path": str(file.path),
            "adapter": str(file.adapter.path) if file.adapter else None,
            "settings": settings,
            "template_kwargs": dict(spec.template_kwargs),
            "context": context or spec.context or CONTEXT,
        }
        child = Child(job, what=name)
        try:
            for event in child.events():
                if event["event"] == "loaded":
                    self.models[name] = LoadedModel(name, file, child, event)
                    return self.models[name]
        except BaseException:
            child.close()
            raise
        raise ModelError(f"{name} ended while it was loaded")

    def unload_model(self, name: str) -> None:
        """End the process that holds `name`; its memory is free when this returns. Raises ModelError if not loaded."""
        if name not in self.models:
            raise ModelError(f"{name} is not loaded", hint=f"loaded: {', '.join(self.models) or 'none'}")
        self.models.pop(name).close()


def get_model_loader(*, db: str | Path | None = None, models: str | Path | None = None) -> ModelLoader:
    """A loader on the catalog `models` and the store `db`; by default the ones the command line uses."""
    catalog = load_catalog(find_catalog(Path(models) if models else None))
    return ModelLoader(catalog, Path(db) if db else store_path())
