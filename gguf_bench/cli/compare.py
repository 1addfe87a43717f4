"""`gguf-bench compare`"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from gguf_bench.cli.runs import Runs, by_option, note_old_scorers
from gguf_bench.cli.state import SOME_FAILED, GpuLayers, State, group_option, json_option, pass_state, quant_option

if TYPE_CHECKING:
    from gguf_bench.place import Cluster
    from gguf_bench.progress import Progress
    from gguf_bench.quants import Quant

MOST_CHARACTERS = 10**9


class ClusterAddress(click.ParamType[str]):
    """Where a Dask scheduler listens, or so many processes of this machine."""

    name = "ADDRESS|local:N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from gguf_bench.cluster import ADDRESS

        if ADDRESS.fullmatch(str(value)):
            return str(value)
        raise click.BadParameter(f"{value!r} is none of tcp://HOST:PORT, tls://HOST:PORT, local:N", ctx, param)


class ExcerptChars(click.ParamType[int | None]):
    """A number of characters, or none for the whole text."""

    name = "CHARS|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value is None or value == "none":
            return None
        text = str(value)
        if text.isdecimal() and len(text) <= len(str(MOST_CHARACTERS)) and 200 <= int(text) <= MOST_CHARACTERS:
            return int(text)
        raise click.BadParameter(
            f"{value!r} is neither a number of characters (200 to {MOST_CHARACTERS}) nor none", ctx, param
        )


OF_STORED_RUNS = ("run_ids", "by", "as_json")
"""What can be said beside --runs; everything else is about a run to be made."""


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@quant_option
@group_option
@click.option("-t", "--task", "task_name", default="eps_extraction", show_default=True, help="What is asked.")
@click.option(
    "--dataset", "dataset_name", metavar="NAME|FILE", help="Built-in dataset or JSONL file [default: eps-v1]."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="A fixed, balanced sample of N documents.")
@click.option(
    "--excerpt", type=ExcerptChars(), default="6000", show_default=True, help="Characters shown to the model."
)
@click.option("--no-grammar", is_flag=True, help="Let answers be free, rather than hold them to a grammar.")
@click.option("--name", default="", metavar="S", help="A name for the run.")
@click.option("--description", default="", metavar="S", help="What the run is about.")
@click.option("--gpu-layers", type=GpuLayers(), default="auto", show_default=True, help="Layers on the GPU.")
@click.option(
    "--parallel",
    "n_parallel",
    type=click.IntRange(1, 128),
    metavar="N",
    help="Documents at once [default: up to 8].",
)
@click.option("--cluster", type=ClusterAddress(), help="Compute on the workers of a Dask scheduler.")
@click.option("--fresh", is_flag=True, help="Compute every answer anew.")
@click.option("--runs", "run_ids", type=Runs(), multiple=True, help="Compare what these runs hold, without a MODEL.")
@by_option
@json_option
@pass_state
def compare(
    state: State,
    models: tuple[str, ...],
    quants: tuple[Quant, ...],
    groups: tuple[str, ...],
    task_name: str,
    dataset_name: str | None,
    limit: int | None,
    excerpt: int | None,
    no_grammar: bool,
    name: str,
    description: str,
    gpu_layers: str,
    n_parallel: int | None,
    cluster: str | None,
    fresh: bool,
    run_ids: tuple[tuple[int, ...], ...],
    by: str | None,
    as_json: bool,
) -> None:
    """Run MODELs over a dataset, score what they answer, and print the leaderboard and what it shows.

    Does whatever is missing: pull, convert, quantize. Every answer is stored as it comes, so a run that was stopped
    goes on where it stopped when the same command is given again, and nothing is computed twice.

    In every run stand the baselines as well: what plain rules (baseline_rules) and null everywhere (baseline_null)
    score. They are compared with each model where they are named as a MODEL.

    With --runs nothing is computed: what stored runs hold is compared, if they were asked, computed and scored alike.

    \b
    gguf-bench compare smollm2_135m -q Q8_0 -q Q4_K_M -q Q2_K
    gguf-bench compare --group starter_models --limit 60 --json
    gguf-bench compare ./my-model.Q4_K_M.gguf --dataset my-releases.jsonl
    gguf-bench compare smollm2_135m -q Q8_0 -q Q2_K --cluster tcp://host:8786
    gguf-bench compare --runs 3,5 --by base_model
    """
    from gguf_bench import pipeline, prepare, results, terminal
    from gguf_bench.cli.bars import Bars
    from gguf_bench.tasks import TASKS

    if run_ids:
        _require_alone(click.get_current_context())
        comparison = results.comparison([each for several in run_ids for each in several], state.existing_store)
    else:
        if task_name not in TASKS:
            raise click.BadParameter(f"{task_name!r} is none of: {', '.join(TASKS)}", param_hint="--task")
        contenders = prepare.contenders(state.specs(models, groups), quants)
        options = pipeline.options(
            task_name,
            dataset_name,
            limit=limit,
            excerpt_chars=excerpt,
            grammar=not no_grammar,
            gpu_layers=gpu_layers,
            n_parallel=n_parallel,
            name=name,
            description=description,
            fresh=fresh,
        )
        progress = Bars()
        with _cluster(cluster, progress) as workers:
            run_id = pipeline.compare(contenders, options, state.store, progress, workers)
        comparison = results.comparison([run_id], state.store)
    terminal.print_comparison(comparison, as_json=as_json, by=by)
    if run_ids:
        note_old_scorers(comparison.runs)
    if any(row["status"] == "failed" for row in comparison.leaderboard):
        click.get_current_context().exit(SOME_FAILED)


def _cluster(address: str | None, progress: Progress) -> AbstractContextManager[Cluster | None]:
    if address is None:
        return nullcontext()
    from gguf_bench.cluster import connect

    return connect(address, progress)


def _require_alone(ctx: click.Context) -> None:
    """Nothing is asked for beside --runs that only a run to be made could heed: it would be ignored."""
    for parameter in ctx.command.params:
        said = ctx.get_parameter_source(parameter.name or "")
        if parameter.name not in OF_STORED_RUNS and said is click.core.ParameterSource.COMMANDLINE:
            what = "MODEL" if isinstance(parameter, click.Argument) else parameter.opts[0]
            raise click.UsageError(
                f"--runs compares what is stored, and takes no {what} beside it; "
                "compare the models first, and their run with the others then"
            )
