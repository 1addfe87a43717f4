"""ALIKE. Rows of `runs` -> whether the scores, and the speeds, of their contenders may be compared. Pure: rows in.

Scores compare where everybody was asked the same in the same way. For files that takes the same batch shape and the
same llama.cpp as well, for with other ones the same file answers otherwise (docs/engine.md); endpoints and baselines
have neither. What remains, the machine above all, changes speeds and no more of an answer than rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gguf_bench.errors import ComparisonError

Row = Mapping[str, Any]
Facts = Mapping[str, Callable[[Row], Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A run that is to be compared: its row, the ids of the documents asked, whether files answered in it.

    `is_old` says that today's scorer is another than the run's.
    """

    run: Row
    documents: Collection[str]
    has_files: bool
    is_old: bool


def _setting(name: str) -> Callable[[Row], Any]:
    return lambda run: run["settings"].get(name, "unknown")


SCORER = "scorer"

ASKED: Facts = {
    "task": lambda run: f"{run['task']} {run['task_version']}",
    "dataset": lambda run: f"{run['dataset']} {run['dataset_sha256'][:8]}",
    "prompt": lambda run: run["prompt_version"],
    SCORER: lambda run: run["scorer_version"],
    "characters of an excerpt": lambda run: "all" if run["excerpt_chars"] is None else f"{run['excerpt_chars']:,}",
    "way to make excerpts": lambda run: run["excerpt_version"],
    "grammar": lambda run: run["settings"].get("grammar", True),  # there was no other way once
    "tokens an answer may have": _setting("max_answer_tokens"),
}
"""What the score of any contender hangs on, beside the documents."""

COMPUTED: Facts = {
    "engine": _setting("engine"),
    "llama.cpp": lambda run: run["versions"].get("llama_cpp", "unknown"),
    "documents at once": _setting("n_parallel"),
    "micro-batch": _setting("n_ubatch"),
    "flash attention": _setting("flash_attention"),
    "KV cache": _setting("kv_type"),
    "feeding of forced text": _setting("jump_forward"),
}
"""What the answers of a file hang on besides."""

TIMED: Facts = {
    "machine": _setting("machine"),
    "threads": _setting("n_threads"),
    "layers asked onto a GPU": _setting("gpu_layers"),
    "build of llama.cpp": _setting("build"),
    "use of extra buffers": _setting("extra_buffers"),
}
"""What only their speed and memory hang on."""


def require_alike(entries: Sequence[Entry]) -> None:
    """Raises ComparisonError for the first two of `entries` whose scores cannot be compared, with all that differs."""
    for first, second in itertools.combinations(entries, 2):
        found = list(_differences(first, second))
        if not found:
            continue
        hint = "compare their models in one run; answers that are stored are not computed again"
        old = [str(entry.run["id"]) for entry in (first, second) if entry.is_old]
        if [name for name, _ in found] == [SCORER] and old:
            hint = f"`gguf-bench results rescore {' '.join(old)}` scores the stored answers by today's"
        raise ComparisonError(
            f"runs {first.run['id']} and {second.run['id']} are not alike: "
            + ", ".join(f"{name} ({words})" for name, words in found),
            hint=hint,
        )


def _differences(first: Entry, second: Entry) -> Iterator[tuple[str, str]]:
    """What scores hang on and the two do not share: (what, in which way)."""
    yield from _differing(ASKED, first.run, second.run)
    one, other = set(first.documents), set(second.documents)
    if one != other:
        yield "documents", f"{len(one)} and {len(other)}, {len(one & other)} of them the same"
    if first.has_files and second.has_files:
        yield from _differing(COMPUTED, first.run, second.run)


def _differing(facts: Facts, first: Row, second: Row) -> Iterator[tuple[str, str]]:
    for name, fact in facts.items():
        one, other = fact(first), fact(second)
        if one != other:
            yield name, f"{_said(one)} and {_said(other)}"


def _said(fact: Any) -> str:
    return {True: "yes", False: "no"}[fact] if isinstance(fact, bool) else str(fact)


def speed_differences(entries: Sequence[Entry]) -> list[str]:
    """What keeps the speeds of the files of `entries` from being compared, as words; empty where nothing does."""
    computed = [entry.run for entry in entries if entry.has_files]
    return [name for name, fact in TIMED.items() if len({str(fact(run)) for run in computed}) > 1]
