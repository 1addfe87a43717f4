"""Progress as bars on a terminal; off a terminal only the lines that say what happens."""

from __future__ import annotations

import click
from tqdm import tqdm

from gguf_bench.progress import Bar


class TqdmBar:
    def __init__(self, label: str, total: float | None, unit: str) -> None:
        scaled = {"unit": "B", "unit_scale": True, "unit_divisor": 1024} if unit == "B" else {"unit": f" {unit}"}
        share = {"bar_format": "{desc}: {percentage:3.0f}%|{bar}| {elapsed}"} if total == 1.0 else {}
        self._bar = tqdm(desc=label, total=total, leave=False, disable=None, dynamic_ncols=True, **scaled, **share)

    def advance(self, amount: float) -> None:
        self._bar.update(amount)

    def note(self, text: str) -> None:
        self._bar.set_postfix_str(text)

    def close(self) -> None:
        self._bar.close()


class Bars:
    """The command line's `Progress`."""

    def bar(self, label: str, total: float | None, unit: str) -> Bar:
        return TqdmBar(label, total, unit)

    def say(self, line: str) -> None:
        with tqdm.external_write_mode():
            click.echo(line, err=True)
