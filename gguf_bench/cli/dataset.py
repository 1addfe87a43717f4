"""`gguf-bench dataset`"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path

import click

from gguf_bench.cli.state import json_option


@click.group()
def dataset() -> None:
    """Look at datasets, and make your own."""


@dataset.command("list")
@json_option
def list_datasets(as_json: bool) -> None:
    """List the built-in datasets."""
    from gguf_bench import dataset as datasets
    from gguf_bench import terminal

    terminal.print_datasets([datasets.load(name) for name in datasets.BUILTIN], as_json=as_json)


@dataset.command()
@click.argument("name", metavar="NAME|FILE")
@click.argument("document_id", required=False)
@json_option
def show(name: str, document_id: str | None, as_json: bool) -> None:
    """List the documents of a dataset, or show the text and labels of one."""
    from gguf_bench import dataset as datasets
    from gguf_bench import terminal

    found = datasets.load(name)
    if document_id is None:
        terminal.print_documents(found.documents, as_json=as_json)
        return
    chosen = [document for document in found.documents if document.id == document_id]
    if not chosen:
        raise click.BadParameter(f"no document {document_id!r} in {found.name}", param_hint="DOCUMENT_ID")
    terminal.print_document(chosen[0], as_json=as_json)


@dataset.command("import")
@click.argument("source", type=click.Path(path_type=Path), metavar="FILE_OR_FOLDER")
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="CSV",
    help="Figures, a row a document: file, company, period, basic, diluted, adjusted.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.jsonl", help="Write this dataset."
)
@click.option("--overwrite", is_flag=True, help="Replace FILE.jsonl if it is there.")
@json_option
def import_(source: Path, labels: Path | None, output: Path, overwrite: bool, as_json: bool) -> None:
    """Make a dataset of your own press releases: HTML, text or PDF, and whole EDGAR submissions.

    Without --labels it writes FILE.labels.csv for you to fill in: a figure, nothing where the release has none; "?"
    leaves a document out. With --labels it writes the dataset, says what is left to label, and prints the path.

    \b
    gguf-bench dataset import filings/ -o mine.jsonl
    gguf-bench dataset import filings/ --labels mine.labels.csv -o mine.jsonl
    gguf-bench compare smollm2_135m --dataset mine.jsonl
    """
    from gguf_bench import dataset_import, terminal
    from gguf_bench.cli.bars import Bars
    from gguf_bench.paths import from_home

    progress = Bars()
    imported = dataset_import.import_filings(
        from_home(source),
        from_home(output),
        labels=from_home(labels) if labels else None,
        overwrite=overwrite,
        progress=progress,
    )
    for note in imported.notes:
        progress.say(note)
    if imported.unlabelled:
        progress.say(f"left to label: {', '.join(imported.unlabelled)}")
    if as_json:
        terminal.print_json(
            {
                "dataset": imported.dataset and str(imported.dataset),
                "labels": imported.template and str(imported.template),
                "n_documents": imported.n_documents,
                "unlabelled": imported.unlabelled,
            }
        )
    else:
        click.echo(imported.dataset or imported.template)
    if imported.dataset:
        progress.say(f"{imported.n_documents} documents; next: gguf-bench compare MODEL --dataset {imported.dataset}")
    else:
        progress.say(f"fill in {imported.template}, in which company and period are guesses")
        progress.say(f"next: the same command with --labels {imported.template}")


@dataset.command()
@click.argument("tickers", nargs=-1, required=True, metavar="TICKER...")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Filed on this day or later.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="Filed on this day or before.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.jsonl", help="Write this dataset."
)
@json_option
def edgar(
    tickers: tuple[str, ...], since: datetime | None, until: datetime | None, output: Path, as_json: bool
) -> None:
    """Make a dataset of companies' earnings releases (8-K, Item 2.02) from the SEC's EDGAR.

    Figures come from XBRL, for three months only, and only where the release prints them. Releases of which not all
    three figures can be known are left to label, with what is known filled in. The SEC wants to know who asks: a name
    and an address for mail, from $EDGAR_IDENTITY, or asked for.

    \b
    gguf-bench dataset edgar AAPL MSFT --since 2023-01-01 -o filings.jsonl
    """
    from gguf_bench import edgar as sec
    from gguf_bench import terminal
    from gguf_bench.cli.bars import Bars
    from gguf_bench.errors import DatasetError
    from gguf_bench.paths import from_home

    progress = Bars()
    target = from_home(output)
    first, last = (day.date() if day else None for day in (since, until))
    if first and last and first > last:
        raise click.UsageError(f"--since {first} is after --until {last}")
    sec.require()
    sec.refuse_existing(target)
    identity = os.environ.get(sec.IDENTITY)
    if not identity and sys.stdin.isatty():
        identity = click.prompt("The SEC wants to know who asks; your name and address for mail", err=True)
    found = list(sec.releases(tickers, sec.checked_identity(identity), since=first, until=last, progress=progress))
    if not found:
        raise DatasetError(
            f"no earnings release (8-K, Item 2.02) of {', '.join(tickers)} in that time", hint="try an earlier --since"
        )
    sec.write(found, target)
    texts, table = sec.left_to_label(target)
    open_ones = [release for release in found if release.labels.unknown]
    labelled = len(found) - len(open_ones)
    if as_json:
        terminal.print_json(
            {
                "dataset": str(target) if labelled else None,
                "n_documents": labelled,
                "to_label": str(texts) if open_ones else None,
                "labels": str(table) if open_ones else None,
                "releases": [sec.summary(release) for release in found],
            }
        )
    elif labelled:
        click.echo(target)
    for release in found:
        for note in release.labels.notes:
            progress.say(f"{release.company}, {release.id}: filed otherwise later, {note}")
    progress.say(f"{len(found)} releases: {labelled} labelled, {len(open_ones)} left to label")
    if open_ones:
        again = texts.with_name(f"{texts.name}.jsonl")
        progress.say(f"fill in each ? of {table}, which says why it is one")
        progress.say(f"next: gguf-bench dataset import {texts} --labels {table} -o {again}")
