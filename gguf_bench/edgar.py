"""Earnings releases from the SEC's EDGAR, and what XBRL says of them. The only module that imports edgartools.

A release is Exhibit 99.1 of an 8-K with Item 2.02, "results of operations". edgartools finds companies and filings,
reads submissions and facts, keeps the SEC's limit on requests, and caches what it fetched, so that a run that was cut
short goes on where it was. The SEC wants to know who asks: no request is sent without an identity.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import json
import logging
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

from gguf_bench import xbrl_gold
from gguf_bench.errors import DatasetError, one_line
from gguf_bench.filing_text import filing_text
from gguf_bench.paths import written_whole
from gguf_bench.progress import SILENT, Progress
from gguf_bench.records import FIELDS
from gguf_bench.xbrl_gold import Fact, Labels, Report

IDENTITY = "EDGAR_IDENTITY"
"""The environment variable that edgartools reads, too: a name and an address for mail."""
RESULTS = "2.02"
UNLABELLED = "?"
"""In a figure's cell: nobody has looked yet."""
_SUFFIXES = (".htm", ".html", ".txt", ".pdf")
_RELEASE = re.compile(r"EX-99(?:\.0?1)?")
_IDENTITY = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,199}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A press release, what is known of it (`labels`), and where it was filed.

    `id` is the accession number, `exhibit` the release as filed, of a kind that `suffix` tells, `text` what it says.
    """

    id: str
    company: str
    cik: int
    filed: date
    url: str
    exhibit: bytes
    suffix: str
    text: str
    labels: Labels


def require() -> None:
    """Raise DatasetError where edgartools is not installed."""
    if importlib.util.find_spec("edgar") is None:
        raise DatasetError("reading EDGAR needs the edgartools package", hint="pip install 'gguf-bench[edgar]'")


def checked_identity(identity: str | None) -> str:
    """`identity` as the SEC wants it: a name and an address for mail, in ASCII. Raises DatasetError for any other."""
    name = (identity or "").strip()
    if not name:
        raise DatasetError(
            "the SEC wants to know who asks, and there is no identity",
            hint=f'set it: export {IDENTITY}="Your Name you@example.com"',
        )
    if not _IDENTITY.fullmatch(name) or not re.search(r"\S@\S", name):
        raise DatasetError(
            f"the identity {one_line(name, 60)!r} is not what the SEC wants",
            hint=f'a name and an address for mail, in ASCII: {IDENTITY}="Your Name you@example.com"',
        )
    return name


def releases(
    tickers: Sequence[str],
    identity: str,
    *,
    since: date | None = None,
    until: date | None = None,
    progress: Progress = SILENT,
) -> Iterator[Release]:
    """The earnings releases that the companies filed from `since` to `until`, oldest first, company by company.

    A ticker may be a CIK, too. Every company is looked up before the first release is read. An 8-K without an
    Exhibit 99.1, or one that holds no text, is told and left out. Raises DatasetError when a company is not known, the
    SEC does not answer, or edgartools is not installed.
    """
    require()
    os.environ[IDENTITY] = checked_identity(identity)
    edgar = _edgartools()
    with _failures():
        logging.getLogger("edgar").setLevel(logging.CRITICAL)  # what matters is raised; the rest is about itself
        companies = {}
        for ticker in tickers:
            company = edgar.Company(ticker)
            if company.not_found:
                raise _unknown(ticker)
            companies[company.cik] = company
    for company in companies.values():
        yield from _releases_of(company, since, until, progress)


def _releases_of(company: Any, since: date | None, until: date | None, progress: Progress) -> Iterator[Release]:
    with _failures():
        filings = list(company.get_filings(form=["8-K", *xbrl_gold.FORMS], amendments=False))
        reports = [
            Report(form=filing.form, filed=_day(filing.filing_date), period_end=_day(filing.report_date))
            for filing in filings
            if filing.form != "8-K" and filing.report_date
        ]
        announced = [
            filing
            for filing in filings
            if filing.form == "8-K"
            and RESULTS in str(filing.items).split(",")
            and (since is None or since <= _day(filing.filing_date))
            and (until is None or _day(filing.filing_date) <= until)
        ]
        facts = _facts(company) if announced else []
    bar = progress.bar(one_line(company.name, 40), len(announced), "releases")
    try:
        for filing in sorted(announced, key=lambda filing: (_day(filing.filing_date), filing.accession_no)):
            filed = _day(filing.filing_date)
            with _failures():
                exhibit, suffix = _exhibit(filing)
            try:
                text = filing_text(exhibit)
            except DatasetError as error:
                why = f"its Exhibit 99.1 cannot be read: {error}" if exhibit else "it has no Exhibit 99.1"
                progress.say(f"{company.name}: the 8-K {filing.accession_no} of {filed} is left out: {why}")
            else:
                yield Release(
                    id=filing.accession_no,
                    company=company.name,
                    cik=company.cik,
                    filed=filed,
                    url=filing.homepage_url,
                    exhibit=exhibit,
                    suffix=suffix,
                    text=text,
                    labels=xbrl_gold.label(text, filed, reports, facts),
                )
            bar.advance(1)
    finally:
        bar.close()


def _facts(company: Any) -> list[Fact]:
    """The company's figures per share, of no class of shares and no other part of it, as the SEC's API has them."""
    found = company.get_facts()
    return [
        Fact(
            concept=fact.concept,
            unit=fact.unit,
            start=fact.period_start,
            end=fact.period_end,
            value=Decimal(str(fact.value)),
            form=fact.form_type,
            accession=fact.accession,
            filed=fact.filing_date,
        )
        for fact in ([] if found is None else found.get_all_facts())
        if fact.concept in xbrl_gold.ALL_CONCEPTS
        and not fact.is_dimensioned
        and None not in (fact.period_start, fact.period_end, fact.filing_date, fact.numeric_value)
    ]


def _exhibit(filing: Any) -> tuple[bytes, str]:
    """The first Exhibit 99.1 and its suffix, such as ".htm"; b"" where there is none."""
    for attachment in filing.attachments:
        if _RELEASE.fullmatch(str(attachment.document_type).upper()):
            content = attachment.content or ""
            suffix = Path(str(attachment.document)).suffix.lower()
            data = content.encode("utf-8", "replace") if isinstance(content, str) else content
            return data, suffix if suffix in _SUFFIXES else ".txt"
    return b"", ""


def _day(value: date | str) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)


def _edgartools() -> Any:
    """The module `edgar`, on httpx.

    Its cache takes httpx2 where that is installed, as it is here; edgartools knows the errors of httpx alone, and
    would neither try again nor understand a 404.
    """
    beside = sys.modules.get("httpx2")
    sys.modules["httpx2"] = None  # type: ignore[assignment]  # "not installed", while the cache looks for it
    try:
        importlib.import_module("httpxthrottlecache")
    finally:
        del sys.modules["httpx2"]
        if beside is not None:
            sys.modules["httpx2"] = beside
    import edgar

    return edgar


def _unknown(ticker: str) -> DatasetError:
    return DatasetError(f"EDGAR knows no company {one_line(ticker, 40)!r}", hint="give a ticker, or a CIK like 320193")


@contextmanager
def _failures() -> Iterator[None]:
    """What edgartools and its HTTP client raise, as ours in one line."""
    import httpx
    from edgar.exceptions import CompanyNotFoundError, EdgarError, IdentityError, TooManyRequestsError, http_status

    again = "run it again: what was fetched is kept"
    try:
        yield
    except CompanyNotFoundError as error:
        raise _unknown(str(error.identifier)) from error
    except TooManyRequestsError as error:
        raise DatasetError(
            "the SEC says that too many requests came from this address", hint="wait ten minutes, then run it again"
        ) from error
    except (EdgarError, httpx.HTTPError) as error:
        status = http_status(error)
        if status == 403 or isinstance(error, IdentityError):
            raise DatasetError(
                "the SEC refused the request (HTTP 403)", hint=f"it does so where ${IDENTITY} names nobody it can reach"
            ) from error
        said = f"HTTP {status}" if status else one_line(str(error), 200) or type(error).__name__
        raise DatasetError(f"the SEC's EDGAR did not answer: {said}", hint=again) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"what EDGAR answered cannot be read: {one_line(str(error), 200)}", hint=again) from error


def left_to_label(target: Path) -> tuple[Path, Path]:
    """Where releases go that are left to label: filings.jsonl -> filings-to-label, filings-to-label.labels.csv."""
    folder = target.with_name(f"{target.stem}-to-label")
    return folder, folder.with_name(f"{folder.name}.labels.csv")


def refuse_existing(target: Path) -> None:
    """Raise DatasetError where `write` would write over something."""
    for path in (target, *left_to_label(target)):
        if path.exists():
            raise DatasetError("is there already, and nothing is written over", file=path, hint="give another -o FILE")


def write(found: Sequence[Release], target: Path) -> None:
    """Write the labelled releases to `target`, a dataset, and the others to where `left_to_label` says.

    That is a folder with the releases as filed, and a CSV file with what is known filled in and "?" elsewhere: what
    `dataset import` reads. What there is nothing for is not written; each comes to be whole. Raises DatasetError
    where one exists.
    """
    refuse_existing(target)
    labelled = [release for release in found if not release.labels.unknown]
    others = [release for release in found if release.labels.unknown]
    if others:
        texts, table = left_to_label(target)
        with _folder_written_whole(texts) as folder:
            for release in others:
                (folder / _file_name(release)).write_bytes(release.exhibit)
        with written_whole(table) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            _write_table(others, file)
    if labelled:
        with written_whole(target) as partial, partial.open("w", encoding="utf-8") as file:
            for release in labelled:
                file.write(json.dumps(_document(release), ensure_ascii=False) + "\n")


def _document(release: Release) -> dict[str, Any]:
    labels = release.labels
    gold = {name: labels.gold[name] for name in FIELDS}
    return {
        "id": release.id,
        "company": release.company,
        "period": labels.period or None,
        "text": release.text,
        "gold": {name: None if figure is None else f"{figure:f}" for name, figure in gold.items()},
        "traps": {name: f"{figure:f}" for name, figure in labels.traps.items()},
        "tags": ["edgar"],
        "source": _source(release),
    }


def summary(release: Release) -> dict[str, Any]:
    """A release without its text, in words that JSON has."""
    labels = release.labels
    return {
        "id": release.id,
        "company": release.company,
        "period": labels.period or None,
        "gold": {name: None if figure is None else f"{figure:f}" for name, figure in labels.gold.items()},
        "unknown": dict(labels.unknown),
        "source": _source(release),
    }


def _source(release: Release) -> dict[str, Any]:
    fact = release.labels.fact
    return {
        "form": "8-K",
        "cik": release.cik,
        "accession": release.id,
        "filed": release.filed.isoformat(),
        "url": release.url,
        "figures_from": fact and {"form": fact.form, "accession": fact.accession, "filed": fact.filed.isoformat()},
        "notes": list(release.labels.notes),
    }


def _write_table(others: Sequence[Release], file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["file", "company", "period", *FIELDS, "why"])
    for release in others:
        labels = release.labels
        figures = [UNLABELLED if name in labels.unknown else _in_cell(labels.gold[name]) for name in FIELDS]
        why = "; ".join(f"{name}: {reason}" for name, reason in labels.unknown.items())
        writer.writerow([_file_name(release), release.company, labels.period, *figures, why])


def _file_name(release: Release) -> str:
    return f"{release.id}{release.suffix}"


def _in_cell(figure: Decimal | None) -> str:
    return "null" if figure is None else f"{figure:f}"


@contextmanager
def _folder_written_whole(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target` to fill; it gets its name when the block ends, or is removed."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
