"""Loading a model with as many layers on GPUs as asked for, or as fit: what jobs that run one begin with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gguf_bench import offload
from gguf_bench.gguf_header import CacheShape, read_header
from gguf_bench.jobs.protocol import PROGRESS_EVERY_SECONDS, Emit, Job, Seldom
from gguf_bench.llama import devices
from gguf_bench.llama.context import Layout
from gguf_bench.llama.model import Model
from gguf_bench.llama.prompts import PromptMaker
from gguf_bench.offload import Plan

T = TypeVar("T")

ALONE = {"n_parallel": 1, "n_ubatch": 512, "flash_attention": None, "kv_type": "f16"}
"""How a context computes that nothing is compared by."""


def load(job: Job, emit: Emit, plan: Plan) -> Model:
    """The model of a job, with the layers of `plan` on GPUs. Raises ModelError as `Model` does."""
    tell = Seldom(emit, "loading", PROGRESS_EVERY_SECONDS)
    return Model(
        Path(job["path"]),
        gpu_layers=plan.gpu_layers,
        tensor_split=plan.tensor_split,
        extra_buffers=job["settings"]["extra_buffers"],
        adapter=Path(job["adapter"]) if job.get("adapter") else None,
        on_progress=lambda done: tell(done=done),
    )


def with_layers(job: Job, emit: Emit, attempt: Callable[[Plan], T], shape: CacheShape | None = None) -> T:
    """`attempt` with as many layers on GPUs as asked for, or as fit.

    "auto" starts from what fits by the file's sizes and the free memory, and steps down when model or context cannot be
    allocated, at last to the CPU; "all" and a number do what they say, or fail. The parent hears of each step.
    `shape` is the context to make room for, where it is not that of the job's prompts.
    """
    return offload.first_that_works(offload.plans_of(job) or plans(job, shape), attempt, emit)


def plans(job: Job, shape: CacheShape | None) -> list[Plan]:
    """What to try, in this order; `shape` None is that of the job's prompts."""
    wanted, found = job["settings"]["gpu_layers"], devices.devices()
    if wanted == "0" or (wanted == "auto" and not any(device.kind in ("gpu", "igpu") for device in found)):
        return [Plan(0)]
    path = Path(job["path"])
    shape = shape or cache_shape(job, Model(path, metadata_only=True))
    return offload.plan(read_header(path), found, wanted, shape)


def layout(settings: Mapping[str, Any], n_ctx: int) -> Layout:
    """How a context of these settings computes."""
    names = ("n_parallel", "n_threads", "n_ubatch", "flash_attention", "kv_type")
    return Layout(n_ctx=n_ctx, **{name: settings[name] for name in names})


def cache_shape(job: Job, model: Model) -> CacheShape:
    """What `run` or `chat` will ask of a context, before they have loaded the weights.

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
    made = layout(settings, context)
    return CacheShape(
        n_ctx=made.n_cells * made.n_sequences,
        n_seq=made.n_sequences,
        n_ubatch=made.n_ubatch,
        type_k=made.kv_type,
        type_v=made.kv_type,
        flash_attention=made.flash_attention is not False,
        unified=False,
        swa_full=False,
        n_outputs=made.n_sequences,
    )
