"""Compare `gguf-bench quantize` with llama-quantize, byte for byte.

    python scripts/quantize_parity.py LLAMA_QUANTIZE SOURCE.gguf [TYPE ...]

LLAMA_QUANTIZE is built from the llama.cpp in the sdist of the llama-cpp-python we depend on, with the same compiler
flags as the installed one (`cmake -S vendor/llama.cpp -B build -G Ninja -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF
-DCMAKE_C_FLAGS="-fno-tree-dse -fno-dse" -DCMAKE_CXX_FLAGS="-fno-tree-dse -fno-dse"`, then `ninja llama-quantize`).
Without TYPEs, every type there is: where one needs an importance matrix, both have to refuse it. Prints one line a
type; exits with 1 if any differs.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from gguf_bench.quants import QUANTS


def main() -> None:
    tool, source, *names = sys.argv[1:]
    types = names or list(QUANTS)
    n_different = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in types:
            theirs = Path(folder) / f"reference-{name}.gguf"
            command = [sys.executable, "-m", "gguf_bench", "--db", f"{folder}/r.db", "quantize", source, "-q", name]
            ours = subprocess.run([*command, "-o", folder], capture_output=True, text=True, check=False)
            reference = subprocess.run([tool, source, theirs, name], capture_output=True, text=True, check=False)
            if ours.returncode or reference.returncode:
                print(f"{name:10} ours exit {ours.returncode}, llama-quantize exit {reference.returncode}", flush=True)
                n_different += bool(ours.returncode) != bool(reference.returncode)
                continue
            path = Path(ours.stdout.strip())
            ours_sha256, their_sha256 = (hashlib.sha256(file.read_bytes()).hexdigest() for file in (path, theirs))
            same = ours_sha256 == their_sha256
            n_different += not same
            print(f"{name:10} {'same' if same else 'DIFFERENT'} {ours_sha256} {path.stat().st_size}", flush=True)
            path.unlink()
            theirs.unlink()
    print(f"{len(types)} types, {n_different} different")
    raise SystemExit(n_different > 0)


if __name__ == "__main__":
    main()
