"""How near a quantized file is to its reference: the arithmetic, standard errors, and files through llama.cpp."""

from __future__ import annotations

import hashlib
import json
import math
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader

from gguf_bench import child, dataset, export, prepare, results, terminal
from gguf_bench.errors import ChildDied, ModelError, QuantizeError, StoreError
from gguf_bench.fidelity import (
    FIGURES,
    Fidelity,
    Figure,
    _Sitting,
    columns,
    measure,
    of_columns,
    stepped_down,
    summarised,
)
from gguf_bench.llama.divergence import ROWS, compared
from gguf_bench.measure import fidelity
from gguf_bench.prepare import Contender
from gguf_bench.progress import SILENT, Silent
from gguf_bench.quants import Quant, quant
from gguf_bench.records import ModelSpec
from gguf_bench.report.figures import curves
from gguf_bench.report.found import Found, Standings
from gguf_bench.report.gather import gather
from gguf_bench.report.tables import board
from gguf_bench.report.words import board_note
from gguf_bench.store import Store
from gguf_bench.texts import MEASUREMENT, Text
from tests import tiny_models
from tests.processes import with_default_signals
from tests.reported_store import USUAL, reported
from tests.test_store import GGUF, a_run

Array = np.ndarray[Any, Any]


def logits(n_rows: int, n_vocab: int = 7, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 3, (n_rows, n_vocab)).astype(np.float32)


def test_divergence_surprise_and_agreement_by_their_definitions() -> None:
    n_rows = 2 * ROWS + 3
    expected, quantized = logits(n_rows), logits(n_rows, seed=1)
    following = np.random.default_rng(2).integers(0, 7, n_rows)
    found = compared(expected, quantized, following)
    for row in range(n_rows):
        p, q = ([math.exp(x) for x in each[row].tolist()] for each in (expected, quantized))
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        kl = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        assert found["divergence"][row] == pytest.approx(kl, rel=1e-9)
        assert found["surprise"][row] == pytest.approx(-math.log(q[following[row]]), rel=1e-9)
        assert found["reference_surprise"][row] == pytest.approx(-math.log(p[following[row]]), rel=1e-9)
        assert found["agrees"][row] == (p.index(max(p)) == q.index(max(q)))


@pytest.mark.parametrize("below", [-16.1, -np.inf])
def test_a_token_the_reference_all_but_rules_out_is_left_out_of_the_divergence(below: float) -> None:
    """As llama-perplexity does, whose figures people know."""
    expected, quantized = logits(1), logits(1, seed=1)
    expected[0, 0], quantized[0, 0] = np.log(np.exp(expected[0, 1:]).sum()) + below, -300.0
    found = compared(expected, quantized, np.array([1]))["divergence"][0]
    p, q = (np.exp(row[0], dtype=np.float64) for row in (expected, quantized))
    p, q = p / p.sum(), q / q.sum()
    assert found == pytest.approx((p[1:] * np.log(p[1:] / q[1:])).sum(), rel=1e-9)


def test_logits_that_are_no_numbers_are_an_error() -> None:
    expected, quantized = logits(1), logits(1, seed=1)
    quantized[0, 3] = np.nan
    with pytest.raises(ModelError, match="computes no numbers"):
        compared(expected, quantized, np.array([1]))


def test_figures_and_their_standard_errors() -> None:
    """Of independent tokens the bootstrap over chunks comes to the textbook's error; of chunks alike inside, more."""
    random = np.random.default_rng(5)
    tokens = random.exponential(0.1, (200, 50))
    chunks = np.repeat(random.exponential(0.1, (200, 1)), 50, axis=1)
    for divergence, n_independent in ((tokens, tokens.size), (chunks, 200)):
        found = summarised(
            {"divergence": divergence, "surprise": 2 + divergence, "reference_surprise": 2 + 0 * divergence}
            | {"agrees": (divergence < 0.1).astype(float)}
        )
        assert found.kl_divergence.value == pytest.approx(divergence.mean())
        textbook = divergence.std() / math.sqrt(n_independent)
        assert found.kl_divergence.standard_error == pytest.approx(textbook, rel=0.15)
        assert found.kl_divergence_99.value == pytest.approx(np.quantile(divergence, 0.99))
        assert found.top1_agreement.value == pytest.approx((divergence < 0.1).mean())
        assert found.perplexity.value == pytest.approx(math.exp((2 + divergence).mean()))
        assert found.reference_perplexity.value == pytest.approx(math.exp(2))
        assert found.perplexity_ratio.value == pytest.approx(math.exp(divergence.mean()))
        assert found.perplexity_ratio.standard_error == pytest.approx(found.perplexity_ratio.value * textbook, rel=0.15)


def words(n_bytes: int) -> Text:
    random = np.random.default_rng(7)
    return Text("words", bytes(random.integers(97, 123, n_bytes, np.uint8)).decode())


def test_a_model_is_itself_and_another_is_not(tmp_path: Path) -> None:
    one, other = (tiny_models.llama(tmp_path / f"{name}.gguf", n_layers=1) for name in ("one", "other"))
    found = measure(one, one, words(6 * 512))
    assert (found.n_chunks, found.n_tokens) == (6, 6 * 255)
    assert found.kl_divergence.value == 0
    assert found.top1_agreement.value == 1
    assert found.perplexity_ratio.value == 1

    output = next(tensor for tensor in GGUFReader(other, "r+").tensors if tensor.name == "output.weight")
    output.data[:] *= np.float32(0.9)
    del output
    found = measure(one, other, words(6 * 512), n_chunks=3)
    assert found.n_chunks == 3
    assert found.kl_divergence.value > 0.001
    assert found.top1_agreement.value == 1  # all logits shrink alike
    assert found.perplexity.value != found.reference_perplexity.value

    wide = tiny_models.llama(tmp_path / "wide.gguf", n_layers=1, n_more_tokens=5)
    with pytest.raises(ModelError, match=r"wide\.gguf and one\.gguf do not split text into the same tokens"):
        measure(one, wide, words(6 * 512))
    with pytest.raises(ModelError, match="words is shorter than 512 tokens"):
        measure(one, one, words(500))


def test_figures_that_are_no_numbers_are_stored_and_come_back(tmp_path: Path) -> None:
    """A logit of minus infinity makes a divergence infinite, and its standard error no number."""
    divergence = np.full((3, 4), 0.5)
    divergence[1, 2] = np.inf
    figures = summarised(
        {"divergence": divergence, "surprise": 1000 + divergence, "reference_surprise": np.ones((3, 4))}
        | {"agrees": np.ones((3, 4))}
    )
    assert math.isinf(figures.kl_divergence.value)
    assert math.isnan(figures.kl_divergence.standard_error)
    assert math.isinf(figures.perplexity.value)
    found = replace(a_measurement(), kl_divergence=figures.kl_divergence, perplexity=figures.perplexity)
    store = a_store(tmp_path)
    store.save_fidelity(a_row(found))
    (row,) = store.rows("select * from fidelity_measurements")
    assert row["kl_divergence_standard_error"] is None
    again = of_columns(row)
    assert repr(again) == repr(found)
    assert of_columns(a_row(a_measurement())) == a_measurement()


# --- in the store ---


def a_measurement(**others: Any) -> Fidelity:
    figures = {name: Figure(number / 8, number / 64) for number, name in enumerate(FIGURES, 1)}
    facts = {"n_ctx": 512, "n_chunks": 6, "is_whole_text": True, "n_tokens": 1530, "gpu_layers": 0}
    return Fidelity(**figures, **facts | {"reference_gpu_layers": 3, "seconds": 1.5, "peak_rss_bytes": 99} | others)


def a_row(found: Fidelity, **others: Any) -> dict[str, Any]:
    of = {"file_sha256": "q", "reference_sha256": "r16", "text": MEASUREMENT, "text_sha256": "t", "settings": "{}"}
    return {**of, **columns(found), "llama_cpp": "1", **others}


def a_store(tmp_path: Path) -> Store:
    """One that knows the files q, other, r16 and r32, of 4, 4, 16 and 32 bits per weight."""
    store = Store(tmp_path / "r.db")
    for sha256, bits in (("q", 4.0), ("other", 4.0), ("r16", 16.0), ("r32", 32.0)):
        gguf = replace(GGUF, sha256=sha256, bits_per_weight=bits, quant=f"F{bits:.0f}")
        store.save_artifact(gguf, made_by="found", made_with={})
    return store


def scores(store: Store) -> list[dict[str, Any]]:
    return store.rows("select * from eps_scores order by contender_id")


def test_the_view_shows_one_measurement_of_a_file_beside_its_score(tmp_path: Path) -> None:
    """That of the most precise reference on the most tokens of the built-in text, of several the newest."""
    store = a_store(tmp_path)
    first, second = store.contenders(a_run(store, models=("m", "n")))
    store.set_contender(first["id"], file_sha256="q")
    store.set_contender(second["id"], file_sha256="q", adapter_sha256="other")
    assert [row["kl_divergence"] for row in scores(store)] == [None, None]

    def shown(found: Fidelity, **others: Any) -> int:
        """The id of what is shown when this is added, too."""
        store.save_fidelity(a_row(found, **others))
        (of_file, with_adapter) = scores(store)
        assert with_adapter["fidelity_id"] is None, "another model"
        return of_file["fidelity_id"] or 0

    assert shown(a_measurement(), text="/somewhere/else.txt") == 0
    assert shown(a_measurement(), file_sha256="other") == 0
    assert shown(a_measurement(n_tokens=100)) == 3
    assert shown(a_measurement()) == 4
    assert shown(a_measurement(n_tokens=100)) == 4
    assert shown(a_measurement(n_tokens=100), reference_sha256="r32") == 6
    assert shown(a_measurement()) == 6
    assert shown(a_measurement(n_tokens=100), reference_sha256="r32") == 8

    (row, _) = scores(store)
    found = a_measurement()
    assert list(row)[-4:] == ["kl_divergence", "top1_agreement", "perplexity", "fidelity_id"]
    assert row["kl_divergence"] == found.kl_divergence.value
    assert row["top1_agreement"] == found.top1_agreement.value
    assert row["perplexity"] == found.perplexity.value
    assert store.fidelity([8, 4])[8]["reference"] == "F32"


def test_what_is_known_is_of_the_same_files_text_and_settings(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    store.save_fidelity(a_row(a_measurement(n_chunks=6, is_whole_text=True)))
    store.save_fidelity(a_row(a_measurement(n_chunks=3, is_whole_text=False)))
    names = ("file_sha256", "reference_sha256", "text_sha256", "n_ctx", "settings")
    same = {name: a_row(a_measurement())[name] for name in names}

    def known(n_chunks: int | None, **others: Any) -> int | None:
        row = store.known_fidelity(same | others, n_chunks)
        return row and row["n_chunks"]

    assert [known(n_chunks) for n_chunks in (None, 3, 6, 7, 2, 4)] == [6, 3, 6, 6, None, None]
    for name in names:
        assert known(None, **{name: "another"}) is None, name


def test_files_that_nobody_knows_have_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        a_store(tmp_path).save_fidelity(a_row(a_measurement(), reference_sha256="nobody"))


# --- beside scores ---


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A run of made-up models, three files of which were measured: those of one model on more tokens."""
    documents = dataset.limit(dataset.load("eps-v1"), 6).documents
    path = reported(tmp_path / "scored.db", USUAL[:6], documents=documents)
    with closing(Store(path)) as store:
        for model, quant_name, n_tokens in (
            ("zorp_3b", "Q8_0", 1530),
            ("zorp_3b", "Q2_K", 1530),
            ("bloop_1b", "Q4_0", 9000),
        ):
            file, reference = (hashlib.sha256(name.encode()).hexdigest() for name in (f"{model} {quant_name}", model))
            found = a_measurement(n_tokens=n_tokens, n_chunks=n_tokens // 255)
            store.save_fidelity(a_row(found, file_sha256=file, reference_sha256=reference))
    return path


def test_leaderboards_show_it_beside_the_score(
    scored: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    comparison = results.comparison([1], Store(scored, to_read=True))
    terminal.print_comparison(comparison, as_json=False)
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.split()[-3:] == ["div", "Exact", "Docs/min"] for line in lines)
    row = next(line.split() for line in lines if line.split()[:2] == ["zorp_3b", "Q8_0"])
    assert row[-3] == "0.1250"
    other = next(line.split() for line in lines if line.split()[:2] == ["zorp_3b", "Q4_K_M"])
    assert other[-3] == "–"
    assert "how near each predicts to zorp_3b F16, on 1,530 tokens of eps-measurement-v1" in shown
    assert "how near each predicts to bloop_1b F16, on 9,000 tokens of eps-measurement-v1" in shown
    figures = ["0.1250±0.0156", "0.250±0.031", "37.5±4.7", "0.50±0.06"]
    assert sum(line.split()[2:] == figures for line in lines) == 3


def test_json_and_markdown_have_it_too(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    comparison = results.comparison([1], Store(scored, to_read=True))
    terminal.print_comparison(comparison, as_json=True)
    board = {row["name"]: row for row in json.loads(capsys.readouterr().out)["leaderboard"]}
    row = board["bloop_1b Q4_0"]
    assert [row[name] for name in ("kl_divergence", "top1_agreement", "perplexity")] == [0.125, 0.375, 0.5]
    assert (row["fidelity"]["reference"], row["fidelity"]["n_tokens"]) == ("F16", 9000)
    assert row["fidelity"]["kl_divergence_standard_error"] == 1 / 64
    assert board["bloop_1b Q8_0"]["fidelity"] is None
    heads, _, *rows = export.markdown(comparison).splitlines()[2:]
    assert heads.endswith("| Memory | KL divergence | Same token | Perplexity |")
    assert sum(line.endswith("| 0.1250 | 37.5 | 0.50 |") for line in rows) == 3
    assert sum(line.endswith("| – | – | – |") for line in rows) > 3


def test_a_report_has_it_in_its_leaderboard(scored: Path) -> None:
    store = Store(scored, to_read=True)

    def shown() -> tuple[list[str], list[list[str]], str]:
        comparison = results.comparison([1], store)
        found = Found(comparison, gather(comparison, store))
        table = board(found)
        cells = [[cell.text for cell in row.cells] for row in table.rows]
        return [column.title for column in table.columns], cells, board_note(found)

    titles, rows, note = shown()
    first = titles.index("KL divergence")
    assert titles[first : first + 3] == ["KL divergence", "Same token", "Perplexity"]
    assert sum(row[first : first + 3] == ["0.1250", "37.5", "0.50"] for row in rows) == 3
    assert "F16 on 1,530 tokens of eps-measurement-v1 or F16 on 9,000 tokens of eps-measurement-v1." in note
    figures, _ = curves(Standings(results.comparison([1], store)))
    assert [figure.id for figure in figures] == ["curve-0", "divergence-0", "curve-1"]  # of bloop_1b one file
    assert re.search("Q\\w+ diverges 1.0 times as far as Q\\w+ and scores", figures[1].title)
    assert "predictions from those of F16, on 1,530 tokens of eps-measurement-v1" in figures[1].caption
    store = Store(scored)
    with store._writing() as connection:
        connection.execute("delete from fidelity_measurements")
    titles, rows, note = shown()
    assert "KL divergence" not in titles
    assert {len(row) for row in rows} == {len(titles)}
    assert "ivergence" not in note


# --- a model in several types ---


@pytest.fixture
def wide(tmp_path: Path) -> ModelSpec:
    path = tiny_models.llama(tmp_path / "wide.gguf", n_layers=1, width=256, feed_forward=256)
    return ModelSpec(key="wide", provider="file", path=path)


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def types(*names: str) -> list[Quant]:
    return [quant(name) for name in names]


def test_what_is_stored_is_not_computed_again(wide: ModelSpec, tmp_path: Path) -> None:
    store, said, text = Store(tmp_path / "r.db"), Said(), words(3 * 512)

    def measured(*names: str, **others: Any) -> list[Fidelity | None]:
        found = fidelity(wide, types(*names), quant("F32"), text, store, progress=said, **others)
        return [each.fidelity for each in found]

    def n_rows() -> int:
        return len(store.rows("select id from fidelity_measurements"))

    (first,) = measured("Q8_0")
    assert n_rows() == 1
    assert measured("Q8_0", "Q8_0") == [first]
    assert any("as it is stored" in line for line in said.lines)
    again, _ = measured("Q8_0", "Q2_K")
    assert (again, n_rows()) == (first, 2)
    (two,) = measured("Q8_0", n_chunks=2)
    assert two is not None
    assert (two.n_chunks, two.is_whole_text, n_rows()) == (2, False, 3)
    (fresh,) = measured("Q8_0", fresh=True)
    assert first is not None
    assert fresh is not None
    assert (fresh.kl_divergence, n_rows()) == (first.kl_divergence, 4)
    measured("Q8_0", gpu_layers="0")
    assert n_rows() == 5


def test_a_model_trained_on_less_than_a_chunk_reads_as_much(tmp_path: Path) -> None:
    path = tiny_models.llama(tmp_path / "short.gguf", n_layers=1, context_length=128)
    spec = ModelSpec(key="short", provider="file", path=path)
    (found,) = fidelity(spec, types("Q8_0"), quant("F32"), words(4 * 128), Store(tmp_path / "r.db"))
    assert found.fidelity is not None
    assert (found.fidelity.n_ctx, found.fidelity.n_chunks, found.fidelity.n_tokens) == (128, 4, 4 * 63)


DYING = """
import json, os, runpy, sys, threading
sys.path.insert(0, "")
from gguf_bench import worker
from gguf_bench.jobs import fidelity
work = fidelity.work
def dying(job, emit, lines):
    if "Q4_0" in job["path"]:
        print("GGML_ASSERT(n_experts == 7) failed", file=sys.stderr, flush=True)
        os.kill(os.getpid(), 6)
    work(job, emit, lines)
fidelity.work = dying
worker.main()
"""


def test_patience_is_for_all_parts_of_a_split_file(tmp_path: Path) -> None:
    """The first part of a large model may be of a few kilobytes."""
    reference, quantized = tmp_path / "x-F16-00001-of-00003.gguf", tmp_path / "x-Q8_0.gguf"
    for number, size_bytes in enumerate((10, 2000, 300_000), start=1):
        (tmp_path / f"x-F16-0000{number}-of-00003.gguf").write_bytes(b"x" * size_bytes)
    quantized.write_bytes(b"x" * 4_000_000)
    assert _Sitting(reference, quantized, SILENT)._size_bytes == 4_302_010


def test_a_file_whose_process_dies_is_told_and_the_others_go_on(
    wide: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "WORKER", (sys.executable, "-c", DYING))
    store, said = Store(tmp_path / "r.db"), Said()
    found = list(fidelity(wide, types("Q4_0", "Q8_0"), quant("F32"), words(2 * 512), store, progress=said))
    assert [each.error is None for each in found] == [False, True]
    assert "died (SIGABRT); last in its log: GGML_ASSERT(n_experts == 7) failed" in str(found[0].error)
    assert any(line.startswith("wide-Q4_0.gguf failed: ") for line in said.lines)
    (row,) = store.rows("select file_sha256 from fidelity_measurements")
    assert row["file_sha256"] == found[1].file.sha256


# --- the command ---


Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    """The logits of 16 more chunks would take 170 MB."""
    path = tiny_models.llama(tmp_path / "tiny.gguf", n_layers=1, n_more_tokens=10_000)
    few, many = (measure(path, path, words(n_chunks * 512)) for n_chunks in (4, 20))
    assert (few.n_chunks, many.n_chunks) == (4, 20)
    assert many.peak_rss_bytes - few.peak_rss_bytes < 50e6


def test_the_command(wide: ModelSpec, tmp_path: Path, gguf_bench: Command) -> None:
    text = tmp_path / "t.txt"
    text.write_text(words(4 * 512).text)
    arguments = ("fidelity", wide.path, "-q", "Q8_0", "-q", "Q2_K", "--reference", "F32", "--text", text)
    made = gguf_bench(*arguments, "--json")
    assert made.returncode == 0, made.stderr
    eight, two = json.loads(made.stdout)
    assert (eight["quant"], two["quant"], two["reference"], two["text"]) == ("Q8_0", "Q2_K", "F32", str(text))
    assert 0 < eight["kl_divergence"] < two["kl_divergence"]
    assert eight["kl_divergence_standard_error"] > 0
    assert eight["top1_agreement"] > two["top1_agreement"]
    again = gguf_bench(*arguments)
    assert again.stderr.count("as it is stored") == 2
    lines = [line.split() for line in again.stdout.splitlines() if "±" in line]
    assert [line[0] for line in lines] == ["Q8_0", "Q2_K"]
    assert lines[0][1] == f"{eight['kl_divergence']:.4f}±{eight['kl_divergence_standard_error']:.4f}"
    assert max(map(len, again.stdout.splitlines())) <= 80


def test_a_file_made_for_a_size_beside_a_type(wide: ModelSpec, tmp_path: Path, gguf_bench: Command) -> None:
    text = tmp_path / "t.txt"
    text.write_text(words(4 * 512).text)
    made = gguf_bench("quantize", wide.path, "--target-bpw", "6", "--token-embedding-type", "Q4_0", "-o", tmp_path)
    assert made.returncode == 0, made.stderr
    file = Path(made.stdout.strip())
    arguments = ("fidelity", wide.path, "-q", "Q8_0", "--file", file, "--reference", "F32", "--text", text)
    eight, chosen = json.loads(gguf_bench(*arguments, "--json").stdout)
    assert (eight["name"], chosen["name"], chosen["path"]) == ("Q8_0", file.name, str(file))
    assert 0 < eight["kl_divergence"] < chosen["kl_divergence"]
    lines = gguf_bench(*arguments).stdout.splitlines()
    assert [line.split()[0][:5] for line in lines if "±" in line] == ["Q8_0", "wide-"]  # a long name is folded
    assert max(map(len, lines)) <= 80
    chain = gguf_bench("results", "show", file, "--json")
    assert json.loads(chain.stdout)[0]["made_by"] == "quantized", chain.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "at least one -q TYPE or --file FILE"),
        (["--file", "nowhere.gguf"], 2, "nowhere.gguf"),
        (["--file", "few.txt"], 1, "few.txt"),
        (["-q", "Q9_9"], 2, "Q9_9"),
        (["-q", "Q8_0", "--chunks", 0], 2, "--chunks"),
        (["-q", "Q8_0", "--text", "nowhere.txt"], 1, "nowhere.txt: cannot be read"),
        (["-q", "Q8_0", "--text", "few.txt"], 1, "is shorter than 512 tokens; give a longer text"),
        (["-q", "IQ2_XXS"], 1, "--imatrix"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[object], code: int, says: str, wide: ModelSpec, tmp_path: Path, gguf_bench: Command
) -> None:
    (tmp_path / "elsewhere" / "few.txt").write_text("few words")
    found = gguf_bench("fidelity", wide.path, *arguments)
    assert found.returncode == code, found.stderr
    assert says in " ".join(found.stderr.split())
    assert not found.stdout


def test_the_file_is_the_one_that_is_compared(tmp_path: Path) -> None:
    """Figures of another copy of the same weights would stand beside nobody's score."""
    path = tiny_models.llama(tmp_path / "tiny-F32.gguf", n_layers=1)
    spec, store = ModelSpec(key="tiny", provider="file", path=path), Store(tmp_path / "r.db")
    compared_as = prepare.gguf_of(Contender(spec, quant("F32")), store)
    (found,) = fidelity(spec, types("F32"), quant("F32"), words(2 * 512), store)
    assert (found.file.path, found.file.sha256) == (path, compared_as.sha256)


def test_a_file_that_cannot_be_measured_leaves_the_others_alone(
    wide: ModelSpec, tmp_path: Path, gguf_bench: Command
) -> None:
    text = tmp_path / "t.txt"
    text.write_text(words(2 * 512).text)
    (broken,) = prepare.quantize(wide, types("F16"), Store(tmp_path / "r.db"), folder=tmp_path)
    reader = GGUFReader(broken, "r+")
    next(tensor for tensor in reader.tensors if tensor.name == "output_norm.weight").data[:] = np.nan
    del reader
    arguments = ("fidelity", wide.path, "--reference", "F32", "--text", text, "--file", broken)
    found = gguf_bench(*arguments, "-q", "Q8_0", "--json")
    assert found.returncode == 3, found.stderr
    eight, failed = json.loads(found.stdout)
    assert eight["error"] is None
    assert failed["error"].startswith("the quantized model computes no numbers")
    alone = gguf_bench(*arguments)
    assert alone.returncode == 1
    assert "Error: the quantized model computes no numbers" in alone.stderr


def test_quantized_files_and_adapters_are_no_originals(wide: ModelSpec, tmp_path: Path) -> None:
    store = Store(tmp_path / "r.db")
    (path,) = prepare.quantize(wide, types("Q8_0"), store)
    made = ModelSpec(key="made", provider="file", path=path)
    with pytest.raises(QuantizeError, match="is Q8_0 already: what that lost cannot be had back"):
        list(fidelity(made, types("Q4_0"), quant("F16"), words(512), store))
    adapter = ModelSpec(key="adapter", name="org/adapter", base="org/base")
    with pytest.raises(ModelError, match="adapter is a LoRA adapter, which stays as it is"):
        list(fidelity(adapter, types("Q4_0"), quant("F16"), words(512), store))


def test_ctrl_c_leaves_what_was_measured(wide: ModelSpec, tmp_path: Path) -> None:
    """And the same command goes on behind it."""
    text, db = tmp_path / "t.txt", tmp_path / "r.db"
    text.write_text(words(40 * 512).text)
    command = [sys.executable, "-m", "gguf_bench", "--db", str(db), "fidelity", str(wide.path), "--reference", "F32"]
    command += ["-q", "Q8_0", "-q", "Q4_0", "-q", "Q2_K", "--text", str(text), "--json"]
    Store(db).close()

    def n_rows() -> int:
        with closing(sqlite3.connect(db)) as connection:
            (found,) = connection.execute("select count(*) from fidelity_measurements").fetchone()
        return int(found)

    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=with_default_signals
    )
    while n_rows() == 0:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    shown, errors = process.communicate(timeout=60)
    assert (process.returncode, shown) == (130, "")
    assert "interrupted; run the same command again" in errors
    n_stored = n_rows()
    assert n_stored < 3
    assert list(tmp_path.rglob("*partial*")) == []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.count("as it is stored") == n_stored
    assert len(json.loads(done.stdout)) == n_rows() == 3


# --- where two models do not fit a GPU ---


def offered(layers: int, *left: int) -> dict[str, Any]:
    return {"gpu_layers": layers, "tensor_split": [], "left": [[each, []] for each in left]}


DIED = ChildDied("x", -signal.SIGABRT, ["CUDA error: out of memory"])


def test_of_two_files_the_quantized_one_gives_way_first() -> None:
    job = {"job": "fidelity", "path": "/q.gguf", "reference": "/f.gguf"}
    again = stepped_down(job, {"reference": offered(32, 24, 0), "path": offered(16, 8, 0)}, DIED)
    assert again is not None
    assert again[0] == job | {"plans": {"reference": [[32, []], [24, []], [0, []]], "path": [[8, []], [0, []]]}}
    assert again[1].startswith("q.gguf: WARNING: 16 layers do not fit the GPU")


def test_the_reference_gives_way_where_the_other_has_nothing_left() -> None:
    job = {"job": "fidelity", "path": "/q.gguf", "reference": "/f.gguf", "plans": {"path": [[0, []]]}}
    for offload in ({"reference": offered(32, 24, 0), "path": offered(0)}, {"reference": offered(32, 24, 0)}):
        again = stepped_down(job, offload, DIED)
        assert again is not None
        assert again[0]["plans"] == {"reference": [[24, []], [0, []]]}, "the other is planned anew"
        assert again[1].startswith("f.gguf: WARNING: 32 layers")
    assert stepped_down(job, {"reference": offered(0), "path": offered(0)}, DIED) is None
    assert stepped_down(job, {"reference": offered(9), "path": offered(9)}, DIED) is None, "no plan is left"
    crash = ChildDied("x", -signal.SIGSEGV, ["segfault"])
    assert stepped_down(job, {"reference": offered(32, 0), "path": offered(16, 0)}, crash) is None


SMALL_GPU = """
import os, sys
from gguf_bench import worker
from gguf_bench.errors import ModelError
from gguf_bench.jobs import loading
from gguf_bench.offload import Plan
layers = {}
def load(job, emit, plan, real=loading.load):
    layers[job["path"]] = plan.gpu_layers
    if sum(layers.values()) + 4 * (len(layers) - 1) > ROOM:
        HOW
    return real(job, emit, plan)
loading.load = load
loading.plans = lambda job, shape: [Plan(8), Plan(4), Plan(0)]
worker.main()
"""
DIES = "print('CUDA error: out of memory', file=sys.stderr, flush=True); os.abort()"
FAILS = "layers.pop(job['path']); raise ModelError('cudaMalloc failed: out of memory')"


@pytest.mark.parametrize("how", [DIES, FAILS])
@pytest.mark.parametrize(("room", "steps"), [(20, ""), (12, "qq"), (8, "qqfqq"), (4, "fqqfqq")])
def test_both_step_down_until_they_fit(
    how: str, room: int, steps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the worker, with a GPU that has room for so many layers; the second file takes 4 for computing besides."""
    full, said = tiny_models.llama(tmp_path / "f.gguf", n_layers=1), Said()
    quantized = tiny_models.llama(tmp_path / "q.gguf", n_layers=1)
    script = SMALL_GPU.replace("ROOM", str(room)).replace("HOW", how)
    monkeypatch.setattr(child, "WORKER", (sys.executable, "-c", script))
    assert measure(full, quantized, words(2 * 512), progress=said).n_chunks == 2
    assert "".join(line[0] for line in said.lines) == steps
    assert all(".gguf: WARNING: " in line and "do not fit the GPU" in line for line in said.lines)


def test_all_layers_that_do_not_fit_are_an_error_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tiny_models.llama(tmp_path / "one.gguf", n_layers=1)
    script = SMALL_GPU.replace("ROOM", "0").replace("HOW", DIES).replace("Plan(8), Plan(4), Plan(0)", "Plan(8)")
    monkeypatch.setattr(child, "WORKER", (sys.executable, "-c", script))
    with pytest.raises(ChildDied, match=r"CUDA error: out of memory; .*--gpu-layers auto"):
        measure(one, one, words(2 * 512), gpu_layers="all")
