"""RUN: one contender's answers, computed in a child process and handed on as they come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gguf_bench.child import Child
from gguf_bench.progress import SILENT, Progress
from gguf_bench.records import Answer, Document, Finished, GgufFile, Loaded, ModelSpec, Settings
from gguf_bench.tasks import Task
from gguf_bench.tasks.task import prompt_sha256

ENGINE = 1
"""Raise it whenever the way prompts are rendered or tokens decoded changes answers."""

N_BATCH = 512
"""Tokens decoded together, and the micro-batch: on a CPU the best of 128 … 2,048 for small models."""


def run(
    gguf: GgufFile,
    spec: ModelSpec,
    task: Task,
    messages: Mapping[str, str],
    settings: Settings,
    *,
    progress: Progress = SILENT,
) -> Iterator[Loaded | Answer | Finished]:
    """Ask `gguf` every one of `messages` (document id -> user message), greedily, with the task's grammar.

    Yields Loaded, then an Answer a document as soon as it is there, then Finished. A prompt longer than the context
    is answered `over_context` at once, before anything is loaded onto a GPU for it. Leaving the iterator early ends
    the child. Raises ModelError with the child's reason, ChildDied where it was killed.
    """
    job = {
        "job": "run",
        "path": str(gguf.path),
        "adapter": str(gguf.adapter.path) if gguf.adapter else None,
        "prompts": list(messages.items()),
        "samples": _samples(task),
        "settings": asdict(settings),
        "template_kwargs": dict(settings.template_kwargs),
        "context": spec.context,
        "grammar": task.grammar,
    }
    loading = progress.bar(f"load {gguf.path.name}", 1.0, "")
    loaded_share = 0.0
    try:
        with Child(job, what=f"{spec.key} {gguf.quant}") as child:
            for event in child.events():
                match event["event"]:
                    case "loading":
                        loading.advance(event["done"] - loaded_share)
                        loaded_share = event["done"]
                    case "loaded":
                        loading.close()
                        yield Loaded(**_without_name(event))
                    case "over_context":
                        yield _answer(event, messages, "over_context")
                    case "answer":
                        yield _answer(event, messages, "answered")
                    case "done":
                        yield Finished(peak_rss_bytes=event["peak_rss_bytes"], peak_vram_bytes=None)
    finally:
        loading.close()


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
