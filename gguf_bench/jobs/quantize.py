"""Plan and write quantized files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gguf_bench.jobs.inspect import facts
from gguf_bench.jobs.protocol import PROGRESS_EVERY_SECONDS, Emit, Job, Lines, Seldom
from gguf_bench.llama import quantize as llama_quantize
from gguf_bench.llama import quantize_imatrix
from gguf_bench.llama.devices import llama_version
from gguf_bench.quantize_options import QuantizeOptions


def work(job: Job, emit: Emit, lines: Lines) -> None:
    """{source, options, n_layers}, then {file_type, target, result} a line -> ready, then an answer a line.

    Without a `target` the answer says what the type comes to; with one, progress events come before the sha256 of the
    file `result`, which is `target` or its first part. Where that is null, or keys were set, its facts come with it.
    """
    options = quantize_options(job)
    importances = quantize_imatrix.load(options) if options.imatrix is not None else None
    emit("ready", llama_cpp=llama_version(), **(importances.facts if importances else {}))
    source, tell = Path(job["source"]), Seldom(emit, "progress", PROGRESS_EVERY_SECONDS)
    plans: dict[int, llama_quantize.Plan] = {}

    def on_tensor(number: int, name: str) -> None:
        tell(done=number, name=name)

    for line in lines:
        request = json.loads(line)
        file_type, target = request["file_type"], request["target"]
        if target is None:
            plan = plans[file_type] = llama_quantize.plan(source, file_type, options, importances, job["n_layers"])
            emit("planned", **asdict(plan))
            continue
        sha256 = llama_quantize.write(
            source, Path(target), file_type, options, importances, job["n_layers"], on_tensor, plans.get(file_type)
        )
        has_planned_facts = sha256 is not None and not options.override_kv
        emit("written", sha256=sha256, **({} if has_planned_facts else facts(Path(request["result"]))))


def quantize_options(job: Job) -> QuantizeOptions:
    """The `options` of a job, whose tuples JSON made lists of."""
    return QuantizeOptions(**{name: _tuples(value) for name, value in job["options"].items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
