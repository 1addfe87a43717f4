"""GPU memory by NVML. Without a driver a stand-in has the functions of nvidia-ml-py; the rest needs a GPU."""

from __future__ import annotations

import inspect
import os
import time
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from gguf_bench import vram
from gguf_bench.vram import PeakVram
from tests.conftest import until

MIB = 1 << 20


class Nvml:
    """GPUs that hold what `used` says (bytes a GPU), for the processes in `held` ({pid: bytes} a GPU)."""

    NVMLError = pynvml.NVMLError

    def __init__(self, used: list[int], held: list[dict[int, int | None]]) -> None:
        self.used, self.held, self.opened, self.fails = used, held, 0, False
        self.asked = 0

    def nvmlInit(self) -> None:  # noqa: N802
        self.opened += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.used)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int, version: Any = None) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(used=self.used[handle], free=0, total=0)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[SimpleNamespace]:  # noqa: N802
        self.asked += 1
        if self.fails:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in self.held[handle].items()]

    def let_see(self) -> None:
        """Wait until every GPU was asked once more, from the first to the last."""
        wanted = self.asked + 2 * len(self.used)
        until(lambda: self.asked >= wanted)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vram, "SECONDS_BETWEEN_SAMPLES", 0.01)


def test_the_stand_in_is_called_as_nvml_is() -> None:
    for name, method in inspect.getmembers(Nvml, inspect.isfunction):
        if name.startswith("nvml"):
            real = inspect.signature(getattr(pynvml, name)).parameters
            stand_in = list(inspect.signature(method).parameters)[1:]
            assert list(real)[: len(stand_in)] == stand_in, name


def test_the_peak_of_all_gpus_together_by_process() -> None:
    nvml = Nvml([0, 0], [{7: 100 * MIB, 8: 900 * MIB}, {7: 50 * MIB}])
    with PeakVram(7, nvml) as peak:
        nvml.let_see()
        nvml.held = [{7: 300 * MIB, 8: 900 * MIB}, {7: 60 * MIB}]
        nvml.let_see()
        nvml.held = [{7: 10 * MIB}, {}]
        nvml.let_see()
    assert peak.bytes == 360 * MIB
    assert nvml.opened == 0


def test_a_process_that_holds_nothing_beside_others_is_not_blamed_for_theirs() -> None:
    nvml = Nvml([100 * MIB], [{8: 100 * MIB}])
    with PeakVram(7, nvml) as peak:
        nvml.used, nvml.held = [900 * MIB], [{8: 900 * MIB}]
        nvml.let_see()
    assert peak.bytes == 0


@pytest.mark.parametrize("listed", [{}, {7: None}], ids=["names no process", "tells no size"])
def test_a_gpu_that_does_not_tell_is_judged_by_how_its_used_memory_grew(listed: dict[int, int | None]) -> None:
    nvml = Nvml([100 * MIB], [listed])
    with PeakVram(7, nvml) as peak:
        nvml.used = [500 * MIB]
        nvml.let_see()
        nvml.used = [100 * MIB]
        nvml.let_see()
    assert peak.bytes == 400 * MIB


def test_a_gpu_that_is_lost_leaves_what_was_seen() -> None:
    nvml = Nvml([0], [{7: 100 * MIB}])
    with PeakVram(7, nvml) as peak:
        nvml.let_see()
        nvml.fails = True
        asked = nvml.asked
        until(lambda: nvml.asked > asked)
    assert peak.bytes == 100 * MIB
    assert nvml.opened == 0


def test_without_a_driver_it_is_unknown_quickly_and_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        pass
    else:
        pynvml.nvmlShutdown()
        pytest.skip("there is an NVIDIA driver here")
    started = time.monotonic()
    with PeakVram(os.getpid()) as peak:
        pass
    assert peak.bytes is None
    assert time.monotonic() - started < 1
    assert capfd.readouterr() == ("", "")
