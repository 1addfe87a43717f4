"""The child process: reads one job from standard input, does it with llama.cpp, and streams events to standard output.

`child` starts it. JOBS is the list of what it can do. Standard output belongs to the events alone: llama.cpp's own
prints go to standard error, where the parent finds the reason when this process dies.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gguf_bench import llama, tiny_gguf
from gguf_bench.errors import GgufBenchError, ModelError

Job = Mapping[str, Any]
Emit = Callable[..., None]
Lines = Iterable[bytes]

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
        threading.Thread(target=_exit_with_parent, args=(lines,), daemon=True).start()
    try:
        JOBS[job["job"]](job, emit, lines)
    except GgufBenchError as error:
        emit("error", kind=type(error).__name__, message=error.message, hint=error.hint)
    except MemoryError:
        emit("error", kind="ModelError", message="out of memory", hint="")
    out.close()
    os._exit(0)  # nothing is left to save, and freeing gigabytes politely takes time


def _exit_with_parent(lines: Any) -> None:
    lines.read()
    os._exit(1)


def inspect(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path} -> facts of the file, read without its weights."""
    model = llama.Model(Path(job["path"]), metadata_only=True)
    emit(
        "inspected",
        file_type=model.file_type,
        bits_per_weight=8 * model.tensor_bytes / max(1, model.n_params),
        n_params=model.n_params,
        architecture=model.metadata("general.architecture") or "",
        context_train=model.context_train,
        has_chat_template=model.chat_template is not None,
    )


def devices(_job: Job, emit: Emit, _lines: Lines) -> None:
    """{} -> what this build of llama.cpp is and sees."""
    emit(
        "devices",
        devices=[asdict(device) for device in llama.devices()],
        version=llama.version(),
        system_info=llama.system_info(),
        supports_gpu_offload=llama.supports_gpu_offload(),
        physical_cores=llama.physical_cores(),
    )


def probe(job: Job, emit: Emit, _lines: Lines) -> None:
    """{extra_buffers} -> one decode of a tiny 4-bit model made on the spot: shows that this build can decode at all.

    A build whose AMX code was miscompiled dies here with SIGSEGV when `extra_buffers` is true.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = tiny_gguf.write(Path(folder) / "tiny.gguf")
        model = llama.Model(path, extra_buffers=job["extra_buffers"])
        context = llama.Context(model, n_ctx=llama.PAD, n_threads=llama.physical_cores(), n_batch=llama.PAD, gbnf=None)
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

    facts = llama.quantize(
        Path(job["source"]),
        Path(job["target"]),
        job["file_type"],
        allow_requantize=job["allow_requantize"],
        dry_run=job["dry_run"],
        on_progress=tell,
    )
    emit("quantized", **asdict(facts))


def run(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, prompts, samples, settings, ...} -> loaded, one answer a prompt, done.

    `prompts` is a list of [document_id, user message]; `samples` are messages about made-up documents, whose common
    beginning is what every prompt shares, whichever documents are asked about. Every prompt is tokenized before the
    context is made, so the context fits the longest one that the model's own limit allows; longer ones are reported
    as over_context.
    """
    settings = job["settings"]
    started = time.monotonic()
    model = _load(job, emit)
    maker = llama.PromptMaker(model, job["template_kwargs"])
    prefix = _shared_prefix(maker.tokens(message) for message in job["samples"])
    limit = min(model.context_train, job["context"] or model.context_train)
    asked = []
    for document_id, message in job["prompts"]:
        tokens = maker.tokens(message)
        if len(tokens) + settings["max_answer_tokens"] > limit:
            emit("over_context", document_id=document_id, prompt_tokens=len(tokens))
        else:
            asked.append((document_id, tokens))
    n_ctx = max((len(tokens) for _, tokens in asked), default=0) + settings["max_answer_tokens"]
    context = llama.Context(
        model, n_ctx=n_ctx, n_threads=settings["n_threads"], n_batch=settings["n_batch"], gbnf=job["grammar"]
    )
    emit(
        "loaded",
        load_seconds=time.monotonic() - started,
        n_ctx=-(-n_ctx // llama.PAD) * llama.PAD,
        gpu_layers=model.offloaded_layers(),
        n_layers=model.n_layers,
        gpu_build=llama.supports_gpu_offload(),
        peak_rss_bytes=_peak_rss_bytes(),
    )
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


def _peak_rss_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in kB


def chat(job: Job, emit: Emit, lines: Lines) -> None:
    """{path, settings, ...}, then one {message, max_tokens} a line -> loaded, one answer a line, until input ends."""
    model = _load(job, emit)
    maker = llama.PromptMaker(model, job["template_kwargs"])
    n_ctx, n_batch = min(model.context_train, job["context"]), job["settings"]["n_batch"]
    context = llama.Context(model, n_ctx=n_ctx, n_threads=llama.physical_cores(), n_batch=n_batch, gbnf=None)
    emit("loaded", n_ctx=n_ctx, gpu_layers=model.offloaded_layers(), n_layers=model.n_layers)
    for line in lines:
        request = json.loads(line)
        tokens = maker.tokens(request["message"])
        if len(tokens) + request["max_tokens"] > n_ctx:
            raise ModelError(f"a prompt of {len(tokens)} tokens and its answer do not fit the context of {n_ctx}")
        answer = context.answer([], tokens, request["max_tokens"])
        output = b"".join(model.piece(token) for token in answer.tokens).decode("utf-8", "replace")
        emit("answer", output=output, prompt_tokens=len(tokens), generated_tokens=len(answer.tokens))


def _load(job: Job, emit: Emit) -> llama.Model:
    """Load the model with as many layers on the GPU as asked for, or as fit.

    "auto" starts from what the free GPU memory holds and steps down when the load fails; "all" and a number do what
    they say, or fail.
    """
    told = 0.0

    def tell(done: float) -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_EVERY_SECONDS:
            told = time.monotonic()
            emit("loading", done=done)

    path, wanted = Path(job["path"]), job["settings"]["gpu_layers"]
    extra_buffers = job["settings"]["extra_buffers"]
    if wanted != "auto":
        layers = -1 if wanted == "all" else int(wanted)
        return llama.Model(path, gpu_layers=layers, extra_buffers=extra_buffers, on_progress=tell)
    for layers in llama.gpu_layer_steps(path):
        try:
            return llama.Model(path, gpu_layers=layers, extra_buffers=extra_buffers, on_progress=tell)
        except ModelError:
            if layers == 0:
                raise
    raise AssertionError("the last step is the CPU alone")


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
