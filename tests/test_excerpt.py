"""The excerpt keeps what matters, in order, within its budget, in linear time."""

import json
import os
import re
import time
from decimal import Decimal
from pathlib import Path

import pytest

from gguf_bench.excerpt import DEFAULT_EXCERPT_CHARS, GAP, excerpt, gold_kept

ROOT = Path(__file__).resolve().parent.parent
DEV_DATA = Path(os.environ.get("GGUF_BENCH_DEV_DATA") or ROOT.parent / "shared" / "data" / "real_eps_dev.jsonl")

FILLER = "".join(
    f"The committee met in room {number} and thanked the staff for another busy season.\n" for number in range(200)
)
STATEMENT = """\
Quellmark Inc. | Consolidated Statements of Operations
(in thousands, except per share data)
 | Three Months Ended March 31,
 | 2023 | 2022
Net income | $5,700 | $5,100
Earnings per share:
Basic | $0.57 | $0.51
Diluted | $0.56 | $0.50
"""


@pytest.fixture(scope="module")
def release():
    return f"Quellmark Inc. Reports First Quarter 2023 Results\n{FILLER}{STATEMENT}{FILLER}"


def test_a_row_brings_its_period_units_and_column_heads(release):
    kept = excerpt(release, 700)
    for line in ("Quellmark Inc. Reports", *STATEMENT.splitlines()[1:4], *STATEMENT.splitlines()[5:]):
        assert line in kept
    assert "room 120" not in kept


def test_lines_keep_their_order_and_gaps_are_marked(release):
    kept = excerpt(release, 1200).splitlines()
    original = release.splitlines()
    positions = [original.index(line) for line in kept if line != GAP]
    assert positions == sorted(positions)
    for before, line, after in zip(kept, kept[1:], kept[2:], strict=False):
        if line == GAP:
            assert original.index(after) > original.index(before) + 1
        elif GAP not in (before, line):
            assert original.index(line) == original.index(before) + 1
    assert kept[-1] == GAP


@pytest.mark.parametrize("budget", [0, 1, 5, 6, 7, 50, 100, 333, 700, 1500, 6000, 20_000])
def test_the_budget_is_never_exceeded(release, budget):
    for text in (release, release.replace("\n", " "), "Basic | 0.57 | 0.51\n" * 2000, "x" * 30_000, "Ä\n" * 20_000):
        assert len(excerpt(text, budget)) <= budget


def test_what_fits_is_unchanged(release):
    assert excerpt(release, None) is release
    assert excerpt(release, len(release)) is release
    assert excerpt(release, len(release) - 1) != release


def test_the_same_text_gives_the_same_excerpt(release):
    assert excerpt(release, 900) == excerpt(release, 900)


def test_a_negative_budget_is_refused(release):
    with pytest.raises(ValueError, match="-1"):
        excerpt(release, -1)


def test_a_headline_figure_in_a_long_paragraph_is_kept():
    paragraph = (
        FILLER.replace("\n", " ")
        + "Net income was $5.7 million, or $0.56 per diluted share. "
        + FILLER.replace("\n", " ")
    )
    assert "or $0.56 per diluted share." in excerpt(paragraph, 800)


def test_figures_in_cents_are_kept():
    assert "Basic earnings per share (cents) | 12.3" in excerpt(
        FILLER + "Basic earnings per share (cents) | 12.3 cents\n" + FILLER, 700
    )


@pytest.mark.parametrize(
    "text",
    [
        "statement",
        "Basic | 0.12 per share\n",
        "x",
        "1.",
        " ",
        "\n",
        "per ",
        "eps 0.12 ",
        "three months ended 2023\n",
        "a. ",
    ],
)
def test_a_megabyte_takes_linear_time(text, release):
    text = release if text == "statement" else text
    megabyte = text * (1_000_000 // len(text))
    started = time.perf_counter()
    excerpt(megabyte, DEFAULT_EXCERPT_CHARS)
    assert time.perf_counter() - started < 30  # 0.1 to 0.7 s on a quiet core; quadratic would be hours


def stands(gold, text):
    written = f"{abs(gold):.2f}".removeprefix("0")
    return re.search(
        rf"(?<![\d.])0?{re.escape(written)}(?!\d)" if written[0] == "." else rf"(?<![\d.]){re.escape(written)}(?!\d)",
        text,
    )


@pytest.mark.skipif(not DEV_DATA.exists(), reason=f"no development data at {DEV_DATA}")
@pytest.mark.parametrize(("budget", "figures", "rows"), [(6000, 1.0, 1.0), (3000, 0.98, 0.95)])
def test_real_releases_keep_their_gold(budget, figures, rows):
    kept = []
    for line in DEV_DATA.read_text(encoding="utf-8").splitlines():
        document = json.loads(line)
        part = excerpt(document["text"], budget)
        kept += [
            (bool(stands(gold, part)), document["evidence"][name] in part)
            for name, gold in document["gold"].items()
            if gold is not None
        ]
    assert len(kept) == 110
    assert sum(figure for figure, _ in kept) / len(kept) >= figures
    assert sum(row for _, row in kept) / len(kept) >= rows


@pytest.mark.parametrize(
    ("text", "figure", "kept"),
    [
        ("Basic | 0.57", "-0.57", True),
        ("Basic | $(.57)", "-0.57", True),
        ("a loss of $0.57.", "-0.57", True),
        ("Basic | (0.570)", "-0.57", True),
        ("Basic −0,57 €", "-0.57", True),
        ("$0.55/$0.57, up 4%", "0.57", True),
        ("Diluted | 12.3 cents", "0.123", True),
        ("Earnings per share (cents)\nBasic | 57 | 51", "0.57", True),
        ("Basic EPS of 57¢", "0.57", True),
        ("an adjusted $2 per share", "2.00", True),
        ("Basic | 1,152", "1152", True),
        ("Basic | 10.57", "0.57", False),
        ("Basic | 0.571", "0.57", False),
        ("version 1.0.57", "0.57", False),
        ("Basic | 57", "0.57", False),
        ("up 57%, to 60 cents", "0.57", False),
        ("57 rooms were let.\nEarnings in cents", "0.57", False),
        ("Basic | 2 | 3", "2.00", False),
        ("Basic | 0.57%", "0.57", False),
        ("", "0.57", False),
        ("9" * 5000, "0.57", False),
    ],
)
def test_a_kept_figure_is_one_that_is_printed_whole(text, figure, kept):
    assert gold_kept(text, {"basic": Decimal(figure), "diluted": None}) == {"basic": kept, "diluted": None}
