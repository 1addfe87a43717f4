"""What no score depends on can be freed, and nothing else goes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gguf_bench import garbage, hub
from gguf_bench.cli.commands import cli
from gguf_bench.errors import HubError, StoreError
from gguf_bench.paths import cache_folder
from gguf_bench.records import GgufFile, ModelSpec
from gguf_bench.store import Store
from tests.filled_store import RUN
from tests.hub_server import HubServer, served_here

Run = Callable[..., Result]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with served_here(monkeypatch, tmp_path) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "results.db")
    yield opened
    opened.close()


def pulled(server: HubServer, store: Store, name: str, content: str, folder: Path) -> str:
    """A repo with `content`, in the Hub cache and locked; its commit."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(content)
    server.add_repo(name, folder)
    commit = hub.pull(ModelSpec(key=name, name=name)).plan.commit
    store.lock_commit(name, None, commit)
    return commit


def pulled_gguf(server: HubServer, store: Store, name: str, content: str, folder: Path) -> Path:
    """A repo with a ready-made GGUF of `content`, in the Hub cache and locked; where it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m-Q4_0.gguf").write_text(content)
    server.add_repo(name, folder)
    found = hub.pull(ModelSpec(key=name, name=name, ready_quantization="Q4_0"))
    store.lock_commit(name, None, found.plan.commit)
    return found.paths[0]


def made(
    store: Store, name: str, made_by: str, *, parent: str | None = None, repo: str | None = None, **more: str
) -> str:
    """A file of ours in the cache and in the store; its sha256."""
    path = cache_folder() / "gguf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
    parents = {} if parent is None else {"parent": parent}
    return recorded(store, [path], made_by, repo=repo, **parents, **more)


def recorded(store: Store, paths: Sequence[Path], made_by: str, *, repo: str | None = None, **more: str) -> str:
    """The file of these parts, in the store; its sha256."""
    sha256 = store.sha256(paths)
    gguf = GgufFile(
        path=paths[0],
        shard_paths=tuple(paths),
        sha256=sha256,
        size_bytes=sum(path.stat().st_size for path in paths),
        quant="Q4_0",
        bits_per_weight=4.5,
        n_params=1,
        architecture="llama",
        context_train=1,
        repo=repo,
        commit=more.get("commit"),
    )
    made_with = {"options": {"imatrix": more["imatrix"]}} if "imatrix" in more else {}
    store.save_artifact(gguf, made_by=made_by, made_with=made_with, parent_sha256=more.get("parent"))
    return sha256


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Another process holds the lock, as one does that fetches."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    script = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]): print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.communicate("\n")


def scored(store: Store, sha256: str, status: str = "finished", run_status: str = "finished") -> int:
    contender = {
        "model": "m", "display_name": "m", "model_group": "", "quant": sha256[:4], "file_sha256": sha256,
        "settings_sha256": "s", "status": status,
    }  # fmt: skip
    run_id = store.create_run(RUN | {"n_documents": 0}, [contender])
    store.set_run(run_id, status=run_status)
    return run_id


def names(found: garbage.Garbage) -> list[str]:
    return sorted(path.name for path in found.files)


def test_what_a_score_depends_on_stays_down_to_the_revision(server: HubServer, store: Store, tmp_path: Path) -> None:
    used = pulled(server, store, "bank/used", "weights", tmp_path / "used")
    spare = pulled(server, store, "bank/spare", "others", tmp_path / "spare")
    imatrix = cache_folder() / "imatrix" / "used.gguf"
    imatrix.parent.mkdir(parents=True)
    imatrix.write_text("importances")
    store.sha256([imatrix])
    other = imatrix.with_name("other.gguf")
    other.write_text("others")
    store.sha256([other])
    whole = made(store, "used/whole.gguf", "converted", repo="bank/used", commit=used)
    small = made(
        store, "used/q/small.gguf", "quantized", parent=whole, repo="bank/used", commit=used, imatrix=str(imatrix)
    )
    made(store, "used/q/tiny.gguf", "quantized", parent=whole, repo="bank/used", commit=used)
    broken = made(store, "used/q/broken.gguf", "quantized", parent=whole)
    half = made(store, "used/q/half.gguf", "quantized", parent=whole)
    made(store, "spare/whole.gguf", "converted", repo="bank/spare", commit=spare)
    scored(store, small)
    scored(store, broken, status="failed")
    scored(store, half, status="interrupted")
    theirs = cache_folder() / "gguf" / "theirs.gguf"
    theirs.write_text("of another store")
    (cache_folder() / "gguf" / "notes.txt").write_text("no file of ours")

    found = garbage.find(store)
    assert names(found) == ["broken.gguf", "other.gguf", "tiny.gguf", "whole.gguf"]
    assert [(one.repo, one.commit) for one in found.revisions] == [("bank/spare", spare)]
    assert (found.n_unknown, found.unknown_bytes) == (1, len("of another store"))
    assert {one.what for one in found.shown} == {"Hub revision", "converted", "quantized", "importance matrix"}
    assert [one.size_bytes for one in found.shown] == sorted((one.size_bytes for one in found.shown), reverse=True)

    garbage.free(found, store)
    left = sorted(path.relative_to(cache_folder()).as_posix() for path in cache_folder().rglob("*") if path.is_file())
    assert left == [
        "gguf/notes.txt", "gguf/theirs.gguf", "gguf/used/q/half.gguf", "gguf/used/q/small.gguf",
        "gguf/used/whole.gguf", "imatrix/used.gguf",
    ]  # fmt: skip
    assert not (cache_folder() / "gguf" / "spare").exists(), "no empty folder stays"
    assert [(one.repo, one.commit) for one in hub.cached_revisions()] == [("bank/used", used)]
    assert store.locked_commit("bank/used", None) == used
    assert store.locked_commit("bank/spare", None) is None, "the next pull takes what its branch stands for"
    again = garbage.find(store)
    assert (again.shown, again.n_unknown) == ([], 1)


def test_a_moved_branch_leaves_only_what_is_locked_and_scored(server: HubServer, store: Store, tmp_path: Path) -> None:
    """Both revisions share a file, which stays. One that is locked might be the one that was compared."""
    old = pulled(server, store, "bank/used", "old", tmp_path / "old")
    new = tmp_path / "new"
    new.mkdir()
    (new / "config.json").write_text("{}")
    (new / "model.safetensors").write_text("new!")
    moved = server.add_repo("bank/used", new)
    spec = ModelSpec(key="x", name="bank/used", revision=moved)
    hub.pull(spec)
    store.lock_commit("bank/used", moved, moved)
    scored(store, made(store, "whole.gguf", "converted", repo="bank/used", commit=old))
    made(store, "other.gguf", "converted", repo="bank/used", commit=moved)
    assert garbage.find(store).revisions == []
    store.unlock_commit("bank/used", moved)
    found = garbage.find(store)
    assert [one.commit for one in found.revisions] == [moved]
    garbage.free(found, store)
    folder = hub.cache_folder() / "models--bank--used"
    assert (folder / "snapshots" / old / "config.json").read_text() == "{}"
    assert sorted(path.read_text() for path in (folder / "blobs").iterdir()) == ["old", "{}"]


def test_a_commit_that_two_repos_have_goes_from_the_one_only(server: HubServer, store: Store, tmp_path: Path) -> None:
    """Four times, since which of two repos huggingface_hub takes first is chance."""
    for number in range(4):
        old, new = f"old/m{number}", f"new/m{number}"
        commit = pulled(server, store, old, f"w{number}", tmp_path / old)
        assert pulled(server, store, new, f"w{number}", tmp_path / new) == commit
        scored(store, made(store, f"m{number}.gguf", "converted", repo=old, commit=commit))
    found = garbage.find(store)
    assert {one.repo for one in found.revisions} == {f"new/m{number}" for number in range(4)}
    garbage.free(found, store)
    assert {one.repo for one in hub.cached_revisions()} == {f"old/m{number}" for number in range(4)}


def test_a_revision_that_gives_the_same_bytes_stays_with_its_lock(
    server: HubServer, store: Store, tmp_path: Path
) -> None:
    """The store has the history of the first only; it may be the second that was compared."""
    first = pulled(server, store, "bank/used", "same", tmp_path / "first")
    store.unlock_commit("bank/used", first)
    made(store, "whole.gguf", "converted", repo="bank/used", commit=first)
    (tmp_path / "first" / "README.md").write_text("hello")
    second = server.add_repo("bank/used", tmp_path / "first")
    hub.pull(ModelSpec(key="x", name="bank/used"))
    store.lock_commit("bank/used", None, second)
    scored(store, made(store, "whole.gguf", "converted", repo="bank/used", commit=second))
    assert garbage.find(store).shown == []


@pytest.mark.parametrize("scored_as", [0, 1])
def test_a_file_that_two_repos_have_stays_in_both(
    server: HubServer, store: Store, tmp_path: Path, scored_as: int
) -> None:
    """The store knows it by its content: in one repo from its history, in the other by where it was last.

    The cache may be reached by a link, as where it was moved to a larger disk.
    """
    (tmp_path / "disk").mkdir()
    hub.cache_folder().parent.mkdir(parents=True, exist_ok=True)
    hub.cache_folder().symlink_to(tmp_path / "disk")
    repos = ["aa/m-GGUF", "bb/m-GGUF"]
    for name in [*repos, repos[scored_as]]:
        path = pulled_gguf(server, store, name, "GGUF same", tmp_path / name)
        sha256 = recorded(store, [path], "downloaded", repo=name, commit=path.parent.name)
    pulled_gguf(server, store, "cc/m-GGUF", "GGUF other", tmp_path / "cc/m-GGUF")
    scored(store, sha256)
    assert [one.repo for one in garbage.find(store).revisions] == ["cc/m-GGUF"]


def test_a_split_file_stays_where_it_was_also_used_from_a_copy(store: Store, tmp_path: Path) -> None:
    def parts(folder: Path, *contents: str) -> list[Path]:
        folder.mkdir(parents=True)
        paths = [folder / f"m-{number:05d}-of-00002.gguf" for number in (1, 2)]
        for path, content in zip(paths, contents, strict=True):
            path.write_text(content)
        return paths

    ours = cache_folder() / "gguf"
    scored(store, recorded(store, parts(ours / "used", "one", "two"), "quantized"))
    recorded(store, parts(tmp_path / "copy", "one", "two"), "quantized")
    recorded(store, parts(ours / "spare", "one", "other"), "quantized")
    recorded(store, parts(tmp_path / "copy of spare", "one", "other"), "quantized")
    found = garbage.find(store)
    assert [path.parent.name for path in found.files] == ["spare", "spare"]
    assert {one.what for one in found.shown} == {"quantized"}


def test_a_repo_that_something_is_fetched_into_stays(server: HubServer, store: Store, tmp_path: Path) -> None:
    """With its only revision its folder would go, and the download in it."""
    pulled(server, store, "bank/spare", "x", tmp_path / "spare")
    found = garbage.find(store)
    blobs = hub.cache_folder() / "models--bank--spare" / "blobs"
    for name in ("a" * 64 + ".incomplete", "b" * 64 + ".1234abcd.incomplete"):
        partial = blobs / name
        partial.write_bytes(bytes(500))
        with held(hub.cache_folder() / ".locks" / "models--bank--spare" / f"{name.partition('.')[0]}.lock"):
            assert "Hub revision" not in {one.what for one in garbage.find(store).shown}
            garbage.free(found, store)
        assert partial.exists()
        partial.unlink()
    partial.write_bytes(b"broken off")
    garbage.free(found, store)
    assert not blobs.exists()


def test_sizes_are_what_there_is_more_room_by(server: HubServer, store: Store, tmp_path: Path) -> None:
    """Revisions share files: those that stay keep theirs, and what two that go share goes once."""
    folder = tmp_path / "spare"
    commits = [pulled(server, store, "bank/spare", "w" * 1000, folder)]
    for number in range(2):
        (folder / "README.md").write_text("r" * (number + 1))
        commits.append(server.add_repo("bank/spare", folder))
        hub.pull(ModelSpec(key="x", name="bank/spare", revision=commits[-1]))
        store.lock_commit("bank/spare", commits[-1], commits[-1])
    found = garbage.find(store)
    before = sum(path.stat().st_size for path in (hub.cache_folder() / "models--bank--spare" / "blobs").iterdir())
    assert len(found.revisions) == 3
    assert found.size_bytes == before
    assert garbage.free(found, store) == before


def test_what_other_tools_keep_in_the_hub_cache_is_not_looked_at(
    server: HubServer, store: Store, tmp_path: Path
) -> None:
    pulled(server, store, "bank/theirs", "x", tmp_path / "theirs")
    store.unlock_commit("bank/theirs", hub.cached_revisions()[0].commit)
    assert garbage.find(store).shown == []


def test_a_download_that_was_broken_off_goes_unless_somebody_is_at_it(
    server: HubServer, store: Store, tmp_path: Path
) -> None:
    pulled(server, store, "bank/used", "x", tmp_path / "used")
    blobs = hub.cache_folder() / "models--bank--used" / "blobs"
    etag = hashlib.sha256(b"x").hexdigest()
    ours = blobs / f"{etag}.incomplete"
    ours.write_bytes(bytes(500))
    (blobs / f"{etag}.1234abcd.incomplete").write_bytes(b"huggingface_hub's own")
    scored(store, made(store, "w.gguf", "converted", repo="bank/used", commit=hub.cached_revisions()[0].commit))
    found = garbage.find(store)
    assert [(one.what, one.size_bytes) for one in found.shown] == [("interrupted download", 500)]

    with held(hub.cache_folder() / ".locks" / "models--bank--used" / f"{etag}.lock"):
        assert garbage.find(store).shown == []
        garbage.free(found, store)
        assert ours.exists()
    garbage.free(found, store)
    assert not ours.exists()
    assert len(list(blobs.glob("*.incomplete"))) == 1


def test_nothing_is_freed_while_a_run_is_computed(store: Store) -> None:
    made(store, "spare.gguf", "converted")
    run_id = scored(store, made(store, "used.gguf", "converted"), run_status="running")
    with store.run_lock(RUN["key"].rjust(12, "0")), pytest.raises(StoreError, match=f"run {run_id} is being computed"):
        garbage.find(store)


def test_nothing_is_freed_while_a_comparison_is_prepared(store: Store) -> None:
    """It has no run yet, and may be about to use what has no scores."""
    made(store, "spare.gguf", "converted")
    found = garbage.find(store)
    with store.run_lock("a" * 64):
        with pytest.raises(StoreError, match="makes or runs files"):
            garbage.find(store)
        with pytest.raises(StoreError, match="makes or runs files"):
            garbage.free(found, store)
    assert names(garbage.find(store)) == ["spare.gguf"]


@pytest.mark.parametrize("command", ["pull", "convert", "quantize -q Q8_0"])
def test_nothing_is_freed_while_a_command_makes_files(
    command: str, store: Store, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be about to use what has no scores, as the first of several types."""
    made(store, "spare.gguf", "converted")
    seen = []

    def busy(*_: object, **__: object) -> str:
        other = Store(tmp_path / "results.db")
        with pytest.raises(StoreError, match="makes or runs files"):
            garbage.find(other)
        seen.append(command)
        other.close()
        return ""

    monkeypatch.setattr(f"gguf_bench.prepare.{command.split()[0]}", busy)
    assert run(*command.split(), "org/name").exit_code == 0
    assert seen == [command]
    assert names(garbage.find(store)) == ["spare.gguf"]


def test_commands_make_files_side_by_side(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "results.db")
    with store.files_in_use(), other.files_in_use(), store.run_lock("a" * 64):
        other.close()


def test_what_came_into_use_since_it_was_listed_stays(store: Store) -> None:
    used = made(store, "used.gguf", "quantized")
    made(store, "spare.gguf", "quantized")
    found = garbage.find(store)
    scored(store, used)
    made(store, "fresh.gguf", "quantized")
    assert garbage.free(found, store) == len("spare.gguf")
    left = sorted(path.name for path in (cache_folder() / "gguf").iterdir())
    assert left == ["fresh.gguf", "used.gguf"], "what was never listed stays, too"


def test_no_comparison_begins_while_files_are_freed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(store, "spare.gguf", "converted")
    killed = scored(store, made(store, "used.gguf", "converted"), run_status="running")
    other = Store(tmp_path / "results.db")
    freed = hub.free
    seen = []

    def watched(*arguments: Any) -> None:
        with pytest.raises(StoreError, match="files of the store are being freed"), other.run_lock("a" * 64):
            pass
        seen.append(other.run(killed)["status"])
        freed(*arguments)

    monkeypatch.setattr(hub, "free", watched)
    garbage.free(garbage.find(store), store)
    assert seen == ["interrupted"], "no run is computed meanwhile"
    with other.run_lock("a" * 64):
        other.close()


def test_what_cannot_be_deleted_is_said(
    server: HubServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled(server, store, "bank/spare", "x", tmp_path / "spare")
    found = garbage.find(store)
    monkeypatch.setattr("shutil.rmtree", lambda *arguments, **more: None)
    with pytest.raises(HubError, match="could not be deleted"):
        garbage.free(found, store)
    assert store.locked_commit("bank/spare", None), "still there, so still locked"


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*arguments: object, answer: str | None = None) -> Result:
        return CliRunner().invoke(cli, ["--db", str(tmp_path / "results.db"), *map(str, arguments)], input=answer)

    return run


def test_the_command_lists_asks_and_frees(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made(store, "spare.gguf", "converted")
    path = cache_folder() / "gguf" / "spare.gguf"
    dry = run("gc", "--dry-run", "--json")
    assert (dry.exit_code, json.loads(dry.stdout)) == (
        0,
        [{"what": "converted", "path": str(path), "size_bytes": path.stat().st_size}],
    )
    unasked = run("gc")
    assert (unasked.exit_code, "--yes frees without asking" in unasked.stderr) == (2, True)
    assert path.exists()
    freed = run("gc", "--yes")
    assert (freed.exit_code, path.exists()) == (0, False)
    assert "spare.gguf" in freed.stdout.replace("\n", "")
    nothing = run("gc")
    assert (nothing.exit_code, "0 MiB can be freed" in nothing.stderr) == (0, True)


def test_it_says_what_it_cannot_know(server: HubServer, store: Store, run: Run, tmp_path: Path) -> None:
    made(store, "spare.gguf", "converted")
    listed = run("gc", "--dry-run").stderr
    assert f"another --db than {tmp_path / 'results.db'} may have scores of these files" in listed
    assert "other tools" not in listed
    pulled(server, store, "bank/spare", "x", tmp_path / "spare")
    assert "other tools that use the Hub cache may need these revisions" in run("gc", "--dry-run").stderr
    assert run("gc", "--yes").exit_code == 0
    assert run("gc", "--dry-run").stderr == "0 MiB can be freed\n"


def test_it_says_what_stayed(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    used = made(store, "used.gguf", "quantized")
    monkeypatch.setattr("gguf_bench.terminal.print_garbage", lambda *shown, **more: scored(store, used))
    done = run("gc", "--yes")
    assert (done.exit_code, "freed 0 MiB\nthe rest stays" in done.stderr) == (0, True)
    assert (cache_folder() / "gguf" / "used.gguf").exists()


@pytest.mark.parametrize(("answer", "gone"), [("n\n", False), ("\n", False), ("y\n", True)])
def test_it_asks_at_a_terminal(store: Store, tmp_path: Path, answer: str, gone: bool) -> None:
    made(store, "spare.gguf", "converted")
    store.close()
    ours, theirs = os.openpty()
    os.write(ours, answer.encode())
    command = [sys.executable, "-m", "gguf_bench", "--db", str(tmp_path / "results.db"), "gc"]
    done = subprocess.run(
        command, stdin=theirs, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parent.parent
    )
    os.close(ours)
    os.close(theirs)
    assert "for good?" in done.stderr
    assert (done.returncode, (cache_folder() / "gguf" / "spare.gguf").exists()) == (0 if gone else 1, not gone)


def test_without_a_store_there_is_nothing_to_go_by(run: Run, tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["--db", str(tmp_path / "none.db"), "gc"])
    assert (result.exit_code, "no store" in result.stderr) == (1, True)
