"""CALIBRATE: how this machine computes models of a shape fastest, measured once and remembered.

Flash attention and the size of a micro-batch change speed by up to a factor, and which is best depends on machine,
model and the length of prompts. All contenders of a comparison are run alike, so what is chosen is
the way that costs all of them together the least.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf_bench.child import Child
from gguf_bench.errors import ModelError
from gguf_bench.gguf_header import CacheShape, GgufHeader
from gguf_bench.paths import cache_folder, written_whole
from gguf_bench.progress import SILENT, Progress

Choice = Mapping[str, Any]

CHOICES: tuple[Choice, ...] = (
    {"flash_attention": True, "kv_type": "f16", "n_ubatch": 512},
    {"flash_attention": False, "kv_type": "f16", "n_ubatch": 512},
    {"flash_attention": True, "kv_type": "f16", "n_ubatch": 256},
)
"""What is tried, each a part of the settings. The first is taken where nothing could be measured. Of KV caches only f16
is tried: f32 was no faster anywhere, and q8_0 reads prompts at a seventh of the speed (docs/engine.md)."""

CLEARLY = 0.95
"""A choice has to be this much cheaper than an earlier one: what is measured varies by a few percent."""

WORTH_ANOTHER = 0.75
"""The same against the choice that earlier runs were computed by: with another one their answers cannot be taken over,
nor their scores be compared."""

SAMPLED_TOKENS = 16
"""How many tokens of an answer a model chooses where a grammar gives the rest: three figures take about that."""

USUAL_PARALLEL = 8
"""More sequences side by side gain little on CPUs, and each takes its part of the memory."""
MEMORY_SHARE = 0.25
"""How much of the memory the KV caches of all sequences may take."""
CHARS_PER_TOKEN = 2.5
"""About what vocabularies that split every figure into digits need; only the memory is reckoned by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a model is asked for: a `message` of middling length, and how many tokens of an answer it chooses.

    `usual` is the choice by which it was done before, if it was.
    """

    message: str
    longest_chars: int
    sampled_tokens: int
    max_answer_tokens: int
    usual: Choice | None = None

    @property
    def n_ctx(self) -> int:
        """At most the tokens of the longest prompt and its answer."""
        return int(self.longest_chars / CHARS_PER_TOKEN) + self.max_answer_tokens

    @property
    def size(self) -> int:
        """The message's characters, up to the next power of two: works of one size are calibrated once."""
        return 1 << len(self.message).bit_length()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file to measure, with all that a child needs to load and ask it."""

    path: Path
    header: GgufHeader
    settings: Mapping[str, Any]
    template_kwargs: Mapping[str, Any]


def work(messages: Sequence[str], *, has_grammar: bool, max_answer_tokens: int) -> Work:
    """The work that `messages` (at least one) are."""
    by_length = sorted(messages, key=len)
    return Work(
        message=by_length[len(by_length) // 2],
        longest_chars=len(by_length[-1]),
        sampled_tokens=SAMPLED_TOKENS if has_grammar else max_answer_tokens,
        max_answer_tokens=max_answer_tokens,
    )


def parallel_that_fits(headers: Sequence[GgufHeader], work: Work, memory_bytes: int) -> int:
    """How many sequences of `work` side by side a machine of `memory_bytes` has room for, whichever of the models runs.

    USUAL_PARALLEL or a half, a quarter, ... of it, at least 1. Not what is free counts but what there is: the same
    comparison shall be run in the same shape tomorrow.
    """
    count = USUAL_PARALLEL
    while count > 1 and any(_cache_bytes(header, work, count) > MEMORY_SHARE * memory_bytes for header in headers):
        count //= 2
    return count


def _cache_bytes(header: GgufHeader, work: Work, count: int) -> int:
    n_ctx = min(work.n_ctx, header.context_train or work.n_ctx)
    shape = CacheShape(n_ctx=n_ctx * (count + 1), n_seq=count + 1, unified=False, swa_full=False)
    return sum(header.cache_bytes(shape))


def choose(
    subjects: Sequence[Subject],
    work: Work,
    machine: str,
    progress: Progress = SILENT,
    on_child: Callable[[Child], object] | None = None,
) -> Choice:
    """The one of CHOICES that answers `work` fastest on `machine`, over all `subjects` (models of different shapes).

    The usual one stays unless another is worth it.

    What was measured once for a machine, shape and size of work is read from the cache. A model that cannot be measured
    has no say, nor has a choice that some model cannot be run with. `on_child` is as of `run.run`.
    """
    costs = [cost for subject in subjects if (cost := _costs(subject, work, machine, progress, on_child))]
    best, least, enough = 0, float("inf"), CLEARLY
    for number in sorted(range(len(CHOICES)), key=lambda number: CHOICES[number] != work.usual):
        if all(cost[number] is not None for cost in costs):
            relative = sum(float(cost[number] or 0) / min(filter(None, cost)) for cost in costs)
            if relative < enough * least:
                best, least = number, relative
                enough = WORTH_ANOTHER if CHOICES[best] == work.usual else CLEARLY
    return CHOICES[best]


def _costs(
    subject: Subject, work: Work, machine: str, progress: Progress, on_child: Callable[[Child], object] | None
) -> list[float | None]:
    """Seconds a document by each of CHOICES, None where it cannot be done; nothing where the model cannot be asked."""
    identity = [machine, subject.header.shape_key, work.size, work.sampled_tokens, CHOICES, subject.settings]
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    remembered = cache_folder() / "calibration" / f"{key}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return list(json.loads(remembered.read_text())["seconds"])
    costs = _measured(subject, work, progress, on_child)
    if costs:
        with suppress(OSError), written_whole(remembered) as partial:  # a full cache is no reason to stop
            partial.write_text(json.dumps({"choices": CHOICES, "seconds": costs, "model": subject.header.name}))
    return costs


def _measured(
    subject: Subject, work: Work, progress: Progress, on_child: Callable[[Child], object] | None
) -> list[float | None]:
    job = {
        "job": "calibrate",
        "path": str(subject.path),
        "settings": dict(subject.settings),
        "choices": CHOICES,
        "prompts": [["", work.message]],
        "context": None,
        "template_kwargs": dict(subject.template_kwargs),
    }
    costs: list[float | None] = [None] * len(CHOICES)
    bar = progress.bar(f"measure {subject.header.name}", len(CHOICES), "settings")
    try:
        with Child(job, what="a calibration") as child:
            if on_child is not None:
                on_child(child)
            for event in child.events():
                if event["event"] == "measured":
                    bar.advance(1)
                    costs[event["choice"]] = (
                        event["prompt_tokens"] * event["prompt_seconds_per_token"]
                        + work.sampled_tokens * event["step_seconds_per_token"]
                    )
    except ModelError as error:
        progress.say(f"measuring {subject.header.name} broke off: {error}")
        return []  # what else could be measured is not known
    finally:
        bar.close()
    return costs if any(costs) else []
