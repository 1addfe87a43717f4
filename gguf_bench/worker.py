"""The child process: reads one job from standard input, does it with llama.cpp, and streams events to standard output.

`child` starts it. JOBS is the list of what it can do. Standard output belongs to the events alone: llama.cpp's own
prints go to standard error, where the parent finds the reason when this process dies.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import resource
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from gguf_bench import tiny_gguf
from gguf_bench.errors import GgufBenchError, ModelError
from gguf_bench.llama import devices as llama_devices
from gguf_bench.llama import quantize as llama_quantize
from gguf_bench.llama.context import PAD, Context
from gguf_bench.llama.model import Model, gpu_layer_steps
from gguf_bench.llama.prompts import PromptMaker

Job = Mapping[str, Any]
Emit = Callable[..., None]
Lines = Iterable[bytes]
T = TypeVar("T")

PROGRESS_EVERY_SECONDS = 0.1


def main() -> None:
    """Do the one job and exit: 0 when done or when the failure was reported as an event."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def emit(event: str, **fields: Any) -> None:
        out.write(json.dumps({"event": event, **fields}).encode() + b"\n")

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
    model = Model(Path(job["path"]), metadata_only=True)
    emit(
        "inspected",
        file_type=model.file_type,
        bits_per_weight=8 * model.tensor_bytes / max(1, model.n_params),
        n_params=model.n_params,
        architecture=model.metadata("general.architecture") or "",
        context_train=model.context_train,
    )


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
    with tempfile.TemporaryDirectory() as folder:
        path = tiny_gguf.write(Path(folder) / "tiny.gguf")
        model = Model(path, extra_buffers=job["extra_buffers"])
        context = Context(model, n_ctx=PAD, n_threads=llama_devices.physical_cores(), n_batch=PAD, gbnf=None)
        context.answer([], list(range(64)), max_tokens=2)
    emit("decoded")


def quantize(job: Job, emit: Emit, _lines: Lines) -> None:
    """{source, target, file_type, allow_requantize, dry_run} -> progress events, then the facts llama.cpp logged."""
    told = 0.0

    def tell(number: int, count: int) -> None:
        nonlocal told
        if number == count or time.monotonic() - told > PROGRESS_EVERY_SECONDS:
            told = time.monotonic()
            emit("progress", done=number, total=count)

    facts = llama_quantize.quantize(
        Path(job["source"]),
        Path(job["target"]),
        job["file_type"],
        allow_requantize=job["allow_requantize"],
        dry_run=job["dry_run"],
        on_progress=tell,
    )
    emit("quantized", **asdict(facts))


def run(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, adapter, prompts, samples, settings, ...} -> loaded, one answer a prompt, done.

    `prompts` is a list of [document_id, user message]; `samples` are messages about made-up documents, whose common
    beginning is what every prompt shares, whichever documents are asked about. Every prompt is tokenized before the
    context is made, so the context fits the longest one that the model's own limit allows; longer ones are reported
    as over_context.
    """
    settings = job["settings"]
    prepared = _prepare(job, emit)
    model, context, asked, prefix = prepared.model, prepared.context, prepared.asked, prepared.prefix
    emit(
        "loaded",
        load_seconds=prepared.load_seconds,
        n_ctx=context.n_ctx,
        gpu_layers=model.offloaded_layers(),
        n_layers=model.n_layers,
        gpu_build=llama_devices.supports_gpu_offload(),
        peak_rss_bytes=_peak_rss_bytes(),
    )
    for document_id, length in prepared.too_long:
        emit("over_context", document_id=document_id, prompt_tokens=length)
    for document_id, tokens in asked:
        shared = len(prefix) if tokens[: len(prefix)] == prefix and len(tokens) > len(prefix) else 0
        answer = context.answer(tokens[:shared], tokens[shared:], settings["max_answer_tokens"])
        emit(
            "answer",
            document_id=document_id,
            output=b"".join(model.piece(token) for token in answer.tokens).decode("utf-8", "replace"),
            prompt_tokens=len(tokens),
            generated_tokens=len(answer.tokens),
            decoded_prompt_tokens=answer.decoded_prompt_tokens,
            prompt_seconds=answer.prompt_seconds,
            generation_seconds=answer.generation_seconds,
        )
    emit("done", peak_rss_bytes=_peak_rss_bytes())


@dataclass(frozen=True)
class _Prepared:
    """A model with a context that holds every prompt it can: `asked` are (document id, tokens), `too_long` lengths."""

    model: Model
    context: Context
    load_seconds: float
    prefix: list[int]
    asked: list[tuple[str, list[int]]]
    too_long: list[tuple[str, int]]


def _prepare(job: Job, emit: Emit) -> _Prepared:
    def attempt(layers: int) -> _Prepared:
        settings = job["settings"]
        started = time.monotonic()
        model = _load(job, emit, layers)
        load_seconds = time.monotonic() - started
        maker = PromptMaker(model, job["template_kwargs"])
        limit = min(model.context_train, job["context"] or model.context_train) - settings["max_answer_tokens"]
        prompts = [(document_id, maker.tokens(message)) for document_id, message in job["prompts"]]
        asked = [(document_id, tokens) for document_id, tokens in prompts if len(tokens) <= limit]
        longest = max((len(tokens) for _, tokens in asked), default=0)
        started = time.monotonic()
        context = Context(
            model,
            n_ctx=longest + settings["max_answer_tokens"],
            n_threads=settings["n_threads"],
            n_batch=settings["n_batch"],
            gbnf=job["grammar"],
        )
        return _Prepared(
            model=model,
            context=context,
            load_seconds=load_seconds + time.monotonic() - started,
            prefix=_shared_prefix(maker.tokens(message) for message in job["samples"]),
            asked=asked,
            too_long=[(document_id, len(tokens)) for document_id, tokens in prompts if len(tokens) > limit],
        )

    return _with_layers(job, attempt)


def _with_layers(job: Job, attempt: Callable[[int], T]) -> T:
    """`attempt` with as many layers on the GPU as asked for, or as fit.

    "auto" starts from what the free GPU memory holds and steps down when model or context cannot be allocated, at last
    to the CPU; "all" and a number do what they say, or fail.
    """
    wanted = job["settings"]["gpu_layers"]
    steps = gpu_layer_steps(Path(job["path"])) if wanted == "auto" else [-1 if wanted == "all" else int(wanted)]
    for layers in steps[:-1]:
        try:
            return attempt(layers)
        except ModelError:
            gc.collect()  # what the failed attempt had loaded is freed before the next one
    return attempt(steps[-1])


def _peak_rss_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in kB


def chat(job: Job, emit: Emit, lines: Lines) -> None:
    """{path, adapter, settings, ...}, then {message, max_tokens} a line -> loaded, one answer a line, until input ends.

    What cannot be answered is answered with "refused", and the next line is read.
    """

    def attempt(layers: int) -> tuple[Model, PromptMaker, Context]:
        model = _load(job, emit, layers)
        n_ctx, n_batch = min(model.context_train, job["context"]), job["settings"]["n_batch"]
        maker = PromptMaker(model, job["template_kwargs"])
        n_threads = llama_devices.physical_cores()
        return model, maker, Context(model, n_ctx=n_ctx, n_threads=n_threads, n_batch=n_batch, gbnf=None)

    model, maker, context = _with_layers(job, attempt)
    emit("loaded", n_ctx=context.n_ctx, gpu_layers=model.offloaded_layers(), n_layers=model.n_layers)
    for line in lines:
        request = json.loads(line)
        try:
            tokens = maker.tokens(request["message"])
            if len(tokens) + request["max_tokens"] > context.n_ctx:
                found = f"a prompt of {len(tokens)} tokens and an answer of {request['max_tokens']}"
                raise ModelError(f"{found} do not fit the context of {context.n_ctx}")
            answer = context.answer([], tokens, request["max_tokens"])
        except GgufBenchError as error:
            _report(error, emit, "refused")
            continue
        output = b"".join(model.piece(token) for token in answer.tokens).decode("utf-8", "replace")
        emit("answer", output=output, prompt_tokens=len(tokens), generated_tokens=len(answer.tokens))


def _load(job: Job, emit: Emit, layers: int) -> Model:
    told = 0.0

    def tell(done: float) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_EVERY_SECONDS:
            told = time.monotonic()
            emit("loading", done=done)

    return Model(
        Path(job["path"]),
        gpu_layers=layers,
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
    "run": run,
    "chat": chat,
}
TALKING_JOBS = ("chat",)
"""Jobs that go on reading their standard input, and so notice themselves when the parent is gone."""

if __name__ == "__main__":
    main()
