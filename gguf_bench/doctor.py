"""What `gguf-bench doctor` looks at: each check says what it found, and what to do where that is not well."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from gguf_bench import llama_build
from gguf_bench.errors import GgufBenchError
from gguf_bench.paths import cache_folder
from gguf_bench.records import Check

LOW_DISK_BYTES = 20 * 2**30


def examine(store: Path) -> list[Check]:
    """Every check, in the order a user reads them. The token itself is never in them."""
    return [Check("python", "ok", f"{sys.version.split()[0]} ({sys.executable})"), *_llama(), *_hub(), *_places(store)]


def _llama() -> Iterator[Check]:
    try:
        build = llama_build.look()
    except GgufBenchError as error:
        yield Check("llama.cpp", "broken", str(error), "pip install --force-reinstall llama-cpp-python")
        return
    compiler = llama_build.compiler() or "a compiler that did not sign it"
    yield Check("llama.cpp", "ok", f"llama-cpp-python {build.version}, compiled by {compiler}")
    yield Check("cpu", "ok", f"{_cpu(build)}, {build.physical_cores} physical cores; {_features(build)}")
    yield _decode()
    yield _gpu(build)


def _cpu(build: llama_build.Build) -> str:
    return next((device["description"] for device in build.devices if device["kind"] == "cpu"), "unknown CPU")


def _features(build: llama_build.Build) -> str:
    """'AVX2 AVX512 ...' of llama.cpp's 'CPU : AVX2 = 1 | AVX512 = 1 | ...', and the libraries that compute for it."""
    parts = [part.split("=") for part in build.system_info.split(":", 1)[-1].split("|") if "=" in part]
    return " ".join([*(name.strip() for name, value in parts if value.strip() == "1"), *build.accelerators])


def _decode() -> Check:
    amx = "this CPU has AMX" if llama_build.cpu_has_amx() else "this CPU has no AMX"
    fault = llama_build.decodes(extra_buffers=True)
    if fault is None:
        return Check("decode", "ok", f"a tiny model decodes; {amx}")
    if llama_build.decodes(extra_buffers=False) is None:
        found = f"decoding crashes in the AMX code this build was miscompiled with ({fault}); it works without, slower"
        return Check("decode", "note", found, llama_build.mend_command())
    return Check("decode", "broken", str(fault), "reinstall llama-cpp-python; the README says how")


def _gpu(build: llama_build.Build) -> Check:
    if not build.supports_gpu_offload:
        return Check("gpu", "note", "this llama.cpp is built for the CPU alone", "README: Install with CUDA")
    if not build.gpus:
        return Check("gpu", "note", "built for GPUs, but llama.cpp sees none", "check the driver with nvidia-smi")
    seen = (f"{gpu['description']}, {gpu['free_bytes'] / 2**30:.1f} GiB free" for gpu in build.gpus)
    return Check("gpu", "ok", "; ".join(seen))


def _hub() -> Iterator[Check]:
    from gguf_bench import hub

    try:
        token = hub.find_token()
        yield (
            Check("token", "ok", f"found in {token.source}")
            if token
            else Check("token", "note", "none found; public models need none", "set HF_TOKEN, or run `hf auth login`")
        )
    except GgufBenchError as error:
        yield Check("token", "broken", error.message, error.hint)
    trouble = hub.reachable()
    if trouble is None:
        yield Check("hub", "ok", "reachable")
    else:
        yield Check("hub", "note", trouble, "models already in the cache, files and packages work all the same")
    yield _disk("hub cache", hub.cache_folder())


def _places(store: Path) -> Iterator[Check]:
    yield _disk("gguf cache", cache_folder())
    yield Check("store", "ok", f"{store} ({'exists' if store.exists() else 'not made yet'})")


def _disk(name: str, folder: Path) -> Check:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_bytes = shutil.disk_usage(existing).free
    found = f"{folder}, {free_bytes / 2**30:.1f} GiB free"
    if free_bytes < LOW_DISK_BYTES:
        return Check(
            name, "note", found, "a 7B model takes 15 GB to convert; HF_HOME and XDG_CACHE_HOME move the caches"
        )
    return Check(name, "ok", found)
