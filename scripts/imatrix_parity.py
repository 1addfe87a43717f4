"""Compare `gguf-bench imatrix` with llama-imatrix, entry by entry.

    python -m scripts.imatrix_parity FOLDER TEXT [MODEL.gguf ...] [--chunks N]

FOLDER holds llama-imatrix and llama-quantize, built from the llama.cpp in the sdist of the llama-cpp-python that we
depend on (see scripts/quantize_parity.py). TEXT is a file of UTF-8. A tiny dense model and a tiny mixture of experts,
both of random weights, are always compared; MODELs beside them. For each model:

- the largest relative difference of any sum of squares and of any count, with both programs on their own libraries, and
  with llama-imatrix on the libraries of the installed llama-cpp-python;
- whether llama-quantize makes the same bytes of our file as `gguf-bench quantize` does;
- whether llama-imatrix takes our file in (--in-file), and gives the same bytes back;
- whether our reader makes the same weights of llama-imatrix's .dat as of its GGUF, to 1e-6.

Exits with 1 where a difference on the same libraries is above 1e-3, or something is not the same. On other ones the
kernels differ as well: without OpenBLAS, llama.cpp rounds the inputs of quantized weights to 8 bits.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from gguf_bench.gguf_header import read_header
from gguf_bench.imatrix_file import Imatrix, read
from tests import tiny_models

MOST = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("tools", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--chunks", type=int, default=8)
    arguments = parser.parse_args()
    is_fine = True
    print("model | entries | chunks | sums | counts | same libraries: sums | counts | quantized | taken in | .dat")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny = {"width": 256, "feed_forward": 256}
        models = [
            tiny_models.llama(folder / "tiny-dense.gguf", **tiny),
            tiny_models.llama(folder / "tiny-moe.gguf", n_experts=6, **tiny),
            *arguments.models,
        ]
        for model in models:
            is_fine &= compared(arguments.tools, model, arguments.text, arguments.chunks, folder)
    raise SystemExit(not is_fine)


def compared(tools: Path, model: Path, text: Path, n_chunks: int, folder: Path) -> bool:
    ours_file = folder / "ours.gguf"
    ours(folder, "imatrix", model, "--text", text, "-o", ours_file, "--chunks", n_chunks)
    asked = ["-m", model, "-f", text, "--chunks", n_chunks]
    mine, theirs = read(ours_file), theirs_of(tools, folder, *asked)
    same_libraries = theirs_of(tools, folder, *asked, libraries=installed_libraries())
    found = [difference(mine, other) for other in (theirs, same_libraries)]

    theirs_of(tools, folder, "-m", model, "--in-file", ours_file)
    back = (folder / "theirs.gguf").read_bytes() == ours_file.read_bytes()
    older = theirs_of(tools, folder, *asked, "--output-format", "dat", suffix="dat").weights()
    newer = theirs.weights()
    dat = older.keys() == newer.keys() and all(np.allclose(older[name], newer[name], 1e-6) for name in newer)
    quantized = same_bytes(tools, model, ours_file, folder)

    figures = " | ".join(f"{figure:.1e}" for pair in found for figure in pair)
    words = " | ".join("same" if same else "DIFFERENT" for same in (quantized, back, dat))
    print(f"{model.stem} | {len(mine.entries)} | {mine.chunk_count} | {figures} | {words}", flush=True)
    return max(found[1]) <= MOST and quantized and back and dat


def ours(folder: Path, *arguments: object) -> str:
    command = [sys.executable, "-m", "gguf_bench", "--db", f"{folder}/r.db", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def theirs_of(tools: Path, folder: Path, *arguments: object, suffix: str = "gguf", libraries: str = "") -> Imatrix:
    target = folder / f"theirs.{suffix}"
    environment = os.environ | ({"LD_LIBRARY_PATH": libraries} if libraries else {})
    command = [f"{tools}/llama-imatrix", *map(str, arguments), "-o", str(target), "--no-ppl"]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return read(target)


def installed_libraries() -> str:
    import llama_cpp

    return str(Path(llama_cpp.__file__).parent / "lib")


def difference(one: Imatrix, other: Imatrix) -> tuple[float, float]:
    """The largest difference of a sum and of a count, relative to `other`; infinite where the entries are others."""
    shapes = [{name: entry.sums.shape for name, entry in each.entries.items()} for each in (one, other)]
    if shapes[0] != shapes[1]:
        return float("inf"), float("inf")
    sums, counts = 0.0, 0.0
    for name, entry in other.entries.items():
        known = one.entries[name]
        sums = max(sums, float((abs(known.sums - entry.sums) / np.maximum(entry.sums, 1e-30)).max()))
        counts = max(counts, float((abs(known.counts - entry.counts) / np.maximum(entry.counts, 1)).max()))
    return sums, counts


def same_bytes(tools: Path, model: Path, imatrix: Path, folder: Path) -> bool:
    """Whether llama-quantize makes of our file what `gguf-bench quantize` makes of it."""
    target = folder / "reference.gguf"
    is_quantized = any(tensor.type not in ("F32", "F16", "BF16") for tensor in read_header(model).tensors)
    allow = ["--allow-requantize"] if is_quantized else []
    command = [f"{tools}/llama-quantize", *allow, "--imatrix", imatrix, model, target, "IQ3_XXS"]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    made = ours(folder, "quantize", model, *allow, "-q", "IQ3_XXS", "--imatrix", imatrix, "-o", folder / "made")
    path = Path(made.strip())
    is_same = path.read_bytes() == target.read_bytes()
    path.unlink()
    return is_same


if __name__ == "__main__":
    main()
