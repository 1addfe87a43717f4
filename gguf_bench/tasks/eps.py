"""EPS extraction: read three figures from an earnings release, each per share and for the reported period.

A sample, shortened:

    Quellmark Inc.'s earnings release for Q1 2023   (the prompt below, around the excerpt)
    -> {"basic": 0.57, "diluted": 0.56, "adjusted": null}

The instructions come first and are the same for every document, so that a model's work on them is done once a run.
No figure stands in them, not even as an example: a model of 135M parameters copies it.
"""

from __future__ import annotations

from gguf_bench.records import FIELDS, Document
from gguf_bench.score import SCORER_VERSION, score_output
from gguf_bench.tasks.task import Task

INSTRUCTIONS = """\
Extract earnings per share (EPS) from the release: basic EPS, diluted EPS, and adjusted (non-GAAP) diluted EPS, \
for the reported period only. A loss, or a figure in parentheses, is negative. Cents are hundredths. \
Write null for a figure that is not given. Answer with JSON that has the keys "basic", "diluted" and "adjusted".

"""

_NUMBER = "[0-9]{1,6}"

GRAMMAR = f"""\
root ::= "{{\\"basic\\": " value ", \\"diluted\\": " value ", \\"adjusted\\": " value "}}"
value ::= "null" | "-"? {_NUMBER} ("." [0-9]{{1,4}})?
"""

JSON_SCHEMA = {
    "type": "object",
    "properties": {field: {"type": ["number", "null"]} for field in FIELDS},
    "required": list(FIELDS),
    "additionalProperties": False,
}


def prompt(document: Document, excerpt: str) -> str:
    """The user message: instructions, company and period, the excerpt, and what to answer with."""
    period = document.period or "the period it reports"
    return (
        f"{INSTRUCTIONS}Company: {document.company}\nPeriod: {period}\n\n{excerpt}\n\n"
        f"What were the basic, diluted and adjusted EPS of {document.company} for {period}? Answer with JSON:"
    )


EPS_EXTRACTION = Task(
    name="eps_extraction",
    version="1",
    prompt_version="1",
    scorer_version=SCORER_VERSION,
    grammar=GRAMMAR,
    json_schema=JSON_SCHEMA,
    max_answer_tokens=96,
    prompt=prompt,
    score=score_output,
)
