"""Results as people and machines read them: tables that fit 80 columns, and JSON with the store's own names."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gguf_bench.families import families, quantization_costs
from gguf_bench.quants import GROUPS, QUANTS, aliases
from gguf_bench.records import (
    Candidate,
    Check,
    Comparison,
    Dataset,
    Document,
    Family,
    QuantizationCost,
    QuantizedSize,
    Recommendation,
)
from gguf_bench.wording import in_words, percent, printable, size

if TYPE_CHECKING:
    from gguf_bench.catalog import Catalog
    from gguf_bench.garbage import Unneeded
    from gguf_bench.models_check import Checked
    from gguf_bench.provenance import Step
    from gguf_bench.quants import Quant
    from gguf_bench.queries import Parameter, SavedQuery
    from gguf_bench.rescore import Rescored

Row = Mapping[str, Any]

BETWEEN = "  "


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the caller, as every other way of writing does; rich would exit with 1."""
        raise  # the BrokenPipeError: rich calls this where it handles it


def _console() -> Console:
    return _Console(highlight=False, soft_wrap=False)


def _table(*columns: str, right: Sequence[str] = (), whole: Sequence[str] = ()) -> Table:
    """A table whose columns of numbers (`right`) and of names to copy (`whole`) are never wrapped."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for column in columns:
        numbers = column in right
        table.add_column(
            column, justify="right" if numbers else "left", overflow="fold", no_wrap=numbers or column in whole
        )
    return table


def _add(table: Table, *cells: object, style: str = "") -> None:
    """A row of plain text: what models and documents are called is never read as markup."""
    table.add_row(*(Text("" if cell is None else printable(str(cell))) for cell in cells), style=style)


def print_json(value: Any) -> None:
    sys.stdout.write(_json(value, indent=2) + "\n")


def _json(value: Any, indent: int | None = None) -> str:
    written = json.dumps(_finite(value), indent=indent, ensure_ascii=False, allow_nan=False, default=str)
    return OBEYED_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", written)


OBEYED_IN_JSON = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What terminals obey and JSON has no escape for of its own: it may be escaped as any character may."""


def _finite(value: Any) -> Any:
    """`value` with null for the numbers that JSON has no word for (infinities, and what is no number)."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_comparison(comparison: Comparison, *, as_json: bool, by: str | None = None) -> None:
    """The leaderboard of runs, what went wrong in them, and what their differences show.

    With `by`, of FAMILY_COLUMNS, the best of each family and what quantizing costs besides.
    """
    in_families = families(comparison.leaderboard, by) if by else []
    costs = quantization_costs(comparison.leaderboard, comparison.verdicts) if by else []
    if as_json:
        several = {"runs": comparison.runs, "remarks": comparison.remarks}
        more = {"families": list(map(asdict, in_families)), "quantization_costs": list(map(asdict, costs))}
        print_json(
            {
                "run": comparison.run,
                **(several if len(comparison.runs) > 1 else {}),
                "leaderboard": comparison.leaderboard,
                "verdicts": [{**asdict(verdict), "in_words": in_words(verdict)} for verdict in comparison.verdicts],
                "excerpts": comparison.excerpts,
                **({"by": by, **more} if by else {}),
            }
        )
        return
    console, run = _console(), comparison.run
    asked = [f"{run['n_documents']} documents of {run['dataset']}", _shown(run["excerpt_chars"])]
    if not _has_grammar(run):
        asked.append("free answers")
    console.print(Text(f"{_titles(comparison.runs)}: {', '.join(asked)}"))
    if "n_parallel" in run["settings"] and any(row["file_sha256"] for row in comparison.leaderboard):
        console.print(Text(f"every file {_computed(run['settings'])}"))
    priced = any(row["usd_per_document"] is not None for row in comparison.leaderboard)
    numbers = ("Size", "$/1k docs" if priced else "Bits/w", "EPS score [95 %]", "Exact", "Docs/min", "Memory")
    measured = any(row["kl_divergence"] is not None for row in comparison.leaderboard)
    if measured:
        numbers = (*numbers[:3], "KL div", *numbers[3:-1])
    table = _table("Model", "Quant", *numbers, right=numbers)
    for row in comparison.leaderboard:
        _add(table, *_leaderboard_cells(row, priced=priced, measured=measured), style=_style(row))
    console.print(table)
    _print_tiers(console, comparison.leaderboard)
    _print_fidelity(console, comparison.leaderboard)
    if by:
        _print_families(console, in_families, by)
        _print_costs(console, costs)
    remarks = (*comparison.remarks, *_recall(comparison), *_remarks(comparison.leaderboard))
    for line in (*remarks, *(in_words(verdict) for verdict in comparison.verdicts)):
        console.print(Text(printable(line)))


def _titles(runs: Sequence[Row]) -> str:
    """'run 3', "runs 3 'first' and 5"."""
    *others, last = (str(run["id"]) + (f" {run['name']!r}" if run["name"] else "") for run in runs)
    return f"runs {', '.join(others)} and {last}" if others else f"run {last}"


def _print_families(console: Console, found: Sequence[Family], by: str) -> None:
    numbers = ("Its score", "Mean", "Of")
    table = _table(by.replace("_", " ").capitalize(), "Best contender", *numbers, "Without a score", right=numbers)
    for family in found:
        scores = map(percent, (family.eps_score, family.mean_eps_score))
        _add(table, family.value or "–", family.best or "–", *scores, family.n_scored, family.n_unscored or "")
    console.print(table)


def _print_costs(console: Console, costs: Sequence[QuantizationCost]) -> None:
    """One table for each base model."""
    numbers = ("Bits/w", "Smaller by", "Points lost [95 %]", "Speed")
    for base_model, files in itertools.groupby(costs, key=lambda cost: cost.base_model):
        table = _table("File", *numbers, "Shown", right=numbers)
        for cost in files:
            lost = f"{100 * cost.score_lost:.1f} [{100 * cost.low:5.1f}, {100 * cost.high:5.1f}]"
            fast = "–" if cost.times_as_fast is None else f"{cost.times_as_fast:.2f} x"
            cells = (f"{cost.bits_per_weight:.2f}", f"{100 * cost.size_saved:.0f} %", lost, fast)
            _add(table, cost.name, *cells, "yes" if cost.shown else "no")
        console.print(Text(printable(f"what quantizing {base_model} costs, beside {cost.beside}")))
        console.print(table)


def _shown(excerpt_chars: int | None) -> str:
    return "whole texts" if excerpt_chars is None else f"excerpts of {excerpt_chars:,} characters"


def _has_grammar(run: Row) -> bool:
    return bool(run["settings"].get("grammar", True))


def _style(row: Row) -> str:
    """What stands in every run by itself is set back."""
    return "" if row["asked"] else "dim"


def _print_tiers(console: Console, leaderboard: Sequence[Row]) -> None:
    """Each contender's score by tier, where the documents are of more than one."""
    counts = {tier: found["n_documents"] for row in leaderboard for tier, found in row["tiers"].items()}
    if len(counts) < 2:
        return
    heads = [f"{tier or 'no tier'} ({count})" for tier, count in counts.items()]
    table = _table("Score by tier", "Quant", *heads, right=heads)
    for row in leaderboard:
        if row["tiers"]:
            scores = (percent(row["tiers"][tier]["eps_score"] if tier in row["tiers"] else None) for tier in counts)
            _add(table, _model(row), row["quant"], *scores, style=_style(row))
    console.print(table)


FIDELITY = {
    "KL divergence": ("kl_divergence", 1, "z.4f"),
    "99 %": ("kl_divergence_99", 1, "z.3f"),
    "Same token %": ("top1_agreement", 100, ".1f"),
    "Perplexity": ("perplexity", 1, ".2f"),
    "Ratio": ("perplexity_ratio", 1, ".3f"),
}
"""How near a file predicts to its reference: a column's head -> what of a row stands there, by which factor and how."""


def _print_fidelity(console: Console, leaderboard: Sequence[Row]) -> None:
    """One table for each reference and number of tokens: figures on other ones do not compare."""
    found = sorted((row for row in leaderboard if row["fidelity"]), key=_measured_alike)
    for (_, n_tokens), files in itertools.groupby(found, key=_measured_alike):
        rows = sorted(files, key=lambda row: row["kl_divergence"] or 0)
        first = rows[0]["fidelity"]
        held = f"{rows[0]['base_model']} {first['reference']}, on {n_tokens:,} tokens of {first['text']}"
        console.print(Text(printable(f"how near each predicts to {held}")))
        heads = list(FIDELITY)[:-1]  # 80 columns hold no more
        table = _table("Model", "Quant", *heads, right=heads)
        for row in rows:
            _add(table, _model(row), row["quant"], *_fidelity_cells(row["fidelity"], heads))
        console.print(table)


def _measured_alike(row: Row) -> tuple[str, int]:
    return row["fidelity"]["reference_sha256"], row["fidelity"]["n_tokens"]


def _fidelity_cells(row: Row, heads: Iterable[str]) -> Iterator[str]:
    """The figures of a row of `fidelity_measurements`, each with its standard error."""
    for name, factor, form in map(FIDELITY.__getitem__, heads):
        value, error = row[name], row[f"{name}_standard_error"]
        uncertain = "" if error is None or math.isnan(error) else f"±{factor * error:{form}}"
        yield "–" if value is None else f"{factor * value:{form}}{uncertain}"


def print_fidelity(measured: Sequence[Row], *, as_json: bool) -> None:
    """Rows of `fidelity_measurements`, each with its `name` and the `error` of one that failed."""
    if as_json:
        print_json(list(measured))
        return
    console = _console()
    table = _table("File", *FIDELITY, right=list(FIDELITY))
    for row in measured:
        _add(table, row["name"], *(["failed"] if row["error"] else _fidelity_cells(row, FIDELITY)))
    console.print(table)


NAMED_DOCUMENTS = 3
"""Of more it is only said how many they are."""


def _recall(comparison: Comparison) -> Iterator[str]:
    """How many of the gold figures the contenders got to read."""
    found = comparison.excerpts
    if found is None:
        return
    shown = _shown(comparison.run["excerpt_chars"])
    lost = f"; some are lost in {_documents(list(found['lost']), comparison.run['id'])}" if found["lost"] else ""
    yield f"{shown} keep {found['gold_kept']:,} of {found['gold_figures']:,} gold figures{lost}"


def _documents(names: Sequence[str], run_id: int) -> str:
    if len(names) <= NAMED_DOCUMENTS:
        return ", ".join(names)
    return f"{len(names)} documents (`gguf-bench results show {run_id} --json` names them)"


def _computed(settings: Mapping[str, Any]) -> str:
    """The shape that answers were computed in, the same for every file: 'computed 8 documents at once, ...'."""
    at_once = "one document" if settings["n_parallel"] == 1 else f"{settings['n_parallel']} documents"
    attention = "flash attention" if settings["flash_attention"] else "plain attention"
    return (
        f"computed {at_once} at once, {attention}, {settings['kv_type']} cache, micro-batches of {settings['n_ubatch']}"
    )


def _model(row: Row) -> str:
    """The model, with what tells it from one of the same name and type in another run."""
    return f"{row['model']}{row['name'].removeprefix(' '.join(filter(None, [row['model'], row['quant']])))}"


def _leaderboard_cells(row: Row, *, priced: bool, measured: bool) -> Iterator[str]:
    """A price takes the place of the bits per weight, divergence that of the memory: 80 columns hold no more."""
    yield _model(row)
    yield row["quant"] or ""
    yield size(row["size_bytes"])
    if priced:
        yield "–" if row["usd_per_document"] is None else f"{1000 * row['usd_per_document']:.2f}"
    else:
        yield "–" if row["bits_per_weight"] is None else f"{row['bits_per_weight']:.2f}"
    if row["eps_score"] is None:
        yield row["status"]
    else:
        interval = f"[{percent(row['eps_score_low']):>4}, {percent(row['eps_score_high']):>4}]"
        yield f"{percent(row['eps_score'])} {interval}"
    if measured:
        yield "–" if row["kl_divergence"] is None else f"{row['kl_divergence']:z.4f}"
    yield percent(row["exact_match"])
    yield "–" if row["documents_per_minute"] is None else f"{row['documents_per_minute']:.1f}"
    if not measured:
        yield size(row["peak_rss_bytes"])


def _remarks(leaderboard: Sequence[Row]) -> Iterator[str]:
    on_gpu = {row["gpu_layers"] for row in leaderboard if row["gpu_layers"] is not None}
    if 0 in on_gpu and len(on_gpu) > 1:
        yield "some files were computed on a GPU and others on the CPU alone: their speeds do not compare"
    for row in leaderboard:
        name = row["name"]
        if row["error"]:
            yield f"{name} {row['status']}: {row['error']}"
        elif row["status"] != "finished":
            yield f"{name} is {row['status']}, and compared with none"
        if row["schema_kept"] == 0:
            yield f"{name}: the server took a JSON schema for the answers, but did not keep to it"
        for column, words in (("over_context", "do not fit its context"), ("unparseable", "could not be parsed")):
            if row[column]:
                yield f"{name}: {row[column]} of {row['n_documents']} {words}, scored 0"


def print_recommendation(advice: Recommendation, *, as_json: bool) -> None:
    """The files to run and the commands for it, why not the others, and what else has to be known."""
    if as_json:
        print_json({**asdict(advice), "runs": [run["id"] for run in advice.runs]})
        return
    console, run = _console(), advice.runs[-1]
    console.print(Text(f"{_titles(advice.runs)}: {run['n_documents']} documents of {run['dataset']}"))
    for words, name in _chosen(advice).items():
        console.print(Text(f"the {words}: {printable(name)}"), style="bold")
        console.print(Text(f"  {printable(advice.commands[name])}"), soft_wrap=True)
    for remark in advice.remarks:
        console.print(Text(printable(remark)))
    numbers = ("Size", "Memory", "Docs/min", "EPS", "Behind [95 %]")
    table = _table("Model", "Quant", *numbers, "Front", right=numbers)
    for each in advice.candidates:
        _add(table, *_candidate_cells(each, advice))
    console.print(table)
    for each in advice.candidates:
        if each.reason:
            console.print(Text(printable(f"not {each.name}: {each.reason}")))


def _chosen(advice: Recommendation) -> dict[str, str]:
    """What is recommended, in words -> its name."""
    named = {"smallest": advice.smallest, "fastest": advice.fastest}
    if advice.smallest is not None and advice.smallest == advice.fastest:
        named = {"smallest and fastest": advice.smallest}
    if not advice.is_shown:
        named = {"": advice.smallest}
    within = f"file within {_margin(advice)} of the best" if advice.is_shown else "file with the best score"
    return {f"{words} {within}".lstrip(): name for words, name in named.items() if name is not None}


def _margin(advice: Recommendation) -> str:
    points = 100 * advice.limits.margin
    return f"{points:.4g} point{'' if points == 1 else 's'}"


FRONTS = {(False, False): "", (True, False): "size", (False, True): "speed", (True, True): "both"}
"""Of score against size, and of score against speed."""


def _candidate_cells(each: Candidate, advice: Recommendation) -> Iterator[str]:
    yield each.model + each.name.removeprefix(" ".join(filter(None, [each.model, each.quant])))
    yield each.quant or ""
    yield size(each.size_bytes)
    yield size(each.memory_bytes)
    yield "–" if each.documents_per_minute is None else f"{each.documents_per_minute:.1f}"
    yield percent(each.eps_score)
    if each.behind is None or each.low is None or each.high is None:
        yield "the best" if each.name == advice.best else "–"
    else:
        yield f"{100 * each.behind:.1f} [{100 * each.low:.1f}, {100 * each.high:.1f}]"
    yield FRONTS[each.on_size_front, each.on_speed_front]


def print_rescored(rescored: Sequence[Rescored], *, as_json: bool) -> None:
    """What another scorer changed in each run: the contenders' scores, and how the fields' kinds moved."""
    if as_json:
        print_json([_rescored(run) for run in rescored])
        return
    console = _console()
    for run in rescored:
        title = f"run {run.run_id}" + (f" {run.run_name!r}" if run.run_name else "")
        before, after = run.version_before, run.version_after
        scorer = f"scorer {after}" if before == after else f"scorer {before} -> {after}"
        changed = f"{run.n_changed} of {run.n_answers} answers changed" if run.n_changed else "no answer changed"
        console.print(Text(f"{title}: {scorer}, {changed}"))
        # Scores without a changed answer: their own figures were wrong
        contenders = [one for one in run.contenders if one.changed or one.score_before != one.score_after]
        if contenders:
            table = _table("Model", "Quant", "Answers", "Changed", "EPS score", right=("Answers", "Changed"))
            for one in contenders:
                scores = f"{percent(one.score_before)} -> {percent(one.score_after)}"
                _add(table, one.model, one.quant, one.n_answers, len(one.changed), scores)
            console.print(table)
        for (kind_before, kind_after), count in run.moves.most_common():
            console.print(Text(f"  {kind_before} -> {kind_after}: {count}"))


def _rescored(run: Rescored) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "run_name": run.run_name,
        "scorer_version": {"from": run.version_before, "to": run.version_after},
        "n_answers": run.n_answers,
        "n_changed": run.n_changed,
        "kinds": [{"from": before, "to": after, "fields": count} for (before, after), count in run.moves.most_common()],
        "contenders": [
            {
                "contender_id": one.contender_id,
                "model": one.model,
                "quant": one.quant,
                "status": one.status,
                "n_answers": one.n_answers,
                "n_changed": len(one.changed),
                "eps_score": {"from": one.score_before, "to": one.score_after},
                "changed": [
                    {"document_id": answer.document_id, "from": answer.before, "to": answer.after}
                    for answer in one.changed
                ],
            }
            for one in run.contenders
        ],
    }


def print_runs(runs: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        print_json(list(runs))
        return
    free = [] if all(map(_has_grammar, runs)) else ["Answers"]
    table = _table("Run", "Name", "Created", "Status", "Dataset", "Docs", *free, "Models", "Failed", "Best %")
    for run in runs:
        _add(
            table,
            run["id"],
            run["name"],
            run["created"][:16].replace("T", " "),
            run["status"],
            run["dataset"],
            run["n_documents"],
            *(["grammar" if _has_grammar(run) else "free"] if free else []),
            run["n_contenders"],
            int(run["n_failed"]) or "",
            percent(run["best_eps_score"]),
        )
    _console().print(table)


def print_models(catalog: Catalog, *, as_json: bool) -> None:
    """Every model under every group that has it."""
    if as_json:
        print_json(
            [{**asdict(catalog.models[key]), "group": group} for group, keys in catalog.groups.items() for key in keys]
        )
        return
    console = _console()
    for group, keys in catalog.groups.items():
        console.print(Text(group, style="bold"))
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for key in keys:
            spec = catalog.models[key]
            source = spec.name or spec.package or spec.model or spec.file
            _add(table, f"  {key}", source, spec.parameters, spec.quantization, "gated" if spec.gated else "")
        console.print(table)


def print_checked(found: Sequence[Checked], *, as_json: bool) -> None:
    """Each model, what it takes, and below the table what is in the way of those that have a problem."""
    if as_json:
        print_json([asdict(one) for one in found])
        return
    console = _console()
    table = _table("Model", "To fetch", "Disk", "Time", "Found", right=("To fetch", "Disk", "Time"), whole=("Model",))
    for one in found:
        cells = ("", "", "")
        if one.disk_bytes is not None and one.download_bytes is not None:
            cells = (size(one.download_bytes), size(one.disk_bytes), duration(one.seconds or 0))
        _add(table, one.model, *cells, "; ".join(_seen(one)))
    console.print(table)
    for one in found:
        if one.problem:
            way_out = f"; {one.way_out}" if one.way_out else ""
            console.print(Text(printable(f"{one.model}: {one.problem}{way_out}")))


def _seen(one: Checked) -> Iterator[str]:
    if one.gated:
        yield "gated, accepted" if one.accepted else "gated, not accepted"
    if one.problem and (one.accepted is not False or not one.gated):
        yield "cannot be converted" if one.convertible is False else "not there" if one.exists is False else "PROBLEM"
    elif not one.problem:
        yield {True: "converts", False: "", None: "nothing to convert" if one.exists else "not asked"}[one.convertible]
    if one.base:
        yield f"on {one.base}"


def duration(seconds: float) -> str:
    """'< 1 min', '20 min', '3.5 h'."""
    minutes = seconds / 60
    return "< 1 min" if minutes < 1 else f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def print_garbage(found: Sequence[Unneeded], *, as_json: bool) -> None:
    """What can be freed, largest first."""
    if as_json:
        print_json([asdict(one) for one in found])
        return
    table = _table("Size", "What", "Where", right=("Size",))
    for one in found:
        _add(table, size(one.size_bytes), one.what, one.path)
    _console().print(table)


def print_quants(*, as_json: bool) -> None:
    if as_json:
        print_json([{**asdict(quant), "aliases": aliases(quant.name)} for quant in QUANTS.values()])
        return
    console = _console()
    table = _table("Type", "Also", "Bits/w", "Imatrix", "For", right=("Bits/w",), whole=("Type", "Also"))
    for group, heading in GROUPS.items():
        _add(table, heading.partition(":")[0], style="bold")
        for quant in QUANTS.values():
            if quant.group == group:
                needed = "needed" if quant.needs_imatrix else ""
                also = " ".join(aliases(quant.name)).lower()
                _add(table, f" {quant.name}", also, f"{quant.bits_per_weight:.2f}", needed, quant.description)
    console.print(table)
    for heading in GROUPS.values():
        if ":" in heading:
            console.print(Text(heading))
    console.print("Bits per weight are those of Llama 3.1 8B; --dry-run shows a model's own.")


def print_planned_sizes(sizes: Sequence[tuple[Quant, QuantizedSize]], *, as_json: bool) -> None:
    if as_json:
        print_json([{"quant": quant.name, **asdict(planned)} for quant, planned in sizes])
        return
    numbers = ("File", "Bits/w", "On a fallback type")
    table = _table("Type", *numbers, "Imatrix", right=numbers)
    for quant, planned in sizes:
        needed = "needed" if planned.needs_imatrix else ""
        cells = (size(planned.file_bytes), f"{planned.bits_per_weight:.2f}", planned.n_fallback, needed)
        _add(table, quant.name, *cells)
    _console().print(table)


def print_chain(chain: Sequence[Step], *, as_json: bool) -> None:
    """Where a file comes from: each file below the one that was made of it, with what made it."""
    if as_json:
        print_json([asdict(step) for step in chain])
        return
    console = _console()
    for number, step in enumerate(chain):
        console.print(Text(printable(f"{'from ' if number else ''}{step.path}"), style="bold"), soft_wrap=True)
        bits = f"{step.bits_per_weight:.2f} bits per weight"
        facts = {
            "is": f"{step.quant}, {size(step.size_bytes)}, {bits}",
            "sha256": step.sha256,
            "source": f"{step.repo}@{step.commit}" if step.repo else None,
            "scores": ", ".join(f"run {run}" for run in step.runs),
            f"{step.made_by} on": step.created,
            **{name.replace("_", " "): value for name, value in step.made_with.items()},
        }
        for name, value in facts.items():
            if value or value == 0:
                text = value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)
                console.print(Text(printable(f"  {name}: {text}")), soft_wrap=True)


def print_datasets(datasets: Sequence[Dataset], *, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "name": dataset.name,
            "documents": len(dataset.documents),
            "tiers": _counts(document.tier for document in dataset.documents),
            "tags": _counts(tag for document in dataset.documents for tag in document.tags),
            "sha256": dataset.sha256,
        }
        for dataset in datasets
    ]
    if as_json:
        print_json(rows)
        return
    table = _table("Dataset", "Documents", "Tiers", "Tags")
    for row in rows:
        _add(table, row["name"], row["documents"], *(_in_words(row[name]) for name in ("tiers", "tags")))
    _console().print(table)


def _counts(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def print_documents(documents: Sequence[Document], *, as_json: bool) -> None:
    if as_json:
        print_json([_labels(document) for document in documents])
        return
    table = _table(
        "Id", "Tier", "Company", "Period", "Chars", "Basic", "Diluted", "Adjusted", right=("Chars",), whole=("Id",)
    )
    for document in documents:
        gold = ("–" if value is None else value for value in document.gold.values())
        _add(table, document.id, document.tier, document.company, document.period, len(document.text), *gold)
    _console().print(table)


def print_document(document: Document, *, as_json: bool) -> None:
    if as_json:
        print_json({**_labels(document), "text": document.text})
        return
    console = _console()
    console.out(printable(document.text), highlight=False)
    console.out(_json(_labels(document), indent=2), highlight=False)


def _labels(document: Document) -> dict[str, Any]:
    return {name: value for name, value in asdict(document).items() if name != "text"} | {"chars": len(document.text)}


def print_checks(checks: Sequence[Check], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(check) for check in checks])
        return
    table = _table("Check", "State", "Found")
    for check in checks:
        _add(table, check.name, check.state, check.found + (f"\n-> {check.way_out}" if check.way_out else ""))
    _console().print(table)


def print_saved_queries(queries: Sequence[SavedQuery], form: str) -> None:
    """What queries there are, with their parameters; `form` as of `print_rows`."""
    if form != "table":
        columns = ("name", "title", "description", "parameters", "sql")
        rows = (
            [each.name, each.title, each.description, [asdict(one) for one in each.parameters], each.sql]
            for each in queries
        )
        print_rows(columns, rows, form)
        return
    table = _table("Query", "What it shows", "-p", whole=("Query",))
    for each in queries:
        _add(table, each.name, each.title, "\n".join(map(_parameter, each.parameters)))
    _console().print(table)


def _parameter(parameter: Parameter) -> str:
    return parameter.name if parameter.default is None else f"{parameter.name} [{parameter.default}]"


MAX_TABLE_ROWS = 1000
MAX_CELL_CHARACTERS = 1000


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: str) -> bool:
    """Rows of a query as a "table", "csv", "json" or "nl" (one JSON object a line), as they come; `columns` all differ.

    A table ends after MAX_TABLE_ROWS, and its cells after MAX_CELL_CHARACTERS, since it is laid out in memory: false
    where there were more rows.
    """
    if form == "table":
        remaining = iter(rows)
        _print_table(columns, [[_cell(value) for value in row] for row in itertools.islice(remaining, MAX_TABLE_ROWS)])
        return next(remaining, None) is None
    if form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows(_obeyed_by_nobody(rows) if sys.stdout.isatty() else rows)
        return True
    objects = (dict(zip(columns, row, strict=True)) for row in rows)
    if form == "nl":
        sys.stdout.writelines(f"{_json(each)}\n" for each in objects)
    else:
        _print_json_array(objects)
    return True


def _print_json_array(values: Iterable[Any]) -> None:
    """As `print_json` prints a list, one value in memory at a time."""
    between = "["
    for value in values:
        sys.stdout.write(f"{between}\n{textwrap.indent(_json(value, indent=2), '  ')}")
        between = ","
    sys.stdout.write("[]\n" if between == "[" else "\n]\n")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    left_out = len(text) - MAX_CELL_CHARACTERS
    return text if left_out <= 0 else f"{text[:MAX_CELL_CHARACTERS]}… ({left_out:,} characters more)"


def _obeyed_by_nobody(rows: Iterable[Sequence[Any]]) -> Iterator[list[Any]]:
    return ([printable(value) if isinstance(value, str) else value for value in row] for row in rows)


SENSIBLE_WIDTH = 12
"""A column may be folded to this many characters; narrower ones cannot be read."""


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One line a row; where the columns do not fit the terminal side by side, one line a value, rows set apart."""
    console = _console()
    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    if sum(min(width, SENSIBLE_WIDTH) + len(BETWEEN) for width in widths) <= console.width:
        table = _table(*columns)
        for row in rows:
            _add(table, *row)
        console.print(table)
        return
    for number, row in enumerate(rows):
        if number:
            console.print()
        lines = Table.grid(padding=(0, len(BETWEEN), 0, 0))
        lines.add_column(overflow="fold", max_width=console.width // 2)
        lines.add_column(overflow="fold")
        for cells in zip(columns, row, strict=True):
            _add(lines, *cells)
        console.print(lines)
    if not rows:
        console.print("no rows")
