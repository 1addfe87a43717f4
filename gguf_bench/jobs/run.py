"""Answers to prompts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass

from gguf_bench.engine import Engine
from gguf_bench.jobs import loading
from gguf_bench.jobs.protocol import Emit, Job, Lines, beat, peak_rss_bytes
from gguf_bench.llama.context import Context
from gguf_bench.llama.devices import supports_gpu_offload
from gguf_bench.llama.grammar import Grammar
from gguf_bench.llama.model import Model
from gguf_bench.llama.prompts import PromptMaker
from gguf_bench.offload import Plan


def work(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, adapter, prompts, missing, samples, settings, ...} -> loaded, one answer a missing prompt, done.

    `prompts` is a list of [document_id, user message] of all documents, `missing` the ids to answer now; `samples` are
    messages about made-up documents, whose common beginning is what every prompt shares, whichever documents are asked
    about. The context fits the longest of all prompts that the model's own limit allows, so that it is the same one
    when a run is gone on with; longer ones are reported as over_context.
    """
    settings = job["settings"]
    prepared = loading.with_layers(job, emit, lambda plan: _prepare(job, emit, plan))
    model, context = prepared.model, prepared.context
    emit(
        "loaded",
        load_seconds=prepared.load_seconds,
        n_ctx=context.n_ctx,
        gpu_layers=model.offloaded_layers(),
        n_layers=model.n_layers,
        gpu_build=supports_gpu_offload(),
        peak_rss_bytes=peak_rss_bytes(),
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
            output=model.text(answered.tokens),
            prompt_tokens=answered.prompt_tokens,
            generated_tokens=len(answered.tokens),
            sampled_tokens=answered.n_sampled,
            decoded_prompt_tokens=answered.decoded_prompt_tokens,
            prompt_seconds=answered.prompt_seconds,
            generation_seconds=answered.generation_seconds,
        )
    emit("done", peak_rss_bytes=peak_rss_bytes())


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
    model = loading.load(job, emit, plan)
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
        context=Context(
            model, loading.layout(settings, n_ctx or longest + settings["max_answer_tokens"]), beat=beat(emit)
        ),
        grammar=Grammar(model, job["grammar"]) if job["grammar"] else None,
        load_seconds=load_seconds + time.monotonic() - started,
        prefix=_shared_prefix(maker.tokens(message) for message in job["samples"]),
        asked=asked,
        too_long=[(document_id, len(tokens)) for document_id, tokens in prompts if len(tokens) > limit],
    )


def _shared_prefix(prompts: Iterable[list[int]]) -> list[int]:
    """The tokens that all `prompts` begin with."""
    together = zip(*prompts, strict=False)
    return [tokens[0] for tokens in itertools.takewhile(lambda tokens: len(set(tokens)) == 1, together)]
