"""PULL against a Hub on loopback: the real huggingface_hub client, real sockets, real files."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi, close_session, constants, get_cached_repo_tree, hf_hub_download, snapshot_download

from gguf_bench import hub
from gguf_bench.errors import (
    CheckpointError,
    DiskSpaceError,
    GgufBenchError,
    HubError,
    LicenceNotAccepted,
    RepoNotFound,
    TokenMissing,
)
from gguf_bench.hub import patience, repo
from gguf_bench.hub_files import RepoFacts
from gguf_bench.records import ModelSpec
from tests.hub_server import READER, STRANGER, HubServer

WEIGHTS_BYTES = 3_000_000
NAME = "acme/tiny"
SPEC = ModelSpec(key=NAME, name=NAME)


class Recorder:
    """A Progress that remembers; it is its own bar."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.total: float | None = 0
        self.done = 0.0

    def bar(self, label: str, total: float | None, unit: str) -> Recorder:
        self.total = total
        return self

    def say(self, line: str) -> None:
        self.lines.append(line)

    def advance(self, amount: float) -> None:
        self.done += amount

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running
        close_session()


@pytest.fixture
def client(server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Points this process at the server, with a token if one is given, and makes retries quick."""
    monkeypatch.setattr(patience, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.chdir(tmp_path)  # away from any .env

    def use(token: str | None = None) -> None:
        server.use(monkeypatch, tmp_path / "hf", token=token)

    use()
    return use


def write(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write(
        tmp_path / "repo",
        {
            "config.json": '{"architectures": ["LlamaForCausalLM"]}',
            "tokenizer.json": '{"model": {}}',
            "tokenizer_config.json": "{}",
            "README.md": "---\nlicense: mit\n---\n",
            "model.safetensors": os.urandom(WEIGHTS_BYTES),
        },
    )


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def index(*shards: str) -> str:
    return json.dumps({"metadata": {}, "weight_map": {f"layer.{number}": shard for number, shard in enumerate(shards)}})


CLUTTER: dict[str, bytes | str] = {
    ".gitattributes": "x",
    "LICENSE": "x",
    "modeling_acme.py": "import os",
    "onnx/model.onnx": "x",
    "tf_model.h5": "x",
    "flax_model.msgpack": "x",
    "original/consolidated.00.pth": "x",
    "consolidated.safetensors": "x",
    "model.fp16.safetensors": "x",
    "pytorch_model.bin": "x",
    "nested/model.safetensors": "x",
    "nested/config.json": "x",
    "nested/vocab.tiktoken": "x",
    "training_args.bin": "x",
}


@pytest.mark.usefixtures("client")
def test_a_pull_locks_the_commit_and_uses_the_cache_in_place(server: HubServer, checkpoint: Path) -> None:
    commit = server.add_repo(NAME, checkpoint)
    progress = Recorder()
    pulled = hub.pull(SPEC, progress=progress)
    assert pulled.plan.commit == commit
    assert pulled.folder == hub.cache_folder() / "models--acme--tiny" / "snapshots" / commit
    assert {path.name: path.read_bytes() for path in pulled.paths} == {
        path.name: path.read_bytes() for path in checkpoint.iterdir()
    }
    assert all(path.is_symlink() for path in pulled.paths)
    assert progress.done == progress.total == pulled.plan.total_bytes == pulled.plan.missing_bytes
    assert not list(hub.cache_folder().rglob("*.incomplete"))


@pytest.mark.usefixtures("client")
def test_huggingface_hub_finds_what_was_pulled(
    server: HubServer, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = server.add_repo(NAME, checkpoint)
    pulled = hub.pull(SPEC)
    before = len(server.fetched())
    assert snapshot_download(NAME) == str(pulled.folder)
    assert len(server.fetched()) == before
    assert {file.path for file in get_cached_repo_tree(NAME, revision=commit)} == names(checkpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hf_hub_download(NAME, "config.json") == str(pulled.folder / "config.json")


@pytest.mark.usefixtures("client")
def test_what_huggingface_hub_downloaded_is_not_fetched_again(server: HubServer, checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)
    hf_hub_download(NAME, "model.safetensors")
    server.requests.clear()
    assert hub.plan(SPEC).missing_bytes < 1000
    hub.pull(SPEC)
    assert "model.safetensors" not in server.fetched()
    server.requests.clear()
    assert hub.plan(SPEC).missing_bytes == 0
    hub.pull(SPEC)
    assert server.fetched() == []


@pytest.mark.usefixtures("client")
def test_only_what_conversion_needs_is_fetched(server: HubServer, checkpoint: Path) -> None:
    extra: dict[str, bytes | str] = {
        "generation_config.json": '{"temperature": 1}',
        "chat_template.jinja": "{{ messages }}",
        "additional_chat_templates/tool_use.jinja": "t",
    }
    write(checkpoint, CLUTTER | extra)
    server.add_repo(NAME, checkpoint)
    planned = hub.plan(SPEC)
    wanted = {"config.json", "tokenizer.json", "tokenizer_config.json", "README.md", "model.safetensors", *extra}
    assert {file.path for file in planned.files} == wanted
    hub.pull(SPEC)
    assert set(server.fetched()) == wanted


@pytest.mark.usefixtures("client")
def test_of_an_index_exactly_the_shards_it_names(server: HubServer, tmp_path: Path) -> None:
    shards = ["model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"]
    files: dict[str, bytes | str] = {
        "config.json": "{}",
        "model.safetensors.index.json": index(*shards, shards[0]),
        "pytorch_model.bin.index.json": index("pytorch_model-00001-of-00001.bin"),
        "pytorch_model-00001-of-00001.bin": "x",
        "model-00001-of-00005.safetensors": "left over",
        "model.safetensors": "everything once more",
        **dict.fromkeys(shards, "x"),
    }
    server.add_repo(NAME, write(tmp_path / "repo", files))
    chosen = [file.path for file in hub.plan(SPEC).files]
    assert chosen == ["config.json", "model.safetensors.index.json", shards[1], shards[0]]


@pytest.mark.usefixtures("client")
def test_pickles_are_taken_where_there_is_nothing_better(server: HubServer, tmp_path: Path) -> None:
    server.add_repo(NAME, write(tmp_path / "repo", {"config.json": "{}", "pytorch_model.bin": "x", "tf_model.h5": "x"}))
    assert [file.path for file in hub.plan(SPEC).files] == ["config.json", "pytorch_model.bin"]


@pytest.mark.usefixtures("client")
def test_an_adapter_needs_no_weights_of_its_own(server: HubServer, tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        "adapter_config.json": "{}",
        "adapter_model.safetensors": "x",
        "adapter_model.bin": "x",
    }
    server.add_repo(NAME, write(tmp_path / "repo", files))
    assert [file.path for file in hub.plan(SPEC).files] == ["adapter_config.json", "adapter_model.safetensors"]


@pytest.mark.usefixtures("client")
def test_of_a_repo_with_a_base_the_adapter_alone_is_fetched(server: HubServer, tmp_path: Path) -> None:
    """Some hold the merged model, too; a repo without an adapter is not what the entry says."""
    tuned = replace(SPEC, base="org/base")
    files: dict[str, bytes | str] = {"config.json": "{}", "model.safetensors": "x"}
    server.add_repo(NAME, write(tmp_path / "merged", files))
    with pytest.raises(HubError, match=f"{NAME} has no LoRA adapter: no adapter_config.json"):
        hub.plan(tuned)
    files |= {"adapter_config.json": "{}", "adapter_model.bin": "x"}
    server.add_repo(NAME, write(tmp_path / "both", files))
    assert [file.path for file in hub.plan(tuned).files] == ["adapter_config.json", "config.json", "adapter_model.bin"]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (index("model-00009-of-00009.safetensors"), "names model-00009-of-00009.safetensors, which"),
        (index("../../../.bashrc"), "which the repo does not have"),
        (index("config.json"), "names config.json, which are no weights"),
        ('{"weight_map": ["model.safetensors"]}', "is no shard index"),
        ('{"weight_map": {"layer": {}}}', "is no shard index"),
        ('{"weight_map": {}}', "is no shard index .*weight_map names no files"),
        ('{"weight_map": {"layer": 5}}', "is no shard index"),
        ("[" * 100_000, "is no shard index"),
        ("<html>", "is no shard index"),
    ],
)
def test_an_index_that_cannot_be_followed(server: HubServer, tmp_path: Path, content: str, said: str) -> None:
    server.add_repo(NAME, write(tmp_path / "repo", {"config.json": "{}", "model.safetensors.index.json": content}))
    with pytest.raises(HubError, match=said):
        hub.plan(SPEC)


@pytest.mark.usefixtures("client")
def test_configuration_comes_first_and_a_check_can_stop_before_the_weights(server: HubServer, checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)

    def refuse(folder: Path, planned: hub.PullPlan) -> None:
        assert planned.missing_bytes > WEIGHTS_BYTES
        assert (folder / "config.json").is_file()
        assert (folder / "tokenizer.json").is_file()
        raise CheckpointError("no such architecture")

    with pytest.raises(CheckpointError, match="no such architecture"):
        hub.pull(SPEC, check=refuse)
    assert "model.safetensors" not in server.fetched()


# -- revisions --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("revision", ["v1.0", "refs/pr/7"])
def test_a_branch_tag_or_pull_request_is_resolved(
    server: HubServer, checkpoint: Path, tmp_path: Path, revision: str
) -> None:
    old = write(tmp_path / "old", {"config.json": "{}", "model.safetensors": "old"})
    server.add_repo(NAME, checkpoint, revisions={revision: old})
    pulled = hub.pull(ModelSpec(key="tiny", name=NAME, revision=revision))
    assert (pulled.folder / "model.safetensors").read_text() == "old"
    assert (hub.cache_folder() / "models--acme--tiny" / "refs" / revision).read_text() == pulled.plan.commit


@pytest.mark.usefixtures("client")
def test_a_given_commit_wins_over_a_branch_that_moved(server: HubServer, checkpoint: Path) -> None:
    first = server.add_repo(NAME, checkpoint)
    before = hub.pull(SPEC)
    moved = write(checkpoint.parent / "moved", {"config.json": "{}", "model.safetensors": "new"})
    assert server.add_repo(NAME, moved) != first
    again = hub.pull(SPEC, commit=first)
    assert (again.folder, again.plan.missing_bytes) == (before.folder, 0)
    assert hub.pull(SPEC).plan.commit != first
    assert before.paths[-1].read_bytes() == (checkpoint / "model.safetensors").read_bytes()


class Remembering:
    """The Hashes of a store, counted."""

    def __init__(self) -> None:
        self.known: dict[Path, str] = {}
        self.computed: list[Path] = []

    def sha256(self, paths: Sequence[Path]) -> str:
        (path,) = paths
        if path not in self.known:
            self.computed.append(path)
            self.known[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self.known[path]

    def remember_sha256(self, path: Path, sha256: str) -> None:
        self.known[path] = sha256


@pytest.mark.usefixtures("client")
def test_a_locked_commit_stays_where_its_branch_moves_and_that_is_said(
    server: HubServer, checkpoint: Path, tmp_path: Path
) -> None:
    first = server.add_repo(NAME, checkpoint)
    hub.pull(SPEC)
    progress = Recorder()
    assert hub.pull(SPEC, commit=first, progress=progress).plan.commit == first
    assert progress.lines == [], "nothing has moved"
    new = server.add_repo(NAME, write(tmp_path / "moved", {"config.json": "{}", "model.safetensors": "new"}))
    assert hub.pull(SPEC, commit=first, progress=progress).plan.commit == first
    assert progress.lines == [
        f"acme/tiny@main has moved since it was first pulled: it stays at {first[:7]}, as scored; "
        f"the new one is acme/tiny@{new}"
    ]
    by_commit = replace(SPEC, revision=first)
    assert hub.pull(by_commit, commit=first, progress=progress).plan.commit == first
    assert len(progress.lines) == 1, "who names a commit is not told of branches"


@pytest.mark.usefixtures("client")
def test_more_than_the_listed_bytes_are_not_taken(server: HubServer, checkpoint: Path) -> None:
    """The room was checked for what is listed; whoever serves the file may not fill the disk."""
    commit = server.add_repo(NAME, checkpoint)
    files, bigger = server.repos[NAME].files[commit], checkpoint / "bigger"
    listed = files["model.safetensors"]
    bigger.write_bytes(listed.local.read_bytes() + bytes(5_000_000))
    files["model.safetensors"] = replace(listed, local=bigger)
    with pytest.raises(HubError, match=f"sends more of .* than the {listed.size} bytes it lists"):
        hub.pull(SPEC)
    assert all(path.stat().st_size <= listed.size for path in hub.cache_folder().rglob("*") if path.is_file())


@pytest.mark.usefixtures("client")
def test_an_expired_token_does_not_keep_what_is_in_the_cache(
    server: HubServer, client: Callable[..., None], checkpoint: Path
) -> None:
    commit = server.add_repo(NAME, checkpoint)
    hub.pull(SPEC)
    client("hf_expired")
    progress = Recorder()
    assert hub.pull(SPEC, commit=commit, progress=progress).plan.commit == commit
    assert "does not know the token" in progress.lines[-1]
    assert "from the cache" in progress.lines[-1]


@pytest.mark.usefixtures("client")
def test_what_was_taken_from_the_hub_is_still_used_from_the_cache(
    server: HubServer, checkpoint: Path, tmp_path: Path
) -> None:
    first = server.add_repo(NAME, checkpoint, revisions={"v1": checkpoint})
    tagged = replace(SPEC, revision="v1")
    hub.pull(SPEC)
    del server.repos[NAME].revisions["v1"]
    progress = Recorder()
    assert hub.pull(tagged, commit=first, progress=progress).plan.commit == first
    assert "acme/tiny@v1 is gone since it was first pulled" in progress.lines[-1]

    new = server.add_repo(NAME, write(tmp_path / "moved", {"config.json": "{}", "model.safetensors": "new"}))
    del server.repos[NAME].files[first]  # its history was rewritten
    assert hub.pull(SPEC, commit=first, progress=progress).plan.commit == first
    assert f"the Hub has acme/tiny@{first} no more" in progress.lines[-1]
    assert "from the cache" in progress.lines[-1]

    folder = hub.pull(SPEC, commit=first).folder
    (folder / "model.safetensors").unlink()
    with pytest.raises(HubError, match=f"is not in the cache .*; acme/tiny@{new} is what it has now"):
        hub.pull(SPEC, commit=first)

    del server.repos[NAME]
    with pytest.raises(RepoNotFound, match="no model acme/tiny"):
        hub.pull(SPEC, commit=first)


def test_a_licence_that_was_put_on_later_leaves_what_is_here(
    server: HubServer, client: Callable[..., None], checkpoint: Path
) -> None:
    first = server.add_repo(NAME, checkpoint)
    hub.pull(SPEC)
    server.repos[NAME].private = True
    progress = Recorder()
    assert hub.pull(SPEC, commit=first, progress=progress).plan.missing_bytes == 0
    assert "it is private and no token was found; using acme/tiny@" in progress.lines[0]


# -- what is in the cache already is looked at, too -------------------------------------------------------------------


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_what_is_damaged_in_the_cache_is_fetched_again(server: HubServer, checkpoint: Path, name: str) -> None:
    """A bit that a disk lost, or what another tool left there: the size is right, the content is not."""
    server.add_repo(NAME, checkpoint)
    path = hub.pull(SPEC).folder / name
    damaged = bytearray(path.read_bytes())
    damaged[5] ^= 1
    path.resolve().write_bytes(damaged)
    progress = Recorder()
    assert hub.pull(SPEC, progress=progress).paths
    assert path.read_bytes() == (checkpoint / name).read_bytes()
    (line,) = progress.lines
    assert f"{name} is damaged: it is not what the Hub has, and is fetched again" in line


@pytest.mark.usefixtures("client")
def test_what_huggingface_hub_left_is_checked_once(server: HubServer, checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)
    hashes = Remembering()
    hf_hub_download(NAME, "model.safetensors")
    folder = hub.pull(SPEC, hashes=hashes).folder
    assert hashes.computed == [folder / "model.safetensors"], "what was downloaded just now is not hashed twice"
    hub.pull(SPEC, hashes=hashes)
    assert len(hashes.computed) == 1


# -- ready-made GGUF --------------------------------------------------------------------------------------------------

GGUF_REPO: dict[str, bytes | str] = {
    "README.md": "x",
    "tiny-q8_0.gguf": "8",
    "tiny.Q4_K_M.gguf": "4",
    "tiny-UD-Q2_K_XL.gguf": "2",
    "fp16/tiny.fp16.gguf": "16",
    "mmproj-tiny-Q4_K_M.gguf": "projector",
    "tiny-Q4_K_M-imatrix.gguf": "importance",
    "BF16/tiny-BF16-00002-of-00002.gguf": "second",
    "BF16/tiny-BF16-00001-of-00002.gguf": "first",
    "IQ3_XXS/part-00001-of-00001.gguf": "3",
}


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("asked", "paths"),
    [
        ("Q4_K_M", ["tiny.Q4_K_M.gguf"]),
        ("q8_0", ["tiny-q8_0.gguf"]),
        ("F16", ["fp16/tiny.fp16.gguf"]),
        ("BF16", ["BF16/tiny-BF16-00001-of-00002.gguf", "BF16/tiny-BF16-00002-of-00002.gguf"]),
        ("IQ3_XXS", ["IQ3_XXS/part-00001-of-00001.gguf"]),
        ("Q2_K_XL", ["tiny-UD-Q2_K_XL.gguf"]),
    ],
)
def test_a_ready_gguf_is_found_by_its_type(server: HubServer, tmp_path: Path, asked: str, paths: list[str]) -> None:
    server.add_repo(NAME, write(tmp_path / "repo", GGUF_REPO))
    pulled = hub.pull(ModelSpec(key="tiny", name=NAME, ready_quantization=asked))
    assert pulled.plan.kind == "gguf"
    assert [path.relative_to(pulled.folder).as_posix() for path in pulled.paths] == paths
    assert sorted(server.fetched()) == sorted(paths)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["a-Q4_K_M.gguf", "a-Q4_K_S.gguf"], "a-Q4_K_M.gguf"),
        (["a-UD-Q4_K_M.gguf"], "a-UD-Q4_K_M.gguf"),
        (["a-Q4_K_M.gguf", "a-Q4_K.gguf"], "a-Q4_K.gguf"),
    ],
)
def test_an_alias_means_its_type_where_no_file_is_called_so(
    server: HubServer, tmp_path: Path, files: list[str], found: str
) -> None:
    server.add_repo(NAME, write(tmp_path / "repo", dict.fromkeys(files, "x")))
    assert [file.path for file in hub.plan(ModelSpec(key="tiny", name=NAME, ready_quantization="Q4_K")).files] == [
        found
    ]


@pytest.mark.usefixtures("client")
def test_a_named_gguf_brings_all_its_parts(server: HubServer, tmp_path: Path) -> None:
    server.add_repo(NAME, write(tmp_path / "repo", GGUF_REPO))
    spec = ModelSpec(key="tiny", name=NAME, file="BF16/tiny-BF16-00001-of-00002.gguf")
    assert [path.read_text() for path in hub.pull(spec).paths] == ["first", "second"]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("files", "spec", "said"),
    [
        (
            GGUF_REPO,
            {"ready_quantization": "Q5_K_M"},
            "no GGUF of type Q5_K_M; it has acme/tiny:BF16, acme/tiny:F16, acme/tiny:IQ3_XXS, acme/tiny:Q4_K_M",
        ),
        (GGUF_REPO, {}, "no weights to convert, but ready-made GGUF files; ask for acme/tiny:BF16"),
        (GGUF_REPO, {"file": "other.gguf"}, "no GGUF file 'other.gguf'; it has BF16/tiny-BF16-00001-of-00002.gguf"),
        (GGUF_REPO, {"file": "README.md"}, "no GGUF file 'README.md'"),
        ({"a-Q4_0.gguf": "x", "b-Q4_0.gguf": "x"}, {"ready_quantization": "Q4_0"}, "2 GGUF models of type Q4_0: a-Q4"),
        ({"a-Q4_0-00001-of-00002.gguf": "x"}, {"ready_quantization": "Q4_0"}, "lacks a-Q4_0-00002-of-00002.gguf"),
        ({"model.gguf": "x"}, {"ready_quantization": "Q4_0"}, "no GGUF file that names its quantization"),
        ({"model.gguf": "x"}, {}, "name one by `file`"),
        ({"config.json": "{}", "tf_model.h5": "x"}, {}, "no weights that can be converted: none of model.safetensors"),
        ({"model.safetensors": "x"}, {}, "weights, but no config.json"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    server: HubServer, tmp_path: Path, files: dict[str, bytes | str], spec: dict[str, str], said: str
) -> None:
    server.add_repo(NAME, write(tmp_path / "repo", files))
    with pytest.raises(HubError) as caught:
        hub.plan(ModelSpec(key="tiny", name=NAME, **spec))  # type: ignore[arg-type]
    assert said in str(caught.value)


QUANTIZED = ["gguf", "base_model:quantized:acme/tiny"]


@pytest.mark.usefixtures("client")
def test_a_ready_made_gguf_of_a_model_is_found(server: HubServer, tmp_path: Path) -> None:
    gguf = write(tmp_path / "gguf", GGUF_REPO)
    server.add_repo("shut/tiny-GGUF", gguf, gated=True, tags=QUANTIZED)
    server.add_repo("hidden/tiny-GGUF", gguf, private=True, tags=QUANTIZED)
    server.add_repo("bare/tiny-GGUF", write(tmp_path / "bare", {"model.gguf": "x"}), tags=QUANTIZED)
    server.add_repo("other/GGUF", gguf, tags=["gguf", "base_model:quantized:acme/other"])
    assert hub.ready_made(NAME, "Q4_K_M") is None
    server.add_repo("good/tiny-GGUF", gguf, tags=QUANTIZED)
    assert hub.ready_made(NAME, "Q4_K_M") == "good/tiny-GGUF:Q4_K_M"
    assert hub.ready_made(NAME, "Q6_K") == "good/tiny-GGUF:Q4_K_M", "the nearest"
    assert hub.ready_made(NAME, "Q2_K") == "good/tiny-GGUF:IQ3_XXS"
    assert all("authorization" not in request.headers for request in server.requests)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("trouble", ["broken", "away", "offline", "other", "hostile"])
def test_that_no_ready_made_one_can_be_looked_up_is_no_failure(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    server.add_repo("good/tiny-GGUF", write(tmp_path / "gguf", GGUF_REPO), tags=QUANTIZED)
    if trouble == "broken":
        server.fail(500, "/api/models")
    elif trouble == "away":
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    elif trouble == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    elif trouble == "other":
        server.fail(200, "/api/models")
    else:
        server.repos["good/tiny-GGUF"].facts |= {"id": "x; rm -rf ~"}  # type: ignore[operator]
    assert hub.ready_made(NAME, "Q4_K_M") is None


@pytest.mark.usefixtures("client")
def test_a_repo_with_nothing_to_convert_names_a_ready_made_one(server: HubServer, tmp_path: Path) -> None:
    server.add_repo(NAME, write(tmp_path / "repo", {"config.json": "{}", "tf_model.h5": "x"}))
    server.add_repo("good/tiny-GGUF", write(tmp_path / "gguf", GGUF_REPO), tags=QUANTIZED)
    with pytest.raises(HubError, match=r"no weights .*; the Hub lists it ready-made: use good/tiny-GGUF:Q4_K_M"):
        hub.plan(SPEC)


# -- before gigabytes -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("client")
def test_a_preview_fetches_everything_but_the_weights(server: HubServer, checkpoint: Path) -> None:
    card = {"license": "other", "license_name": "acme-1", "base_model": ["acme/base", 5]}
    commit = server.add_repo(NAME, checkpoint, cardData=card, safetensors={"parameters": {"BF16": 9}, "total": 9})
    found = hub.preview(SPEC)
    assert set(server.fetched()) == names(checkpoint) - {"model.safetensors"}
    assert (found.folder / "tokenizer.json").is_file()
    assert (found.plan.commit, found.plan.weights_bytes) == (commit, WEIGHTS_BYTES)
    assert found.plan.missing_bytes == WEIGHTS_BYTES
    assert found.facts == RepoFacts(gated=False, licence="acme-1", base_models=("acme/base",), n_params=9)
    looked = hub.look(SPEC)
    assert (looked.commit, looked.facts) == (commit, found.facts)


@pytest.mark.parametrize(("token", "kind"), [(None, TokenMissing), (STRANGER, LicenceNotAccepted)])
def test_a_preview_tells_whether_a_licence_is_accepted(
    server: HubServer, client: Callable[..., None], tmp_path: Path, token: str | None, kind: type[Exception]
) -> None:
    """Of a ready-made GGUF, too, of which nothing small would be fetched."""
    server.add_repo(NAME, write(tmp_path / "repo", GGUF_REPO), gated=True)
    ready = replace(SPEC, ready_quantization="Q4_K_M")
    client(token)
    with pytest.raises(kind):
        hub.preview(ready)
    client(READER)
    assert hub.preview(ready).facts.gated
    assert server.fetched() == []


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    "said", [{"cardData": 5}, {"safetensors": 5}, {"cardData": {"license": ["mit"]}}, {"gguf": []}]
)
def test_a_card_may_say_anything(server: HubServer, checkpoint: Path, said: dict[str, object]) -> None:
    server.add_repo(NAME, checkpoint, **said)
    with suppress(HubError):  # no Hub answers like that
        facts = hub.look(SPEC).facts
        assert (facts.licence, facts.n_params) == (None, None)


@pytest.mark.usefixtures("client")
def test_a_preview_is_never_of_the_cache(server: HubServer, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_repo(NAME, checkpoint)
    hub.pull(SPEC)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(hub.HubAway, match="HF_HUB_OFFLINE is set"):
        hub.preview(SPEC)


# -- offline ----------------------------------------------------------------------------------------------------------


def test_offline_uses_a_whole_snapshot_and_says_so(
    server: HubServer, client: Callable[..., None], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_repo(NAME, checkpoint)
    pulled = hub.pull(SPEC)
    server.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    progress = Recorder()
    again = hub.pull(SPEC, progress=progress)
    assert (again.folder, sorted(again.paths)) == (pulled.folder, sorted(pulled.paths))
    assert again.plan.files[-1].sha256 == pulled.plan.files[-1].sha256
    assert "HF_HUB_OFFLINE is set; using acme/tiny@" in progress.lines[0]
    assert hub.pull(SPEC, commit=pulled.plan.commit).plan.commit == pulled.plan.commit
    assert server.requests == []


@pytest.mark.usefixtures("client")
def test_an_unreachable_hub_is_replaced_by_the_cache(
    server: HubServer, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_repo(NAME, checkpoint)
    pulled = hub.pull(SPEC)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    progress = Recorder()
    assert hub.pull(SPEC, progress=progress).folder == pulled.folder
    assert "http://127.0.0.1:9 cannot be reached" in progress.lines[0]
    reason = hub.reachable()
    assert reason is not None
    assert "cannot be reached" in reason


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("lost", ["model.safetensors", "config.json", "tokenizer.json"])
def test_offline_with_half_a_snapshot_is_an_error(
    server: HubServer, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    server.add_repo(NAME, checkpoint)
    (hub.pull(SPEC).folder / lost).unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"HF_HUB_OFFLINE is set, and acme/tiny@main is not in the cache .*unset it"):
        hub.pull(SPEC)


@pytest.mark.usefixtures("client")
def test_a_moved_branch_is_remembered_only_when_its_pull_is_whole(
    server: HubServer, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = server.add_repo(NAME, checkpoint)
    hub.pull(SPEC)
    server.add_repo(NAME, write(checkpoint.parent / "moved", {"config.json": "{}", "model.safetensors": "new"}))
    server.fail(403, "resolve", times=9)
    with pytest.raises(HubError):
        hub.pull(SPEC)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.pull(SPEC).plan.commit == first


# -- refusals ---------------------------------------------------------------------------------------------------------


def refused(token: str | None, client: Callable[..., None], spec: ModelSpec = SPEC) -> GgufBenchError:
    client(token)
    with pytest.raises(GgufBenchError) as caught:
        hub.pull(spec)
    message = str(caught.value)
    assert "\n" not in message
    assert token is None or token not in message
    return caught.value


def test_gated_says_token_or_licence_apart(server: HubServer, client: Callable[..., None], checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint, gated=True)
    no_token = refused(None, client)
    assert type(no_token) is TokenMissing
    assert "$HF_TOKEN" in str(no_token)
    assert "hf auth login" in str(no_token)
    unsigned = refused(STRANGER, client)
    assert type(unsigned) is LicenceNotAccepted
    assert f"accept it at {server.endpoint}/acme/tiny" in str(unsigned)
    assert "$HF_TOKEN" in str(unsigned)
    client(READER)
    assert hub.pull(SPEC).paths


def test_a_missing_repo_is_not_told_from_a_private_one(
    server: HubServer, client: Callable[..., None], checkpoint: Path
) -> None:
    server.add_repo(NAME, checkpoint, private=True)
    for spec in (SPEC, ModelSpec(key="x", name="acme/nothing")):
        anonymous, stranger = refused(None, client, spec), refused(STRANGER, client, spec)
        assert type(anonymous) is type(stranger) is RepoNotFound
        assert "no model" in str(anonymous)
        assert "or it is private and no token was found" in str(anonymous)
        assert "may not see it" in str(stranger)


def test_a_refused_token_is_named_by_its_source(
    server: HubServer, client: Callable[..., None], checkpoint: Path
) -> None:
    server.add_repo(NAME, checkpoint)
    error = refused("hf_expired", client)
    assert type(error) is HubError
    assert "does not know the token in $HF_TOKEN" in str(error)


def test_no_such_revision_or_name(server: HubServer, client: Callable[..., None], checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)
    missing = refused(None, client, ModelSpec(key="x", name=NAME, revision="v9"))
    assert type(missing) is RepoNotFound
    assert "no revision 'v9'" in str(missing)
    climbing = refused(None, client, ModelSpec(key="x", name=NAME, revision="../../../v9"))
    assert type(climbing) is RepoNotFound
    assert "is no name of a Hub repo" in str(refused(None, client, ModelSpec(key="x", name="a/b/c")))


def test_a_server_that_is_no_hub(
    server: HubServer, client: Callable[..., None], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a hotel's login page does: 200, and something else."""
    server.add_repo(NAME, checkpoint)
    server.fail(200, "/api/models/acme/tiny")
    assert "does not answer like a Hub" in str(refused(None, client))


def test_the_token_goes_to_the_hub_and_to_no_other_host(
    server: HubServer, client: Callable[..., None], checkpoint: Path
) -> None:
    server.add_repo(NAME, checkpoint, gated=True)
    client(READER)
    hub.pull(SPEC)
    to_hub = [request for request in server.requests if request.host == "hub"]
    to_storage = [request for request in server.requests if request.host == "storage"]
    assert all(request.headers["authorization"] == f"Bearer {READER}" for request in to_hub)
    assert to_storage
    assert not any(READER in str(request) for request in to_storage)


@pytest.mark.usefixtures("client")
def test_a_token_that_only_we_look_for_is_sent(server: HubServer, checkpoint: Path, tmp_path: Path) -> None:
    """huggingface_hub knows neither .env nor this name."""
    server.add_repo(NAME, checkpoint, private=True)
    write(tmp_path, {".env": f"HUGGINGFACE_API_TOKEN={READER}\n"})
    assert hub.pull(SPEC).paths


def test_without_a_token_none_is_sent(server: HubServer, client: Callable[..., None], checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)
    hub.pull(SPEC)
    assert not any("authorization" in request.headers for request in server.requests)


def test_the_login_cache_comes_last(
    client: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub.find_token() is None
    write(tmp_path / "hf", {"token": f"{READER}\n"})
    token = hub.find_token()
    assert token is not None
    assert (token.value, token.source) == (READER, "the login cache (`hf auth login`)")
    monkeypatch.setenv("HUGGINGFACE_API_TOKEN", STRANGER)
    token = hub.find_token()
    assert token is not None
    assert token.source == "$HUGGINGFACE_API_TOKEN"


# -- hostile days -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("part", ["/api/models", "config.json", "model.safetensors"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_hub_is_asked_again(server: HubServer, checkpoint: Path, status: int, part: str) -> None:
    server.add_repo(NAME, checkpoint)
    server.fail(status, part, times=2)
    progress = Recorder()
    assert hub.pull(SPEC, progress=progress).paths
    assert [line.split(" ", 4)[:4] for line in progress.lines] == [["the", "Hub", "answers", str(status)]] * 2


@pytest.mark.usefixtures("client")
def test_the_delay_a_server_asks_for_is_kept(
    server: HubServer, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    server.add_repo(NAME, checkpoint)
    server.fail(429, "/api/models", retry_after="7")
    server.fail(429, "/api/models", ratelimit='"api";r=0;t=55')
    server.fail(503, "config.json", retry_after="2")
    server.fail(503, "tokenizer.json", retry_after=format_datetime(datetime.now(UTC) + timedelta(seconds=40)))
    server.fail(503, "model.safetensors", retry_after="Wed, 21 Oct 99999999999999999999 07:28:00 GMT")
    hub.pull(SPEC)
    assert waits[:3] == [7, 55, 2]
    assert 30 < waits[3] <= 40
    assert waits[4] == patience.FIRST_WAIT_SECONDS


def test_a_delay_that_is_too_long_is_told_instead(
    server: HubServer, client: Callable[..., None], checkpoint: Path
) -> None:
    server.add_repo(NAME, checkpoint)
    server.fail(429, "model.safetensors", retry_after="3600")
    error = refused(None, client)
    assert "answers 429 Too Many Requests; try again in 3600 s" in str(error)


@pytest.mark.parametrize("named", [{}, {"x_error_code": "EntryNotFound"}])
def test_a_file_that_is_listed_and_not_there_is_named(
    named: dict[str, str], server: HubServer, client: Callable[..., None], checkpoint: Path
) -> None:
    """A mirror may answer 404 without the Hub's word for what is missing; it is not the model."""
    server.add_repo(NAME, checkpoint)
    server.fail(404, "model.safetensors", times=99, **named)
    assert f"{NAME} has no file 'model.safetensors' at this commit; see http" in str(refused(None, client))


def test_a_hub_that_stays_broken_is_given_up(server: HubServer, client: Callable[..., None], checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)
    server.fail(502, "/api/models", times=99)
    assert "the Hub answers 502 Bad Gateway, and acme/tiny@main is not in the cache" in str(refused(None, client))
    assert len(server.requests) == patience.ATTEMPTS


@pytest.mark.usefixtures("client")
def test_a_connection_cut_in_mid_file_loses_nothing(server: HubServer, checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)
    server.cut("model.safetensors", after=2_500_000)
    progress = Recorder()
    pulled = hub.pull(SPEC, progress=progress)
    assert (pulled.folder / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    ranges = [r.headers.get("range") for r in server.requests if r.host == "storage" and "model.safet" in r.path]
    assert ranges[0] is None
    assert ranges[1] is not None
    assert int(ranges[1].removeprefix("bytes=").removesuffix("-")) >= 2_000_000
    assert len(ranges) == 2
    assert "the connection broke" in progress.lines[0]
    assert progress.done == progress.total


@pytest.mark.usefixtures("client")
def test_a_connection_that_stalls_in_mid_file_loses_nothing(
    server: HubServer, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    server.add_repo(NAME, checkpoint)
    server.stall("model.safetensors", after=2_500_000)
    pulled = hub.pull(SPEC)
    assert (pulled.folder / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    ranges = [r.headers.get("range") for r in server.requests if r.host == "storage" and "model.safet" in r.path]
    assert ranges == [None, f"bytes={2 * repo.CHUNK_BYTES}-"]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("reset", [False, True])
def test_a_line_that_breaks_again_and_again_is_followed_as_long_as_something_comes(
    server: HubServer, checkpoint: Path, reset: bool
) -> None:
    write(checkpoint, {"model.safetensors": os.urandom(9 * repo.CHUNK_BYTES)})
    server.add_repo(NAME, checkpoint)
    server.cut("model.safetensors", after=repo.CHUNK_BYTES + 1, times=8)
    server.cut("model.safetensors", after=1000, times=2, reset=reset)
    pulled = hub.pull(SPEC)
    assert (pulled.folder / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    assert server.fetched().count("model.safetensors") >= 9


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("reset", [False, True])
def test_a_line_on_which_nothing_comes_is_given_up(server: HubServer, checkpoint: Path, reset: bool) -> None:
    server.add_repo(NAME, checkpoint)
    server.cut("model.safetensors", after=0, times=99, reset=reset)
    with pytest.raises(HubError, match=r"cannot be reached .*check the network"):
        hub.pull(SPEC)
    assert server.fetched().count("model.safetensors") == patience.ATTEMPTS


@pytest.mark.usefixtures("client")
def test_a_range_that_is_ignored_starts_the_file_again(server: HubServer, checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)
    server.cut("model.safetensors", after=2_000_000)
    server.ignore_range("model.safetensors")
    progress = Recorder()
    pulled = hub.pull(SPEC, progress=progress)
    assert (pulled.folder / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    assert progress.done == progress.total


@pytest.mark.usefixtures("client")
def test_a_range_that_is_refused_starts_the_file_again(server: HubServer, checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)
    server.cut("model.safetensors", after=2_000_000)
    server.refuse_range("model.safetensors")
    progress = Recorder()
    folder = hub.pull(SPEC, progress=progress).folder
    assert (folder / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    assert progress.lines[-1] == "the Hub does not go on with model.safetensors from byte 1048576: it is begun again"
    assert progress.done == progress.total


def test_a_refusal_leaves_no_empty_download(server: HubServer, client: Callable[..., None], checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)
    server.fail(416, "model.safetensors", times=99)
    assert "the Hub answers 416 for acme/tiny: Requested Range Not Satisfiable; try again" in str(refused(None, client))
    assert not list(hub.cache_folder().rglob("*.incomplete"))


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_damaged_content_never_gets_its_name(server: HubServer, checkpoint: Path, name: str) -> None:
    server.add_repo(NAME, checkpoint)
    server.damage(name)
    with pytest.raises(HubError, match=r"damaged on the way.*pull again"):
        hub.pull(SPEC)
    assert not list(hub.cache_folder().rglob("*.incomplete"))
    assert not list(hub.cache_folder().rglob(name))
    assert hub.pull(SPEC).paths


@pytest.mark.usefixtures("client")
def test_a_truncated_blob_is_fetched_again(server: HubServer, checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)
    weights = hub.pull(SPEC).folder / "model.safetensors"
    with weights.open("r+b") as blob:
        blob.truncate(1000)
    assert hub.plan(SPEC).missing_bytes == WEIGHTS_BYTES
    hub.pull(SPEC)
    assert weights.read_bytes() == (checkpoint / "model.safetensors").read_bytes()


@pytest.mark.usefixtures("client")
def test_a_full_disk_is_told_before_the_download(
    server: HubServer, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_repo(NAME, checkpoint)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(DiskSpaceError, match=r"pulling acme/tiny needs 0\.00 GB"):
        hub.pull(SPEC)
    assert server.fetched() == []


@pytest.mark.usefixtures("client")
def test_a_disk_that_fills_up_is_told_and_keeps_what_came(server: HubServer, checkpoint: Path) -> None:
    """/dev/full answers every write with ENOSPC."""
    server.add_repo(NAME, checkpoint)
    weights = hub.plan(SPEC).files[-1]
    blobs = hub.cache_folder() / "models--acme--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{weights.etag}.incomplete").symlink_to("/dev/full")
    with pytest.raises(HubError, match=r"is full; free some space, .*; pulling again resumes"):
        hub.pull(SPEC)


@pytest.mark.usefixtures("client")
def test_a_cache_that_cannot_be_written(server: HubServer, checkpoint: Path) -> None:
    server.add_repo(NAME, checkpoint)
    write(hub.cache_folder().parent, {"hub": "a file where the folder should be"})
    with pytest.raises(HubError, match="the Hub cache cannot be written"):
        hub.pull(SPEC)


@pytest.mark.usefixtures("client")
def test_a_listing_that_would_leave_its_folder_is_refused(server: HubServer, checkpoint: Path) -> None:
    commit = server.add_repo(NAME, checkpoint)
    files = server.repos[NAME].files[commit]
    files["../../../../evil.json"] = files["config.json"]
    with pytest.raises(HubError, match="outside its folder"):
        hub.pull(SPEC)


# -- as a user has it: a process of its own, settings by environment --------------------------------------------------

PULL = """
import sys
from gguf_bench import hub
from gguf_bench.hub import patience, repo
from gguf_bench.hub_files import RepoFacts
from gguf_bench.records import ModelSpec
print(hub.pull(ModelSpec(key="tiny", name="acme/tiny")).folder)
"""


def process(environment: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    root = str(Path(__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PULL],
        env=environment | {"PYTHONPATH": root},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_pull_resumes_in_the_middle_of_the_file(server: HubServer, checkpoint: Path, tmp_path: Path) -> None:
    server.add_repo(NAME, checkpoint)
    server.stall("model.safetensors", after=2_500_000)
    environment = server.environment(tmp_path / "hf")
    with process(environment, tmp_path) as killed:
        assert server.stalled.wait(60)
        partials: list[Path] = []
        while not partials or partials[0].stat().st_size < 2_000_000:
            partials = [path for path in (tmp_path / "hf").rglob("*.incomplete") if path.stat().st_size]
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    server.requests.clear()
    with process(environment, tmp_path) as again:
        folder, errors = again.communicate(timeout=60)
    assert (again.returncode, errors) == (0, "")
    assert (Path(folder.strip()) / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    # Whole chunks are what reached the file before the kill.
    ranges = [request.headers.get("range") for request in server.requests if request.host == "storage"]
    assert ranges == [f"bytes={2 * repo.CHUNK_BYTES}-"]
    assert not list((tmp_path / "hf").rglob("*.incomplete"))


def test_two_processes_pull_the_same_at_once(server: HubServer, checkpoint: Path, tmp_path: Path) -> None:
    server.add_repo(NAME, checkpoint)
    environment = server.environment(tmp_path / "hf")
    with process(environment, tmp_path) as one, process(environment, tmp_path) as other:
        outputs = [one.communicate(timeout=60), other.communicate(timeout=60)]
    assert outputs[0] == outputs[1]
    assert outputs[0][1] == ""
    assert server.fetched().count("model.safetensors") == 1


def test_offline_by_the_environment(server: HubServer, checkpoint: Path, tmp_path: Path) -> None:
    server.add_repo(NAME, checkpoint, gated=True)
    environment = server.environment(tmp_path / "hf", token=READER)
    with process(environment, tmp_path) as online:
        first = online.communicate(timeout=60)
    server.requests.clear()
    with process(environment | {"HF_HUB_OFFLINE": "1"}, tmp_path) as offline:
        assert offline.communicate(timeout=60) == first
    assert server.requests == []
    assert READER not in "".join(first)


# -- the server itself ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("client")
def test_the_server_lists_a_tree_as_the_client_reads_it(server: HubServer, checkpoint: Path) -> None:
    commit = server.add_repo(NAME, checkpoint)
    listed = {entry.path: entry for entry in HfApi().list_repo_tree(NAME, revision=commit, recursive=True)}
    assert set(listed) == names(checkpoint)
    assert listed["model.safetensors"].size == WEIGHTS_BYTES  # type: ignore[union-attr]
    assert hub.reachable() is None
