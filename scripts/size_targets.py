"""Compare files whose tensors' types were chosen for a size with files of one type of that size.

    python -m scripts.size_targets SOURCE.gguf FOLDER [-q TYPE ...] [--imatrix FILE|eps] [--chunks N] [--continuous]

For each type, SOURCE is quantized to it and to the size that this comes to, to the byte, and both are held against
SOURCE on the text that comes for such measurements. Prints a table in Markdown. The files stay in FOLDER.

With --continuous, SOURCE itself is another file: SOURCE is one in Q4_1 or Q8_0, and each of its weights is moved at
random within the step that it was rounded to, so that they lie between the steps as those of a model do that was never
quantized. Otherwise a file in Q4_1 would lose nothing more by Q4_1, and the comparison would say nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gguf
import numpy as np

from gguf_bench import fidelity, prepare, texts
from gguf_bench.cli.bars import Bars
from gguf_bench.fidelity import Fidelity
from gguf_bench.quantize_options import QuantizeOptions
from gguf_bench.quants import quant
from gguf_bench.records import ModelSpec
from gguf_bench.size_target import Target
from gguf_bench.store import Store

TYPES = ("Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-q", action="append", dest="types", help=f"default: {', '.join(TYPES)}")
    parser.add_argument("--imatrix")
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--continuous", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    source = given.source.absolute()
    if given.continuous:
        source = continuous(source, given.folder / f"{source.stem.rpartition('.')[0]}-continuous-F16.gguf")
    spec = ModelSpec(key=source.stem, provider="file", path=source)
    store, progress = Store(given.folder / "store.db"), Bars()
    options = QuantizeOptions(imatrix=given.imatrix)
    text = texts.built_in(texts.MEASUREMENT)

    def measured(path: Path) -> Fidelity:
        return fidelity.measure(source, path, text, n_chunks=given.chunks, progress=progress)

    print(
        "| size, MiB | type | KL divergence | same token, % | chosen for its size | same token, % | KL, of the type's |"
    )
    print("| --: | --- | --: | --: | --: | --: | --: |", flush=True)
    for name in given.types or TYPES:
        (plain,) = prepare.quantize(spec, [quant(name)], store, folder=given.folder, options=options, progress=progress)
        size = plain.stat().st_size
        target = Target(f"{size}B", file_bytes=size)
        chosen = prepare.quantize_to_size(spec, target, store, folder=given.folder, options=options, progress=progress)
        one, other = measured(plain), measured(chosen)
        cells = (
            f"{size / 2**20:.1f}, {100 * chosen.stat().st_size / size:.2f} %",
            name,
            *figures(one),
            *figures(other),
            f"{100 * other.kl_divergence.value / one.kl_divergence.value:.0f} %",
        )
        print(f"| {' | '.join(cells)} |", flush=True)


def figures(found: Fidelity) -> tuple[str, str]:
    kl, same = found.kl_divergence, found.top1_agreement
    return f"{kl.value:.4f} ± {kl.standard_error:.4f}", f"{100 * same.value:.1f} ± {100 * same.standard_error:.1f}"


def continuous(source: Path, target: Path) -> Path:
    """Write `source` as F16 with each weight moved by up to half the step of its block; the same every time."""
    reader, random = gguf.GGUFReader(source), np.random.default_rng(7)
    writer = gguf.GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
    for field in reader.fields.values():
        known = ("general.architecture", "general.file_type", "general.quantization_version")
        if not field.name.startswith("GGUF.") and field.name not in known:
            is_list = field.types[0] == gguf.GGUFValueType.ARRAY
            kind = field.types[-1] if is_list else None
            writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=kind)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if tensor.tensor_type == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(tensor.name, values)
            continue
        block_bytes = {gguf.GGMLQuantizationType.Q4_1: 20, gguf.GGMLQuantizationType.Q8_0: 34}[tensor.tensor_type]
        step = tensor.data.reshape(-1, block_bytes)[:, :2].copy().view(np.float16).astype(np.float32)
        moved = values.reshape(-1, 32) + step * random.uniform(-0.5, 0.5, (len(step), 32)).astype(np.float32)
        writer.add_tensor(tensor.name, moved.reshape(values.shape).astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


if __name__ == "__main__":
    main()
