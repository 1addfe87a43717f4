"""`gguf-bench report`"""

from __future__ import annotations

import os
from pathlib import Path

import click

from gguf_bench.cli.runs import RUN_ID, note_old_scorers
from gguf_bench.cli.state import State, pass_state


@click.command()
@click.argument("run_ids", type=RUN_ID, nargs=-1, metavar="[RUN]...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    metavar="FILE",
    help="The file to write. An earlier report is replaced, anything else never.",
)
@pass_state
def report(state: State, run_ids: tuple[int, ...], output: Path) -> None:
    """Write the report of RUN, or of several beside each other, as one HTML file, and print its path.

    Leaderboard, charts, verdicts, what went wrong and what is needed to run it again. The file is whole in itself: send
    it, print it, open it without a network. Without a RUN it is about the newest. Needs the extra `report`:
    pip install 'gguf-bench[report]'.

    \b
    gguf-bench report
    gguf-bench report 3 4 -o both.html
    """
    from gguf_bench.paths import from_home
    from gguf_bench.report import write_report

    # Read where numpy is imported: its products are small here, and threads that wait take the core that draws.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    target = from_home(output)
    runs = write_report(run_ids, lambda: state.existing_store, target)
    click.echo(target)
    note_old_scorers(runs)
