"""`gguf-bench quantize` beside llama-quantize: what it takes longer, on the same file with the same libraries.

    python benchmarks/quantize.py LLAMA_QUANTIZE [--gigabytes 1] [--type Q4_K_M] [--runs 5] [--source FILE]
    python benchmarks/quantize.py LLAMA_QUANTIZE --buffers 8192 64 32 16 8 4 [...]

Both are timed from the start of their process to its end, in turn, on a warm page cache; the first pair does not count.
LLAMA_QUANTIZE runs on the installed llama.cpp's own libraries, so that compiler flags are the same, and both use every
core. The source is a llama of random F16 weights, made once for a run, with rows that every type fits; ours knows its
sha256, as after its conversion or the first use. Ours does more: it plans first and checks the disk, hashes and flushes
what it writes, and records it.
With `--buffers` llama-quantize alone is timed by its `--max-buffer-size` (MiB; 8192 is its default) against the first.

Prints seconds by the clock and by the processor (user and system, children included), medians over the runs, and the
ratios of pairs with their spread. On a machine that is busy go by the processor's.
"""

from __future__ import annotations

import argparse
import filecmp
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np

WIDTH, FEED_FORWARD, VOCABULARY, HEADS = 2048, 5632, 32000, 16


class Seconds(NamedTuple):
    clock: float
    processor: float


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        source = options.source or random_model(folder / "random-F16.gguf", options.gigabytes)
        theirs = [options.tool, "--allow-requantize", source, folder / "theirs.gguf", options.type]
        print(f"{source.stat().st_size / 1e9:.2f} GB to {options.type}, {os.cpu_count()} cores, n = {options.runs}")
        if options.buffers:
            by_buffer = {f"{mib} MiB": [theirs[0], "--max-buffer-size", mib, *theirs[1:]] for mib in options.buffers}
            compare(by_buffer, options.runs)
            return
        ours = [sys.executable, "-m", "gguf_bench", "--db", folder / "r.db", "quantize", source, "-q", options.type]
        ours += ["--allow-requantize", "-o", folder / "ours"]
        compare({"llama-quantize": theirs, "gguf-bench": ours}, options.runs, lambda: same(folder))


def compare(commands: dict[str, list[object]], n_runs: int, check: Callable[[], None] = lambda: None) -> None:
    """Time each in turn, `n_runs` times after one that does not count, and print how they compare with the first."""
    names, rounds = list(commands), []
    for number in range(n_runs + 1):
        order = names if number % 2 else names[::-1]
        seconds = {name: timed(commands[name]) for name in order}
        check()
        print(f"{number or 'warm-up'}: {seconds}", file=sys.stderr, flush=True)
        rounds += [seconds] if number else []
    for kind in Seconds._fields:
        for name in names:
            each = [getattr(seconds[name], kind) for seconds in rounds]
            ratios = sorted(getattr(seconds[name], kind) / getattr(seconds[names[0]], kind) for seconds in rounds)
            print(
                f"{kind:9} {name}: {statistics.median(each):.2f} s, ratio {statistics.median(ratios):.3f}"
                f" ({ratios[0]:.3f} to {ratios[-1]:.3f})"
            )


def same(folder: Path) -> None:
    """Compare what both made, and remove it."""
    (made,) = (folder / "ours").iterdir()
    theirs = folder / "theirs.gguf"
    if not filecmp.cmp(made, theirs, shallow=False):
        raise SystemExit("the two files differ")
    made.unlink()
    theirs.unlink()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", type=Path)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--type", default="Q4_K_M")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--buffers", type=int, nargs="+", metavar="MIB")
    parser.add_argument(
        "--folder", type=Path, help="where to write, three times the source [default: the temporary one]"
    )
    return parser.parse_args()


def timed(command: list[object]) -> Seconds:
    found = importlib.util.find_spec("llama_cpp")
    assert found is not None
    assert found.origin is not None
    libraries = os.pathsep.join(
        filter(None, [str(Path(found.origin).parent / "lib"), os.environ.get("LD_LIBRARY_PATH")])
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    os.sync()  # or it would wait for what others wrote to reach the disk
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, check=False)
    clock, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return Seconds(clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def random_model(path: Path, gigabytes: float) -> Path:
    """A llama in F16 with as many layers as make about so many GB."""
    layer = {
        "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH), "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (FEED_FORWARD, WIDTH), "ffn_up": (FEED_FORWARD, WIDTH), "ffn_down": (WIDTH, FEED_FORWARD),
    }  # fmt: skip
    layer_bytes = sum(2 * rows * columns for rows, columns in layer.values())
    n_layers = max(1, round((gigabytes * 1e9 - 4 * VOCABULARY * WIDTH) / layer_bytes))
    shapes = {"token_embd.weight": (VOCABULARY, WIDTH), "output.weight": (VOCABULARY, WIDTH)}
    shapes |= {f"blk.{n}.{name}.weight": shape for n in range(n_layers) for name, shape in layer.items()}
    norms = [
        "output_norm.weight",
        *(f"blk.{n}.{name}_norm.weight" for n in range(n_layers) for name in ("attn", "ffn")),
    ]
    keys = {
        "vocab_size": VOCABULARY, "context_length": 2048, "block_count": n_layers, "embedding_length": WIDTH,
        "feed_forward_length": FEED_FORWARD, "attention.head_count": HEADS,
    }  # fmt: skip
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("no_vocab")
    for key, value in keys.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_layer_norm_rms_eps(1e-5)
    for name in norms:
        writer.add_tensor_info(name, (WIDTH,), np.dtype(np.float32), 4 * WIDTH)
    for name, shape in shapes.items():
        writer.add_tensor_info(name, shape, np.dtype(np.float16), 2 * shape[0] * shape[1])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(0)
    for _ in norms:
        writer.write_tensor_data(np.ones(WIDTH, np.float32))
    for shape in shapes.values():
        writer.write_tensor_data((random.standard_normal(shape, np.float32) / 50).astype(np.float16))
    writer.close()
    return path


if __name__ == "__main__":
    main()
