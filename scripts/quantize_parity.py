"""Compare `gguf-bench quantize` with llama-quantize, byte for byte.

    python -m scripts.quantize_parity LLAMA_QUANTIZE [--record] [SOURCE.gguf ...]

LLAMA_QUANTIZE is built from the llama.cpp in the sdist of the llama-cpp-python we depend on
(`cmake -S vendor/llama.cpp -B build -G Ninja -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF`, then `ninja llama-quantize`).
Without a SOURCE, every type and the combinations of options in tests/quantize_sources.py on a small mixture of experts,
whole and in two parts; on each SOURCE, thirteen types and the combinations with one type each. A source that is
quantized is quantized again. Importance matrices are made up, with an entry for each matrix of the source. Prints a
line a file; exits with 1 if any differs.

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
        cases = [(path, sources.FEW_CASES) for path in own] or [
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
                if "--record" in arguments:
                    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")
                print(f"  {label:36} {'same' if ours == theirs else 'DIFFERENT'} {theirs[:16]} {ours[:16]}", flush=True)
    print(f"{n_files} files, {n_different} different")
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
        options = [*again, *shlex.split(typed)]
        wanted = [word for name in types for word in ("-q", name)]
        command = [sys.executable, "-m", "gguf_bench", "--db", folder / "r.db", "quantize", source, *wanted, *options]
        made = run(folder, *command, "-o", folder / "ours")
        paths = [Path(line) for line in made.stdout.splitlines()]
        for number, name in enumerate(types):
            done = run(folder, tool, *options, source, folder / "theirs.gguf", name)
            their_paths = sorted(folder.glob("theirs*.gguf"))
            theirs = sha256(their_paths) if done.returncode == 0 else f"exit {done.returncode}"
            yield f"{case}, {name}", sha256([paths[number]]) if paths else f"exit {made.returncode}", theirs
            for path in their_paths:
                path.unlink()
        for path in folder.glob("ours/*"):
            path.unlink()


def run(folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(RECORDED.parent.parent.parent)}
    words = list(map(str, command))
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def sha256(paths: Sequence[Path]) -> str:
    """Of a file, and of its parts one after the other; a split file may be named by its first part."""
    digest = hashlib.sha256()
    for path in gguf_shards(paths[0]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
