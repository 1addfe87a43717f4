"""The child process: reads one job from standard input, does it with llama.cpp, and streams events to standard output.

`child` starts it. JOBS is the list of what it can do. Standard output belongs to the events alone: llama.cpp's own
prints go to standard error, where the parent finds the reason when this process dies.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gguf_bench import offload
from gguf_bench.engine import Engine
from gguf_bench.errors import GgufBenchError, ModelError
from gguf_bench.gguf_header import CacheShape, read_header
from gguf_bench.llama import chunks as llama_chunks
from gguf_bench.llama import devices as llama_devices
from gguf_bench.llama import quantize as llama_quantize
from gguf_bench.llama import quantize_imatrix as llama_imatrix
from gguf_bench.llama.chunks import ChunkContext
from gguf_bench.llama.context import PAD, Context, Layout
from gguf_bench.llama.grammar import Grammar
from gguf_bench.llama.model import Model
from gguf_bench.llama.prompts import PromptMaker
from gguf_bench.offload import Plan
from gguf_bench.records import QuantizeOptions

Job = Mapping[str, Any]
Emit = Callable[..., None]
Lines = Iterable[bytes]
T = TypeVar("T")
_Chunked = tuple[Model, ChunkContext]

PROGRESS_EVERY_SECONDS = 0.1
BEAT_EVERY_SECONDS = 1.0

MEASURE_SECONDS, MEASURE_TOKENS, MEASURE_STEPS = 4.0, 128, 5
"""For how long a prompt is read to see how fast a setting is, at least how much of it, and steps of generation."""

ALONE = {"n_parallel": 1, "n_ubatch": 512, "flash_attention": None, "kv_type": "f16"}
"""How a context computes that nothing is compared by."""


def main() -> None:
    """Do the one job and exit: 0 when done or when the failure was reported as an event."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def emit(event: str, **fields: Any) -> None:
        left = memoryview(json.dumps({"event": event, **fields}).encode() + b"\n")
        while left:  # a process that is stopped and goes on may have written a part
            left = left[out.write(left) or 0 :]

    lines = sys.stdin.buffer
    job = json.loads(lines.readline())
    if job["job"] not in TALKING_JOBS:
        threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        JOBS[job["job"]](job, emit, lines)
    except GgufBenchError as error:
        _report(error, emit)
    except MemoryError:
        emit("error", kind="ModelError", message="out of memory", hint="")
    except BaseException:  # noqa: BLE001 (a bug of ours: its traceback is what the parent finds in the log)
        traceback.print_exc()
        os._exit(1)
    out.close()
    os._exit(0)  # nothing is left to save, and freeing gigabytes politely takes time


def _report(error: GgufBenchError, emit: Emit, event: str = "error") -> None:
    emit(event, kind=type(error).__name__, message=error.message, hint=error.hint)


def _exit_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def inspect(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path} -> facts of the file, read without its weights."""
    emit("inspected", **_facts(Path(job["path"])))


def _facts(path: Path) -> dict[str, Any]:
    model = Model(path, metadata_only=True)
    return {
        "file_type": model.file_type,
        "bits_per_weight": 8 * model.tensor_bytes / max(1, model.n_params),
        "n_params": model.n_params,
        "architecture": model.metadata("general.architecture") or "",
        "context_train": model.context_train,
    }


def devices(_job: Job, emit: Emit, _lines: Lines) -> None:
    """{} -> what this build of llama.cpp is and sees."""
    emit(
        "devices",
        devices=[asdict(device) for device in llama_devices.devices()],
        version=llama_devices.version(),
        system_info=llama_devices.system_info(),
        supports_gpu_offload=llama_devices.supports_gpu_offload(),
        physical_cores=llama_devices.physical_cores(),
    )


def probe(job: Job, emit: Emit, _lines: Lines) -> None:
    """{extra_buffers} -> one decode of a tiny 4-bit model made on the spot: shows that this build can decode at all.

    A build whose AMX code was miscompiled dies here with SIGSEGV when `extra_buffers` is true.
    """
    from gguf_bench import tiny_gguf  # gguf takes its time to import, and this job alone needs it

    in_memory = os.memfd_create("tiny.gguf")  # a file of the disk would stay where this process is killed
    try:
        path = tiny_gguf.write(Path(f"/proc/self/fd/{in_memory}"))
        model = Model(path, extra_buffers=job["extra_buffers"])
        context = Context(model, _layout(ALONE | {"n_threads": llama_devices.physical_cores()}, PAD))
        next(Engine(model, context, None, 2).answers([("probe", list(range(64)))]))
    finally:
        os.close(in_memory)
    emit("decoded")


def quantize(job: Job, emit: Emit, lines: Lines) -> None:
    """{source, options, n_layers}, then {file_type, target, result} a line -> ready, then an answer a line.

    Without a `target` the answer says what the type comes to; with one, progress events come before the facts of the
    file `result`, which is `target` or its first part.
    """
    options = _quantize_options(job)
    importances = llama_imatrix.load(options) if options.imatrix is not None else None
    emit("ready", llama_cpp=llama_devices.llama_version(), **(importances.facts if importances else {}))
    source, told = Path(job["source"]), 0.0
    plans: dict[int, llama_quantize.Plan] = {}

    def tell(number: int, name: str) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_EVERY_SECONDS:
            told = time.monotonic()
            emit("progress", done=number, name=name)

    for line in lines:
        request = json.loads(line)
        file_type, target = request["file_type"], request["target"]
        if target is None:
            plan = plans[file_type] = llama_quantize.plan(source, file_type, options, importances, job["n_layers"])
            emit("planned", **asdict(plan))
            continue
        sha256 = llama_quantize.write(source, Path(target), file_type, options, importances, tell, plans.get(file_type))
        emit("written", sha256=sha256, **_facts(Path(request["result"])))


def _quantize_options(job: Job) -> QuantizeOptions:
    return QuantizeOptions(**{name: _tuples(value) for name, value in job["options"].items()})


def _tuples(value: Any) -> Any:
    """What JSON made lists of."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def run(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, adapter, prompts, missing, samples, settings, ...} -> loaded, one answer a missing prompt, done.

    `prompts` is a list of [document_id, user message] of all documents, `missing` the ids to answer now; `samples` are
    messages about made-up documents, whose common beginning is what every prompt shares, whichever documents are asked
    about. The context fits the longest of all prompts that the model's own limit allows, so that it is the same one
    when a run is gone on with; longer ones are reported as over_context.
    """
    settings = job["settings"]
    prepared = _with_layers(job, emit, lambda plan: _prepare(job, emit, plan))
    model, context = prepared.model, prepared.context
    emit(
        "loaded",
        load_seconds=prepared.load_seconds,
        n_ctx=context.n_ctx,
        gpu_layers=model.offloaded_layers(),
        n_layers=model.n_layers,
        gpu_build=llama_devices.supports_gpu_offload(),
        peak_rss_bytes=_peak_rss_bytes(),
    )
    missing = set(job["missing"])
    for document_id, length in prepared.too_long:
        if document_id in missing:
            emit("over_context", document_id=document_id, prompt_tokens=length)
    asked = [(document_id, tokens) for document_id, tokens in prepared.asked if document_id in missing]
    if asked:
        context.keep_prefix(prepared.prefix)
    engine = Engine(
        model, context, prepared.grammar, settings["max_answer_tokens"], jump_forward=settings["jump_forward"]
    )
    for answered in engine.answers(asked):
        emit(
            "answer",
            document_id=answered.document_id,
            output=_text(model, answered.tokens),
            prompt_tokens=answered.prompt_tokens,
            generated_tokens=len(answered.tokens),
            sampled_tokens=answered.n_sampled,
            decoded_prompt_tokens=answered.decoded_prompt_tokens,
            prompt_seconds=answered.prompt_seconds,
            generation_seconds=answered.generation_seconds,
        )
    emit("done", peak_rss_bytes=_peak_rss_bytes())


def calibrate(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, prompts: [one], choices, settings, ...} -> how fast each of `choices` (parts of settings) decodes it.

    The prompt is cut where reading it takes longer than MEASURE_SECONDS. A choice that this model cannot be run with
    is passed over.
    """
    settings = job["settings"]

    def attempt(plan: Plan) -> Model:
        model = _load(job, emit, plan)
        Context(model, _layout(settings, MEASURE_TOKENS))  # is there room for more than the weights?
        return model

    model = _with_layers(job, emit, attempt)
    ((_, message),) = job["prompts"]
    tokens = PromptMaker(model, job["template_kwargs"]).tokens(message)[: model.context_train - MEASURE_STEPS - 2]
    n_measured = 0
    for number, choice in enumerate(job["choices"]):
        layout = _layout(settings | choice, len(tokens) + MEASURE_STEPS + 2)
        try:
            n_measured = n_measured or _measurable_tokens(model, layout, tokens)
            prompt_seconds, step_seconds = _seconds_per_token(model, layout, tokens[:n_measured])
        except ModelError:
            continue
        emit(
            "measured",
            choice=number,
            prompt_tokens=len(tokens),
            prompt_seconds_per_token=prompt_seconds,
            step_seconds_per_token=step_seconds,
        )


def _measurable_tokens(model: Model, layout: Layout, tokens: Sequence[int]) -> int:
    """How many of `tokens` are read in about MEASURE_SECONDS."""
    context = Context(model, layout)
    few = tokens[:MEASURE_TOKENS]
    context.start(0, few)  # the first decode makes room and wakes threads
    started = time.monotonic()
    context.start(0, few)
    rate = len(few) / (time.monotonic() - started)
    return min(len(tokens), max(MEASURE_TOKENS, int(rate * MEASURE_SECONDS)))


def _seconds_per_token(model: Model, layout: Layout, tokens: Sequence[int]) -> tuple[float, float]:
    """Seconds a token of reading `tokens` as a prompt, and of generating behind it in all sequences together."""
    context = Context(model, layout)
    context.start(0, tokens[:MEASURE_TOKENS])
    started = time.monotonic()
    context.keep_prefix(tokens)
    prompt_seconds = time.monotonic() - started
    sequences = range(context.n_parallel)
    for sequence in sequences:
        context.start(sequence, [*tokens, tokens[0]])
    step_seconds = []
    for _ in range(MEASURE_STEPS):
        started = time.monotonic()
        context.extend_each(dict.fromkeys(sequences, tokens[0]))
        step_seconds.append(time.monotonic() - started)
    return prompt_seconds / len(tokens), statistics.median(step_seconds) / context.n_parallel


def imatrix(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, text, name, n_ctx, n_chunks, state, key, settings} -> loaded, progress; what was collected is in `state`.

    Goes on from what `state` holds of the same `key`.
    """
    from gguf_bench.llama.imatrix import Collection  # brings gguf, which takes its time to import

    collection = Collection(Path(job["state"]), job["key"], job["name"], job["n_ctx"])

    def attempt(plan: Plan) -> tuple[Model, ChunkContext]:
        model = _load(job, emit, plan)
        return model, collection.context(model, llama_devices.physical_cores())

    model, context = _with_layers(job, emit, attempt, llama_chunks.shape(job["n_ctx"]))
    collection.collect(model, context, job["text"], job["n_chunks"], emit, _Beat(emit))


def fidelity(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, reference, text, name, n_ctx, n_chunks, settings} -> loaded, `measured` for some chunks at a time, done.

    Events about loading say in `of` which of the two it is, and so do `plans`, which a job may bring along.
    """
    from gguf_bench.llama import divergence

    shape, n_threads, plans = llama_chunks.shape(job["n_ctx"]), llama_devices.physical_cores(), job.get("plans", {})

    def with_layers(of: str, attempt: Callable[[_Chunked], T]) -> T:
        one = {"path": job[of], "settings": job["settings"]} | ({"plans": plans[of]} if of in plans else {})
        tell = partial(emit, of=of)

        def load(plan: Plan) -> T:
            model = _load(one, tell, plan)
            half = job["n_ctx"] // 2
            return attempt((model, ChunkContext(model, job["n_ctx"], n_threads=n_threads, logits_from=half)))

        return _with_layers(one, tell, load, shape)

    def both(reference: _Chunked) -> tuple[_Chunked, _Chunked]:
        return with_layers("path", lambda quantized: (reference, quantized))

    # One within the other: where even the CPU alone leaves no room for the second, the first gives way.
    divergence.measure(*with_layers("reference", both), job, emit, _Beat(emit))
    emit("done", peak_rss_bytes=_peak_rss_bytes())


def sensitivity(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, options, candidates, n_layers, text, n_ctx, settings} -> judged, loaded, then measured, with progress.

    `judged` says what each type does to each tensor, `measured` how sensitive predictions are to that. Of a model that
    cannot be run there is only the first.
    """
    from gguf_bench.llama.sensitivity import Probe
    from gguf_bench.llama.tensor_errors import Judge

    options, n_threads = _quantize_options(job), llama_devices.physical_cores()
    importances = llama_imatrix.load(options) if options.imatrix is not None else None

    def tell(done: int, total: int) -> None:
        emit("progress", done=done, total=total)

    with Judge(Path(job["path"]), options, importances, job["n_layers"]) as judge:
        header_bytes, judged = judge.judged(job["candidates"], tell)
        emit("judged", header_bytes=header_bytes, tensors=[asdict(tensor) for tensor in judged])

        def attempt(plan: Plan) -> Probe:
            return Probe(_load(job, emit, plan), judge, judged, job["n_ctx"], n_threads)

        probe = _with_layers(job, emit, attempt, llama_chunks.shape(job["n_ctx"]))
        emit("loaded")
        emit("measured", sensitivities=probe.sensitivities(job["text"], tell))


class _Beat:
    """A sign of life for the parent, at most every BEAT_EVERY_SECONDS."""

    def __init__(self, emit: Emit) -> None:
        self._emit, self._last = emit, 0.0

    def __call__(self, **fields: Any) -> None:
        if time.monotonic() - self._last > BEAT_EVERY_SECONDS:
            self._last = time.monotonic()
            self._emit("beat", **fields)


@dataclass(frozen=True)
class _Prepared:
    """A model with a context that holds every prompt it can: `asked` are (document id, tokens), `too_long` lengths.

    `prefix` is what every prompt begins with.
    """

    model: Model
    context: Context
    grammar: Grammar | None
    load_seconds: float
    prefix: list[int]
    asked: list[tuple[str, list[int]]]
    too_long: list[tuple[str, int]]


def _prepare(job: Job, emit: Emit, plan: Plan) -> _Prepared:
    settings, n_ctx = job["settings"], job.get("n_ctx")
    started = time.monotonic()
    model = _load(job, emit, plan)
    load_seconds = time.monotonic() - started
    maker = PromptMaker(model, job["template_kwargs"])
    limit = min(model.context_train, job["context"] or model.context_train) - settings["max_answer_tokens"]
    wanted = None if n_ctx is None else set(job["missing"])
    prompts = [
        (document_id, maker.tokens(message))
        for document_id, message in job["prompts"]
        if wanted is None or document_id in wanted
    ]
    asked = [(document_id, tokens) for document_id, tokens in prompts if len(tokens) <= limit]
    longest = max((len(tokens) for _, tokens in asked), default=0)
    started = time.monotonic()
    return _Prepared(
        model=model,
        context=Context(model, _layout(settings, n_ctx or longest + settings["max_answer_tokens"]), beat=_Beat(emit)),
        grammar=Grammar(model, job["grammar"]) if job["grammar"] else None,
        load_seconds=load_seconds + time.monotonic() - started,
        prefix=_shared_prefix(maker.tokens(message) for message in job["samples"]),
        asked=asked,
        too_long=[(document_id, len(tokens)) for document_id, tokens in prompts if len(tokens) > limit],
    )


def _layout(settings: Mapping[str, Any], n_ctx: int) -> Layout:
    names = ("n_parallel", "n_threads", "n_ubatch", "flash_attention", "kv_type")
    return Layout(n_ctx=n_ctx, **{name: settings[name] for name in names})


def _text(model: Model, tokens: Iterable[int]) -> str:
    """What `tokens` spell; bytes that are no UTF-8 become U+FFFD."""
    return b"".join(model.pieces[token] for token in tokens).decode("utf-8", "replace")


def _with_layers(job: Job, emit: Emit, attempt: Callable[[Plan], T], shape: CacheShape | None = None) -> T:
    """`attempt` with as many layers on GPUs as asked for, or as fit.

    "auto" starts from what fits by the file's sizes and the free memory, and steps down when model or context cannot be
    allocated, at last to the CPU; "all" and a number do what they say, or fail. The parent hears of each step.
    `shape` is the context to make room for, where it is not that of the job's prompts.
    """
    return offload.first_that_works(offload.plans_of(job) or _plans(job, shape), attempt, emit)


def _plans(job: Job, shape: CacheShape | None) -> list[Plan]:
    wanted, devices = job["settings"]["gpu_layers"], llama_devices.devices()
    if wanted == "0" or (wanted == "auto" and not any(device.kind in ("gpu", "igpu") for device in devices)):
        return [Plan(0)]
    path = Path(job["path"])
    shape = shape or _cache_shape(job, Model(path, metadata_only=True))
    return offload.plan(read_header(path), devices, wanted, shape)


def _cache_shape(job: Job, model: Model) -> CacheShape:
    """What `_prepare` or `chat` will ask of a context, before they have loaded the weights.

    Of the prompts those with the most characters are tokenized: one of them has the most tokens, or nearly so.
    """
    context = min(model.context_train, job["context"] or model.context_train)
    settings: Mapping[str, Any] = job["settings"] if "prompts" in job else ALONE | {"n_threads": 1}
    if job.get("n_ctx"):
        context = job["n_ctx"]
    elif "prompts" in job:
        maker, limit = PromptMaker(model, job["template_kwargs"]), context - settings["max_answer_tokens"]
        longest = sorted((message for _, message in job["prompts"]), key=len)[-8:]
        lengths = [length for message in longest if (length := len(maker.tokens(message))) <= limit]
        context = max(lengths, default=0) + settings["max_answer_tokens"]
    layout = _layout(settings, context)
    return CacheShape(
        n_ctx=layout.n_cells * layout.n_sequences,
        n_seq=layout.n_sequences,
        n_ubatch=layout.n_ubatch,
        type_k=layout.kv_type,
        type_v=layout.kv_type,
        flash_attention=layout.flash_attention is not False,
        unified=False,
        swa_full=False,
        n_outputs=layout.n_sequences,
    )


def _peak_rss_bytes() -> int:
    """The most memory that this process held. getrusage would begin with that of the process it was forked from."""
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * (int(peak[1]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def chat(job: Job, emit: Emit, lines: Lines) -> None:
    """{path, adapter, settings, ...}, then {message, max_tokens} a line -> loaded, one answer a line, until input ends.

    What cannot be answered is answered with "refused", and the next line is read.
    """

    def attempt(plan: Plan) -> tuple[Model, PromptMaker, Context]:
        model = _load(job, emit, plan)
        layout = _layout(
            ALONE | {"n_threads": llama_devices.physical_cores()}, min(model.context_train, job["context"])
        )
        return model, PromptMaker(model, job["template_kwargs"]), Context(model, layout)

    model, maker, context = _with_layers(job, emit, attempt)
    emit("loaded", n_ctx=context.n_ctx, gpu_layers=model.offloaded_layers(), n_layers=model.n_layers)
    for line in lines:
        request = json.loads(line)
        try:
            tokens = maker.tokens(request["message"])
            if len(tokens) + request["max_tokens"] > context.n_ctx:
                found = f"a prompt of {len(tokens)} tokens and an answer of {request['max_tokens']}"
                raise ModelError(f"{found} do not fit the context of {context.n_ctx}")
            answered = next(Engine(model, context, None, request["max_tokens"]).answers([("", tokens)]))
        except GgufBenchError as error:
            _report(error, emit, "refused")
            continue
        emit(
            "answer",
            output=_text(model, answered.tokens),
            prompt_tokens=len(tokens),
            generated_tokens=len(answered.tokens),
        )


def _load(job: Job, emit: Emit, plan: Plan) -> Model:
    told = 0.0

    def tell(done: float) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_EVERY_SECONDS:
            told = time.monotonic()
            emit("loading", done=done)

    return Model(
        Path(job["path"]),
        gpu_layers=plan.gpu_layers,
        tensor_split=plan.tensor_split,
        extra_buffers=job["settings"]["extra_buffers"],
        adapter=Path(job["adapter"]) if job.get("adapter") else None,
        on_progress=tell,
    )


def _shared_prefix(prompts: Iterable[list[int]]) -> list[int]:
    """The tokens that all `prompts` begin with."""
    together = zip(*prompts, strict=False)
    return [tokens[0] for tokens in itertools.takewhile(lambda tokens: len(set(tokens)) == 1, together)]


JOBS: Mapping[str, Callable[[Job, Emit, Lines], None]] = {
    "inspect": inspect,
    "devices": devices,
    "probe": probe,
    "quantize": quantize,
    "calibrate": calibrate,
    "imatrix": imatrix,
    "fidelity": fidelity,
    "sensitivity": sensitivity,
    "run": run,
    "chat": chat,
}
TALKING_JOBS = ("chat", "quantize")
"""Jobs that go on reading their standard input, and so notice themselves when the parent is gone."""

if __name__ == "__main__":
    main()
