"""PREPARE: what a user named -> the file it is run from. Pulls, converts and quantizes whatever is missing.

    spec -> pull -> convert -> quantize -> describe = a GgufFile

Every file is recorded in the store, by content, with what made it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gguf_bench import convert as convert_stage
from gguf_bench import endpoint as endpoint_stage
from gguf_bench import llama_build, upstream
from gguf_bench import quantize as quantize_stage
from gguf_bench.baselines import BASELINES
from gguf_bench.catalog import hub_id_mistake
from gguf_bench.describe import describe, describe_adapter
from gguf_bench.endpoint import Endpoint
from gguf_bench.errors import GgufBenchError, ModelError, QuantizeError
from gguf_bench.gguf_files import gguf_shards
from gguf_bench.package import find_package_gguf
from gguf_bench.paths import cache_folder
from gguf_bench.progress import SILENT, Progress
from gguf_bench.quants import Quant
from gguf_bench.quants import quant as find_quant
from gguf_bench.records import (
    Checkpoint,
    Document,
    GgufFile,
    ModelSpec,
    QuantizedSize,
)
from gguf_bench.store import Store

DEFAULT_QUANT = "Q4_K_M"
"""What a checkpoint is run as when nobody says otherwise."""


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


@dataclass(frozen=True, slots=True)
class Rules:
    """What a baseline answers by: `answer(document, excerpt)` is its output."""

    answer: Callable[[Document, str], str]


Prepared = GgufFile | Endpoint | Rules | GgufBenchError
"""What a contender's answers come from, or why there will be none."""


def prepared(contender: Contender, store: Store, progress: Progress) -> Prepared:
    """What `contender` answers from: its file made where it is missing, its endpoint looked up, its rules.

    A failure is said and returned, since the other contenders go on.
    """
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
