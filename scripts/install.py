"""Set up .venv: a llama.cpp that works on this machine, this project in editable form, and the extras asked for.

    python3 scripts/install.py [--extra test] [--cuda | --no-cuda]

Plain Python, run by the system's python3 before anything is installed. Instant when nothing has changed.

llama-cpp-python comes as source only, so llama.cpp is compiled here, with three things pip would not do by itself:

- gcc 12.2 removes the stores that fill the AMX tile configuration as dead, so that on a CPU with AMX the first decode
  dies with SIGSEGV. `-fno-tree-dse -fno-dse` keeps them, and AMX then works. The flags go to any gcc on x86-64: no
  version is known to be free of the fault, and they cost nothing that could be measured.
- On the CPU, OpenBLAS reads prompts about twice as fast as llama.cpp's own code does, in the types that it does not
  repack (as it does Q4_0). A wheel of a pinned OpenBLAS is the same on every machine and wants neither root nor
  pkg-config, as a distribution's package would; its library goes into llama-cpp-python's own wheel.
- The wheel is kept in the user's cache, by everything that shapes it (version, flags, compiler, CPU: the build is for
  the very CPU it runs on), so that a second clone does not compile again. pip's own wheel cache knows none of these,
  and is not used for it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "gguf-bench-install.json"
LLAMA = "llama-cpp-python"
AMX_FLAGS = "-fno-tree-dse -fno-dse"
NO_VISION = "-DLLAVA_BUILD=OFF"  # the library for images takes a good part of the build, and nothing here reads images
OPENBLAS = "scipy-openblas32==0.3.34.481.3"
OPENBLAS_FILES = ROOT / "scripts" / "openblas"  # what builds llama.cpp with it
SECONDS_BETWEEN_LINES = 20


class InstallError(Exception):
    """One line: what is missing, and what to do about it."""


def main() -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 (an older python3 is what this is about)
        found = ".".join(map(str, sys.version_info[:3]))
        print(f"python 3.11 or later is needed, found {found}; try `make PYTHON=python3.12 ...`", file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(description="Set up .venv for gguf-bench.")
    parser.add_argument("--extra", action="append", default=[], help="an extra of pyproject.toml; may be repeated")
    cuda = parser.add_mutually_exclusive_group()
    cuda.add_argument("--cuda", action="store_true", default=None, help="build llama.cpp for CUDA")
    cuda.add_argument("--no-cuda", action="store_false", dest="cuda", help="build for the CPU, after a CUDA build")
    arguments = parser.parse_args()
    try:
        install(set(arguments.extra), arguments.cuda)
    except InstallError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


def install(extras: set[str], cuda: bool | None) -> None:
    """Bring .venv to the state asked for. `cuda` None keeps the kind of build that is there (CPU at first)."""
    stamp = read_stamp()
    cuda = bool(stamp.get("cuda")) if cuda is None else cuda
    wanted = {"sources": sources_hash(), "root": str(ROOT), "cuda": cuda, "extras": sorted(extras)}
    there = {**stamp, "extras": sorted(extras & set(stamp.get("extras", [])))}
    if PYTHON.exists() and all(there.get(name) == value for name, value in wanted.items()):
        return
    for needed in (compiler, cuda_compiler, cuda_libraries) if cuda else (compiler,):
        needed()  # said before the minutes that the rest takes
    if stamp.get("root") != str(ROOT) or not run_quietly([str(PYTHON), "-m", "pip", "--version"]):
        stamp = {}
        make_environment()
    # What was installed stays: `make demo` after `make test` keeps the tests' tools.
    wanted["extras"] = sorted(extras | set(stamp.get("extras", [])))
    STAMP.unlink(missing_ok=True)
    wheel = llama_wheel(cuda)
    wanted["wheel"] = wheel.parent.name
    if stamp.get("wheel") != wheel.parent.name:
        pip("install", "--no-deps", "--force-reinstall", str(wheel), saying=f"installing {LLAMA}")
    project = f".[{','.join(wanted['extras'])}]" if wanted["extras"] else "."
    pip("install", str(wheel), "--editable", project, saying="installing gguf-bench and what it needs")
    STAMP.write_text(json.dumps(wanted, indent=1), encoding="utf-8")


def read_stamp() -> dict:
    """What the last finished run left in .venv; empty when there was none."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def sources_hash() -> str:
    """Of the files that say what is installed, and how."""
    digest = hashlib.sha256()
    for path in (ROOT / "pyproject.toml", Path(__file__), *sorted(OPENBLAS_FILES.iterdir())):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# --- the virtual environment ---


def make_environment() -> None:
    """An empty .venv with pip, by whatever this machine has for it."""
    shutil.rmtree(VENV, ignore_errors=True)
    if importlib.util.find_spec("ensurepip") is None:
        if run_quietly(["virtualenv", "--quiet", "--python", sys.executable, str(VENV)]):
            return
        if run_quietly([sys.executable, "-m", "virtualenv", "--quiet", str(VENV)]):
            return
        if run_quietly(["uv", "venv", "--quiet", "--seed", "--python", sys.executable, str(VENV)]):
            return
        install_ensurepip()
    print("making .venv", file=sys.stderr)
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        lines = (made.stdout + made.stderr).strip().splitlines() or ["no reason given"]
        raise InstallError(f"`python3 -m venv` failed: {lines[-1]}")


def install_ensurepip() -> None:
    """Debian keeps the part of Python that makes environments in a package of its own: install it, where we may."""
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {package}, which python3 needs to make .venv", file=sys.stderr)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package]):
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
        importlib.invalidate_caches()
        if importlib.util.find_spec("ensurepip") is not None:
            return
    raise InstallError(f"python3 cannot make a virtual environment here: sudo apt-get install {package}")


def run_quietly(command: list[str]) -> bool:
    """Whether `command` is there and succeeds."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


# --- llama.cpp ---


def llama_wheel(cuda: bool) -> Path:
    """The llama-cpp-python wheel for this machine: from the cache, else built now (minutes) and cached."""
    version = llama_version()
    environment = build_environment(cuda, fetched_openblas() if takes_openblas(cuda) else None)
    made_by = {
        "version": version,
        **{name: environment.get(name, "") for name in ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CMAKE_ARGS")},
        "compiler": first_line([compiler(), "--version"]),
        "cuda": last_line([cuda_compiler(), "--version"]) if cuda else "",
        "gpus": gpu_capabilities() if cuda else "",
        "machine": platform.machine(),
        "cpu": cpu_features(),
    }
    key = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder() / "wheels" / f"{LLAMA}-{version}-{'cuda' if cuda else 'cpu'}-{key}"
    if not any(folder.glob("*.whl")):
        build_wheel(version, environment, folder, cuda)
    return next(folder.glob("*.whl"))


def build_wheel(version: str, environment: dict[str, str], folder: Path, cuda: bool) -> None:
    """Build into a folder beside `folder`, then rename: a cached wheel is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as temporary:
        building = Path(temporary) / "wheel"
        building.mkdir()
        usual = "much longer for CUDA than the CPU's 5 to 10 minutes" if cuda else "usually 5 to 10 minutes on 2 cores"
        pip(
            *("wheel", "--verbose", "--no-deps", "--no-cache-dir", "--no-binary", LLAMA, f"{LLAMA}=={version}"),
            *("--wheel-dir", str(building)),
            saying=f"compiling llama.cpp ({LLAMA} {version}), {usual}",
            environment=environment,
        )
        if not any(folder.glob("*.whl")):
            building.rename(folder)


def build_environment(cuda: bool, openblas: Path | None) -> dict[str, str]:
    """The environment to build in: the user's own flags, then ours. `openblas` as `fetched_openblas` returns it."""
    environment = dict(os.environ)
    if is_gcc(compiler()) and platform.machine() in ("x86_64", "AMD64"):
        for name in ("CFLAGS", "CXXFLAGS"):
            environment[name] = f"{environment.get(name, '')} {AMX_FLAGS}".strip()
    cmake = [environment.get("CMAKE_ARGS", ""), NO_VISION]
    if cuda:
        environment["CUDACXX"] = cuda_compiler()
        cmake.append("-DGGML_CUDA=on")
        if not gpu_capabilities() and "CUDA_ARCHITECTURES" not in cmake[0]:
            cmake.append("-DCMAKE_CUDA_ARCHITECTURES=all-major")  # llama.cpp's own choice, "native", finds none
    if openblas:
        cmake.append(shlex.quote(f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={openblas / 'openblas.cmake'}"))
    environment["CMAKE_ARGS"] = " ".join(cmake).strip()
    return environment


def takes_openblas(cuda: bool) -> bool:
    """Whether to build with OpenBLAS: on the CPUs it was measured on, and unless the user's flags speak of it."""
    measured = sys.platform == "linux" and platform.machine() == "x86_64"
    return measured and not cuda and "GGML_BLAS" not in os.environ.get("CMAKE_ARGS", "")


def fetched_openblas() -> Path | None:
    """The folder with OpenBLAS and what builds with it (OPENBLAS_FILES): from the cache, else fetched now.

    None where it cannot be had, which is said: llama.cpp works without. The folder's name tells of all that is in it,
    so that it stands for them in the flags by which wheels are cached.
    """
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(OPENBLAS_FILES.iterdir()))).hexdigest()[:8]
    folder = cache_folder() / f"{OPENBLAS.replace('==', '-')}-{key}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as temporary:
        fetching = Path(temporary) / "openblas"
        print("fetching OpenBLAS, with which llama.cpp reads prompts faster", file=sys.stderr)
        options = ("--no-deps", "--only-binary", ":all:", "--no-compile", "--target", str(fetching))
        if not run_quietly([str(PYTHON), "-m", "pip", "install", *options, OPENBLAS]):
            without = f"going on without {OPENBLAS}, which pip cannot install here: prompts may take twice as long"
            print(f"{without}; to try again, `make clean` and set up anew", file=sys.stderr)
            return None
        shutil.copytree(OPENBLAS_FILES, fetching, dirs_exist_ok=True)
        if not folder.exists():
            fetching.rename(folder)
    return folder


def llama_version() -> str:
    """The version that pyproject.toml pins."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pinned = re.search(rf'"{LLAMA}==([^"]+)"', text)
    if pinned is None:
        raise InstallError(f"pyproject.toml pins no {LLAMA}==VERSION")
    return pinned[1]


def compiler() -> str:
    """The C++ compiler that CMake will take."""
    chosen = os.environ.get("CXX")
    for name in [chosen] if chosen else ["c++", "g++", "clang++"]:
        if shutil.which(name.split()[0]):
            return name.split()[0]
    what = f"CXX={chosen} is not there" if chosen else "llama.cpp needs a C++ compiler"
    raise InstallError(f"{what}: sudo apt-get install g++")


def is_gcc(program: str) -> bool:
    """By what the compiler says of itself: clang defines __GNUC__ too."""
    asked = subprocess.run(
        [program, "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True, check=False
    ).stdout
    return "__GNUC__" in asked and "__clang__" not in asked


def cuda_compiler() -> str:
    for candidate in (os.environ.get("CUDACXX"), "nvcc", "/usr/local/cuda/bin/nvcc"):
        found = shutil.which(candidate) if candidate else None
        if found:
            return found
    missing = "CUDA=1 needs the CUDA toolkit: nvcc is neither on PATH nor in /usr/local/cuda/bin"
    raise InstallError(f"{missing}; README says how to install with CUDA, and CUDA=0 builds for the CPU")


def cuda_libraries() -> None:
    """Refuse a toolkit of the compiler alone: CMake would say so minutes later, and not in as many words."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "nothing.cu"
        source.write_text("int main() { return 0; }\n", encoding="utf-8")
        command = [cuda_compiler(), str(source), "-lcublas", "-o", str(Path(folder) / "nothing")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        why = ((done.stderr + done.stdout).strip().splitlines() or ["no reason given"])[0]
        found = f"CUDA=1 needs the whole CUDA toolkit, but {command[0]} makes no program with cuBLAS: {why}"
        raise InstallError(f"{found}; README says how to install with CUDA, and CUDA=0 builds for the CPU")


def gpu_capabilities() -> str:
    """What the GPUs here can run, "8.6 9.0", which is what is compiled for; empty where the driver sees none."""
    if shutil.which("nvidia-smi") is None:
        return ""
    lines = output_lines(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"])
    return " ".join(sorted({line.strip() for line in lines if re.fullmatch(r"\d+\.\d+", line.strip())}))


def cpu_features() -> str:
    """The instruction sets that a native build may use."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    listed = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return " ".join(sorted(listed[1].split())) if listed else platform.processor()


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gguf-bench"


def first_line(command: list[str]) -> str:
    return (output_lines(command) or [""])[0]


def last_line(command: list[str]) -> str:
    return (output_lines(command) or [""])[-1]


def output_lines(command: list[str]) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().splitlines()


# --- running pip, and saying so ---


def pip(*arguments: str, saying: str, environment: dict[str, str] | None = None) -> None:
    """Run .venv's pip, its words to a log file, with `saying` and the time shown meanwhile.

    Raises InstallError with the log's last lines when pip fails; the log is then kept.
    """
    log = Path(tempfile.mkstemp(prefix="gguf-bench-", suffix=".log")[1])
    command = [str(PYTHON), "-m", "pip", *arguments, "--disable-pip-version-check", "--no-input"]
    started = time.monotonic()
    with log.open("wb") as written:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT
        )
        try:
            watch(process, log, saying, started)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            log.unlink()
            raise
    if process.returncode != 0:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:])
        raise InstallError(f"pip failed while {saying}; its last lines:\n{last}\nall of them: {log}")
    log.unlink()


def watch(process: subprocess.Popen[bytes], log: Path, saying: str, started: float) -> None:
    """Show how long `process` has been at it: a live line on a terminal, else a line now and then."""
    live = sys.stderr.isatty()
    print(saying, end="" if live else "\n", file=sys.stderr, flush=True)
    next_line = SECONDS_BETWEEN_LINES
    while process.poll() is None:
        time.sleep(0.2)
        seconds = time.monotonic() - started
        if live or seconds >= next_line:
            next_line += SECONDS_BETWEEN_LINES
            shown = f"  {int(seconds) // 60}:{int(seconds) % 60:02} {files_compiled(log)}".rstrip()
            print(f"\r{saying}{shown}" if live else shown, end="" if live else "\n", file=sys.stderr, flush=True)
    if live:
        print(file=sys.stderr)


def files_compiled(log: Path) -> str:
    """'(12 of 340 files)' by the last line of ninja's; nothing before it begins."""
    with log.open("rb") as written:
        written.seek(max(0, log.stat().st_size - 20_000))
        steps = re.findall(rb"\[(\d+)/(\d+)\] ", written.read())
    return f"({int(steps[-1][0])} of {int(steps[-1][1])} files)" if steps else ""


if __name__ == "__main__":
    sys.exit(main())
