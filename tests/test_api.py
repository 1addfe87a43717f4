"""The Python API, used as a program would."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import gguf_bench
from gguf_bench import create_benchmark_runner, get_model_loader
from gguf_bench.errors import GgufBenchError, ModelError, StoreError
from gguf_bench.query import query
from tests.processes import is_alive

pytestmark = pytest.mark.model


def test_a_benchmark_from_a_program(smollm2: Path, releases: Path, tmp_path: Path) -> None:
    runner = create_benchmark_runner(db=tmp_path / "results.db")

    async def run() -> object:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.05)

        ticking = asyncio.create_task(tick())
        result = await runner.run_benchmark(
            models=["smollm2_135m"],
            tasks=["eps_extraction"],
            run_name="first",
            description="one model, two documents",
            dataset=str(releases),
            limit=2,
        )
        ticking.cancel()
        assert ticks > 5, "the event loop stood still"
        return result

    result = asyncio.run(run())
    assert list(result.model_metrics) == ["smollm2_135m"], "and not the baselines, which nobody asked for"
    metrics = result.model_metrics["smollm2_135m"]
    assert 0 <= metrics.final_score <= 1
    assert metrics.row["run_name"] == "first"
    assert metrics.error is None


NUMBER_OF_ANSWERS = "select count(*) from answers join contenders on id = contender_id where asked"


def test_a_cancelled_benchmark_stops_and_goes_on_later(smollm2: Path, releases: Path, tmp_path: Path) -> None:
    runner = create_benchmark_runner(db=tmp_path / "results.db")
    two_at_a_time: dict[str, Any] = {"dataset": str(releases), "parallel": 2}

    async def cancel_after_the_first_answer() -> None:
        running = asyncio.create_task(runner.run_benchmark(models=["smollm2_135m"], **two_at_a_time))
        while not (tmp_path / "results.db").exists() or not answers():
            await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    def answers() -> int:
        try:
            return int(next(query(tmp_path / "results.db", NUMBER_OF_ANSWERS)[1])[0])
        except StoreError:  # its tables are not there yet
            return 0

    asyncio.run(cancel_after_the_first_answer())
    assert 0 < answers() < 5
    result = asyncio.run(runner.run_benchmark(models=["smollm2_135m"], **two_at_a_time))
    assert (result.run_id, answers()) == (1, 5)


def test_a_baseline_is_measured_where_it_is_named(releases: Path, tmp_path: Path) -> None:
    runner = create_benchmark_runner(db=tmp_path / "results.db")
    result = asyncio.run(runner.run_benchmark(models=["baseline_null"], dataset=str(releases), grammar=False))
    assert list(result.model_metrics) == ["baseline_null"]
    assert result.model_metrics["baseline_null"].final_score == pytest.approx(1 / 3)
    assert result.model_metrics["baseline_null"].row["grammar"] == 0


@pytest.mark.parametrize("name", ["baseline_null", "baseline_nul"])
def test_a_baseline_cannot_be_loaded(tmp_path: Path, name: str) -> None:
    with pytest.raises(GgufBenchError, match="compare it instead" if name == "baseline_null" else "did you mean"):
        get_model_loader(db=tmp_path / "results.db").load(name)


@pytest.mark.parametrize(
    "arguments",
    [{"models": []}, {"models": ["smollm2_135m"], "limit": 0}, {"models": ["smollm2_135m"], "gpu_layers": "x"}],
)
def test_nonsense_is_refused(tmp_path: Path, arguments: dict[str, object]) -> None:
    runner = create_benchmark_runner(db=tmp_path / "results.db")
    with pytest.raises(GgufBenchError):
        asyncio.run(runner.run_benchmark(**arguments))


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    runner = create_benchmark_runner(db=tmp_path / "results.db")
    with pytest.raises(GgufBenchError, match="eps_extraction"):
        asyncio.run(runner.run_benchmark(models=["smollm2_135m"], tasks=["poetry"]))


def test_a_loaded_model_answers_and_gives_its_memory_back(smollm2: Path, tmp_path: Path) -> None:
    loader = get_model_loader(db=tmp_path / "results.db")
    model = loader.load("smollm2_135m", context=512)
    assert loader.load("smollm2_135m") is model
    first, second = (model.generate("What is 2 + 2?", max_tokens=12) for _ in range(2))
    assert first
    assert first == second
    with pytest.raises(ModelError, match="do not fit"):
        model.generate("word " * 600)
    assert model.generate("What is 2 + 2?", max_tokens=12) == first, "a message that did not fit ends nothing"
    loader.unload_model("smollm2_135m")
    assert not is_alive(model.pid)
    with pytest.raises(ModelError, match="not loaded"):
        model.generate("What is 2 + 2?")
    with pytest.raises(ModelError, match="not loaded"):
        loader.unload_model("smollm2_135m")


def test_only_the_two_names_are_public() -> None:
    assert gguf_bench.__all__ == ["create_benchmark_runner", "get_model_loader"]
    with pytest.raises(AttributeError):
        gguf_bench.nothing  # noqa: B018
