"""What models write, read: cases as data, then text that is out to hang the parser."""

import json
import random
import time
from decimal import Decimal
from pathlib import Path

import pytest

from gguf_bench.records import FIELDS
from gguf_bench.score import parse, read_figure

CASES = Path(__file__).parent / "cases"


def cases(name):
    lines = (CASES / name).read_text(encoding="utf-8").splitlines()
    return [pytest.param(json.loads(line), id=f"{number}-{line[:50]}") for number, line in enumerate(lines, 1)]


@pytest.mark.parametrize("case", cases("parse.jsonl"))
def test_an_output_is_read(case):
    found = parse(case["output"])
    if case["values"] is None:
        assert found is None, case["why"]
    else:
        wanted = dict(zip(FIELDS, [None if v is None else Decimal(v) for v in case["values"]], strict=True))
        assert found is not None, case["why"]
        assert {k: None if v is None else str(v) for k, v in found.items()} == {
            k: None if v is None else str(v) for k, v in wanted.items()
        } or found == wanted, case["why"]


@pytest.mark.parametrize("case", cases("figures.jsonl"))
def test_a_figure_is_read(case):
    if case["figure"] == "unreadable":
        with pytest.raises(ValueError):
            read_figure(case["value"])
    elif case["figure"] is None:
        assert read_figure(case["value"]) is None
    else:
        assert read_figure(case["value"]) == Decimal(case["figure"])


def test_a_printed_zero_is_kept():
    values = parse('{"basic": 1.20, "diluted": "$1.00", "adjusted": 0.570}')
    assert values is not None
    assert [str(values[name]) for name in FIELDS] == ["1.20", "1.00", "0.570"]


MILLION = 1_000_000
HOSTILE = {
    "open braces": "{" * MILLION,
    "closed braces": "{" + "}" * MILLION,
    "pairs of braces": "{}" * (MILLION // 2),
    "open lists": "{" + "[" * MILLION,
    "nested keys": '{"basic":' * (MILLION // 9),
    "escaped quotes": "{" + '"\\' * (MILLION // 2),
    "open quotes": "{" + "\"'" * (MILLION // 2),
    "quotes over lines": '{"\n' * (MILLION // 3),
    "colons": "{" + ":" * MILLION,
    "commas": "{" + "," * MILLION,
    "digits": '{"basic": ' + "9" * MILLION + "}",
    "decimals": '{"basic": 0.' + "9" * MILLION + "}",
    "thousands": '{"basic": 1' + ",000" * (MILLION // 4) + "}",
    "slashes": "{" + "/" * MILLION,
    "spaces": '{"basic":' + " " * MILLION + "x}",
    "minuses": '{"basic": "' + "-" * MILLION + '"}',
    "a key of a million": '{"' + "basic " * (MILLION // 6) + '": 1}',
    "thinking": "<think>" * (MILLION // 7),
    "thinking ends": "</think>" * (MILLION // 8),
    "answers": '{"basic": 1, "diluted": x}' * (MILLION // 26),
    "open comments": "{" + "/*" * (MILLION // 2),
    "closed comments": "{" + "/**/" * (MILLION // 4),
    "comments over lines": "{" + "#\n" * (MILLION // 2),
    "lists in objects": '{"basic":[' * (MILLION // 10),
    "lists of objects": "[{" * (MILLION // 2),
    "lists of spaces": ("[" + " " * 999) * (MILLION // 1000),
    "wrong brackets": "{" + "]" * MILLION,
    "wrong brackets, deep": '{"a":' * 39 + "]" * MILLION,
    "notes": '{"basic": "' + "0.57 (basic) " * (MILLION // 13) + '"}',
    "reasons": '{"basic": "' + "not disclosed for the " * (MILLION // 22) + '"}',
    "asterisks": '{"basic": "' + "* " * (MILLION // 2) + '"}',
    "answers in thinking": '<think>{"basic": 1}</think>' * (MILLION // 27),
    "members": "{" + '"basic": 1, ' * (MILLION // 12),
    "strings of JSON": ('{"a": "{' + "\\\\" * 20) * (MILLION // 48),
    "quoted braces": '"{' * (MILLION // 2),
    "escaped quotes within quotes": '"{\\"' * (MILLION // 4),
    "ends of turns": "{<|im_end|>" * (MILLION // 11),
    "ends of turns and of thinking": "<think></think><|im_end|>" * (MILLION // 25),
    "metadata on many levels": '{"a": 1, "b": ' * (MILLION // 14),
    "metadata in one object": "{" + '"a": {"b": 1}, ' * (MILLION // 15),
    "reasons without end": '{"basic": "' + "not " * (MILLION // 4) + '"}',
}


@pytest.mark.parametrize("output", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_megabyte_takes_linear_time(output):
    started = time.process_time()
    assert parse(output) is None
    assert time.process_time() - started < 30  # up to two seconds on a core; quadratic would be hours


@pytest.mark.parametrize("exponent", ["1e999999999", "1e-999999999", "9e99", "1E+400", "-1e13"])
def test_a_huge_exponent_is_no_figure(exponent):
    started = time.process_time()
    assert parse(f'{{"basic": {exponent}, "diluted": 1, "adjusted": 1}}') is None
    assert time.process_time() - started < 1


PIECES = [
    *(
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        ":",
        ",",
        ";",
        "(",
        ")",
        "$",
        "-",
        "\\",
        '\\"',
        "\n",
        "/",
        "#",
        "/*",
        "é",
        "\0",
        "\ud800",
    ),
    *("basic", "diluted", "adjusted", "value", "unit", "cents", "0.57", "1e9", "null", "not", "disclosed", " "),
    *("<think>", "</think>", "<|im_end|>", "<|channel|>final<|message|>", '{"basic": 1}', '"{', '}"'),
]
PARSE_CASES = [json.loads(line) for line in (CASES / "parse.jsonl").read_text(encoding="utf-8").splitlines()]
OUTPUTS = [case["output"] for case in PARSE_CASES]


def mutated(output, generator):
    """`output` with one to six stretches of it cut, doubled, moved or replaced by a piece."""
    for _ in range(generator.randint(1, 6)):
        start, end = sorted(generator.choices(range(len(output) + 1), k=2))
        end = min(end, start + 12)
        stretch, piece = output[start:end], generator.choice(PIECES)
        replacement = generator.choice(["", piece, piece + stretch, stretch + stretch, stretch + piece, stretch[::-1]])
        output = output[:start] + replacement + output[end:]
    return output


def test_noise_never_raises():
    generator = random.Random(5)
    for _ in range(3000):
        parse("".join(generator.choices(PIECES, k=30)))


def test_a_mutated_output_never_raises_and_gives_figures_or_nothing():
    generator = random.Random(6)
    n_read = 0
    for _ in range(6000):
        found = parse(mutated(generator.choice(OUTPUTS), generator))
        if found is not None:
            n_read += 1
            assert list(found) == list(FIELDS)
            assert all(figure is None or figure.is_finite() for figure in found.values())
    assert 500 < n_read < 5500


def test_there_are_cases_enough_and_near_misses_come_first():
    assert len(OUTPUTS) >= 240
    is_miss = [case["values"] is None for case in PARSE_CASES]
    assert is_miss == sorted(is_miss, reverse=True)
    assert 100 <= sum(is_miss) <= len(is_miss) - 100
