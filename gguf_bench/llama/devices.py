"""What this build of llama.cpp is, and the devices it sees."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

from gguf_bench.llama.bindings import libggml, llama_cpp
from gguf_bench.llama.log import log


def version() -> str:
    """llama-cpp-python's version and that of the llama.cpp in it: '0.3.36 (ggml 0.25.3)'."""
    from gguf_bench.llama_build import installed_version  # takes its time to import

    libggml.ggml_version.restype = ctypes.c_char_p
    return f"{installed_version()} (ggml {libggml.ggml_version().decode()})"


def llama_version() -> str:
    """llama.cpp's own version: '0.5.0-dev'."""
    return str(llama_cpp.llama_version().decode())


def system_info() -> str:
    """The CPU and GPU features this build uses, as llama.cpp prints them."""
    return str(llama_cpp.llama_print_system_info().decode())


@dataclass(frozen=True, slots=True)
class Device:
    """A compute device llama.cpp sees.

    `kind` is "cpu"; "gpu", with memory of its own; "igpu", which computes in the CPU's memory; or "accel", which helps
    the CPU with some of its work (BLAS, AMX).
    """

    name: str
    description: str
    kind: str
    free_bytes: int
    total_bytes: int


def devices() -> list[Device]:
    """Every device of this build on this machine, the CPU included."""
    log()
    kinds = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accel"}  # enum ggml_backend_dev_type
    get, name, describe = (getattr(libggml, f"ggml_backend_dev_{verb}") for verb in ("get", "name", "description"))
    memory, kind = libggml.ggml_backend_dev_memory, libggml.ggml_backend_dev_type
    libggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    get.argtypes, get.restype = [ctypes.c_size_t], ctypes.c_void_p
    for text in (name, describe):
        text.argtypes, text.restype = [ctypes.c_void_p], ctypes.c_char_p
    kind.argtypes, kind.restype = [ctypes.c_void_p], ctypes.c_int
    memory.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_size_t)]
    found = []
    for index in range(libggml.ggml_backend_dev_count()):
        device = get(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        memory(device, ctypes.byref(free), ctypes.byref(total))
        found.append(
            Device(
                name(device).decode(),
                describe(device).decode(),
                kinds.get(kind(device), "other"),
                free.value,
                total.value,
            )
        )
    return found


CPU_BACKENDS = ("CPU", "BLAS", "ZenDNN", "zDNN")


def supports_gpu_offload() -> bool:
    """Whether this build can put layers on a GPU at all, be there one or not.

    llama_supports_gpu_offload() asks for a device: of a build for CUDA it says no where the driver is missing, which is
    where the user has to hear of it.
    """
    return any(name not in CPU_BACKENDS for name in backends())


def backends() -> list[str]:
    """The backends compiled into this build: "CPU", "CUDA", "Vulkan", ..."""
    log()
    count, get, name = (getattr(libggml, f"ggml_backend_reg_{verb}") for verb in ("count", "get", "name"))
    count.restype = ctypes.c_size_t
    get.argtypes, get.restype = [ctypes.c_size_t], ctypes.c_void_p
    name.argtypes, name.restype = [ctypes.c_void_p], ctypes.c_char_p
    return [name(get(index)).decode() for index in range(count())]


def physical_cores() -> int:
    """Physical cores this process may use: hyperthreads share the units matrix work needs, containers have quotas."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings.read_text().strip() if siblings.exists() else str(cpu))
    quota = Path("/sys/fs/cgroup/cpu.max")  # "150000 100000": microseconds of CPU time in every period of so many
    limit, _, period = quota.read_text().partition(" ") if quota.exists() else ("max", "", "")
    return max(1, len(cores) if limit == "max" else min(len(cores), round(int(limit) / int(period))))
