"""What every command shares: the global options, and the catalog and store they name, opened when first needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gguf_bench.paths import from_home, store_path
from gguf_bench.sqlite_errors import require_store

if TYPE_CHECKING:
    from gguf_bench.catalog import Catalog
    from gguf_bench.quants import Quant
    from gguf_bench.records import ModelSpec
    from gguf_bench.store import Store

SOME_FAILED = 3
"""The exit code of a command that came to its end, though something in it failed or is wrong."""


@dataclass
class State:
    """The global options of this invocation."""

    db: Path | None
    models_file: Path | None
    verbose: bool

    @property
    def store_path(self) -> Path:
        return from_home(self.db) if self.db else store_path()

    @cached_property
    def store(self) -> Store:
        """The store, for a command that makes or runs files: `gc` frees none before it ends."""
        store = self._opened_store()
        click.get_current_context().with_resource(store.files_in_use())
        return store

    def _opened_store(self) -> Store:
        from gguf_bench.cli.bars import Bars
        from gguf_bench.store import Store

        return Store(self.store_path, Bars())

    @cached_property
    def existing_store(self) -> Store:
        """The store as it is now, for a command that only reads it. Raises StoreError where there is none yet."""
        from gguf_bench.cli.bars import Bars
        from gguf_bench.store import Store

        return Store(self.store_path, Bars(), to_read=True)

    @property
    def store_to_change(self) -> Store:
        """The store, for a command that changes what is there. Raises StoreError where there is none yet."""
        require_store(self.store_path)
        return self._opened_store()

    @cached_property
    def catalog(self) -> Catalog:
        from gguf_bench.catalog import find_catalog, load_catalog

        return load_catalog(find_catalog(self.models_file))

    def specs(self, names: Sequence[str], groups: Sequence[str] = ()) -> list[ModelSpec]:
        """The models the arguments and `--group` name, each once; a usage error when there is none.

        A model that several groups have is of the group that is asked for.
        """
        from gguf_bench.catalog import group, resolve

        found = [resolve(name, self.catalog) for name in names]
        found += [replace(spec, group=name) for name in groups for spec in group(name, self.catalog)]
        if not found:
            raise click.UsageError("name a MODEL, or a --group of them; `gguf-bench models list` shows what there is")
        return list({spec.key: spec for spec in found}.values())


pass_state = click.make_pass_decorator(State)


class HomePath(click.Path):
    """A path, a leading ~/ of it being the user's home: no shell expands `--option=~/x`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(from_home(value), param, ctx)


class QuantType(click.ParamType["Quant"]):
    """A type that llama.cpp knows, by name or alias."""

    name = "TYPE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Quant:
        from gguf_bench.errors import QuantizeError
        from gguf_bench.quants import quant

        try:
            return quant(value)
        except QuantizeError as error:
            raise click.BadParameter(str(error), ctx, param) from error


class GpuLayers(click.ParamType[str]):
    """auto, all, or a number."""

    name = "auto|all|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value in ("auto", "all") or str(value).isdecimal():
            return str(value)
        raise click.BadParameter(f"{value!r} is neither auto, all nor a number of layers", ctx, param)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
group_option = click.option("--group", "groups", multiple=True, metavar="NAME", help="Every model of a group.")
quant_option = click.option(
    "-q", "--quant", "quants", type=QuantType(), multiple=True, help="A GGUF type (Q4_K_M, Q8_0, ...); repeatable."
)
chunks_option = click.option(
    "--chunks", "n_chunks", type=click.IntRange(1), metavar="N", help="Only the text's first N chunks of 512 tokens."
)
