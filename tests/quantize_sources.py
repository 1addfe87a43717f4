"""What quantizations are compared on: a small mixture of experts and importance matrices, the same bytes everywhere.

All values are whole numbers from the generator, scaled exactly, so that no machine's libm takes part. Rows are of 256
values, so that every type fits.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from gguf_bench.quants import QUANTS

Array = np.ndarray[Any, Any]

N_LAYERS, N_EXPERTS, WIDTH, FEED_FORWARD, VOCABULARY = 3, 4, 256, 256, 64
KEYS: Mapping[str, Any] = {
    "vocab_size": VOCABULARY,
    "context_length": 512,
    "block_count": N_LAYERS,
    "embedding_length": WIDTH,
    "feed_forward_length": FEED_FORWARD,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 2.0**-17,
    "rope.freq_base": 10000.0,
    "expert_count": N_EXPERTS,
    "expert_used_count": 2,
}
LAYER = {
    "attn_norm": (WIDTH,),
    "attn_q": (WIDTH, WIDTH),
    "attn_k": (WIDTH // 2, WIDTH),
    "attn_v": (WIDTH // 2, WIDTH),
    "attn_output": (WIDTH, WIDTH),
    "ffn_norm": (WIDTH,),
    "ffn_gate_inp": (N_EXPERTS, WIDTH),
    "ffn_gate_exps": (N_EXPERTS, FEED_FORWARD, WIDTH),
    "ffn_up_exps": (N_EXPERTS, FEED_FORWARD, WIDTH),
    "ffn_down_exps": (N_EXPERTS, WIDTH, FEED_FORWARD),
}
SHAPES = {
    "token_embd.weight": (VOCABULARY, WIDTH),
    **{f"blk.{n}.{name}.weight": shape for n in range(N_LAYERS) for name, shape in LAYER.items()},
    "output_norm.weight": (WIDTH,),
    "output.weight": (VOCABULARY, WIDTH),
}


def moe(path: Path, *, tensors_a_part: int = 0) -> Path:
    """A mixture of experts in F16, 6 MB, at `path`; in parts where their size is given. Returns the (first) path."""
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=tensors_a_part)
    add_keys(writer)
    for name, shape in SHAPES.items():
        # The sum of several numbers: small values are the more frequent ones, as in a real model.
        values = random.integers(-(1 << 12), 1 << 12, (3, *shape)).sum(axis=0).astype(np.float32) / np.float32(1 << 15)
        if len(shape) == 1:
            values = np.abs(values) + np.float32(0.5)
        writer.add_tensor(name, values if len(shape) == 1 or "gate_inp" in name else values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(path.parent.glob(f"{path.stem}*.gguf"))[0]


def add_keys(writer: gguf.GGUFWriter) -> None:
    writer.add_tokenizer_model("no_vocab")
    writer.add_name("Quellmark")
    for key, value in KEYS.items():
        (writer.add_float32 if isinstance(value, float) else writer.add_uint32)(f"llama.{key}", value)


def importances(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[Array, Array]]:
    """Tensor name -> sums of squares (matrices, columns) and counts of rows; the last expert was never reached.

    Of every matrix in `shapes` (numpy's order) but the embeddings, as llama-imatrix has them.
    """
    random = np.random.default_rng(1)
    found = {}
    for name, (*experts, columns) in shapes.items():
        if (
            not experts
            or not name.endswith(".weight")
            or any(word in name for word in ("norm", "gate_inp", "token_embd"))
        ):
            continue
        counts = np.full(experts[:-1] or [1], 512, np.float32)
        counts[1:] = [300, 212, 0][: len(counts) - 1]
        sums = random.integers(1, 1 << 16, (len(counts), columns)).astype(np.float32) / np.float32(64)
        found[name] = (sums * (counts > 0)[:, None], counts)
    return found


def write_imatrix(
    path: Path, shapes: Mapping[str, tuple[int, ...]] = SHAPES, *, without: str = "nothing", value: float | None = None
) -> Path:
    """llama.cpp's GGUF form. Entries with `without` in their names are left out; `value` is put into the first sum."""
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["some releases.txt", "others.txt"])
    writer.add_uint32("imatrix.chunk_count", 7)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, (sums, counts) in importances(shapes).items():
        if without in name:
            continue
        if value is not None:
            sums[0, 0] = value
        writer.add_tensor(f"{name}.in_sum2", sums)
        writer.add_tensor(f"{name}.counts", counts[:, None])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_dat(path: Path, shapes: Mapping[str, tuple[int, ...]] = SHAPES, *, calls: int = 5, tail: bool = True) -> Path:
    """The older form, which knows one number of calls for all experts."""
    entries = importances(shapes)
    data = struct.pack("<i", len(entries))
    for name, (sums, _) in entries.items():
        encoded = name.encode()
        values = (sums.ravel() + np.float32(1)).astype("<f4")
        data += struct.pack("<i", len(encoded)) + encoded + struct.pack("<ii", calls, len(values)) + values.tobytes()
    if tail:
        data += struct.pack("<ii", 11, 9) + b"older.txt"
    path.write_bytes(data)
    return path


WITHOUT_IMATRIX = [name for name, quant in QUANTS.items() if not quant.needs_imatrix]
WITH_IMATRIX = [*(name for name, quant in QUANTS.items() if quant.needs_imatrix), "Q4_0", "Q4_K_M", "IQ4_XS"]
FEW = (
    "Q8_0", "Q6_K", "Q5_K_M", "Q5_1", "Q5_0", "Q4_K_M", "Q4_1", "Q4_K_S", "Q4_0", "Q3_K_M", "Q2_K", "TQ2_0", "IQ4_NL",
)  # fmt: skip

CASES: Mapping[str, tuple[Sequence[str], str]] = {
    # name: types, options as both programs take them
    "imatrix, older form": (("Q4_K_M", "IQ2_XXS"), "--imatrix imatrix.dat"),
    "included weights": (
        ("Q4_K_M",),
        "--imatrix imatrix.gguf --include-weights ffn_down --include-weights attn_v",
    ),
    "excluded weights": (("Q4_K_M",), "--imatrix imatrix.gguf --exclude-weights attn --exclude-weights blk.1"),
    "pure": (("Q4_K_M", "Q2_K"), "--pure"),
    "output tensor left": (("Q4_K_M",), "--leave-output-tensor"),
    "output and embeddings": (("Q4_K_M",), "--output-tensor-type q8_0 --token-embedding-type Q5_1"),
    "tensor types": (
        ("Q4_K_M", "Q4_0"),
        r"--tensor-type attn_V=q8_0 --tensor-type 'blk\.[01]\.ffn_down=Q5_1' --tensor-type ffn=f16",
    ),
    "keys": (
        ("Q8_0",),
        "--override-kv 'general.name=str:Ä: other' --override-kv llama.context_length=int:256 "
        "--override-kv llama.rope.freq_base=float:50000.25 --override-kv some.key=bool:true",
    ),
    "pruned": (("Q4_K_M",), "--prune-layers 2,1"),
    "pruned, imatrix": (("IQ2_S", "Q4_K_M"), "--prune-layers 0,2 --imatrix imatrix.gguf"),
    "small buffer": (("Q4_K_M",), "--max-buffer-size 1"),
    "together": (
        ("Q5_K_M",),
        "--pure --imatrix imatrix.gguf --exclude-weights ffn --tensor-type attn_v=q6_k --output-tensor-type q8_0 "
        "--override-kv general.name=str:x --prune-layers 1",
    ),
    "no options": (WITHOUT_IMATRIX, ""),
    "imatrix": (WITH_IMATRIX, "--imatrix imatrix.gguf"),
}
SPLIT_CASES: Mapping[str, tuple[Sequence[str], str]] = {
    "parts merged": (("Q4_K_M",), ""),
    "parts kept": (("Q4_K_M", "IQ2_XS"), "--keep-split --imatrix imatrix.gguf"),
}
"""For a source in parts."""
FEW_CASES: Mapping[str, tuple[Sequence[str], str]] = {
    case: (FEW if case == "no options" else types[:1], options) for case, (types, options) in CASES.items()
}
"""For large files: thirteen types, and every combination of options with one type."""
