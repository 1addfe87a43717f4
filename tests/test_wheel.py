"""The wheel: everything in it, and working from any folder with none of the sources about."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(folder),
            str(ROOT),
        ]
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what `pip install` of the wheel would put there, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-compile",
            "--target",
            str(folder),
            str(wheel),
        ]
    )
    return folder


def run(command: list[str], cwd: Path | None = None, **environment: str) -> str:
    """The standard output of a command that must succeed; its standard error is shown when it does not."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "GGUF_BENCH_MODELS")}
    done = subprocess.run(command, cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_holds_all_that_is_needed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {
        str(path.relative_to(ROOT))
        for package in ("gguf_bench", "converters")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert any(name.endswith(".jsonl") for name in sources)
    assert {"gguf_bench/py.typed", "converters/py.typed"} <= sources
    assert sources <= names
    beyond = {name for name in names - sources if ".dist-info/" not in name}
    assert beyond == {"gguf_bench/models.yaml"}


def test_its_licence_and_command_are_declared(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
        assert "gguf-bench = gguf_bench.cli:main" in archive.read(entry_points).decode()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_shipped_models_are_found_from_any_folder(installed: Path, tmp_path: Path) -> None:
    """With -P and from an empty folder, so that no source is about; the dependencies are this environment's."""
    program = (
        "import gguf_bench.catalog as c, converters, pathlib;"
        "path = c.find_catalog();"
        "print(path); print(len(c.load_catalog(path).models)); print(pathlib.Path(converters.__path__[0]).parent)"
    )
    output = run(
        [sys.executable, "-P", "-c", program], tmp_path, PYTHONPATH=str(installed), XDG_CONFIG_HOME=str(tmp_path)
    )
    path, count, converters_in = output.splitlines()
    assert Path(path) == installed / "gguf_bench" / "models.yaml"
    assert Path(path).read_bytes() == (ROOT / "models.yaml").read_bytes()
    assert int(count) > 20
    assert Path(converters_in) == installed


@pytest.mark.skipif(not (ROOT / "gguf_bench" / "cli" / "__init__.py").is_file(), reason="there is no command line yet")
def test_the_command_runs_from_any_folder(installed: Path, tmp_path: Path) -> None:
    command = str(installed / "bin" / "gguf-bench")
    environment = {"PYTHONPATH": str(installed), "XDG_CONFIG_HOME": str(tmp_path)}
    assert "compare" in run([command, "--help"], tmp_path, **environment)
    assert "smollm2_135m" in run([command, "models", "list"], tmp_path, **environment)
