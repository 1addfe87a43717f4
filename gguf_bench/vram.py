"""The most GPU memory that a child process held, by NVML: sampled while it runs, since nothing else remembers it."""

from __future__ import annotations

import threading
from typing import Any

SECONDS_BETWEEN_SAMPLES = 0.2


class PeakVram:
    """Watches the process `pid` as a context manager; `bytes` is the most it held on all NVIDIA GPUs together.

    `bytes` is None where there is no NVIDIA driver. Inside a container NVML may not know the process by this number; a
    GPU that names no process at all is then judged by how its used memory grew, whoever took it. `nvml` is the pynvml
    module, imported when entered: it needs the driver's library, and is of no use without.
    """

    def __init__(self, pid: int, nvml: Any = None) -> None:
        self._pid, self._nvml = pid, nvml
        self._gpus: list[Any] = []
        self._used_before: list[int] = []
        self._named: int | None = None
        self._grown: int | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def bytes(self) -> int | None:
        return self._grown if self._named is None else self._named

    def __enter__(self) -> PeakVram:
        if not self._start():
            return self
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._nvml.nvmlShutdown()

    def _start(self) -> bool:
        try:
            if self._nvml is None:
                import pynvml

                self._nvml = pynvml
            self._nvml.nvmlInit()
        except Exception:  # noqa: BLE001 (not installed, no driver, another driver than the kernel's: all mean "unknown")
            return False
        try:
            count = self._nvml.nvmlDeviceGetCount()
            self._gpus = [self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
            self._used_before = [int(self._nvml.nvmlDeviceGetMemoryInfo(gpu).used) for gpu in self._gpus]
        except self._nvml.NVMLError:
            self._nvml.nvmlShutdown()
            return False
        return True

    def _watch(self) -> None:
        while True:
            last = self._ended.is_set()
            try:
                self._sample()
            except self._nvml.NVMLError:  # a GPU lost while it is asked: what was seen stays
                return
            if last:
                return
            self._ended.wait(SECONDS_BETWEEN_SAMPLES)

    def _sample(self) -> None:
        named, grown = None, 0
        for gpu, before in zip(self._gpus, self._used_before, strict=True):
            processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(gpu)
            held = [process.usedGpuMemory for process in processes if process.pid == self._pid]
            if any(size is not None for size in held):  # None: the driver does not tell
                named = (named or 0) + sum(size for size in held if size is not None)
            if not processes or (held and named is None):
                grown += max(0, int(self._nvml.nvmlDeviceGetMemoryInfo(gpu).used) - before)
        if named is not None:
            self._named = max(self._named or 0, int(named))
        self._grown = max(self._grown or 0, grown)
