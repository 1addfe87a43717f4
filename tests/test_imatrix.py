"""Importance matrices: the values against arithmetic of our own, files of both forms, work that goes on, and faults."""

from __future__ import annotations

import ctypes
import hashlib
import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter

from gguf_bench import child, imatrix, prepare, provenance
from gguf_bench.describe import describe
from gguf_bench.errors import ModelError
from gguf_bench.gguf_header import read_header
from gguf_bench.imatrix_file import Entry, Imatrix, progress_of, read, save_progress, write
from gguf_bench.llama.eval_callback import Tensor, tensor_operations
from gguf_bench.quantize_options import QuantizeOptions
from gguf_bench.quants import quant
from gguf_bench.records import GgufFile, ModelSpec
from gguf_bench.store import Store
from gguf_bench.texts import Text
from tests import tiny_models

Array = np.ndarray[Any, Any]
CHUNK = imatrix.CHUNK_TOKENS
BOS, FIRST_BYTE = 1, 3


def described(path: Path) -> GgufFile:
    return describe((path,), hashlib.sha256(path.read_bytes()).hexdigest())


def words(n_bytes: int) -> Text:
    """A text of so many bytes, and so of so many tokens of a tiny model."""
    random = np.random.default_rng(7)
    return Text("words", bytes(random.integers(97, 123, n_bytes, np.uint8)).decode())


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.llama(tmp_path_factory.mktemp("dense") / "dense.gguf", n_layers=1)


@pytest.fixture(scope="module")
def moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.llama(tmp_path_factory.mktemp("moe") / "moe.gguf", n_layers=1, n_experts=6)


# --------------------------------------------------------------------------------------------------------- the values


class Layer:
    """One layer of a Llama in numpy: what its weights are multiplied with, in float64."""

    def __init__(self, path: Path) -> None:
        tensors = GGUFReader(path).tensors
        self.weights = {tensor.name: np.array(tensor.data, np.float64) for tensor in tensors}
        self.squares: dict[str, tuple[Array, Array]] = {}

    def weight(self, name: str) -> Array:
        return self.weights[f"blk.0.{name}.weight"]

    def times(self, name: str, rows: Array) -> Array:
        """`rows` (tokens, inputs) through a weight, noted."""
        self.note(name, 0, 1, rows)
        return rows @ self.weight(name).T

    def note(self, name: str, place: int, n_places: int, rows: Array) -> None:
        known = self.squares.get(name, (np.zeros((n_places, rows.shape[1])), np.zeros(n_places, int)))
        known[0][place] += (rows**2).sum(axis=0)
        known[1][place] += len(rows)
        self.squares[name] = known

    def read(self, tokens: list[int]) -> None:
        """One chunk."""
        x = self.weights["token_embd.weight"][tokens]
        x = x + self.times("attn_output", self.attention(normed(x) * self.weight("attn_norm")))
        rows = normed(x) * self.weight("ffn_norm")
        if "blk.0.ffn_gate_inp.weight" not in self.weights:
            self.times("ffn_down", silu(self.times("ffn_gate", rows)) * self.times("ffn_up", rows))
            return
        chosen = np.argsort(-self.times("ffn_gate_inp", rows), axis=1, kind="stable")[:, :2]
        n_experts = len(self.weight("ffn_gate_inp"))
        for expert in range(n_experts):
            mine = rows[(chosen == expert).any(axis=1)]
            gate, up = self.weight("ffn_gate_exps")[expert], self.weight("ffn_up_exps")[expert]
            for name, through in (
                ("ffn_gate_exps", mine),
                ("ffn_up_exps", mine),
                ("ffn_down_exps", silu(mine @ gate.T) * (mine @ up.T)),
            ):
                self.note(name, expert, n_experts, through)

    def attention(self, rows: Array) -> Array:
        """Four heads of 16, two of keys and values, causal."""
        q, k, v = (self.times(name, rows) for name in ("attn_q", "attn_k", "attn_v"))
        later = np.triu(np.full((len(rows), len(rows)), -np.inf), 1)
        heads = []
        for head in range(4):
            part, shared = slice(16 * head, 16 * head + 16), slice(16 * (head // 2), 16 * (head // 2) + 16)
            scores = rotated(q[:, part]) @ rotated(k[:, shared]).T / 4 + later
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            heads.append(weights / weights.sum(axis=1, keepdims=True) @ v[:, shared])
        return np.concatenate(heads, axis=1)


def normed(rows: Array) -> Array:
    return rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + 1e-5)


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def rotated(rows: Array) -> Array:
    """Rotary positions of neighbouring pairs."""
    angles = np.arange(len(rows))[:, None] * 10000.0 ** (-np.arange(0, 16, 2) / 16)
    even, odd = rows[:, ::2], rows[:, 1::2]
    out = np.empty_like(rows)
    out[:, ::2] = even * np.cos(angles) - odd * np.sin(angles)
    out[:, 1::2] = even * np.sin(angles) + odd * np.cos(angles)
    return out


@pytest.mark.parametrize("kind", ["dense", "moe"])
def test_the_values_are_those_of_a_numpy_transformer(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Counts exactly, over five chunks: one full batch of four, and one of what is left.

    Sums to 2e-3, for llama.cpp's attention computes with 16-bit keys and values. Against llama-imatrix they are nearer:
    see scripts/imatrix_parity.py.
    """
    path = request.getfixturevalue(kind)
    text = words(5 * CHUNK + 100)
    made = imatrix.compute(described(path), text, tmp_path / "imatrix.gguf")
    assert (made.n_chunks, made.chunk_tokens, made.gpu_layers) == (5, CHUNK, 0)

    layer = Layer(path)
    tokens = [BOS, *(FIRST_BYTE + byte for byte in text.text.encode())]
    for start in range(0, 5 * CHUNK, CHUNK):
        layer.read([BOS, *tokens[start + 1 : start + CHUNK]])
    found = read(made.path)
    assert set(found.entries) == {f"blk.0.{name}.weight" for name in layer.squares}
    for name, (squares, counts) in layer.squares.items():
        entry = found.entries[f"blk.0.{name}.weight"]
        assert entry.counts.tolist() == counts.tolist(), name
        np.testing.assert_allclose(entry.sums, squares, rtol=2e-3, err_msg=name)
    assert found.datasets == ("words",)
    assert (found.chunk_count, found.chunk_size) == (5, CHUNK)


def test_fewer_chunks_are_the_first_ones(dense: Path, tmp_path: Path) -> None:
    some = imatrix.compute(described(dense), words(6 * CHUNK), tmp_path / "some.gguf", n_chunks=4)
    same = imatrix.compute(described(dense), Text("words", words(6 * CHUNK).text[: 4 * CHUNK]), tmp_path / "same.gguf")
    assert some.n_chunks == same.n_chunks == 4
    assert some.path.read_bytes() == same.path.read_bytes()


def test_a_text_shorter_than_a_chunk_is_refused(dense: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="words is shorter than 512 tokens; give a longer text"):
        imatrix.compute(described(dense), words(CHUNK - 2), tmp_path / "imatrix.gguf")
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_no_numbers_are_an_error_that_names_the_tensor(tmp_path: Path) -> None:
    path = tiny_models.llama(tmp_path / "broken.gguf", n_layers=2)
    broken = next(tensor for tensor in GGUFReader(path, "r+").tensors if tensor.name == "blk.1.ffn_up.weight")
    broken.data[:] = np.nan
    del broken
    with pytest.raises(ModelError, match=r"the inputs of blk\.1\.ffn_down\.weight hold what is no number"):
        imatrix.compute(described(path), words(2 * CHUNK), tmp_path / "imatrix.gguf")
    assert not (tmp_path / "imatrix.gguf").exists()


# ------------------------------------------------------------------------------------------------- work that goes on


class Interrupted(Exception):
    pass


def interrupted_after(n_chunks: int) -> Any:
    """A progress that breaks off once so many chunks are done."""

    class Bar:
        done = 0.0

        def advance(self, amount: float) -> None:
            self.done += amount
            if self.done >= n_chunks:
                raise Interrupted

        def note(self, text: str) -> None: ...
        def close(self) -> None: ...

    class Progress:
        def bar(self, label: str, total: float | None, unit: str) -> Any:
            return Bar() if unit == "chunks" else type("Silent", (Bar,), {"advance": lambda self, amount: None})()

        def say(self, line: str) -> None: ...

    return Progress()


class Said:
    """A progress that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def bar(self, label: str, total: float | None, unit: str) -> Any:
        return interrupted_after(10**9).bar(label, total, unit)

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_work_broken_off_is_gone_on_with_to_the_same_bytes(moe: Path, tmp_path: Path) -> None:
    whole = imatrix.compute(described(moe), words(20 * CHUNK), tmp_path / "whole.gguf")
    target = tmp_path / "imatrix.gguf"
    with pytest.raises(Interrupted):
        imatrix.compute(described(moe), words(20 * CHUNK), target, progress=interrupted_after(12))
    assert not target.exists()
    said = Said()
    made = imatrix.compute(described(moe), words(20 * CHUNK), target, progress=said)
    assert said.lines[0].startswith("going on behind chunk ")
    assert said.lines[0].endswith(" of 20")
    assert made.n_chunks == 20
    assert target.read_bytes() == whole.path.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["imatrix.gguf", "whole.gguf"]


def test_what_was_left_of_other_work_is_not_gone_on_with(dense: Path, moe: Path, tmp_path: Path) -> None:
    target = tmp_path / "imatrix.gguf"
    with pytest.raises(Interrupted):
        imatrix.compute(described(moe), words(20 * CHUNK), target, progress=interrupted_after(8))
    assert (tmp_path / "imatrix.gguf.partial").exists()
    said = Said()
    imatrix.compute(described(dense), words(20 * CHUNK), target, progress=said)
    assert said.lines == []
    assert "blk.0.ffn_up.weight" in read(target).entries


def test_a_state_is_an_importance_matrix_too_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    state = tmp_path / "state"
    save_progress(some_imatrix(), state, "key", 7)
    known, n_done = progress_of(state, "key")
    assert known is not None
    assert n_done == 7
    assert read(state).entries.keys() == known.entries.keys()
    assert progress_of(state, "other") == (None, 0)
    state.write_bytes(state.read_bytes()[:-40])
    assert progress_of(state, "key") == (None, 0)


# ---------------------------------------------------------------------------------------------------------- coverage


def test_what_was_not_reached_is_named(moe: Path, tmp_path: Path) -> None:
    made = imatrix.compute(described(moe), words(2 * CHUNK), tmp_path / "imatrix.gguf")
    found = read(made.path)
    assert made.coverage == imatrix.Coverage((), {})
    assert made.coverage.line() is None

    entries = dict(found.entries)
    del entries["blk.0.attn_q.weight"], entries["blk.0.ffn_gate_inp.weight"]  # the latter is never quantized
    for name in ("ffn_up_exps", "ffn_gate_exps"):
        entries[f"blk.0.{name}.weight"].counts[[1, 4]] = 0
    entries["blk.0.ffn_down_exps.weight"].counts[5] = 0
    coverage = imatrix.coverage(Imatrix(entries, (), 0, CHUNK), read_header(moe))
    assert coverage.weights == ("blk.0.attn_q.weight",)
    assert coverage.experts["blk.0.ffn_up_exps.weight"] == (1, 4)
    assert coverage.line() == (
        "NOTE: experts that no token chose: blk.0 5; blk.0 1, 4; weights that were not used: blk.0.attn_q.weight: "
        "they are quantized as if all inputs weighed the same"
    )


# -------------------------------------------------------------------------------------------------------- the tensor


def test_the_layout_of_ggmls_tensor_is_the_loaded_librarys() -> None:
    operations = tensor_operations()
    assert operations.mul_mat != operations.mul_mat_id


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"swap": ("ne", "nb")}, "'ne'"),
        ({"swap": ("data", "view_offs")}, "'data'"),
        ({"swap": ("op", "flags")}, "'op'"),
        ({"swap": ("type", "op")}, "'type'|'op'"),
        ({"swap": ("view_src", "extra")}, "'view_src'"),
        ({"swap": ("buffer", "extra")}, "'buffer'"),
        ({"swap": ("src", "ne")}, "'ne'"),
        ({"drop": "padding"}, "has 336 bytes, not 328"),
    ],
)
def test_another_layout_is_an_error_before_anything_is_read(wrong: dict[str, Any], told: str) -> None:
    fields = dict(Tensor._fields_)
    names = [name for name in fields if name != wrong.get("drop")]
    if "swap" in wrong:
        one, other = (names.index(name) for name in wrong["swap"])
        names[one], names[other] = names[other], names[one]
    layout = type("Other", (ctypes.Structure,), {"_fields_": [(name, fields[name]) for name in names]})
    with pytest.raises(ModelError, match=rf"lays tensors out in another way than gguf-bench knows: .*{told}"):
        tensor_operations(layout)


# ------------------------------------------------------------------------------------------------------------- files


def some_imatrix() -> Imatrix:
    random = np.random.default_rng(3)
    return Imatrix(
        entries={
            "blk.1.ffn_up_exps.weight": Entry(random.random((3, 8), np.float32) * 50, np.array([17, 0, 5])),
            "blk.0.attn_q.weight": Entry(random.random((1, 8), np.float32) * 50, np.array([22])),
        },
        datasets=("a text.txt",),
        chunk_count=2,
        chunk_size=11,
    )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    written, path = some_imatrix(), tmp_path / "imatrix.gguf"
    write(written, path)
    found = read(path)
    assert list(found.entries) == ["blk.0.attn_q.weight", "blk.1.ffn_up_exps.weight"]
    for name, entry in written.entries.items():
        assert found.entries[name].sums.tolist() == entry.sums.tolist()
        assert found.entries[name].counts.tolist() == entry.counts.tolist()
    assert (found.datasets, found.chunk_count, found.chunk_size) == (("a text.txt",), 2, 11)
    reader = GGUFReader(path)
    assert [tensor.name for tensor in reader.tensors] == [
        "blk.0.attn_q.weight.in_sum2", "blk.0.attn_q.weight.counts",
        "blk.1.ffn_up_exps.weight.in_sum2", "blk.1.ffn_up_exps.weight.counts",
    ]  # fmt: skip
    assert [list(tensor.shape) for tensor in reader.tensors] == [[8], [1], [8, 3], [1, 3]]
    assert reader.fields["general.type"].contents() == "imatrix"
    assert "general.architecture" not in reader.fields


def test_weights_are_means_and_1_for_an_expert_that_was_never_reached() -> None:
    written = some_imatrix()
    weights = written.weights()["blk.1.ffn_up_exps.weight"]
    sums = written.entries["blk.1.ffn_up_exps.weight"].sums
    assert weights.dtype == np.float32
    assert weights[:8].tolist() == (sums[0] / np.float32(17)).tolist()
    assert weights[8:16].tolist() == [1.0] * 8
    assert weights[16:].tolist() == (sums[2] / np.float32(5)).tolist()


def dat(*, calls: int = 4, dataset: bytes = b"wiki.txt", name: bytes = b"blk.0.attn_q.weight") -> bytes:
    values = struct.pack("<3f", 8.0, 2.0, 1.0)
    entry = struct.pack("<i", len(name)) + name + struct.pack("<ii", calls, 3) + values
    return struct.pack("<i", 1) + entry + struct.pack("<ii", calls, len(dataset)) + dataset


def test_the_older_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(dat())
    found = read(path)
    assert found.weights()["blk.0.attn_q.weight"].tolist() == [2.0, 0.5, 0.25]
    assert (found.datasets, found.chunk_count, found.chunk_size) == (("wiki.txt",), 4, 0)
    path.write_bytes(dat(calls=0))
    assert read(path).weights()["blk.0.attn_q.weight"].tolist() == [8.0, 2.0, 1.0]
    path.write_bytes(dat()[: -len(b"wiki.txt") - 8])
    assert read(path).datasets == ()


def gguf(path: Path, tensors: dict[str, Array], **keys: int) -> Path:
    writer = GGUFWriter(path, "")
    writer.add_array("imatrix.datasets", ["x"])
    for key, value in ({"chunk_count": 1, "chunk_size": 512} | keys).items():
        if value >= 0:
            writer.add_uint32(f"imatrix.{key}", value)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


ONES, ONE = np.ones(8, np.float32), np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("tensors", "keys", "told"),
    [
        ({"a.in_sum2": ONES, "a.counts": ONE}, {"chunk_size": -1}, "it has no imatrix.datasets, imatrix.chunk_count"),
        ({"a.in_sum2": ONES}, {}, "are not pairs"),
        ({"a.in_sum2": ONES, "b.counts": ONE}, {}, "are not pairs"),
        ({"a.in_sum2": ONES, "a.counts": ONE, "token_embd.weight": ONES}, {}, "are not pairs"),
        ({"a.in_sum2": ONES, "a.counts": np.ones(3, np.float32)}, {}, "a has 8 sums for 3 matrices"),
        ({"a.in_sum2": ONES * np.nan, "a.counts": ONE}, {}, "the sums of squares of a hold what is none"),
        ({"a.in_sum2": -ONES, "a.counts": ONE}, {}, "the sums of squares of a hold what is none"),
        ({"a.in_sum2": ONES, "a.counts": ONE * np.inf}, {}, "the counts of a are no counts of rows"),
        ({"a.in_sum2": ONES, "a.counts": -ONE}, {}, "the counts of a are no counts of rows"),
        ({"a.in_sum2": ONES.astype(np.float16), "a.counts": ONE}, {}, "a.in_sum2 is no F32 tensor"),
    ],
)
def test_a_gguf_that_is_no_importance_matrix(
    tensors: dict[str, Array], keys: dict[str, int], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=told):
        read(gguf(tmp_path / "x.gguf", tensors, **keys))


def test_damaged_files_are_refused_wherever_they_end(tmp_path: Path) -> None:
    path = tmp_path / "imatrix"
    write(some_imatrix(), path)
    for raw in (path.read_bytes(), dat()):
        for length in (0, 3, 8, 20, len(raw) // 2, len(raw) - 40):
            path.write_bytes(raw[:length])
            with pytest.raises(ModelError):
                read(path)
    with pytest.raises(ModelError, match="No such file"):
        read(tmp_path / "none")


def test_a_dat_that_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "imatrix.dat"
    huge = struct.pack("<i", 2**31 - 1)
    for at in (0, 4, 4 + 4 + 19 + 4, len(dat()) - 12):
        path.write_bytes(dat()[:at] + huge + dat()[at + 4 :])
        with pytest.raises(ModelError, match=r"no importance matrix|ends within"):
            read(path)
    path.write_bytes(dat(name=b""))
    with pytest.raises(ModelError, match="which is none"):
        read(path)


# -------------------------------------------------------------------------------------------------------- the command


def test_the_command(moe: Path, tmp_path: Path, gguf_bench: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    text, target = tmp_path / "text.txt", tmp_path / "imatrix.gguf"
    text.write_text(words(3 * CHUNK).text)
    made = gguf_bench("imatrix", moe, "--text", text, "-o", target, "--json")
    assert made.returncode == 0, made.stderr
    shown = json.loads(made.stdout)
    assert shown["path"] == str(target)
    assert (shown["n_chunks"], shown["n_entries"], shown["text"]) == (3, 8, str(text))
    assert shown["coverage"] == {"weights": [], "experts": {}}
    assert read(target).datasets == (str(text),)
    own, model = json.loads(gguf_bench("results", "show", target, "--json").stdout)
    assert (own["quant"], own["made_by"], model["path"]) == ("importance matrix", "computed", str(moe))
    assert own["made_with"].items() >= {"text": str(text), "n_chunks": 3, "chunk_tokens": CHUNK}.items()

    content = moe.read_bytes()
    for target_of_another in (moe, text):
        refused = gguf_bench("imatrix", moe, "--text", text, "-o", target_of_another)
        assert refused.returncode == 1
        assert "is there, and is no importance matrix; give another -o" in refused.stderr
    assert (moe.read_bytes(), text.read_text()) == (content, words(3 * CHUNK).text)
    assert gguf_bench("imatrix", moe, "--text", text, "-o", target).returncode == 0, "one of an earlier time goes"

    both = gguf_bench("imatrix", moe, "--text", text, "--dataset", "eps-v1", "-o", target)
    assert both.returncode == 2
    assert "not both" in both.stderr
    missing = gguf_bench("imatrix", moe, "--text", tmp_path / "none.txt", "-o", target)
    assert missing.returncode == 1
    assert "none.txt: cannot be read: No such file or directory" in missing.stderr


def test_quantize_by_the_word_eps_computes_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the cache by content: used again, and the quantized file differs from one without."""
    monkeypatch.setattr(prepare.texts, "built_in", lambda name: Text(name, words(3 * CHUNK).text))
    path = tiny_models.llama(tmp_path / "wide.gguf", n_layers=1, width=256, feed_forward=256)
    spec, store = ModelSpec(key="wide", provider="file", path=path), Store(tmp_path / "results.db")
    by_eps = QuantizeOptions(imatrix="eps")
    first, again = Said(), Said()
    (made,) = prepare.quantize(spec, [quant("Q2_K")], store, folder=tmp_path / "eps", options=by_eps, progress=first)
    assert first.lines[0] == "computing the importance matrix of wide.gguf on eps-calibration-v1"
    prepare.quantize(spec, [quant("IQ2_XXS")], store, folder=tmp_path / "eps", options=by_eps, progress=again)
    assert not [line for line in again.lines if line.startswith("computing the importance matrix")]
    (unweighted,) = prepare.quantize(spec, [quant("Q2_K")], store, folder=tmp_path / "plain")

    fields = GGUFReader(made).fields
    assert fields["quantize.imatrix.dataset"].contents() == "eps-calibration-v1"
    assert fields["quantize.imatrix.entries_count"].contents() == 7
    # Not where the cache is: the same file for everybody, which tells nobody's home.
    assert fields["quantize.imatrix.file"].contents() == "eps-calibration-v1.gguf"
    chain = provenance.chain(str(made), store)
    assert [step.quant for step in chain] == ["Q2_K", "importance matrix", "F32"]
    assert chain[0].made_with["imatrix_sha256"] == chain[1].sha256
    assert chain[1].made_with["text"] == "eps-calibration-v1"
    ours, plain = (
        next(bytes(tensor.data) for tensor in GGUFReader(file).tensors if tensor.name == "blk.0.ffn_up.weight")
        for file in (made, unweighted)
    )
    assert ours != plain


def test_a_child_whose_llama_cpp_is_another_says_so(
    dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the child to the user in one line, without a file."""
    wrong = (
        "import runpy, gguf_bench.llama.eval_callback as e; e.OBJECT_BYTES = 40; "
        "runpy.run_module('gguf_bench.worker', run_name='__main__')"
    )
    monkeypatch.setattr(child, "WORKER", (child.WORKER[0], "-c", wrong))
    with pytest.raises(ModelError, match="lays tensors out in another way"):
        imatrix.compute(described(dense), words(2 * CHUNK), tmp_path / "imatrix.gguf")
    assert list(tmp_path.iterdir()) == []


def test_values_fetched_from_a_device_are_those_in_place(
    moe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through ggml_backend_tensor_get, as on a GPU; experts and views of tensors among them."""
    in_place = imatrix.compute(described(moe), words(2 * CHUNK), tmp_path / "in_place.gguf")
    far = (
        "import runpy, gguf_bench.llama.eval_callback as e\n"
        "def values(self, address, read=e.Reader.values):\n"
        "    self._is_host = lambda buffer: False\n"
        "    return read(self, address)\n"
        "e.Reader.values = values\n"
        "runpy.run_module('gguf_bench.worker', run_name='__main__')"
    )
    monkeypatch.setattr(child, "WORKER", (child.WORKER[0], "-c", far))
    fetched = imatrix.compute(described(moe), words(2 * CHUNK), tmp_path / "fetched.gguf")
    assert fetched.path.read_bytes() == in_place.path.read_bytes()
