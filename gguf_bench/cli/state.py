"""What every command shares: the global options, and the catalog and store they name, opened when first needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gguf_bench.paths import store_path

if TYPE_CHECKING:
    from gguf_bench.catalog import Catalog
    from gguf_bench.quants import Quant
    from gguf_bench.records import ModelSpec
    from gguf_bench.store import Store


@dataclass
class State:
    """The global options of this invocation."""

    db: Path | None
    models_file: Path | None
    verbose: bool

    @property
    def store_path(self) -> Path:
        return self.db.expanduser() if self.db else store_path()

    @cached_property
    def store(self) -> Store:
        from gguf_bench.store import Store

        return Store(self.store_path)

    @cached_property
    def catalog(self) -> Catalog:
        from gguf_bench.catalog import find_catalog, load_catalog

        return load_catalog(find_catalog(self.models_file))

    def specs(self, names: Sequence[str], groups: Sequence[str] = ()) -> list[ModelSpec]:
        """The models the arguments and `--group` name, each once; a usage error when there is none."""
        from gguf_bench.catalog import group, resolve

        found = [resolve(name, self.catalog) for name in names]
        found += [spec for name in groups for spec in group(name, self.catalog)]
        if not found:
            raise click.UsageError("name a MODEL, or a --group of them; `gguf-bench models list` shows what there is")
        return list({spec.key: spec for spec in found}.values())


pass_state = click.make_pass_decorator(State)


def quants(names: Iterable[str]) -> list[Quant]:
    """The types `-q` names. Raises QuantizeError for one llama.cpp does not know."""
    from gguf_bench.quants import quant

    return [quant(name) for name in names]


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
group_option = click.option("--group", "groups", multiple=True, metavar="NAME", help="Every model of a group.")
quant_option = click.option(
    "-q", "--quant", "quant_names", multiple=True, metavar="TYPE", help="A GGUF type (Q4_K_M, Q8_0, ...); repeatable."
)
