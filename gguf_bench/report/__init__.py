"""REPORT: what runs came to, as one HTML file that asks nobody for anything.

    comparison, store -> gather -> view -> charts -> drawing, rendering -> the file

`gather` reads the store; `view` and `charts` are pure; `drawing` needs the extra `report`. docs/report.md says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf_bench.errors import GgufBenchError
from gguf_bench.paths import written_whole
from gguf_bench.records import Limits
from gguf_bench.report.drawing import Pens

if TYPE_CHECKING:
    from gguf_bench.store import Store

MARK = '<meta name="generator" content="gguf-bench'
"""What tells a report of ours from any other file; it stands within the first _HEAD_BYTES."""
_HEAD_BYTES = 4096


def write_report(run_ids: Sequence[int], open_store: Callable[[], Store], target: Path) -> Sequence[Mapping[str, Any]]:
    """Write the report of `run_ids` (none: the newest run) to `target`, where nothing but an earlier report may be.

    `open_store` is called once the charts' engine is starting, which takes longest. Returns the rows of the runs.
    Raises what it raises, StoreError where there is no such run, ComparisonError for runs that do not compare,
    GgufBenchError where `target` is anything but a report of ours, or where the extra `report` is not installed.
    """
    require_ours(target)
    with Pens() as pens:  # which get ready, and draw, while this process imports and asks the store
        from gguf_bench import results
        from gguf_bench.dataset import DEFAULT_DATASET
        from gguf_bench.report.gather import gather
        from gguf_bench.report.view import page, plots

        store = open_store()
        runs = run_ids or results.newest_run(store)
        comparison, advice = results.comparison_and_recommendation(runs, store, Limits())
        plotted = plots(comparison)
        drawn = {
            figure.id: {size: pens.draw(spec) for size, spec in figure.specs.items()}
            for figure in (*plotted.trade_offs, *plotted.curves)
        }
        from gguf_bench.report import rendering

        shown = page(comparison, advice, gather(comparison, store), plotted, default_dataset=DEFAULT_DATASET)
        html = rendering.html(shown, drawn, mark=MARK)
    with written_whole(target) as partial:
        partial.write_text(html, encoding="utf-8")
    return comparison.runs


def require_ours(target: Path) -> None:
    """Raise GgufBenchError unless `target` is free or an earlier report, so that nothing else is ever replaced."""
    hint = "choose another file with -o"
    if not target.exists():
        return
    if not target.is_file():
        what = "a folder" if target.is_dir() else "no regular file"
        raise GgufBenchError(f"{target} is {what}", hint=hint)
    with target.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if MARK.encode() not in head:
        raise GgufBenchError(f"{target} exists and is no report of gguf-bench", hint=hint)
