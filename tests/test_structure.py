"""Which module may import which. A new module needs a row here; what it imports must stand in a row above it."""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the bottom up. A module imports from rows above its own in this table, and from its own row too, save in STAGES.
LAYERS = {
    "foundation": {"errors", "records", "paths", "progress", "quants", "units"},
    "shared": {
        # models.yaml and files
        *("catalog", "catalog_add", "needs", "gguf_files", "hub_files", "hub_token", "migrations"),
        # llama.cpp, and the child process it runs in
        *("llama", "chat_template", "engine", "jobs", "worker", "child"),
        *("llama_build", "tiny_gguf", "gguf_header", "offload"),
        *("quantize_options", "size_target"),
        *("imatrix_file", "texts"),
        # tasks, and what they are made of
        "filing_text",
        *("tasks", "score", "excerpt", "baselines", "paired", "alike", "xbrl_gold"),
        *("sqlite_errors", "sqlite_reading", "queries", "vram"),
    },
    "stages": {
        *("query", "hub", "package", "convert", "upstream", "describe", "quantize", "run", "endpoint", "dataset"),
        "sensitivity",
        *("store", "compare", "families", "recommend", "rescore", "calibrate", "edgar", "imatrix", "fidelity"),
    },
    "joining": {
        *("provenance", "prepare", "measure", "results", "session", "pipeline", "dataset_import", "api", "browse"),
        *("doctor", "models_add", "models_check", "garbage"),
        *("place", "cluster"),
        "__init__",
    },
    # Tables and pages of what the joining modules found: they know their records, and none of those knows them.
    "showing": {"wording", "terminal", "report", "export"},
    "commands": {"cli", "__main__"},
}
STAGES = "stages"

# Who alone may import a dependency; nobody where the set is empty.
OWNERS = {
    "huggingface_hub": {"hub"},
    "llama_cpp": {"llama"},
    "sqlite_utils": {"migrations"},
    "converters": {"convert"},
    "click": {"cli"},
    "datasette": {"browse"},
    "uvicorn": {"browse"},
    "openai": {"endpoint"},
    "edgar": {"edgar"},
    "distributed": {"cluster"},
    "dask": {"cluster"},
    "lxml": {"filing_text"},
    "pypdfium2": {"filing_text"},
    "vl_convert": {"report"},
    "torch": set(),
    "transformers": set(),
}
CONVERTERS_MAY_IMPORT = {"converters", "numpy", "gguf", "tokenizers", "sentencepiece", "yaml"}

RANK = {module: rank for rank, modules in enumerate(LAYERS.values()) for module in modules}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    """The row of a file of gguf_bench: `cli` for everything in cli/."""
    first, *rest = path.relative_to(ROOT / "gguf_bench").parts
    return first if rest else first.removesuffix(".py")


def imported_names(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it; `from gguf_bench import child` gives gguf_bench.child."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written in full here"
            if node.module == "gguf_bench":
                yield from (f"gguf_bench.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def imports_within(path: Path) -> set[str]:
    """The rows that a file of gguf_bench imports. `from gguf_bench import api_function` is of __init__."""
    rows = set()
    for name in imported_names(path):
        package, _, rest = name.partition(".")
        if package == "gguf_bench":
            row = rest.partition(".")[0] or "__init__"
            rows.add(row if row in RANK or exists(row) else "__init__")
    return rows - {module_of(path)}


def exists(row: str) -> bool:
    return any((ROOT / "gguf_bench" / name).exists() for name in (row, f"{row}.py"))


def may_import(importer: str, imported: str) -> bool:
    if RANK[importer] == RANK[imported]:
        return importer not in LAYERS[STAGES]
    return RANK[importer] > RANK[imported]


@pytest.mark.parametrize("path", sources("gguf_bench"), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    module = module_of(path)
    assert module in RANK, f"{module} has no row in LAYERS"
    for imported in sorted(imports_within(path)):
        assert imported in RANK, f"{module} imports {imported}, which has no row in LAYERS"
        assert may_import(module, imported), f"{module} must not import {imported}"


@pytest.mark.parametrize("path", sources("gguf_bench"), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_heavy_dependency_has_one_owner(path: Path) -> None:
    for name in imported_names(path):
        owners = OWNERS.get(name.partition(".")[0])
        assert owners is None or module_of(path) in owners, f"{module_of(path)} must not import {name}"


def test_no_circles() -> None:
    graph: dict[str, set[str]] = {}
    for path in sources("gguf_bench"):
        graph.setdefault(module_of(path), set()).update(imports_within(path))
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", sources("converters"), ids=lambda path: str(path.relative_to(ROOT)))
def test_converters_stand_alone(path: Path) -> None:
    foreign = (
        {name.partition(".")[0] for name in imported_names(path)} - CONVERTERS_MAY_IMPORT - sys.stdlib_module_names
    )
    assert not foreign


def test_each_module_has_one_row() -> None:
    assert len(RANK) == sum(len(modules) for modules in LAYERS.values())


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("cli", "pipeline", True),
        ("pipeline", "hub", True),
        ("run", "llama", True),
        ("llama", "records", True),
        ("hub", "convert", False),
        ("records", "catalog", False),
        ("store", "pipeline", False),
        ("pipeline", "terminal", False),
        ("pipeline", "cli", False),
    ],
)
def test_the_arrows(importer: str, imported: str, allowed: bool) -> None:
    assert may_import(importer, imported) is allowed
