"""The text of a filing: HTML, plain text or PDF, as bytes, to text with a paragraph or a table row a line."""

from __future__ import annotations

import re

from gguf_bench.errors import DatasetError
from gguf_bench.filing_text.characters import decoded, mended
from gguf_bench.filing_text.html import html_text
from gguf_bench.filing_text.plain import plain_text

__all__ = ["MAX_FILE_BYTES", "MAX_TEXT_CHARACTERS", "decoded", "filing_text", "html_text", "plain_text"]

MAX_FILE_BYTES = 32 << 20
MAX_TEXT_CHARACTERS = 4_000_000

_SNIFFED_CHARACTERS = 1 << 16
_TAGS = re.compile(
    r"<(?:!doctype\s+html|html|head|body|div|p|br|hr|tr|td|li|ul|b|i|u|a|font|span|center|sup|h[1-6]|ix:\w+)[\s>/]",
    re.IGNORECASE,
)

# EDGAR's wrapper: <DOCUMENT><TYPE>EX-99.1 ... <TEXT> ... </TEXT></DOCUMENT>, once a document of the submission.
_DOCUMENT = re.compile(r"<DOCUMENT>", re.IGNORECASE)
_TYPE = re.compile(r"<TYPE>\s*([^\s<]{1,40})", re.IGNORECASE)
_HEADER_LINE = re.compile(r"\s*<(?:TYPE|SEQUENCE|FILENAME|DESCRIPTION)>[^\n<]*(?:</\w+>)?", re.IGNORECASE)
_TEXT_END = re.compile(r"</TEXT>|</DOCUMENT>", re.IGNORECASE)
_TEXT_START = re.compile(r"\s*<TEXT>", re.IGNORECASE)
_LAYOUT_TAG = re.compile(r"</?(?:TABLE|CAPTION|S|C|PAGE|FN|F\d+|TEXT|DOCUMENT|PDF|HTML|BODY)>", re.IGNORECASE)


def filing_text(data: bytes) -> str:
    """The text of a press release given as HTML, plain text or PDF (what it is, its content says).

    Of a whole EDGAR submission it is the exhibit 99 (99.1 before others), else the first document. Table rows read
    "Basic | $(0.57) | $0.12". Raises DatasetError where there is no text to be had: binary content, a scanned or
    encrypted PDF, an empty or too long text; `line` is never set.
    """
    if len(data) > MAX_FILE_BYTES:
        raise DatasetError(f"{len(data) >> 20} MiB; a filing is taken up to {MAX_FILE_BYTES >> 20} MiB")
    if b"%PDF-" in data[:1024]:
        from gguf_bench.filing_text.pdf import pdf_text

        text = pdf_text(data)
    else:
        page = _exhibit(decoded(data))
        text = html_text(page) if _TAGS.search(page[:_SNIFFED_CHARACTERS]) else plain_text(_LAYOUT_TAG.sub("", page))
    text = mended(text)
    if not text.strip():
        raise DatasetError("no text in it")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise DatasetError(f"a text of {len(text):,} characters; one of up to {MAX_TEXT_CHARACTERS:,} is taken")
    return text


def _exhibit(text: str) -> str:
    """The document of an EDGAR submission that is the release, without the wrapper; any other text as it is."""
    starts = [match.end() for match in _DOCUMENT.finditer(text)]
    if not starts:
        return _unwrapped(text) if _HEADER_LINE.match(text) else text
    ends = [*(start for start in starts[1:]), len(text)]
    best = min(range(len(starts)), key=lambda i: (_rank(text, starts[i]), i))
    return _unwrapped(text[starts[best] : ends[best]])


def _rank(text: str, start: int) -> int:
    found = _TYPE.search(text, start, start + 200)
    kind = found[1].upper() if found else ""
    return 0 if kind == "EX-99.1" else 1 if kind.startswith("EX-99") else 2


def _unwrapped(text: str) -> str:
    start = 0
    while line := _HEADER_LINE.match(text, start):
        start = line.end()
    if opened := _TEXT_START.match(text, start):
        start = opened.end()
    ends = list(_TEXT_END.finditer(text, start))
    return text[start : ends[0].start()] if ends else text[start:]
