"""sqlite_utils, without pandas and numpy: it imports them where they are installed, for the types of values alone.

That takes longer than all that a command does with the store, and we insert no such values.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Modules of these names count as not installed meanwhile."""
    beside = {name: sys.modules.get(name) for name in names}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name, module in beside.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


with _hidden("pandas", "numpy"):
    from sqlite_utils import Database, Migrations

__all__ = ["Database", "Migrations"]
