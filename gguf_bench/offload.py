"""How many layers of a model go onto which GPU: plans made from sizes alone, and tried one after another.

Layers are counted as llama.cpp counts them: the last ones go to the GPUs first, and the output layer is the very last.
What a plan needs is known but for the compute buffers, which are estimated, so a plan may fail all the same; then the
next one is tried. The planner works on data and needs neither a GPU nor llama.cpp, so the parent may import it too.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gguf_bench.errors import ChildDied, ModelError
from gguf_bench.gguf_header import CacheShape, GgufHeader

T = TypeVar("T")

MIB = 1 << 20
LEAST_MARGIN, MOST_MARGIN = 256 * MIB, 1024 * MIB
"""What is left of a GPU's free memory: an eighth, within these. A backend takes memory that no buffer shows (work space
of its matrix library, kernels loaded when first used); 1 GiB is what llama.cpp's own fitting leaves."""

OUT_OF_MEMORY = re.compile(
    r"out ?of ?(?:\w+ ?)?memory|no memory|alloc|(?:cuda|rocm|musa|vulkan|sycl)[ _]error|DeviceLost", re.IGNORECASE
)


class Device(Protocol):
    """What is read of a device; `llama.devices.Device` has it."""

    @property
    def kind(self) -> str: ...
    @property
    def free_bytes(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """`gpu_layers` of the model's layers on GPUs; `tensor_split` says how many on each, () with one GPU or none."""

    gpu_layers: int
    tensor_split: tuple[int, ...] = ()


# --- planning ---


def plan(header: GgufHeader, devices: Sequence[Device], wanted: str, shape: CacheShape) -> list[Plan]:
    """Plans to try, best first. `wanted` is "auto", "all" or a number of layers.

    "all" and a number are one plan, whether it fits or not. "auto" starts from what fits and steps down to the CPU
    alone. Several GPUs are filled in proportion to their free memory. Only GPUs with memory of their own are planned
    for layer by layer: an integrated one ("igpu") computes in the CPU's memory, where a part of a model takes no less
    room than all of it, and llama.cpp takes it only where there is no other; "accel" devices work beside the CPU.
    """
    costs = [size + cache for size, cache in zip(header.layer_bytes, header.cache_bytes(shape), strict=True)]
    costs.append(header.output_bytes)
    gpus = [device for device in devices if device.kind == "gpu"]
    compute = compute_bytes(header, shape)
    rooms = [max(0, gpu.free_bytes - _margin(gpu.free_bytes) - compute) for gpu in gpus]
    if wanted != "auto":
        return [_plan(costs, rooms, len(costs) if wanted == "all" else int(wanted))]
    if not gpus:
        shared = max((device.free_bytes for device in devices if device.kind == "igpu"), default=0)
        fits = sum(costs) + compute + _margin(shared) <= shared
        return [Plan(len(costs)), Plan(0)] if fits else [Plan(0)]
    most = next((count for count in range(len(costs), 0, -1) if _filled(costs[-count:], rooms) is not None), 0)
    steps = sorted({most, most * 3 // 4, most // 2, most // 4, 0}, reverse=True)
    return [_plan(costs, rooms, count) for count in steps]


def compute_bytes(header: GgufHeader, shape: CacheShape) -> int:
    """About what a device needs for computing, the tensors between the weights: mostly an upper bound.

    The widest moment of a micro-batch (the logits, or a layer's feed-forward or attention), and the attention mask of
    all tokens; without flash attention the scores of all heads too. Held against llama.cpp's "compute buffer size".
    """
    heads = _most(header, "attention.head_count", 1)
    head = _most(header, "attention.key_length", header.hidden_size // max(1, heads))
    width, feed_forward = header.hidden_size, _most(header, "feed_forward_length", 0)
    experts = _most(header, "expert_used_count", 0) * _most(header, "expert_feed_forward_length", 0)
    layer = max(3 * max(feed_forward, experts) + 4 * width, 4 * heads * head + 3 * width)
    outputs = min(shape.n_outputs or shape.n_ubatch, shape.n_ubatch) * (header.n_vocab + 2 * width)
    n_kv = shape.n_ctx if shape.unified else shape.n_ctx // shape.n_seq
    mask = n_kv * (6 if shape.flash_attention else 4)
    scores = 0 if shape.flash_attention else 4 * heads * n_kv
    return 4 * max(outputs, shape.n_ubatch * layer) + shape.n_ubatch * (mask + scores)


def _most(header: GgufHeader, key: str, default: int) -> int:
    """The largest number of a key that may have one a layer."""
    value = header.values.get(f"{header.architecture}.{key}", default)
    numbers = value if isinstance(value, tuple) else (value,)
    return max((int(number) for number in numbers if isinstance(number, int)), default=default)


def _margin(free_bytes: int) -> int:
    return min(MOST_MARGIN, max(LEAST_MARGIN, free_bytes // 8))


def _plan(costs: Sequence[int], rooms: Sequence[int], count: int) -> Plan:
    """The last `count` layers, over all GPUs in proportion to their `rooms`."""
    count = min(count, len(costs))
    return Plan(count, _shared_out(costs[-count:], rooms) if count and len(rooms) > 1 else ())


def _shared_out(costs: Sequence[int], rooms: Sequence[int]) -> tuple[int, ...]:
    """How many of `costs` each GPU gets, in order, so that the fullest is as little full as can be.

    llama.cpp takes these counts as shares, and comes to the same layers.
    """
    rooms = [max(1, room) for room in rooms]
    low, high = 0.0, 1.0
    while _filled(costs, [high * room for room in rooms]) is None:  # "all" and N are tried even where they do not fit
        low, high = high, 2 * high
    for _ in range(32):
        middle = (low + high) / 2
        if _filled(costs, [middle * room for room in rooms]) is None:
            low = middle
        else:
            high = middle
    return tuple(_filled(costs, [high * room for room in rooms]) or ())


def _filled(costs: Sequence[int], rooms: Sequence[float]) -> list[int] | None:
    """How many layers each GPU gets where each is filled before the next; None where some find no room."""
    counts, next_layer = [], 0
    for room in rooms:
        first, taken = next_layer, 0
        while next_layer < len(costs) and taken + costs[next_layer] <= room:
            taken += costs[next_layer]
            next_layer += 1
        counts.append(next_layer - first)
    return counts if next_layer == len(costs) else None


# --- trying ---


def first_that_works(
    plans: Sequence[Plan], attempt: Callable[[Plan], T], tell: Callable[..., None] = lambda event, **fields: None
) -> T:
    """What `attempt` returns for the first of `plans` that there is memory for.

    `tell` hears an "offload" event before each attempt (what is tried, and the plans `left`, for a parent whose child
    dies of it: see `after_death`), and "stepped_down" with the reason after one that failed. Raises the last plan's
    error, and at once an error that is not about memory.
    """
    for number, tried in enumerate(plans):
        left = [[later.gpu_layers, list(later.tensor_split)] for later in plans[number + 1 :]]
        tell("offload", gpu_layers=tried.gpu_layers, tensor_split=list(tried.tensor_split), left=left)
        try:
            return attempt(tried)
        except ModelError as error:
            if not left or not ran_out_of_memory(error):
                raise
            reason = error.message
        gc.collect()  # what the failed attempt had loaded is freed before the next one
        tell("stepped_down", message=stepped_down(tried.gpu_layers, left[0][0], reason))
    raise AssertionError("no plans")


def ran_out_of_memory(error: ModelError) -> bool:
    """Whether a failure to load or to compute is one that fewer layers on a GPU may mend."""
    lines = error.log_lines if isinstance(error, ChildDied) else [error.message]
    return any(OUT_OF_MEMORY.search(line) for line in lines)


def stepped_down(gpu_layers: int, next_layers: Any, reason: str) -> str:
    """What the user reads of it, in one line."""
    then = f"with {next_layers}" if next_layers else "ON THE CPU ALONE"
    return f"WARNING: {gpu_layers} layers do not fit the GPU ({reason}): trying again {then}"


def after_death(
    job: Mapping[str, Any], last_offload: Mapping[str, Any] | None, error: ModelError
) -> tuple[dict[str, Any], str] | None:
    """The job to start again with, and what to say, for a child that GPU memory killed; None where that is not it.

    A CUDA error calls abort(), so the child cannot step down itself. `last_offload` is the last "offload" event that it
    sent. Answers that came before were computed with more layers on the GPU than those of the new child will be.
    """
    if last_offload is None or not last_offload["left"] or not isinstance(error, ChildDied):
        return None
    if not last_offload["gpu_layers"] or not ran_out_of_memory(error):
        return None
    left = last_offload["left"]
    return {**job, "plans": left}, stepped_down(last_offload["gpu_layers"], left[0][0], str(error))


def plans_of(job: Mapping[str, Any]) -> list[Plan] | None:
    """The plans that a job brings along (see `after_death`), else None."""
    if "plans" not in job:
        return None
    return [Plan(gpu_layers, tuple(tensor_split)) for gpu_layers, tensor_split in job["plans"]]
