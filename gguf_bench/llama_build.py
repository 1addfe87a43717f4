"""What the installed build of llama.cpp is and can do, asked without loading it into this process.

gcc 12 removes the stores that fill the AMX tile configuration as dead, so that on a CPU with AMX its build of llama.cpp
dies with SIGSEGV in the first decode (llama.cpp issue 20824). Compiler versions do not tell; trying does.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf_bench import child
from gguf_bench.errors import ChildDied, ModelError
from gguf_bench.paths import cache_folder, written_whole

MEND = (
    'CFLAGS="-fno-tree-dse -fno-dse" CXXFLAGS="-fno-tree-dse -fno-dse" '
    "pip install --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python=={version}"
)
"""The command that builds llama.cpp so that its AMX code survives gcc 12."""

CRASHES = (signal.SIGSEGV, signal.SIGILL, signal.SIGBUS, signal.SIGFPE, signal.SIGABRT)


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
        """Version, libraries and CPU features as one text. Compilers, which may differ in a bit, are not in it."""
        return " ".join([self.version, *self.accelerators, self.system_info]).strip(" |")

    @property
    def machine(self) -> str:
        """The devices that compute, as one text."""
        return ", ".join(device["description"] for device in self.devices)

    @property
    def accelerators(self) -> list[str]:
        """What computes beside the CPU's own kernels, in its memory: ["OpenBLAS"]."""
        return [device["description"] for device in self.devices if device["kind"] == "accel"]

    @property
    def gpus(self) -> list[dict[str, Any]]:
        return [device for device in self.devices if device["kind"] == "gpu"]


NO_BUILD = Build(version="", system_info="", supports_gpu_offload=False, physical_cores=0, devices=())
"""Where llama.cpp has nothing to do."""


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


def decodes(*, extra_buffers: bool) -> ModelError | None:
    """None when a tiny model decodes in a child process, else what went wrong: ChildDied where it crashed."""
    try:
        child.ask({"job": "probe", "extra_buffers": extra_buffers}, what="a decode of a tiny model")
    except ModelError as error:
        return error
    return None


def extra_buffers_work() -> bool:
    """Whether llama.cpp's extra buffer types (AMX) can be used: tried once per build, then remembered in the cache.

    Always true on a CPU without AMX, where nothing of the kind can fail.
    """
    if not cpu_has_amx():
        return True
    known = _remembered()
    if "extra_buffers_work" in known:
        return bool(known["extra_buffers_work"])
    fault = decodes(extra_buffers=True)
    # What fails without them too, or does not crash, is another fault: the run itself will meet and report it.
    crashes = fault is not None and _is_crash(fault) and decodes(extra_buffers=False) is None
    if fault is None or crashes:
        _remember(extra_buffers_work=not crashes)
    return not crashes


def crash_note() -> str | None:
    """What a user should know of a build that crashes in its AMX code: told by the first call, None ever after.

    Asked by a run that has to do without the extra buffer types; `doctor` says it each time.
    """
    if _remembered().get("said"):
        return None
    _remember(said=True)
    return (
        "this build of llama.cpp crashes in its AMX code, so it runs without it, several times slower; "
        f"to mend it: {mend_command()} (said once; `gguf-bench doctor` says it again)"
    )


def _is_crash(fault: ModelError) -> bool:
    """Whether it is what bad machine code ends in, rather than, say, the want of memory."""
    return isinstance(fault, ChildDied) and fault.signal_number in CRASHES


def _notebook() -> Path:
    return cache_folder() / "llama-build" / f"{_fingerprint()}.json"


def _remembered() -> dict[str, Any]:
    """What is known of this build; nothing where it cannot be read."""
    try:
        known = json.loads(_notebook().read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(**facts: bool) -> None:
    # A cache that cannot be written is no reason to stop.
    with suppress(OSError), written_whole(_notebook()) as partial:
        partial.write_text(json.dumps(_remembered() | facts))


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
