"""llama.cpp's own programs, built from the sources of the llama.cpp that answers here.

    python benchmarks/llama_tools.py

Prints the folder of llama-server, llama-bench and llama-batched-bench; minutes the first time, at once after that. The
wheel of llama-cpp-python brings none of them. Beside them lie llama.cpp's libraries as its sources build them by
default; with `our_libraries` on LD_LIBRARY_PATH the programs run on those of .venv instead.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import install, parity_setup  # noqa: E402

TOOLS = ("llama-server", "llama-bench", "llama-batched-bench")
OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF",
)  # fmt: skip
"""Release is what pip builds llama-cpp-python as; the others leave out what is not measured."""


def tools() -> Path:
    """The folder with TOOLS, built where they are not there yet: for CUDA if .venv is."""
    environment = install.build_environment(cuda=bool(install.read_stamp().get("cuda")), openblas=None)
    options = [*OPTIONS, *shlex.split(environment.pop("CMAKE_ARGS"))]
    made_by = [
        install.llama_version(), *options, *(environment.get(name, "") for name in ("CFLAGS", "CXXFLAGS")),
        install.first_line([install.compiler(), "--version"]), install.cpu_features(),
    ]  # fmt: skip
    folder = parity_setup.PARITY / f"tools-{hashlib.sha256(repr(made_by).encode()).hexdigest()[:16]}"
    if not all((folder / "bin" / name).exists() for name in TOOLS):
        sources = parity_setup.source() / "vendor" / "llama.cpp"
        environment["PATH"] = os.pathsep.join([*build_programs(), environment["PATH"]])
        print(f"building {', '.join(TOOLS)}: 5 to 10 minutes on 2 cores", file=sys.stderr)
        run(environment, "cmake", "-S", str(sources), "-B", str(folder), "-G", "Ninja", *options)
        run(environment, "cmake", "--build", str(folder), "--target", *TOOLS)
    return folder / "bin"


def our_libraries() -> Path:
    """The folder of the llama.cpp that answers here."""
    found = importlib.util.find_spec("llama_cpp")
    if found is None or found.origin is None:
        raise SystemExit("llama-cpp-python is not installed here: `make install`, then .venv/bin/python")
    return Path(found.origin).parent / "lib"


def build_programs() -> list[str]:
    """The folder of cmake and ninja where the system has not both: as wheels, as llama-cpp-python's build does."""
    if all(map(shutil.which, ("cmake", "ninja"))):
        return []
    venv = parity_setup.PARITY / "build-programs"
    run(None, sys.executable, "-m", "venv", "--clear", str(venv))
    run(None, str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "cmake", "ninja")
    return [str(venv / "bin")]


def run(environment: dict[str, str] | None, *command: str) -> None:
    """Standard output is for the folder's name alone."""
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        last = "\n".join(done.stdout.decode("utf-8", "replace").splitlines()[-20:])
        raise SystemExit(f"{shlex.join(command)} ended with {done.returncode}; its last lines:\n{last}")


if __name__ == "__main__":
    print(tools())
