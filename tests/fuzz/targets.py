"""The targets: everything that reads what a stranger wrote, but for what runs in a process of its own (chat templates,
PDFs), of which a case would take a process each.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors

from converters.safetensors_file import read_header as read_safetensors
from converters.torch_bin import read_bin
from gguf_bench import dataset, filing_text, imatrix_file, tiny_gguf
from gguf_bench.catalog import find_mistakes, load_catalog, shipped_catalog
from gguf_bench.errors import CatalogError
from gguf_bench.gguf_header import CacheShape, read_header
from gguf_bench.records import FIELDS
from gguf_bench.score import parse, score_output
from tests import test_dataset_import, test_parse
from tests.converters.test_checkpoint import DEEP, DOUBLED, GOOD, dictionary, storage, tensor, text
from tests.fuzz.checkpoint import ODD_YAML, Checkpoints
from tests.fuzz.damage import as_bin, as_json, as_safetensors, damage_bytes, zipped
from tests.fuzz.target import Case, Finding, Target
from tests.test_imatrix import dat, some_imatrix
from tests.tiny import write_safetensors, write_torch_bin

Damage = Callable[[bytes, random.Random], tuple[str, bytes]]
Read = Callable[[Path], bool]

MAX_GROWN_BYTES = 200_000


def grown(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    """A stretch of it repeated without measure: what takes more than linear time or memory shows."""
    start, size = dice.randrange(len(data) + 1), dice.choice((1, 2, 5, 20, 100))
    stretch = data[start : start + size] or b"["
    return "grow", data[:start] + stretch * (dice.choice((1000, 20_000, MAX_GROWN_BYTES)) // len(stretch)) + data[
        start:
    ]


NUMBERS = (0, 1, 2, 3, 255, 256, 2**15, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def numbers(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    """Numbers of four or eight bytes put where there may be some: the counts, lengths and offsets of binary files."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4))):
        size = dice.choice((4, 8))
        places = [
            i for i in range(len(data) - size) if not any(data[i + 2 : i + size])
        ]  # small ones: what real ones are
        at = dice.choice(places or [0])
        changed[at : at + size] = (dice.choice(NUMBERS) % 2 ** (8 * size)).to_bytes(size, "little")
    return "numbers", bytes(changed)


class Files:
    """Seeds, each damaged in one of `ways`; a case is read from a file by `read`."""

    def __init__(self, folder: Path, seeds: Mapping[str, bytes], ways: Sequence[Damage], read: Read) -> None:
        self._folder, self._seeds, self._ways, self._read = folder, seeds, ways, read

    def case(self, n: int) -> Case:
        name = list(self._seeds)[n % len(self._seeds)]
        dice = random.Random(f"{name} {n}")
        how, content = dice.choice(self._ways)(self._seeds[name], dice)
        return Case(name, how, content)

    def check(self, case: Case) -> bool:
        path = self._folder / case.name
        path.write_bytes(case.content)
        return self._read(path)


# --- checkpoints ---


def _arrays() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    values = np.arange(24, dtype=np.float32)
    return {
        "a.weight": values.reshape(4, 6),
        "b.weight": values.reshape(2, 3, 4),
        "c.bias": values[:0],
        "d": values[:1],
    }


def _safetensors(folder: Path) -> Files:
    write_safetensors(folder / "model.safetensors", _arrays(), dtypes={"d": "float32"})
    seeds = {"model.safetensors": (folder / "model.safetensors").read_bytes()}
    return Files(folder, seeds, (as_safetensors, as_safetensors, damage_bytes, numbers, grown), _read_safetensors)


def _read_safetensors(path: Path) -> bool:
    """What is accepted, the format's own library accepts too, and it says the same of it."""
    ours = {tensor.name: list(tensor.shape) for tensor in read_safetensors(path)}
    try:
        theirs = {name: list(told["shape"]) for name, told in safetensors.deserialize(path.read_bytes())}
    except Exception as error:
        raise Finding(f"accepted, but safetensors says {str(error)[:300]}") from error
    if ours != theirs:
        raise Finding(f"{ours}, but safetensors has {theirs}")
    return True


PIECES = (
    GOOD[:-1], DEEP[:50], DOUBLED[:400], storage(), storage("HalfStorage"), storage(n_values=b"J\xff\xff\xff\x7f"),
    storage(key=text("../0")), tensor(b"K\x04\x85", b"K\x01\x85"), tensor(b"K\x02K\x02\x86", b"K\x02K\x01\x86"),
    tensor(b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85", b"K\x01\x85"), tensor(b")", b")"), dictionary(b"N")[:-1],
    text("a"), text("x" * 300), b"}", b"]", b")", b"(", b"\x85", b"\x86", b"\x87", b"t", b"s", b"u", b"a", b"e", b"b",
    b"R", b"Q", b"q\x00", b"h\x00", b"r\xff\xff\xff\xff", b"j\xff\xff\xff\xff", b"N", b"\x88", b"K\x00", b"\x94",
    b"0", b"cos\nsystem\n", b"cbuiltins\neval\n", b"ctorch\nload\n", b"ccollections\nOrderedDict\n", b"\x93", b"\x81",
    b"\x92", b"i", b"o", b"l", b"d", b"2", b"1", b"P1\n", b"\x82\x01", b"L9999L\n", b"I01\n", b"F1e999\n", b".",
    b"\x80\x05",
)  # fmt: skip


def _program(_data: bytes, dice: random.Random) -> tuple[str, bytes]:
    """A pickle of pieces in any order, in an archive that is sound."""
    program = b"".join(dice.choices(PIECES, k=dice.choice((1, 3, 10, 30)))) * dice.choice((1, 1, 1, 50)) + b"."
    prefix = dice.choice((b"\x80\x02", b"\x80\x02}", b""))
    return "program", zipped({"x/data.pkl": prefix + program, "x/data/0": bytes(16), "x/byteorder": b"little"})


def _pickle(folder: Path) -> Files:
    path = folder / "pytorch_model.bin"
    write_torch_bin(path, _arrays())
    return Files(folder, {path.name: path.read_bytes()}, (as_bin, as_bin, damage_bytes, _program, _program), _read_bin)


def _read_bin(path: Path) -> bool:
    for each in read_bin(path):
        each.load()
    return True


# --- GGUF ---


def _headers(folder: Path) -> dict[str, bytes]:
    """The small model's header and data, and a file that is nothing but keys of every type."""
    return {
        "tiny.gguf": tiny_gguf.write(folder / "tiny.gguf").read_bytes(),
        "keys.gguf": b"GGUF" + struct.pack("<IQQ", 3, 0, 6)
        + b"".join(
            struct.pack("<Q", len(key)) + key + value
            for key, value in {
                b"general.architecture": struct.pack("<IQ", 8, 5) + b"llama",
                b"llama.block_count": struct.pack("<II", 4, 2),
                b"a": struct.pack("<IIQ", 9, 8, 2) + struct.pack("<Q", 1) + b"x" + struct.pack("<Q", 0),
                b"b": struct.pack("<IIQ", 9, 4, 3) + bytes(12),
                b"c": struct.pack("<Id", 12, 1.5),
                b"d": struct.pack("<IB", 7, 1),
            }.items()
        ),
    }  # fmt: skip


def _only_header(damage: Damage) -> Damage:
    """Damage to what comes before the values: most of a file is values, in which no damage shows."""

    def damaged(data: bytes, dice: random.Random) -> tuple[str, bytes]:
        end = min(len(data), 2000)
        how, head = damage(data[:end], dice)
        return how, head + data[end:]

    return damaged


HEADER_WAYS = tuple(map(_only_header, (damage_bytes, numbers, numbers, grown)))


def _gguf(folder: Path) -> Files:
    return Files(folder, _headers(folder), HEADER_WAYS, _read_gguf)


def _read_gguf(path: Path) -> bool:
    header = read_header(path)
    if len(header.cache_bytes(CacheShape(n_ctx=4096))) != header.n_layers or len(header.layer_bytes) != header.n_layers:
        raise Finding("not as many caches as layers")
    if header.output_bytes < 0 or not header.shape_key or header.n_vocab < 0:
        raise Finding("sizes below 0")
    return True


def _llama(folder: Path) -> Files:
    from gguf_bench.jobs.inspect import facts  # it starts llama.cpp's backends

    def read(path: Path) -> bool:
        return bool(facts(path))

    return Files(folder, _headers(folder), HEADER_WAYS, read)


def _imatrix(folder: Path) -> Files:
    imatrix_file.write(some_imatrix(), folder / "imatrix.gguf")
    seeds = {"imatrix.gguf": (folder / "imatrix.gguf").read_bytes(), "imatrix.dat": dat()}
    return Files(folder, seeds, (damage_bytes, numbers, numbers, grown), _read_imatrix)


def _read_imatrix(path: Path) -> bool:
    weights = imatrix_file.read(path).weights()
    if not weights or not all(np.isfinite(values).all() for values in weights.values()):
        raise Finding("weights that are no numbers")
    return True


# --- text ---


def _documents() -> bytes:
    document = {
        "id": "d1", "company": "Quellmark Inc.", "period": "Q2 2024", "text": "Basic EPS was $0.57.",
        "gold": {"basic": "0.57", "diluted": 0.55, "adjusted": None}, "traps": {"basic_py": "-0.12"},
        "tags": ["loss"], "tier": "plain", "source": {"url": "https://example.com", "n": 1.50},
    }  # fmt: skip
    return json.dumps(document).encode()


def _some_lines(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    """Sound lines around a damaged one."""
    way = dice.choice((as_json, as_json, damage_bytes))
    how, line = way(data, dice)
    other = data.replace(b'"d1"', b'"d2"')
    return how, dice.choice((b"\n", b"\r\n", b"\n\n")).join(
        dice.choice(([line], [line, other], [other, line], [line] * 2))
    )


def _dataset(folder: Path) -> Files:
    return Files(folder, {"releases.jsonl": _documents()}, (_some_lines, _some_lines, grown), _read_dataset)


def _read_dataset(path: Path) -> bool:
    found = dataset.load(str(path))
    for document in dataset.limit(found, 1).documents:
        score_output('{"basic": 0.57, "diluted": -0.12, "adjusted": null}', document)
        json.dumps([document.id, document.text, document.tags, document.company, document.period]).encode()
    return True


CATALOG = b"""\
stock: &stock
  mistral_7b: {name: mistralai/Mistral-7B-v0.1, quantization: 4bit, parameters: 7B}
  own: &own {provider: file, file: models/own.gguf, context: 4096}
  served: {provider: openai, base_url: "http://127.0.0.1:8080/v1", model: m, api_key_env: MY_KEY, concurrency: 2}
more:
  - mistral_7b
  - own
thinking:
  qwen: {name: Qwen/Qwen3-0.6B, template_kwargs: {enable_thinking: false, a: [1, 2.5, null, {b: c}]}, gated: true}
  again:
    name: org/name
    revision: main
    file: x-Q4_K_M.gguf
"""
PIECES_OF_YAML = (
    "&a", "*a", "*stock", "*own", "<<: *own", "<<: [*own, *own]", "!!python/object/apply:os.system [ls]",
    "!!binary aaaa", "!!set {a}", "name: ../../etc", "file: /dev/zero", "name: a/b", "? [a]", ": b", "- x", "{", "}",
    "[", "]", "|", ">", "'", '"', "\t", "#", "---", "...", "%YAML 1.1", "1e999", ".nan", "0x7f", "1:59:59",
    "2024-01-01", "~", "yes", "\ufeff", "\u2028", "\x07", "quantization: Q9_X", "context: 99999999999999999999",
    "provider: package", "  ", "      ", "",
)  # fmt: skip


def _lines_of_yaml(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    lines = data.decode("utf-8", "replace").splitlines() or [""]
    for _ in range(dice.choice((1, 1, 2, 5))):
        at = dice.randrange(len(lines))
        line, piece = lines[at], dice.choice((*PIECES_OF_YAML, *ODD_YAML))
        place = dice.randrange(len(line) + 1)
        lines[at : at + 1] = dice.choice(
            (
                [piece],
                [line, piece],
                [line[:place] + piece + line[place:]],
                [line[:place] + piece],
                [line, line],
                [" " + line],
                [],
            )
        ) or [""]
    return "lines", "\n".join(lines).encode("utf-8", "surrogatepass")


def _models(folder: Path) -> Files:
    seeds = {"models.yaml": CATALOG, "shipped.yaml": shipped_catalog().read_bytes()}
    return Files(folder, seeds, (_lines_of_yaml, _lines_of_yaml, _lines_of_yaml, damage_bytes, grown), _read_models)


def _read_models(path: Path) -> bool:
    mistakes = find_mistakes(path)
    if bad := [str(mistake) for mistake in mistakes if len(str(mistake).splitlines()) != 1]:
        raise Finding(f"a message of several lines: {bad[0]!r}")
    try:
        load_catalog(path)
    except CatalogError:
        if not mistakes:
            raise Finding("refused, but no mistake is told") from None
        raise
    if mistakes:
        raise Finding(f"loaded in spite of {mistakes[0]}")
    return True


class Answers:
    """What models write, as text: cases of the parser, changed, and noise."""

    def __init__(self, folder: Path) -> None:
        self._document = dataset.load(dataset.DEFAULT_DATASET).documents[0]

    def case(self, n: int) -> Case:
        dice = random.Random(f"answer {n}")
        how = dice.choice(("mutated", "mutated", "mutated", "noise", "grow"))
        output = dice.choice(test_parse.OUTPUTS)
        if how == "noise":
            output = "".join(dice.choices(test_parse.PIECES, k=dice.choice((5, 30, 200))))
        elif how == "mutated":
            output = test_parse.mutated(output, dice)
        else:
            stretch = "".join(dice.choices(test_parse.PIECES, k=dice.choice((1, 2, 3))))
            at = dice.randrange(len(output) + 1)
            output = output[:at] + stretch * (20_000 // len(stretch)) + output[at:]
        return Case("answer.txt", how, output.encode("utf-8", "surrogatepass"))

    def check(self, case: Case) -> bool:
        output = case.content.decode("utf-8", "surrogatepass")
        found, score = parse(output), score_output(output, self._document)
        if (found is None) != (score.status == "unparseable") or not 0 <= score.value <= 1:
            raise Finding(f"parsed {found}, scored {score}")
        if found is not None and (
            list(found) != list(FIELDS) or any(f is not None and not f.is_finite() for f in found.values())
        ):
            raise Finding(f"parsed {found}")
        return found is not None


def _filings(folder: Path) -> Files:
    pages = {f"{i}.html": page.encode() for i, (page, _) in enumerate(test_dataset_import.PAGES.values())}
    plain = {"plain.txt": b"".join(b"%s .....   $ (0.57)   $ 0.12\n\n" % name for name in (b"Basic", b"Diluted"))}
    return Files(folder, pages | plain, (_tags, _tags, damage_bytes, grown), _read_filing)


TAGS = (
    b"<table>", b"</table>", b"<tr>", b"</tr>", b"<td>", b"</td>", b"<td rowspan=65000>", b"<td colspan=100000>",
    b"<sup>", b"</sup>", b"<div hidden>", b"<pre>", b"</pre>", b"<ix:header>", b"<!--", b"-->", b"<![CDATA[", b"]]>",
    b"<script>", b"&#0;", b"&#x110000;", b"&amp;" * 9, b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<meta charset=utf-16>",
    b"\0", b"\xff\xfe", b"<DOCUMENT>", b"<TYPE>EX-99.1", b"<TEXT>", b"</TEXT>", b"\xc3\xa2\xe2\x82\xac", b"$", b"(",
    b"0.57", b"<" * 99,
)  # fmt: skip


def _tags(data: bytes, dice: random.Random) -> tuple[str, bytes]:
    for _ in range(dice.choice((1, 2, 5, 20))):
        at = dice.randrange(len(data) + 1)
        data = data[:at] + dice.choice(TAGS) * dice.choice((1, 1, 1, 40)) + data[at:]
    return "tags", data


def _read_filing(path: Path) -> bool:
    data = path.read_bytes()
    found = filing_text.filing_text(data.replace(b"%PDF-", b""))
    if any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in found):
        raise Finding("control characters in the text")
    if len(found) > 20 * len(data) + 1000:
        raise Finding(f"{len(found)} characters out of {len(data)} bytes")
    return True


TARGETS: Mapping[str, Target] = {
    "checkpoint": Target(Checkpoints),
    "safetensors": Target(_safetensors),
    "pickle": Target(_pickle),
    "gguf": Target(_gguf),
    "llama.cpp": Target(_llama, contained=True),
    "imatrix": Target(_imatrix),
    "dataset": Target(_dataset),
    "models.yaml": Target(_models),
    "answer": Target(Answers),
    "filing": Target(_filings),
}
