"""Answers to one message after the other."""

from __future__ import annotations

import json

from gguf_bench.engine import Engine
from gguf_bench.errors import GgufBenchError, ModelError
from gguf_bench.jobs import loading
from gguf_bench.jobs.protocol import Emit, Job, Lines, report
from gguf_bench.llama.context import Context
from gguf_bench.llama.devices import physical_cores
from gguf_bench.llama.model import Model
from gguf_bench.llama.prompts import PromptMaker
from gguf_bench.offload import Plan


def work(job: Job, emit: Emit, lines: Lines) -> None:
    """{path, adapter, settings, ...}, then {message, max_tokens} a line -> loaded, one answer a line, until input ends.

    What cannot be answered is answered with "refused", and the next line is read.
    """

    def attempt(plan: Plan) -> tuple[Model, PromptMaker, Context]:
        model = loading.load(job, emit, plan)
        layout = loading.layout(
            loading.ALONE | {"n_threads": physical_cores()}, min(model.context_train, job["context"])
        )
        return model, PromptMaker(model, job["template_kwargs"]), Context(model, layout)

    model, maker, context = loading.with_layers(job, emit, attempt)
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
            report(error, emit, "refused")
            continue
        emit(
            "answer",
            output=model.text(answered.tokens),
            prompt_tokens=len(tokens),
            generated_tokens=len(answered.tokens),
        )
