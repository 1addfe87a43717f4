"""Bytes to characters, and the characters that filings get wrong."""

from __future__ import annotations

import re

from gguf_bench.errors import DatasetError

_SNIFFED_BYTES = 1 << 16
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_DECLARED = re.compile(
    rb"""<(?:\?xml[^>]{0,80}\sencoding|meta[^>]{0,120}\bcharset)\s{0,9}=\s{0,9}["']?([\w.:-]{1,40})""", re.IGNORECASE
)
# Archives, pictures and Office files, which may hold few NUL bytes.
_NO_TEXT = (
    b"PK\x03\x04",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"\xd0\xcf\x11\xe0",
    b"{\\rtf",
)
# UTF-8 of two and three bytes, read as windows-1252: "Â®", "â€™".
_CONTINUATION = bytes(range(0x80, 0xC0)).decode("windows-1252", "ignore")
_MOJIBAKE = re.compile(f"[ÂÃ][{_CONTINUATION}]|â[{_CONTINUATION}]{{2}}")


def _characters() -> dict[int, str]:
    """What to put for single characters.

    U+0080-U+009F stand for windows-1252 wherever a page holds them, most often written "&#146;". What has no width
    goes; other control characters become spaces; the bullets of the Symbol and Wingdings fonts become bullets.
    """
    table = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127, 0x2028, 0x2029, 0xFFFE, 0xFFFF), " ")
    table.update(
        {code: bytes([code]).decode("windows-1252", "replace").replace("\ufffd", " ") for code in range(0x80, 0xA0)}
    )
    table.update(dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"), ""))
    table.update(dict.fromkeys((0xF0B7, 0xF0A7, 0xF076, 0xF0D8), "•"))
    return table


CHARACTERS = _characters()
"""For `str.translate`."""


def decoded(data: bytes) -> str:
    """Bytes as text: by a byte order mark, as UTF-8 where they are, by the declared charset, else as windows-1252.

    UTF-8 comes before what a page declares, since pages are saved anew and keep their <meta>, and hardly any other
    text is valid UTF-8 by chance. Lines end with "\\n". Raises DatasetError for what is no text.
    """
    text = _decoded(data)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.translate(CHARACTERS)


def mended(text: str) -> str:
    """The text with UTF-8 that somebody read as windows-1252 put right: "itâ€™s" is "it’s"."""
    return _MOJIBAKE.sub(_reread, text)


def _reread(found: re.Match[str]) -> str:
    try:
        return found[0].encode("windows-1252").decode("utf-8").translate(CHARACTERS)
    except UnicodeError:
        return found[0]


def _decoded(data: bytes) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    if data.count(b"\0", 0, _SNIFFED_BYTES) > 16 or data.startswith(_NO_TEXT):
        raise DatasetError("not a text; wanted HTML, plain text or PDF")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if declared := _DECLARED.search(data, 0, 4096):
        try:
            return data.decode(declared[1].decode("ascii", "replace"))
        except (LookupError, ValueError):  # no such charset, or not of it
            pass
    return data.decode("latin-1")  # CHARACTERS makes windows-1252 of it
