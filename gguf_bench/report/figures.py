"""The charts of the page, with titles that say what is seen. A bounded number of contenders is in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gguf_bench.records import Verdict
from gguf_bench.report import charts, strips
from gguf_bench.report.charts import OTHER, SIZES, Dot, Line
from gguf_bench.report.contents import Figure
from gguf_bench.report.found import MOST_DRAWN, Found, Row, Standings, interval, is_baseline, signed, spread
from gguf_bench.report.kinds import GROUPS
from gguf_bench.report.strips import Bar, Pair
from gguf_bench.wording import percent, printable, size

MOST_LABELLED = 14
"""Up to so many points all have a label; of more, those on the front."""


MOST_CURVES = 6


def forest(found: Standings) -> Figure | None:
    everything = [pair for pair in found.comparison.verdicts if pair.n_companies > 1]
    if not everything:
        return None
    by_name = {row["name"]: row for row in found.board}
    pairs, caption = everything, ""
    if len(everything) > MOST_DRAWN:
        best = found.models[0]["name"] if found.models else printable(everything[0].better)
        pairs = [pair for pair in everything if best in (printable(pair.better), printable(pair.worse))][:MOST_DRAWN]
        caption = (
            f" Drawn are {len(pairs)} pairs with {best}, the highest score; {len(everything) - len(pairs):,} others "
            "are left out, and stand in the words above."
        )
    shown = sum(pair.shown for pair in everything)
    return Figure(
        id="forest",
        title=f"{shown} of {len(everything):,} differences {'is' if shown == 1 else 'are'} shown",
        caption="Paired differences with their 95 % intervals, each taken alone; filled where the difference is shown "
        f"among all pairs, hollow where it may be chance. n = {spread(pair.n_documents for pair in pairs)} "
        f"documents.{caption}",
        strips=strips.forest([_pair(pair, by_name, found) for pair in pairs]),
    )


def _pair(pair: Verdict, by_name: Mapping[str, Row], found: Standings) -> Pair:
    names = [
        found.short(by_name[name]) if name in by_name else name for name in map(printable, (pair.better, pair.worse))
    ]
    numbers = f"{100 * pair.difference:.1f} [{signed(pair.low)}, {signed(pair.high)}]"
    return Pair(
        label=" − ".join(names),
        words=numbers,
        about=f"{' less '.join(names)}: {numbers} points, p = {_p(pair.p_value)} of {pair.n_pairs} pairs",
        difference=100 * pair.difference,
        low=100 * pair.low,
        high=100 * pair.high,
        is_shown=pair.shown,
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _figure(
    identity: str,
    title: str,
    caption: str,
    draw: Callable[[charts.Size], charts.Spec],
    legend: Sequence[tuple[str, str]] = (),
    sizes: Sequence[charts.Size] = SIZES,
) -> Figure:
    specs: dict[str, charts.Spec] = {each.name: draw(each) for each in sizes}
    return Figure(id=identity, title=title, caption=caption, specs=specs, legend=legend)


def trade_offs(found: Standings) -> list[Figure]:
    return list(filter(None, (_size_figure(found), _speed_figure(found))))


def _size_figure(found: Standings) -> Figure | None:
    return _trade_off(found, "size", "size_bytes", lambda row: row["size_bytes"] / 2**20, charts.size_axis, -1)


def _speed_figure(found: Standings) -> Figure | None:
    if not found.comparison.speeds_compare:
        return None
    name = "documents_per_minute"
    return _trade_off(found, "speed", name, lambda row: float(row[name]), charts.speed_axis, 1)


def _trade_off(
    found: Standings,
    identity: str,
    column: str,
    across: Callable[[Row], float],
    axis: Callable[[Sequence[Any]], charts.Axis],
    better: int,
) -> Figure | None:
    """Score against what it costs: `better` is 1 where more of it is better, -1 where less is."""
    rows = [row for row in found.models if row[column]]
    drawn = rows[:MOST_DRAWN]
    if not drawn:
        return None
    front = _front(drawn, column, better)
    points = [_dot(row, across(row), found, is_front=row in front, n=len(drawn)) for row in drawn]
    left_out = f" The {len(rows) - len(drawn)} lowest scores are left out." if len(rows) > len(drawn) else ""
    lines, beyond = _levels(found, points)
    what = {"size": "smaller", "speed": "faster"}[identity]
    return _figure(
        identity,
        _front_title(front, drawn, found, identity),
        f"{'File size' if identity == 'size' else 'Speed'} against EPS score with its 95 % interval, n = "
        f"{spread(row['n_documents'] for row in drawn)} documents. Filled and joined: the Pareto front, where nothing "
        f"{what} scores as high.{left_out}{beyond}",
        lambda width: charts.dots(
            points,
            axis([row[column] for row in drawn]),
            lines,
            width,
            join="step-after" if better < 0 else "step-before",
        ),
        _legend(drawn, found),
    )


def _front(rows: Sequence[Row], column: str, better: int) -> list[Row]:
    """The rows that no other beats in one of score and `column` and equals in the other, best score first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda row: (-row["eps_score"], -better * row[column])):
        if not front or better * row[column] > better * front[-1][column]:
            front.append(row)
    return front


def _front_title(front: Sequence[Row], rows: Sequence[Row], found: Standings, identity: str) -> str:
    best, last = found.short(front[0]), found.short(front[-1])
    end = {"size": "smallest", "speed": "fastest"}[identity]
    if len(rows) == 1:
        return f"{best}: {percent(front[0]['eps_score'])}"
    if len(front) == 1:
        return f"{best} is the best and the {end}"
    lost = 100 * (front[0]["eps_score"] - front[-1]["eps_score"])
    if identity == "size":
        saved = front[0]["size_bytes"] - front[-1]["size_bytes"]
        return f"{last} is {size(saved)} smaller than {best} and scores {lost:.1f} points less"
    times = front[-1]["documents_per_minute"] / front[0]["documents_per_minute"]
    return f"{last} is {times:.1f} times as fast as {best} and scores {lost:.1f} points less"


def _dot(row: Row, x: float, found: Standings, *, is_front: bool, n: int, label: str | None = None) -> Dot:
    about = [f"{row['name']}: {percent(row['eps_score'])} {interval(row)}"]
    if row["size_bytes"]:
        about.append(size(row["size_bytes"]))
    if row["bits_per_weight"]:
        about.append(f"{row['bits_per_weight']:.2f} bits per weight")
    if row["documents_per_minute"]:
        about.append(f"{row['documents_per_minute']:.1f} documents a minute")
    named = found.short(row) if label is None else label
    return Dot(
        name=row["name"],
        label=named if is_front or n <= MOST_LABELLED else "",
        about=", ".join(about),
        x=x,
        score=100 * row["eps_score"],
        low=100 * row["eps_score_low"],
        high=100 * row["eps_score_high"],
        colour=found.colours.get(row["model"], OTHER),
        is_front=is_front,
    )


def _levels(found: Standings, points: Sequence[Dot]) -> tuple[list[Line], str]:
    """The baselines as levels; those outside the chart as words."""
    low, high = charts.score_range(points)
    lines = [
        Line(f"{row['name']} {percent(row['eps_score'])}", 100 * row["eps_score"])
        for row in found.finished
        if is_baseline(row)
    ]
    inside = [line for line in lines if low <= line.score <= high]
    outside = [line.label for line in lines if line not in inside]
    return inside, f" Beyond the scale: {', '.join(outside)}." if outside else ""


def _legend(rows: Sequence[Row], found: Standings) -> list[tuple[str, str]]:
    """Colours of models; nothing where there is one model alone."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    if len(models) < 2:
        return []
    named = [(found.colours[model], model) for model in models if found.colours[model] != OTHER]
    return [*named, (OTHER, "other models")] if len(named) < len(models) else named


def curves(found: Standings) -> tuple[list[Figure], str]:
    """A curve for each base model that has a score at several quantizations, and what is said of those left out.

    Beside it stands what its files' divergence from their reference says of their scores, where several have one.
    """
    by_model: dict[str, list[Row]] = {}
    for row in found.models:
        if row["bits_per_weight"]:
            by_model.setdefault(row["base_model"], []).append(row)
    several = {model: rows for model, rows in by_model.items() if len({row["bits_per_weight"] for row in rows}) > 1}
    left_out = list(several)[MOST_CURVES:]
    figures = []
    for number, (model, rows) in enumerate(list(several.items())[:MOST_CURVES]):
        figures.append(_curve(number, model, rows, found))
        if len(alike := _measured_alike(rows)) > 1:
            figures.append(_divergence(number, model, alike, found))
    return figures, f"Left out: the curves of {', '.join(left_out)}." if left_out else ""


def _curve(number: int, model: str, rows: Sequence[Row], found: Standings) -> Figure:
    points = [
        _dot(row, row["bits_per_weight"], found, is_front=True, n=0, label=row["quant"] or row["name"]) for row in rows
    ]
    lines, beyond = _levels(found, points)
    most = max(rows, key=lambda row: row["bits_per_weight"])
    least = min(rows, key=lambda row: row["bits_per_weight"])
    lost = 100 * (most["eps_score"] - least["eps_score"])
    saved = 100 * (1 - least["size_bytes"] / most["size_bytes"])
    change = f"{abs(lost):.1f} points {'less' if lost >= 0 else 'more'}"
    return _figure(
        f"curve-{number}",
        f"{model}: {least['quant']} saves {saved:.0f} % of {most['quant']} and scores {change}",
        f"EPS score of {model} by the real bits per weight of its quantizations, with 95 % intervals, n = "
        f"{spread(row['n_documents'] for row in rows)} documents.{beyond}",
        lambda width: charts.dots(
            points, charts.bits_axis([row["bits_per_weight"] for row in rows]), lines, width, join="linear"
        ),
        sizes=[each for each in SIZES if each.name == "narrow"],  # several stand in a row
    )


def _measured_alike(rows: Sequence[Row]) -> list[Row]:
    """Those whose divergence is from the same reference on as much text, the most of them; least divergence first."""
    kinds: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        if row["fidelity"] and row["kl_divergence"] and row["kl_divergence"] > 0:
            measured = row["fidelity"]
            kinds.setdefault((measured["reference_sha256"], measured["n_tokens"]), []).append(row)
    most = max(kinds.values(), key=len, default=[])
    return sorted(most, key=lambda row: row["kl_divergence"])


def _divergence(number: int, model: str, rows: Sequence[Row], found: Standings) -> Figure:
    points = [
        _dot(row, row["kl_divergence"], found, is_front=True, n=0, label=row["quant"] or row["name"]) for row in rows
    ]
    lines, beyond = _levels(found, points)
    nearest, farthest, measured = rows[0], rows[-1], rows[0]["fidelity"]
    times = farthest["kl_divergence"] / nearest["kl_divergence"]
    far = f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
    lost = 100 * (nearest["eps_score"] - farthest["eps_score"])
    change = f"{abs(lost):.1f} points {'less' if lost >= 0 else 'more'}"
    return _figure(
        f"divergence-{number}",
        f"{model}: {farthest['quant']} diverges {far} times as far as {nearest['quant']} and scores {change}",
        f"EPS score of {model} by the mean Kullback-Leibler divergence of its predictions from those of "
        f"{measured['reference']}, on {measured['n_tokens']:,} tokens of {measured['text']}.{beyond}",
        lambda width: charts.dots(
            points, charts.divergence_axis([row["kl_divergence"] for row in rows]), lines, width, join=None
        ),
        sizes=[each for each in SIZES if each.name == "narrow"],
    )


def parts_figure(found: Found) -> Figure | None:
    drawn = found.finished[:MOST_DRAWN]
    bars = [_bar(row, found) for row in drawn]
    if not bars:
        return None
    used = [name for name in GROUPS if any(_grouped(row, found)[name] for row in drawn)]
    left_out = len(found.finished) - len(drawn)
    return Figure(
        id="parts",
        title=_parts_title(found),
        caption=f"Every figure asked for, three a document, n = {3 * found.run['n_documents']:,} a contender."
        + (f" The {left_out} lowest scores are left out." if left_out else ""),
        strips=strips.parts(bars),
        legend=[(GROUPS[name][0], name) for name in used],
    )


def _grouped(row: Row, found: Found) -> dict[str, int]:
    counts = found.material.kinds[row["contender_id"]]
    return {name: sum(counts.get(kind, 0) for kind in kinds) for name, (_, kinds) in GROUPS.items()}


def _bar(row: Row, found: Found) -> Bar:
    groups = _grouped(row, found)
    total = sum(groups.values()) or 1
    return Bar(
        label=row["name"],
        words=f"{100 * groups['right'] / total:.1f} % right",
        parts=[
            (
                100 * count / total,
                GROUPS[name][0],
                f"{row['name']}: {name}, {count:,} of {total:,} figures ({100 * count / total:.1f} %)",
            )
            for name, count in groups.items()
        ],
    )


def _parts_title(found: Found) -> str:
    counts: dict[str, int] = {}
    for row in found.models:
        for name, count in _grouped(row, found).items():
            counts[name] = counts.get(name, 0) + count
    right = counts.pop("right", 0)
    wrong = sum(counts.values())
    if not wrong:
        return "Every figure is right" if right else "How figures come out"
    most = max(counts, key=lambda name: counts[name])
    return f"The models' most common error is “{most}”: {counts[most]:,} of {wrong:,} wrong figures"
