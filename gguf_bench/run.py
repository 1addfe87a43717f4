"""RUN: one contender's answers, computed in a child process and handed on as they come."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gguf_bench.child import Child, Event, patience
from gguf_bench.errors import ChildDied
from gguf_bench.offload import after_death
from gguf_bench.progress import SILENT, Progress, Reached
from gguf_bench.records import Answer, Document, Finished, GgufFile, Loaded, ModelSpec, Settings
from gguf_bench.tasks import Task
from gguf_bench.tasks.task import prompt_sha256
from gguf_bench.vram import PeakVram

ENGINE = 2
"""Raise it whenever the way prompts are rendered or tokens decoded changes answers."""


def run(
    gguf: GgufFile,
    spec: ModelSpec,
    task: Task,
    messages: Mapping[str, str],
    settings: Settings,
    *,
    missing: Collection[str] | None = None,
    n_ctx: int | None = None,
    progress: Progress = SILENT,
    on_child: Callable[[Child], object] | None = None,
) -> Iterator[Loaded | Answer | Finished]:
    """Ask `gguf` `messages` (document id -> user message), or those of them that are `missing`, greedily.

    `n_ctx` is the context that fits all of `messages`, where an earlier run of the same has told: only those that are
    missing are tokenized then. Yields Loaded, then an Answer a document as soon as it is there, then Finished. A prompt
    longer than the context is answered `over_context`, before any other is asked. Leaving the iterator early ends the
    child. `on_child` gets each child that is started, which another thread may close: that ends the run with ChildDied.
    Raises ModelError with the child's reason, ChildDied where it was killed.
    """
    job = {
        "job": "run",
        "path": str(gguf.path),
        "adapter": str(gguf.adapter.path) if gguf.adapter else None,
        "prompts": list(messages.items()),
        "missing": list(messages if missing is None else missing),
        "n_ctx": n_ctx,
        "samples": _samples(task),
        "settings": asdict(settings),
        "template_kwargs": dict(settings.template_kwargs),
        "context": spec.context,
        "grammar": task.grammar if settings.grammar else None,
    }
    sitting = _Sitting()
    while True:
        try:
            yield from _sit(job, gguf, spec, messages, settings, sitting, progress, on_child)
            return
        except ChildDied as death:
            # Other answers would be those of fewer layers on the GPU than the ones that are there.
            again = None if sitting.has_answered else after_death(job, sitting.last_offload, death)
            if again is None:
                raise
            job, step_down = again
            progress.say(step_down)


@dataclass
class _Sitting:
    """How far the child has come: its last word on what it puts onto GPUs, and which documents it is through with."""

    last_offload: Event | None = None
    has_answered: bool = False
    too_long: set[str] = field(default_factory=set)


def _sit(
    job: Mapping[str, Any],
    gguf: GgufFile,
    spec: ModelSpec,
    messages: Mapping[str, str],
    settings: Settings,
    sitting: _Sitting,
    progress: Progress,
    on_child: Callable[[Child], object] | None,
) -> Iterator[Loaded | Answer | Finished]:
    """What one child says."""
    loading = Reached(progress.bar(f"load {gguf.path.name}", 1.0, ""))
    load_patience = patience("load", gguf.size_bytes)
    try:
        with (
            Child(job, what=f"{spec.key} {gguf.quant}", patience_seconds=load_patience) as child,
            PeakVram(child.pid) as vram,
        ):
            if on_child is not None:
                on_child(child)
            for event in child.events():
                match event["event"]:
                    case "offload":
                        sitting.last_offload = event
                    case "stepped_down":
                        progress.say(event["message"])
                    case "loading":
                        loading.at(event["done"])
                    case "loaded":
                        loading.close()
                        child.patience_seconds = _patience(gguf, settings, child)
                        yield Loaded(**_without_name(event))
                    case "beat":
                        child.patience_seconds = _patience(gguf, settings, child)
                    case "over_context":
                        if event["document_id"] not in sitting.too_long:  # said by the child before, too
                            sitting.too_long.add(event["document_id"])
                            yield _answer(event, messages, "over_context")
                    case "answer":
                        sitting.has_answered = True
                        yield _answer(event, messages, "answered")
                    case "done":
                        yield Finished(peak_rss_bytes=event["peak_rss_bytes"], peak_vram_bytes=vram.bytes)
    finally:
        loading.close()


def _patience(gguf: GgufFile, settings: Settings, child: Child) -> float:
    silence = child.longest_silence_seconds
    return patience("answer", gguf.size_bytes, batch_tokens=settings.n_ubatch, longest_silence_seconds=silence)


def _samples(task: Task) -> Sequence[str]:
    """Prompts about two made-up documents that have nothing in common: what they share, every prompt shares."""
    gold = {"basic": None, "diluted": None, "adjusted": None}
    documents = (
        Document(id="1", company="Aa", period="Q1 2001", text="x", gold=gold),
        Document(id="2", company="0", period="year", text="1", gold=gold),
    )
    return [task.prompt(document, document.text) for document in documents]


def _without_name(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "event"}


def _answer(event: Mapping[str, Any], messages: Mapping[str, str], status: Any) -> Answer:
    return Answer(
        document_id=event["document_id"],
        status=status,
        prompt_sha256=prompt_sha256(messages[event["document_id"]]),
        **{name: value for name, value in event.items() if name not in ("event", "document_id")},
    )
