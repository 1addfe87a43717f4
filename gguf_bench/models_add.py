"""An entry of models.yaml, filled in from what the Hub tells of a repo."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf_bench import convert as convert_stage
from gguf_bench import hub, needs
from gguf_bench.catalog import MAX_CONTEXT, Catalog, hub_id_mistake, resolve, shipped_catalog
from gguf_bench.catalog_add import add_entry, entry_lines
from gguf_bench.errors import CatalogError, CheckpointError, LicenceNotAccepted, TokenMissing
from gguf_bench.gguf_files import quantization_label
from gguf_bench.paths import config_folder, written_whole
from gguf_bench.progress import SILENT, Progress
from gguf_bench.quants import QUANTS
from gguf_bench.records import ModelSpec

LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What was written where: `lines` of `path`, the entry `key` of the group `group`."""

    path: Path
    group: str
    key: str
    lines: list[str]


def add(text: str, path: Path, group: str, key: str | None = None, progress: Progress = SILENT) -> Added:
    """Add the Hub model that `text` names (org/name, @revision, :TYPE) to the models.yaml at `path`.

    The Hub says how many parameters it has, its licence, whether it is gated, and of an adapter the base; its
    config.json the context. What it does not say, or says in a form that is none, is left out. The file that comes with
    the program is not changed: a copy of it becomes the user's own. Raises CatalogError, HubError and its kinds.
    """
    spec = resolve(text, Catalog(path=path))
    if spec.name is None:
        raise CatalogError(f"{text!r} is on this machine, and no model of the Hub", hint="give org/name")
    values, comment = _facts(spec, progress)
    key = key or _key_of(spec)
    target = _own(path, progress)
    add_entry(target, group, key, values, comment)
    return Added(path=target, group=group, key=key, lines=entry_lines(key, values, comment))


def _facts(spec: ModelSpec, progress: Progress) -> tuple[dict[str, Any], str]:
    """The entry's values, by key, and a remark on what the model was made from."""
    looked = hub.look(spec, progress=progress)
    facts = looked.facts
    adapter = "adapter_config.json" in looked.listing and "config.json" not in looked.listing
    values: dict[str, Any] = {"name": spec.name, "revision": spec.revision}
    n_params, context, base = facts.n_params, facts.context, None
    try:
        seen = hub.preview(spec, progress=progress)
        if seen.plan.kind == "gguf":
            first = seen.plan.files[0].path
            label = quantization_label(first)
            values |= {"file": first, "quantization": label if label in QUANTS else None}
        elif adapter:
            base = convert_stage.adapter_base(seen.folder)
        else:
            n_params = n_params or needs.parameters(seen.folder, seen.plan.weights_bytes)
            context = convert_stage.context_train(seen.folder)
    except (TokenMissing, LicenceNotAccepted) as error:
        progress.say(f"note: {error}; until then, what its files say is left out")
    except CheckpointError as error:
        progress.say(f"note: it cannot be converted: {error.message}; {hub.way_out(spec, error.hint)}")
    bases = [name for name in facts.base_models if hub_id_mistake(name) is None]
    if adapter:
        base = base if base and hub_id_mistake(base) is None else next(iter(bases), None)
        if base is None:
            progress.say("note: nothing says which model this LoRA adapter was trained on; write it as `base`")
        n_params = None  # those of the adapter, which say nothing of what it takes to run it
    values |= {
        "parameters": _in_words(n_params) if n_params else None,
        "base": base,
        "context": context if context and context <= MAX_CONTEXT else None,
        "license": facts.licence if facts.licence and LICENCE.fullmatch(facts.licence) else None,
        "gated": facts.gated or None,
    }
    return {name: value for name, value in values.items() if value is not None}, _remark(bases, base)


def _remark(bases: list[str], base: str | None) -> str:
    others = [name for name in bases if name != base]
    return f"made from {', '.join(others[:3])}, its card says" if others else ""


def _key_of(spec: ModelSpec) -> str:
    """`Qwen/Qwen3-0.6B` -> qwen3_0_6b."""
    name = str(spec.name).partition("/")[2] + (f"_{spec.ready_quantization}" if spec.ready_quantization else "")
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _in_words(n_params: int) -> str:
    """'135M', '1.7B', '7B'."""
    if n_params < 950_000_000:
        return f"{max(1, round(n_params / 1e6))}M"
    return f"{n_params / 1e9:.1f}".removesuffix(".0") + "B"


def _own(path: Path, progress: Progress) -> Path:
    """`path`, or where it is the one that comes with the program, a copy in the user's configuration folder."""
    if path != shipped_catalog() or path.parent == Path.cwd():
        return path
    target = config_folder() / path.name
    if target.exists():
        raise CatalogError(f"{path} comes with the program and stays as it is", hint=f"say --models {target}, your own")
    with written_whole(target) as partial:
        shutil.copyfile(path, partial)
    progress.say(f"copied the models.yaml that comes with the program to {target}, which is used from now on")
    return target
