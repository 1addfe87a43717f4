"""How fast settings are."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from gguf_bench.errors import ModelError
from gguf_bench.jobs import loading
from gguf_bench.jobs.protocol import Emit, Job, Lines
from gguf_bench.llama.context import Context, Layout
from gguf_bench.llama.model import Model
from gguf_bench.llama.prompts import PromptMaker
from gguf_bench.offload import Plan

MEASURE_SECONDS, MEASURE_TOKENS, MEASURE_STEPS = 4.0, 128, 5
"""For how long a prompt is read to see how fast a setting is, at least how much of it, and steps of generation."""


def work(job: Job, emit: Emit, _lines: Lines) -> None:
    """{path, prompts: [one], choices, settings, ...} -> how fast each of `choices` (parts of settings) decodes it.

    The prompt is cut where reading it takes longer than MEASURE_SECONDS. A choice that this model cannot be run with
    is passed over.
    """
    settings = job["settings"]

    def attempt(plan: Plan) -> Model:
        model = loading.load(job, emit, plan)
        Context(model, loading.layout(settings, MEASURE_TOKENS))  # is there room for more than the weights?
        return model

    model = loading.with_layers(job, emit, attempt)
    ((_, message),) = job["prompts"]
    tokens = PromptMaker(model, job["template_kwargs"]).tokens(message)[: model.context_train - MEASURE_STEPS - 2]
    n_measured = 0
    for number, choice in enumerate(job["choices"]):
        layout = loading.layout(settings | choice, len(tokens) + MEASURE_STEPS + 2)
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
