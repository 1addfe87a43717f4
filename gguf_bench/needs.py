"""What a model on the Hub will take, told from sizes before anything large is fetched: disk and time.

The estimates are rough, and of the kind that does not promise too little: a checkpoint's weights are taken to be stored
as config.json says, and time is that of a 100 Mbit/s line and of converting on two slow cores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from gguf_bench.quants import QUANTS

DOWNLOADED_BYTES_A_SECOND = 12_500_000
"""100 Mbit/s."""

CONVERTED_BYTES_A_SECOND = 300_000_000
"""docs/converting.md has 310 to 640 million on two cores."""

STORED_BITS = {"float64": 64, "float32": 32, "float16": 16, "bfloat16": 16}
"""By what config.json calls the type of the weights."""

OUT_BITS = {"auto": 16.0, "f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5}
MAX_CONFIG_BYTES = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Bytes still to be downloaded, of the converted file and of the quantized one; 0 where none is made."""

    download_bytes: int
    converted_bytes: int = 0
    quantized_bytes: int = 0

    @property
    def disk_bytes(self) -> int:
        return self.download_bytes + self.converted_bytes + self.quantized_bytes

    @property
    def seconds(self) -> float:
        return self.download_bytes / DOWNLOADED_BYTES_A_SECOND + self.converted_bytes / CONVERTED_BYTES_A_SECOND


def converted_bytes(folder: Path, weights_bytes: int, outtype: str = "auto") -> int:
    """The size of what `weights_bytes` of weights convert to, by the config.json in `folder`."""
    return int(weights_bytes / _stored_bits(folder) * OUT_BITS[outtype])


def parameters(folder: Path, weights_bytes: int) -> int:
    """About how many parameters `weights_bytes` hold, where nobody has counted them."""
    return weights_bytes * 8 // _stored_bits(folder)


def quantized_bytes(n_params: int, quant: str) -> int:
    return int(n_params * QUANTS[quant].bits_per_weight / 8)


def _stored_bits(folder: Path) -> int:
    """16 where config.json does not say: what most checkpoints come in."""
    try:
        with (folder / "config.json").open("rb") as file:
            config = json.loads(file.read(MAX_CONFIG_BYTES))
        if not isinstance(config, dict):
            return 16
        if isinstance(config.get("quantization_config"), dict):
            return 8  # of those, only 8-bit floats are converted
        return STORED_BITS.get(str(config.get("dtype") or config.get("torch_dtype")), 16)
    except (OSError, ValueError, RecursionError):
        return 16
