"""What each worker is. Only workers that are alike in what answers depend on compute one comparison."""

from __future__ import annotations

import os
import platform
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError

from gguf_bench import llama_build
from gguf_bench.errors import ClusterError, GgufBenchError, ModelError, one_line
from gguf_bench.llama_build import Build
from gguf_bench.place import memory_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A worker's llama.cpp and machine. Workers of one `host` with the same `cpus` share its cores and memory.

    `note` is what the user should know of the build, once.
    """

    build: Build
    extra_buffers: bool
    note: str | None
    memory_bytes: int
    host: str
    cpus: tuple[int, ...]
    os: str


def facts() -> Facts | ModelError:
    """Of the worker that this runs on; why there are none where its llama.cpp cannot even be loaded."""
    try:
        build = llama_build.look()
        extra_buffers = llama_build.extra_buffers_work()
    except GgufBenchError as error:
        return ModelError(error.message, hint=error.hint)
    return Facts(
        build=build,
        extra_buffers=extra_buffers,
        note=None if extra_buffers else llama_build.crash_note(),
        memory_bytes=memory_bytes(),
        host=socket.gethostname(),
        cpus=tuple(sorted(os.sched_getaffinity(0))),
        os=platform.platform(),
    )


def version_fault(worker: str, found: object, wanted: str) -> ClusterError | None:
    """What is wrong with the version of gguf-bench that `worker` has; `found` is it, or why it could not be told."""
    if found == wanted:
        return None
    has = f"gguf-bench {found}"
    if isinstance(found, PackageNotFoundError):
        has = "no gguf-bench"
    elif isinstance(found, BaseException):
        has = f"a fault: {one_line(f'{type(found).__name__}: {found}')}"
    return ClusterError(
        f"worker {worker} has {has}, wanted {wanted}",
        hint=f"pip install 'gguf-bench[cluster]=={wanted}' where it runs, and start it again",
    )


def fault(worker: str, found: Facts, model: str, wanted: Facts) -> ClusterError | None:
    """In what `worker` differs from `wanted`, which is what the worker `model` is; None where they are alike."""
    for what, has, other in (
        ("llama.cpp", found.build.name, wanted.build.name),
        ("the machine", found.build.machine, wanted.build.machine),
        ("AMX code that works", _yes_no(found.extra_buffers), _yes_no(wanted.extra_buffers)),
    ):
        if has != other:
            return ClusterError(
                f"worker {worker} has as {what} {has!r}, wanted {other!r} as {model} has",
                hint="answers of one comparison are computed alike: start only workers of one kind",
            )
    return None


def _yes_no(value: bool) -> str:
    return "yes" if value else "no"


def shared_by(workers: Iterable[Facts]) -> tuple[int, int]:
    """How many threads each worker computes with, and the bytes of memory that it may take: its even share of a host's.

    The same for all, so the least.
    """
    known = list(workers)
    count = Counter((one.host, one.cpus) for one in known)
    return (
        min(max(1, one.build.physical_cores // count[one.host, one.cpus]) for one in known),
        min(one.memory_bytes // count[one.host, one.cpus] for one in known),
    )
