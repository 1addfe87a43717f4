"""Quantizing: llama-quantize's bytes, its options, what is refused before work, and what the store knows after."""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import json
import platform
import resource
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llama_cpp
import numpy as np
import pytest
from click.testing import CliRunner
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import quantize as quantize_rows
from llama_cpp._ggml import libggml

from gguf_bench import convert, prepare, provenance, quantize_options
from gguf_bench.cli.commands import cli
from gguf_bench.describe import describe, described
from gguf_bench.errors import CheckpointError, DiskSpaceError, ModelError, QuantizeError, StoreError
from gguf_bench.gguf_files import gguf_shards
from gguf_bench.gguf_header import BLOCKS, read_header
from gguf_bench.llama import quantize as llama_quantize
from gguf_bench.progress import Bar, SilentBar
from gguf_bench.quantize import Quantizer
from gguf_bench.quantize_options import QuantizeOptions
from gguf_bench.quants import Quant, quant
from gguf_bench.records import Checkpoint, ModelSpec, QuantizedSize
from gguf_bench.store import Store
from tests import quantize_sources as sources
from tests import tiny_models
from tests.converters.variants import Variant, write_checkpoint
from tests.disks import NotHere, small_disk
from tests.test_store import GGUF, SCORE, a_run, an_answer

RECORDED = json.loads((Path(__file__).parent / "cases" / "quantize.json").read_text())


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of experts, whole and in two parts, and importance matrices for it."""
    folder = tmp_path_factory.mktemp("quantize")
    (folder / "parts").mkdir()
    sources.moe(folder / "moe-F16.gguf")
    sources.moe(folder / "parts" / "moe-F16.gguf", tensors_a_part=25)
    sources.write_imatrix(folder / "imatrix.gguf")
    sources.write_dat(folder / "imatrix.dat")
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results.db")


@pytest.fixture
def model(folder: Path) -> ModelSpec:
    return local(folder / "moe-F16.gguf")


def local(path: Path) -> ModelSpec:
    return ModelSpec(key=path.stem, provider="file", path=path)


def sha256(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Heard:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bars: list[str] = []

    def bar(self, label: str, total: float | None, unit: str) -> Bar:
        self.bars.append(label)
        return SilentBar()

    def say(self, line: str) -> None:
        self.lines.append(line)


# --- the bytes ---


@pytest.mark.skipif(
    (platform.machine(), platform.system()) != ("x86_64", "Linux") or version("llama-cpp-python") != "0.3.36",
    reason="recorded of llama.cpp 0.5.0-dev on x86-64: other compilers may fuse multiplications and additions",
)
@pytest.mark.parametrize(
    ("source", "case"),
    [*(("moe-F16.gguf", case) for case in sources.CASES), *(("parts", case) for case in sources.SPLIT_CASES)],
)
def test_bytes_are_those_of_llama_quantize(
    source: str, case: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scripts/quantize_parity.py recorded what llama-quantize made; the path of --imatrix goes into the file."""
    types, options = {**sources.CASES, **sources.SPLIT_CASES}[case]
    path = sorted((folder / source).glob("*.gguf"))[0] if source == "parts" else folder / source
    recorded = RECORDED[path.name]
    types = [name for name in types if f"{case}, {name}" in recorded]
    assert types
    assert sha256(*gguf_shards(path)) == recorded["source"]
    monkeypatch.chdir(folder)
    wanted = [word for name in types for word in ("-q", name)]
    made = CliRunner().invoke(
        cli,
        ["--db", str(tmp_path / "r.db"), "quantize", str(path), *wanted, *shlex.split(options), "-o", str(tmp_path)],
    )
    assert made.exit_code == 0, made.output
    paths = [Path(line) for line in made.stdout.splitlines()]
    found = {f"{case}, {name}": sha256(*gguf_shards(path)) for name, path in zip(types, paths, strict=True)}
    assert found == {label: digest for label, digest in recorded.items() if label in found}


@pytest.mark.parametrize("options", [QuantizeOptions(n_threads=1), QuantizeOptions(n_threads=3, max_buffer_mib=1)])
def test_threads_and_buffers_change_no_byte(
    options: QuantizeOptions, model: ModelSpec, store: Store, tmp_path: Path
) -> None:
    (plain,) = prepare.quantize(model, [quant("Q4_K_S")], store, folder=tmp_path / "plain")
    (other,) = prepare.quantize(model, [quant("Q4_K_S")], store, folder=tmp_path / "other", options=options)
    assert sha256(plain) == sha256(other)


def test_a_large_tensor_is_not_unpacked_whole(tmp_path: Path) -> None:
    """128 MiB of F16, twice that in 32 bits."""
    source = tmp_path / "wide-F16.gguf"
    writer = GGUFWriter(source, "llama")
    sources.add_keys(writer)
    for name, shape in (("token_embd.weight", (1 << 18, 256)), ("output.weight", (64, 256))):
        writer.add_tensor(name, np.zeros(shape, np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    script = (
        "from pathlib import Path; from gguf_bench.llama.quantize import plan, write, QuantizeOptions\n"
        "from gguf_bench.jobs.protocol import peak_rss_bytes\n"
        f"source, made, options = Path('{source}'), Path('{tmp_path}/made'), QuantizeOptions()\n"
        "planned = plan(source, 7, options, None, 1)\n"
        "print(peak_rss_bytes())\n"
        "write(source, made, 7, options, None, 1, lambda *_: None, planned)\n"
        "print(peak_rss_bytes())"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = map(int, found.stdout.splitlines()[-2:])
    assert after - before < 2**26


@pytest.mark.parametrize(
    "options",
    [
        QuantizeOptions(),
        QuantizeOptions(imatrix="imatrix.gguf"),
        QuantizeOptions(override_kv=(("general.name", "a text"), ("a", 1), ("b", 0.5), ("c", True))),
        QuantizeOptions(override_kv=(("llama.context_length", 77),)),
        QuantizeOptions(tensor_types=(("ffn_down", "Q8_0"),), output_tensor_type="F16"),
    ],
)
@pytest.mark.parametrize("source", ["moe-F16.gguf", "parts/moe-F16-00001-of-00002.gguf"])
def test_it_is_hashed_while_it_is_written(
    source: str, options: QuantizeOptions, folder: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it need not be read again."""
    monkeypatch.chdir(folder)
    gguf = prepare.known(folder / source, store)
    with Quantizer(gguf, options) as quantizer:
        quantizer.plan(quant("Q4_K_M"))
        quantizer.plan(quant("Q8_0"))
        for name in ("Q8_0", "Q4_K_M"):
            made = tmp_path / f"{name}.gguf"
            seen = quantizer.write(quant(name), [made])
            assert seen["sha256"] == sha256(made)
            assert described(seen, (made,), seen["sha256"], repo=None, commit=None) == describe((made,), sha256(made))


@pytest.mark.parametrize("options", [QuantizeOptions(keep_split=True), QuantizeOptions(prune_layers=(1,))])
def test_what_is_not_hashed_while_it_is_written_is_read_again(
    options: QuantizeOptions, folder: Path, store: Store, tmp_path: Path
) -> None:
    model = local(sorted((folder / "parts").glob("*.gguf"))[0])
    (path,) = prepare.quantize(model, [quant("Q8_0")], store, folder=tmp_path, options=options)
    shards = gguf_shards(path)
    assert [store.sha256([shard]) for shard in shards] == [sha256(shard) for shard in shards]


def test_an_imatrix_leaves_its_marks(
    model: ModelSpec, store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The four keys of llama-quantize, the path as it was typed and as long as llama.cpp's field."""
    monkeypatch.chdir(folder)
    typed = "./" * 70 + "imatrix.gguf"
    options = QuantizeOptions(imatrix=typed, exclude_weights=("attn", "ffn_gate"))
    (path,) = prepare.quantize(model, [quant("Q4_K_M")], store, folder=tmp_path, options=options)
    fields = {key: field.contents() for key, field in GGUFReader(path).fields.items() if key.startswith("quantize.")}
    assert fields == {
        "quantize.imatrix.file": typed[:127],
        "quantize.imatrix.dataset": "some releases.txt",
        "quantize.imatrix.entries_count": 2 * sources.N_LAYERS + 1,
        "quantize.imatrix.chunks_count": 7,
    }


# --- what is refused before work begins ---


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("--prune-layers 3", "has layers 0 to 2, so 3 cannot be pruned"),
        ("--prune-layers 0,1,2", "would leave moe-F16.gguf no layer"),
        ("--prune-layers 1-3", "is no list of layers"),
        ("--tensor-type attn_v", "is no PATTERN=TYPE"),
        ("--tensor-type =q8_0", "is no PATTERN=TYPE"),
        ("--tensor-type attn_v=q9_0", "is no type of a tensor"),
        ("--tensor-type attn_v=q8_K", "is no type of a tensor"),
        ("--tensor-type '(attn=q8_0'", "is no regular expression"),
        ("--output-tensor-type Q4_K_M", "is no type of a tensor"),
        ("--override-kv general.name=x", "is no KEY=TYPE:VALUE"),
        ("--override-kv general.name=text:x", "is no KEY=TYPE:VALUE"),
        ("--override-kv llama.context_length=int:5x", "int is a whole number from 0"),
        ("--override-kv llama.context_length=int:-5", "int is a whole number from 0"),
        ("--override-kv x=int:4294967296", "int is a whole number from 0"),
        ("--override-kv x=float:1_0", "float is a decimal number"),
        ("--override-kv x=bool:yes", "bool is true or false"),
        ("--override-kv x=str:" + "ä" * 64, "at most 127 bytes"),
        ("--override-kv " + "k" * 128 + "=bool:true", "longer than the 127 bytes"),
        ("--override-kv llama.context_length=str:long", "is of type int"),
        ("--leave-output-tensor --output-tensor-type q8_0", "contradict each other"),
        ("--imatrix imatrix.gguf --include-weights a --exclude-weights b", "cannot be used together"),
        ("--include-weights a", "none is given"),
        ("--imatrix none.gguf", "none.gguf"),
        ("--imatrix moe-F16.gguf", "imatrix"),
        ("--imatrix imatrix.gguf --include-weights nonsense", "no entry of imatrix.gguf is left"),
        ("--imatrix partial.gguf", "does not have"),
        ("--imatrix other.gguf", "it was computed on another model"),
        ("--imatrix infinite.gguf", "infinite.gguf"),
        ("", "needs an importance matrix; make one with `gguf-bench imatrix"),
        ("--token-embedding-type iq2_xxs --imatrix imatrix.gguf", "does not have"),
        ("--threads 0", "1"),
        ("--tensor-type-file none.txt", "none.txt"),
        ("--imatrix imatrix.gguf -q F16 --tensor-type attn_v=q8_0", "F16 leaves tensors unquantized"),
        ("--override-kv general.alignment=int:64", "a general.alignment of 64, but llama.cpp quantizes only by 32"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    typed: str, says: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    sources.write_imatrix(folder / "partial.gguf", without="blk.2.ffn_up")
    shapes = {name: (*shape[:-1], 512 if "attn_v" in name else shape[-1]) for name, shape in sources.SHAPES.items()}
    sources.write_imatrix(folder / "other.gguf", shapes)
    sources.write_imatrix(folder / "infinite.gguf", value=float("inf"))
    arguments = ["--db", str(tmp_path / "r.db"), "quantize", "./moe-F16.gguf", "-q", "IQ2_XXS", *shlex.split(typed)]
    refused = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "out")])
    assert refused.exit_code in (1, 2), refused.output
    assert refused.stderr.splitlines()[-1].startswith("Error: "), refused.stderr
    assert says in refused.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_rows_that_a_type_does_not_fit_are_refused_where_llama_cpp_has_no_fallback(
    smollm2: Path, store: Store, tmp_path: Path
) -> None:
    """ggml would end in a failed assertion: rows of SmolLM2 have 576 values."""
    options = QuantizeOptions(allow_requantize=True, token_embedding_type="Q4_K")
    with pytest.raises(QuantizeError, match=r"token_embd\.weight has rows of 576 values, but Q4_K packs them by 256"):
        prepare.quantize(local(smollm2), [quant("Q8_0")], store, folder=tmp_path, options=options)


def test_layers_with_a_key_each_cannot_be_pruned(tmp_path: Path) -> None:
    header = read_header(tiny_models.lfm2(tmp_path / "lfm2.gguf"))
    with pytest.raises(QuantizeError, match=r"lfm2\.attention\.head_count_kv of lfm2\.gguf has a value for each layer"):
        quantize_options.check(QuantizeOptions(prune_layers=(1,)), header)


def test_options_are_read_as_llama_quantize_reads_them(tmp_path: Path) -> None:
    assert quantize_options.tensor_type_pattern("Attn_V=iq4_NL") == ("attn_v", "IQ4_NL")
    assert quantize_options.kv_override("a=str:b=int:c") == ("a", "b=int:c")
    assert quantize_options.kv_override("a=float:-1.5e-3") == ("a", -0.0015)
    assert quantize_options.kv_override("a=bool:false") == ("a", False)
    assert quantize_options.layers("5,0,5") == (0, 5)
    path = tmp_path / "types.txt"
    path.write_text("attn_v=q8_0\n  ffn_up=Q4_K blk=f16\n")
    assert quantize_options.tensor_type_file(path) == [("attn_v", "Q8_0"), ("ffn_up", "Q4_K"), ("blk", "F16")]


def test_types_of_tensors_are_ggmls() -> None:
    libggml.ggml_type_name.restype, libggml.ggml_type_name.argtypes = ctypes.c_char_p, [ctypes.c_int]
    for name in quantize_options.TENSOR_TYPES:
        assert libggml.ggml_type_name(BLOCKS[name][0]).decode().upper() == name
    libggml.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    needing = {name for name in BLOCKS if libggml.ggml_quantize_requires_imatrix(BLOCKS[name][0])}
    assert needing == set(quantize_options.NEED_IMATRIX)


def test_patterns_of_nothing_are_told(model: ModelSpec, store: Store, tmp_path: Path) -> None:
    heard = Heard()
    patterns = map(quantize_options.tensor_type_pattern, ("attn_v=q8_0", "atn_k=q8_0", "[[:alpha:]]ttn_q=q8_0"))
    options = QuantizeOptions(tensor_types=tuple(patterns))
    prepare.planned_sizes(model, [quant("Q4_0")], store, options=options, progress=heard)
    assert heard.lines == ["note: no tensor's name has 'atn_k' in it"]


# --- several types, sizes, and what stays behind ---


def test_several_types_are_made_smallest_first_and_told_before(model: ModelSpec, store: Store, tmp_path: Path) -> None:
    heard = Heard()
    wanted = [quant(name) for name in ("Q8_0", "Q2_K", "Q4_K_M", "Q2_K")]
    paths = prepare.quantize(model, wanted, store, folder=tmp_path, progress=heard)
    assert [path.name for path in paths] == [f"moe-{one.name}.gguf" for one in wanted]
    assert heard.bars == ["quantize Q2_K", "quantize Q4_K_M", "quantize Q8_0"]
    told = [line for line in heard.lines if line.startswith("quantizing")]
    assert [line.split(":")[0].split()[-1] for line in told] == ["Q2_K", "Q4_K_M", "Q8_0"]
    assert "MiB" in told[0]
    assert "bits per weight" in told[0]


def test_planned_sizes_are_those_of_the_files(model: ModelSpec, folder: Path, store: Store, tmp_path: Path) -> None:
    """To the byte but for the key that llama.cpp adds: the version of its quantization."""
    for options in (QuantizeOptions(prune_layers=(2,), tensor_types=(("attn_v", "Q8_0"),)), QuantizeOptions()):
        planned = prepare.planned_sizes(model, [quant("Q6_K"), quant("IQ4_XS")], store, options=options)
        assert [one.name for one, _ in planned] == ["IQ4_XS", "Q6_K"]
        (path,) = prepare.quantize(model, [quant("IQ4_XS")], store, folder=tmp_path, options=options)
        size = planned[0][1]
        header = read_header(path)
        assert size.tensor_bytes == sum(tensor.size_bytes for tensor in header.tensors)
        assert abs(size.file_bytes - path.stat().st_size) < 4096
        assert sum(size.types.values()) == len(header.tensors)
        row = store.artifact(sha256(path))
        assert row is not None
        assert size.bits_per_weight == pytest.approx(row["bits_per_weight"])


def test_a_dry_run_writes_nothing(folder: Path, tmp_path: Path) -> None:
    arguments = ["--db", str(tmp_path / "r.db"), "quantize", str(folder / "moe-F16.gguf"), "-q", "Q8_0", "-q", "Q2_K"]
    shown = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "out"), "--dry-run", "--json"])
    assert [row["quant"] for row in json.loads(shown.stdout)] == ["Q2_K", "Q8_0"]
    assert not (tmp_path / "out").exists()
    table = CliRunner().invoke(cli, [*arguments, "--dry-run"]).stdout
    assert "Bits/w" in table


def test_one_disk_check_covers_all_types(
    model: ModelSpec, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would fit alone."""
    wanted = [quant("Q8_0"), quant("Q6_K")]
    sizes = [size.file_bytes for _, size in prepare.planned_sizes(model, wanted, store)]
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=max(sizes) + 1000))
    with pytest.raises(DiskSpaceError, match="Q6_K and Q8_0 needs"):
        prepare.quantize(model, wanted, store, folder=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_half_written_is_left_when_llama_cpp_fails(
    model: ModelSpec, folder: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A weight that is not a number fails in the midst of the work."""
    broken = tmp_path / "broken-F16.gguf"
    data = bytearray((folder / "moe-F16.gguf").read_bytes())
    data[-2:] = b"\xff\x7f"
    broken.write_bytes(data)
    out = tmp_path / "out"
    with pytest.raises(QuantizeError, match="cannot quantize broken-F16"):
        prepare.quantize(local(broken), [quant("Q8_0"), quant("Q4_K_M")], store, folder=out)
    assert list(out.iterdir()) == []


def tiny(path: Path, tensors: dict[str, tuple[np.ndarray, GGMLQuantizationType | None]]) -> Path:
    """A model of no layers, as llama.cpp's dry run takes it, with these tensors besides its own."""
    writer = GGUFWriter(path, "llama")
    sources.add_keys(writer)
    writer.add_file_type(1)
    own = {name: (np.ones((64, 256), np.float16), None) for name in ("token_embd.weight", "output.weight")}
    for name, (array, raw_type) in {**own, **tensors}.items():
        writer.add_tensor(name, array, raw_dtype=raw_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def made_by_plan(source: Path, options: QuantizeOptions, name: str = "Q4_0") -> tuple[Path, str | None]:
    """What is written, and the sha256 that came of it where it was packed piece by piece."""
    target, file_type = source.with_name(f"{name}.gguf"), quant(name).file_type
    planned = llama_quantize.plan(source, file_type, options, None, 1)
    return target, llama_quantize.write(source, target, file_type, options, None, 1, lambda *_: None, planned)


def test_a_tensor_that_is_quantized_already_is_not_quantized_again_unasked(tmp_path: Path) -> None:
    """The type of the file says F16, as of one whose experts were published in 4 bits."""
    q8_0 = quantize_rows(np.ones((8, 256), np.float32), GGMLQuantizationType.Q8_0)
    source = tiny(tmp_path / "mixed-F16.gguf", {"blk.0.ffn_up.weight": (q8_0, GGMLQuantizationType.Q8_0)})
    with pytest.raises(QuantizeError, match=r"blk\.0\.ffn_up\.weight is Q8_0 already.*--allow-requantize"):
        made_by_plan(source, QuantizeOptions())
    kept, _ = made_by_plan(source, QuantizeOptions(), "Q8_0")
    made, _ = made_by_plan(source, QuantizeOptions(allow_requantize=True))
    types = [{tensor.name: tensor.type for tensor in read_header(path).tensors} for path in (kept, made)]
    assert [each["blk.0.ffn_up.weight"] for each in types] == ["Q8_0", "Q4_0"]


def test_a_tensor_of_four_dimensions_is_refused(tmp_path: Path) -> None:
    """llama.cpp would quantize a part of it, and end in a failed assertion."""
    source = tiny(tmp_path / "x-F16.gguf", {"blk.0.ffn_up.weight": (np.ones((2, 3, 4, 256), np.float16), None)})
    with pytest.raises(QuantizeError, match=r"is of shape \(256, 4, 3, 2\), which llama\.cpp does not quantize"):
        made_by_plan(source, QuantizeOptions())


@pytest.mark.parametrize("name", ["odd\nname.weight", "odd ", "ödd.weight"])
def test_names_that_are_not_as_llama_cpp_logs_them_are_left_to_it(name: str, tmp_path: Path) -> None:
    source = tiny(tmp_path / "odd-F16.gguf", {name: (np.ones((4, 256), np.float16), None)})
    made, digest = made_by_plan(source, QuantizeOptions())
    assert {tensor.name for tensor in GGUFReader(made).tensors} == {"token_embd.weight", "output.weight", name}
    assert digest == (sha256(made) if name.startswith("ö") else None)


def test_parts_get_their_names_together(folder: Path, store: Store, tmp_path: Path) -> None:
    first = folder / "parts" / "moe-F16-00001-of-00002.gguf"
    options = QuantizeOptions(keep_split=True)
    (path,) = prepare.quantize(local(first), [quant("Q4_0")], store, folder=tmp_path / "out", options=options)
    assert path.name == "moe-Q4_0-00001-of-00002.gguf"
    assert sorted(found.name for found in path.parent.iterdir()) == [shard.name for shard in gguf_shards(path)]


# --- what the store knows ---


def test_the_store_has_the_recipe(
    model: ModelSpec, folder: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    options = QuantizeOptions(imatrix="imatrix.gguf", tensor_types=(("attn_v", "Q8_0"),), n_threads=2)
    (path,) = prepare.quantize(model, [quant("IQ2_XS")], store, folder=tmp_path, options=options)
    file, source = provenance.chain(str(path), store)
    assert file.made_by == "quantized"
    assert file.made_with == {
        "llama_cpp_python": version("llama-cpp-python"),
        "llama_cpp": llama_cpp.llama_version().decode(),
        "gguf_bench": version("gguf-bench"),
        "requantized_from": None,
        "type": "IQ2_XS",
        "options": {"imatrix": "imatrix.gguf", "tensor_types": [["attn_v", "Q8_0"]]},
        "imatrix_sha256": sha256(folder / "imatrix.gguf"),
        "imatrix_chunks": 7,
        "imatrix_entries": 7 * sources.N_LAYERS + 1,
        "calibration": ["some releases.txt", "others.txt"],
    }
    assert source.sha256 == sha256(folder / "moe-F16.gguf")
    assert source.made_by == "found"


def test_what_is_quantized_again_is_marked(model: ModelSpec, store: Store, tmp_path: Path) -> None:
    (once,) = prepare.quantize(model, [quant("Q8_0")], store, folder=tmp_path)
    with pytest.raises(QuantizeError, match="--allow-requantize"):
        prepare.quantize(local(once), [quant("Q4_0")], store, folder=tmp_path)
    options = QuantizeOptions(allow_requantize=True)
    (twice,) = prepare.quantize(local(once), [quant("Q4_0")], store, folder=tmp_path, options=options)
    chain = provenance.chain(str(twice), store)
    assert [step.quant for step in chain] == ["Q4_0", "Q8_0", "F16"]
    assert chain[0].made_with["requantized_from"] == "Q8_0"
    assert chain[1].made_with["requantized_from"] is None


def test_options_have_a_place_of_their_own_in_the_cache(
    model: ModelSpec, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a file made otherwise is never taken for one made plainly; an imatrix counts by its content."""
    monkeypatch.chdir(folder)
    sources.write_imatrix(folder / "mine.gguf")

    def made(options: QuantizeOptions) -> Path:
        return prepare.quantize(model, [quant("Q4_0")], store, options=options)[0]

    plain, pure = made(QuantizeOptions()), made(QuantizeOptions(pure=True))
    assert plain != pure
    assert sha256(plain) != sha256(pure)
    assert made(QuantizeOptions(n_threads=1)) == plain
    weighed = made(QuantizeOptions(imatrix="mine.gguf"))
    sources.write_imatrix(folder / "mine.gguf", without="attn_q")
    assert made(QuantizeOptions(imatrix="mine.gguf")) not in (plain, weighed)


def test_a_disk_that_fills_up_meanwhile_is_named(
    model: ModelSpec, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp says no more than `iostream error`."""
    monkeypatch.setattr(prepare, "require_free_space", lambda *_: None)
    try:
        with small_disk(64 * 1024) as disk:
            with pytest.raises(
                QuantizeError, match=r"cannot be written to its end: 0\.00 GB are free on .*; free some"
            ):
                prepare.quantize(model, [quant("Q8_0")], store, folder=disk)
            assert list(disk.iterdir()) == []
    except NotHere as why:
        pytest.skip(str(why))


def test_why_a_file_cannot_be_written_is_told(folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files, which no more room on the disk would lift."""
    command = [sys.executable, "-m", "gguf_bench", "--db", tmp_path / "r.db", "quantize", folder / "moe-F16.gguf"]
    limit = 2**19  # the store has room, the file has not
    refused = subprocess.run(
        [*map(str, command), "-q", "Q8_0", "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert refused.returncode == 1, refused.stderr
    path = tmp_path / "out" / "moe-Q8_0.gguf"
    assert refused.stderr.splitlines()[-1] == f"Error: {path} cannot be written: File too large"
    assert list(path.parent.iterdir()) == []


def test_threads_that_cannot_be_started_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    with pytest.raises(QuantizeError, match="5 threads cannot be started; say --threads 1"):
        made_by_plan(tiny(tmp_path / "x-F16.gguf", {}), QuantizeOptions(n_threads=5))


def test_a_full_disk_is_named_by_a_conversion_too(tmp_path: Path) -> None:
    checkpoint = Checkpoint(folder=write_checkpoint(tmp_path, Variant()))
    try:
        with small_disk(64 * 1024) as disk:
            with pytest.raises(
                CheckpointError, match=r"cannot be written \(No space left on device\).*; free some space"
            ):
                convert.convert(checkpoint, disk / "x.gguf")
            assert list(disk.iterdir()) == []
    except NotHere as why:
        pytest.skip(str(why))


@pytest.mark.parametrize("damage", ["cut short", "other bytes"])
def test_what_was_damaged_in_the_cache_is_made_again(model: ModelSpec, store: Store, damage: str) -> None:
    (path,) = prepare.quantize(model, [quant("Q4_0")], store)
    content = path.read_bytes()
    path.write_bytes(content[:-4096] if damage == "cut short" else content[:-4096] + bytes(4096))
    heard = Heard()
    assert prepare.quantize(model, [quant("Q4_0")], store, progress=heard) == [path]
    assert path.read_bytes() == content
    assert heard.lines[0] == f"{path} is damaged: it is not what was made, and is made again"


def test_what_cannot_be_read_in_the_cache_is_to_be_removed(model: ModelSpec, store: Store, tmp_path: Path) -> None:
    """Where the store does not know what it held."""
    (path,) = prepare.quantize(model, [quant("Q4_0")], store)
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(ModelError, match=r"cannot load it.*; remove .*-Q4_0\.gguf: it is made again"):
        prepare.quantize(model, [quant("Q4_0")], Store(tmp_path / "other.db"))


def test_a_part_that_was_lost_from_the_cache_is_made_again(folder: Path, store: Store) -> None:
    model, options = local(folder / "parts" / "moe-F16-00001-of-00002.gguf"), QuantizeOptions(keep_split=True)
    (first,) = prepare.quantize(model, [quant("Q4_0")], store, options=options)
    second = first.with_name(first.name.replace("00001-of", "00002-of"))
    content = second.read_bytes()
    second.unlink()
    prepare.quantize(model, [quant("Q4_0")], store, options=options)
    assert second.read_bytes() == content


def test_a_source_that_is_changed_meanwhile_is_no_source(
    folder: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made of it would be kept as the other's for ever."""
    path, plan, start = (
        shutil.copy(folder / "moe-F16.gguf", tmp_path / "m-F16.gguf"),
        Quantizer.plan,
        Quantizer.__init__,
    )

    def change() -> None:
        with path.open("ab") as file:
            file.write(b"x")

    def late(quantizer: Quantizer, wanted: Quant) -> QuantizedSize:
        change()
        return plan(quantizer, wanted)

    def early(quantizer: Quantizer, *arguments: Any) -> None:
        change()
        start(quantizer, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Quantizer, "plan", late)
        with pytest.raises(QuantizeError, match=r"m-F16\.gguf was changed while it was read"):
            prepare.quantize(local(path), [quant("Q4_0")], store, folder=tmp_path / "out")
    monkeypatch.setattr(Quantizer, "__init__", early)
    with pytest.raises(QuantizeError, match="was changed just now"):
        prepare.quantize(local(path), [quant("Q4_0")], store, folder=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_in_the_place_of_a_file_is_told_before(model: ModelSpec, store: Store, tmp_path: Path) -> None:
    (tmp_path / "moe-Q4_0.gguf").mkdir()
    heard = Heard()
    with pytest.raises(QuantizeError, match=r"moe-Q4_0\.gguf is a folder"):
        prepare.quantize(model, [quant("Q4_0")], store, folder=tmp_path, progress=heard)
    assert heard.bars == []


def test_another_version_of_ours_made_the_same_file(
    model: ModelSpec, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = prepare.quantize(model, [quant("Q4_0")], store, folder=tmp_path)
    give_scores(store, sha256(path))
    monkeypatch.setattr(prepare, "version", lambda package: "99.0")
    assert prepare.quantize(model, [quant("Q4_0")], store, folder=tmp_path) == [path]


@pytest.mark.parametrize(("first", "expected"), [("--tensor-type-file", "Q8_0"), ("--tensor-type", "Q5_1")])
def test_the_option_given_first_counts_first(first: str, expected: str, folder: Path, tmp_path: Path) -> None:
    """As llama-quantize takes them."""
    (tmp_path / "types.txt").write_text("attn_v=q8_0")
    said = {"--tensor-type-file": str(tmp_path / "types.txt"), "--tensor-type": "attn_v=q5_1"}
    order = sorted(said, key=lambda name: name != first)
    arguments = ["--db", str(tmp_path / "r.db"), "quantize", str(folder / "moe-F16.gguf"), "-q", "Q4_0", "-o"]
    options = [word for name in order for word in (name, said[name])]
    done = CliRunner().invoke(cli, [*arguments, str(tmp_path / "out"), *options])
    assert done.exit_code == 0, done.output
    types = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(done.stdout.strip()).tensors}
    assert types["blk.0.attn_v.weight"] == expected


def test_what_is_there_already_is_not_made_again(model: ModelSpec, store: Store, tmp_path: Path) -> None:
    wanted = [quant("Q4_0")]
    (path,) = prepare.quantize(model, wanted, store, folder=tmp_path)
    before = path.stat().st_mtime_ns
    heard = Heard()
    prepare.quantize(model, wanted, store, folder=tmp_path, progress=heard)
    assert heard.bars == []
    assert path.stat().st_mtime_ns == before
    prepare.quantize(model, wanted, store, folder=tmp_path, options=QuantizeOptions(pure=True), progress=heard)
    assert heard.bars == ["quantize Q4_0"]


def test_a_file_with_scores_is_not_replaced(model: ModelSpec, store: Store, tmp_path: Path) -> None:
    wanted = [quant("Q4_0")]
    (path,) = prepare.quantize(model, wanted, store, folder=tmp_path)
    before = sha256(path)
    give_scores(store, before)
    with pytest.raises(QuantizeError, match=r"moe-Q4_0\.gguf has scores \(run 1\).*move it away"):
        prepare.quantize(model, wanted, store, folder=tmp_path, options=QuantizeOptions(pure=True))
    assert sha256(path) == before
    assert prepare.quantize(model, wanted, store, folder=tmp_path) == [path]


def give_scores(store: Store, file_sha256: str) -> None:
    """A run that has an answer of the file."""
    (contender,) = store.contenders(a_run(store))
    store.set_contender(contender["id"], file_sha256=file_sha256)
    store.save_answer(contender["id"], an_answer(), SCORE)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.gguf", "neither a file nor 6 or more digits"),
        ("abcde", "neither a file nor 6 or more digits"),
        ("abcdef", "no file has a sha256 that begins with abcdef"),
    ],
)
def test_files_that_the_store_does_not_know(name: str, says: str, store: Store) -> None:
    with pytest.raises(StoreError, match=says):
        provenance.chain(name, store)


def test_a_sha256_names_a_file_by_its_beginning(store: Store) -> None:
    for number in "12":
        store.save_artifact(dataclasses.replace(GGUF, sha256=f"abcdef{number}"), made_by="found", made_with={})
    assert [step.sha256 for step in provenance.chain("ABCDEF1", store)] == ["abcdef1"]
    with pytest.raises(StoreError, match="2 files have a sha256 that begins with abcdef; give more of it"):
        provenance.chain("abcdef", store)


def test_a_conversion_does_not_replace_a_file_with_scores(store: Store, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path, Variant())
    target = tmp_path / "model.gguf"
    prepare.convert(local(checkpoint), store, "f16", target)
    prepare.convert(local(checkpoint), store, "f32", target)  # nothing is lost yet
    (step,) = provenance.chain(str(target), store)
    assert step.made_with == {
        "converter": f"gguf-bench {version('gguf-bench')}",
        "outtype": "f32",
        "checkpoint": str(checkpoint),
    }
    give_scores(store, step.sha256)
    with pytest.raises(QuantizeError, match=r"model\.gguf has scores \(run 1\)"):
        prepare.convert(local(checkpoint), store, "f16", target)
    assert sha256(target) == step.sha256


def test_results_show_prints_the_chain_down_to_the_checkpoint(store: Store, tmp_path: Path) -> None:
    source = dataclasses.replace(GGUF, sha256="a" * 64, path=Path("/models/m-BF16.gguf"), repo="org/m", commit="c" * 40)
    file = dataclasses.replace(source, sha256="b" * 64, path=Path("/models/m-Q2_K.gguf"), quant="Q2_K")
    store.save_artifact(source, made_by="converted", made_with={"converter": "gguf-bench 1", "outtype": "bf16"})
    options = {"pure": True, "prune_layers": [1, 2]}
    made_with = {"llama_cpp": "9", "requantized_from": None, "options": options}
    store.save_artifact(file, made_by="quantized", made_with=made_with, parent_sha256=source.sha256)
    give_scores(store, file.sha256)
    show = ["--db", str(tmp_path / "results.db"), "results", "show", "bbbbbb"]
    lines = CliRunner().invoke(cli, show).stdout.splitlines()
    shown = [line for line in lines if not line.startswith(("  quantized on", "  converted on", "  is:"))]
    assert shown == [
        "/models/m-Q2_K.gguf",
        f"  sha256: {'b' * 64}",
        f"  source: org/m@{'c' * 40}",
        "  scores: run 1",
        "  llama cpp: 9",
        '  options: {"pure": true, "prune_layers": [1, 2]}',
        "from /models/m-BF16.gguf",
        f"  sha256: {'a' * 64}",
        f"  source: org/m@{'c' * 40}",
        "  converter: gguf-bench 1",
        "  outtype: bf16",
    ]
    chain = json.loads(CliRunner().invoke(cli, [*show, "--json"]).stdout)
    assert [(step["sha256"][0], step["made_by"], step["runs"]) for step in chain] == [
        ("b", "quantized", [1]),
        ("a", "converted", []),
    ]
    assert chain[0]["made_with"] == made_with
    unknown = CliRunner().invoke(cli, [*show[:-1], "dddddd"])
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: no file has a sha256 that begins with dddddd\n")


def test_a_file_that_was_only_found_gets_its_history(model: ModelSpec, store: Store, tmp_path: Path) -> None:
    """As of one that llama-quantize had made, and that was compared, before it is made here."""
    (path,) = prepare.quantize(model, [quant("Q4_0")], Store(tmp_path / "another.db"), folder=tmp_path)
    options = QuantizeOptions(allow_requantize=True)
    found = prepare.planned_sizes(local(path), [quant("Q4_0")], store, options=options)
    assert found
    assert [step.made_by for step in provenance.chain(str(path), store)] == ["found"]
    prepare.quantize(model, [quant("Q4_0")], store, folder=tmp_path)
    assert [step.made_by for step in provenance.chain(str(path), store)] == ["quantized", "found"]
