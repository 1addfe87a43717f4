"""A user's own filings as a dataset: their files are read, their labels joined to them, and a JSONL file is written.

Labels are a CSV file, a row a document. A null label must be said (an empty cell); what nobody has looked at yet is
"?", so that a table half filled in is never taken for documents without figures. Nothing is written unless every file
could be read and every label understood: a dataset that silently lacks some documents is another dataset.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TextIO

from gguf_bench.errors import DatasetError, one_line
from gguf_bench.excerpt import gold_kept
from gguf_bench.filing_text import MAX_FILE_BYTES, decoded, filing_text
from gguf_bench.paths import written_whole
from gguf_bench.progress import SILENT, Progress
from gguf_bench.records import FIELDS

SUFFIXES = (".htm", ".html", ".xhtml", ".txt", ".pdf")
"""What is taken from a folder. A file that is named itself may have any."""

UNLABELLED = "?"
"""In a figure's cell: nobody has looked yet."""

_NULLS = ("", "null", "none", "n/a")
_MAX_LABELS_BYTES = 32 << 20
_MAX_ID_CHARACTERS = 200
_SHOWN_NAMES = 5

_FIGURE = re.compile(
    r"(?P<minus>[-−–])?(?P<sign>[$€£¥])?(?P<open>\()?(?(sign)|[$€£¥]?)(?P<late_minus>[-−–])?"
    r"(?P<number>\d{1,3}(?:,\d{3})+\.\d{1,12}|\d{0,12}\.\d{1,12}|\d{1,12})(?(open)\))"
)
_HEADS = {
    "id": ("id", "file", "filename", "document", "documentid", "doc", "name", "path"),
    "company": ("company", "companyname", "issuer", "registrant"),
    "period": ("period", "quarter", "fiscalperiod", "reportedperiod", "fiscalquarter"),
}
_FIGURE_HEAD_WORDS = {
    *("basic", "diluted", "adjusted", "non", "gaap", "nongaap", "ifrs", "eps", "earnings", "loss", "income", "net"),
    *("per", "share", "gold"),
}

_LISTED = re.compile(r"([A-Z][^()\n|]{1,120}?),?\s?\(\s?(?:the\s)?[“\"]?(?:NYSE|NASDAQ|Nasdaq|TSX|AMEX|LSE|OTC)")
_BEFORE_NAME = re.compile(r".*(?:--|[–—:]|/PRNewswire/|\btoday\b,?|\s-\s)\s*", re.DOTALL)
_COMPANY_LINE = re.compile(
    r"[A-Z][\w&.,'’\- ]{1,60}?,?\s(?:Inc|Incorporated|Corp|Corporation|Company|Co|Ltd|Limited|plc|PLC|LLC|N\.V|S\.A|"
    r"Bancorp|Bancshares|Holdings|Group)\.?"
)
_QUARTERS = {"first": 1, "second": 2, "third": 3, "fourth": 4}
_PERIOD = re.compile(
    r"\b(?:(?P<word>first|second|third|fourth)[\s-]quarter|q(?P<digit>[1-4]))"
    r"(?:\s(?:financial\s|operating\s)?results)?(?:\s(?:of|for)(?:\sthe)?)?"
    r"\s(?P<fiscal>fiscal\s(?:year\s)?|fy\s?)?(?P<year>20\d\d)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of an import: `dataset` with `n_documents` labelled ones, or `template`, a labels file to fill in.

    `unlabelled` are the ids of the documents left to label, `notes` what a person should look at.
    """

    dataset: Path | None
    template: Path | None
    n_documents: int
    unlabelled: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Filing:
    id: str
    path: Path
    name: str  # relative to the folder that was given


@dataclass(frozen=True, slots=True)
class _Label:
    """A row of the labels file; None where it has no such column."""

    line: int
    company: str | None
    period: str | None
    has_period: bool
    gold: Mapping[str, str | None]


def import_filings(
    source: Path,
    target: Path,
    *,
    labels: Path | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Imported:
    """Read the filings of a file or folder; write those that `labels` has figures for to `target`, as a dataset.

    Ids are file names without suffix (below a folder: with the path from it). Without labels, a CSV to fill in is
    written beside `target` (x.jsonl: x.labels.csv), company and period guessed where the text says them plainly.
    A user's file is never changed, and `target` replaced only with `overwrite`. Raises DatasetError, and then nothing
    is written.
    """
    filings, notes = _filings(source)
    template = target.with_suffix(".labels.csv")
    _require_writable(target, [*(filing.path for filing in filings), *([labels] if labels else [])], overwrite)
    if labels is None:
        if template.exists():
            raise DatasetError(
                "there already, and not written over", file=template, hint=f"give it by --labels {template}"
            )
        with written_whole(template) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            _write_template(file, _read(filings, progress))
        return Imported(
            dataset=None,
            template=template,
            n_documents=0,
            unlabelled=tuple(filing.id for filing in filings),
            notes=tuple(notes),
        )
    rows, label_notes = _labels(labels, filings)
    unlabelled = tuple(filing.id for filing in filings if filing.id not in rows)
    if len(unlabelled) == len(filings):
        raise DatasetError(
            "none of the documents is labelled in it",
            file=labels,
            hint=f"put figures, or nothing where the release has none, in place of {UNLABELLED!r}",
        )
    notes += label_notes
    with written_whole(target) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for filing, text, sha256 in _read(filings, progress):
            if (label := rows.get(filing.id)) is not None:
                file.write(_line(filing, text, sha256, label, labels) + "\n")
                notes += _doubts(filing, text, label, labels)
    return Imported(
        dataset=target,
        template=None,
        n_documents=len(filings) - len(unlabelled),
        unlabelled=unlabelled,
        notes=tuple(notes),
    )


def guessed_company(text: str) -> str:
    """The company as a release names it: before "(NYSE: ...)", or alone on one of its first lines; "" where unclear."""
    opening = text[:5000]
    if listed := _LISTED.search(opening):
        name = _BEFORE_NAME.sub("", listed[1]).strip(' ,-–—“”"*')
        if (
            name[:1].isupper()
            and len(name) <= 60
            and not re.search(r"[.!?]\s+[a-z]|\b(?:today|announced|reported)\b", name)
        ):
            return name
    for line in opening.split("\n")[:15]:
        if _COMPANY_LINE.fullmatch(line.strip()):
            return line.strip()
    return ""


def guessed_period(text: str) -> str:
    """The quarter that a release names first, as "Q1 2020" or "Q1 FY2020"; "" where its first lines name none."""
    found = _PERIOD.search(text[:1500])
    if found is None:
        return ""
    quarter = found["digit"] or _QUARTERS[found["word"].lower()]
    return f"Q{quarter} {'FY' if found['fiscal'] else ''}{found['year']}"


def _filings(source: Path) -> tuple[list[_Filing], list[str]]:
    """The filings to read, by name, and a note on what a folder holds beside them."""
    if source.is_dir():
        paths, passed_over = _below(source)
        if not paths:
            raise DatasetError("no filing in this folder", file=source, hint=f"taken are {', '.join(SUFFIXES)}")
        notes = [f"passed over, being no files of {', '.join(SUFFIXES)}: {_names(passed_over)}"] if passed_over else []
        filings = [
            _Filing(path.relative_to(source).with_suffix("").as_posix(), path, path.relative_to(source).as_posix())
            for path in paths
        ]
    elif source.is_file():
        filings, notes = [_Filing(source.stem, source, source.name)], []
    else:
        raise DatasetError("neither a file nor a folder" if source.exists() else "no such file or folder", file=source)
    seen: dict[str, _Filing] = {}
    for filing in filings:
        if len(filing.id) > _MAX_ID_CHARACTERS or not filing.id.isprintable():
            raise DatasetError(
                f"the file name {filing.name!r} makes no id; wanted at most {_MAX_ID_CHARACTERS} printable characters",
                hint="rename the file",
            )
        if (first := seen.setdefault(filing.id, filing)) is not filing:
            raise DatasetError(
                f"{first.name} and {filing.name} would both get the id {filing.id!r}; an id must be unique",
                hint="rename one of them, or move it out of the folder",
            )
    return filings, notes


def _below(folder: Path) -> tuple[list[Path], list[str]]:
    """The filings below a folder, by name, and the names of other files. Links to folders are not followed."""

    def refuse(error: OSError) -> None:
        raise DatasetError(f"cannot be read: {error.strerror or error}", file=Path(str(error.filename))) from error

    paths: list[Path] = []
    passed_over: list[str] = []
    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() in SUFFIXES and path.is_file():
                paths.append(path)
            else:
                passed_over.append(name)
    return paths, passed_over


def _require_writable(target: Path, sources: Sequence[Path], overwrite: bool) -> None:
    if target.is_dir():
        raise DatasetError("a folder; wanted a file to write", file=target, hint="such as -o filings.jsonl")
    if not target.exists():
        return
    if any(target.samefile(source) for source in sources if source.exists()):
        raise DatasetError("one of the files to read; it is not written over", file=target)
    if not overwrite:
        raise DatasetError("there already", file=target, hint="give another name, or --overwrite")


def _read(filings: Sequence[_Filing], progress: Progress) -> Iterator[tuple[_Filing, str, str]]:
    """Each filing with its text and the sha256 of its file.

    Raises DatasetError at the end where any could not be read, so that all of them are named at once.
    """
    failed: list[tuple[_Filing, str]] = []
    bar = progress.bar("reading", len(filings), "files")
    try:
        for filing in filings:
            try:
                with filing.path.open("rb") as file:
                    data = file.read(MAX_FILE_BYTES + 1)
                text = filing_text(data)
            except DatasetError as error:
                failed.append((filing, str(error)))
            except OSError as error:
                failed.append((filing, f"cannot be read: {error.strerror or error}"))
            else:
                yield filing, text, hashlib.sha256(data).hexdigest()
            bar.advance(1)
    finally:
        bar.close()
    if len(failed) == 1:
        raise DatasetError(failed[0][1], file=failed[0][0].path)
    if failed:
        for filing, why in failed:
            progress.say(f"{filing.path}: {why}")
        raise DatasetError(
            f"{len(failed)} of {len(filings)} files could not be read: {_names([filing.name for filing, _ in failed])}",
            hint="mend them or move them away; nothing was written",
        )


def _write_template(file: TextIO, read: Iterator[tuple[_Filing, str, str]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["file", "company", "period", *FIELDS])
    for filing, text, _ in read:
        writer.writerow([filing.name, guessed_company(text), guessed_period(text), *[UNLABELLED] * len(FIELDS)])


def _line(filing: _Filing, text: str, sha256: str, label: _Label, labels: Path) -> str:
    company = guessed_company(text) if label.company is None else label.company
    if not company:
        raise DatasetError(
            f"no company for {filing.name!r}", file=labels, line=label.line, hint="write it in the column 'company'"
        )
    record: dict[str, object] = {
        "id": filing.id,
        "company": company,
        "period": label.period if label.has_period else guessed_period(text) or None,
        "text": text,
        "gold": dict(label.gold),
        "traps": {},
        "tags": [],
        "source": {"file": filing.name, "sha256": sha256},
    }
    return json.dumps(record, ensure_ascii=False)


def _doubts(filing: _Filing, text: str, label: _Label, labels: Path) -> list[str]:
    """Figures of the label that the text does not print: a slip of the pen, or a file that was not read well."""
    gold = {name: None if figure is None else Decimal(figure) for name, figure in label.gold.items()}
    return [
        f"{labels}:{label.line}: {name} {gold[name]} does not stand in the text of {filing.name}; look at both"
        for name, stands in gold_kept(text, gold).items()
        if stands is False
    ]


def _labels(file: Path, filings: Sequence[_Filing]) -> tuple[dict[str, _Label], list[str]]:
    """The labels by id of their document, without rows still to be filled in, and notes on what was passed over."""
    rows = _csv_rows(file)
    head_line, head = next(rows, (1, []))
    columns, notes = _columns(head, file, head_line)
    ids = _ids_by_name(filings)
    found: dict[str, _Label] = {}
    lines: dict[str, int] = {}
    for line, row in rows:
        if len(row) != len(head):
            raise DatasetError(f"{len(row)} cells, but the head names {len(head)} columns", file=file, line=line)
        cells = {name: row[index].strip() for name, index in columns.items()}
        matches = ids.get(cells["id"].replace("\\", "/"), [])
        if not matches:
            notes.append(f"{file}:{line}: no document {one_line(cells['id'], 60)!r} among those given; passed over")
            continue
        if len(matches) > 1:
            raise DatasetError(
                f"column {head[columns['id']]!r}: {cells['id']!r} may be {' or '.join(matches[:3])}",
                file=file,
                line=line,
            )
        (document,) = matches
        if (first := lines.setdefault(document, line)) != line:
            raise DatasetError(f"{document!r} is already labelled in line {first}", file=file, line=line)
        if UNLABELLED in (cells[name] for name in FIELDS):
            continue
        gold = {name: _figure(cells[name], file, line, head[columns[name]]) for name in FIELDS}
        company = cells.get("company")
        if company == "":
            raise DatasetError(f"column {head[columns['company']]!r} is empty; wanted a name", file=file, line=line)
        period = cells.get("period", "")
        found[document] = _Label(line, company, None if period.lower() in _NULLS else period, "period" in columns, gold)
    return found, notes


def _csv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file that are not empty, each with its line. Comma, semicolon or tab part the cells."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_LABELS_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror or error}", file=file) from error
    if len(data) > _MAX_LABELS_BYTES:
        raise DatasetError(f"more than {_MAX_LABELS_BYTES >> 20} MiB; wanted a CSV file of labels", file=file)
    try:
        text = decoded(data)
    except DatasetError:
        raise DatasetError("not a text; wanted a CSV file (of a spreadsheet: save it as CSV)", file=file) from None
    first_line = text.lstrip("\n").partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=first_line.count), strict=True)
    line = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(f"not CSV: {error}", file=file, line=line) from None


def _columns(head: Sequence[str], file: Path, line: int) -> tuple[dict[str, int], list[str]]:
    """Which column holds what, by the names people give them ("File", "Diluted EPS", "non-GAAP")."""
    columns: dict[str, int] = {}
    unknown: list[str] = []
    for index, title in enumerate(head):
        name = _meaning(title)
        if name is None:
            unknown.append(title)
        elif name in columns:
            raise DatasetError(f"columns {head[columns[name]]!r} and {title!r} both say {name}", file=file, line=line)
        else:
            columns[name] = index
    if missing := [name for name in ("id", *FIELDS) if name not in columns]:
        raise DatasetError(
            f"no column {missing[0]!r} among {', '.join(map(repr, head)) or 'none'}",
            file=file,
            line=line,
            hint=f"wanted: id or file, company, period, {', '.join(FIELDS)}",
        )
    return columns, [f"{file}: columns passed over: {_names(unknown)}"] if unknown else []


def _meaning(title: str) -> str | None:
    letters = re.sub(r"[^a-z]", "", title.lower())
    for name, spellings in _HEADS.items():
        if letters in spellings:
            return name
    words = set(re.findall(r"[a-z]+", title.lower()))
    if not words or not words <= _FIGURE_HEAD_WORDS:
        return None
    kinds = words & {"basic", "diluted"}
    if words & {"adjusted", "non", "nongaap"}:
        return "adjusted" if kinds <= {"diluted"} else None
    return kinds.pop() if len(kinds) == 1 else None


def _ids_by_name(filings: Sequence[_Filing]) -> dict[str, list[str]]:
    """What a row may call a document: its id, its file, or the file's name alone, with or without suffix."""
    exact: dict[str, list[str]] = {}
    loose: dict[str, list[str]] = {}
    for filing in filings:
        for name in {filing.id, filing.name}:
            exact.setdefault(name, []).append(filing.id)
        for name in {filing.path.name, filing.path.stem}:
            loose.setdefault(name, []).append(filing.id)
    return {**loose, **exact}


def _figure(cell: str, file: Path, line: int, column: str) -> str | None:
    """The figure of a cell with its printed decimals ("-0.60"), None for null."""
    if cell.lower() in _NULLS:
        return None
    found = _FIGURE.fullmatch(cell.replace(" ", ""))
    signs = [found["minus"], found["open"], found["late_minus"]] if found else []
    if found is None or len([sign for sign in signs if sign]) > 1:
        raise DatasetError(
            f"column {column!r}: found {one_line(cell, 60)!r}",
            file=file,
            line=line,
            hint=f"wanted a figure such as -0.42 or (0.42), nothing where there is none, or {UNLABELLED}",
        )
    number = found["number"].replace(",", "")
    return f"{'-' if any(signs) else ''}{'0' if number.startswith('.') else ''}{number}"


def _names(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return one_line(", ".join(names[:_SHOWN_NAMES])) + (f" and {more} more" if more > 0 else "")
