"""Write docs/cli.md from the commands' own help; with --check, say whether it is current (exit 1 when not)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

CLI_PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
WIDTH = 100


def main() -> int:
    from gguf_bench.cli.commands import cli  # not at the top: the tests of `documented` do without it

    page = documented(cli, "gguf-bench")
    if "--check" in sys.argv[1:]:
        if CLI_PAGE.is_file() and CLI_PAGE.read_text(encoding="utf-8") == page:
            return 0
        print(f"{CLI_PAGE.name} is not what the commands say of themselves; run `make docs`", file=sys.stderr)
        return 1
    CLI_PAGE.write_text(page, encoding="utf-8")
    return 0


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
