"""`gguf-bench dataset`"""

from __future__ import annotations

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
    from gguf_bench import report

    report.print_datasets([datasets.load(name) for name in datasets.BUILTIN], as_json=as_json)


@dataset.command()
@click.argument("name", metavar="NAME|FILE")
@click.argument("document_id", required=False)
@json_option
def show(name: str, document_id: str | None, as_json: bool) -> None:
    """List the documents of a dataset, or show the text and labels of one."""
    from gguf_bench import dataset as datasets
    from gguf_bench import report

    found = datasets.load(name)
    if document_id is None:
        report.print_documents(found.documents, as_json=as_json)
        return
    chosen = [document for document in found.documents if document.id == document_id]
    if not chosen:
        raise click.BadParameter(f"no document {document_id!r} in {found.name}", param_hint="DOCUMENT_ID")
    report.print_document(chosen[0], as_json=as_json)


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
    from gguf_bench import dataset_import, report
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
        report.print_json(
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
