"""Compare `gguf-bench quantize` with llama-quantize, byte for byte.

    python -m scripts.quantize_parity LLAMA_QUANTIZE [--record] [SOURCE.gguf ...]

LLAMA_QUANTIZE is built from the llama.cpp in the sdist of the llama-cpp-python we depend on
(`cmake -S vendor/llama.cpp -B build -G Ninja -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF`, then `ninja llama-quantize`).
Every type, and the combinations of options in tests/quantize_sources.py, on each SOURCE; without one, on a small
mixture of experts, whole and in two parts. A source that is quantized is quantized again. Importance matrices are made
up, with an entry for each matrix of the source. Prints a line a file; exits with 1 if any differs.

`--record` writes what llama-quantize makes of the mixture of experts to tests/cases/quantize.json, which tests hold us
to where there is no llama-quantize.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gguf_bench.gguf_files import gguf_shards
from gguf_bench.gguf_header import read_header
from tests import quantize_sources as sources

RECORDED = Path(__file__).parent.parent / "tests" / "cases" / "quantize.json"


def main() -> None:
    tool, *arguments = sys.argv[1:]
    own = [Path(name).absolute() for name in arguments if name != "--record"]
    recorded: dict[str, dict[str, str]] = {}
    n_files = n_different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "parts").mkdir()
        cases = [(path, sources.CASES) for path in own] or [
            (sources.moe(folder / "moe-F16.gguf"), sources.CASES),
            (sources.moe(folder / "parts" / "moe-F16.gguf", tensors_a_part=25), sources.SPLIT_CASES),
        ]
        for path, some in cases:
            print(f"{path.name}", flush=True)
            digests = recorded[path.name] = {"source": sha256([path])}
            for label, ours, theirs in compared(Path(tool).absolute(), path, some, folder):
                n_files += 1
                n_different += ours != theirs
                digests[label] = theirs
                print(f"  {label:36} {'same' if ours == theirs else 'DIFFERENT'} {theirs[:16]} {ours[:16]}", flush=True)
    print(f"{n_files} files, {n_different} different")
    if "--record" in arguments:
        RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")
    raise SystemExit(n_different > 0)


def compared(
    tool: Path, source: Path, cases: Mapping[str, tuple[Sequence[str], str]], folder: Path
) -> Iterator[tuple[str, str, str]]:
    """(case and type, sha256 of ours, sha256 of llama-quantize's); 'exit N' where there is no file."""
    header = read_header(source)
    shapes = {tensor.name: tensor.shape[::-1] for tensor in header.tensors}
    sources.write_imatrix(folder / "imatrix.gguf", shapes)
    sources.write_dat(folder / "imatrix.dat", shapes)
    again = (
        ["--allow-requantize"] if any(tensor.type not in ("F32", "F16", "BF16") for tensor in header.tensors) else []
    )
    for case, (types, typed) in cases.items():
        options = shlex.split(typed)
        for name in types:
            target = folder / f"theirs-{name}.gguf"
            done = run(folder, tool, *again, *options, source, target, name)
            theirs = sha256(written(folder, "theirs-*.gguf")) if done == 0 else f"exit {done}"
            for path in written(folder, "theirs-*"):
                path.unlink()
            command = [sys.executable, "-m", "gguf_bench", "--db", folder / "r.db", "quantize", source, "-q", name]
            done = run(folder, *command, *again, *options, "-o", folder / "ours")
            ours = sha256(written(folder / "ours", "*.gguf")) if done == 0 else f"exit {done}"
            for path in written(folder / "ours", "*"):
                path.unlink()
            yield f"{case}, {name}", ours, theirs


def run(folder: Path, *command: object) -> int:
    environment = {**os.environ, "PYTHONPATH": str(RECORDED.parent.parent.parent)}
    return subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, check=False
    ).returncode


def written(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def sha256(paths: Sequence[Path]) -> str:
    """Of a file, and of its parts one after the other; a split file may be named by its first part."""
    digest = hashlib.sha256()
    for path in gguf_shards(paths[0]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
