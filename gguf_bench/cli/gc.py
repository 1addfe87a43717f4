"""`gguf-bench gc`"""

from __future__ import annotations

import sys

import click

from gguf_bench.cli.state import State, json_option, pass_state
from gguf_bench.errors import GgufBenchError


@click.command()
@click.option("--dry-run", is_flag=True, help="Only list what would be freed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_state
def gc(state: State, dry_run: bool, yes: bool, as_json: bool) -> None:
    """List the files that no score in the store depends on, and free them, having asked.

    Looked at are converted and quantized files in the cache, revisions in the Hub cache that were pulled for this
    store, and downloads that were broken off. A file that has scores stays, with all it was made from; so does what
    this store knows nothing of. A revision that goes is not locked any more: the next pull takes what its branch then
    stands for.

    Only the scores of this store count. What it lists may have scores in another --db that knows it, too, and a
    revision may be in use by other tools, or have been fetched by them before it was pulled.

    \b
    gguf-bench gc --dry-run
    """
    from gguf_bench import garbage, terminal
    from gguf_bench.units import size_in_words

    store = state.store_to_change
    found = garbage.find(store)
    if found.n_unknown:
        unknown = f"{found.n_unknown} files in the cache ({size_in_words(found.unknown_bytes)}) are not in this store"
        click.echo(f"{unknown}: they stay, since another store may have their scores", err=True)
    terminal.print_garbage(found.shown, as_json=as_json)
    if found.files:
        click.echo(
            f"another --db than {store.path} may have scores of these files: only this one was looked at", err=True
        )
    if found.revisions:
        click.echo("other tools that use the Hub cache may need these revisions, and another --db, too", err=True)
    size = size_in_words(found.size_bytes)
    if dry_run or not found.shown:
        click.echo(f"{size} can be freed", err=True)
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask at; --yes frees without asking")
        if not click.confirm(f"Free {size} for good?", err=True):
            raise GgufBenchError("nothing was freed")
    freed = garbage.free(found, store)
    click.echo(f"freed {size_in_words(freed)}", err=True)
    if freed < found.size_bytes:
        click.echo("the rest stays: it was needed, or gone, by the time it was to be freed", err=True)
