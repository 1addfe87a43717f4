"""The chain: nothing computed twice, nothing lost, a failed contender leaves the others alone.

Where a test is about what happens after llama.cpp, `FakeRuns` answers in its place; the real thing is in
test_end_to_end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gguf_bench import calibrate, llama_build, pipeline, prepare, results, session, tiny_gguf
from gguf_bench import dataset as datasets
from gguf_bench.baselines import BASELINES
from gguf_bench.catalog import baseline
from gguf_bench.errors import ChildDied, ModelError, QuantizeError, StoreError
from gguf_bench.gguf_header import read_header
from gguf_bench.pipeline import Options
from gguf_bench.prepare import contenders
from gguf_bench.quants import quant
from gguf_bench.records import Answer, Finished, GgufFile, Loaded, ModelSpec, Settings
from gguf_bench.run import prompt_sha256
from gguf_bench.store import Store
from gguf_bench.tasks import TASKS, Task
from tests.conftest import asked_for

BUILD = llama_build.Build("0 (ggml 0)", "CPU", supports_gpu_offload=False, physical_cores=2, devices=())
SPEC = ModelSpec(key="m", provider="package", package="p", display_name="M")


class FakeRuns:
    """Past llama.cpp's edge: answers "{number of the document}" and counts what it was asked; `fail_at` breaks it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.fail_at: int | None = None
        self.failure: Callable[[], BaseException] = lambda: ModelError("the model broke")
        self.settings: Settings

    def __call__(
        self,
        gguf: GgufFile,
        spec: ModelSpec,
        task: Task,
        messages: Mapping[str, str],
        settings: Settings,
        *,
        missing: Collection[str],
        progress: Any,
    ) -> Iterator[Loaded | Answer | Finished]:
        yield Loaded(load_seconds=1, n_ctx=512, gpu_layers=0, n_layers=2, gpu_build=False, peak_rss_bytes=1000)
        self.settings = settings
        asked = [(document_id, message) for document_id, message in messages.items() if document_id in missing]
        for number, (document_id, message) in enumerate(asked):
            if number == self.fail_at:
                raise self.failure()
            self.asked.append((f"{spec.key} {gguf.quant}", document_id))
            value = f"{document_id[1:]}.4{document_id[1:]}"
            yield Answer(
                document_id=document_id,
                status="answered",
                prompt_sha256=prompt_sha256(message),
                output=f'{{"basic": {value}, "diluted": null, "adjusted": null}}',
                prompt_tokens=10,
                decoded_prompt_tokens=10,
                generated_tokens=5,
                prompt_seconds=1,
                generation_seconds=1,
            )
        yield Finished(peak_rss_bytes=2000, peak_vram_bytes=None)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> FakeRuns:
    fake = FakeRuns()
    monkeypatch.setattr(session.run_stage, "run", fake)
    monkeypatch.setattr(llama_build, "look", lambda: BUILD)
    monkeypatch.setattr(prepare, "gguf_of", file_of)
    return fake


def file_of(contender: prepare.Contender, store: Store, progress: Any) -> GgufFile:
    name = contender.quant.name if contender.quant else "Q4_1"
    if contender.spec.key == "broken":
        raise QuantizeError("cannot be quantized")
    found = GgufFile(
        path=Path(f"/{name}.gguf"),
        shard_paths=(Path(f"/{name}.gguf"),),
        sha256=f"{contender.spec.key}-{name}",
        size_bytes=int(100 * contender.quant.bits_per_weight) if contender.quant else 400,
        quant=name,
        bits_per_weight=4.5,
        n_params=10,
        architecture="llama",
        context_train=512,
    )
    store.save_artifact(found, made_by="found", made_with={})
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results.db")


@pytest.fixture
def options(releases: Path) -> Options:
    return Options(task=TASKS["eps_extraction"], dataset=datasets.load(str(releases)), excerpt_chars=6000)


def changed(options: Options, **changes: Any) -> Options:
    return dataclasses.replace(options, **changes)


def leaderboard(run_id: int, store: Store) -> list[dict[str, Any]]:
    return asked_for(results.comparison([run_id], store).leaderboard)


def test_a_run_is_scored_and_ranked(runs: FakeRuns, store: Store, options: Options) -> None:
    run_id = pipeline.compare(contenders([SPEC], [quant("Q8_0"), quant("Q2_K")]), options, store)
    found = results.comparison([run_id], store)
    board = leaderboard(run_id, store)
    assert [row["quant"] for row in board] == ["Q2_K", "Q8_0"]  # of equals, the smaller file first
    # basic and adjusted are right, diluted is missed
    assert [row["eps_score"] for row in board] == [pytest.approx(2 / 3)] * 2
    assert [row["missed"] for row in board] == [5, 5]
    assert board[0]["documents_per_minute"] == pytest.approx(30)
    assert found.run["status"] == "finished"
    assert len(found.verdicts) == 1


def test_asking_again_computes_nothing_and_makes_no_second_run(runs: FakeRuns, store: Store, options: Options) -> None:
    asked = contenders([SPEC], [])
    first = pipeline.compare(asked, options, store)
    n_asked = len(runs.asked)
    assert pipeline.compare(asked, options, store) == first
    assert len(runs.asked) == n_asked


@pytest.mark.parametrize("stop", [KeyboardInterrupt, lambda: StoreError("disk full"), lambda: MemoryError()])
def test_a_stopped_run_goes_on_where_it_stopped(
    runs: FakeRuns, store: Store, options: Options, stop: Callable[[], BaseException]
) -> None:
    asked = contenders([SPEC], [quant("Q8_0"), quant("Q2_K")])
    runs.fail_at, runs.failure = 3, stop
    with pytest.raises(type(stop())):
        pipeline.compare(asked, options, store)
    assert store.runs()[0]["status"] == "interrupted"
    runs.fail_at = None
    run_id = pipeline.compare(asked, options, store)
    assert run_id == 1
    assert sorted(runs.asked) == sorted((f"m {q}", f"d{n}") for q in ("Q8_0", "Q2_K") for n in range(5))
    assert store.runs()[0]["status"] == "finished"


def test_a_run_gone_on_with_keeps_what_it_began_with(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the layers that "auto" put on a GPU: others would compute other answers."""
    monkeypatch.setattr(llama_build, "look", lambda: dataclasses.replace(BUILD, physical_cores=7))
    runs.fail_at = 3
    pipeline.compare(contenders([SPEC], []), options, store)
    assert (runs.settings.n_threads, runs.settings.gpu_layers) == (7, "auto")
    runs.fail_at = None
    monkeypatch.setattr(llama_build, "look", lambda: BUILD)
    assert pipeline.compare(contenders([SPEC], []), options, store) == 1
    assert (runs.settings.n_threads, runs.settings.gpu_layers) == (7, "0")


def test_another_number_side_by_side_is_another_run(runs: FakeRuns, store: Store, options: Options) -> None:
    assert pipeline.compare(contenders([SPEC], []), options, store) == 1
    assert pipeline.compare(contenders([SPEC], []), changed(options, n_parallel=1), store) == 2
    assert runs.settings.n_parallel == 1
    assert len(runs.asked) == 5 + 5


def test_a_model_added_later_is_run_as_the_others_were(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So that their answers are taken over, though another choice would be a little faster for it."""
    header, seconds = read_header(tiny_gguf.write(tmp_path / "tiny.gguf")), [2.0, 2.0, 1.0]
    monkeypatch.setattr(pipeline, "read_header", lambda path: header)
    monkeypatch.setattr(calibrate, "_costs", lambda subject, work, machine, *_: seconds)
    monkeypatch.setattr(calibrate, "parallel_that_fits", lambda headers, work, memory_bytes: 4)
    pipeline.compare(contenders([SPEC], []), options, store)
    assert (runs.settings.n_ubatch, runs.settings.n_parallel) == (256, 4)
    seconds[:] = [1.0, 1.0, 1.2]
    monkeypatch.setattr(calibrate, "parallel_that_fits", lambda headers, work, memory_bytes: 8)
    both = contenders([SPEC, dataclasses.replace(SPEC, key="n")], [])
    assert pipeline.compare(both, options, store) == 2
    assert (runs.settings.n_ubatch, runs.settings.n_parallel) == (256, 4)
    assert len(runs.asked) == 5 + 5
    pipeline.compare(both, changed(options, excerpt_chars=300), store)
    assert (runs.settings.n_ubatch, runs.settings.n_parallel) == (512, 8), "other prompts: nothing to take over"


def test_answers_that_depend_on_the_other_documents_are_not_taken_over(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sets of rotary factors: the longest document decides which one is used."""
    two_sets = SimpleNamespace(tensors=[SimpleNamespace(name="blk.0.rope_factors_long.weight")])
    monkeypatch.setattr(session, "read_header", lambda path: two_sets)
    monkeypatch.setattr(pipeline, "calibrated", lambda asked, files, prompts, options, settings, *_: settings)
    few = changed(options, dataset=datasets.limit(options.dataset, 2))
    pipeline.compare(contenders([SPEC], []), few, store)
    pipeline.compare(contenders([SPEC], []), options, store)
    assert len(runs.asked) == 2 + 5


def test_a_failed_contender_has_no_score_and_the_next_one_runs(runs: FakeRuns, store: Store, options: Options) -> None:
    specs = [ModelSpec(key="broken", provider="package", package="p"), SPEC]
    run_id = pipeline.compare(contenders(specs, []), options, store)
    good, bad = leaderboard(run_id, store)
    assert (bad["model"], bad["status"], bad["eps_score"], bad["error"]) == (
        "broken",
        "failed",
        None,
        "cannot be quantized",
    )
    assert good["status"] == "finished"


def test_a_contender_that_crashes_keeps_its_answers_for_the_next_try(
    runs: FakeRuns, store: Store, options: Options
) -> None:
    runs.fail_at = 2
    run_id = pipeline.compare(contenders([SPEC], []), options, store)
    (row,) = leaderboard(run_id, store)
    assert (row["status"], row["eps_score"], row["error"]) == ("failed", None, "the model broke")
    runs.fail_at = None
    assert pipeline.compare(contenders([SPEC], []), options, store) == run_id
    (row,) = leaderboard(run_id, store)
    assert (row["status"], row["error"], row["n_documents"]) == ("finished", None, 5)
    assert len(runs.asked) == 5


def test_another_run_reuses_answers_to_the_same_prompts(runs: FakeRuns, store: Store, options: Options) -> None:
    few = changed(options, dataset=datasets.limit(options.dataset, 2))
    pipeline.compare(contenders([SPEC], []), few, store)
    run_id = pipeline.compare(contenders([SPEC], [quant("Q2_K")]) + contenders([SPEC], []), options, store)
    assert run_id == 2
    assert len(runs.asked) == 2 + 5 + 3
    row = leaderboard(run_id, store)[0]
    assert row["n_documents"] == 5


def test_a_whole_copy_keeps_what_was_measured(runs: FakeRuns, store: Store, options: Options) -> None:
    pipeline.compare(contenders([SPEC], []), options, store)
    run_id = pipeline.compare(contenders([SPEC], []), changed(options, name="again"), store)
    (row,) = leaderboard(run_id, store)
    assert len(runs.asked) == 5
    assert (row["load_seconds"], row["peak_rss_bytes"], row["run_name"]) == (1, 2000, "again")


def test_what_a_chat_template_is_given_is_kept(runs: FakeRuns, store: Store, options: Options) -> None:
    quiet = dataclasses.replace(SPEC, key="quiet", template_kwargs={"enable_thinking": False})
    pipeline.compare(contenders([SPEC, quiet], []), options, store)
    kept = {row["model"]: row["template_kwargs"] for row in store.contenders(1)}
    assert (kept["m"], kept["quiet"]) == (None, '{"enable_thinking": false}')


def test_reuse_minds_the_contender_s_own_context(runs: FakeRuns, store: Store, options: Options) -> None:
    """Whether a prompt fits depends on it, so one file under two contexts is two experiments."""
    wide = ModelSpec(key="m", provider="package", package="p")
    narrow = dataclasses.replace(wide, context=200)
    pipeline.compare(contenders([wide], []), options, store)
    pipeline.compare(contenders([narrow], []), options, store)
    assert len(runs.asked) == 10


def test_answers_outlive_a_changed_dataset_and_are_scored_by_it(runs: FakeRuns, store: Store, options: Options) -> None:
    """The same documents in another file, one label mended: nothing is asked again, and the score is the new one."""
    (first,) = leaderboard(pipeline.compare(contenders([SPEC], []), options, store), store)
    documents = tuple(
        dataclasses.replace(document, gold={**document.gold, "diluted": None}) for document in options.dataset.documents
    )
    mended = dataclasses.replace(options.dataset, sha256="other", documents=documents)
    (second,) = leaderboard(pipeline.compare(contenders([SPEC], []), changed(options, dataset=mended), store), store)
    assert len(runs.asked) == 5
    assert first["eps_score"] == pytest.approx(2 / 3)
    assert second["eps_score"] == pytest.approx(1)


def test_a_finished_run_asked_for_again_stays_as_it_is(runs: FakeRuns, store: Store, options: Options) -> None:
    run_id = pipeline.compare(contenders([SPEC], []), options, store)
    store.set_run(run_id, finished="then")
    pipeline.compare(contenders([SPEC], []), changed(options, description="better words"), store)
    run = store.run(run_id)
    assert (run["finished"], run["status"], run["description"]) == ("then", "finished", "better words")


def test_a_fresh_run_that_was_stopped_goes_on(runs: FakeRuns, store: Store, options: Options) -> None:
    pipeline.compare(contenders([SPEC], []), options, store)
    fresh = changed(options, fresh=True)
    runs.fail_at, runs.failure = 2, KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        pipeline.compare(contenders([SPEC], []), fresh, store)
    assert [row["status"] for row in store.contenders(2) if row["asked"]] == ["interrupted"]
    runs.fail_at = None
    assert pipeline.compare(contenders([SPEC], []), fresh, store) == 2
    assert len(runs.asked) == 10
    assert pipeline.compare(contenders([SPEC], []), fresh, store) == 3


def test_a_model_that_leaves_documents_out_has_failed(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_only(*arguments: Any, missing: Any, progress: Any) -> Any:
        yield from FakeRuns()(*arguments, missing=missing[:1], progress=progress)

    monkeypatch.setattr(session.run_stage, "run", first_only)
    (row,) = leaderboard(pipeline.compare(contenders([SPEC], []), options, store), store)
    assert (row["status"], row["eps_score"], row["error"]) == ("failed", None, "answered 1 of 5 documents")


def test_a_file_that_cannot_be_read_is_one_failed_contender(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(contender: prepare.Contender, store: Store, progress: Any) -> GgufFile:
        if contender.spec.key == "broken":
            raise PermissionError(13, "Permission denied", "/models/broken.gguf")
        return file_of(contender, store, progress)

    monkeypatch.setattr(prepare, "gguf_of", unreadable)
    specs = [ModelSpec(key="broken", provider="package", package="p"), SPEC]
    board = leaderboard(pipeline.compare(contenders(specs, []), options, store), store)
    assert [(row["model"], row["error"]) for row in board] == [
        ("m", None),
        ("broken", "/models/broken.gguf: Permission denied"),
    ]


@pytest.mark.parametrize("change", [{"excerpt_chars": 200}, {"gpu_layers": "0"}, {"fresh": True}, {"grammar": False}])
def test_what_changes_the_experiment_is_computed_anew(
    runs: FakeRuns, store: Store, options: Options, change: dict[str, Any]
) -> None:
    long = options.dataset.documents[0]
    text = "Some words about nothing at all.\n" * 20 + long.text
    documents = tuple(dataclasses.replace(document, text=text) for document in options.dataset.documents)
    options = changed(options, dataset=dataclasses.replace(options.dataset, documents=documents))
    pipeline.compare(contenders([SPEC], []), options, store)
    assert pipeline.compare(contenders([SPEC], []), changed(options, **change), store) == 2
    assert len(runs.asked) == 10


def test_a_changed_file_is_another_run(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.compare(contenders([SPEC], []), options, store)

    def other_bytes(contender: prepare.Contender, store: Store, progress: Any) -> GgufFile:
        found = dataclasses.replace(file_of(contender, store, progress), sha256="other")
        store.save_artifact(found, made_by="found", made_with={})
        return found

    monkeypatch.setattr(prepare, "gguf_of", other_bytes)
    assert pipeline.compare(contenders([SPEC], []), options, store) == 2
    assert len(runs.asked) == 10


def test_another_llama_cpp_is_another_run(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.compare(contenders([SPEC], []), options, store)
    monkeypatch.setattr(llama_build, "look", lambda: dataclasses.replace(BUILD, version="1"))
    assert pipeline.compare(contenders([SPEC], []), options, store) == 2


def test_a_build_with_broken_amx_is_run_without_it_and_said(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Heard(pipeline.SILENT.__class__):  # type: ignore[misc]
        def say(self, line: str) -> None:
            said.append(line)

    monkeypatch.setattr(llama_build, "cpu_has_amx", lambda: True)
    crash = ChildDied("a decode", -11, [])
    monkeypatch.setattr(llama_build, "decodes", lambda *, extra_buffers: crash if extra_buffers else None)
    run_id = pipeline.compare(contenders([SPEC], []), options, store, Heard())
    assert store.run(run_id)["settings"]["extra_buffers"] is False
    assert any("AMX" in line and "-fno-tree-dse" in line for line in said)

    monkeypatch.setattr(llama_build, "decodes", lambda *, extra_buffers: pytest.fail("was tried already"))
    assert not llama_build.extra_buffers_work()


@pytest.mark.parametrize(
    ("spec", "quants", "expected"),
    [
        (ModelSpec(key="a", name="o/a"), [], ["Q4_K_M"]),
        (ModelSpec(key="a", name="o/a", quantization="Q8_0"), [], ["Q8_0"]),
        (ModelSpec(key="a", name="o/a", quantization="Q8_0"), ["Q2_K", "Q2_K"], ["Q2_K"]),
        (ModelSpec(key="a", name="o/a", ready_quantization="Q5_K_M"), [], [None]),
        (ModelSpec(key="a", provider="package", package="p", quantization="Q4_1"), [], [None]),
        (ModelSpec(key="a", provider="file", path=Path("/x/a.gguf")), [], [None]),
        (ModelSpec(key="a", provider="file", path=Path("/x/a")), [], ["Q4_K_M"]),
    ],
)
def test_which_quantization_a_model_is_run_at(spec: ModelSpec, quants: list[str], expected: list[str | None]) -> None:
    found = contenders([spec], [quant(name) for name in quants])
    assert [contender.quant.name if contender.quant else None for contender in found] == expected


def test_an_adapter_that_changed_is_asked_anew(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base and adapter together are what answered: another adapter on the same base is another contender."""

    def tuned(adapter: str) -> Callable[..., GgufFile]:
        def gguf_of(contender: prepare.Contender, store: Store, progress: Any) -> GgufFile:
            base = file_of(contender, store, progress)
            file = dataclasses.replace(base, sha256=adapter, quant="F32", path=Path(f"/{adapter}.gguf"))
            store.save_artifact(file, made_by="converted", made_with={})
            return dataclasses.replace(base, adapter=file)

        return gguf_of

    def run(adapter: str) -> tuple[int, int]:
        """(the run's id, how many questions it took)"""
        monkeypatch.setattr(prepare, "gguf_of", tuned(adapter))
        before = len(runs.asked)
        return pipeline.compare(contenders([SPEC], [quant("Q8_0")]), options, store), len(runs.asked) - before

    first, n_first = run("one")
    second, n_second = run("two")
    assert (n_first, n_second) == (5, 5)
    assert second != first
    assert run("two") == (second, 0)
    assert [store.contenders(run_id)[0]["adapter_sha256"] for run_id in (first, second)] == ["one", "two"]


# --- what no model gives ---

NULL = baseline("baseline_null")


def test_the_baselines_stand_in_every_run(runs: FakeRuns, store: Store, options: Options) -> None:
    run_id = pipeline.compare(contenders([SPEC], []), options, store)
    found = results.comparison([run_id], store)
    rows = {row["model"]: row for row in found.leaderboard}
    assert set(rows) == {"m", *BASELINES}
    null = rows["baseline_null"]
    assert (null["status"], null["model_group"], null["display_name"]) == ("finished", "baselines", "null, no model")
    assert (null["eps_score"], null["n_documents"], null["asked"]) == (pytest.approx(1 / 3), 5, 0)  # none is adjusted
    unknown = ("quant", "file_sha256", "size_bytes", "documents_per_minute", "prompt_tokens_per_second", "wall_seconds")
    assert {null[name] for name in unknown} == {None}
    assert found.verdicts == [], "the model is compared with nothing that was not asked for"
    assert store.runs()[0]["n_contenders"] == 1
    assert store.runs()[0]["best_eps_score"] == rows["m"]["eps_score"]


def test_a_baseline_reads_what_models_read(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, str]] = []

    def answer(document: Any, excerpt: str) -> str:
        read.append((document.id, excerpt))
        return '{"basic": 0.40, "diluted": null, "adjusted": null}'

    monkeypatch.setitem(BASELINES, "baseline_null", answer)
    options = changed(options, excerpt_chars=60)
    run_id = pipeline.compare(contenders([SPEC], []), options, store)
    assert dict(read) == pipeline.excerpts(options)
    assert all(len(excerpt) <= 60 for _, excerpt in read)
    model, *others = store.contenders(run_id)
    (null,) = [row for row in others if row["model"] == "baseline_null"]
    assert [answer["basic"] for answer in store.answers(null["id"])] == [0.4] * 5
    prompts = [
        {answer["document_id"]: answer["prompt_sha256"] for answer in store.answers(row["id"])} for row in (model, null)
    ]
    assert prompts[0] == prompts[1]


def test_a_baseline_that_is_asked_for_is_compared_with_each_model(
    runs: FakeRuns, store: Store, options: Options
) -> None:
    """That is another comparison than one it only stands beside, and each is found again."""
    beside = pipeline.compare(contenders([SPEC], []), options, store)
    asked = contenders([SPEC, NULL], [])
    named = pipeline.compare(asked, options, store)
    assert named != beside
    assert len(runs.asked) == 5, "the model's answers are known"
    (verdict,) = results.comparison([named], store).verdicts
    assert (verdict.better, verdict.worse) == ("m Q4_1", "baseline_null")
    assert [row["model"] for row in store.contenders(named)] == ["m", "baseline_null", *(set(BASELINES) - {NULL.key})]
    assert store.runs()[0]["n_contenders"] == 2
    assert pipeline.compare(asked, options, store) == named
    assert pipeline.compare(contenders([SPEC], []), options, store) == beside


def test_baselines_alone_need_no_llama_cpp(store: Store, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: Any, **__: Any) -> Any:
        pytest.fail("llama.cpp was looked for")

    monkeypatch.setattr(llama_build.child, "Child", loaded)
    monkeypatch.setattr(llama_build.importlib.metadata, "version", loaded)
    monkeypatch.setattr(pipeline, "version", lambda name: "0")
    asked = contenders([NULL], [quant("Q8_0")])
    assert [contender.quant for contender in asked] == [None]
    run_id = pipeline.compare(asked, options, store)
    assert [row["status"] for row in results.comparison([run_id], store).leaderboard] == ["finished"] * len(BASELINES)
    assert pipeline.compare(asked, options, store) == run_id


def test_a_stopped_baseline_goes_on(store: Store, options: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def answer(document: Any, excerpt: str) -> str:
        read.append(document.id)
        if len(read) == 4:
            raise KeyboardInterrupt
        return "{}"

    monkeypatch.setitem(BASELINES, "baseline_null", answer)
    monkeypatch.setattr(session, "SAVED_TOGETHER", 2)
    with pytest.raises(KeyboardInterrupt):
        pipeline.compare(contenders([NULL], []), options, store)
    assert store.runs()[0]["status"] == "interrupted"
    assert len(store.answers(1)) == 2
    assert pipeline.compare(contenders([NULL], []), options, store) == 1
    assert read == ["d0", "d1", "d2", "d3", "d2", "d3", "d4"]
    assert store.runs()[0]["status"] == "finished"


def test_rules_that_break_leave_the_models_alone(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(document: Any, excerpt: str) -> str:
        raise IndexError("no such row")

    monkeypatch.setitem(BASELINES, "baseline_null", answer)
    board = results.comparison([pipeline.compare(contenders([SPEC], []), options, store)], store).leaderboard
    rows = {row["model"]: row for row in board}
    assert rows["m"]["status"] == "finished"
    broken = rows["baseline_null"]
    assert (broken["status"], broken["eps_score"]) == ("failed", None)
    assert broken["error"] == "its rules broke at d0: IndexError: no such row"


def test_changed_rules_are_asked_anew_and_models_are_not(
    runs: FakeRuns, store: Store, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.compare(contenders([SPEC], []), options, store)
    monkeypatch.setattr(pipeline, "BASELINES_VERSION", "changed")
    monkeypatch.setitem(BASELINES, "baseline_null", lambda document, excerpt: "other")
    assert pipeline.compare(contenders([SPEC], []), options, store) == 2
    assert len(runs.asked) == 5
    outputs = store.rows(
        "select run_id, settings_sha256, output from answers join contenders on id = contender_id"
        " where model = 'baseline_null' and document_id = 'd1' order by run_id"
    )
    assert outputs[1]["output"] == "other" != outputs[0]["output"]
    assert outputs[0]["settings_sha256"] != outputs[1]["settings_sha256"]


def test_a_baseline_has_no_file(store: Store) -> None:
    for make in (prepare.pull, prepare.convert, lambda spec, store: prepare.quantize(spec, [quant("Q8_0")], store)):
        with pytest.raises(ModelError, match="there is no file of it; compare it instead"):
            make(NULL, store)


# --- free answers ---


def test_free_answers_are_another_experiment(runs: FakeRuns, store: Store, options: Options) -> None:
    held = pipeline.compare(contenders([SPEC], []), options, store)
    assert (runs.settings.grammar, runs.settings.jump_forward, runs.settings.max_answer_tokens) == (True, True, 96)
    free = pipeline.compare(contenders([SPEC], []), changed(options, grammar=False), store)
    assert (runs.settings.grammar, runs.settings.jump_forward, runs.settings.max_answer_tokens) == (False, False, 256)
    assert free != held
    assert len(runs.asked) == 10
    assert [store.run(run_id)["settings"]["grammar"] for run_id in (held, free)] == [True, False]
    assert {row["grammar"] for row in store.leaderboard(held)} == {1}
    assert {row["grammar"] for row in store.leaderboard(free)} == {0}
    assert pipeline.compare(contenders([SPEC], []), options, store) == held
    assert pipeline.compare(contenders([SPEC], []), changed(options, grammar=False), store) == free
    pipeline.compare(contenders([SPEC], []), changed(options, grammar=False, name="again"), store)
    assert len(runs.asked) == 10, "free answers are known to later free runs"


# --- tiers and excerpts ---


def tiered(options: Options, **changes: Any) -> Options:
    """d0 … d4 are easy, hard, easy, hard, easy."""
    documents = tuple(
        dataclasses.replace(document, tier=("easy", "hard")[number % 2], **changes)
        for number, document in enumerate(options.dataset.documents)
    )
    return changed(options, dataset=dataclasses.replace(options.dataset, sha256="tiered", documents=documents))


def test_each_tier_has_its_score(runs: FakeRuns, store: Store, options: Options) -> None:
    """The model reads basic and adjusted right, also where the hard ones give an adjusted figure that it misses."""
    options = tiered(options)
    documents = tuple(
        dataclasses.replace(document, gold={**document.gold, "adjusted": Decimal("7.77")})
        if document.tier == "hard"
        else document
        for document in options.dataset.documents
    )
    options = changed(options, dataset=dataclasses.replace(options.dataset, documents=documents))
    (row,) = leaderboard(pipeline.compare(contenders([SPEC], []), options, store), store)
    assert list(row["tiers"]) == ["easy", "hard"]
    assert row["tiers"]["easy"] == {"n_documents": 3, "eps_score": pytest.approx(2 / 3)}
    assert row["tiers"]["hard"] == {"n_documents": 2, "eps_score": pytest.approx(1 / 3)}


def test_documents_of_no_tier_have_no_score_by_tier(runs: FakeRuns, store: Store, options: Options) -> None:
    run_id = pipeline.compare(contenders([SPEC], []), options, store)
    assert [row["tiers"] for row in results.comparison([run_id], store).leaderboard] == [{}] * (1 + len(BASELINES))


def test_what_the_excerpts_keep_is_known(store: Store, options: Options) -> None:
    """d3's figures stand behind a text that leaves no room for them."""
    documents = tuple(
        dataclasses.replace(document, text="Nothing to see here, move along. " * 9 + "Of d3 nothing is told.")
        if document.id == "d3"
        else document
        for document in options.dataset.documents
    )
    options = changed(options, dataset=dataclasses.replace(options.dataset, documents=documents))
    run_id = pipeline.compare(contenders([NULL], []), options, store)
    assert results.comparison([run_id], store).excerpts == {
        "n_documents": 5,
        "gold_figures": 10,
        "gold_kept": 8,
        "lost": {"d3": ["basic", "diluted"]},
    }
    rows = {row["document_id"]: row for row in store.excerpts(run_id)}
    assert (rows["d3"]["text_chars"], rows["d3"]["gold_figures"], rows["d3"]["gold_kept"]) == (319, 2, 0)
    assert rows["d0"]["lost"] is None
    assert rows["d0"]["excerpt_chars"] == len(documents[0].text)


def test_a_run_of_an_earlier_version_has_no_excerpts(store: Store, options: Options) -> None:
    run_id = pipeline.compare(contenders([NULL], []), options, store)
    with store._writing() as connection:
        connection.execute("delete from excerpts")
    assert results.comparison([run_id], store).excerpts is None
