"""The excerpt keeps what matters, in order, within its budget, in linear time."""

import json
import math
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
def test_a_megabyte_is_quick(text, release):
    text = release if text == "statement" else text
    megabyte = text * (1_000_000 // len(text))
    assert seconds(excerpt, megabyte, DEFAULT_EXCERPT_CHARS) < 1.5  # 0.2 on a quiet core; quadratic would be hours


def test_a_megabyte_of_different_rows_is_quick():
    rows = "".join(f"Diluted EPS of unit {n} | {n % 97}.{n % 89:02d} | {n % 7}\n" for n in range(30_000))
    assert seconds(excerpt, rows, DEFAULT_EXCERPT_CHARS) < 1.5


def seconds(function, *arguments):
    best = math.inf
    for _ in range(3):
        started = time.process_time()
        function(*arguments)
        best = min(best, time.process_time() - started)
    return best


def test_a_row_far_below_its_heads_brings_them_past_other_rows():
    rows = "".join(f"Expense {n} | {n},{n}00 | {n},{n}50\n" for n in range(100, 160))
    heads = STATEMENT.splitlines(keepends=True)[:4]
    text = FILLER + "".join(heads) + rows + "Diluted earnings per share | $0.56 | $0.50\n" + FILLER
    kept = excerpt(text, 700)
    assert all(line in kept for line in (*heads, "Diluted earnings per share | $0.56 | $0.50\n"))


def test_heads_without_a_period_bring_the_ones_above_them():
    text = (
        f"Three Months Ended March 31,\n2023 | 2022\nRevenue | $5,700 | $5,100\n{FILLER[:2000]}"
        f"Earnings per share data\nBasic | $0.57 | $0.51\n{FILLER}"
    )
    kept = excerpt(text, 600)
    assert "Three Months Ended March 31,\n2023 | 2022\n" in kept
    assert "Earnings per share data\nBasic | $0.57" in kept


def test_years_that_are_aligned_with_blanks_are_heads():
    columns = "             Three Months Ended March 31,\n                   2023        2022\n"
    rows = "Revenue            5,700       5,100\nDiluted EPS         0.56        0.50\n"
    assert columns in excerpt(FILLER + columns + rows + FILLER, 600)


def test_whole_cents_are_figures_below_a_head_that_says_so():
    text = f"{FILLER}Earnings per share (cents)\nBasic | 57 | 51\nDiluted | 56 | 50\n{FILLER}"
    assert "Basic | 57 | 51\nDiluted | 56 | 50" in excerpt(text, 600)


def test_a_letter_that_grows_in_lower_case_moves_nothing():
    text = "İ" * 400 + f"\n{FILLER}{STATEMENT}"
    assert "Diluted | $0.56 | $0.50" in excerpt(text, 1000)


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


MONTH = "jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec"
PERIOD = re.compile(
    rf"\b(?:months?|weeks?)\b|\b(?:{MONTH})[a-z]*\.? \d|\bq[1-4]\b|\bquarter\b|\b(?:19|20)\d\d\b|\d/\d+/\d",
    re.IGNORECASE,
)
UNITS = re.compile(r"\bin (?:thousands|millions|billions)|(?:thousands|millions) of|000|\(.{0,20}cents", re.IGNORECASE)
DATA = re.compile(r"\d,\d{3}|\.\d|\|[ $(]*\d{1,3}\s?(?:[)|]|$)|\d%")


def heads_above(lines, index):
    """What a reader finds going up from a row: the next lines that name periods, and the next line that names units."""
    periods, units, left, done = [], None, 110, False
    for line in (line.strip() for line in reversed(lines[:index])):
        if not line or line == GAP or left == 0:
            continue
        left -= 1
        plain = len(line) < 250 and line[-1] != "." and not DATA.search(line)
        if plain and PERIOD.search(line) and not done:
            periods.append(line)
        elif periods and not done and not (plain and UNITS.search(line)) and not line.lower().startswith("(unaud"):
            done, left = True, min(left, 12)
        if plain and units is None and UNITS.search(line):
            units = line
    return periods[::-1], units


@pytest.mark.skipif(not DEV_DATA.exists(), reason=f"no development data at {DEV_DATA}")
@pytest.mark.parametrize(("budget", "figures", "rows", "heads"), [(6000, 1.0, 1.0, 0.99), (3000, 1.0, 0.98, 0.97)])
def test_real_releases_keep_their_gold_and_its_heads(budget, figures, rows, heads):
    """Heads: going up from the row in the excerpt, a reader meets what he would meet in the whole text."""
    kept, headed = [], []
    for line in DEV_DATA.read_text(encoding="utf-8").splitlines():
        document = json.loads(line, parse_float=Decimal)
        part = excerpt(document["text"], budget)
        whole_lines, part_lines = document["text"].split("\n"), part.split("\n")
        for name, stands in gold_kept(part, document["gold"]).items():
            if stands is None:
                continue
            row = document["evidence"][name]
            kept.append((stands, row in part))
            if "|" in row:
                wanted = [heads_above(whole_lines, i) for i, line in enumerate(whole_lines) if row in line]
                found = [heads_above(part_lines, i) for i, line in enumerate(part_lines) if row in line]
                headed.append(
                    any(
                        found_periods[-len(periods) :] == periods and units in (None, found_units)
                        for periods, units in wanted
                        for found_periods, found_units in found
                    )
                )
    assert (len(kept), len(headed)) == (110, 108)
    assert sum(figure for figure, _ in kept) / len(kept) >= figures
    assert sum(row for _, row in kept) / len(kept) >= rows
    assert sum(headed) / len(headed) >= heads
