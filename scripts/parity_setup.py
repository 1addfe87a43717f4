"""Set up .parity: llama.cpp's own converter as the pinned llama-cpp-python brings it, and the Python it runs in.

Takes some minutes and some GB the first time (much less where pip is set up to take PyTorch's wheels for the CPU); at
once after that.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARITY = ROOT / ".parity"
PACKAGES = (
    "torch==2.13.0", "transformers==5.23.0", "sentencepiece==0.2.3", "safetensors==0.8.0", "protobuf", "tokenizers",
    "numpy", "pyyaml", "tqdm", "requests",
)  # fmt: skip
OLDER = ("transformers==4.57.6", "huggingface_hub==0.36.0", "tokenizers==0.22.1")
"""What the reference's requirements pin, and what that needs in other versions than the release above."""
MISTRAL = "mistral-common==1.13.1"


@dataclass(frozen=True)
class Setup:
    """`python` has torch and transformers; `script` is convert_hf_to_gguf.py; `older` is a folder with the transformers
    that the reference's requirements pin; `mistral` the one of mistral-common's data."""

    python: str
    script: str
    older: str
    mistral: str


def set_up() -> Setup:
    """Everything that is not there yet is fetched and installed."""
    sdist, python = source(), PARITY / "venv" / "bin" / "python"
    stamp = PARITY / "installed.txt"
    wanted = "\n".join((*PACKAGES, *OLDER, MISTRAL))
    older, mistral = PARITY / "transformers-4", PARITY / "mistral"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print("setting up .parity: torch and transformers", file=sys.stderr)
        run(sys.executable, "-m", "venv", "--clear", str(PARITY / "venv"))
        pip = (str(python), "-m", "pip", "install", "--quiet")
        run(*pip, *PACKAGES)
        for target, packages in ((older, OLDER), (mistral, (MISTRAL,))):
            run(*pip, "--upgrade", "--no-deps", "--target", str(target), *packages)
        stamp.write_text(wanted, encoding="utf-8")
    return Setup(
        str(python), str(sdist / "vendor" / "llama.cpp" / "convert_hf_to_gguf.py"), str(older),
        str(mistral / "mistral_common" / "data"),
    )  # fmt: skip


def source() -> Path:
    """The unpacked source of the llama-cpp-python that pyproject.toml pins."""
    found = re.search(r'"llama-cpp-python==([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert found
    folder = PARITY / f"llama_cpp_python-{found[1]}"
    if not (folder / "vendor" / "llama.cpp" / "convert_hf_to_gguf.py").exists():
        print(f"setting up .parity: the source of llama-cpp-python {found[1]}", file=sys.stderr)
        PARITY.mkdir(exist_ok=True)
        archive = PARITY / f"{folder.name}.tar.gz"
        if not archive.exists():
            pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:")
            run(*pip, "--dest", str(PARITY), f"llama-cpp-python=={found[1]}")
        with tarfile.open(archive) as content:
            content.extractall(PARITY, filter="data")
    return folder


def run(*command: str) -> None:
    subprocess.run(command, check=True)
