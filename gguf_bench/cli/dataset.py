"""`gguf-bench dataset`"""

from __future__ import annotations

import click

from gguf_bench.cli.state import json_option


@click.group()
def dataset() -> None:
    """Look at datasets."""


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
