"""`doctor` tells a working machine from a broken one, and never shows the token."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gguf_bench import doctor, llama_build
from gguf_bench.errors import ChildDied, ModelError
from gguf_bench.records import Check
from tests.hub_server import HubServer

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_this_machine_works(tmp_path: Path, gguf_bench: Command) -> None:
    with HubServer() as server:
        environment = server.environment(tmp_path / "hub", token="hf_verysecret")
        found = gguf_bench("--db", tmp_path / "r.db", "doctor", "--json", env=environment)
        table = gguf_bench("--db", tmp_path / "r.db", "doctor", env=environment)
    assert found.returncode == 0, found.stderr
    checks = {check["name"]: check for check in json.loads(found.stdout)}
    assert checks["decode"]["state"] in ("ok", "note")  # a note: this build was miscompiled for this CPU's AMX
    assert re.search(r"compiled by (GCC|clang).* [0-9]+", checks["llama.cpp"]["found"])
    assert checks["hub"]["state"] == "ok"
    assert checks["token"] == {"name": "token", "state": "ok", "found": "found in $HF_TOKEN", "way_out": ""}
    assert str(tmp_path / "r.db") in checks["store"]["found"]
    for output in (found, table):
        assert "verysecret" not in output.stdout + output.stderr


def test_a_hub_that_is_away_and_no_token_are_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "hub")
    checks = by_name(doctor.examine(tmp_path / "r.db"))
    assert checks["hub"].state == "note"
    assert "cannot be reached" in checks["hub"].found
    assert checks["token"].state == "note"
    assert "hf auth login" in checks["token"].way_out


@pytest.mark.parametrize(
    ("with_amx", "without_amx", "state", "says"),
    [
        (None, None, "ok", "decodes"),
        ("died (SIGSEGV)", None, "note", "AMX"),
        ("died (SIGILL)", "died (SIGILL)", "broken", "SIGILL"),
    ],
)
def test_what_a_decode_shows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_amx: str | None,
    without_amx: str | None,
    state: str,
    says: str,
) -> None:
    monkeypatch.setattr(llama_build, "decodes", lambda *, extra_buffers: with_amx if extra_buffers else without_amx)
    check = by_name(doctor.examine(tmp_path / "r.db"))["decode"]
    assert (check.state, says in check.found) == (state, True)
    if state == "note":
        assert "-fno-tree-dse" in check.way_out


def test_a_llama_cpp_that_cannot_be_loaded_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> llama_build.Build:
        raise ChildDied("loading llama.cpp", -4, ["illegal instruction"])

    monkeypatch.setattr(llama_build, "look", look)
    check = by_name(doctor.examine(tmp_path / "r.db"))["llama.cpp"]
    assert check.state == "broken"
    assert "SIGILL" in check.found


@pytest.mark.parametrize(
    ("offload", "gpus", "says"),
    [(False, 0, "CPU alone"), (True, 0, "sees none"), (True, 1, "H100, 70.0 GiB free")],
)
def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offload: bool, gpus: int, says: str) -> None:
    gpu = {"name": "CUDA0", "description": "H100", "kind": "gpu", "free_bytes": 70 * 2**30, "total_bytes": 80 * 2**30}
    build = llama_build.Build("0", "CPU", offload, physical_cores=2, devices=(gpu,) * gpus)
    monkeypatch.setattr(llama_build, "look", lambda: build)
    assert says in by_name(doctor.examine(tmp_path / "r.db"))["gpu"].found


def test_without_llama_cpp_python_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> str:
        raise llama_build.importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(llama_build.importlib.metadata, "version", missing)
    with pytest.raises(ModelError, match="pip install"):
        llama_build.installed_version()
