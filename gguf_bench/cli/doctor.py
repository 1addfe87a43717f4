"""`gguf-bench doctor`"""

from __future__ import annotations

import click

from gguf_bench.cli.state import State, json_option, pass_state


@click.command()
@json_option
@pass_state
def doctor(state: State, as_json: bool) -> None:
    """Check this machine: llama.cpp, its GPUs, the Hub and its token, disk space, and where things are.

    Exits with 1 when something that a comparison needs does not work.
    """
    from gguf_bench import doctor as checks
    from gguf_bench import terminal

    found = checks.examine(state.store_path)
    terminal.print_checks(found, as_json=as_json)
    if any(check.state == "broken" for check in found):
        click.get_current_context().exit(1)
