"""What llama.cpp is and sees here."""

from __future__ import annotations

from dataclasses import asdict

from gguf_bench.jobs.protocol import Emit, Job, Lines
from gguf_bench.llama import devices


def work(_job: Job, emit: Emit, _lines: Lines) -> None:
    """{} -> what this build of llama.cpp is and sees."""
    emit(
        "devices",
        devices=[asdict(device) for device in devices.devices()],
        version=devices.version(),
        system_info=devices.system_info(),
        supports_gpu_offload=devices.supports_gpu_offload(),
        physical_cores=devices.physical_cores(),
    )
