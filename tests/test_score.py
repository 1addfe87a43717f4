"""Right and wrong, and the name of every wrong."""

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from gguf_bench.dataset import load
from gguf_bench.records import FIELDS, Document
from gguf_bench.score import KINDS, score_answer, score_output, score_over_context, trap_kind
from scripts.injected_errors import COMBINED, named

ROOT = Path(__file__).resolve().parent.parent
DEV_DATA = Path(os.environ.get("GGUF_BENCH_DEV_DATA") or ROOT.parent / "shared" / "data" / "real_eps_dev.jsonl")
ON_DEV_DATA = pytest.mark.skipif(not DEV_DATA.exists(), reason=f"no development data at {DEV_DATA}")

LINES = (Path(__file__).parent / "cases" / "score.jsonl").read_text(encoding="utf-8").splitlines()


def number(written):
    return None if written is None else Decimal(written)


def document(gold, traps=None):
    return Document(
        id="d",
        company="Quellmark Inc.",
        period="Q1 2023",
        text="text",
        gold={name: number(value) for name, value in gold.items()},
        traps={name: Decimal(value) for name, value in (traps or {}).items()},
    )


@pytest.mark.parametrize("case", [json.loads(line) for line in LINES], ids=[json.loads(line)["why"] for line in LINES])
def test_every_field_has_its_kind(case):
    values = case["values"] and dict(zip(FIELDS, map(number, case["values"]), strict=True))
    score = score_answer(values, document(case["gold"], case["traps"]))
    assert [score.kinds[name] for name in FIELDS] == case["kinds"]
    assert score.value == case["kinds"].count("right") / 3
    assert set(score.kinds.values()) <= set(KINDS)
    assert score.status == ("unparseable" if values is None else "answered")


GOLD = {"basic": "0.57", "diluted": "0.56", "adjusted": None}


def test_an_output_is_parsed_and_judged():
    score = score_output('```json\n{"basic": "$0.57", "diluted": "(0.56)", "adjusted": "n/a"}\n```', document(GOLD))
    assert score.status == "answered"
    assert dict(score.kinds) == {"basic": "right", "diluted": "sign", "adjusted": "right"}
    assert score.value == 2 / 3


def test_an_unparseable_output_scores_nothing_even_where_null_would_be_right():
    score = score_output("I do not know.", document(GOLD))
    assert (score.status, score.values, score.value) == ("unparseable", None, 0.0)
    assert dict(score.kinds) == {"basic": "missed", "diluted": "missed", "adjusted": "other"}


def test_a_prompt_that_did_not_fit_scores_nothing():
    score = score_over_context(document(GOLD))
    assert (score.status, score.values, score.value) == ("over_context", None, 0.0)
    assert dict(score.kinds) == {"basic": "missed", "diluted": "missed", "adjusted": "other"}


@pytest.mark.parametrize(
    ("name", "owner", "kind"),
    [
        ("basic_py", "basic", "prior_period"),
        ("diluted_q-2", "diluted", "prior_period"),
        ("adjusted_pq", "adjusted", "prior_period"),
        ("basic_ytd_py", "basic", "year_to_date"),
        ("diluted_fy", "diluted", "year_to_date"),
        ("diluted_9m", "diluted", "year_to_date"),
        ("adjusted_basic", "adjusted", "basic_diluted_swap"),
        ("adjusted_guidance_low", "adjusted", "other_trap"),
        ("dividend", None, "other_trap"),
        ("dividend_py", None, "other_trap"),
        ("basic", "basic", "other_trap"),
    ],
)
def test_the_name_of_a_trap_tells_its_kind(name, owner, kind):
    assert trap_kind(name) == (owner, kind)


@pytest.mark.parametrize("name", ["eps-v1", pytest.param(str(DEV_DATA), marks=ON_DEV_DATA, id="real releases")])
def test_an_injected_error_of_each_kind_gets_its_name(name):
    """98 times in 100 in every kind, and 95 times where it has also lost its sign, or is in cents."""
    counts = named(load(name))
    wanted = {kind: 0.95 if kind.endswith(COMBINED) else 0.98 for kind in counts}
    assert {kind: f"{right} of {n}" for kind, (n, right) in counts.items() if right < wanted[kind] * n} == {}
    kinds = {*KINDS, *(kind + COMBINED for kind in KINDS if kind.endswith(("_swap", "_period", "_trap", "_date")))}
    kinds |= {"scale" + COMBINED}
    without_other_traps = {"other_trap", "other_trap" + COMBINED} if name != "eps-v1" else set()
    assert counts.keys() == kinds - {"right"} - without_other_traps
    assert all(n >= 25 for n, _ in counts.values())
