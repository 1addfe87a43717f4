"""Gold comes from XBRL only where the release bears it out; what cannot be known is left open, with the reason."""

import time
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from gguf_bench.xbrl_gold import COMBINED, Fact, Report, label

BASIC, DILUTED = "us-gaap:EarningsPerShareBasic", "us-gaap:EarningsPerShareDiluted"
FILED = date(2024, 4, 25)
TEN_Q = Report(form="10-Q", filed=date(2024, 5, 3), period_end=date(2024, 3, 31))


def day(text):
    return date.fromisoformat(text)


def fact(concept, value, start="2024-01-01", end="2024-03-31", **changes):
    given = {"form": "10-Q", "accession": "q1", "filed": date(2024, 5, 3), "unit": "USD per share", **changes}
    return Fact(concept=concept, value=Decimal(value), start=day(start), end=day(end), **given)


def release(*lines, end="March 31, 2024"):
    return "\n".join(("Quellmark Inc. reports results", f"Three Months Ended {end}", *lines))


TEXT = release("Basic earnings per share | $0.50 | $0.41", "Diluted earnings per share | $0.49 | $0.40")
FACTS = [fact(BASIC, "0.5"), fact(DILUTED, "0.49")]


def gold(labels):
    return {name: None if value is None else str(value) for name, value in labels.gold.items()}


def test_figures_are_given_as_the_release_prints_them():
    labels = label(TEXT, FILED, [TEN_Q], FACTS)
    assert gold(labels) == {"basic": "0.50", "diluted": "0.49", "adjusted": None}
    assert (labels.unknown, labels.notes) == ({}, [])
    assert labels.period == "three months ended March 31, 2024"


TEXTS = {
    "a loss in parentheses": ("-0.42", "Basic and diluted net loss per share | $(0.42) | $0.11", "-0.42"),
    "a loss in words": ("-0.42", "Basic and diluted loss per share | 0.42 | 0.11", "-0.42"),
    "a typographic minus": ("-0.42", "Basic and diluted per share | −0.42 | 0.11", "-0.42"),
    "cents": ("0.42", "Earnings, basic and diluted, were 42 cents a share", "0.42"),
    "no leading zero": ("0.42", "Basic and diluted | $.42", "0.42"),
    "three decimals": ("0.123", "Basic and diluted | 0.123", "0.123"),
    "four figures": ("1234.5", "Basic and diluted | $1,234.50", "1234.50"),
    "a loss tagged without its sign": ("0.42", "Basic and diluted net loss per share | $(0.42)", None),
    "a loss in words tagged without its sign": ("0.42", "Basic and diluted loss per share | 0.42", None),
    "a profit on a row of either": ("0.42", "Basic and diluted earnings (loss) per share | 0.42", "0.42"),
    "a profit tagged as a loss": ("-0.42", "Basic and diluted earnings per share | 0.42", None),
    "rounded otherwise": ("0.4156", "Basic and diluted | 0.42", None),
    "split between release and report": ("0.21", "Basic and diluted | 0.42", None),
    "part of a longer number": ("0.42", "Basic and diluted | 10.42 | 0.421 | 1,0.42", None),
    "a percentage": ("42", "Basic and diluted | up 42%", None),
    "on a line that names neither": ("0.42", "Basic and diluted | 0.41\nBook value | 0.42", None),
}


@pytest.mark.parametrize(("value", "line", "wanted"), TEXTS.values(), ids=TEXTS.keys())
def test_a_figure_must_stand_in_the_release(value, line, wanted):
    labels = label(release(line), FILED, [TEN_Q], [fact(COMBINED, value)])
    assert gold(labels) == {**({"basic": wanted, "diluted": wanted} if wanted else {}), "adjusted": None}
    if wanted is None:
        assert "no line of the release gives as basic" in labels.unknown["basic"]


def test_a_fourth_quarter_needs_a_three_month_fact():
    text = release("Basic | 0.50 | 2.11", "Diluted | 0.49 | 2.05", end="December 31, 2024")
    ten_k = Report(form="10-K", filed=day("2025-02-20"), period_end=day("2024-12-31"))
    filed = {"form": "10-K", "accession": "k", "filed": ten_k.filed}
    year = [fact(c, v, end="2024-12-31", **filed) for c, v in ((BASIC, "2.11"), (DILUTED, "2.05"))]
    nine = [fact(c, v, end="2024-09-30", accession="q3") for c, v in ((BASIC, "1.61"), (DILUTED, "1.56"))]
    labels = label(text, day("2025-02-01"), [ten_k], year + nine)
    assert labels.unknown["basic"] == "XBRL has no figure for three months to 2024-12-31, only of 366 days"
    assert labels.period == "three months ended December 31, 2024"
    assert gold(labels) == {"adjusted": None}
    quarter = [fact(c, v, "2024-10-01", "2024-12-31", **filed) for c, v in ((BASIC, "0.5"), (DILUTED, "0.49"))]
    labels = label(text, day("2025-02-01"), [ten_k], year + nine + quarter)
    assert gold(labels) == {"basic": "0.50", "diluted": "0.49", "adjusted": None}
    assert labels.traps == {"basic_ytd": Decimal("2.11"), "diluted_ytd": Decimal("2.05")}


CALENDARS = {
    "12 weeks": ("2024-01-07", "2024-03-30", True),
    "13 weeks": ("2023-12-31", "2024-03-30", True),
    "14 weeks": ("2023-12-24", "2024-03-30", True),
    "tagged to the month's end": ("2024-01-01", "2024-03-31", True),
    "16 weeks": ("2023-12-10", "2024-03-30", False),
    "two months": ("2024-02-01", "2024-03-31", False),
    "half a year": ("2023-10-01", "2024-03-31", False),
    "another quarter": ("2023-10-01", "2023-12-31", False),
}


@pytest.mark.parametrize(("start", "end", "is_found"), CALENDARS.values(), ids=CALENDARS.keys())
def test_quarters_of_any_calendar(start, end, is_found):
    text = release("Basic and diluted | 0.50", end="March 30, 2024")
    report = replace(TEN_Q, period_end=day("2024-03-30"))
    labels = label(text, FILED, [report], [fact(COMBINED, "0.5", start, end)])
    assert ("basic" in labels.gold) is is_found


def test_a_fiscal_year_that_is_not_the_calendars():
    text = release("Basic and diluted | 0.50 | 0.44", end="June 1, 2024")
    report = Report(form="10-K", filed=day("2024-07-26"), period_end=day("2024-06-01"))
    facts = [fact(COMBINED, "0.5", "2024-03-03", "2024-06-01", form="10-K", accession="k", filed=report.filed)]
    assert label(text, day("2024-06-27"), [report], facts).period == "three months ended June 1, 2024"


def test_the_figure_filed_first_after_the_release_counts_and_later_ones_are_told():
    amended = fact(DILUTED, "0.47", form="10-Q/A", accession="qa", filed=day("2024-05-20"))
    next_year = fact(BASIC, "0.25", accession="q1-25", filed=day("2025-05-02"))
    before = fact(BASIC, "0.53", accession="old", filed=day("2024-04-01"))
    labels = label(TEXT, FILED, [TEN_Q], [next_year, amended, before, *FACTS])
    assert gold(labels)["basic"] == "0.50"
    assert gold(labels)["diluted"] == "0.49"
    assert labels.notes == [
        "basic: 0.25 in the 10-Q filed 2025-05-02",
        "diluted: 0.47 in the 10-Q/A filed 2024-05-20",
    ]


def test_a_report_whose_xbrl_came_with_its_amendment():
    facts = [replace(each, form="10-Q/A", accession="qa", filed=day("2024-05-30")) for each in FACTS]
    assert gold(label(TEXT, FILED, [TEN_Q], facts))["basic"] == "0.50"
    late = [replace(each, filed=day("2024-07-30")) for each in facts]
    assert "no figure for three months" in label(TEXT, FILED, [TEN_Q], late).unknown["basic"]


@pytest.mark.parametrize(
    ("facts", "gold_names", "reason"),
    [
        ([fact(DILUTED, "0.49")], {"diluted", "adjusted"}, "the 10-Q has no basic figure in XBRL"),
        ([*FACTS, fact(BASIC, "0.51")], {"diluted", "adjusted"}, "more than one basic figure"),
        ([*FACTS, fact(BASIC, "0.5", unit="CAD/shares")], {"diluted", "adjusted"}, "CAD/shares"),
        ([fact(BASIC, "0.5"), fact(COMBINED, "0.49")], {"diluted", "adjusted"}, "more than one basic figure"),
        ([], {"adjusted"}, "no figure for three months to 2024-03-31"),
    ],
)
def test_facts_that_do_not_settle_a_field_leave_it_open(facts, gold_names, reason):
    labels = label(TEXT, FILED, [TEN_Q], facts)
    assert set(labels.gold) == gold_names
    assert reason in labels.unknown["basic"]
    assert set(labels.gold) | set(labels.unknown) == {"basic", "diluted", "adjusted"}


def test_a_combined_tag_beside_separate_ones_that_agree():
    facts = [fact(BASIC, "0.5"), fact(DILUTED, "0.5"), fact(COMBINED, "0.5")]
    labels = label(release("Basic and diluted | 0.50"), FILED, [TEN_Q], facts)
    assert gold(labels) == {"basic": "0.50", "diluted": "0.50", "adjusted": None}


def test_ifrs_tags():
    facts = [fact("ifrs-full:BasicEarningsLossPerShare", "0.5"), fact("ifrs-full:DilutedEarningsLossPerShare", "0.49")]
    assert gold(label(TEXT, FILED, [TEN_Q], facts))["diluted"] == "0.49"


def report(filed, period_end, form="10-Q"):
    return Report(form=form, filed=day(filed), period_end=day(period_end))


REPORTS = {
    "none": ([], "no 10-Q or 10-K was filed within 60 days after it"),
    "too late": ([report("2024-06-25", "2024-03-31")], "no 10-Q or 10-K was filed within 60 days after it"),
    "before it": ([report("2024-04-24", "2024-03-31")], "no 10-Q or 10-K was filed within 60 days after it"),
    "the same day": ([report("2024-04-25", "2024-03-31")], ""),
    "the last day": ([report("2024-06-24", "2024-03-31")], ""),
    "the first of two": ([report("2024-06-20", "2024-04-20"), TEN_Q], ""),
    "not ended": ([report("2024-05-03", "2024-04-25")], "which had not ended"),
    "last year's, late": ([report("2024-05-01", "2023-12-31", "10-K"), TEN_Q], "a later one may have ended"),
    "another day": ([report("2024-05-03", "2024-02-29")], "a day that the release does not name"),
}


@pytest.mark.parametrize(("reports", "reason"), REPORTS.values(), ids=REPORTS.keys())
def test_the_report_that_follows_a_release(reports, reason):
    facts = [replace(each, filed=reports[0].filed) for each in FACTS] if reports else FACTS
    facts = FACTS if len(reports) > 1 else facts
    labels = label(TEXT, FILED, reports, facts)
    assert reason in labels.unknown.get("basic", "")
    assert ("basic" in labels.gold) is (reason == "")


@pytest.mark.parametrize(
    ("words", "is_named"),
    [
        *[(words, True) for words in ("March 31, 2024", "Mar. 31, 2024", "MARCH  31", "31 March 2024", "3/31/2024")],
        *[(words, True) for words in ("03/31/24", "2024-03-31", "March 30, 2024")],
        *[(words, False) for words in ("March 2024", "March 3, 2024", "first quarter", "13/31/2024", "May 31, 2024")],
    ],
)
def test_the_day_may_be_written_in_any_way(words, is_named):
    labels = label(release("Basic and diluted | 0.50", end=words), FILED, [TEN_Q], [fact(COMBINED, "0.5")])
    assert ("basic" in labels.gold) is is_named


@pytest.mark.parametrize(
    "words",
    [
        *("Non-GAAP diluted EPS", "non‑GAAP", "Adjusted EPS | 0.61", "Excluding a charge of $0.02", "core earnings"),
        *("pro forma", "comparable EPS", "funds from operations", "one-time gain", "underlying earnings per share"),
    ],
)
def test_adjusted_is_open_where_any_word_may_go_with_such_a_figure(words):
    labels = label(f"{TEXT}\n{words}", FILED, [TEN_Q], FACTS)
    assert "adjusted" not in labels.gold
    assert labels.unknown["adjusted"].startswith("XBRL has no adjusted figures")


def test_usual_words_of_statements_leave_adjusted_null():
    text = f"{TEXT}\nAdjustments to reconcile net income to cash\nComparable sales rose\nGeneral economic conditions"
    assert label(text, FILED, [TEN_Q], FACTS).gold["adjusted"] is None


def test_traps_are_figures_of_the_same_filing_that_stand_in_the_release():
    half = Report(form="10-Q", filed=day("2024-08-02"), period_end=day("2024-06-30"))
    filed = {"accession": "q2", "filed": half.filed}
    facts = [
        fact(BASIC, "0.6", "2024-04-01", "2024-06-30", **filed),
        fact(BASIC, "1.1", "2024-01-01", "2024-06-30", **filed),
        fact(BASIC, "0.55", "2023-04-01", "2023-06-30", **filed),
        fact(BASIC, "1.03", "2023-01-01", "2023-06-30", **filed),
        fact(BASIC, "0.77", "2023-04-01", "2023-06-30", accession="other", filed=half.filed),
    ]
    text = release("Basic | 0.60 | 0.55 | 1.10 | 0.77", end="June 30, 2024")
    labels = label(text, day("2024-07-25"), [half], facts)
    assert labels.traps == {"basic_py": Decimal("0.55"), "basic_ytd": Decimal("1.1")}


@pytest.mark.parametrize("unit", ["(", "1", "1,", "$ ", "basic ", "Basic 0.11 | ", "non ", "31 ", "Basic 0.11\n", "."])
def test_a_hostile_text_takes_no_time(unit):
    text = release("Basic and diluted " + unit * (100_000 // len(unit)) + "%")
    started = time.process_time()
    assert "basic" in label(text, FILED, [TEN_Q], FACTS).unknown
    assert time.process_time() - started < 5
