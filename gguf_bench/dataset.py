"""Datasets: JSONL files of labelled documents, one a line, read strictly.

A line is an object with `id`, `company`, `period` (string or null), `text`, and `gold` {`basic`, `diluted`, `adjusted`:
number, number in a string, or null}; `traps` {name: number}, `tags` [string], `tier` and `source` are optional (null is
as good as absent), and any other key is passed over. An id is printable, a trap's name of a-z, 0-9, '_' and '-'.
A wrong line stops the load, named by file, line and reason.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from gguf_bench.errors import DatasetError
from gguf_bench.paths import from_home
from gguf_bench.records import FIELDS, Dataset, Document

DEFAULT_DATASET = "eps-v1"
_DATA_FOLDER = Path(__file__).parent / "tasks"
BUILTIN = {"eps-v1": _DATA_FOLDER / "eps-v1.jsonl"}
"""Name -> file of the datasets that come with the package."""

_MAX_LINE_BYTES = 32 * 1024 * 1024
_MAX_ID_CHARACTERS = 200
_TRAP_NAME = re.compile(r"[a-z0-9_-]+")
_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?")


class _Wrong(Exception):
    """The reason why a line is wrong."""


def load(name_or_file: str) -> Dataset:
    """The built-in dataset of that name, else the JSONL file of that path.

    Numbers keep their printed precision (Decimal; also those in `source`). Raises DatasetError.
    """
    built_in = BUILTIN.get(name_or_file)
    file = built_in or from_home(name_or_file)
    if not file.is_file():
        raise DatasetError(
            f"no dataset {name_or_file!r}: neither a file nor built in",
            hint=f"built in: {', '.join(BUILTIN)}; or give the path of a JSONL file",
        )
    digest = hashlib.sha256()
    documents: list[Document] = []
    lines_by_id: dict[str, int] = {}
    number = 0
    try:
        with file.open("rb") as lines:
            while line := lines.readline(_MAX_LINE_BYTES + 1):
                number += 1
                digest.update(line)
                if len(line) > _MAX_LINE_BYTES:
                    raise _Wrong(f"a line of more than {_MAX_LINE_BYTES // 2**20} MiB; wanted one document a line")
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if not line.strip():
                    continue
                document = _document(line)
                first = lines_by_id.setdefault(document.id, number)
                if first != number:
                    raise _Wrong(f"id {document.id!r} is already used in line {first}; an id must be unique")
                documents.append(document)
    except _Wrong as wrong:
        raise DatasetError(str(wrong), file=file, line=number) from None
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror or error}", file=file) from error
    if not documents:
        raise DatasetError("no documents in it; wanted one JSON object a line", file=file)
    name = name_or_file if built_in else file.stem
    return Dataset(name=name, sha256=digest.hexdigest(), documents=tuple(documents))


def limit(dataset: Dataset, n: int) -> Dataset:
    """`n` of its documents in their order, balanced over tiers: the same ones every time.

    Within a tier the documents come in the order of the sha256 of their ids, which has nothing to do with how the file
    is sorted, and a smaller sample is part of every larger one, so that raising the limit keeps the answers there are.
    Returns `dataset` itself where it has no more than `n`. Raises DatasetError for n < 1.
    """
    if n < 1:
        raise DatasetError(f"a limit of {n} documents; wanted 1 or more")
    if n >= len(dataset.documents):
        return dataset
    tiers: dict[str, list[Document]] = {}
    for document in dataset.documents:
        tiers.setdefault(document.tier, []).append(document)
    queues = [
        sorted(tier, key=lambda d: hashlib.sha256(d.id.encode()).digest(), reverse=True) for tier in tiers.values()
    ]
    chosen: set[str] = set()
    while len(chosen) < n:
        for queue in queues:
            if queue and len(chosen) < n:
                chosen.add(queue.pop().id)
    return replace(dataset, documents=tuple(d for d in dataset.documents if d.id in chosen))


def _document(line: bytes) -> Document:
    try:
        record = json.loads(
            line.decode("utf-8"),
            parse_float=Decimal,
            parse_int=Decimal,
            parse_constant=_no_constant,
            object_pairs_hook=_no_duplicates,
        )
    except UnicodeDecodeError as error:
        raise _Wrong(f"byte {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _Wrong(f"not JSON: {error.msg} at column {error.colno}") from None
    except InvalidOperation:
        raise _Wrong("a number in it has an exponent beyond all bounds") from None
    except RecursionError:
        raise _Wrong("not a document: nested too deep") from None
    if not isinstance(record, dict):
        raise _Wrong(f"found {_shown(record)}, wanted a JSON object")
    for key in ("id", "company", "period", "text", "gold"):
        if key not in record:
            raise _Wrong(f"key {key!r} is missing")
    gold = _typed(record, "gold", dict)
    if unknown := sorted(gold.keys() - set(FIELDS)):
        raise _Wrong(f"gold has the unknown key {unknown[0]!r}; its keys are {', '.join(FIELDS)}")
    if missing := [name for name in FIELDS if name not in gold]:
        raise _Wrong(f"gold has no {missing[0]!r}; where a figure is not given, it is null")
    tags = _typed(record, "tags", list, optional=True)
    if not all(isinstance(tag, str) for tag in tags):
        raise _Wrong(f"tags: found {_shown(tags)}, wanted a list of strings")
    return Document(
        id=_id(record),
        company=_string(record, "company"),
        period="" if record["period"] is None else _string(record, "period", empty=True),
        text=_string(record, "text"),
        gold={name: None if gold[name] is None else _number(f"gold {name}", gold[name]) for name in FIELDS},
        traps=_traps(_typed(record, "traps", dict, optional=True)),
        tags=tuple(tags),
        tier="" if record.get("tier") is None else _string(record, "tier", empty=True),
        source=record.get("source"),
    )


def _no_constant(name: str) -> None:
    raise _Wrong(f"found {name}, wanted a finite number or null")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise _Wrong(f"key {_shown(key)} stands twice in one object")
        record[key] = value
    return record


def _typed(
    record: dict[str, Any], key: str, wanted: type[dict[Any, Any]] | type[list[Any]], *, optional: bool = False
) -> Any:
    value = record.get(key)
    if value is None and optional:
        return wanted()
    if not isinstance(value, wanted):
        raise _Wrong(f"{key}: found {_shown(value)}, wanted {'an object' if wanted is dict else 'a list'}")
    return value


def _string(record: dict[str, Any], key: str, *, empty: bool = False) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise _Wrong(f"{key}: found {_shown(value)}, wanted a string")
    if not empty and not value.strip():
        raise _Wrong(f"{key} is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _Wrong(f"{key} holds half a surrogate pair, which is no text") from None
    return value


def _id(record: dict[str, Any]) -> str:
    value = _string(record, "id")
    if len(value) > _MAX_ID_CHARACTERS or not value.isprintable():
        raise _Wrong(f"id: found {_shown(value)}, wanted at most {_MAX_ID_CHARACTERS} printable characters")
    return value


def _traps(figures: dict[str, Any]) -> dict[str, Decimal]:
    for name in figures:
        if not _TRAP_NAME.fullmatch(name):
            raise _Wrong(f"trap {_shown(name)}: wanted a name of a-z, 0-9, '_' and '-', such as diluted_py")
    return {name: _number(f"trap {name}", value) for name, value in figures.items()}


def _number(what: str, value: Any) -> Decimal:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise _Wrong(f"{what}: found {_shown(value)}, wanted a number such as -0.42")
    if not value.is_finite() or value.adjusted() > 12 or not -12 <= int(value.as_tuple().exponent) <= 12:
        raise _Wrong(f"{what}: found {_shown(value)}, which is no amount per share")
    return value


def _shown(value: Any) -> str:
    words = str(value) if isinstance(value, Decimal) else repr(value)
    return words if len(words) <= 60 else words[:57] + "..."
