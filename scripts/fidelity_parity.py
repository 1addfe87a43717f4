"""Compare `gguf-bench fidelity` with llama-perplexity --kl-divergence on the same text.

    python -m scripts.fidelity_parity FOLDER TEXT REFERENCE.gguf TYPE [TYPE ...] [--chunks N]

FOLDER holds llama-perplexity, built from the llama.cpp in the sdist of the llama-cpp-python that we depend on. It runs
on that package's libraries, since other kernels (OpenBLAS or none) compute quantized weights otherwise. Wants a C
compiler.

Prints each figure, ours and theirs. It keeps of the reference's logits what lies within 16 of the largest, in 65,535
steps, so that the reference's perplexity comes out smaller. Their standard errors take every token for independent,
ours every chunk. Exits with 1 where a figure differs from theirs by more than 1 %.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from pathlib import Path

from gguf_bench import fidelity, llama_build, prepare
from gguf_bench.quants import quant
from gguf_bench.records import ModelSpec
from gguf_bench.store import Store
from gguf_bench.texts import of_file
from scripts.imatrix_parity import installed_libraries

MOST = 0.01
LINES = {
    "kl_divergence": (r"Mean +KLD: +(\S+) ± +(\S+)", 1),
    "kl_divergence_99": (r"99\.0% +KLD: +(\S+)", 1),
    "top1_agreement": (r"Same top p: +(\S+) ± +(\S+)", 100),
    "perplexity": (r"Mean PPL\(Q\) +: +(\S+) ± +(\S+)", 1),
    "reference_perplexity": (r"Mean PPL\(base\) +: +(\S+) ± +(\S+)", 1),
    "perplexity_ratio": (r"Mean PPL\(Q\)/PPL\(base\) +: +(\S+) ± +(\S+)", 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("tools", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("types", nargs="+")
    parser.add_argument("--chunks", type=int, default=8)
    given = parser.parse_args()
    is_fine = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = ModelSpec(key=given.reference.stem, provider="file", path=given.reference.absolute())
        types = [quant(text) for text in given.types]
        paths = prepare.quantize(spec, types, Store(folder / "r.db"), folder=folder)
        waits = waiting_at_exit(folder)
        said = ["-f", given.text, "--chunks", given.chunks, "--kl-divergence-base", folder / "logits"]
        perplexity(given.tools, waits, "-m", given.reference, *said)
        print(f"on {llama_build.installed_version()}: type | figure | ours | theirs | difference")
        for one, path in zip(types, paths, strict=True):
            theirs = perplexity(given.tools, waits, "-m", path, *said, "--kl-divergence")
            ours = fidelity.measure(given.reference, path, of_file(given.text), n_chunks=given.chunks)
            for figure, (pattern, scale) in LINES.items():
                mine, found = getattr(ours, figure), re.search(pattern, theirs)
                if found is None:
                    raise SystemExit(f"llama-perplexity says nothing of {figure}")
                value, *error = (float(number.rstrip("%")) / scale for number in found.groups())
                difference = abs(mine.value / value - 1)
                is_fine &= difference <= MOST
                shown = f"{value:.6f}" + (f" ± {error[0]:.6f}" if error else "")
                own = f"{mine.value:.6f} ± {mine.standard_error:.6f}"
                print(f"{one.name} | {figure} | {own} | {shown} | {difference:.2%}", flush=True)
    raise SystemExit(not is_fine)


def perplexity(tools: Path, waits: Path, *arguments: object) -> str:
    """What llama-perplexity prints."""
    command = [f"{tools}/llama-perplexity", *map(str, arguments)]
    environment = os.environ | {"LD_PRELOAD": str(waits), "LD_LIBRARY_PATH": installed_libraries()}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout + done.stderr


def waiting_at_exit(folder: Path) -> Path:
    """A library that makes a program wait at its end: llama.cpp's tools end before their log is written."""
    source, library = folder / "wait.c", folder / "wait.so"
    source.write_text("#include <unistd.h>\n__attribute__((destructor)) static void wait_a_bit(void) { sleep(5); }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


if __name__ == "__main__":
    main()
