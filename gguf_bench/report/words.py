"""What the page says in sentences and lists: the head, the verdicts, the recommendation, how to run it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gguf_bench.records import Comparison, Recommendation
from gguf_bench.report.found import Found, interval, is_baseline, sentence
from gguf_bench.report.repeating import commands, facts
from gguf_bench.wording import in_words, percent, printable

VERDICTS_AT_ONCE = 10


MOST_VERDICTS = 400


def title(comparison: Comparison) -> str:
    names = [run["name"] or f"run {run['id']}" for run in comparison.runs]
    return printable(" and ".join(filter(None, [", ".join(names[:-1]), names[-1]])))


def head(found: Found) -> Iterator[str]:
    run = found.run
    yield f"{run['n_documents']:,} documents of {printable(run['dataset'])}"
    if found.material.n_companies:
        yield f"{found.material.n_companies:,} companies"
    chars = run["excerpt_chars"]
    yield "whole texts" if chars is None else f"excerpts of {chars:,} characters"
    if run["settings"].get("grammar") is False:
        yield "free answers"
    cpu, gpus = run["machine"].get("cpu"), run["machine"].get("gpus") or []
    yield from (printable(name) for name in [*(gpu["description"] for gpu in gpus), cpu][:1] if name)
    yield str(run["created"])[:10]


def lead(found: Found) -> Iterator[str]:
    """The two or three sentences that somebody who reads nothing else should read."""
    models = found.models
    if not models:
        yield "No model has a score yet."
        return
    best = models[0]
    yield (
        f"{best['name']} scores highest{f' of {len(models)}' if len(models) > 1 else ''}: "
        f"{percent(best['eps_score'])} % of the figures right {interval(best)}."
    )
    against = [pair for pair in found.comparison.verdicts if printable(pair.better) == best["name"]]
    others = [pair for pair in against if printable(pair.worse) in {row["name"] for row in models}]
    if others:
        shown = sum(pair.shown for pair in others)
        open_ = [printable(pair.worse) for pair in others if not pair.shown]
        which = "all" if shown > 1 and not open_ else f"{shown}"
        if shown:
            yield f"It is shown to be better than {which} of the {_count(len(others), 'other')}" + (
                "," if open_ else "."
            )
        if open_:
            names = (
                " and ".join(open_) if len(open_) < NAMED else f"{'the other ' if shown else 'any of the '}{len(open_)}"
            )
            n = f"at n = {best['n_documents']:,}"
            yield (
                f"but no difference from {names} can be shown {n}."
                if shown
                else f"No difference from {names} can be shown {n}."
            )
    above = [row for row in found.finished if is_baseline(row) and row["eps_score"] > best["eps_score"]]
    if above:
        named = f" ({above[0]['display_name']})" if above[0]["display_name"] != above[0]["model"] else ""
        yield f"{above[0]['name']}{named} scores {percent(above[0]['eps_score'])}."


NAMED = 3
"""From so many contenders on it is only said how many they are."""


def _count(number: int, word: str) -> str:
    return word if number == 1 else f"{number} {word}s"


def warnings(found: Found) -> Iterator[str]:
    for run in found.comparison.runs:
        if run["status"] != "finished":
            yield f"Run {run['id']} is not finished ({run['status']}): what is shown is what is stored so far."
    failed = sum(row["status"] == "failed" for row in found.board)
    if failed:
        yield f"{failed} of {len(found.board)} contenders failed; they have no score, and are named below."
    yield from map(sentence, found.comparison.remarks)


def board_note(found: Found) -> str:
    recall = found.comparison.excerpts
    kept = ""
    if recall is not None:
        kept = f" The excerpts keep {recall['gold_kept']:,} of {recall['gold_figures']:,} figures asked for."
    quiet = " What stands in every run by itself is set back." if any(not row["asked"] for row in found.board) else ""
    return (
        f"n = {found.run['n_documents']:,} documents of {found.material.n_companies:,} companies. Each asks for three "
        "figures: basic, diluted and adjusted EPS. The bar is the 95 % interval, clustered by company, on a scale from "
        f"0 to 100.{quiet}{kept}{_fidelity_note(found)}"
    )


def _fidelity_note(found: Found) -> str:
    """What the files were held against, and on what text."""
    measured = [row["fidelity"] for row in found.board if row["fidelity"]]
    texts = {f"{of['reference']} on {of['n_tokens']:,} tokens of {of['text']}": None for of in measured}
    return f" Divergence is that from the model's {printable(' or '.join(texts))}." if texts else ""


def troubles(found: Found) -> Iterator[str]:
    """Who failed, and whose documents did not fit or could not be read."""
    for row in found.board:
        name, n = row["name"], row["n_documents"]
        if row["error"]:
            yield f"{name} {row['status']}: {row['error']}"
        elif row["eps_score"] is None:
            yield f"{name} has no score: it is {row['status']}"
        if row["over_context"]:
            yield f"{name}: {row['over_context']} of {n} documents do not fit its context; each scores 0"
        if row["unparseable"]:
            yield f"{name}: {row['unparseable']} of {n} answers could not be read; each scores 0"
        if row["schema_kept"] == 0:
            yield f"{name}: the server took a JSON schema for the answers, but did not keep to it"


def verdicts(found: Found) -> dict[str, Any]:
    pairs = found.comparison.verdicts
    said = [printable(in_words(pair)) for pair in pairs[:MOST_VERDICTS]]
    note = ""
    if pairs:
        note = (
            f"{_pairs(len(pairs))}, compared document by document. A difference counts as shown where its permutation "
            "p-value, adjusted by Holm's method over all pairs, is below 5 %."
        )
    return {
        "verdicts": said[:VERDICTS_AT_ONCE],
        "more_verdicts": said[VERDICTS_AT_ONCE:],
        "verdicts_left_out": max(0, len(pairs) - MOST_VERDICTS),
        "verdicts_note": note,
    }


def recommended(advice: Recommendation, found: Found) -> Iterator[tuple[str, str, str]]:
    """What to run: (in which words, its name, the command)."""
    points = 100 * advice.limits.margin
    within = f"file within {points:.4g} point{'' if points == 1 else 's'} of the best"
    named = {f"Smallest {within}": advice.smallest, f"Fastest {within}": advice.fastest}
    if advice.smallest == advice.fastest:
        named = {f"Smallest and fastest {within}": advice.smallest}
    if not advice.is_shown:
        named = {"File with the best score": advice.smallest}
    for words, name in named.items():
        if name is not None:
            yield words, printable(name), printable(_without_folders(advice.commands.get(name, ""), found))


def _without_folders(command: str, found: Found) -> str:
    """The files that a command names, without the folders they lie in, which are nobody's business."""
    for file in found.material.files.values():
        path = Path(file["path"])
        command = command.replace(shlex.quote(str(path)), shlex.quote(path.name))
    return command


def _pairs(number: int) -> str:
    return "One pair" if number == 1 else f"{number:,} pairs"


def repeats(found: Found, default_dataset: str) -> Iterator[tuple[str, list[str], list[tuple[str, str]]]]:
    contenders = list(found.material.contenders.values())
    for run in found.comparison.runs:
        own = sorted((row for row in contenders if row["run_id"] == run["id"]), key=lambda row: row["position"])
        lines = commands(run, own, found.material.files, default_dataset)
        told = [(printable(what), printable(which)) for what, which in facts(run)]
        description = printable(run["description"] or "")
        yield description, [printable(line) for line in lines], told
