"""Progress as bars on a terminal; off a terminal only the lines that say what happens."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Never

import click

from gguf_bench.progress import Bar, SilentBar

if TYPE_CHECKING:
    from tqdm import tqdm

SHARE_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"
"""For work that is known only as a share of the whole."""


class TqdmBar:
    def __init__(self, label: str, total: float | None, unit: str) -> None:
        from tqdm import tqdm

        in_bytes = unit == "B"
        self._bar: tqdm[Never] = tqdm(
            desc=label,
            total=total,
            unit="B" if in_bytes else f" {unit}",
            unit_scale=in_bytes,
            unit_divisor=1024,
            bar_format=SHARE_FORMAT if total == 1.0 else None,
            leave=False,
            dynamic_ncols=True,
        )

    def advance(self, amount: float) -> None:
        self._bar.update(amount)

    def note(self, text: str) -> None:
        self._bar.set_postfix_str(text)

    def close(self) -> None:
        self._bar.close()


class Bars:
    """The command line's `Progress`. Off a terminal tqdm, which takes its time to import, is not needed."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()

    def bar(self, label: str, total: float | None, unit: str) -> Bar:
        return TqdmBar(label, total, unit) if self._on_terminal else SilentBar()

    def say(self, line: str) -> None:
        if not self._on_terminal:
            click.echo(line, err=True)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode():
            click.echo(line, err=True)
