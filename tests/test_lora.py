"""LoRA adapters are really applied: llama.cpp, by our way of loading, computes what the merged weights say."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader

from converters import convert, convert_lora
from converters.checkpoint import read_tensors
from converters.dtypes import to_float32
from gguf_bench import prepare
from gguf_bench.catalog import load_catalog, resolve
from gguf_bench.convert import convert_adapter
from gguf_bench.errors import CheckpointError, GgufBenchError, ModelError
from gguf_bench.llama.context import PAD, Context, Layout
from gguf_bench.llama.model import Model
from gguf_bench.progress import Silent
from gguf_bench.quants import quant
from gguf_bench.records import Checkpoint, ModelSpec
from gguf_bench.store import Store
from tests.conftest import asked_for
from tests.converters.lora_cases import ADAPTERS, Adapter, adapter_config, pairs, tensors, write_adapter
from tests.hub_server import HubServer
from tests.smollm2 import write_json, write_smollm2_checkpoint
from tests.tiny import Array, write_safetensors

TOKENS = [1, 270, 33, 281, 299, 262, 7, 290]


def logits(path: Path, adapter: Path | None = None) -> Array:
    """Logits (vocabulary) after TOKENS."""
    model = Model(path, adapter=adapter)
    layout = Layout(n_ctx=PAD, n_parallel=1, n_threads=1, n_ubatch=64, flash_attention=None, kv_type="f16")
    context = Context(model, layout)  # kept: the logits are its memory
    found, _ = context.start(0, TOKENS)
    return np.array(found)


def merge(folder: Path, adapter: Adapter) -> None:
    """Add lora_alpha / r * B @ A to the weights of the checkpoint in `folder`."""
    config = adapter_config(adapter)
    weights = {name: to_float32(tensor.load(), tensor.dtype) for name, tensor in read_tensors(folder).items()}
    weights = {name: np.array(values) for name, values in weights.items()}
    for name, (a, b) in pairs(adapter).items():
        change = np.float32(config["lora_alpha"] / len(a)) * (b @ a)
        weights[name] += change.T if name.endswith("embed_tokens.weight") else change
    (folder / "model.safetensors").unlink()
    write_safetensors(folder / "model.safetensors", weights, "float32")


class Listener(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_an_adapter_with_nans_is_told(tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, ADAPTERS["llama"])
    found = tensors(ADAPTERS["llama"])
    name = next(iter(found))
    found[name][0, 0] = np.nan
    write_safetensors(folder / "adapter_model.safetensors", found, "float32")
    listener = Listener()
    convert_adapter(Checkpoint(folder=folder), Checkpoint(folder=base), tmp_path / "x.gguf", "f32", progress=listener)
    (line,) = listener.lines
    assert line.startswith(f"tensor {name} holds values that are no numbers")


@pytest.mark.parametrize(
    "name",
    [
        "llama", "llama-all-linear-bf16", "llama-head-and-embedding", "llama-ranks", "mistral", "mixtral-experts",
        "qwen2", "gemma2", "falcon-7b", "falcon-40b", "gpt-neox", "internlm2",
    ],
)  # fmt: skip
def test_logits_are_those_of_the_merged_weights(name: str, tmp_path: Path) -> None:
    adapter = replace(ADAPTERS[name], dtype="float32")
    folder, base = write_adapter(tmp_path, adapter, whole_base=True)
    plain = convert(base, tmp_path / "base.gguf", "f32")
    changed = convert_lora(folder, base, tmp_path / "adapter.gguf")
    merge(base, adapter)
    expected = logits(convert(base, tmp_path / "merged.gguf", "f32"))
    size = np.abs(expected).max()
    np.testing.assert_allclose(logits(plain, changed), expected, atol=0.002 * size)
    assert np.abs(logits(plain) - expected).max() > 0.1 * size, "the adapter has to matter"


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path / "llama", ADAPTERS["llama"], whole_base=True)
    adapter = convert_lora(folder, base, tmp_path / "adapter.gguf")
    _, other = write_adapter(tmp_path / "qwen2", ADAPTERS["qwen2"], whole_base=True)
    with pytest.raises(ModelError, match=r"adapter\.gguf: llama\.cpp cannot apply it to qwen2\.gguf: .*arch mismatch"):
        Model(convert(other, tmp_path / "qwen2.gguf"), adapter=adapter)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results.db")


def local(folder: Path) -> ModelSpec:
    return ModelSpec(key="tuned", provider="file", path=folder)


def test_an_adapters_folder_finds_its_base(store: Store, tmp_path: Path) -> None:
    """What adapter_config.json names is the base; both are converted, the base quantized, and both are recorded."""
    folder, base = write_adapter(tmp_path, ADAPTERS["llama"], whole_base=True)
    (folder / "adapter_config.json").write_text(
        json.dumps(adapter_config(ADAPTERS["llama"]) | {"base_model_name_or_path": str(base)})
    )
    (contender,) = prepare.contenders([local(folder)], [quant("Q8_0")])
    file = prepare.gguf_of(contender, store)
    assert file.adapter is not None
    assert (file.quant, file.adapter.quant, file.adapter.architecture) == ("Q8_0", "F32", "llama")
    assert file.adapter.path.read_bytes() == convert_lora(folder, base, tmp_path / "x.gguf").read_bytes()
    assert prepare.convert(local(folder), store) == file.adapter.path
    made = store.rows("select sha256, quant, made_by, bits_per_weight from artifacts order by quant")
    assert [(row["quant"], row["made_by"]) for row in made] == [
        ("BF16", "converted"), ("F32", "converted"), ("Q8_0", "quantized"),
    ]  # fmt: skip
    assert made[1]["sha256"] == file.adapter.sha256
    assert made[1]["bits_per_weight"] == 32

    (folder / "adapter_model.safetensors").rename(folder / "old")
    write_safetensors(folder / "adapter_model.safetensors", {n: -v for n, v in tensors(ADAPTERS["llama"]).items()})
    other = prepare.gguf_of(contender, store)
    assert other.adapter is not None
    assert other.adapter.sha256 != file.adapter.sha256, "an adapter that changed is converted again"
    assert other.sha256 == file.sha256


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (None, "does not name the model it was trained on; say which it is by `base`"),
        ("no id at all", "'no id at all'"),
        (7, "does not name the model"),
    ],
)
def test_an_adapter_without_a_base(named: object, said: str, store: Store, tmp_path: Path) -> None:
    folder, _ = write_adapter(
        tmp_path, replace(ADAPTERS["llama"], config={"base_model_name_or_path": named}), whole_base=True
    )
    with pytest.raises(ModelError, match=said):
        prepare.gguf_of(prepare.contenders([local(folder)], [])[0], store)


def refusal(spec: ModelSpec, store: Store) -> GgufBenchError:
    with pytest.raises(GgufBenchError) as caught:
        prepare.gguf_of(prepare.contenders([spec], [])[0], store)
    assert "\n" not in str(caught.value)
    return caught.value


def test_what_llama_cpp_would_leave_out_is_refused(store: Store, tmp_path: Path) -> None:
    folder, base = write_adapter(tmp_path, ADAPTERS["llama-norms"], whole_base=True)
    write_json(
        folder / "adapter_config.json", adapter_config(ADAPTERS["llama"]) | {"base_model_name_or_path": str(base)}
    )
    assert "which llama.cpp would leave out" in str(refusal(local(folder), store))


def test_an_adapter_is_no_checkpoint_and_has_no_type_to_quantize(store: Store, tmp_path: Path) -> None:
    folder, base = write_adapter(
        tmp_path, replace(ADAPTERS["llama"], config={"base_model_name_or_path": "org/base"}), whole_base=True
    )
    with pytest.raises(ModelError, match="stays as it is; quantize org/base"):
        prepare.quantize(local(folder), [quant("Q8_0")], store)
    gguf = convert(base, tmp_path / "base.gguf")
    ready = ModelSpec(key="tuned", provider="file", path=gguf, base="org/base")
    assert "has a base, but is a GGUF" in str(refusal(ready, store))


Command = Callable[..., "subprocess.CompletedProcess[str]"]


def write_smollm2_adapter(folder: Path) -> None:
    """Rank 4 on two projections of every layer: enough to talk differently, and in JSON still."""
    folder.mkdir()
    random, found = np.random.default_rng(0), {}
    for i in range(30):
        for name, rows in (("q_proj", 576), ("v_proj", 192)):
            module = f"base_model.model.model.layers.{i}.self_attn.{name}"
            found[f"{module}.lora_A.weight"] = random.normal(0, 0.2, (4, 576)).astype(np.float32)
            found[f"{module}.lora_B.weight"] = random.normal(0, 0.2, (rows, 4)).astype(np.float32)
    write_safetensors(folder / "adapter_model.safetensors", dict(sorted(found.items())), "float32")
    write_json(folder / "adapter_config.json", adapter_config(Adapter("", ("q_proj", "v_proj"), 4)))


@pytest.mark.model
def test_a_contender_of_the_catalog(smollm2: Path, releases: Path, tmp_path: Path, gguf_bench: Command) -> None:
    """Base and adapter are pulled and converted, the base quantized; both files tell which answers are its own."""
    write_smollm2_adapter(tmp_path / "tuned")
    models = tmp_path / "models.yaml"
    models.write_text(
        "tuned_models:\n  tuned:\n    name: bank/tuned-lora\n    base: org/SmolLM2-135M-Instruct\n", encoding="utf-8"
    )
    database = tmp_path / "results.db"
    common = ["--db", database, "--models", models]
    arguments = [*common, "compare", "tuned", "org/SmolLM2-135M-Instruct", "-q", "Q8_0", "--limit", "2", "--json"]
    arguments += ["--dataset", releases]
    with HubServer() as server:
        commit = server.add_repo("bank/tuned-lora", tmp_path / "tuned")
        server.add_repo("org/SmolLM2-135M-Instruct", write_smollm2_checkpoint(tmp_path / "base", smollm2))
        environment = server.environment(tmp_path / "hub")
        done = gguf_bench(*arguments, env=environment)
        bare = gguf_bench(*common, "pull", "bank/tuned-lora", env=environment)
    assert done.returncode == 0, done.stderr
    board = {row["model"]: row for row in asked_for(json.loads(done.stdout)["leaderboard"])}
    assert board["tuned"]["n_documents"] == 2
    assert bare.returncode == 1
    assert "there is no model org/Base-7B" in bare.stderr, "what its own configuration names is looked for"

    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "select c.model, c.file_sha256, c.adapter_sha256, a.output from contenders c"
            " join answers a on a.contender_id = c.id where c.asked order by c.position, a.document_id"
        ).fetchall()
        adapter = connection.execute(
            "select sha256, path, size_bytes from artifacts where source_repo = 'bank/tuned-lora'"
            " and source_commit = ? and made_by = 'converted'",
            [commit],
        ).fetchone()
    assert len({sha256 for _, sha256, _, _ in rows}) == 1, "one base for both"
    assert {(model, sha256) for model, _, sha256, _ in rows} == {
        ("tuned", adapter[0]), ("org/SmolLM2-135M-Instruct", None),
    }  # fmt: skip
    assert [row[3] for row in rows[:2]] != [row[3] for row in rows[2:]]
    assert board["tuned"]["size_bytes"] - board["org/SmolLM2-135M-Instruct"]["size_bytes"] == adapter[2]
    assert GGUFReader(adapter[1]).fields["general.name"].contents() == "Tuned Lora"


def test_the_entry_of_the_shipped_catalog_is_an_adapter(store: Store) -> None:
    spec = resolve("fingpt_llama2", load_catalog(Path(__file__).parent.parent / "models.yaml"))
    with pytest.raises(ModelError, match="quantize meta-llama/Llama-2-7b-hf"):
        prepare.quantize(spec, [quant("Q4_K_M")], store)


def test_a_setting_that_cannot_be_told(store: Store, tmp_path: Path) -> None:
    config = {"use_dora": True, "base_model_name_or_path": str(tmp_path / "base")}
    folder, base = write_adapter(tmp_path, replace(ADAPTERS["llama"], config=config), whole_base=True)
    base.rename(tmp_path / "base")
    error = refusal(local(folder), store)
    assert isinstance(error, CheckpointError)
    assert "use_dora is True" in str(error)
