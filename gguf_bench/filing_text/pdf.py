"""PDF to text by PDFium, one line of the page a line, in a process of its own.

PDFium tells each character's box; characters at one height make a line, and a gap much wider than a space parts cells.
(On four releases it took 0.1 to 0.4 s, where pypdf's and pdfplumber's layouts took 6 to 19 s and kept the same rows.)
The process has little memory and time, for a PDF is a program from a stranger, and PDFium is written in C++.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from gguf_bench.errors import DatasetError, one_line
from gguf_bench.filing_text.plain import plain_text

MAX_PAGES = 300
MAX_CHARACTERS = 4_000_000
MAX_MEMORY_BYTES = 2 << 30
MAX_CPU_SECONDS = 60
_FAILED = 3

_SPACE_GAP = 0.15
"""Between two words, in heights of a character."""
_CELL_GAP = 1.0
"""Between two cells."""
_CURRENCY = "$€£¥"
_END_OF_FIGURE = "0123456789)%—–-"


@dataclass(frozen=True, slots=True)
class Character:
    """A character and its box on the page, in points; `bottom` < `top`."""

    text: str
    left: float
    bottom: float
    right: float
    top: float


def pdf_text(data: bytes) -> str:
    """The text of a PDF, one table row a line.

    Raises DatasetError where the extra `pdf` is not installed, and for a PDF that cannot be read or holds no text.
    """
    if importlib.util.find_spec("pypdfium2") is None:
        raise DatasetError("a PDF needs pypdfium2", hint="pip install 'gguf-bench[pdf]'")
    package_root = str(Path(__file__).resolve().parent.parent.parent)
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), package_root]))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "gguf_bench.filing_text.pdf"],
        input=data,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode == _FAILED:
        raise DatasetError(one_line(done.stderr.decode("utf-8", "replace")))
    if done.returncode:
        raise DatasetError("a PDF that cannot be read: it takes too much time or memory, or breaks the reader")
    text = plain_text(done.stdout.decode("utf-8", "replace"))
    if not text:
        raise DatasetError("no text in it; a scanned PDF holds pictures of text, which are not read")
    return text


def page_lines(characters: Iterable[Character]) -> list[str]:
    """The lines of a page, top to bottom: words parted by one space, cells by three."""
    rows: list[list[Character]] = []
    middle = height = 0.0
    for character in sorted(characters, key=lambda c: -(c.top + c.bottom)):
        own_middle = (character.top + character.bottom) / 2
        own_height = character.top - character.bottom
        if rows and middle - own_middle < 0.4 * max(height, own_height):
            rows[-1].append(character)
        else:
            rows.append([character])
            middle, height = own_middle, own_height
    return [_line(sorted(row, key=lambda c: c.left)) for row in rows]


def _line(row: list[Character]) -> str:
    parts = [row[0].text]
    for before, character in pairwise(row):
        gap = (character.left - before.right) / max(character.top - character.bottom, 1.0)
        new_figure = character.text in _CURRENCY and before.text in _END_OF_FIGURE and gap > _SPACE_GAP
        parts.append("   " if gap > _CELL_GAP or new_figure else " " if gap > _SPACE_GAP else "")
        parts.append(character.text)
    return "".join(parts)


def main() -> int:
    """The process of `pdf_text`: a PDF on standard input, lines on standard output."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS + 1))
    from pypdfium2 import PdfDocument, PdfiumError

    left = MAX_CHARACTERS
    try:
        document = PdfDocument(sys.stdin.buffer.read())
        if len(document) > MAX_PAGES:
            sys.stderr.write(f"a PDF of {len(document)} pages; a release of up to {MAX_PAGES} is taken")
            return _FAILED
        for number in range(len(document)):
            characters = _characters(document[number].get_textpage(), left)
            left -= len(characters)
            sys.stdout.buffer.write("\n".join([*page_lines(characters), "", ""]).encode("utf-8", "replace"))
    except PdfiumError as error:
        sys.stderr.write(f"a PDF that cannot be read: {error}")
        return _FAILED
    return 0


def _characters(page: object, most: int) -> list[Character]:
    """What is printed on a page, without spaces: gaps tell where they are; PDFs leave some out."""
    from ctypes import byref, c_double

    from pypdfium2 import raw

    found: list[Character] = []
    left, right, bottom, top = (c_double() for _ in range(4))
    for index in range(min(raw.FPDFText_CountChars(page), most)):
        text = chr(min(raw.FPDFText_GetUnicode(page, index), 0x10FFFF))
        if text.isspace() or not text.isprintable():
            continue
        loose = raw.FS_RECTF()
        if raw.FPDFText_GetLooseCharBox(page, index, byref(loose)):
            found.append(Character(text, loose.left, loose.bottom, loose.right, loose.top))
        elif raw.FPDFText_GetCharBox(page, index, byref(left), byref(right), byref(bottom), byref(top)):
            found.append(Character(text, left.value, bottom.value, right.value, top.value))
    return found


if __name__ == "__main__":
    sys.exit(main())
