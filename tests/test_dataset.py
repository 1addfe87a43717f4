"""Datasets are read strictly: a wrong line is named by file, line and reason."""

import hashlib
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from gguf_bench.dataset import BUILTIN, DEFAULT_DATASET, limit, load
from gguf_bench.errors import DatasetError

ROOT = Path(__file__).resolve().parent.parent
DEV_DATA = Path(os.environ.get("GGUF_BENCH_DEV_DATA") or ROOT.parent / "shared" / "data" / "real_eps_dev.jsonl")

GOOD = (
    '{"id": "a", "company": "Quellmark Inc.", "period": "Q1 2023", "text": "EPS $1.20",'
    ' "gold": {"basic": "1.20", "diluted": 1.20, "adjusted": null}}'
)


def written(folder, *lines):
    file = folder / "mine.jsonl"
    file.write_bytes(b"".join(line if isinstance(line, bytes) else line.encode() + b"\n" for line in lines))
    return file


def changed(**keys):
    return json.dumps({**json.loads(GOOD), **keys})


def test_a_good_line(tmp_path):
    file = written(
        tmp_path,
        GOOD,
        "",
        changed(id="b", traps={"basic_py": "1.10"}, tags=["loss"], tier="plain", period=None, note=1),
    )
    dataset = load(str(file))
    assert (dataset.name, dataset.sha256) == ("mine", hashlib.sha256(file.read_bytes()).hexdigest())
    first, second = dataset.documents
    assert str(first.gold["basic"]) == str(first.gold["diluted"]) == "1.20"
    assert first.gold["adjusted"] is None
    assert (first.traps, first.tags, first.tier) == ({}, (), "")
    assert (second.traps, second.tags, second.tier, second.period) == (
        {"basic_py": Decimal("1.10")},
        ("loss",),
        "plain",
        "",
    )


def test_null_is_as_good_as_absent(tmp_path):
    document = load(str(written(tmp_path, changed(traps=None, tags=None, tier=None, source=None)))).documents[0]
    assert (document.traps, document.tags, document.tier, document.source) == ({}, (), "", None)


def test_an_id_may_be_any_printable_text_of_200_characters(tmp_path):
    name = "Müller & Söhne 2023/Q1 " + "x" * 177
    assert load(str(written(tmp_path, changed(id=name)))).documents[0].id == name


def test_a_number_is_the_same_however_it_is_printed(tmp_path):
    dataset = load(str(written(tmp_path, changed(gold={"basic": 0.6, "diluted": "0.60", "adjusted": -0.6}))))
    gold = dataset.documents[0].gold
    assert gold["basic"] == gold["diluted"] == -gold["adjusted"]


def test_a_byte_order_mark_and_a_missing_last_newline_are_no_mistakes(tmp_path):
    assert len(load(str(written(tmp_path, b"\xef\xbb\xbf" + GOOD.encode()))).documents) == 1


WRONG = {
    "not JSON": ("{'id': 1}", "not JSON"),
    "cut off": (GOOD[:-5], "not JSON"),
    "two objects": (GOOD + GOOD, "not JSON"),
    "a list": ("[1]", "wanted a JSON object"),
    "no id": ('{"company": "x", "period": "y", "text": "z", "gold": {}}', "'id' is missing"),
    "no gold": ('{"id": "b", "company": "x", "period": "y", "text": "z"}', "'gold' is missing"),
    "gold is a list": (changed(id="b", gold=[]), "gold: found []"),
    "a gold key too many": (
        changed(id="b", gold={"basic": 1, "diluted": 1, "adjusted": 1, "core": 1}),
        "unknown key 'core'",
    ),
    "a gold key too few": (changed(id="b", gold={"basic": 1, "diluted": 1}), "gold has no 'adjusted'"),
    "gold in words": (changed(id="b", gold={"basic": "one", "diluted": 1, "adjusted": 1}), "gold basic: found 'one'"),
    "gold with a sign": (
        changed(id="b", gold={"basic": "$1.20", "diluted": 1, "adjusted": 1}),
        "gold basic: found '$1.20'",
    ),
    "gold in parentheses": (changed(id="b", gold={"basic": "(1.20)", "diluted": 1, "adjusted": 1}), "gold basic"),
    "gold true": (changed(id="b", gold={"basic": True, "diluted": 1, "adjusted": 1}), "gold basic: found True"),
    "gold a list": (changed(id="b", gold={"basic": [1], "diluted": 1, "adjusted": 1}), "gold basic: found"),
    "NaN": (changed(id="b", gold={"basic": float("nan"), "diluted": 1, "adjusted": 1}), "found NaN"),
    "Infinity": (changed(id="b", gold={"basic": 1, "diluted": -float("inf"), "adjusted": 1}), "found -Infinity"),
    "NaN in a string": (changed(id="b", gold={"basic": "NaN", "diluted": 1, "adjusted": 1}), "gold basic: found 'NaN'"),
    "a number without bounds": (GOOD.replace('"a"', '"b"').replace("1.20, ", "1e999999999, "), "no amount per share"),
    "an exponent beyond Decimal": (
        GOOD.replace('"a"', '"b"').replace("1.20, ", "1e9999999999999999999, "),
        "beyond all bounds",
    ),
    "a number of no size": (GOOD.replace('"a"', '"b"').replace("1.20, ", "1e-99, "), "no amount per share"),
    "digits of another script": (changed(id="b", gold={"basic": "١", "diluted": 1, "adjusted": 1}), "gold basic"),
    "a trap in words": (changed(id="b", traps={"basic_py": "x"}), "trap basic_py"),
    "a trap of null": (changed(id="b", traps={"basic_py": None}), "trap basic_py"),
    "a trap without a name": (changed(id="b", traps={"": 1}), "trap ''"),
    "a trap in capitals": (changed(id="b", traps={"Diluted_PY": 1}), "trap 'Diluted_PY': wanted a name of a-z"),
    "a trap over two lines": (changed(id="b", traps={"basic_py\n": 1}), "trap 'basic_py\\n'"),
    "tier a number": (changed(id="b", tier=1), "tier: found 1"),
    "traps a list": (changed(id="b", traps=[]), "traps: found []"),
    "id with NUL": (changed(id="b\0"), "id: found 'b\\x00', wanted at most 200 printable"),
    "id over two lines": (changed(id="b\nc"), "id: found 'b\\nc'"),
    "id of 201 characters": (changed(id="b" * 201), "wanted at most 200 printable"),
    "tags of numbers": (changed(id="b", tags=[1]), "tags"),
    "id a number": (changed(id=7), "id: found"),
    "no text": (changed(id="b", text="  "), "text is empty"),
    "half a surrogate": (changed(id="b", text="\ud800"), "surrogate"),
    "a key twice": ('{"id": "b", "id": "c"}', "'id' stands twice"),
    "not UTF-8": (b'{"id": "\xff"}\n', "not UTF-8"),
    "nested too deep": ("[" * 100_000, "nested too deep"),
    "used id": (GOOD, "already used in line 1"),
}


@pytest.mark.parametrize(("line", "reason"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_line_is_named(tmp_path, line, reason):
    file = written(tmp_path, GOOD, line)
    with pytest.raises(DatasetError) as caught:
        load(str(file))
    assert (caught.value.file, caught.value.line) == (file, 2)
    assert str(caught.value).startswith(f"{file}:2: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_line_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("gguf_bench.dataset._MAX_LINE_BYTES", 2**20)
    with pytest.raises(DatasetError, match="more than 1 MiB"):
        load(str(written(tmp_path, GOOD, "x" * (2**20 + 5))))


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_file_is_a_mistake(tmp_path, content):
    with pytest.raises(DatasetError, match="no documents"):
        load(str(written(tmp_path, content)))


def test_a_name_that_is_nothing_lists_what_there_is(tmp_path):
    with pytest.raises(DatasetError, match="eps-v1"):
        load("eps-v0")
    with pytest.raises(DatasetError, match="neither a file"):
        load(str(tmp_path))
    with pytest.raises(DatasetError, match="'~nouser/x': neither a file"):
        load("~nouser/x")


def test_the_built_in_one_is_there():
    assert DEFAULT_DATASET in BUILTIN
    dataset = load(DEFAULT_DATASET)
    assert dataset.name == DEFAULT_DATASET
    assert len(dataset.documents) >= 60


@pytest.mark.parametrize("n", [1, 2, 3, 7, 30, 59])
def test_a_limit_is_balanced_ordered_and_part_of_every_larger_one(n):
    dataset = load(DEFAULT_DATASET)
    sample = limit(dataset, n)
    assert len(sample.documents) == n
    assert sample == limit(dataset, n)
    assert (sample.name, sample.sha256) == (dataset.name, dataset.sha256)
    order = {document.id: place for place, document in enumerate(dataset.documents)}
    places = [order[document.id] for document in sample.documents]
    assert places == sorted(places)
    counts = [sum(document.tier == tier for document in sample.documents) for tier in ("plain", "ordinary", "hard")]
    assert max(counts) - min(counts) <= 1
    larger = {document.id for document in limit(dataset, n + 1).documents}
    assert {document.id for document in sample.documents} < larger


def test_a_limit_beyond_a_small_tier_is_filled_from_the_others(tmp_path):
    lines = [changed(id=f"a{i}", tier="plain") for i in range(2)] + [changed(id=f"b{i}", tier="hard") for i in range(9)]
    sample = limit(load(str(written(tmp_path, *lines))), 8)
    assert [document.tier for document in sample.documents].count("plain") == 2


def test_without_tiers_a_limit_is_a_spread_and_not_the_head(tmp_path):
    dataset = load(str(written(tmp_path, *(changed(id=f"a{i}") for i in range(100)))))
    sample = limit(dataset, 10)
    assert len(sample.documents) == 10
    assert sample.documents != dataset.documents[:10]


def test_a_limit_that_leaves_nothing_out_is_the_whole():
    dataset = load(DEFAULT_DATASET)
    assert limit(dataset, len(dataset.documents)) is dataset
    assert limit(dataset, 10_000) is dataset


@pytest.mark.parametrize("n", [0, -1])
def test_a_limit_of_nothing_is_refused(n):
    with pytest.raises(DatasetError, match="wanted 1 or more"):
        limit(load(DEFAULT_DATASET), n)


@pytest.mark.skipif(not DEV_DATA.exists(), reason=f"no development data at {DEV_DATA}")
def test_real_releases_load():
    dataset = load(str(DEV_DATA))
    assert len(dataset.documents) == 49
    assert sum(value is not None for document in dataset.documents for value in document.gold.values()) == 110
