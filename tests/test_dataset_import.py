"""A user's own filings: read into rows in which label and figures stand together, joined to labels, written whole."""

import json
import os
import re
import stat
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from gguf_bench import dataset
from gguf_bench.dataset_import import Imported, guessed_company, guessed_period, import_filings
from gguf_bench.errors import DatasetError
from gguf_bench.excerpt import DEFAULT_EXCERPT_CHARS, excerpt, gold_kept
from gguf_bench.filing_text import MAX_FILE_BYTES, filing_text, html_text
from gguf_bench.filing_text.html import MAX_DEPTH
from gguf_bench.filing_text.rows import is_figure, joined_row

ROOT = Path(__file__).resolve().parent.parent
DEV_DATA = Path(os.environ.get("GGUF_BENCH_DEV_DATA") or ROOT.parent / "shared" / "data" / "real_eps_dev.jsonl")
RAW = DEV_DATA.parent / "raw"

RELEASE = """\
<html><body><p><b>Quellmark, Inc. Reports First Quarter 2024 Results</b></p>
<p>OSLO, May 2, 2024 -- Quellmark, Inc. (NYSE: QLM) earned $0.57 per basic share.</p>
<table><tr><td></td><td colspan="3">2024</td><td colspan="3">2023</td></tr>
<tr><td>Basic</td><td>$</td><td>0.57</td><td></td><td>$</td><td>(0.12</td><td>)</td></tr>
<tr><td>Diluted</td><td>$</td><td>0.56</td><td></td><td>$</td><td>(0.12</td><td>)</td></tr></table></body></html>
"""


def row(*cells: str) -> str:
    return "<tr>" + "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in cells) + "</tr>"


def table(*rows: str) -> str:
    return f"<table>{''.join(rows)}</table>"


# What filings do, one case each: HTML, and the text that a reader should see.
PAGES = {
    "signs in cells of their own": (
        table(row("Basic", "$", "(0.57", ")", "", "$", "0.12", "")),
        "Basic | $(0.57) | $0.12",
    ),
    "sign and parenthesis in one cell": (table(row("Basic", "$ (", "0.57", ")")), "Basic | $(0.57)"),
    "percent in a cell of its own": (table(row("Growth", "(4.5", ")%", "12", "%")), "Growth | (4.5)% | 12%"),
    "a currency before a dash": (table(row("Charge", "$", "&#8212;", "$", "0.05")), "Charge | $— | $0.05"),
    "a currency with letters": (table(row("EPS", "US$", "0.57")), "EPS | US$0.57"),
    "spaces within a figure": (table(row("EPS", "$ 0.57", "( 0.12 )")), "EPS | $0.57 | (0.12)"),
    "an empty place keeps the column": (
        table(row("Charge", "", "", "$", "0.05"), row("Basic", "$", "0.57", "$", "0.12")),
        "Charge |  | $0.05\nBasic | $0.57 | $0.12",
    ),
    "colspans do not shift columns": (
        table(row("A", "<td colspan=2>1.00", "<td colspan=2>2.00"), row("B", "<td colspan=2>", "$", "4.00")),
        "A | 1.00 | 2.00\nB |  | $4.00",
    ),
    "a rowspan takes its column below": (
        table(row("<td rowspan=2>Per share", "Basic", "1.00", "2.00"), row("Diluted", "", "4.00")),
        "Per share | Basic | 1.00 | 2.00\nDiluted |  | 4.00",
    ),
    "a table within a table": (
        table(row("<td>" + table(row("Basic", "$", "0.57"), row("Diluted", "$", "0.56")))),
        "Basic | $0.57\nDiluted | $0.56",
    ),
    "a figure in a table of its own": (table(row("Basic", table(row("$", "0.57")))), "Basic | $0.57"),
    "a layout table holds paragraphs": (
        table(row("<td><p>First paragraph.</p><p>Second paragraph.</p></td>")),
        "First paragraph.\n\nSecond paragraph.",
    ),
    "a broken head is one line": (
        table(row("", "<td>Three Months<br>Ended", "<td>Nine Months<br>Ended"), row("Basic", "0.57", "1.57")),
        "Three Months Ended | Nine Months Ended\nBasic | 0.57 | 1.57",
    ),
    "figures one above the other": (
        table(row("Per share:<br>Basic<br>Diluted", "<br>$0.57<br>$0.56", "<br>$(0.12)<br>$(0.13)")),
        "Per share:\nBasic | $0.57 | $(0.12)\nDiluted | $0.56 | $(0.13)",
    ),
    "bullets made of cells": (table(row("&#149;", "&nbsp;", "EPS of $0.57")), "• EPS of $0.57"),
    "a list": ("<ul><li>EPS of $0.57<li>Sales rose</ul>", "• EPS of $0.57\n• Sales rose"),
    "line breaks": ("<p>Basic EPS<br>rose</p>", "Basic EPS\nrose"),
    "white space and entities": ("<p>A&amp;B&nbsp;&nbsp;Inc.\n  &lt;x&gt; &#8220;y&#8221;</p>", "A&B Inc. <x> “y”"),
    "windows-1252 by number": ("<p>Company&#146;s loss &#150; $0.57</p>", "Company’s loss – $0.57"),
    "UTF-8 read as windows-1252": ("<p>itâ€™s Â®</p>", "it’s ®"),
    "footnote marks are no digits": (
        table(row("EPS<sup>2</sup>", "$", "0.57<sup>(1)</sup>"), row("FFO <sup>(2)(3)</sup>", "$", "1.20")),
        "EPS[2] | $0.57[1]\nFFO [2,3] | $1.20",
    ),
    "footnote marks by style": (
        '<p>EPS<font style="font-size:6pt;position:relative;top:-3.5pt">1</font> of $0.57</p>',
        "EPS[1] of $0.57",
    ),
    "raised letters that are none": ("<p>the 4<sup>th</sup> quarter</p>", "the 4th quarter"),
    "a sup that is not closed": ("<p>EPS<sup>1<p>Basic<p>Diluted", "EPS[1]\n\nBasic\n\nDiluted"),
    "hidden things": (
        '<div style="color:red; DISPLAY : none">x<br>y<table><tr><td>1</table></div><p hidden>z</p><script>1</script>'
        "<style>p{}</style><p>shown</p>",
        "shown",
    ),
    "inline XBRL": (
        '<div style="display:none"><ix:header><ix:hidden><ix:n>2024</ix:n></ix:hidden></ix:header></div>'
        + table(row("Basic", "$", '(<ix:nonFraction name="x" sign="-">0.57</ix:nonFraction>', ")")),
        "Basic | $(0.57)",
    ),
    "a hidden header outside of a hidden div": ("<ix:header><p>2024</p></ix:header><p>shown</p>", "shown"),
    "comments": ("<p>a<!-- <table> $0.99 -->b</p>", "ab"),
    "cells nobody closed": (
        "<table><tr><td>Basic<td>$<td>0.57<tr><td>Diluted<td>$<td>0.56</table>",
        "Basic | $0.57\nDiluted | $0.56",
    ),
    "a table nobody closed": ("<p>x</p><table><tr><td>Basic<td>0.57", "x\n\nBasic | 0.57"),
    "cells outside of a table": ("<body><td>Basic<td>0.57</body>", "Basic 0.57"),
    "preformatted": ("<pre>\nBasic ........   $ (0.57)    $  0.12\n  ------\n</pre>", "Basic | $(0.57) | $0.12"),
    "a caption": ("<table><caption>Per share</caption><tr><td>Basic<td>0.57</table>", "Per share\n\nBasic | 0.57"),
    "zero-width characters": (table(row("Basic", "$&#8203;", "&#8203;0.57")), "Basic | $0.57"),
    "a colspan beyond all bounds": (
        table(row("<td colspan=1000000000>Basic", "<td rowspan=99999999999>0.57")),
        "Basic | 0.57",
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_reads_as_it_looks(name):
    page, text = PAGES[name]
    assert html_text(page) == text if "UTF-8" not in name else filing_text(page.encode()) == text


PLAIN = {
    "leaders": ("Basic ........ $ (0.57)   $ 0.12", "Basic | $(0.57) | $0.12"),
    "tabs": ("Basic\t0.57\t0.12", "Basic | 0.57 | 0.12"),
    "rulers": ("Basic      0.57\n           ====", "Basic | 0.57"),
    "heads of columns": (
        "            March 31,     December 31,\n  2024  2023",
        "March 31, | December 31,\n2024 | 2023",
    ),
    "prose with two spaces": ("It rose.  Basic EPS was  $0.57.", "It rose. Basic EPS was $0.57."),
    "the tags of old filings": ("<TABLE>\n<CAPTION>\n<S>  <C>\nBasic    $ 0.57\n</TABLE>", "Basic | $0.57"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_text_gets_its_rows(name):
    text, expected = PLAIN[name]
    assert filing_text(text.encode()) == expected
    assert filing_text(text.replace("\n", "\r\n").encode()) == expected


@pytest.mark.parametrize(
    "text", ["0.57", "$0.57", "(0.57)", "$(0.57", "−0.57", "12%", "(4)%", "1,234", "—", "$—", "N/A", ".57"]
)
def test_figures(text):
    assert is_figure(text)


@pytest.mark.parametrize("text", ["", "Basic", "Q1", "March 31, 2024", "$", ")", "0.57 per share", "1" * 100])
def test_no_figures(text):
    assert not is_figure(text)


def test_a_parenthesis_that_was_not_opened_ends_no_figure():
    assert joined_row(["Basic", "0.57", ")"]) == "Basic | 0.57 | )"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1252", "utf-16"])
def test_bytes_in_any_encoding(encoding):
    page = "<html><p>Company’s loss – €0.57</p></html>"
    assert filing_text(page.encode(encoding)) == "Company’s loss – €0.57"


def test_a_declared_charset_counts_where_it_is_not_utf_8():
    page = '<meta http-equiv="Content-Type" content="text/html; charset=koi8-r"><p>Прибыль 0.57</p>'
    assert filing_text(page.encode("koi8-r")) == "Прибыль 0.57"
    assert filing_text(page.encode("utf-8")) == "Прибыль 0.57"
    assert filing_text(b'<meta charset="nonsense"><p>a \x96 b</p>') == "a – b"


def test_of_an_edgar_submission_the_release_is_taken():
    def document(kind: str, text: str) -> str:
        return f"<DOCUMENT>\n<TYPE>{kind}\n<SEQUENCE>1\n<FILENAME>x.htm\n<TEXT>\n{text}\n</TEXT>\n</DOCUMENT>\n"

    release = document("EX-99.1", RELEASE)
    others = document("8-K", "<p>cover</p>"), document("EX-99.2", "<p>slides</p>"), document("GRAPHIC", "begin 644 x")
    wanted = html_text(RELEASE)
    assert filing_text(f"<SEC-HEADER>x</SEC-HEADER>{others[0]}{others[1]}{release}{others[2]}".encode()) == wanted
    assert filing_text(release.encode()) == wanted
    assert filing_text(f"{others[0]}{others[2]}".encode()) == "cover"
    assert filing_text(f"<TYPE>EX-99.1\n<SEQUENCE>2\n<TEXT>\n{RELEASE}".encode()) == wanted


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no text in it"),
        (b"<html><body></body></html>", "no text in it"),
        (b"\0\1\2" * 100, "not a text"),
        (b"PK\x03\x04rest", "not a text"),
        (b"%PDF-1.7 nothing", "PDF that cannot be read"),
        (b"x" * (MAX_FILE_BYTES + 1), "32 MiB"),
        (b"<p>" + b"a b " * 1_100_000, "4,000,000"),
        (b"<div>" * (MAX_DEPTH + 1) + b"</span>" * 10_000, "nested more than"),
    ],
)
def test_what_cannot_be_read_says_why(data, words):
    with pytest.raises(DatasetError, match=words):
        filing_text(data)


@pytest.mark.parametrize(
    "data",
    [
        b"<p>a\0b</p>",
        b"<p>\xff\xfe\x80 b</p>",
        b"<" * 5000 + b"<p>x",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><p>&a;&#0;&#99999999;x",
    ],
)
def test_junk_does_no_harm(data):
    assert re.fullmatch(r"[^\x00-\x09\x0b-\x1f\x7f-\x9f]+", filing_text(data))


def test_nothing_outside_is_fetched(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret words")
    page = f'<!DOCTYPE p [<!ENTITY x SYSTEM "file://{secret}">]><p>&x; <img src="http://127.0.0.1:1/"> y</p>'
    assert "secret words" not in filing_text(page.encode())


LARGE = {
    "rows": lambda n: "<table>" + "<tr><td>Basic<td>$<td>(0.57<td>)" * (n // 4),
    "cells in one row": lambda n: "<table><tr>" + "<td>1.00" * n,
    "colspans": lambda n: "<table>" + "<tr><td colspan=1000000000>a<td colspan=9999>1.00" * (n // 2),
    "rowspans": lambda n: "<table><tr>" + "<td rowspan=65000>a" * (n // 2) + "<tr><td>1.00" * (n // 2),
    "footnotes": lambda n: "<table><tr><td>1.00" + "<td><sup>1</sup>" * n,
    "nested tables": lambda n: "<table><tr><td>" * 300 + "1.00<br>" * n,
    "end tags that close nothing": lambda n: "<div>" * 900 + "</span>" * n + "x",
    "paragraphs": lambda n: "<p>" + "<font color=red>x</font>" * n,
    "plain rows": lambda n: "Basic .....   $ (0.57)   $ 0.12\n" * n,
    "mojibake": lambda n: "<p>" + "itâ€™s Ã " * n,
}


@pytest.mark.parametrize("name", LARGE)
def test_time_is_linear_in_the_page(name):
    def seconds(n: int) -> float:
        data = LARGE[name](n).encode()
        start = time.process_time()
        filing_text(data)
        return time.process_time() - start

    seconds(1000)
    assert seconds(16_000) < 30 * max(seconds(2_000), 0.02)  # 8 if linear, 64 if quadratic


_ESCAPED = r"\\\1"


def pdf(*lines: list[tuple[int, str]]) -> bytes:
    """A PDF of one page: lines of (x, text), 20 points apart."""
    words = [
        f"1 0 0 1 {x} {700 - 20 * number} Tm ({re.sub('([()])', _ESCAPED, text)}) Tj"
        for number, line in enumerate(lines)
        for x, text in line
    ]
    content = "\n".join(["BT /F1 10 Tf", *words, "ET"])
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        " /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body, offsets = "%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{each}\nendobj\n"
    xref = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    tail = f"xref\n0 6\n0000000000 65535 f \n{xref}trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    return (body + tail).encode("latin-1")


def test_a_pdf_keeps_its_rows():
    pytest.importorskip("pypdfium2")
    text = filing_text(
        pdf(
            [(50, "Quellmark, Inc. earned $0.57 per share, or (in euros) more than before.")],
            [(300, "2024"), (400, "2023")],
            [(50, "Basic"), (300, "$"), (320, "0.57"), (400, "$"), (420, "(0.12)")],
            [(50, "Diluted"), (300, "$"), (330, "0.56 $"), (420, "(0.12)")],
        )
    )
    assert text.splitlines() == [
        "Quellmark, Inc. earned $0.57 per share, or (in euros) more than before.",
        "2024 | 2023",
        "Basic | $0.57 | $(0.12)",
        "Diluted | $0.56 | $(0.12)",
    ]


def test_a_pdf_without_text_says_so():
    pytest.importorskip("pypdfium2")
    with pytest.raises(DatasetError, match="scanned"):
        filing_text(pdf())


def test_a_pdf_wants_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"gguf-bench\[pdf\]"):
        filing_text(pdf())


# From here on: files, labels, and what is written.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "filings"
    (folder / "2023").mkdir(parents=True)
    (folder / "a.html").write_text(RELEASE)
    (folder / "b.txt").write_text("Quellmark, Inc.\nBasic      $ 0.61    $ 0.57\n")
    (folder / "2023" / "a.htm").write_text("<p>No figures, Q1 2023.</p>")
    return folder


def labels(folder: Path, *lines: str, head: str = "file,company,period,basic,diluted,adjusted") -> Path:
    file = folder.parent / "labels.csv"
    file.write_text("\n".join([head, *lines]) + "\n")
    return file


def imported(folder: Path, *lines: str, **options: str) -> tuple[Imported, dataset.Dataset]:
    target = folder.parent / "mine.jsonl"
    found = import_filings(folder, target, labels=labels(folder, *lines, **options))
    return found, dataset.load(str(target))


def test_without_labels_a_file_to_fill_in_is_written(folder):
    target = folder.parent / "mine.jsonl"
    found = import_filings(folder, target)
    assert found.dataset is None
    assert found.unlabelled == ("a", "b", "2023/a")
    assert found.template == folder.parent / "mine.labels.csv"
    assert found.template.read_text().splitlines() == [
        "file,company,period,basic,diluted,adjusted",
        'a.html,"Quellmark, Inc.",Q1 2024,?,?,?',
        'b.txt,"Quellmark, Inc.",,?,?,?',
        "2023/a.htm,,Q1 2023,?,?,?",
    ]
    assert not target.exists()
    with pytest.raises(DatasetError, match="--labels"):  # a person's work is not written over
        import_filings(folder, target, overwrite=True)
    filled = found.template.read_text().replace("Q1 2024,?,?,?", "Q1 2024,0.570,.56,")
    found.template.write_text(filled)
    assert import_filings(folder, target, labels=found.template).unlabelled == ("b", "2023/a")
    (document,) = dataset.load(str(target)).documents
    assert (document.id, document.company, document.period) == ("a", "Quellmark, Inc.", "Q1 2024")
    assert {name: str(figure) for name, figure in document.gold.items()} == {
        "basic": "0.570",
        "diluted": "0.56",
        "adjusted": "None",
    }
    assert document.text == html_text(RELEASE)
    assert document.source["file"] == "a.html"


@pytest.mark.parametrize(
    ("cell", "figure"),
    [
        ("0.57", "0.57"),
        ("0.60", "0.60"),
        ("$0.57", "0.57"),
        ("(0.57)", "-0.57"),
        ("$(0.57)", "-0.57"),
        ("($0.57)", "-0.57"),
        ("-$0.57", "-0.57"),
        ("−0.57", "-0.57"),
        ("$ (0.57)", "-0.57"),
        ('"1,234.50"', "1234.50"),
        ("5", "5"),
        (".57", "0.57"),
        *[(null, None) for null in ("", "null", "N/A", " none ")],
    ],
)
def test_figures_as_people_write_them(folder, cell, figure):
    _, found = imported(folder, f"a.html,Q,Q1,{cell},,")
    assert found.documents[0].gold["basic"] == (None if figure is None else Decimal(figure))
    assert str(found.documents[0].gold["basic"]) == str(figure)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a,Q,Q1,about 0.5,,", r"labels\.csv:2: column 'basic': found 'about 0\.5'"),
        ('a,Q,Q1,,"0,57",', "column 'diluted': found '0,57'"),
        ("a,Q,Q1,,,57c", "column 'adjusted': found '57c'"),
        ("a,Q,Q1,-(0.57),,", "found '-"),
        ("a,Q,Q1,(0.57,,", "found"),
        ("a,Q,Q1,0.57%,,", "found"),
        ("a,Q,Q1,1234567890123,,", "found"),
        ("a,,Q1,0.57,,", r"labels\.csv:2: column 'company' is empty"),
        ("a,Q,Q1,0.57", "4 cells, but the head names 6"),
        ('a,"Q,Q1,0.57,,', "not CSV"),
        ("a,Q,Q1,,,\nb,Q,Q1,,,\na.html,Q,Q1,,,", r"labels\.csv:4: 'a' is already labelled in line 2"),
        ("a,Q,Q1,?,?,?", "none of the documents is labelled"),
    ],
)
def test_a_wrong_label_is_named_by_line_and_column(folder, line, words):
    with pytest.raises(DatasetError, match=words):
        imported(folder, line)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["filings", "labels.csv"]


@pytest.mark.parametrize(
    "head",
    [
        "File Name;Company;Quarter;Basic EPS;Diluted EPS;Adjusted EPS",
        "id;issuer;fiscal period;GAAP basic;GAAP diluted EPS;non-GAAP diluted EPS",
        "\ufeffDocument;COMPANY;Period;EPS (basic);EPS - diluted;Non-GAAP",
    ],
)
def test_heads_as_people_write_them(folder, head):
    _, found = imported(folder, "a;Quellmark, Inc.;Q1 2024;0.57;0.56;", head=head)
    document = found.documents[0]
    assert (document.company, document.period) == ("Quellmark, Inc.", "Q1 2024")
    assert document.gold == {"basic": Decimal("0.57"), "diluted": Decimal("0.56"), "adjusted": None}


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("file,company,basic,diluted", "no column 'adjusted'"),
        ("company,basic,diluted,adjusted", "no column 'id'"),
        ("file,basic,basic eps,diluted,adjusted", "both say basic"),
        ("", "no column 'id' among none"),
    ],
)
def test_a_head_without_what_is_needed(folder, head, words):
    with pytest.raises(DatasetError, match=words):
        imported(folder, head=head)


def test_without_its_columns_company_and_period_are_guessed(folder):
    _, found = imported(folder, "a,0.57,0.56,", head="file,basic,diluted,adjusted")
    assert (found.documents[0].company, found.documents[0].period) == ("Quellmark, Inc.", "Q1 2024")
    (folder.parent / "mine.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"labels\.csv:2: no company for '2023/a\.htm'"):
        imported(folder, "2023/a,,,", head="file,basic,diluted,adjusted")


def test_rows_for_no_document_and_figures_that_do_not_stand_there_are_noted(folder):
    found, _ = imported(folder, "a.html,Q,Q1,0.75,0.56,", "other.html,Q,Q1,,,")
    assert any("labels.csv:3: no document 'other.html'" in note for note in found.notes)
    assert any(
        re.search(r"labels\.csv:2: basic 0\.75 does not stand in the text of a\.html", note) for note in found.notes
    )
    assert len(found.notes) == 2


def test_a_name_that_two_documents_bear_is_refused(folder):
    (folder / "c").mkdir()
    (folder / "c" / "d.txt").write_text("text")
    (folder / "2023" / "d.txt").write_text("text")
    with pytest.raises(DatasetError, match=r"'d\.txt' may be 2023/d or c/d"):
        imported(folder, "d.txt,Q,Q1,,,")
    found, _ = imported(folder, "c/d.txt,Q,Q1,,,")
    assert found.n_documents == 1


def test_one_id_for_two_files_is_refused(folder):
    (folder / "a.txt").write_text("text")
    with pytest.raises(DatasetError, match=r"a\.html and a\.txt would both get the id 'a'"):
        import_filings(folder, folder.parent / "mine.jsonl")


def test_a_name_that_cannot_be_printed_is_refused(folder):
    (folder / "x\ny.txt").write_text("text")
    with pytest.raises(DatasetError, match="makes no id"):
        import_filings(folder, folder.parent / "mine.jsonl")


def test_every_file_that_cannot_be_read_is_named_and_nothing_is_written(folder):
    (folder / "bad.html").write_bytes(b"\0" * 100)
    (folder / "empty.txt").write_text("")
    said: list[str] = []

    class Said:
        def bar(self, label, total, unit):
            from gguf_bench.progress import SilentBar

            return SilentBar()

        def say(self, line):
            said.append(line)

    with pytest.raises(DatasetError, match=r"2 of 5 files could not be read: bad\.html, empty\.txt"):
        import_filings(folder, folder.parent / "mine.jsonl", labels=labels(folder, "a,Q,Q1,,,"), progress=Said())
    assert len(said) == 2
    assert sorted(path.name for path in folder.parent.iterdir()) == ["filings", "labels.csv"]


def test_links_that_turn_in_circles_pictures_and_pipes_are_passed_over(folder):
    (folder / "again").symlink_to(folder)
    (folder / "nowhere.html").symlink_to(folder / "missing")
    (folder / "logo.jpg").write_bytes(b"\xff\xd8")
    os.mkfifo(folder / "pipe.txt")
    found = import_filings(folder, folder.parent / "mine.jsonl")
    assert len(found.unlabelled) == 3
    assert "logo.jpg, nowhere.html, pipe.txt" in found.notes[0]
    with pytest.raises(DatasetError, match="neither a file nor a folder"):
        import_filings(folder / "pipe.txt", folder.parent / "mine.jsonl")


def test_a_users_files_are_never_changed(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    for path in files:
        path.chmod(stat.S_IRUSR)
    target = folder.parent / "mine.jsonl"
    file = labels(folder, "a,Q,Q1,0.57,0.56,")
    import_filings(folder, target, labels=file)
    first = target.read_bytes()
    with pytest.raises(DatasetError, match="--overwrite"):
        import_filings(folder, target, labels=file)
    assert target.read_bytes() == first
    import_filings(folder, target, labels=labels(folder, "a,Q,Q1,0.57,,", "b,Q,Q1,,,"), overwrite=True)
    assert len(dataset.load(str(target)).documents) == 2
    for path in (folder / "a.html", file):
        with pytest.raises(DatasetError, match="one of the files to read"):
            import_filings(folder, path, labels=file, overwrite=True)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files} == before


def test_one_file_alone_may_have_any_name(folder):
    (folder / "b.txt").rename(folder / "release.2024.q1")
    target = folder.parent / "one.jsonl"
    file = labels(folder, "release.2024.q1,Q,,0.61,0.61,")
    import_filings(folder / "release.2024.q1", target, labels=file)
    (document,) = dataset.load(str(target)).documents
    assert (document.id, document.period) == ("release.2024", "")


@pytest.mark.parametrize(
    ("text", "company"),
    [
        (
            "DALLAS, May 2 (WIRE) -- Oil & Sons International, Inc. (NYSE: OSI) reported",
            "Oil & Sons International, Inc.",
        ),
        ("FORT WORTH, TX - Quellmark Inc. (NASDAQ: QLM), a maker", "Quellmark Inc."),
        ("Exhibit 99.1\n\nThe Quellmark, Inc.\nNews", "The Quellmark, Inc."),
        ("We met today (NYSE is open).", ""),
        ("", ""),
    ],
)
def test_the_company_is_guessed_where_it_is_plain(text, company):
    assert guessed_company(text) == company


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("Reports First Quarter 2020 Results", "Q1 2020"),
        ("THIRD-QUARTER FISCAL 2024", "Q3 FY2024"),
        ("Results for the fourth quarter of fiscal year 2023", "Q4 FY2023"),
        ("Q2 FY2021 and more", "Q2 FY2021"),
        ("Second quarter results", ""),
    ],
)
def test_the_period_is_guessed_where_it_is_plain(text, period):
    assert guessed_period(text) == period


def test_the_command(folder, gguf_bench):
    target = folder.parent / "mine.jsonl"
    first = gguf_bench("dataset", "import", folder, "-o", target)
    assert first.returncode == 0, first.stderr
    template = Path(first.stdout.strip())
    assert template.name == "mine.labels.csv"
    assert "left to label: a, b, 2023/a" in first.stderr
    template.write_text(template.read_text().replace("Q1 2024,?,?,?", "Q1 2024,0.57,0.56,"))
    second = gguf_bench("dataset", "import", folder, "--labels", template, "-o", target, "--json")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout) == {
        "dataset": str(target),
        "labels": None,
        "n_documents": 1,
        "unlabelled": ["b", "2023/a"],
    }
    shown = gguf_bench("dataset", "show", target, "a")
    assert "Basic | $0.57 | $(0.12)" in shown.stdout
    third = gguf_bench("dataset", "import", folder, "--labels", template, "-o", target)
    assert (third.returncode, third.stdout) == (1, "")
    assert "--overwrite" in third.stderr
    assert len(third.stderr.splitlines()) == 1


def test_the_command_loads_no_reader_of_pdfs_and_no_numpy(folder):
    script = (
        "import sys; from pathlib import Path; from gguf_bench.dataset_import import import_filings;"
        f"import_filings(Path({str(folder)!r}), Path({str(folder.parent / 'mine.jsonl')!r}));"
        "print({'pypdfium2', 'numpy', 'llama_cpp', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Real releases.


@pytest.mark.skipif(not RAW.is_dir(), reason=f"no real filings at {RAW}")
def test_real_filings_keep_label_and_figures_together():
    """Every gold figure on one line with a per-share label, and in the excerpt."""
    known = {json.loads(line)["id"]: json.loads(line) for line in DEV_DATA.read_text(encoding="utf-8").splitlines()}
    n_figures = 0
    for path in sorted(RAW.glob("*.html")):
        text = filing_text(path.read_bytes())
        gold = {
            name: None if figure is None else Decimal(str(figure)) for name, figure in known[path.stem]["gold"].items()
        }
        label = re.compile(r"basic|diluted|per (?:common )?share|\beps\b", re.IGNORECASE)
        cell_label = re.compile(rf"{label.pattern}|^non-gaap", re.IGNORECASE)
        rows = [line for line in text.splitlines() if label.search(line)]
        kept = gold_kept(excerpt(text, DEFAULT_EXCERPT_CHARS), gold)
        for name, figure in gold.items():
            if figure is not None:
                n_figures += 1
                assert any(gold_kept(line, {name: figure})[name] for line in rows), (path.name, name)
                assert kept[name], (path.name, name)
                # Not only in prose: a row that begins with a label and holds the figure in a cell of its own.
                cells = [line.split(" | ") for line in text.splitlines() if cell_label.search(line.split(" | ")[0])]
                if path.name != "abvc-0001213900-25-032135.html":  # which has no statement
                    assert any(gold_kept(cell, {name: figure})[name] for first, *others in cells for cell in others), (
                        path.name,
                        name,
                    )
        assert not re.search(r"[\x00-\x08\x80-\x9f]|\| \)|\| \$ \|", text), path.name
    assert n_figures == 18
