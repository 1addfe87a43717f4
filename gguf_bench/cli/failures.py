"""The one place where failures become messages: known ones are one line, a bug keeps its traceback."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click
from click.exceptions import Exit

from gguf_bench.errors import GgufBenchError, if_full

SHOWN_CHARACTERS = 40


@contextmanager
def in_one_line(ctx: click.Context | None = None) -> Iterator[None]:
    """Turn what may go wrong, the last write to standard output included, into what click shows and exits with.

    A reader of our output that leaves, as `head` does, is no failure. With `-v` of `ctx` the traceback comes first.
    """
    try:
        try:
            yield
        except Exit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except BrokenPipeError:
        raise Exit(0) from None
    except (GgufBenchError, OSError, UnicodeError) as error:
        if ctx is not None and ctx.obj is not None and ctx.obj.verbose:
            traceback.print_exception(error)
        raise click.ClickException(_said(error)) from error


def _said(error: GgufBenchError | OSError | UnicodeError) -> str:
    match error:
        case UnicodeEncodeError() | UnicodeDecodeError():
            wrong = error.object[max(0, error.start - SHOWN_CHARACTERS // 2) :][:SHOWN_CHARACTERS]
            text = f"{wrong!r} is not valid {error.encoding.upper()}"
        case OSError(strerror=str(why), filename=None):
            text = why
        case OSError(strerror=str(why)):
            text = str(GgufBenchError(f"{error.filename}: {why}", hint=if_full(error)))
        case _:
            text = str(error) or type(error).__name__
    return " ".join(text.split("\n"))
