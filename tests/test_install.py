"""The set-up script: what it builds with, what it says when something is missing, and that it is instant to repeat."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "install.py"


@pytest.fixture
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the script reads of a clone."""
    shutil.copytree(SCRIPT.parent, tmp_path / "scripts")
    shutil.copy(SCRIPT.parent.parent / "pyproject.toml", tmp_path)
    return tmp_path


def run(clone: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(clone / "scripts" / "install.py"), *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def written_stamp(clone: Path, install: ModuleType, **changed: object) -> Path:
    """The stamp of a finished run, beside a python that would fail if it were asked for anything."""
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "python").touch()
    stamp = {"sources": install.sources_hash(), "root": str(clone), "cuda": False, "extras": ["demo", "test"]}
    path = clone / ".venv" / "gguf-bench-install.json"
    path.write_text(json.dumps({**stamp, **changed}))
    return path


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flags are for x86-64")
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_gcc_is_told_to_keep_the_stores_that_amx_needs(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "g++")
    monkeypatch.setenv("CFLAGS", "-g")
    monkeypatch.delenv("CXXFLAGS", raising=False)
    environment = install.build_environment(cuda=False, openblas=None)
    assert environment["CFLAGS"] == "-g -fno-tree-dse -fno-dse"
    assert environment["CXXFLAGS"] == "-fno-tree-dse -fno-dse"


@pytest.mark.parametrize(("macros", "gcc"), [("__GNUC__", True), ("__GNUC__ __clang__", False), ("", False)])
def test_gcc_is_known_by_its_macros(install: ModuleType, tmp_path: Path, macros: str, gcc: bool) -> None:
    program = tmp_path / "c++"
    program.write_text(f"#!/bin/sh\necho '{macros}'\n")
    program.chmod(0o755)
    assert install.is_gcc(str(program)) is gcc


def test_cuda_builds_are_asked_for_and_need_nvcc(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\n")
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDACXX", str(nvcc))
    monkeypatch.setenv("CMAKE_ARGS", "-DX=1")
    monkeypatch.setattr(install, "gpu_capabilities", lambda: "9.0")
    environment = install.build_environment(cuda=True, openblas=None)
    assert environment["CMAKE_ARGS"] == "-DX=1 -DLLAVA_BUILD=OFF -DGGML_CUDA=on"
    assert environment["CUDACXX"] == str(nvcc)


def test_a_cuda_compiler_without_its_libraries_is_refused(clone: Path, tmp_path: Path) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("#!/bin/sh\necho '/usr/bin/ld: cannot find -lcublas' >&2\nexit 1\n")
    nvcc.chmod(0o755)
    done = run(clone, "--extra", "demo", "--cuda", CUDACXX=str(nvcc))
    assert done.returncode == 1
    assert "makes no program with cuBLAS: /usr/bin/ld: cannot find -lcublas" in done.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.skipif(Path("/usr/local/cuda/bin/nvcc").exists(), reason="the CUDA toolkit is installed here")
def test_a_machine_without_the_cuda_toolkit_is_told_so_at_once(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "c++").write_text("#!/bin/sh\n")
    (tmp_path / "c++").chmod(0o755)
    done = run(clone, "--extra", "demo", "--cuda", PATH=str(tmp_path), CXX="c++")
    assert done.returncode == 1
    assert "CUDA=1 needs the CUDA toolkit" in done.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize(
    ("says", "found"),
    [("9.0\n8.6\n9.0\n", "8.6 9.0"), ("NVIDIA-SMI has failed because it couldn't communicate with the driver.\n", "")],
)
def test_gpus_are_known_by_what_they_can_run(
    says: str, found: str, install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU to compile for, CUDA code is made for all; llama.cpp's choice, the GPUs it sees, would be none."""
    for name, text in (("nvidia-smi", says), ("nvcc", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CUDACXX", str(tmp_path / "nvcc"))
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    assert install.gpu_capabilities() == found
    arguments = install.build_environment(cuda=True, openblas=None)["CMAKE_ARGS"]
    assert ("all-major" in arguments) is not bool(found)
    monkeypatch.setenv("CMAKE_ARGS", "-DCMAKE_CUDA_ARCHITECTURES=86")
    assert "all-major" not in install.build_environment(cuda=True, openblas=None)["CMAKE_ARGS"]


def test_a_cached_wheel_is_of_its_flags(install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build for other flags is another wheel; the same flags find the same one, and nothing is built."""
    built: list[Path] = []

    def build(version: str, environment: dict[str, str], folder: Path, cuda: bool) -> None:
        built.append(folder)
        folder.mkdir(parents=True)
        (folder / "x.whl").touch()

    monkeypatch.setattr(install, "build_wheel", build)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(install, "fetched_openblas", lambda: None)
    first = install.llama_wheel(cuda=False)
    assert install.llama_wheel(cuda=False) == first
    assert len(built) == 1
    monkeypatch.setenv("CXXFLAGS", "-O1")
    assert install.llama_wheel(cuda=False) != first
    assert first.is_relative_to(tmp_path / "gguf-bench" / "wheels")


@pytest.fixture
def pip(install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for .venv's python, with an empty cache: it writes down what it is asked, and makes --target."""
    program = tmp_path / "python"
    program.write_text(f"""#!/bin/sh
echo "$@" >> {tmp_path}/asked
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/scipy_openblas32"
""")
    program.chmod(0o755)
    monkeypatch.setattr(install, "PYTHON", program)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a cache"))
    return program


def test_openblas_is_fetched_once_and_given_to_cmake(
    install: ModuleType, pip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DX=1")
    folder = install.fetched_openblas()
    assert (folder / "scipy_openblas32").is_dir()
    assert install.fetched_openblas() == folder
    assert len((pip.parent / "asked").read_text().splitlines()) == 1
    given = shlex.split(install.build_environment(cuda=False, openblas=folder)["CMAKE_ARGS"])
    included = f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={folder}/openblas.cmake"
    assert given == ["-DX=1", "-DLLAVA_BUILD=OFF", included]
    assert (folder / "openblas.cmake").is_file()


def test_openblas_built_with_otherwise_is_another(
    install: ModuleType, pip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = install.fetched_openblas()
    other = Path(shutil.copytree(install.OPENBLAS_FILES, tmp_path / "other"))
    (other / "cblas.h").write_text("/* other */")
    monkeypatch.setattr(install, "OPENBLAS_FILES", other)
    assert install.fetched_openblas() != folder


def test_without_openblas_it_goes_on(install: ModuleType, pip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pip.write_text(pip.read_text() + "echo Traceback >&2\nexit 1\n")
    assert install.fetched_openblas() is None
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[1].startswith(f"going on without {install.OPENBLAS}, which pip cannot install here")
    assert list((pip.parent / "a cache" / "gguf-bench").iterdir()) == []


@pytest.mark.parametrize(
    ("machine", "cuda", "flags", "taken"),
    [
        ("x86_64", False, "", True),
        ("x86_64", False, "-DX=1", True),
        ("x86_64", True, "", False),
        ("x86_64", False, "-DGGML_BLAS=OFF", False),
        ("aarch64", False, "", False),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="it is for Linux")
def test_openblas_is_for_cpu_builds_whose_flags_leave_it_open(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, machine: str, cuda: bool, flags: str, taken: bool
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setenv("CMAKE_ARGS", flags)
    assert install.takes_openblas(cuda) is taken


def test_the_version_is_the_one_pinned(install: ModuleType) -> None:
    assert f'"llama-cpp-python=={install.llama_version()}"' in (SCRIPT.parent.parent / "pyproject.toml").read_text()


def test_it_is_instant_when_nothing_changed(clone: Path, install: ModuleType) -> None:
    written_stamp(clone, install)
    done = run(clone, "--extra", "demo")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_cuda_build_stays_until_told_otherwise(clone: Path, install: ModuleType) -> None:
    written_stamp(clone, install, cuda=True)
    assert run(clone, "--extra", "test").returncode == 0
    assert run(clone, "--extra", "test", "--cuda").returncode == 0
    # Told otherwise it sets to work, and so comes to see that there is no compiler.
    assert "set-up: CXX=gone is not there" in work_begun(clone, "--no-cuda")


@pytest.mark.parametrize("changed", [{"sources": "older"}, {"root": "/elsewhere"}, {"extras": ["demo"]}])
def test_a_change_sets_it_to_work(clone: Path, install: ModuleType, changed: dict[str, object]) -> None:
    written_stamp(clone, install, **changed)
    assert "set-up: CXX=gone is not there" in work_begun(clone)


def work_begun(clone: Path, *arguments: str) -> str:
    done = run(clone, "--extra", "test", *arguments, CXX="gone")
    assert done.returncode == 1
    return done.stderr


def test_pips_last_words_are_shown_when_it_fails(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "PYTHON", Path(sys.executable))
    with pytest.raises(install.InstallError, match="pip failed while trying") as caught:
        install.pip("install", "--no-index", "no-such-package-here", saying="trying")
    assert "No matching distribution found for no-such-package-here" in str(caught.value)
    Path(str(caught.value).rpartition(": ")[2]).unlink()


def test_compiled_files_are_counted(install: ModuleType, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Building\n")
    assert install.files_compiled(log) == ""
    log.write_text("  [1/193] g++ a.cpp\n  [2/193] g++ b.cpp\n")
    assert install.files_compiled(log) == "(2 of 193 files)"
