"""The group of all commands, and how what they do becomes an exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from gguf_bench.cli.failures import in_one_line
from gguf_bench.cli.state import State

NAMES = (
    *("pull", "convert", "quantize", "imatrix", "fidelity", "compare", "recommend", "results", "query", "report"),
    *("browse", "dataset", "models", "gc", "doctor"),
)


class ByName(Mapping[str, click.Command]):
    """The commands, each of the module of its name, which is imported when the command is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in NAMES:
            raise KeyError(name)
        command: click.Command = getattr(import_module(f"gguf_bench.cli.{name}"), name)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


class Commands(click.Group):
    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with in_one_line():  # --help and --version print here
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with in_one_line(ctx):
                return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise click.Abort from interrupt


@click.group(
    cls=Commands,
    commands=ByName(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
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


def run() -> int:
    """Run the command that the arguments name; return the exit code. Raises KeyboardInterrupt for an interrupt."""
    try:
        result = cli.main(prog_name="gguf-bench", standalone_mode=False)
    except click.Abort as abort:
        raise KeyboardInterrupt from abort
    except click.ClickException as error:
        with suppress(OSError):  # nobody reads standard error
            error.show()
        return error.exit_code
    return result if isinstance(result, int) else 0
