"""Plans for GPUs against descriptions of devices, how they are tried, and, where there is a GPU, what really lands."""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from llama_cpp._ggml import libggml

from gguf_bench import child, offload
from gguf_bench.child import Child
from gguf_bench.errors import ChildDied, ModelError
from gguf_bench.gguf_header import CacheShape, GgufHeader, Tensor
from gguf_bench.llama import devices as llama_devices
from gguf_bench.llama.devices import Device
from gguf_bench.llama.model import Model
from gguf_bench.offload import Plan, after_death, first_that_works, plan, ran_out_of_memory
from gguf_bench.records import Loaded
from tests.test_worker import MESSAGES, SETTINGS, run_job

GIB = 1 << 30
SHAPE = CacheShape(n_ctx=8192)
CPU = Device("CPU", "a CPU", "cpu", 64 * GIB, 64 * GIB)


def gpu(free_gib: float, kind: str = "gpu") -> Device:
    return Device("CUDA0", "a GPU", kind, int(free_gib * GIB), int(free_gib * GIB) + GIB)


@cache
def seven_billion() -> GgufHeader:
    """A Llama of 7B at 4 bits: 32 layers of 111 MiB, an output layer and an embedding of 70 MiB each."""
    matrices = {"attn_q": 4096, "attn_k": 4096, "attn_v": 4096, "attn_output": 4096, "ffn_gate": 11008, "ffn_up": 11008}
    tensors = [Tensor("token_embd.weight", (4096, 32000), "Q4_K", 73_728_000)]
    tensors.append(replace(tensors[0], name="output.weight"))
    for layer in range(32):
        for name, rows in (*matrices.items(), ("ffn_down", 11008)):
            tensors.append(Tensor(f"blk.{layer}.{name}.weight", (4096, rows), "Q4_K", 4096 * rows // 256 * 144))
    keys = {"block_count": 32, "embedding_length": 4096, "feed_forward_length": 11008, "context_length": 32768}
    keys |= {"attention.head_count": 32, "attention.head_count_kv": 32}
    return GgufHeader("x.gguf", "llama", {f"llama.{key}": value for key, value in keys.items()}, {}, tuple(tensors))


def plans(*devices: Device, wanted: str = "auto", shape: CacheShape = SHAPE) -> list[Plan]:
    return plan(seven_billion(), [*devices, CPU], wanted, shape)


def bytes_on(tried: Plan, shape: CacheShape = SHAPE) -> list[int]:
    """Weights and cache on each GPU, the layers put there the way load_tensors in llama-model.cpp does."""
    header = seven_billion()
    costs = [sum(both) for both in zip(header.layer_bytes, header.cache_bytes(shape), strict=True)] + [
        header.output_bytes
    ]
    shares = tried.tensor_split or (1,)
    splits = [sum(shares[: n + 1]) / sum(shares) for n in range(len(shares))]
    held = [0] * len(shares)
    for number, cost in enumerate(costs[len(costs) - tried.gpu_layers :]):
        held[next(n for n, split in enumerate(splits) if split > number / tried.gpu_layers)] += cost
    return held


def test_all_layers_where_there_is_room() -> None:
    assert plans(gpu(24))[0] == Plan(33)


@pytest.mark.parametrize("free_gib", [1, 2, 4, 6, 8])
def test_as_many_layers_as_fit_with_their_cache(free_gib: float) -> None:
    """7B takes 3.6 GiB, its cache of 8,192 tokens 4 GiB, the buffers for computing 0.3 GiB."""
    first = plans(gpu(free_gib))[0]
    room = free_gib * GIB - offload.compute_bytes(seven_billion(), SHAPE) - offload.LEAST_MARGIN
    assert bytes_on(first)[0] <= room
    assert bytes_on(Plan(first.gpu_layers + 1))[0] > room - offload.MOST_MARGIN + offload.LEAST_MARGIN
    assert 0 < first.gpu_layers < 33


def test_a_longer_context_leaves_room_for_fewer_layers() -> None:
    short, long = (plans(gpu(8), shape=CacheShape(n_ctx=n_ctx))[0].gpu_layers for n_ctx in (2048, 32768))
    assert short == 33
    assert 3 < long < 20


def test_quantized_caches_take_less() -> None:
    small = replace(SHAPE, type_k="Q8_0", type_v="Q8_0")
    assert plans(gpu(6), shape=small)[0].gpu_layers > plans(gpu(6))[0].gpu_layers


def test_it_steps_down_to_the_cpu() -> None:
    layers = [tried.gpu_layers for tried in plans(gpu(24))]
    assert layers == [33, 24, 16, 8, 0]
    assert plans(gpu(0.3)) == [Plan(0)]
    assert [tried.gpu_layers for tried in plans(gpu(1.2))][-1] == 0


@pytest.mark.parametrize("free", [(24, 24), (24, 8), (4, 4), (3, 6, 2), (0.2, 10), (10, 0.2)])
def test_several_gpus_are_filled_in_proportion_and_none_overflows(free: tuple[float, ...]) -> None:
    devices = [gpu(size) for size in free]
    first = plans(*devices)[0]
    held = bytes_on(first)
    assert len(held) == len(free)
    assert sum(first.tensor_split) == first.gpu_layers > 0
    compute = offload.compute_bytes(seven_billion(), SHAPE)
    rooms = [max(0, size * GIB - compute - offload.LEAST_MARGIN) for size in free]
    assert all(bytes_here <= room for bytes_here, room in zip(held, rooms, strict=True))
    if min(free) > 5:  # none is so full that its last layer decides
        shares = [bytes_here / size for bytes_here, size in zip(held, free, strict=True)]
        assert max(shares) < 1.4 * min(shares)


def test_two_gpus_hold_what_one_cannot() -> None:
    assert plans(gpu(6))[0].gpu_layers < 33
    assert plans(gpu(6), gpu(6))[0].gpu_layers == 33


def test_all_and_a_number_do_what_they_say() -> None:
    assert plans(gpu(1), wanted="all") == [Plan(33)]
    assert plans(gpu(24), wanted="7") == [Plan(7)]
    assert plans(gpu(24), wanted="0") == [Plan(0)]
    assert plans(gpu(24), wanted="100") == [Plan(33)]
    assert plans(wanted="all") == [Plan(33)]
    both = plans(gpu(1), gpu(3), wanted="all")
    assert [tried.gpu_layers for tried in both] == [33]
    assert both[0].tensor_split[1] > 2 * both[0].tensor_split[0]


def test_devices_without_memory_of_their_own() -> None:
    assert plans(gpu(64, "accel")) == plans() == [Plan(0)]
    assert plans(gpu(64, "igpu")) == [Plan(33), Plan(0)]
    assert plans(gpu(4, "igpu")) == [Plan(0)]
    assert plans(gpu(64, "igpu"), gpu(3))[0].gpu_layers == plans(gpu(3))[0].gpu_layers


# --- trying ---


def test_the_first_that_has_room_is_taken_and_the_others_said() -> None:
    told: list[tuple[str, dict[str, Any]]] = []

    def attempt(tried: Plan) -> int:
        if tried.gpu_layers > 8:
            raise ModelError("allocating 5 GiB on device 0: cudaMalloc failed: out of memory")
        return tried.gpu_layers

    steps = [Plan(32), Plan(16, (8, 8)), Plan(8), Plan(0)]
    assert first_that_works(steps, attempt, lambda event, **fields: told.append((event, fields))) == 8
    assert [event for event, _ in told] == ["offload", "stepped_down", "offload", "stepped_down", "offload"]
    assert told[0][1] == {"gpu_layers": 32, "tensor_split": [], "left": [[16, [8, 8]], [8, []], [0, []]]}
    assert told[1][1]["message"].startswith("WARNING: 32 layers do not fit the GPU (allocating 5 GiB")


def test_the_cpu_alone_is_said_loudly() -> None:
    told: list[str] = []

    def attempt(tried: Plan) -> str:
        if tried.gpu_layers:
            raise ModelError("no memory")
        return "done"

    assert first_that_works([Plan(3), Plan(0)], attempt, lambda _, **fields: told.append(str(fields))) == "done"
    assert "ON THE CPU ALONE" in told[1]
    assert "no memory" in told[1]


def test_the_last_failure_and_any_other_than_memory_are_raised() -> None:
    tries: list[Plan] = []

    def attempt(tried: Plan) -> None:
        tries.append(tried)
        raise ModelError("x.gguf has no chat template" if len(tries) == 1 else "out of memory")

    with pytest.raises(ModelError, match="no chat template"):
        first_that_works([Plan(3), Plan(0)], attempt)
    with pytest.raises(ModelError, match="out of memory"):
        first_that_works([Plan(3), Plan(0)], attempt)
    assert [tried.gpu_layers for tried in tries] == [3, 3, 0]


@pytest.mark.parametrize(
    "line",
    [
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9.00 MiB on device 0: cudaMalloc failed: out of memory",
        "alloc_tensor_range: failed to allocate CUDA0 buffer of size 9",
        "graph_reserve: failed to allocate compute buffers",
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
        "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
        "CUDA error: out of memory",
        "ggml_vulkan: Device memory allocation of size 9 failed: vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
    ],
)
def test_what_llama_cpp_says_when_memory_runs_out(line: str) -> None:
    assert ran_out_of_memory(ModelError(f"x.gguf: llama.cpp cannot load it: {line}"))
    assert ran_out_of_memory(ChildDied("x", -signal.SIGABRT, [line, "something else"]))


def test_a_child_killed_by_gpu_memory_is_started_again_with_the_next_plan() -> None:
    job = {"job": "run", "path": "x.gguf"}
    offered = {"gpu_layers": 33, "tensor_split": [], "left": [[24, []], [0, []]]}
    died = ChildDied("x", -signal.SIGABRT, ["CUDA error: out of memory", "ggml-cuda.cu:98: CUDA error"])
    again = after_death(job, offered, died)
    assert again is not None
    assert again[0] == {**job, "plans": [[24, []], [0, []]]}
    assert "33 layers do not fit the GPU" in again[1]
    assert offload.plans_of(again[0]) == [Plan(24), Plan(0)]
    assert after_death(job, None, died) is None
    assert after_death(job, offered | {"left": []}, died) is None
    assert after_death(job, offered, ChildDied("x", -signal.SIGSEGV, ["segfault"])) is None
    assert after_death(job, offered, ModelError("out of memory")) is None


@pytest.mark.model
def test_a_child_goes_by_the_plans_it_is_given(smollm2: Path) -> None:
    with Child(run_job(smollm2, MESSAGES[:1]) | {"plans": [[5, []], [0, []]]}, what="a run") as process:
        events = list(process.events())
    offered = [event for event in events if event["event"] == "offload"]
    assert [event["gpu_layers"] for event in offered] == [5]
    assert offered[0]["left"] == [[0, []]]


@pytest.mark.model
@pytest.mark.skipif(llama_devices.supports_gpu_offload(), reason="this llama.cpp is built for GPUs")
@pytest.mark.parametrize("wanted", ["auto", "all", "5", "0"])
def test_without_a_gpu_no_layer_lands_on_one_whatever_was_asked_for(wanted: str, smollm2: Path) -> None:
    """llama.cpp's log says "offloaded 31/31 layers to GPU" of a build for GPUs even where there is none."""
    job = run_job(smollm2, MESSAGES[:1]) | {"settings": SETTINGS | {"gpu_layers": wanted}}
    with Child(job, what="a run") as process:
        loaded = next(event for event in process.events() if event["event"] == "loaded")
    assert (loaded["gpu_layers"], loaded["gpu_build"]) == (0, False)


@pytest.mark.model
def test_layers_are_counted_by_the_device_they_landed_on(smollm2: Path) -> None:
    model = Model(smollm2, gpu_layers=0)
    assert model.layers_on == {"CPU": 31}
    assert model.offloaded_layers() == 0


def test_a_build_for_gpus_is_known_by_its_backends() -> None:
    assert "CPU" in llama_devices.backends()
    assert llama_devices.supports_gpu_offload() == (
        set(llama_devices.backends()) - set(llama_devices.CPU_BACKENDS) != set()
    )


@pytest.mark.parametrize(
    ("gpu_build", "landed", "asked", "warns"),
    [
        (True, 0, "auto", True),  # no device, or stepped down to the CPU
        (True, 0, "all", True),
        (True, 0, "12", True),
        (True, 0, "0", False),
        (True, 5, "auto", False),
        (False, 0, "auto", False),
    ],
)
def test_a_gpu_build_on_the_cpu_is_said_loudly(gpu_build: bool, landed: int, asked: str, warns: bool) -> None:
    from gguf_bench.session import Session

    said: list[str] = []
    run = SimpleNamespace(settings=SimpleNamespace(gpu_layers=asked), progress=SimpleNamespace(say=said.append))
    loaded = Loaded(load_seconds=1, n_ctx=256, gpu_layers=landed, n_layers=30, gpu_build=gpu_build, peak_rss_bytes=1)
    Session._warn_of_idle_gpu(run, SimpleNamespace(label="x Q4_0"), loaded)  # type: ignore[arg-type]
    assert bool(said) is warns
    assert not warns or ("WARNING" in said[0] and "x Q4_0" in said[0])


# --- on a GPU ---


@pytest.fixture
def free_gpu_bytes() -> int:
    free = [
        device["free_bytes"]
        for device in child.ask({"job": "devices"}, what="devices")["devices"]
        if device["kind"] == "gpu"
    ]
    if not free:
        pytest.skip("no GPU that llama.cpp sees: there is none, or this llama.cpp is built for the CPU")
    return sum(free)


def loaded(job: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The "loaded" event of a run, and what was said of steps down before."""
    with Child(job, what="a run") as process:
        events = list(process.events())
    said = [event["message"] for event in events if event["event"] == "stepped_down"]
    return next(event for event in events if event["event"] == "loaded"), said


@pytest.mark.gpu
@pytest.mark.model
@pytest.mark.parametrize(("wanted", "lands"), [("all", 31), ("auto", 31), ("15", 15), ("1", 1), ("0", 0)])
def test_the_layers_asked_for_land_on_the_gpu(wanted: str, lands: int, free_gpu_bytes: int, smollm2: Path) -> None:
    job = run_job(smollm2, MESSAGES[:1]) | {"settings": SETTINGS | {"gpu_layers": wanted}}
    event, said = loaded(job)
    assert event["gpu_build"]
    assert (event["gpu_layers"], said) == (lands, [])


@contextmanager
def held(kind: str, leaving_bytes: int) -> Iterator[int]:
    """Hold the memory of the first device of this kind, all but `leaving_bytes`, as llama.cpp would; how much it is."""
    names = [device.kind for device in llama_devices.devices()]
    functions = ("ggml_backend_dev_get", "ggml_backend_dev_buffer_type", "ggml_backend_buft_alloc_buffer")
    get, buffer_type, allocate = (getattr(libggml, name) for name in functions)
    buffer_type.argtypes, buffer_type.restype = [ctypes.c_void_p], ctypes.c_void_p
    allocate.argtypes, allocate.restype = [ctypes.c_void_p, ctypes.c_size_t], ctypes.c_void_p
    libggml.ggml_backend_buffer_free.argtypes = [ctypes.c_void_p]
    index = names.index(kind)
    size = llama_devices.devices()[index].free_bytes - leaving_bytes
    buffer = allocate(buffer_type(get(index)), size)
    assert buffer
    yield size
    libggml.ggml_backend_buffer_free(buffer)


@pytest.mark.gpu
@pytest.mark.model
def test_a_context_too_large_for_the_gpu_steps_down(free_gpu_bytes: int, smollm2: Path) -> None:
    """1 GiB is free, of which the driver takes half, and four sequences of 8,192 tokens in F32 take 1.4 GiB.

    All layers are tried at first as if they fitted, as where something else takes the memory after the planning.
    """
    long = [["long", "Net sales grew. " * 1900]]
    settings = SETTINGS | {"gpu_layers": "auto", "n_parallel": 3, "kv_type": "f32", "max_answer_tokens": 4}
    job = run_job(smollm2, long) | {"settings": settings}
    with held("gpu", GIB):
        event, said = loaded(job | {"plans": [[31, []], [1, []], [0, []]]})
        planned, _ = loaded(job)
    assert event["gpu_layers"] < 31
    assert said[0].startswith("WARNING: 31 layers do not fit the GPU")
    assert planned["gpu_layers"] < 31


@pytest.mark.gpu
@pytest.mark.model
def test_memory_is_back_when_the_child_has_ended(free_gpu_bytes: int, smollm2: Path) -> None:
    loaded(run_job(smollm2, MESSAGES[:1]) | {"settings": SETTINGS | {"gpu_layers": "all"}})
    after = child.ask({"job": "devices"}, what="devices")["devices"]
    assert sum(device["free_bytes"] for device in after if device["kind"] == "gpu") > free_gpu_bytes - (64 << 20)
