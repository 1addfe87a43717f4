"""Weight files: what PyTorch saved is read to the bit, and no file makes the reader run code, hang or eat memory."""

from __future__ import annotations

import json
import os
import pickle
import socket
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import CheckpointFileError, ConversionError, UnsafePickle
from converters.checkpoint import read_config, read_tensors
from converters.errors import MAX_MESSAGE, TensorError
from converters.tensor import Array
from converters.torch_bin import MAX_DIRECTORY_BYTES, MAX_PICKLE_BYTES, STORAGES, _rebuild_tensor, read_bin
from tests.converters.variants import HERE, VARIANTS, write_checkpoint
from tests.tiny import write_torch_bin

BASE = np.arange(24, dtype="<f4").reshape(4, 6)
CODES = np.arange(12, dtype="u1").reshape(3, 4)
SAVED: dict[str, tuple[str, Array]] = {
    "plain": ("F32", BASE),
    "tied_1": ("F32", np.arange(6, dtype="<f4")),
    "tied_2": ("F32", np.arange(6, dtype="<f4")),
    "part": ("F32", BASE[1:3, 2:5]),
    "transposed": ("F32", BASE.T),
    "stepped": ("F32", BASE[::2, ::3]),
    "scalar": ("F32", np.array(3.5, "<f4")),
    "empty": ("F32", np.empty((0, 5), "<f4")),
    "parameter": ("F32", BASE[2:]),
    "with_grad": ("F32", BASE),
    "with_state": ("F32", BASE[:1]),
    "permuted": ("F32", BASE.reshape(2, 3, 4).transpose(2, 0, 1)),
    "f64": ("F64", BASE.astype("<f8")),
    "f16": ("F16", BASE.astype("<f2")),
    "bf16": ("BF16", (BASE.view("<u4") >> 16).astype("<u2")),
    "e4m3": ("F8_E4M3", CODES),
    "e5m2_part": ("F8_E5M2", CODES[1:, 1:3]),
}
"""What is in torch_saved.bin, which torch.save of PyTorch 2.13 made of a state dictionary of these, `_metadata` and
all. `with_state` is a parameter with an attribute; `tied_1` and `tied_2` are the same tensor."""


def test_what_torch_saved_is_read_to_the_bit() -> None:
    tensors = {tensor.name: tensor for tensor in read_bin(HERE / "torch_saved.bin")}
    assert list(tensors) == list(SAVED)
    for name, (dtype, values) in SAVED.items():
        loaded = tensors[name].load()
        assert (tensors[name].dtype, loaded.shape, loaded.dtype) == (dtype, values.shape, values.dtype), name
        assert loaded.tobytes() == values.tobytes(), name
        if values.ndim and len(values):
            assert tensors[name].rows(1, 3).load().tobytes() == values[1:3].tobytes(), name
    assert tensors["tied_1"].offset == tensors["tied_2"].offset


# --- pickles, written by hand ---------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def storage(kind: str = "FloatStorage", key: bytes = text("0"), n_values: bytes = b"K\x04") -> bytes:
    return b"(" + text("storage") + name("torch", kind) + key + text("cpu") + n_values + b"tQ"


def tensor(shape: bytes, strides: bytes, first: bytes = b"K\x00", of: bytes = storage()) -> bytes:
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + of + first + shape + strides + b"\x89}tR"


def dictionary(value: bytes, key: bytes = text("a")) -> bytes:
    return b"}" + key + value + b"s."


DEEP = b")" + b"\x85" * 200_000
DOUBLED = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(100))
"""A pair of twice the same pair of twice the same pair: whoever follows it visits 2**100 of them."""

GOOD = dictionary(tensor(b"K\x04\x85", b"K\x01\x85"))


def write_bin(path: Path, program: bytes, values: bytes = bytes(16)) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", program)
        archive.writestr("x/data/0", values)
    return path


def refused_bin(path: Path, kind: type[ConversionError], word: str) -> None:
    with pytest.raises(kind) as caught:
        read_bin(path)
    assert "\n" not in str(caught.value)
    assert word in str(caught.value)


def test_the_good_one_is_read(tmp_path: Path) -> None:
    (read,) = read_bin(write_bin(tmp_path / "x.bin", GOOD))
    assert (read.name, read.dtype, read.shape) == ("a", "F32", (4,))


@pytest.mark.parametrize(
    ("program", "word"),
    [
        (name("posix", "system") + b"(" + text("true") + b"tR.", "posix.system"),
        (name("builtins", "eval") + b"(" + text("1") + b"tR.", "builtins.eval"),
        (name("torch.serialization", "load") + b".", "torch.serialization.load"),
        (name("torch._utils", "_rebuild_tensor_v2.__globals__") + b".", "_rebuild_tensor_v2.__globals__"),
        (name("torch._tensor", "_rebuild_from_type_v2") + b".", "torch._tensor._rebuild_from_type_v2"),
        (name("__torch__", "Module") + b".", "__torch__.Module"),
        (b"\x80\x04" + text("posix") + text("system") + b"\x93.", "posix.system"),
        (b"(" + text("true") + b"iposix\nsystem\n.", "posix.system"),
        (b"(" + name("collections", "OrderedDict") + b"o.", "OBJ"),
        (name("collections", "OrderedDict") + b")\x81.", "NEWOBJ"),
        (name("collections", "OrderedDict") + b")}\x92.", "NEWOBJ_EX"),
        (b"\x82\x01.", "EXT1"),
        (b"\x83\x01\x00.", "EXT2"),
        (b"\x84\x01\x00\x00\x00.", "EXT4"),
        (b"Pstorage\n.", "PERSID"),
        (b"(K\x01\x91.", "FROZENSET"),
        (b"\x96" + struct.pack("<Q", 1 << 40) + b".", "BYTEARRAY8"),
    ],
)
def test_what_is_not_needed_for_tensors_is_refused_by_name(tmp_path: Path, program: bytes, word: str) -> None:
    kind = CheckpointFileError if word == "BYTEARRAY8" else UnsafePickle
    refused_bin(write_bin(tmp_path / "x.bin", program), kind, word if kind is UnsafePickle else "cannot be read")


@pytest.mark.parametrize(
    ("program", "word"),
    [
        (dictionary(DEEP), "type tuple named 'a'"),
        (dictionary(b"N", key=DEEP), "type tuple for a name"),
        (dictionary(DOUBLED), "type tuple named 'a'"),
        (dictionary(b"N", key=DOUBLED), "type tuple for a name"),
        (name("collections", "OrderedDict") + b"(]" + DOUBLED + b"K\x01\x86atR.", "cannot be read"),
        (DOUBLED + b"Q.", "no storage"),
        (b"(" + text("storage") + DOUBLED + text("0") + text("cpu") + b"K\x04tQ.", "without a type"),
        (storage(key=DOUBLED) + b".", "without a type, a name"),
        (storage(n_values=DOUBLED) + b".", "a size"),
        (storage(n_values=b"\x88") + b".", "a size"),
        (storage(n_values=b"J\xff\xff\xff\xff") + b".", "impossible size"),
        (storage(n_values=b"\x8a\x09" + bytes(8) + b"\x01") + b".", "impossible size"),
        (storage(key=storage()) + b".", "without a type, a name"),
        (storage(key=text("../../data.pkl")) + b".", "lacks"),
        (storage(key=text("1")) + b".", "lacks"),
        (storage(n_values=b"K\x05") + b".", "lacks"),
        (storage("DoubleStorage") + b".", "lacks"),
        (dictionary(storage()), "named 'a'"),
        (dictionary(name("torch", "FloatStorage")), "named 'a'"),
        (b"]" + text("a") + b"a.", "expected a dictionary"),
        (tensor(b"K\x04\x85", b"K\x01\x85") + b".", "holds a tensor"),
        (dictionary(tensor(b"K\x05\x85", b"K\x01\x85")), "beyond its storage"),
        (dictionary(tensor(b"K\x04\x85", b"K\x02\x85")), "beyond its storage"),
        (dictionary(tensor(b"K\x04\x85", b"K\x01\x85", first=b"K\x01")), "beyond its storage"),
        (dictionary(tensor(b"K\x08K\x08\x86", b"K\x00K\x00\x86")), "beyond its storage"),
        (dictionary(tensor(b"J\xff\xff\xff\xff\x85", b"K\x01\x85")), "from 0 up"),
        (dictionary(tensor(b"K\x04\x85", b"J\xff\xff\xff\xff\x85")), "from 0 up"),
        (dictionary(tensor(b"G" + bytes(8) + b"\x85", b"K\x01\x85")), "from 0 up"),
        (dictionary(tensor(b"K\x04\x85", b"K\x01K\x01\x86")), "1 sizes and 2 strides"),
        (dictionary(tensor(b"(" + b"K\x01" * 65 + b"t", b"(" + b"K\x01" * 65 + b"t")), "65 sizes"),
        (dictionary(tensor(b"(" + b"K\x02" * 9999 + b"t", b")")), "9999 sizes"),
        (dictionary(tensor(b"\x8b" + struct.pack("<I", 99999) + b"\x01" * 99999 + b"\x85", b"K\x01\x85")), "from 0 up"),
        (dictionary(tensor(text("1234"), b"K\x01\x85")), "cannot be read"),
        (dictionary(tensor(b"K\x04\x85", b"K\x01\x85", of=b"N")), "cannot be read"),
        (dictionary(b"}q\x00" + text("b") + b"h\x00s"), "type dict named 'a'"),
        (name("torch._utils", "_rebuild_tensor_v2") + b"}" + text("__defaults__") + b")sb.", "a state"),
        (name("torch", "FloatStorage") + b"}" + text("dtype") + b"Nsb.", "a state"),
        (storage() + b"N}" + text("offset") + b"K\x00s\x86b.", "a state"),
        (b"}r\xff\xff\xff\x7fK\x01K\x01s.", "type int for a name"),
        (b"\x8d" + struct.pack("<Q", 1 << 62) + b".", "cannot be read"),
        (b"\x8b" + struct.pack("<i", -5) + b".", "cannot be read"),
        (b"T" + struct.pack("<i", -5) + b".", "cannot be read"),
        (b"L" + b"9" * 9999 + b"L\n.", "cannot be read"),
        (b"\x95" + struct.pack("<Q", 1 << 60), "cannot be read"),
        (b"\x80\x7f" + text("a") + b".", "type str"),
        (b"h\x07.", "cannot be read"),
        (b"(((((t.", "type tuple"),
        (b"0.", "the instruction POP"),
        (b"t.", "cannot be read"),
        (b".", "cannot be read"),
        (b"}", "cannot be read"),
        (b"", "cannot be read"),
        (b"\xff", "cannot be read"),
        (pickle.dumps([BASE, STORAGES])[:40], "cannot be read"),
    ],
)
def test_hostile_and_broken_pickles(tmp_path: Path, program: bytes, word: str) -> None:
    refused_bin(write_bin(tmp_path / "x.bin", program), CheckpointFileError, word)
    assert _rebuild_tensor.__defaults__ == (None,)


def test_a_view_that_is_to_be_negated_is_refused(tmp_path: Path) -> None:
    program = GOOD.replace(b"\x89}tR", b"\x89}}" + text("neg") + b"\x88stR")
    refused_bin(write_bin(tmp_path / "x.bin", program), CheckpointFileError, "cannot be read")


# --- archives -------------------------------------------------------------------------------------------------------


def members(**changes: Any) -> Callable[[Path], None]:
    """Write the good archive with members changed: bytes for a content, None for none; `__` stands for a slash."""

    def write(path: Path) -> None:
        content = {"x/data.pkl": GOOD, "x/data/0": bytes(16), "x/byteorder": b"little"}
        content |= {key.replace("__", "/").replace("PKL", "data.pkl"): value for key, value in changes.items()}
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in content.items():
                if data is not None:
                    archive.writestr(member, data)

    return write


def patched(old: bytes, new: bytes, count: int = -1) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        write_bin(path, GOOD)
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new, count))

    return write


def twice(path: Path) -> None:
    write_bin(path, GOOD)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x/data/0", bytes(16))


def deflated_bomb(path: Path) -> None:
    """100 MB of zeros, said to be four bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x/data.pkl", "w") as member:
        for _ in range(100):
            member.write(bytes(1 << 20))
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 100 << 20), struct.pack("<I", 4)))


def flagged(path: Path) -> None:
    """The flag of encryption, in both headers of the pickle."""
    write_bin(path, GOOD)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x03\x04") + 6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def endless_directory(path: Path) -> None:
    """The end of an archive that says its directory takes 200 MB, in a file with a hole of that size."""
    size = 200_000_000
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, size, 0, 0))


@pytest.mark.parametrize(
    ("write", "word"),
    [
        (members(x__PKL=None), "0 files data.pkl"),
        (members(y__PKL=GOOD), "2 files data.pkl"),
        (members(**{"x/constants.pkl": b"."}), "TorchScript"),
        (members(x__byteorder=b"big"), "big-endian"),
        (members(x__byteorder=bytes(1000)), "1000 bytes"),
        (members(x__PKL=b"]" * (MAX_PICKLE_BYTES + 1)), f"more than {MAX_PICKLE_BYTES}"),
        (twice, "'x/data/0' twice"),
        (flagged, "encrypted"),
        (deflated_bomb, "compressed"),
        (endless_directory, str(200_000_000)),
        (patched(b"x/data/0", b"x/data/1", 1), "not where it should be"),
        (patched(b"x/data/0", b"x/data/1"), "lacks"),
        (patched(GOOD, GOOD.replace(b"K\x04", b"K\x03")), "CRC"),
        (patched(b"PK\x05\x06", b"PK\x05\x07"), "not a whole zip archive"),
        (patched(b"PK\x01\x02", b"PK\x01\x03"), "not a whole zip archive"),
        (patched(b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\xff"), "not a whole zip archive"),
        (lambda path: path.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M"), "before PyTorch 1.6"),
        (lambda path: path.write_bytes(b""), "not a whole zip archive"),
        (lambda path: path.write_bytes(b"<!DOCTYPE html>"), "not a whole zip archive"),
    ],
)
def test_archives_that_are_not_as_expected(tmp_path: Path, write: Callable[[Path], None], word: str) -> None:
    write(tmp_path / "x.bin")
    refused_bin(tmp_path / "x.bin", CheckpointFileError, word)
    assert MAX_DIRECTORY_BYTES < 200_000_000


def test_members_outside_of_the_folder_are_never_written(tmp_path: Path) -> None:
    members(**{"../../evil": b"evil"})(tmp_path / "x.bin")
    assert len(read_bin(tmp_path / "x.bin")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]


def test_names_that_are_not_ascii(tmp_path: Path) -> None:
    path = tmp_path / "модель.bin"
    write_torch_bin(path, {"a": BASE})
    assert [tensor.shape for tensor in read_bin(path)] == [(4, 6)]


# --- files that are none --------------------------------------------------------------------------------------------


def a_socket(path: Path) -> None:
    os.chdir(path.parent)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


KINDS: dict[str, Callable[[Path], Any]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": a_socket,
    "not there": lambda path: path.symlink_to("nowhere"),
    "Too many": lambda path: path.symlink_to(path.name),
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", ["model.safetensors", "model.safetensors.index.json", "config.json"])
def test_what_is_no_file_is_not_read(tmp_path: Path, file: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_checkpoint(tmp_path, VARIANTS["grouped queries"])
    (folder / file).unlink(missing_ok=True)
    KINDS[kind](folder / file)
    with pytest.raises(CheckpointFileError, match=kind) as caught:
        read_tensors(folder) if read_config(folder) else None
    assert file in str(caught.value)


def test_links_are_followed_as_the_hub_cache_has_them(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS["grouped queries"])
    before = read_tensors(folder).keys()
    (folder / "model.safetensors").rename(tmp_path / "blob")
    (folder / "model.safetensors").symlink_to("../blob")
    assert read_tensors(folder).keys() == before


@pytest.mark.parametrize(
    "part", ["a" * 300 + ".safetensors", "a\0b.safetensors", "\ud800.safetensors", "model\n\x1b[2J"]
)
def test_names_in_an_index_that_no_file_can_have(tmp_path: Path, part: str) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS["grouped queries"])
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": part}}))
    with pytest.raises(CheckpointFileError) as caught:
        read_tensors(folder)
    assert str(caught.value).isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS["grouped queries"])
    (folder / "model.safetensors").chmod(0)
    with pytest.raises(CheckpointFileError, match="Permission denied"):
        read_tensors(folder)
    folder.chmod(stat.S_IXUSR)
    with pytest.raises(CheckpointFileError, match="Permission denied"):
        read_tensors(folder)
    folder.chmod(stat.S_IRWXU)


def test_what_git_lfs_left_in_place_of_a_file(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS["grouped queries"])
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointFileError, match="git lfs pull"):
        read_tensors(folder)


def test_messages_are_one_line_that_prints_and_not_endless() -> None:
    assert str(TensorError("a\nb\x1b[2J\u202e", "x", "y")) == r"tensor a\nb\x1b[2J\u202e: expected x, found y"
    assert len(str(TensorError("a" * 10**6, "x", "y"))) < MAX_MESSAGE + 10


# --- memory and time ------------------------------------------------------------------------------------------------

BOMB_RUN = """
import resource, sys, time
from pathlib import Path
from converters import ConversionError
from converters.checkpoint import read_tensors
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_tensors(Path(sys.argv[1]))
except ConversionError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, str(error)[:300])
"""


def safetensors_of(header: bytes) -> Callable[[Path], Any]:
    return lambda folder: (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def bin_of(program: bytes) -> Callable[[Path], Any]:
    return lambda folder: write_bin(folder / "pytorch_model.bin", program)


def huge_index(folder: Path) -> None:
    with (folder / "model.safetensors.index.json").open("wb") as file:
        file.truncate(3 << 30)


BOMBS: dict[str, Callable[[Path], Any]] = {
    "a header of lists": safetensors_of(b"[" + b"[]," * 3_000_000 + b"[]]"),
    "a header that is too large": safetensors_of(b"[" * 100_000_000),
    "a shape of millions": safetensors_of(
        b'{"a":{"dtype":"F32","shape":[' + b"2," * 3_000_000 + b'2],"data_offsets":[0,4]}}'
    ),
    "lists": bin_of(b"]" * 1_000_000 + b"."),
    "nested tuples": bin_of(b"}" + text("a") + b")" + b"\x85" * 1_000_000 + b"s."),
    "remembered values": bin_of(b"]" + b"".join(b"r" + struct.pack("<I", -i % 2**32) for i in range(500_000)) + b"."),
    "an endless directory": lambda folder: endless_directory(folder / "pytorch_model.bin"),
    "an index of 3 GiB": huge_index,
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("bomb", BOMBS)
def test_memory_and_time_are_bounded(tmp_path: Path, bomb: str) -> None:
    BOMBS[bomb](tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", BOMB_RUN, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    kilobytes, message = run.stdout.split(" ", 1)
    assert int(kilobytes) < 300_000, message
    assert message.startswith(str(tmp_path)), message
