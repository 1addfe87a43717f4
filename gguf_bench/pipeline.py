"""The arrows themselves: what a comparison is of, which run it goes on with, and every contender in its turn.

    contender -> prepare -> session -> store

Together with what it joins (`prepare`, `session`, `results`) the only writer of the store.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from gguf_bench import calibrate, llama_build
from gguf_bench import dataset as datasets
from gguf_bench import run as run_stage
from gguf_bench.baselines import BASELINES, BASELINES_VERSION
from gguf_bench.catalog import baseline
from gguf_bench.errors import GgufBenchError
from gguf_bench.excerpt import DEFAULT_EXCERPT_CHARS, EXCERPT_VERSION, excerpt, gold_kept
from gguf_bench.gguf_header import read_header
from gguf_bench.place import HERE, Cluster, Place
from gguf_bench.prepare import NO_FILE, Contender, Prepared, prepared
from gguf_bench.progress import SILENT, Progress
from gguf_bench.records import (
    Dataset,
    GgufFile,
    ModelSpec,
    Settings,
)
from gguf_bench.results import rescore_if_old
from gguf_bench.session import Session, Turn, adapter_sha256, price, settings_of
from gguf_bench.store import Row, Store, now, settings_sha256
from gguf_bench.tasks import TASKS, Task

MOST_PARALLEL = 128
"""llama.cpp has room for 256 sequences, and one is what all prompts begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a comparison was asked for, apart from its contenders. `excerpt_chars` None sends the whole text.

    `n_parallel` None is as many sequences side by side as the memory allows, up to a limit. Without `grammar` answers
    are free.
    """

    task: Task
    dataset: Dataset
    excerpt_chars: int | None
    grammar: bool = True
    gpu_layers: str = "auto"
    n_parallel: int | None = None
    name: str = ""
    description: str = ""
    fresh: bool = False


def options(
    task: str = "eps_extraction",
    dataset: str | None = None,
    *,
    limit: int | None = None,
    excerpt_chars: int | None = DEFAULT_EXCERPT_CHARS,
    grammar: bool = True,
    gpu_layers: str = "auto",
    n_parallel: int | None = None,
    name: str = "",
    description: str = "",
    fresh: bool = False,
) -> Options:
    """Options from what a user says: a task's name, a dataset's name or file, at most `limit` of its documents.

    Raises GgufBenchError for an unknown task or number of layers, DatasetError for a dataset that cannot be read.
    """
    if task not in TASKS:
        raise GgufBenchError(f"no task {task!r}", hint=f"there is {', '.join(TASKS)}")
    if gpu_layers not in ("auto", "all") and not gpu_layers.isdecimal():
        raise GgufBenchError(f"gpu_layers {gpu_layers!r} is neither auto, all nor a number")
    if n_parallel is not None and not 1 <= n_parallel <= MOST_PARALLEL:
        raise GgufBenchError(f"{n_parallel} sequences side by side; 1 to {MOST_PARALLEL} can be")
    documents = datasets.load(dataset or datasets.DEFAULT_DATASET)
    return Options(
        task=TASKS[task],
        dataset=documents if limit is None else datasets.limit(documents, limit),
        excerpt_chars=excerpt_chars,
        grammar=grammar,
        gpu_layers=gpu_layers,
        n_parallel=n_parallel,
        name=name,
        description=description,
        fresh=fresh,
    )


def compare(
    asked: Sequence[Contender],
    options: Options,
    store: Store,
    progress: Progress = SILENT,
    cluster: Cluster | None = None,
) -> int:
    """Run every contender that is not finished yet, store what it answers, and return the run's id.

    Beside the contenders that are asked for stand the baselines, so that every run shows what no model gives. A
    contender that fails is recorded with its reason and the next one runs. Interrupted, the run is left resumable: the
    same call goes on where it stopped. A finished run asked for again is left as it is, unless `fresh` or a contender
    failed in it. With `cluster` files are asked there, all at once; what is pulled, made and stored is so here. Raises
    GgufBenchError where there is nothing to compare or to compare with, ClusterError where the cluster goes away.
    """
    if not asked:
        raise GgufBenchError("there is no model to compare")
    key, place = _run_key(asked, options), cluster or HERE
    everyone = _with_baselines(asked)
    with store.run_lock(key):
        has_file = any(contender.spec.provider not in NO_FILE for contender in asked)
        build = place.look() if has_file else llama_build.NO_BUILD
        files = [prepared(contender, store, progress) for contender in everyone]
        settings = basic_settings(build, options, progress, place)
        found = _run_to_go_on_with(key, files, options, settings, store)
        if found is not None:
            rescore_if_old(found[0], store, progress)
        if found is not None and _is_through(found[0], store):
            price(everyone, store.contenders(found[0]), store)
            return found[0]
        shown = excerpts(options)
        prompts = _messages(options, shown)
        if found is None:
            usual = _usual(settings, options, store)
            settings = calibrated(
                *(everyone, files, list(prompts.values()), options, settings, build, progress, place, usual)
            )
            found = _created(key, everyone, len(asked), options, settings, build, place, store), settings
        run_id, settings = found
        store.save_excerpts(run_id, _excerpt_rows(options, shown))
        rows = store.contenders(run_id)
        store.set_run(run_id, status="running")
        documents = {document.id: document for document in options.dataset.documents}
        session = Session(options.task, settings, store, progress, documents, shown, prompts, is_fresh=options.fresh)
        try:
            turns = [
                Turn(contender, file, row["id"])
                for contender, file, row in zip(everyone, files, rows, strict=True)
                if row["status"] != "finished"
            ]
            if cluster is not None:
                session.run_on(cluster, [turn for turn in turns if isinstance(turn.file, GgufFile)])
                turns = [turn for turn in turns if not isinstance(turn.file, GgufFile)]
            for turn in turns:
                session.run(turn)
        except BaseException:
            store.interrupt(run_id)
            raise
        store.set_run(run_id, status="finished", finished=now())
        return run_id


def _with_baselines(asked: Sequence[Contender]) -> list[Contender]:
    """`asked`, and behind them the baselines that are not among them."""
    named = {contender.spec.key for contender in asked}
    return [*asked, *(Contender(baseline(name), None) for name in BASELINES if name not in named)]


def _is_through(run_id: int, store: Store) -> bool:
    finished = all(row["status"] == "finished" for row in store.contenders(run_id))
    return finished and store.run(run_id)["status"] == "finished"


def basic_settings(
    build: llama_build.Build, options: Options, progress: Progress = SILENT, place: Place = HERE
) -> Settings:
    """What is known of a comparison's settings before any model is looked at; see `calibrated`."""
    is_needed = build != llama_build.NO_BUILD
    extra_buffers = is_needed and place.extra_buffers_work()
    if is_needed and not extra_buffers and (note := place.crash_note()):
        progress.say(note)
    return Settings(
        engine=run_stage.ENGINE,
        task=f"{options.task.name} {options.task.version}",
        build=build.name,
        machine=build.machine,
        gpu_layers=options.gpu_layers,
        n_threads=build.physical_cores,
        n_parallel=options.n_parallel or calibrate.USUAL_PARALLEL,
        grammar=options.grammar,
        jump_forward=options.grammar,
        extra_buffers=extra_buffers,
        max_answer_tokens=options.task.answer_tokens(grammar=options.grammar),
        **calibrate.CHOICES[0],
    )


CHOSEN = ("n_threads", "n_parallel", "n_ubatch", "flash_attention", "kv_type")
"""What of the settings the program chooses when a run begins; gone on with, the run keeps it."""


def _began_with(run: Row) -> Settings | None:
    """The settings of a stored run; None where they are those of an earlier version."""
    stored = json.loads(run["settings"])
    known = {field.name for field in dataclasses.fields(Settings)}
    return Settings(**stored) if stored.keys() == known else None


def _same_but_for_choice(settings: Settings, began_with: Settings) -> bool:
    """Whether the two are the same but for what was CHOSEN."""
    return replace(settings, **{name: getattr(began_with, name) for name in CHOSEN}) == began_with


def _usual(settings: Settings, options: Options, store: Store) -> Settings | None:
    """What the newest run of files began with that was asked for these documents in this way; None without one."""
    earlier = store.rows(
        "select settings from runs where dataset_sha256 = ? and excerpt_chars is ? and exists"
        " (select 1 from contenders where run_id = runs.id and file_sha256 is not null) order by id desc",
        [options.dataset.sha256, options.excerpt_chars],
    )
    began_with = (found for run in earlier if (found := _began_with(run)) is not None)
    return next((found for found in began_with if _same_but_for_choice(settings, found)), None)


def calibrated(
    asked: Sequence[Contender],
    files: Sequence[Prepared],
    prompts: Sequence[str],
    options: Options,
    settings: Settings,
    build: llama_build.Build,
    progress: Progress = SILENT,
    place: Place = HERE,
    usual: Settings | None = None,
) -> Settings:
    """`settings` with what suits the machine, all the files and `prompts` best: the same for every contender.

    What an earlier run chose, the `usual`, is kept where it can be and is not much slower.
    """
    pairs = [(contender.spec, file) for contender, file in zip(asked, files, strict=True) if isinstance(file, GgufFile)]
    headers = {}
    for _, file in pairs:
        with suppress(GgufBenchError):  # the run itself will say what is wrong with the file
            headers[file.path] = read_header(file.path)
    if not headers or not prompts:
        return settings
    work = calibrate.work(prompts, has_grammar=settings.grammar, max_answer_tokens=settings.max_answer_tokens)
    if options.n_parallel is None:
        gpu_bytes = sum(gpu["total_bytes"] for gpu in build.gpus) if options.gpu_layers != "0" else 0
        n_parallel = calibrate.parallel_that_fits(list(headers.values()), work, gpu_bytes or place.memory_bytes())
        settings = replace(settings, n_parallel=min(n_parallel, usual.n_parallel) if usual else n_parallel)
    if usual is not None:
        work = replace(work, usual={name: getattr(usual, name) for name in calibrate.CHOICES[0]})
    subjects = {
        header.shape_key: calibrate.Subject(
            path=file.path,
            header=header,
            settings=dataclasses.asdict(settings),
            template_kwargs=dict(spec.template_kwargs),
        )
        for spec, file in pairs
        if (header := headers.get(file.path)) is not None
    }
    return replace(settings, **place.choose(list(subjects.values()), work, build.name + build.machine, progress))


def _run_key(asked: Sequence[Contender], options: Options) -> str:
    """What makes two calls the same comparison: everything that was asked for, nothing about the machine.

    A baseline that is asked for is compared with each model, one that is not only stands beside them: two comparisons.
    """
    identity = {
        "name": options.name,
        "task": [options.task.name, options.task.version, options.task.prompt_version],  # a scorer can be changed
        "dataset": [options.dataset.sha256, [document.id for document in options.dataset.documents]],
        "excerpt": [options.excerpt_chars, EXCERPT_VERSION],
        "grammar": options.grammar,
        "gpu_layers": options.gpu_layers,
        "n_parallel": options.n_parallel,
        "baselines": [BASELINES_VERSION, list(BASELINES)],
        "contenders": [[_identity(c.spec), c.quant.name if c.quant else None] for c in asked],
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()


def _identity(spec: ModelSpec) -> dict[str, Any]:
    """What of an entry changes answers: a price may be mended without asking, and paying, again."""
    return {name: value for name, value in dataclasses.asdict(spec).items() if name not in NO_PART_OF_AN_ANSWER}


NO_PART_OF_AN_ANSWER = ("concurrency", "usd_per_million_prompt_tokens", "usd_per_million_generated_tokens")


def _run_to_go_on_with(
    key: str, files: Sequence[Prepared], options: Options, settings: Settings, store: Store
) -> tuple[int, Settings] | None:
    """The run that was begun before and the settings it began with; None where there is none, or it is not alike.

    Alike means the same files, machine and llama.cpp; what was CHOSEN stays what the run began with. With `fresh` only
    an unfinished run that was asked for with it is gone on with.
    """
    run = store.find_run(key)
    if run is None or (options.fresh and not (run["fresh"] and run["status"] != "finished")):
        return None
    began_with = _began_with(run)
    if began_with is None or not _same_but_for_choice(settings, began_with):
        return None
    if not all(_same_files(row, file) for row, file in zip(store.contenders(run["id"]), files, strict=True)):
        return None
    if options.description:
        store.set_run(run["id"], description=options.description)
    return run["id"], began_with


def _created(
    key: str,
    everyone: Sequence[Contender],
    n_asked: int,
    options: Options,
    settings: Settings,
    build: llama_build.Build,
    place: Place,
    store: Store,
) -> int:
    """The id of a new run, its contenders pending. The first `n_asked` of them were asked for."""
    task, dataset = options.task, options.dataset
    facts = {
        "key": key,
        "name": options.name,
        "description": options.description,
        "task": task.name,
        "task_version": task.version,
        "prompt_version": task.prompt_version,
        "scorer_version": task.scorer_version,
        "dataset": dataset.name,
        "dataset_sha256": dataset.sha256,
        "n_documents": len(dataset.documents),
        "excerpt_chars": options.excerpt_chars,
        "excerpt_version": EXCERPT_VERSION,
        "fresh": options.fresh,
        "settings": json.dumps(dataclasses.asdict(settings), sort_keys=True),
        "machine": json.dumps(_machine(build, place)),
        "versions": json.dumps(
            {
                "gguf_bench": version("gguf-bench"),
                "llama_cpp": build.version or None,
                "python": platform.python_version(),
            }
        ),
    }
    rows = [
        {
            "model": contender.spec.key,
            "display_name": contender.spec.display_name or contender.spec.key,
            "model_group": contender.spec.group,
            "parameters": contender.spec.parameters,
            "quant": contender.quant.name if contender.quant else None,
            "settings_sha256": _settings_sha256(contender, settings),
            "status": "pending",
            "asked": position < n_asked,
            "template_kwargs": json.dumps(contender.spec.template_kwargs) if contender.spec.template_kwargs else None,
        }
        for position, contender in enumerate(everyone)
    ]
    store.save_documents(dataset.sha256, dataset.documents)
    return store.create_run(facts, rows)


def _same_files(row: Row, file: Prepared) -> bool:
    if row["file_sha256"] is None or not isinstance(file, GgufFile):
        return True
    return (row["file_sha256"], row["adapter_sha256"]) == (file.sha256, adapter_sha256(file))


def _settings_sha256(contender: Contender, settings: Settings) -> str:
    """What the answers of a contender hang on beside the prompts; those of a baseline on nothing but its rules."""
    if contender.spec.provider == "baseline":
        return hashlib.sha256(f"{contender.spec.key} {BASELINES_VERSION}".encode()).hexdigest()
    return settings_sha256(settings_of(contender, settings))


def _machine(build: llama_build.Build, place: Place) -> dict[str, Any]:
    return {
        "cpu": next((device["description"] for device in build.devices if device["kind"] == "cpu"), ""),
        "physical_cores": build.physical_cores,
        "gpus": [{name: gpu[name] for name in ("description", "total_bytes")} for gpu in build.gpus],
        **place.facts(),
    }


def messages(options: Options) -> dict[str, str]:
    """Document id -> the user message that asks about it."""
    return _messages(options, excerpts(options))


def excerpts(options: Options) -> dict[str, str]:
    """Document id -> what of its text every contender gets to read."""
    return {document.id: excerpt(document.text, options.excerpt_chars) for document in options.dataset.documents}


def _messages(options: Options, shown: Mapping[str, str]) -> dict[str, str]:
    return {document.id: options.task.prompt(document, shown[document.id]) for document in options.dataset.documents}


def _excerpt_rows(options: Options, shown: Mapping[str, str]) -> Iterator[Row]:
    """Rows of `excerpts`: the excerpts `shown`, and what of the gold figures stands in them."""
    for document in options.dataset.documents:
        kept = {
            field: is_kept
            for field, is_kept in gold_kept(shown[document.id], document.gold).items()
            if is_kept is not None
        }
        yield {
            "document_id": document.id,
            "text": shown[document.id],
            "text_chars": len(document.text),
            "excerpt_chars": len(shown[document.id]),
            "gold_figures": len(kept),
            "gold_kept": sum(kept.values()),
            "lost": " ".join(field for field, is_kept in kept.items() if not is_kept) or None,
        }
