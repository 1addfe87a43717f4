"""The command line: options in, one call, result out. Data goes to standard output, everything else to standard error.

Exit codes: 0 done, 1 known failure, 2 usage, 3 finished but some contenders failed, 130 interrupted (run it again).
Command modules import the stages inside their functions, so that `--help` costs nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click

from gguf_bench.cli import compare, convert, dataset, doctor, models, pull, quantize, query, results
from gguf_bench.cli.state import State
from gguf_bench.errors import GgufBenchError

INTERRUPTED = 130


class Commands(click.Group):
    """The one place where failures become messages: ours are one line, a bug keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        for number in (signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError):  # not the main thread
                signal.signal(number, _interrupt)
        try:
            return super().invoke(ctx)
        except GgufBenchError as error:
            if ctx.obj is not None and ctx.obj.verbose:
                raise
            raise click.ClickException(" ".join(str(error).split("\n"))) from error
        except KeyboardInterrupt:
            click.echo("interrupted; run the same command again to go on", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:  # the reader of our output left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the last flush would complain
            ctx.exit(0)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gguf-bench", prog_name="gguf-bench")
@click.option(
    "--db", type=click.Path(path_type=Path), help="The results store [default: $GGUF_BENCH_DB or results.db]."
)
@click.option("--models", "models_file", type=click.Path(path_type=Path), help="The models.yaml to use.")
@click.option("-v", "--verbose", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(ctx: click.Context, db: Path | None, models_file: Path | None, verbose: bool) -> None:
    """Which local model, at which quantization, reads earnings per share right, and is the difference real?

    \b
    gguf-bench compare smollm2_135m -q Q8_0 -q Q4_K_M     run, score, rank
    gguf-bench query "select model, quant, eps_score from eps_scores"
    """
    ctx.obj = State(db=db, models_file=models_file, verbose=verbose)


for command in (
    pull.pull,
    convert.convert,
    quantize.quantize,
    compare.compare,
    results.results,
    query.query,
    dataset.dataset,
    models.models,
    doctor.doctor,
):
    cli.add_command(command)


def main() -> None:
    """The `gguf-bench` command."""
    cli(prog_name="gguf-bench")
