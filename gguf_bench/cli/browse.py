"""`gguf-bench browse`"""

from __future__ import annotations

import click

from gguf_bench.cli.query import MEMORY_BYTES
from gguf_bench.cli.state import State, pass_state


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="The port to listen on [default: a free one].")
@click.option("--no-open", is_flag=True, help="Open no browser.")
@pass_state
def browse(state: State, port: int | None, no_open: bool) -> None:
    """Look at the store in a web browser, until Ctrl-C.

    Every table, the view eps_scores and the saved queries, served by Datasette to this machine alone and for reading
    alone. A comparison may go on writing meanwhile. Needs the extra `browse`: pip install 'gguf-bench[browse]'.

    \b
    gguf-bench browse
    gguf-bench browse --port 8001 --no-open
    """
    try:
        from gguf_bench import browse as browsing
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"browse needs {error.name}, which is not installed; pip install 'gguf-bench[browse]'"
        ) from error
    browsing.require_readable(state.store_path)
    with browsing.listen(port or 0) as listening:
        address = browsing.address(listening)
        click.echo(address)
        if not no_open:
            click.launch(address)
        browsing.serve(state.store_path, listening, memory_bytes=MEMORY_BYTES)
