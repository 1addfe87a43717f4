"""The built-in dataset: its figures follow from its books, its traps are real, and it cannot be guessed."""

import json
import re
from collections import Counter
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal

import pytest

from gguf_bench.dataset import BUILTIN, load
from gguf_bench.excerpt import DEFAULT_EXCERPT_CHARS, excerpt
from gguf_bench.records import FIELDS
from gguf_bench.score import parse, score_answer, score_output, trap_kind
from gguf_bench.tasks import TASKS
from scripts.eps_generator import PER_TIER, TIERS, generate, stands

LENGTHS = {"plain": (300, 900), "ordinary": (1_800, 5_200), "hard": (4_500, 20_000)}


@pytest.fixture(scope="module")
def dataset():
    return load("eps-v1")


def mean(scores):
    scores = list(scores)
    return sum(scores) / len(scores)


def same_for_all(dataset, value):
    return mean(score_answer(dict.fromkeys(FIELDS, value), document).value for document in dataset.documents)


def test_the_file_is_what_the_generator_writes():
    written = BUILTIN["eps-v1"].read_bytes()
    assert written == "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in generate()).encode()
    assert len(written) < 3_000_000


def test_more_documents_leave_the_earlier_ones_as_they_are():
    more = {record["id"]: record for record in generate(PER_TIER + 5)}
    assert len(more) == 3 * (PER_TIER + 5)
    assert all(more[record["id"]] == record for record in generate())


def test_tiers_are_equal_in_number_and_different_in_length(dataset):
    assert Counter(document.tier for document in dataset.documents) == dict.fromkeys(TIERS, PER_TIER)
    for document in dataset.documents:
        low, high = LENGTHS[document.tier]
        assert low <= len(document.text) <= high, document.id
        assert document.tags
        assert document.company in document.text


def per_share(amount, shares, decimals):
    return (Decimal(amount) / Decimal(shares)).quantize(Decimal(10) ** -int(decimals), rounding=ROUND_HALF_UP)


def test_gold_and_traps_follow_from_the_books(dataset):
    recomputed = 0
    for document in dataset.documents:
        ledger = document.source["ledger"]
        if ledger is None:
            assert set(document.gold.values()) == {None}
            continue
        for key, period in ledger["periods"].items():
            common = period["net_income"] - period["noncontrolling"] - period["preferred"]
            adjusted = common + sum(amount for _, amount in period["adjustments"]) - period["tax_effect"]
            figures = {
                "basic": per_share(common, period["shares_basic"], ledger["decimals"]),
                "diluted": per_share(common, period["shares_diluted"], ledger["decimals"]),
                "adjusted": per_share(adjusted, period["adjusted_shares"], ledger["decimals"]),
            }
            assert (common < 0) == (figures["basic"] < 0)
            for name in FIELDS:
                if key != "q":
                    assert document.traps.get(f"{name}_{key}") in (None, figures[name]), document.id
                elif name in document.source["shown"]:
                    assert str(document.gold[name]) == str(figures[name]), document.id
                    recomputed += 1
                else:
                    assert document.gold[name] is None
    assert recomputed >= 2.4 * len(dataset.documents)


def test_every_gold_figure_and_every_trap_stands_in_the_text(dataset):
    for document in dataset.documents:
        for name, value in (*document.gold.items(), *document.traps.items()):
            assert value is None or stands(value, document.text), (document.id, name, value)


def test_every_trap_differs_from_the_gold_of_its_field(dataset):
    count = 0
    for document in dataset.documents:
        for name, value in document.traps.items():
            owner, _ = trap_kind(name)
            for rival in FIELDS if owner is None else [owner]:
                assert document.gold[rival] != value, (document.id, name)
            count += 1
    assert count >= 5 * len(dataset.documents)


def test_the_prior_year_of_every_figure_is_a_trap(dataset):
    for document in dataset.documents:
        for name in FIELDS:
            if document.gold[name] is not None:
                assert f"{name}_py" in document.traps, (document.id, name)


def test_forms_of_real_releases_occur(dataset):
    tags = Counter(tag for document in dataset.documents for tag in document.tags)
    for tag in (
        *("loss", "cents", "three_decimals", "ifrs", "other_currency", "basic_not_disclosed", "adjusted_not_disclosed"),
        *(
            "combined_basic_and_diluted_row",
            "prior_year_column_first",
            "five_quarter_table",
            "quarter_vs_longer_period",
        ),
        *(
            "continuing_vs_total",
            "guidance",
            "dividend_equals_eps",
            "gaap_vs_adjusted_sign_differs",
            "no_eps_in_document",
        ),
        *("item_per_share", "row_split_over_lines", "no_headline_figures", "non_calendar_year"),
    ):
        assert tags[tag] >= 2, tag


def test_null_everywhere_scores_low(dataset):
    assert same_for_all(dataset, None) < 0.20


def test_no_constant_number_scores(dataset):
    values = {value for document in dataset.documents for value in document.gold.values() if value is not None}
    assert max(same_for_all(dataset, value) for value in values) < 0.05


def most_frequent(text):
    """The decimal number that stands most often in `text`, the first of equals."""
    counts = Counter(re.findall(r"(?<![\d.,])\d*\.\d+(?![\d,]|\s?%|\s?million)", text))
    return Decimal(max(counts, key=lambda number: counts[number])) if counts else None


def test_the_most_frequent_number_of_a_document_scores_low(dataset):
    guesses = [(most_frequent(document.text), document) for document in dataset.documents]
    assert mean(score_answer(dict.fromkeys(FIELDS, guess), document).value for guess, document in guesses) < 0.25


def test_a_perfect_reader_scores_one(dataset):
    for document in dataset.documents:
        output = json.dumps({name: None if v is None else str(v) for name, v in document.gold.items()})
        assert score_output(output, document).value == 1.0


def test_the_excerpt_keeps_the_gold(dataset):
    for budget, wanted in ((DEFAULT_EXCERPT_CHARS, 1.0), (3000, 0.98)):
        kept = [
            stands(value, excerpt(document.text, budget))
            for document in dataset.documents
            for value in document.gold.values()
            if value is not None
        ]
        assert mean(kept) >= wanted, budget


def test_an_injected_error_gets_its_name(dataset):
    """A wrong figure whose cause is known is named after it."""
    right = wrong = 0
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
                right, wrong = right + (found == kind), wrong + (found != kind)
    assert right / (right + wrong) >= 0.98


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
