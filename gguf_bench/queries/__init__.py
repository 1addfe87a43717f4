"""The saved queries: one SQL file each, beside this one. The file's name is the query's.

A file begins with comments: first what it shows, then its parameters, one a line, `:name [default] what it is`. One
that has no default has to be given. The SQL takes null and '' for "not given" and puts the default in itself, so that
it runs wherever SQLite does, and a form that was left empty means the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

PARAMETER = re.compile(r":(?P<name>\w+) (?:\[(?P<default>[^\]]+)\] )?(?P<what>.+)")


@dataclass(frozen=True)
class Parameter:
    """`default` is what stands in for it, as people read it; None: it has to be given."""

    name: str
    default: str | None
    what: str


@dataclass(frozen=True)
class SavedQuery:
    name: str
    title: str
    description: str
    parameters: tuple[Parameter, ...]
    sql: str


@cache
def saved_queries() -> dict[str, SavedQuery]:
    """Every saved query by name, in the order of the names."""
    files = [file for file in resources.files(__name__).iterdir() if file.name.endswith(".sql")]
    found = [_read(file.name.removesuffix(".sql"), file.read_text(encoding="utf-8")) for file in files]
    return {query.name: query for query in sorted(found, key=lambda query: query.name)}


def _read(name: str, sql: str) -> SavedQuery:
    comments = []
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        comments.append(line.removeprefix("--").strip())
    title, *rest = comments
    parameters = [match for line in rest if (match := PARAMETER.fullmatch(line))]
    description = " ".join(line for line in rest if line and not line.startswith(":"))
    return SavedQuery(
        name, title.removesuffix("."), description, tuple(Parameter(**match.groupdict()) for match in parameters), sql
    )
