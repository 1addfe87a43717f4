"""`models add` and `models check` against a Hub on loopback: the command itself, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from huggingface_hub import constants

from gguf_bench import hub, prepare
from gguf_bench.catalog import load_catalog, shipped_catalog
from gguf_bench.cli.commands import cli
from gguf_bench.hub import patience
from gguf_bench.paths import config_folder
from gguf_bench.store import Store
from tests.converters.lora_cases import ADAPTERS, write_adapter
from tests.hub_server import READER, STRANGER, HubServer, served_here
from tests.smollm2 import write_json

Run = Callable[..., Result]
QUANTIZED = ["gguf", "base_model:quantized:bank/odd"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    with served_here(monkeypatch, tmp_path) as running:
        yield running


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(cli, ["--db", str(tmp_path / "results.db"), *map(str, arguments)])

    return run


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models.yaml"
    path.write_text("# ours\nfirst:\n  one:   # the first\n    name: org/one\n")
    return path


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A checkpoint, an adapter of it, a checkpoint that is not converted, and ready-made files."""
    config = {"base_model_name_or_path": "bank/base"}
    adapter, base = write_adapter(tmp_path / "made", replace(ADAPTERS["llama"], config=config), whole_base=True)
    odd = tmp_path / "odd"
    odd.mkdir()
    write_json(odd / "config.json", {"architectures": ["OddForCausalLM"]})
    (odd / "model.safetensors").write_bytes(bytes(50_000))
    ready = tmp_path / "ready"
    (ready / "deep").mkdir(parents=True)
    for name in ("odd-Q8_0.gguf", "deep/odd-Q4_K_M.gguf"):
        (ready / name).write_bytes(name.encode())
    return {"base": base, "adapter": adapter, "odd": odd, "ready": ready}


# -- add --------------------------------------------------------------------------------------------------------------


def test_an_entry_is_filled_from_the_hub(server: HubServer, run: Run, models: Path, folders: dict[str, Path]) -> None:
    card = {"license": "apache-2.0", "base_model": "acme/older"}
    server.add_repo(
        "bank/Base-1.7B", folders["base"], cardData=card, safetensors={"parameters": {}, "total": 1_710_000_000}
    )
    before = models.read_text()
    done = run("models", "add", "bank/Base-1.7B", "--group", "first")
    assert (done.exit_code, done.stdout) == (0, "base_1_7b\n"), done.output
    assert models.read_text() == before + (
        "  base_1_7b:\n    # made from acme/older, its card says\n    name: bank/Base-1.7B\n    parameters: 1.7B\n"
        "    context: 512\n    license: apache-2.0\n"
    )
    spec = load_catalog(models).models["base_1_7b"]
    assert (spec.name, spec.group, spec.gated) == ("bank/Base-1.7B", "first", None)
    assert "model.safetensors" not in server.fetched()
    again = run("models", "add", "bank/Base-1.7B")
    assert again.exit_code == 1
    assert "model 'base_1_7b': is there already; give another --key" in again.stderr
    other = run("models", "add", "bank/Base-1.7B@main", "--key", "other")
    assert (other.exit_code, load_catalog(models).models["other"].revision) == (0, "main")
    assert load_catalog(models).groups["my_models"] == ["other"]


def test_parameters_are_told_by_the_weights_where_the_hub_has_not_counted(
    server: HubServer, run: Run, models: Path, folders: dict[str, Path]
) -> None:
    server.add_repo("bank/base", folders["base"])
    assert run("models", "add", "bank/base").exit_code == 0
    assert load_catalog(models).models["base"].parameters == "1M"


def test_an_adapter_gets_its_base(server: HubServer, run: Run, models: Path, folders: dict[str, Path]) -> None:
    server.add_repo("bank/tuned", folders["adapter"], cardData={"base_model": "acme/other"})
    assert run("models", "add", "bank/tuned").exit_code == 0
    spec = load_catalog(models).models["tuned"]
    assert (spec.base, spec.parameters) == ("bank/base", None)
    write_json(folders["adapter"] / "adapter_config.json", {"base_model_name_or_path": "/home/me/base"})
    server.add_repo("bank/tuned", folders["adapter"], cardData={"base_model": "acme/other"})
    assert run("models", "add", "bank/tuned", "--key", "by_card").exit_code == 0
    assert load_catalog(models).models["by_card"].base == "acme/other"


def test_a_ready_made_file_is_named(server: HubServer, run: Run, models: Path, folders: dict[str, Path]) -> None:
    facts = {"total": 7_000_000_000, "context_length": 4096, "architecture": "llama"}
    server.add_repo("bank/odd-GGUF", folders["ready"], gguf=facts)
    assert run("models", "add", "bank/odd-GGUF:Q4_K_M").exit_code == 0
    spec = load_catalog(models).models["odd_gguf_q4_k_m"]
    assert (spec.file, spec.quantization, spec.parameters, spec.context) == (
        "deep/odd-Q4_K_M.gguf",
        "Q4_K_M",
        "7B",
        4096,
    )


@pytest.mark.parametrize("token", [None, STRANGER])
def test_a_gated_one_is_added_without_what_its_files_say(
    server: HubServer,
    run: Run,
    models: Path,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    token: str | None,
) -> None:
    server.add_repo("bank/base", folders["base"], gated=True, safetensors={"parameters": {}, "total": 7_000_000_000})
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    done = run("models", "add", "bank/base")
    assert done.exit_code == 0
    assert "note: " in done.stderr
    assert "until then, what its files say is left out" in done.stderr
    spec = load_catalog(models).models["base"]
    assert (spec.gated, spec.parameters, spec.context) == (True, "7B", None)


def test_what_cannot_be_converted_is_added_with_a_word(
    server: HubServer, run: Run, models: Path, folders: dict[str, Path]
) -> None:
    server.add_repo("bank/odd", folders["odd"])
    server.add_repo("bank/odd-GGUF", folders["ready"], tags=QUANTIZED)
    done = run("models", "add", "bank/odd")
    assert done.exit_code == 0
    assert "note: it cannot be converted: config.json: the architecture OddForCausalLM" in done.stderr
    assert "the Hub lists it ready-made: use bank/odd-GGUF:Q4_K_M" in done.stderr


@pytest.mark.parametrize("licence", ["no such: [licence", "a\nb: c", "x" * 100, ["mit"], {"a": 1}, "#1"])
def test_a_card_writes_nothing_into_the_file_that_is_no_licence(
    server: HubServer, run: Run, models: Path, folders: dict[str, Path], licence: object
) -> None:
    card = {"license": licence, "base_model": ["a/b\n    gated: false", "c d"]}
    server.add_repo("bank/base", folders["base"], cardData=card)
    done = run("models", "add", "bank/base")
    if done.exit_code:
        assert "does not answer like a Hub" in done.stderr
    else:
        assert load_catalog(models).models["base"].license is None
        assert models.read_text().count("gated") == 0


def test_the_file_that_comes_with_the_program_is_copied_first(
    server: HubServer, run: Run, folders: dict[str, Path]
) -> None:
    shipped = shipped_catalog().read_bytes()
    server.add_repo("bank/base", folders["base"])
    assert run("models", "add", "bank/base").exit_code == 0
    own = config_folder() / "models.yaml"
    assert own.read_bytes().startswith(shipped)
    assert shipped_catalog().read_bytes() == shipped
    assert "base" in load_catalog(own).models
    assert str(own) in run("models", "list").stderr
    mine = own.read_bytes()
    again = run("--models", str(shipped_catalog()), "models", "add", "bank/base")
    assert again.exit_code == 1
    assert f"say --models {own}" in " ".join(again.stderr.split())
    assert own.read_bytes() == mine, "the user's own file is not replaced"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bank/none"], "there is no model bank/none"),
        (["one"], "no model 'one'"),
        (["bank/base", "--group", "a b"], "is no name for a group"),
        (["bank/base", "--key", "baseline_null"], "is no name for a key"),
        (["bank/odd-GGUF"], "no weights to convert, but ready-made GGUF files; ask for"),
        (["./made"], "no config.json"),
    ],
)
def test_what_cannot_be_added(
    server: HubServer, run: Run, models: Path, folders: dict[str, Path], arguments: list[str], said: str
) -> None:
    server.add_repo("bank/base", folders["base"])
    server.add_repo("bank/odd-GGUF", folders["ready"])
    before = models.read_bytes()
    done = run("models", "add", *arguments)
    assert done.exit_code == 1
    assert said in done.stderr
    assert models.read_bytes() == before


# -- check ------------------------------------------------------------------------------------------------------------


def test_each_entry_is_reported(
    server: HubServer, run: Run, models: Path, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = server.add_repo("bank/base", folders["base"], gated=True, cardData={"license": "mit"})
    server.add_repo("bank/tuned", folders["adapter"])
    nameless = tmp_path / "nameless"
    nameless.mkdir()
    write_json(nameless / "adapter_config.json", {"lora_alpha": 8, "r": 4})
    (nameless / "adapter_model.safetensors").write_bytes(b"x")
    server.add_repo("bank/nameless", nameless)
    server.add_repo("bank/odd", folders["odd"])
    server.add_repo("bank/odd-GGUF", folders["ready"], tags=QUANTIZED)
    models.write_text(
        "all:\n  base: {name: bank/base, quantization: Q8_0}\n  tuned: {name: bank/tuned, base: bank/base}\n"
        "  bare: {name: bank/tuned}\n  nameless: {name: bank/nameless}\n"
        "  odd: {name: bank/odd}\n  ready: {name: bank/odd-GGUF, file: odd-Q8_0.gguf}\n"
        "  gone: {name: bank/gone}\n  shipped: {provider: package, package: no-such-package}\n"
        f"  here: {{provider: file, file: {folders['base']}}}\n  lost: {{provider: file, file: lost.gguf}}\n"
        "  asked: {provider: openai, base_url: 'http://localhost:1/v1', model: x}\n"
    )
    monkeypatch.setenv("HF_TOKEN", READER)
    done = run("models", "check", "--json")
    found = {row["model"]: row for row in json.loads(done.stdout)}
    assert done.exit_code == 3
    assert {name for name, row in found.items() if row["problem"]} == {"nameless", "odd", "gone", "shipped", "lost"}
    base = found["base"]
    weights = (folders["base"] / "model.safetensors").stat().st_size
    assert (base["exists"], base["gated"], base["accepted"], base["convertible"]) == (True, True, True, True)
    assert (base["commit"], base["locked_commit"], base["license"]) == (commit, None, "mit")
    assert base["download_bytes"] == weights
    assert base["disk_bytes"] == weights + base["converted_bytes"] + base["quantized_bytes"]
    assert 0 < base["quantized_bytes"] < base["converted_bytes"]
    assert found["tuned"]["base"] == "bank/base"
    assert found["tuned"]["download_bytes"] > weights
    assert found["tuned"]["gated"] is True
    assert found["bare"]["base"] == "bank/base", "as its adapter_config.json says"
    assert "this is a LoRA adapter of the model it was trained on" in found["nameless"]["problem"]
    assert "models add" in found["nameless"]["way_out"]
    assert (found["odd"]["exists"], found["odd"]["convertible"]) == (True, False)
    assert found["odd"]["way_out"].startswith("the Hub lists it ready-made: use bank/odd-GGUF:Q4_K_M")
    assert (found["ready"]["convertible"], found["ready"]["download_bytes"]) == (None, len("odd-Q8_0.gguf"))
    assert found["gone"]["exists"] is False
    assert found["shipped"]["way_out"] == "pip install no-such-package"
    assert found["here"]["convertible"] is True
    assert not any(name.endswith((".safetensors", ".gguf")) for name in server.fetched())

    shown = run("models", "check")
    assert shown.exit_code == 3
    assert "odd: config.json: the architecture OddForCausalLM is not converted" in " ".join(shown.stdout.split())
    assert run("models", "check", "base", "ready").exit_code == 0


def test_a_licence_that_is_not_accepted_is_said(
    server: HubServer, run: Run, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_repo("bank/base", folders["base"], gated=True)
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    done = run("models", "check", "bank/base", "--json")
    (row,) = json.loads(done.stdout)
    assert (done.exit_code, row["exists"], row["gated"], row["accepted"]) == (3, True, True, False)
    assert "is not accepted" in row["problem"]
    assert "gated, not accepted" in run("models", "check", "bank/base").stdout


def test_what_is_locked_is_what_is_checked(
    server: HubServer, run: Run, folders: dict[str, Path], tmp_path: Path
) -> None:
    first = server.add_repo("bank/base", folders["base"])
    store = Store(tmp_path / "results.db")
    store.lock_commit("bank/base", None, first)
    store.close()
    server.add_repo("bank/base", folders["odd"])
    done = run("models", "check", "bank/base", "--json")
    (row,) = json.loads(done.stdout)
    assert (done.exit_code, row["commit"], row["locked_commit"]) == (0, first, first)
    assert "bank/base@main has moved since it was first pulled" in done.stderr


def test_a_lost_commit_is_one_row_of_the_report(
    server: HubServer, run: Run, folders: dict[str, Path], tmp_path: Path
) -> None:
    first = server.add_repo("bank/base", folders["base"])
    store = Store(tmp_path / "results.db")
    store.lock_commit("bank/base", None, first)
    store.close()
    server.add_repo("bank/base", folders["odd"])
    del server.repos["bank/base"].files[first]  # its history was rewritten
    server.add_repo("bank/other", folders["base"])
    done = run("models", "check", "bank/base", "bank/other", "--json")
    gone, other = json.loads(done.stdout)
    assert done.exit_code == 3
    assert f"the Hub has bank/base@{first} no more" in gone["problem"]
    assert (other["exists"], other["problem"]) == (True, "")


def test_a_hub_that_is_away_says_nothing_of_models(
    server: HubServer, run: Run, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_repo("bank/base", folders["base"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = run("models", "check", "bank/base", "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "HF_HUB_OFFLINE is set" in done.stderr


# -- refused before gigabytes -----------------------------------------------------------------------------------------


def test_what_cannot_be_converted_is_refused_with_what_to_use_instead(
    server: HubServer, run: Run, folders: dict[str, Path]
) -> None:
    server.add_repo("bank/odd", folders["odd"])
    server.add_repo("bank/odd-GGUF", folders["ready"], tags=QUANTIZED)
    for command in ("pull", "convert"):
        done = run(command, "bank/odd")
        assert done.exit_code == 1
        assert "the architecture OddForCausalLM is not converted" in done.stderr
        assert "the Hub lists it ready-made: use bank/odd-GGUF:Q4_K_M" in done.stderr
    assert "model.safetensors" not in server.fetched()
    ready = run("pull", "bank/odd-GGUF:Q4_K_M")
    assert Path(ready.stdout.strip()).read_bytes() == b"deep/odd-Q4_K_M.gguf"


def test_the_disk_must_hold_what_is_made_of_it_too(
    server: HubServer, run: Run, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_repo("bank/base", folders["base"])
    weights = (folders["base"] / "model.safetensors").stat().st_size
    room = int(1.2 * weights)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": room}))
    done = run("convert", "bank/base")
    assert done.exit_code == 1
    assert "pulling and converting bank/base needs" in done.stderr
    assert "model.safetensors" not in server.fetched()
    assert run("pull", "bank/base").exit_code == 0


def test_the_room_that_counts_is_where_the_file_is_written(
    server: HubServer, run: Run, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server.add_repo("bank/base", folders["base"])
    asked: list[Path] = []
    monkeypatch.setattr(prepare, "require_room", lambda what, needs: asked.extend(folder for folder, _ in needs))
    assert run("convert", "bank/base", "-o", str(tmp_path / "large disk" / "m.gguf")).exit_code == 0
    assert asked == [hub.cache_folder(), tmp_path / "large disk"]


def test_pull_takes_a_revision(server: HubServer, run: Run, models: Path, folders: dict[str, Path]) -> None:
    commits = {"v1": folders["odd"], "refs/pr/7": folders["base"]}
    server.add_repo("org/one", folders["odd"], revisions=commits)
    done = run("pull", "one", "--revision", "refs/pr/7")
    assert done.exit_code == 0, done.stderr
    assert Path(done.stdout.strip()).name == server.repos["org/one"].revisions["refs/pr/7"]
    assert run("pull", "org/one@refs/pr/7").stdout == done.stdout
    wrong = run("pull", "one", "--revision", "../v1")
    assert (wrong.exit_code, "is no revision" in wrong.stderr) == (2, True)
    local = run("pull", str(folders["base"]), "--revision", "v1")
    assert (local.exit_code, "is not on the Hub" in local.stderr) == (2, True)


def test_an_adapter_brings_its_base(server: HubServer, run: Run, folders: dict[str, Path], tmp_path: Path) -> None:
    """Without an entry, too: adapter_config.json names it. An adapter of an adapter is not followed."""
    server.add_repo("bank/tuned", folders["adapter"])
    server.add_repo("bank/base", folders["base"])
    done = run("pull", "bank/tuned")
    assert done.exit_code == 0, done.stderr
    assert {"adapter_model.safetensors", "model.safetensors"} <= set(server.fetched())
    assert (Path(done.stdout.strip()) / "adapter_config.json").is_file()
    converted = run("convert", "bank/tuned")
    assert converted.exit_code == 0, converted.stderr
    assert "on-bank--base" in converted.stdout
    server.add_repo("bank/base", folders["adapter"])
    twice = CliRunner().invoke(cli, ["--db", str(tmp_path / "other.db"), "pull", "bank/tuned"])
    assert (twice.exit_code, "this is a LoRA adapter of bank/base" in twice.stderr) == (1, True)
