"""Draw what a store found of one model at its quantizations: size against KL divergence and against the EPS score.

    python -m scripts.ladder STORE MODEL [-o docs/ladder.svg]

MODEL is a pattern as in SQL's `like` for the names of the contenders ("%smollm2%"). Prints the same as a table in
Markdown. A file that was scored more than once stands with the score of most documents; files whose divergence was not
measured (`gguf-bench fidelity`) are left out.
"""

from __future__ import annotations

import argparse
import sqlite3
from pathlib import Path
from typing import Any

import vl_convert

ROWS = """
select scores.quant, scores.size_bytes, scores.bits_per_weight, kl_divergence, top1_agreement, max(n_documents) as n,
       eps_score, eps_score_low, eps_score_high, json_extract(made_with, '$.imatrix_sha256') is not null as has_imatrix
from eps_scores scores join artifacts on artifacts.sha256 = file_sha256
where model like ? and scores.status = 'finished' and kl_divergence is not null
group by file_sha256
order by scores.size_bytes desc
"""
PLAIN, WITH_IMATRIX = "plain", "importance matrix"
COLOURS = {PLAIN: "#1f5fbf", WITH_IMATRIX: "#c2570c"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("model")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/ladder.svg"))
    options = parser.parse_args()
    connection = sqlite3.connect(f"{options.store.absolute().as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    rows = [point(row) for row in connection.execute(ROWS, [options.model])]
    if not rows:
        raise SystemExit(f"no finished contender of {options.store} is like {options.model!r} and has a KL divergence")
    options.output.write_text(vl_convert.vegalite_to_svg(spec(rows), vl_version="6.1"))
    print("| type | MiB | bits a weight | KL divergence | same top token % | EPS score [95 %] | n |")
    print("| --- | --: | --: | --: | --: | --- | --: |")
    for row in rows:
        print(
            f"| {row['label']} | {row['mib']:.0f} | {row['bits']:.2f} | {row['kl']:.4f} | {row['top1']:.1f} "
            f"| {row['score']:.1f} [{row['low']:.1f}, {row['high']:.1f}] | {row['n']} |"
        )


def point(row: sqlite3.Row) -> dict[str, Any]:
    kind = WITH_IMATRIX if row["has_imatrix"] else PLAIN
    return {
        "quant": row["quant"],
        "kind": kind,
        "label": row["quant"] + (", imatrix" if row["has_imatrix"] else ""),
        "mib": row["size_bytes"] / 2**20,
        "bits": row["bits_per_weight"],
        "kl": row["kl_divergence"],
        "top1": 100 * row["top1_agreement"],
        "score": 100 * row["eps_score"],
        "low": 100 * row["eps_score_low"],
        "high": 100 * row["eps_score_high"],
        "n": row["n"],
    }


def spec(rows: list[dict[str, Any]]) -> dict[str, Any]:
    across = {
        "field": "mib",
        "type": "quantitative",
        "title": "size, MiB",
        "scale": {"zero": False, "padding": 45},
        "axis": {"tickCount": 6},
    }
    colour = {
        "field": "kind",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(COLOURS), "range": list(COLOURS.values())},
        "legend": {"orient": "top"},
    }
    names = {
        "mark": {"type": "text", "align": "left", "baseline": "middle", "dx": 8, "fontSize": 11, "fill": "#333"},
        "encoding": {"text": {"field": "quant"}},
    }
    dots = {"mark": {"type": "point", "filled": True, "size": 60, "opacity": 1}, "encoding": {"color": colour}}

    def panel(field: str, title: str, scale: dict[str, Any], *more: dict[str, Any]) -> dict[str, Any]:
        up = {"field": field, "type": "quantitative", "title": title, "scale": scale}
        return {"width": 380, "height": 340, "encoding": {"x": across, "y": up}, "layer": [*more, dots, names]}

    intervals = {
        "mark": {"type": "rule", "opacity": 0.5},
        "encoding": {
            "y": {"field": "low", "type": "quantitative"},
            "y2": {"field": "high"},
            "color": colour,
        },
    }
    return {
        "data": {"values": rows},
        "background": "white",
        "config": {"font": "sans-serif", "view": {"stroke": None}, "axis": {"gridColor": "#e5e5e5", "domain": False}},
        "hconcat": [
            panel("kl", "KL divergence, nats (logarithmic)", {"type": "log", "padding": 12}),
            panel("score", "EPS score, % (bars: 95 % intervals)", {"zero": False}, intervals),
        ],
    }


if __name__ == "__main__":
    main()
