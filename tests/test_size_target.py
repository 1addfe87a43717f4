"""Size targets: the choice of types, what it is made from, and files that come to what was asked for."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from click.testing import CliRunner

from gguf_bench import prepare, provenance, size_target
from gguf_bench.cli.commands import cli
from gguf_bench.errors import QuantizeError
from gguf_bench.gguf_header import read_header
from gguf_bench.llama.divergence import compared
from gguf_bench.llama.sensitivity import divergence, grouped
from gguf_bench.quantize_options import QuantizeOptions
from gguf_bench.quants import QUANTS
from gguf_bench.size_target import Choice, Measured, Target, Tensor, choose, of_bits, of_size, patterns, plan
from gguf_bench.store import Store
from tests import quantize_sources as sources
from tests import tiny_models
from tests.test_quantize import Heard, give_scores, local, sha256


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def measured_once(own_folders: None, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured of a source is kept for all tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results.db")


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama of F32 that reads bytes."""
    return tiny_models.llama(tmp_path_factory.mktemp("dense") / "dense-F32.gguf", n_layers=3)


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny mixture of experts, rows of 256."""
    folder = tmp_path_factory.mktemp("experts")
    return tiny_models.llama(folder / "experts-F32.gguf", n_experts=3, width=256, feed_forward=256)


# --- the choice ---


def random_tables(random: np.random.Generator, n_tensors: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sizes and errors; larger is better, but for some that are not."""
    sizes, errors = [], []
    for _ in range(n_tensors):
        size = np.sort(random.integers(1, 2000, random.integers(1, 6))) * 32
        sizes.append(size)
        errors.append(random.uniform(0.1, 10) * 0.99 ** (size / 32) * random.uniform(0.7, 1.3, len(size)))
    return sizes, errors


@pytest.mark.parametrize("seed", range(20))
def test_the_choice_is_that_of_trying_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes, errors = random_tables(random, int(random.integers(1, 7)))
    least, most = (sum(int(pick(size)) for size in sizes) for pick in (np.min, np.max))
    budget = int(random.integers(least, most + 1))
    best = min(
        sum(error[place] for error, place in zip(errors, places, strict=True))
        for places in itertools.product(*(range(len(size)) for size in sizes))
        if sum(size[place] for size, place in zip(sizes, places, strict=True)) <= budget
    )
    picked = choose(sizes, errors, budget)
    assert sum(size[place] for size, place in zip(sizes, picked, strict=True)) <= budget
    assert sum(error[place] for error, place in zip(errors, picked, strict=True)) == pytest.approx(best)


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_of_many_tensors_the_choice_is_as_good_as_any_can_be(share: float) -> None:
    """No choice is better than the Lagrangian bound: for any price of a byte, the least of error plus price."""
    sizes, errors = random_tables(np.random.default_rng(1), 200)
    least, most = (sum(int(pick(size)) for size in sizes) for pick in (np.min, np.max))
    budget = int(least + share * (most - least))
    picked = choose(sizes, errors, budget)
    error = sum(error[place] for error, place in zip(errors, picked, strict=True))
    bound = max(
        sum((error + price * size).min() for error, size in zip(errors, sizes, strict=True)) - price * budget
        for price in np.geomspace(1e-7, 1e-2, 500)
    )
    used = sum(size[place] for size, place in zip(sizes, picked, strict=True))
    assert 0.999 * budget <= used <= budget
    assert bound <= error <= bound * 1.006


@pytest.mark.parametrize("seed", range(10))
def test_what_is_asked_for_is_used_where_that_is_possible(seed: int) -> None:
    """Though less would do: here a larger choice is no better, or worse."""
    random = np.random.default_rng(seed)
    sizes = [np.sort(random.integers(1, 100, 4)) * 32 for _ in range(4)]
    errors = [random.uniform(0, 1, 4) for _ in range(4)]
    budget = int(0.9 * sum(size.max() for size in sizes))
    ways = [
        (
            sum(size[place] for size, place in zip(sizes, places, strict=True)),
            sum(error[place] for error, place in zip(errors, places, strict=True)),
        )
        for places in itertools.product(range(4), repeat=4)
    ]
    possible = [error for size, error in ways if 0.99 * budget <= size <= budget]
    picked = choose(sizes, errors, budget, int(0.99 * budget) + 1)
    error = sum(error[place] for error, place in zip(errors, picked, strict=True))
    assert error == pytest.approx(min(possible or [error for size, error in ways if size <= budget]))


def test_one_choice_alone_is_taken() -> None:
    assert choose([np.array([64])], [np.array([0.0])], 64) == [0]


def tensor(name: str, n_weights: int, *choices: tuple[str, float]) -> Tensor:
    bits = {"F16": 16, "Q8_0": 8.5, "Q4_0": 4.5, "F32": 32}
    return Tensor(name, n_weights, tuple(Choice(kind, int(n_weights * bits[kind] / 8), cost) for kind, cost in choices))


MEASURED = Measured(
    1000,
    (
        tensor("blk.0.attn_q.weight", 640, ("F16", 0), ("Q8_0", 0.1), ("Q4_0", 3.0)),
        tensor("blk.1.attn_q.weight", 640, ("F16", 0), ("Q8_0", 0.2), ("Q4_0", 8.0)),
        tensor("output_norm.weight", 20, ("F32", 0)),
    ),
)


def test_a_plan_says_what_the_file_comes_to() -> None:
    """Tensors begin at multiples of 32 bytes: 360 take 384, 680 take 704, and 80 take 96."""
    exact = 1000 + 384 + 704 + 96
    found = plan(MEASURED, Target("x", file_bytes=exact))
    assert {name: choice.type for name, choice in found.chosen.items()} == {
        "blk.0.attn_q.weight": "Q4_0",
        "blk.1.attn_q.weight": "Q8_0",
        "output_norm.weight": "F32",
    }
    assert found.file_bytes == exact
    assert found.share == 1
    assert found.error == pytest.approx(3.2)
    assert found.bits_per_weight == 8 * (360 + 680 + 80) / 1300
    assert plan(MEASURED, Target("x", file_bytes=exact - 1)).error == pytest.approx(11)


def test_bits_per_weight_are_of_the_tensors_alone() -> None:
    bits = 8 * (360 + 680 + 80) / 1300
    assert plan(MEASURED, Target("x", bits_per_weight=bits)).bits_per_weight == bits
    assert plan(MEASURED, Target("x", bits_per_weight=bits - 0.01)).error == pytest.approx(11)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (Target("1KiB", file_bytes=1024), "1KiB cannot be met: with these options the file comes to 0.01 MiB at least"),
        (Target("1MiB", file_bytes=1 << 20), "and 0.00 MiB at most"),
        (Target("2.00bpw", bits_per_weight=2), "to 4.924 bits per weight at least and 16.246 bits per weight at most"),
        (Target("17.00bpw", bits_per_weight=17), "17.00bpw cannot be met"),
    ],
)
def test_what_is_out_of_range_is_refused_with_the_range(target: Target, says: str) -> None:
    with pytest.raises(QuantizeError) as refused:
        plan(MEASURED, target)
    assert says in str(refused.value)


def test_a_plan_that_comes_to_less_says_so() -> None:
    found = plan(MEASURED, Target("x", file_bytes=1000 + 1280 + 1280 + 90))
    assert found.share < 0.99
    assert "NOTE: no choice of types comes nearer" in found.lines()[0]
    assert found.lines()[1:] == ["  attn_q  1 Q8_0, 1 F16"]


def test_the_file_type_is_that_of_most_weights() -> None:
    assert plan(MEASURED, Target("x", file_bytes=1000 + 384 + 384 + 96)).quant.name == "Q4_0"
    assert plan(MEASURED, Target("x", file_bytes=1000 + 1280 + 1280 + 96)).quant.name == "Q8_0"
    assert set(size_target.FILE_TYPES.values()) <= set(QUANTS)


def test_patterns_find_each_tensor_and_no_other() -> None:
    types = {f"blk.{n}.{kind}.weight": f"Q{n % 3}_K" for n in range(30) for kind in ("attn_q", "attn_q_b", "ffn_up")}
    types |= {"token_embd.weight": "Q6_K", "per_layer_token_embd.weight": "Q8_0", "output.weight": "F16"}
    found = patterns(types)
    assert len(found) == 3 * 3 + 3
    for name, type_name in types.items():
        assert [kind for pattern, kind in found if re.search(pattern, name)] == [type_name]


@pytest.mark.parametrize(
    ("typed", "label", "n_bytes"),
    [
        ("90MiB", "90MiB", 90 << 20),
        (" 4.5 gib ", "4.5GiB", 4.5 * (1 << 30)),
        ("90mb", "90MB", 90 * 10**6),
        ("1000000", "1000000B", 10**6),
        ("700 b", "700B", 700),
    ],
)
def test_sizes_as_they_are_typed(typed: str, label: str, n_bytes: float) -> None:
    assert of_size(typed) == Target(label, file_bytes=int(n_bytes))


@pytest.mark.parametrize(("typed", "label"), [("4.5", "4.50bpw"), ("4", "4.00bpw"), ("4.505", "4.505bpw")])
def test_bits_as_they_are_typed(typed: str, label: str) -> None:
    assert of_bits(typed) == Target(label, bits_per_weight=float(typed))


@pytest.mark.parametrize("typed", ["0", "-1", "nan", "inf", "1e3", "4,5", ""])
def test_what_is_no_number_of_bits(typed: str) -> None:
    with pytest.raises(ValueError, match="no number of bits"):
        of_bits(typed)


def test_layers_that_are_alike_are_measured_together() -> None:
    names = [f"blk.{layer}.{kind}.weight" for kind in ("attn_q", "ffn_up") for layer in range(31)]
    groups = grouped([*names, "token_embd.weight"])
    assert sorted(name for group in groups for name in group) == sorted([*names, "token_embd.weight"])
    assert [len(group) for group in groups] == [1, *2 * [1, 1, 6, 7, 7, 7, 1, 1]]
    assert groups[3] == [f"blk.{layer}.attn_q.weight" for layer in range(2, 8)]
    assert all(len(group) == 1 for group in grouped(f"blk.{layer}.attn_q.weight" for layer in range(8)))


def test_the_quick_divergence_is_the_exact_one() -> None:
    random = np.random.default_rng(0)
    expected = random.normal(0, 3, (5, 999)).astype(np.float32)
    expected[2, 7] = -np.inf
    for size in (1e-3, 0.1, 3):
        logits = (expected + random.normal(5, size, expected.shape)).astype(np.float32)
        exact = compared(expected, logits, np.zeros(5, int))["divergence"].mean()
        assert divergence(expected, logits) == pytest.approx(exact, rel=1e-2, abs=1e-8)


# --- whole files ---


def made(store: Store, source: Path, target: Target, folder: Path, **options: Any) -> Path:
    return prepare.quantize_to_size(
        local(source),
        target,
        store,
        folder=folder,
        options=QuantizeOptions(**options),
    )


def test_a_file_comes_to_its_target_and_the_plan_to_the_file(dense: Path, store: Store, tmp_path: Path) -> None:
    heard = Heard()
    for n_bytes in (110_000, 200_000):
        target = Target(f"{n_bytes}B", file_bytes=n_bytes)
        planned = prepare.planned_for_size(local(dense), target, store)
        path = prepare.quantize_to_size(local(dense), target, store, folder=tmp_path, progress=heard)
        assert path.name == f"dense-{n_bytes}B.gguf"
        assert path.stat().st_size == planned.file_bytes
        assert 0.99 * n_bytes <= path.stat().st_size <= n_bytes
        types = {tensor.name: tensor.type for tensor in read_header(path).tensors}
        assert types == {name: choice.type for name, choice in planned.chosen.items()}
        assert planned.lines()[0] in heard.lines
    assert not any("NOTE" in line for line in heard.lines)
    assert heard.bars.count("sensitivity of tensors") == 0, "what was measured for the dry run is kept"


def test_bits_per_weight_are_met(dense: Path, store: Store, tmp_path: Path) -> None:
    path = made(store, dense, of_bits("5.5"), tmp_path)
    assert path.name == "dense-5.50bpw.gguf"
    row = store.artifact(sha256(path))
    assert row is not None
    assert 0.99 * 5.5 <= row["bits_per_weight"] <= 5.5


def test_experts_with_an_importance_matrix(
    experts: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Types of 2 bits are open to tensors with importances alone; the keys of the matrix count, too."""
    monkeypatch.chdir(tmp_path)
    found = read_header(experts)
    shapes = {tensor.name: tensor.shape[::-1] for tensor in found.tensors}
    sources.write_imatrix(tmp_path / "imatrix.gguf", shapes, without="ffn_up_exps")
    options: dict[str, Any] = {"imatrix": "imatrix.gguf"}
    target = Target("smallest", bits_per_weight=2.6)
    path = made(store, experts, target, tmp_path, **options)
    types = {tensor.name: tensor.type for tensor in read_header(path).tensors}
    low = ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ1_S", "IQ1_M")
    assert any(kind in low for name, kind in types.items() if "ffn_down_exps" in name)
    assert not any(kind in low for name, kind in types.items() if "ffn_up_exps" in name or "token_embd" in name)
    planned = prepare.planned_for_size(local(experts), target, store, options=QuantizeOptions(**options))
    assert path.stat().st_size == planned.file_bytes


def test_types_that_are_given_are_kept_and_layers_pruned(dense: Path, store: Store, tmp_path: Path) -> None:
    options = {
        "tensor_types": (("attn_v", "Q8_0"),),
        "prune_layers": (1,),
        "override_kv": (("general.name", "Quell"),),
    }
    path = made(store, dense, Target("x", file_bytes=130_000), tmp_path, **options)
    planned = prepare.planned_for_size(
        local(dense),
        Target("x", file_bytes=130_000),
        store,
        options=QuantizeOptions(**options),
    )
    assert planned.file_bytes == path.stat().st_size
    found = read_header(path)
    assert found.n_layers == 2
    assert {tensor.type for tensor in found.tensors if "attn_v" in tensor.name} == {"Q8_0"}
    assert len({tensor.type for tensor in found.tensors if tensor.name.endswith("attn_q.weight")} - {"F32"}) >= 1


def test_a_model_that_cannot_be_run_is_weighed_alike_and_told(tmp_path: Path, store: Store) -> None:
    """Without a vocabulary no text can be read."""
    source = sources.moe(tmp_path / "moe-F16.gguf")
    heard = Heard()
    target = Target("1500kB", file_bytes=1_500_000)
    path = prepare.quantize_to_size(local(source), target, store, folder=tmp_path / "out", progress=heard)
    assert 1_485_000 <= path.stat().st_size <= 1_500_000
    assert any(line.startswith("NOTE: all tensors are taken to be equally sensitive") for line in heard.lines)


def test_a_model_in_parts_becomes_one_file(tmp_path: Path, store: Store) -> None:
    source = sources.moe(tmp_path / "moe-F16.gguf", tensors_a_part=9)
    path = made(store, source, Target("1500kB", file_bytes=1_500_000), tmp_path / "out")
    planned = prepare.planned_for_size(local(source), Target("1500kB", file_bytes=1_500_000), store)
    assert path.name == "moe-1500kB.gguf"
    assert path.stat().st_size == planned.file_bytes


def test_what_predictions_depend_on_gets_the_bits(tmp_path: Path, store: Store) -> None:
    """A layer whose output is a thousandth of the others' may be of any type."""
    source = tiny_models.llama(tmp_path / "model-F32.gguf", n_layers=4)
    reader = gguf.GGUFReader(source, "r+")
    for tensor in reader.tensors:
        if tensor.name.startswith("blk.2.") and ("output" in tensor.name or "ffn_down" in tensor.name):
            tensor.data[:] *= 1e-3
    reader.data.flush()
    planned = prepare.planned_for_size(local(source), of_bits("7"), store)
    idle, busy = (
        sum(choice.n_bytes for name, choice in planned.chosen.items() if name.startswith(f"blk.{layer}."))
        for layer in (2, 1)
    )
    assert idle < busy


# --- the store, and what is there already ---


def test_the_plan_is_stored_and_makes_the_same_file_again(dense: Path, store: Store, tmp_path: Path) -> None:
    target = Target("130kB", file_bytes=130_000)
    path = made(store, dense, target, tmp_path)
    made_with = provenance.chain(str(path), store)[0].made_with
    types = made_with["options"]["tensor_types"]
    assert made_with["options"]["size_target"] == "130kB"
    again = tmp_path / "again"
    words = [word for pattern, kind in types for word in ("--tensor-type", f"{pattern}={kind.lower()}")]
    arguments = ["--db", str(tmp_path / "r.db"), "quantize", str(dense), "-q", made_with["type"], *words]
    result = CliRunner().invoke(cli, [*arguments, "-o", str(again)])
    assert result.exit_code == 0, result.output
    assert sha256(Path(result.stdout.strip())) == sha256(path)


def test_what_is_there_is_kept_and_scores_are_not_replaced(dense: Path, store: Store, tmp_path: Path) -> None:
    target = Target("130kB", file_bytes=130_000)
    path = made(store, dense, target, tmp_path)
    before = path.stat().st_mtime_ns
    assert made(store, dense, target, tmp_path) == path
    assert path.stat().st_mtime_ns == before
    give_scores(store, sha256(path))
    with pytest.raises(QuantizeError, match=r"dense-130kB\.gguf has scores"):
        made(store, dense, target, tmp_path, tensor_types=(("attn_q", "Q8_0"),))
    assert made(store, dense, target, tmp_path) == path


def test_a_quantized_source_needs_to_be_allowed(dense: Path, store: Store, tmp_path: Path) -> None:
    first = made(store, dense, Target("200kB", file_bytes=200_000), tmp_path)
    target = Target("130kB", file_bytes=130_000)
    with pytest.raises(QuantizeError, match="--allow-requantize"):
        made(store, first, target, tmp_path / "out")
    second = made(store, first, target, tmp_path / "out", allow_requantize=True)
    assert 128_700 <= second.stat().st_size <= 130_000


# --- the command ---


def test_a_dry_run_shows_the_plan_and_writes_nothing(dense: Path, tmp_path: Path) -> None:
    arguments = ["--db", str(tmp_path / "r.db"), "quantize", str(dense), "--target-size", "130kB", "--dry-run"]
    shown = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "out"), "--json"])
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert found["target"] == "130KB"
    assert 128_700 <= found["file_bytes"] <= 130_000
    assert found["tensors"]["output_norm.weight"]["type"] == "F32"
    assert not (tmp_path / "out").exists()
    lines = CliRunner().invoke(cli, arguments).stdout.splitlines()
    assert lines[0].startswith("130KB: 0.12")
    assert any(line.strip().startswith("ffn_down") for line in lines)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("--target-size 1MiB -q Q4_0", "-q and a target cannot be used together"),
        ("--target-size 1MiB --target-bpw 4", "--target-size and --target-bpw cannot be used together"),
        ("--target-bpw 4 --pure", "--pure and a target"),
        ("--target-bpw 4 --keep-split", "--keep-split and a target"),
        ("--target-bpw nan", "no number of bits"),
        ("--target-size 5XB", "is no size"),
    ],
)
def test_what_contradicts_a_target_is_a_usage_error(typed: str, says: str, dense: Path, tmp_path: Path) -> None:
    refused = CliRunner().invoke(cli, ["--db", str(tmp_path / "r.db"), "quantize", str(dense), *typed.split()])
    assert refused.exit_code == 2, refused.output
    assert says in refused.stderr


def test_a_target_that_cannot_be_met_is_one_line(dense: Path, tmp_path: Path) -> None:
    arguments = ["--db", str(tmp_path / "r.db"), "quantize", str(dense), "--target-size", "50kB"]
    refused = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "out")])
    assert refused.exit_code == 1
    assert re.search(
        r"^Error: 50KB cannot be met: .* [\d.]+ MiB at least and [\d.]+ MiB at most$", refused.stderr, re.M
    )
    assert not (tmp_path / "out").exists()
