"""How to run a comparison again: its command lines, and what answers and speeds hang on. Pure: rows in, words out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gguf_bench.wording import size

Row = Mapping[str, Any]

MADE_AS_ASKED = ("converted", "quantized")
"""How a file came to be whose type has to be asked for with -q."""


def commands(run: Row, contenders: Sequence[Row], files: Mapping[str, Row], default_dataset: str) -> list[str]:
    """The command lines that make `run` again: one for all models that were asked for at the same quantizations.

    `contenders` are its rows of `contenders`, `files` rows of `artifacts` by sha256.
    """
    models: dict[str, list[str]] = {}
    for row in contenders:
        if row["asked"]:
            quants = models.setdefault(row["model"], [])
            file = files.get(row["file_sha256"] or "")
            if row["quant"] and (file is None or file["made_by"] in MADE_AS_ASKED) and not row["base_url"]:
                quants.append(row["quant"])
    for row in contenders:  # a ready-made file among others of its model is one of the types that were asked for
        quants = models.get(row["model"], [])
        if row["asked"] and row["quant"] and quants and row["quant"] not in quants:
            quants.append(row["quant"])
    together: dict[tuple[str, ...], list[str]] = {}
    for model, quants in models.items():
        together.setdefault(tuple(quants), []).append(model)
    options = list(_options(run, default_dataset))
    return [
        shlex.join(["gguf-bench", "compare", *names, *(part for quant in quants for part in ("-q", quant)), *options])
        for quants, names in together.items()
    ]


def _options(run: Row, default_dataset: str) -> list[str]:
    settings, excerpt = run["settings"], run["excerpt_chars"]
    found = [] if run["dataset"] == default_dataset else ["--dataset", run["dataset"]]
    found += ["--limit", str(run["n_documents"]), "--excerpt", "none" if excerpt is None else str(excerpt)]
    if settings.get("grammar") is False:
        found.append("--no-grammar")
    if settings.get("gpu_layers", "auto") != "auto":
        found += ["--gpu-layers", str(settings["gpu_layers"])]
    if "n_parallel" in settings:
        found += ["--parallel", str(settings["n_parallel"])]
    return [*found, "--name", run["name"]] if run["name"] else found


def facts(run: Row) -> list[tuple[str, str]]:
    """What made a run, as (what, which)."""
    versions, machine = run["versions"], run["machine"]
    gpus = [f"{gpu['description']} ({size(gpu['total_bytes'])})" for gpu in machine.get("gpus", [])]
    excerpt = "whole texts" if run["excerpt_chars"] is None else f"{run['excerpt_chars']:,} characters"
    found = [
        ("Run", f"{run['id']}{' ' + repr(run['name']) if run['name'] else ''}, {run['status']}"),
        ("Begun, ended", f"{run['created']}, {run['finished'] or 'not yet'}"),
        ("Dataset", f"{run['dataset']}, {run['n_documents']} documents"),
        ("Dataset's sha256", run["dataset_sha256"]),
        ("Excerpts", f"{excerpt}, version {run['excerpt_version']}"),
        (
            "Task",
            f"{run['task']} {run['task_version']}, prompt {run['prompt_version']}, scorer {run['scorer_version']}",
        ),
        ("Versions", ", ".join(f"{name} {value}" for name, value in versions.items() if value)),
        ("CPU", f"{machine.get('cpu') or 'unknown'}, {machine.get('physical_cores', '?')} physical cores"),
        ("GPU", ", ".join(gpus) or "none"),
        ("Memory", size(machine.get("memory_bytes"))),
        ("System", machine.get("os", "unknown")),
    ]
    return [
        *found,
        *((f"Setting {name.replace('_', ' ')}", _written(value)) for name, value in sorted(run["settings"].items())),
    ]


def _written(value: Any) -> str:
    return {None: "none", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)


def origin(file: Row, files: Mapping[str, Row]) -> str:
    """Where a file comes from and how it was made, without the folder it lies in, which is nobody's business."""
    parent = files.get(file["parent_sha256"] or "")
    source = file["source_repo"] or (Path(parent["path"]).name if parent else Path(file["path"]).name)
    commit = f" at {file['source_commit']}" if file["source_commit"] else ""
    return f"{file['made_by']}{' from' if parent or file['source_repo'] else ':'} {source}{commit}"
