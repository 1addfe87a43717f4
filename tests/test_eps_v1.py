"""The built-in dataset: its figures follow from its books, its traps are real, and it cannot be guessed."""

import json
import re
from collections import Counter
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest

from gguf_bench.dataset import BUILTIN, load
from gguf_bench.excerpt import DEFAULT_EXCERPT_CHARS, excerpt, gold_kept
from gguf_bench.records import FIELDS
from gguf_bench.score import parse, score_answer, score_output, trap_kind
from gguf_bench.tasks import TASKS
from scripts.eps_generator import PER_TIER, TIERS, generate

LENGTHS = {"plain": (250, 1_400), "ordinary": (1_400, 6_500), "hard": (5_000, 24_000)}
BESIDE_THE_BOOKS = re.compile(
    r"(dividend|guidance|item|par_value|book_value|option_price|conversion_price|stock_price).*"
)


@pytest.fixture(scope="module")
def dataset():
    return load("eps-v1")


@pytest.fixture(scope="module")
def written():
    return list(generate())


def mean(scores):
    scores = list(scores)
    return sum(scores) / len(scores)


def score_of(dataset, guess):
    """The mean score of answering `guess(document)`, a figure for each field."""
    return mean(score_answer(guess(document), document).value for document in dataset.documents)


def same_for_all(dataset, value):
    return score_of(dataset, lambda document: dict.fromkeys(FIELDS, value))


def test_the_file_is_what_the_generator_writes(written):
    committed = BUILTIN["eps-v1"].read_bytes()
    assert committed == "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in written).encode()
    assert len(committed) < 3_000_000


def test_more_documents_leave_the_earlier_ones_as_they_are(written):
    more = {record["id"]: record for record in generate(PER_TIER + 5)}
    assert len(more) == 3 * (PER_TIER + 5)
    assert all(more[record["id"]] == record for record in written)


def test_tiers_are_equal_in_number_and_different_in_length(dataset):
    assert Counter(document.tier for document in dataset.documents) == dict.fromkeys(TIERS, 100)
    for document in dataset.documents:
        low, high = LENGTHS[document.tier]
        assert low <= len(document.text) <= high, document.id
        assert document.tags
        assert document.company in document.text


def test_no_two_documents_are_alike_and_companies_report_once_or_twice(dataset):
    assert len({document.text for document in dataset.documents}) == len(dataset.documents)
    reports = Counter(document.company for document in dataset.documents)
    assert max(reports.values()) == 2
    assert 20 <= sum(count == 2 for count in reports.values()) <= 45
    questions = {(document.company, document.period) for document in dataset.documents}
    assert len(questions) == len(dataset.documents)
    # Names of companies begin differently, but for those that report twice.
    assert len({name.split()[0] for name in reports}) == len(reports)


# ----------------------------------------------------------------------------------------------------------- the books


def per_share(amount, shares, decimals):
    exact = Fraction(amount) / Fraction(shares)
    step = Decimal(1).scaleb(-decimals)
    return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(step, rounding=ROUND_HALF_UP)


class Books:
    """Figures per share, computed from `source` once more, by other means than the generator's."""

    def __init__(self, ledger):
        self.decimals, self.per = int(ledger["decimals"]), ledger["per"]
        self.ratio, self.split = ledger.get("ratio"), ledger.get("split", [1, 1])
        self.periods = ledger["periods"]

    def amounts(self, field, key, what):
        period = self.periods[key]

        def get(name):
            return int(period.get(name, 0))

        common = get("net_income") - get("noncontrolling") - get("preferred")
        continuing = common - get("discontinued") - get("extraordinary")
        charges = sum(int(amount) for amount in period.get("charges", {}).values())
        adjusted = continuing + charges - get("tax_effect")
        amount = {
            "continuing": continuing,
            "discontinued": get("discontinued"),
            "extraordinary": get("extraordinary"),
            "reported": common - get("restated"),
            None: common,
        }.get(what)
        dilutive = get("dilutive") if continuing > 0 else 0
        if field == "adjusted":
            return adjusted, get("shares") + (get("dilutive") if adjusted > 0 and what != "basic" else 0)
        if field == "basic":
            return amount, get("shares")
        if field == "diluted":
            return amount, get("shares") + dilutive
        funds = common + get("depreciation") - get("property_gain")
        funds += {"ffo": 0, "core-ffo": charges, "affo": charges - get("upkeep")}[field]
        return funds, get("shares") + get("dilutive")

    def figure(self, name):
        """The figure that a trap or a field is named after; None where it is in no books."""
        if BESIDE_THE_BOOKS.fullmatch(name) or name.startswith("adjustment_total"):
            return None
        field, *rest = name.split("_")
        what = per = None
        if rest and rest[-1] in ("continuing", "discontinued", "extraordinary", "reported", "basic"):
            what = rest.pop()
        elif rest and rest[-1] in ("ordinary", "ads", "presplit"):
            per = rest.pop()
        elif rest[-2:-1] == ["class"]:
            per = "_".join((rest.pop(-2), rest.pop()))
        correction = bool(rest) and rest[-1] == "correction"
        key = "_".join(rest[:-1] if correction else rest) or "q"
        if correction:
            return self.figure(f"{field}_{key}") - self.figure(f"{field}_{key}_reported")
        amount, shares = self.amounts(field, key, what)
        per = per or self.per
        if per == "ads":
            amount *= int(self.ratio)
        elif per == "presplit":
            amount, shares = amount * int(self.split[0]), shares * int(self.split[1])
        elif per.startswith("class"):
            class_b = int(self.periods[key]["class_b"])
            to_a = round(Fraction(amount * 11 * shares, 11 * shares + 10 * class_b))
            amount, shares = (to_a, shares) if per == "class_a" else (amount - to_a, class_b)
        return per_share(amount, shares, self.decimals)


def test_gold_and_traps_follow_from_the_books(dataset):
    recomputed = Counter()
    for document in dataset.documents:
        if document.source["ledger"] is None:
            assert set(document.gold.values()) == {None}
            continue
        books = Books(document.source["ledger"])
        for name, value in (*document.gold.items(), *document.traps.items()):
            figure = None if value is None else books.figure(name)
            if figure is not None:
                assert str(figure) == str(value), (document.id, name)
                recomputed[name in FIELDS] += 1
    assert recomputed[True] >= 2.4 * len(dataset.documents)
    assert recomputed[False] >= 5 * len(dataset.documents)


def test_quarters_make_up_the_longer_periods(dataset):
    """Where the quarters of a year, or of a year to date, are all there."""
    checked = 0
    for document in dataset.documents:
        periods = (document.source["ledger"] or {}).get("periods", {})
        quarters = [key for key in ("q", "pq", "q-2", "q-3") if key in periods]
        for key, count in (
            ("fy", 4),
            ("ytd", int((document.period or "Q0")[1]) if "Q" in (document.period or "") else 0),
        ):
            if key in periods and len(quarters) >= count:
                for name in ("revenue", "net_income", "tax_effect"):
                    parts = sum(int(periods[part].get(name, 0)) for part in quarters[:count])
                    assert parts == int(periods[key].get(name, 0)), (document.id, key, name)
                checked += 1
    assert checked >= 20


AMOUNT = re.compile(
    r"(?<=[ |])([(\u2212\u2013-]?\s?(?:RMB|CHF|SEK|[A-Z]?[$€£¥])?\s?[|]?\s?[(]?\s?)(\d[\d,]*(?:\.\d+)?)"
    r"|(?<=[ |])([-\u2013\u2014])(?=[ |]|$)"
)


def amounts(line):
    """The amounts of a row, without per cents."""
    row = re.sub(r"\(?[\d.,]+\s?[|]?\s?\)?\s?[|]?\s?%|NM", "", line)
    found = []
    for match in AMOUNT.finditer(row + " "):
        sign = -1 if re.search(r"[(\u2212\u2013-]", match[1] or "") else 1
        found.append(Decimal(0) if match[3] else sign * Decimal(match[2].replace(",", "")))
    return found


def test_the_statements_add_up_as_printed(dataset):
    """Profit before tax, tax, and what is left, column by column."""
    statements = columns = 0
    for document in dataset.documents:
        lines = [line.strip("| ") for line in document.text.splitlines()]
        for i, line in enumerate(lines):
            if not re.match(r"(Income|Profit) \(loss\) before (income )?tax(es)?\b", line):
                continue
            label = re.compile(r"^[A-Za-z() ,/]+?(?=[ .|]{2}|[ .]+\||$)")
            before, tax, after = (amounts(label.sub(" ", text)) for text in lines[i : i + 3])
            assert len(before) == len(tax) == len(after) >= 2, (document.id, lines[i : i + 3])
            assert [a - b for a, b in zip(before, tax, strict=True)] == after, (document.id, lines[i : i + 3])
            statements, columns = statements + 1, columns + len(before)
    assert statements >= 150
    assert columns >= 500


# ----------------------------------------------------------------------------------------------------- traps and tags


QUARTER = r"(?:Q[1-4] (?:fiscal )?\d{4}|[1-4]Q\d\d|(?:First|Second|Third|Fourth) quarter(?: of)?(?: fiscal)? \d{4})"
QUARTERS_ALONE = re.compile(rf"[\s|]*{QUARTER}(?:[\s|]+{QUARTER})+[\s|]*")


def test_no_longer_period_stands_under_the_name_of_a_quarter(dataset):
    """Else the document itself would print two adjusted figures for one quarter."""
    looked_at = 0
    for document in dataset.documents:
        longer = [
            str(value).lstrip("-0") for name, value in document.traps.items() if name in ("adjusted_ytd", "adjusted_fy")
        ]
        lines = document.text.split("\n")
        for number, line in enumerate(lines):
            if "adjusted" in line.lower() and any(f"{value} " in f"{line} ".replace(")", " ") for value in longer):
                head = next(
                    (above for above in reversed(lines[:number]) if re.search(r"\b(?:19|20)\d\d\b|\dQ\d\d", above)), ""
                )
                looked_at += 1
                assert not QUARTERS_ALONE.fullmatch(head), (document.id, head, line)
    assert looked_at >= 15


def test_every_gold_figure_and_every_trap_stands_in_the_text(dataset):
    for document in dataset.documents:
        stands = gold_kept(document.text, {**document.gold, **document.traps})
        assert False not in stands.values(), (document.id, stands)


def test_every_trap_differs_from_the_gold_of_its_field(dataset):
    count = 0
    for document in dataset.documents:
        for name, value in document.traps.items():
            owner, _ = trap_kind(name)
            for rival in FIELDS if owner is None else [owner]:
                assert document.gold[rival] != value, (document.id, name)
            count += 1
    assert count >= 8 * len(dataset.documents)


def test_the_prior_year_of_nearly_every_figure_is_a_trap(dataset):
    found = [
        f"{name}_py" in document.traps
        for document in dataset.documents
        for name in FIELDS
        if document.gold[name] is not None
    ]
    assert mean(found) >= 0.95


# Forms of real releases, and how many documents at least have each.
FORMS = {
    **dict.fromkeys(("headline_sentences", "highlights_list", "income_statement", "reconciliation", "guidance"), 50),
    **dict.fromkeys(("two_columns", "four_columns", "quarter_vs_longer_period", "loss", "parentheses", "ifrs"), 50),
    **dict.fromkeys(("non_calendar_year", "dividend", "combined_basic_and_diluted_row", "other_currency"), 50),
    **dict.fromkeys(("prior_year_column_first", "item_per_share", "adjusted_not_disclosed"), 40),
    **dict.fromkeys(("basic_equals_diluted", "row_split_over_lines", "five_quarter_table"), 25),
    **dict.fromkeys(("three_and_six_months", "three_and_nine_months", "three_and_twelve_months"), 20),
    **dict.fromkeys(("typographic_minus", "three_decimals", "cents", "six_columns", "core_earnings"), 20),
    **dict.fromkeys(("no_eps_in_document", "gaap_vs_adjusted_sign_differs"), 15),
    **dict.fromkeys(("three_columns", "full_year", "half_year", "weeks", "bank", "basic_not_disclosed"), 10),
    **dict.fromkeys(
        ("ads", "two_class", "restated_prior_year", "continuing_vs_total", "extraordinary_item", "ffo"), 10
    ),
    **dict.fromkeys(("split", "presplit_figures", "dividend_equals_eps", "other_release", "layout_cells"), 10),
    **dict.fromkeys(("layout_aligned", "layout_dotted", "layout_fenced", "layout_piped", "no_leading_zero"), 10),
    **dict.fromkeys(("statement_without_eps", "longer_period_first", "change_column", "five_columns"), 5),
    **dict.fromkeys(("reverse_split", "basic_slash_diluted"), 3),
}


def test_forms_of_real_releases_occur(dataset):
    tags = Counter(tag for document in dataset.documents for tag in document.tags)
    assert {tag: tags[tag] for tag, wanted in FORMS.items() if tags[tag] < wanted} == {}


def test_tags_are_true(dataset):
    """Those that can be seen from outside."""
    for document in dataset.documents:
        tags, text, gold = set(document.tags), document.text, document.gold
        signs = {name: value is not None and value < 0 for name, value in gold.items()}
        seen = {
            "loss": signs["diluted"],
            "no_eps_in_document": set(gold.values()) == {None},
            "gaap_vs_adjusted_sign_differs": gold["adjusted"] is not None and signs["adjusted"] != signs["diluted"],
            "ads": "per ADS" in text,
            "two_class": "Class B share" in text or "Class B common stock" in text,
            "split": bool(re.search(r"\d-for-1 stock split|3-for-2 stock split", text)),
            "reverse_split": "1-for-" in text,
            "extraordinary_item": "xtraordinary" in text,
            "ffo": "FFO" in text,
            "restated_prior_year": "estated" in text and "split" not in text,
            "continuing_vs_total": "diluted_continuing" in document.traps and "xtraordinary" not in text,
            "guidance": bool({"guidance_low", "guidance_high"} & document.traps.keys()) and "other_release" not in tags,
            "half_year": (document.period or "").startswith("H"),
            "weeks": "Weeks Ended" in text,
        }
        if "no_eps_in_document" not in tags:
            seen["basic_not_disclosed"] = gold["basic"] is None
            seen["adjusted_not_disclosed"] = gold["adjusted"] is None
        for tag, holds in seen.items():
            if tag != "weeks" or holds:  # where a release has no table, its weeks are not told
                assert (tag in tags) == holds, (document.id, tag)


def test_a_question_about_one_of_several_shares_says_which(dataset):
    for document in dataset.documents:
        if {"ads", "two_class"} & set(document.tags):
            assert re.search(r" \(per (ADS|ordinary share|Class [AB] share)\)$", document.period), document.id
        elif document.period:
            assert "(" not in document.period


# ------------------------------------------------------------------------------------------- what needs no reading


def decimals(text):
    return re.findall(r"(?<![\d.,])\d*\.\d+(?![\d,]|\s?%|\s?million|\s?billion)", text)


def most_frequent(text):
    """The decimal number that stands most often in `text`, the first of equals."""
    counts = Counter(Decimal(number) for number in decimals(text))
    return max(counts, key=counts.__getitem__) if counts else None


def first(text):
    return next((Decimal(number) for number in decimals(text)), None)


def last(text):
    return next((Decimal(number) for number in reversed(decimals(text))), None)


def test_null_everywhere_scores_low(dataset):
    assert same_for_all(dataset, None) < 0.20


def test_no_constant_number_scores(dataset):
    values = Counter(v for document in dataset.documents for v in document.gold.values() if v is not None)
    assert max(same_for_all(dataset, value) for value, _ in values.most_common(10)) < 0.05


def test_no_constants_for_each_field_score(dataset):
    """The most frequent figure of each field, and no figure."""
    golds = {name: [document.gold[name] for document in dataset.documents] for name in FIELDS}
    numbers = {name: Counter(v for v in golds[name] if v is not None).most_common(1)[0][0] for name in FIELDS}
    assert score_of(dataset, lambda document: numbers) < 0.05
    anything = {name: Counter(golds[name]).most_common(1)[0][0] for name in FIELDS}
    assert score_of(dataset, lambda document: anything) < 0.20


@pytest.mark.parametrize("pick", [most_frequent, first, last])
def test_a_number_picked_by_its_place_or_count_scores_low(dataset, pick):
    assert score_of(dataset, lambda document: dict.fromkeys(FIELDS, pick(document.text))) < 0.25


# ------------------------------------------------------------------------------------------------ scorer and excerpt


def test_a_perfect_reader_scores_one(dataset):
    for document in dataset.documents:
        output = json.dumps({name: None if v is None else str(v) for name, v in document.gold.items()})
        assert score_output(output, document).value == 1.0


def test_the_excerpt_keeps_the_gold(dataset):
    for budget, wanted in ((DEFAULT_EXCERPT_CHARS, 1.0), (3000, 0.98)):
        kept = [
            is_kept
            for document in dataset.documents
            for is_kept in gold_kept(excerpt(document.text, budget), document.gold).values()
            if is_kept is not None
        ]
        assert mean(kept) >= wanted, budget


def test_an_injected_error_gets_its_name(dataset):
    """A wrong figure whose cause is known is named after it, whatever the cause."""
    named = {}
    for document in dataset.documents:
        for name in FIELDS:
            gold = document.gold[name]
            injected = (
                [(None, "missed"), (-gold, "sign"), (gold * 100, "scale")]
                if gold is not None
                else [(Decimal(3), "hallucinated")]
            )
            if gold is not None:
                injected += [
                    (value, trap_kind(trap)[1]) for trap, value in document.traps.items() if trap.startswith(f"{name}_")
                ]
            for answer, kind in injected:
                found = score_answer({**document.gold, name: answer}, document).kinds[name]
                named.setdefault(kind, []).append(found == kind)
    assert {kind: mean(right) for kind, right in named.items() if mean(right) < 0.98} == {}
    assert sum(map(len, named.values())) >= 3_000


# ---------------------------------------------------------------------------------------------------- the task

TASK = TASKS["eps_extraction"]


def test_the_prompt_begins_the_same_for_all_documents_and_ends_alike(dataset):
    first, second = (TASK.prompt(document, "TEXT OF THE RELEASE") for document in dataset.documents[:2])
    shared = next(i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    assert shared > 300
    assert "TEXT OF THE RELEASE" not in first[:shared]
    document = dataset.documents[0]
    assert first.index(document.company) < first.index(document.period) < first.index("TEXT OF THE RELEASE")
    assert len(first) < 1_500


def test_a_prompt_without_a_period_still_asks(dataset):
    assert "the period it reports" in TASK.prompt(replace(dataset.documents[0], period=""), "text")


def test_no_answer_stands_in_the_prompt(dataset):
    """A small model would copy it."""
    prompt = TASK.prompt(dataset.documents[0], "")
    assert parse(prompt) is None
    assert not re.search(r"[0-9]", prompt[: prompt.index("Company:")])


def test_the_grammar_is_valid_and_admits_only_whole_answers():
    llama_cpp = pytest.importorskip("llama_cpp", exc_type=ImportError)
    grammar = llama_cpp.LlamaGrammar.from_string(TASK.grammar, verbose=False)
    assert grammar is not None
    answer = re.compile(
        r'\{"basic": (null|-?[0-9]{1,6}(\.[0-9]{1,4})?), "diluted": (null|-?[0-9]{1,6}(\.[0-9]{1,4})?), '
        r'"adjusted": (null|-?[0-9]{1,6}(\.[0-9]{1,4})?)\}'
    )
    for text in (
        '{"basic": 0.57, "diluted": -0.56, "adjusted": null}',
        '{"basic": 999999.9999, "diluted": 0, "adjusted": 1}',
    ):
        assert answer.fullmatch(text)
        assert parse(text) is not None
