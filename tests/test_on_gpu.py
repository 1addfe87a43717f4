"""What is measured of a model whose layers are on a GPU, all or some: the same as on the CPU, but for rounding."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader

from gguf_bench import child, fidelity, imatrix
from gguf_bench.child import Child
from gguf_bench.describe import describe
from gguf_bench.imatrix_file import read
from gguf_bench.llama_build import extra_buffers_work
from gguf_bench.quantize_options import QuantizeOptions
from gguf_bench.size_target import CANDIDATES
from gguf_bench.texts import Text
from tests import tiny_models

pytestmark = pytest.mark.gpu

N_LAYERS = 2
EVERY, SOME = "all", "1"
LANDED = {EVERY: N_LAYERS + 1, SOME: 1}


@pytest.fixture(scope="module", autouse=True)
def gpus() -> None:
    devices = child.ask({"job": "devices"}, what="devices")["devices"]
    if not any(device["kind"] == "gpu" for device in devices):
        pytest.skip("no GPU that llama.cpp sees: there is none, or this llama.cpp is built for the CPU")


@pytest.fixture(params=["dense", "experts"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    experts = {"n_experts": 4} if request.param == "experts" else {}
    return tiny_models.llama(tmp_path / f"{request.param}.gguf", n_layers=N_LAYERS, **experts)


def words(n_bytes: int) -> Text:
    random = np.random.default_rng(7)
    return Text("words", bytes(random.integers(97, 123, n_bytes, np.uint8)).decode())


@pytest.mark.parametrize("gpu_layers", [EVERY, SOME])
def test_importances(model: Path, gpu_layers: str, tmp_path: Path) -> None:
    found = {}
    for wanted in ("0", gpu_layers):
        path = tmp_path / f"{wanted}.gguf"
        made = imatrix.compute(describe((model,), "0" * 64), words(600), path, gpu_layers=wanted)
        assert made.gpu_layers == LANDED.get(wanted, 0)
        found[wanted] = read(path).entries
    assert found["0"].keys() == found[gpu_layers].keys()
    for name, entry in found["0"].items():
        assert found[gpu_layers][name].counts.sum() == entry.counts.sum()
        np.testing.assert_allclose(_means(found[gpu_layers][name]), _means(entry), rtol=0.01, err_msg=name)


def _means(entry: Any) -> np.ndarray[Any, Any]:
    """A token for which two experts are about as good may go to the other one."""
    means: np.ndarray[Any, Any] = entry.sums / np.maximum(1, entry.counts)[:, None]
    return means


@pytest.mark.parametrize("gpu_layers", [EVERY, SOME])
def test_fidelity(model: Path, gpu_layers: str, tmp_path: Path) -> None:
    other = Path(shutil.copyfile(model, tmp_path / "other.gguf"))
    output = next(tensor for tensor in GGUFReader(other, "r+").tensors if tensor.name == "output.weight")
    output.data[:] *= np.random.default_rng(7).normal(1, 0.2, output.data.shape).astype(np.float32)
    del output
    on_cpu, on_gpu = (fidelity.measure(model, other, words(600), gpu_layers=wanted) for wanted in ("0", gpu_layers))
    assert (on_cpu.gpu_layers, on_gpu.gpu_layers) == (0, LANDED[gpu_layers])
    for name in ("kl_divergence", "perplexity", "reference_perplexity"):
        assert getattr(on_gpu, name).value == pytest.approx(getattr(on_cpu, name).value, rel=0.01), name


def test_sensitivity(model: Path) -> None:
    on_cpu, on_gpu = (_sensitivities(model, wanted) for wanted in ("0", EVERY))
    assert on_cpu.keys() == on_gpu.keys()
    assert len(on_cpu) > N_LAYERS
    closeness = 0.05 if model.stem == "dense" else 0.25  # where a token goes to another expert, it is predicted anew
    for name, sensitivity in on_cpu.items():
        assert on_gpu[name] == pytest.approx(sensitivity, rel=closeness), name


def _sensitivities(model: Path, gpu_layers: str) -> dict[str, float]:
    job = {
        "job": "sensitivity",
        "path": str(model),
        "options": asdict(QuantizeOptions()),
        "candidates": list(CANDIDATES),
        "n_layers": N_LAYERS,
        "text": words(64 * 64).text,
        "n_ctx": 64,
        "settings": {"gpu_layers": gpu_layers, "extra_buffers": extra_buffers_work()},
    }
    with Child(job, what="sensitivity") as process:
        (measured,) = (event for event in process.events() if event["event"] == "measured")
    found: dict[str, float] = measured["sensitivities"]
    return found
