"""EPS extraction: read three figures from an earnings release, each per share and for the reported period.

A sample, shortened:

    Quellmark Inc.'s earnings release for Q1 2023   (the prompt below, around the excerpt)
    -> {"basic": 0.57, "diluted": 0.56, "adjusted": null}

The instructions come first and are the same for every document, so that a model's work on them is done once a run.
"""

from __future__ import annotations

from gguf_bench.records import Document
from gguf_bench.score import SCORER_VERSION, score_output
from gguf_bench.tasks.task import Task

_INSTRUCTIONS = """\
Read the earnings release below and find three figures per share for the reported period:
- "basic": basic earnings per share (GAAP or IFRS)
- "diluted": diluted earnings per share (GAAP or IFRS)
- "adjusted": adjusted (non-GAAP, core, underlying) diluted earnings per share
Take the column of the reported period, not a prior period, and not the year to date unless that is the reported period.
A loss is negative: (0.42) is -0.42. 42 cents is 0.42. A figure that the release does not give is null.
Answer with JSON only, like {"basic": 1.23, "diluted": 1.21, "adjusted": null}

"""

_NUMBER = "[0-9]{1,6}"

GRAMMAR = f"""\
root ::= "{{\\"basic\\": " value ", \\"diluted\\": " value ", \\"adjusted\\": " value "}}"
value ::= "null" | "-"? {_NUMBER} ("." [0-9]{{1,4}})?
"""


def prompt(document: Document, excerpt: str) -> str:
    """The user message: instructions, company and period, the excerpt, and what to answer with."""
    period = document.period or "the period it reports"
    return (
        f"{_INSTRUCTIONS}Company: {document.company}\nReported period: {period}\n\n"
        f"Release:\n{excerpt}\n\n"
        f"JSON with basic, diluted and adjusted earnings per share of {document.company} for {period}:"
    )


EPS_EXTRACTION = Task(
    name="eps_extraction",
    version="1",
    prompt_version="1",
    scorer_version=SCORER_VERSION,
    grammar=GRAMMAR,
    max_answer_tokens=96,
    prompt=prompt,
    score=score_output,
)
