"""Write the pages of docs/ that follow from the code; with --check, say whether they are current (exit 1 when not).

docs/cli.md is the commands' own help, docs/architectures.md the table of families that are converted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from converters import ARCHITECTURES
from converters.architecture import Architecture

DOCS = Path(__file__).resolve().parent.parent / "docs"
WIDTH = 100


def main() -> int:
    from gguf_bench.cli.commands import cli  # not at the top: the tests of `documented` do without it

    pages = {"cli.md": documented(cli, "gguf-bench"), "architectures.md": architectures(ARCHITECTURES)}
    for name, page in pages.items():
        path = DOCS / name
        current = path.is_file() and path.read_text(encoding="utf-8") == page
        if "--check" in sys.argv[1:] and not current:
            print(f"{name} is not what the code says; run `make docs`", file=sys.stderr)
            return 1
        if not current:
            path.write_text(page, encoding="utf-8")
    return 0


def architectures(known: Mapping[str, type[Architecture]]) -> str:
    """The Markdown page of what is converted: a row for every name that config.json's `architectures` may have."""
    rows = [f"| {name} | {each.gguf_name} | {each.example} |" for name, each in sorted(known.items())]
    head = "# Families that are converted\n\nMade from the converter's own registry by `make docs`.\n\n"
    table = "| `architectures` in config.json | GGUF architecture | for example |\n|---|---|---|\n"
    return head + table + "".join(f"{row}\n" for row in rows)


def documented(command: click.Command, name: str) -> str:
    """The Markdown page of a command and of all below it: a heading and the help of each."""
    head = "# Commands\n\nMade from the commands' own help by `make docs`.\n"
    return head + "".join(sections(command, name))


def sections(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[str]:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent=parent, info_name=name, **settings)
    lines = [line.rstrip() for line in command.get_help(context).splitlines()]
    yield "\n".join(["", f"## {context.command_path}", "", "```text", *lines, "```", ""])
    if isinstance(command, click.Group):
        for inner_name in command.list_commands(context):
            inner = command.get_command(context, inner_name)
            if inner is not None and not inner.hidden:
                yield from sections(inner, inner_name, context)


if __name__ == "__main__":
    sys.exit(main())
