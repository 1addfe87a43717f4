"""What an entry of models.yaml comes to, before gigabytes: is it there, may it be read, can it be converted?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gguf_bench import convert as convert_stage
from gguf_bench import hub, needs
from gguf_bench.catalog import hub_id_mistake
from gguf_bench.errors import (
    CheckpointError,
    GgufBenchError,
    LicenceNotAccepted,
    ModelError,
    RepoNotFound,
    TokenMissing,
)
from gguf_bench.needs import Needs
from gguf_bench.package import find_package_gguf
from gguf_bench.progress import SILENT, Progress
from gguf_bench.quants import DEFAULT_QUANT
from gguf_bench.records import ModelSpec

Locked = Callable[[str, str | None], str | None]
"""The commit that a repo at a revision was first pulled at, None where it never was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was found of one model. None stands for what does not apply, or what could not be seen.

    `problem` is '' where nothing is in the way, and `way_out` what to do about it. `convertible` is None for what is a
    GGUF already. `locked_commit` is the one that stays in use, `commit` the one that was looked at. Bytes are those
    still to be downloaded, of the file it is converted to and of the quantized one; `disk_bytes` all of them; `seconds`
    is what they take on a slow line and two slow cores (see `needs`).
    """

    model: str
    source: str
    problem: str = ""
    way_out: str = ""
    exists: bool | None = None
    gated: bool | None = None
    accepted: bool | None = None
    convertible: bool | None = None
    commit: str | None = None
    locked_commit: str | None = None
    license: str | None = None
    n_params: int | None = None
    download_bytes: int | None = None
    converted_bytes: int | None = None
    quantized_bytes: int | None = None
    disk_bytes: int | None = None
    seconds: float | None = None
    base: str | None = None


def check(spec: ModelSpec, locked: Locked, progress: Progress = SILENT) -> Checked:
    """Look at one model; of one on the Hub, configuration and tokenizer are fetched into the Hub cache, no weights.

    An endpoint is not asked. Raises HubAway where the Hub cannot be asked: that says nothing of the model.
    """
    if spec.provider == "huggingface":
        return _on_hub(spec, locked, progress)
    if spec.provider == "package":
        source = f"package {spec.package}"
        try:
            find_package_gguf(str(spec.package), spec.file)
        except ModelError as error:
            return Checked(model=spec.key, source=source, problem=error.message, way_out=error.hint, exists=False)
        return Checked(model=spec.key, source=source, exists=True)
    if spec.path is not None:
        return _in_folder(spec)
    return Checked(model=spec.key, source=spec.base_url or "a baseline")


def _in_folder(spec: ModelSpec) -> Checked:
    path = spec.path
    assert path is not None
    found = Checked(model=spec.key, source=str(path), exists=path.exists())
    if not found.exists:
        return replace(found, problem=f"{path} does not exist", way_out="put it there, or mend the path")
    if path.is_file():
        return found
    look = convert_stage.check_adapter if spec.base or convert_stage.is_adapter(path) else convert_stage.check
    try:
        look(path)
    except CheckpointError as error:
        return replace(found, convertible=False, problem=error.message, way_out=error.hint)
    return replace(found, convertible=True)


def _on_hub(spec: ModelSpec, locked: Locked, progress: Progress) -> Checked:
    name = str(spec.name)
    lock = locked(name, spec.revision)
    found = Checked(model=spec.key, source=name, locked_commit=lock)
    try:
        seen = hub.preview(spec, commit=lock, progress=progress)
    except hub.CommitGone as error:
        return replace(found, exists=True, problem=error.message, way_out=error.hint)
    except hub.HubAway:
        raise
    except (TokenMissing, LicenceNotAccepted) as error:
        return replace(found, exists=True, gated=True, accepted=False, problem=error.message, way_out=error.hint)
    except GgufBenchError as error:
        exists = False if isinstance(error, RepoNotFound) else None
        return replace(found, exists=exists, problem=error.message, way_out=error.hint)
    found = replace(
        found,
        exists=True,
        gated=seen.facts.gated,
        accepted=True if seen.facts.gated else None,
        commit=seen.plan.commit,
        license=seen.facts.licence,
        n_params=seen.facts.n_params,
    )
    if seen.plan.kind == "gguf":
        return _with_needs(found, Needs(download_bytes=seen.plan.missing_bytes))
    adapter = spec.base is not None or convert_stage.is_adapter(seen.folder)
    try:
        if adapter and spec.base is None and (base := convert_stage.adapter_base(seen.folder)):
            spec = replace(spec, base=base)
        (convert_stage.check_adapter if spec.base else convert_stage.check)(seen.folder)
    except CheckpointError as error:
        way_out = error.hint if adapter else hub.way_out(spec, error.hint)
        return replace(found, convertible=False, problem=error.message, way_out=way_out)
    if adapter:
        return _on_its_base(found, spec, seen.plan.missing_bytes, locked, progress)
    n_params = seen.facts.n_params or needs.parameters(seen.folder, seen.plan.weights_bytes)
    taken = Needs(
        download_bytes=seen.plan.missing_bytes,
        converted_bytes=needs.converted_bytes(seen.folder, seen.plan.weights_bytes),
        quantized_bytes=needs.quantized_bytes(n_params, spec.quantization or DEFAULT_QUANT),
    )
    return _with_needs(replace(found, convertible=True, n_params=n_params), taken)


def _on_its_base(found: Checked, spec: ModelSpec, missing_bytes: int, locked: Locked, progress: Progress) -> Checked:
    """An adapter and what it is run on, taken together: its base's problem is its own."""
    base = str(spec.base)
    found = replace(found, convertible=True, n_params=None, base=base)
    if mistake := hub_id_mistake(base):
        return replace(found, problem=mistake, way_out="mend `base` in models.yaml")
    on = _on_hub(ModelSpec(key=base, name=base, quantization=spec.quantization), locked, progress)
    if on.problem:
        return replace(
            found, problem=f"its base: {on.problem}", way_out=on.way_out, gated=on.gated, accepted=on.accepted
        )
    taken = Needs(
        download_bytes=missing_bytes + (on.download_bytes or 0),
        converted_bytes=on.converted_bytes or 0,
        quantized_bytes=on.quantized_bytes or 0,
    )
    gated = bool(found.gated or on.gated)
    return _with_needs(replace(found, n_params=on.n_params, gated=gated, accepted=gated or None), taken)


def _with_needs(found: Checked, taken: Needs) -> Checked:
    return replace(
        found,
        download_bytes=taken.download_bytes,
        converted_bytes=taken.converted_bytes,
        quantized_bytes=taken.quantized_bytes,
        disk_bytes=taken.disk_bytes,
        seconds=taken.seconds,
    )
