"""What the installed build of llama.cpp is and can do, asked without loading it into this process.

gcc 12 removes the stores that fill the AMX tile configuration as dead, so that on a CPU with AMX its build of llama.cpp
dies with SIGSEGV in the first decode (llama.cpp issue 20824). Compiler versions do not tell; trying does.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf_bench import child
from gguf_bench.errors import ModelError
from gguf_bench.paths import cache_folder, written_whole

MEND = (
    'CFLAGS="-fno-tree-dse -fno-dse" CXXFLAGS="-fno-tree-dse -fno-dse" '
    "pip install --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python=={version}"
)
"""The command that builds llama.cpp so that its AMX code survives gcc 12."""


@dataclass(frozen=True, slots=True)
class Build:
    """The installed llama.cpp on this machine. `devices` as `llama.Device` has them."""

    version: str
    system_info: str
    supports_gpu_offload: bool
    physical_cores: int
    devices: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """Version and features as one text: answers of two builds with one name are comparable to the bit."""
        return f"{self.version} {self.system_info}".strip(" |")

    @property
    def machine(self) -> str:
        """The devices that compute, as one text."""
        return ", ".join(device["description"] for device in self.devices)

    @property
    def gpus(self) -> list[dict[str, Any]]:
        return [device for device in self.devices if device["kind"] == "gpu"]


def installed_version() -> str:
    """llama-cpp-python's version, without importing it. Raises ModelError where it is not installed."""
    try:
        return importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError("llama-cpp-python is not installed", hint="pip install llama-cpp-python") from error


def mend_command() -> str:
    return MEND.format(version=installed_version())


def look() -> Build:
    """Ask a child process for the build and its devices. Raises ModelError where llama.cpp cannot even be loaded."""
    seen = child.ask({"job": "devices"}, what="loading llama.cpp")
    return Build(
        version=seen["version"],
        system_info=seen["system_info"],
        supports_gpu_offload=seen["supports_gpu_offload"],
        physical_cores=seen["physical_cores"],
        devices=tuple(seen["devices"]),
    )


def cpu_has_amx() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and " amx_int8 " in cpuinfo.read_text().replace("\n", " ")


def decodes(*, extra_buffers: bool) -> str | None:
    """None when a tiny model decodes in a child process, else what killed it."""
    try:
        child.ask({"job": "probe", "extra_buffers": extra_buffers}, what="a decode of a tiny model")
    except ModelError as error:
        return str(error)
    return None


def extra_buffers_work() -> bool:
    """Whether llama.cpp's extra buffer types (AMX) can be used: tried once per build, then remembered in the cache.

    Always true on a CPU without AMX, where nothing of the kind can fail.
    """
    if not cpu_has_amx():
        return True
    remembered = cache_folder() / "llama-build" / f"{_fingerprint()}.json"
    if remembered.exists():
        return bool(json.loads(remembered.read_text())["extra_buffers_work"])
    works = _fault_is_not_amx(decodes(extra_buffers=True))
    with written_whole(remembered) as partial:
        partial.write_text(json.dumps({"extra_buffers_work": works}))
    return works


def _fault_is_not_amx(fault: str | None) -> bool:
    """A decode that fails without the extra buffers too has another fault, which the run itself will report."""
    return fault is None or decodes(extra_buffers=False) is not None


def compiler() -> str | None:
    """What compiled the installed llama.cpp, as it signed the CPU library: 'GCC: (Debian 12.2.0-14) 12.2.0'."""
    library = _cpu_library()
    signed = re.search(rb"GCC: \([^)]{1,80}\) [0-9.]+|clang version [0-9.]+", library.read_bytes()) if library else None
    return signed.group().decode("ascii", "replace") if signed else None


def _cpu_library() -> Path | None:
    """llama.cpp's library of CPU kernels, found without importing llama_cpp."""
    found = importlib.util.find_spec("llama_cpp")
    folder = Path(found.origin).parent / "lib" if found and found.origin else Path()
    return next(iter(sorted(folder.glob("*ggml-cpu*"))), None)


def _fingerprint() -> str:
    """Names one build of one version on this machine: the CPU library's size and time."""
    library = _cpu_library()
    stat = library.stat() if library else None
    return f"{installed_version()}-{stat.st_size}-{stat.st_mtime_ns}" if stat else installed_version()
