"""Which type each tensor of a file gets, so that the file comes to a size asked for with the least error.

Pure: the sizes and errors that a choice is made from are measured by `sensitivity`. Errors of tensors are added up, so
this is a knapsack in which exactly one type of each tensor is packed: `choose` is exact for few tensors, and for many
within half a percent of a bound that no choice can beat (tests/test_size_target.py).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gguf_bench.errors import QuantizeError
from gguf_bench.gguf_header import padded
from gguf_bench.quants import QUANTS, Quant
from gguf_bench.units import SIZE, size_bytes

CLOSE = 0.99
"""The share of what is asked for that a file is to come to at least."""

MOST_STATES = 4096
"""Ways to begin that are gone on with, tensor after tensor."""

FILE_TYPES: Mapping[str, str] = {
    **{name: name for name in ("Q8_0", "Q6_K", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS", "Q2_K")},
    **{name: name for name in ("IQ3_S", "IQ3_XXS", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S")},
    "Q5_K": "Q5_K_M",
    "Q4_K": "Q4_K_M",
    "Q3_K": "Q3_K_M",
    "IQ2_S": "IQ2_M",
}
"""Types of tensors that are chosen from, and the file type that stands in a file most of whose weights are of one.

Ternary types, MXFP4 and NVFP4 are left out: they are for models that were trained so.
"""
CANDIDATES = (*FILE_TYPES, "F16")
"""What a tensor can become, where it is larger."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """What a file is to come to: `file_bytes` of it, or `bits_per_weight` of its tensors; the other one is None.

    `label` is how its name ends.
    """

    label: str
    file_bytes: int | None = None
    bits_per_weight: float | None = None


def of_size(text: str) -> Target:
    """'90MiB', '4.5 gib', '94371840' -> a target called 90MiB, 4.5GiB, 94371840B. Raises ValueError."""
    n_bytes = size_bytes(text)
    found = SIZE.fullmatch(text.strip().lower())
    assert found is not None
    unit = found[2] or "b"
    return Target(f"{found[1]}{unit[:-1].capitalize()}B", file_bytes=n_bytes)


def of_bits(text: str) -> Target:
    """'4.5' -> a target called 4.50bpw. Raises ValueError for what is no number above 0."""
    if not re.fullmatch(r"\d{1,3}(\.\d{0,6})?", text) or not (bits := float(text)):
        raise ValueError(f"{text!r} is no number of bits per weight")
    short = f"{bits:.2f}"
    return Target(f"{short if float(short) == bits else bits}bpw", bits_per_weight=bits)


@dataclass(frozen=True, slots=True)
class Choice:
    """A type that a tensor can get, by ggml's name, what it takes, and what it costs in quality."""

    type: str
    n_bytes: int
    error: float

    @property
    def padded_bytes(self) -> int:
        return padded(self.n_bytes)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the file that is to be, and its choices: one only where the type is not for us to choose."""

    name: str
    n_weights: int
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """All that is to be known of a file to choose its types; `header_bytes` is all of it but the tensors."""

    header_bytes: int
    tensors: tuple[Tensor, ...]

    @property
    def n_weights(self) -> int:
        return sum(tensor.n_weights for tensor in self.tensors)


@dataclass(frozen=True, slots=True)
class SizePlan:
    """The type of each tensor, and what the file comes to, to the byte.

    `error` is that of all tensors together, `share` how much of the target is used; `quant` is the file type, that of
    most weights.
    """

    target: Target
    file_bytes: int
    bits_per_weight: float
    share: float
    error: float
    quant: Quant
    chosen: Mapping[str, Choice]
    free: frozenset[str]

    @property
    def tensor_types(self) -> tuple[tuple[str, str], ...]:
        """The plan as llama-quantize's --tensor-type takes it: (pattern, type), layers of one type together."""
        return patterns({name: self.chosen[name].type for name in self.chosen if name in self.free})

    def as_json(self) -> dict[str, Any]:
        return {
            "target": self.target.label,
            "file_bytes": self.file_bytes,
            "bits_per_weight": self.bits_per_weight,
            "share": self.share,
            "expected_kl_divergence": self.error,
            "quant": self.quant.name,
            "tensor_types": [f"{pattern}={type_name.lower()}" for pattern, type_name in self.tensor_types],
            "tensors": {name: asdict(choice) for name, choice in self.chosen.items()},
        }

    def lines(self) -> list[str]:
        """The plan in words: what it comes to, and the types of each kind of tensor."""
        kinds: dict[str, Counter[str]] = {}
        for name, choice in self.chosen.items():
            if name in self.free:
                kinds.setdefault(_LAYER.sub("", name).removesuffix(".weight"), Counter())[choice.type] += 1
        size = f"{self.file_bytes / 2**20:,.2f} MiB, {self.bits_per_weight:.3f} bits per weight"
        head = f"{self.target.label}: {size}, {100 * self.share:.2f} % of the target, mostly {self.quant.name}"
        if self.share < CLOSE:
            head += "; NOTE: no choice of types comes nearer"
        width = max(map(len, kinds), default=0)
        return [head, *(f"  {kind:{width}}  {_counted(types)}" for kind, types in kinds.items())]


_LAYER = re.compile(r"^blk\.(\d+)\.")


def _counted(types: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" if types.total() > 1 else name for name, count in types.most_common())


def plan(measured: Measured, target: Target) -> SizePlan:
    """The types by which the file meets `target`, never above it, with the least error.

    Raises QuantizeError, with the range that is possible, for a target outside of it.
    """
    tensors = measured.tensors
    if target.file_bytes is not None:
        sizes = [np.array([choice.padded_bytes for choice in tensor.choices]) for tensor in tensors]
        budget, wanted, used = target.file_bytes - measured.header_bytes, target.file_bytes, measured.header_bytes
    else:
        assert target.bits_per_weight is not None
        sizes = [np.array([choice.n_bytes for choice in tensor.choices]) for tensor in tensors]
        budget = wanted = math.floor(target.bits_per_weight * measured.n_weights / 8)
        used = 0
    least, most = (sum(int(pick(size)) for size in sizes) for pick in (np.min, np.max))
    if not least <= budget <= most:
        raise QuantizeError(
            f"{target.label} cannot be met: with these options the file comes to "
            f"{_in_words(measured, target, least + used, up=True)} at least"
            f" and {_in_words(measured, target, most + used, up=False)} at most"
        )
    errors = [np.array([choice.error for choice in tensor.choices]) for tensor in tensors]
    picked = choose(sizes, errors, budget, math.ceil(CLOSE * wanted) - used)
    chosen = {tensor.name: tensor.choices[place] for tensor, place in zip(tensors, picked, strict=True)}
    free = frozenset(tensor.name for tensor in tensors if len(tensor.choices) > 1)
    used += sum(int(size[place]) for size, place in zip(sizes, picked, strict=True))
    return SizePlan(
        target=target,
        file_bytes=measured.header_bytes + sum(choice.padded_bytes for choice in chosen.values()),
        bits_per_weight=8 * sum(choice.n_bytes for choice in chosen.values()) / max(1, measured.n_weights),
        share=used / wanted,
        error=sum(choice.error for choice in chosen.values()),
        quant=_file_type(tensors, picked),
        chosen=chosen,
        free=free,
    )


def _in_words(measured: Measured, target: Target, n_bytes: int, *, up: bool) -> str:
    """Rounded so that what is shown is possible."""
    rounded = math.ceil if up else math.floor
    if target.file_bytes is not None:
        return f"{rounded(100 * n_bytes / 2**20) / 100:.2f} MiB"
    return f"{rounded(1000 * 8 * n_bytes / max(1, measured.n_weights)) / 1000:.3f} bits per weight"


def _file_type(tensors: Sequence[Tensor], picked: Sequence[int]) -> Quant:
    weights: Counter[str] = Counter({"Q8_0": 0})  # where nothing is quantized
    for tensor, place in zip(tensors, picked, strict=True):
        if (name := tensor.choices[place].type) in FILE_TYPES:
            weights[name] += tensor.n_weights
    return QUANTS[FILE_TYPES[weights.most_common(1)[0][0]]]


def choose(sizes: Sequence[Array], errors: Sequence[Array], budget: int, least: int = 0) -> list[int]:
    """For each tensor the place of the choice it gets: sizes add up to at most `budget`, errors to as little as can be.

    `sizes` and `errors` have an array a tensor. Where less than `least` would be used, another choice is taken that
    uses as much, if there is one. The smallest choices have to fit.
    """
    picked = _choose(sizes, errors, budget)
    if _total(sizes, picked) < least:
        fuller = _choose(sizes, errors, budget, least)
        if _total(sizes, fuller) >= least:
            return fuller
    return picked


def _total(sizes: Sequence[Array], picked: Sequence[int]) -> int:
    return sum(int(size[place]) for size, place in zip(sizes, picked, strict=True))


def _choose(sizes: Sequence[Array], errors: Sequence[Array], budget: int, least: int | None = None) -> list[int]:
    """The choice of least error that uses `least`; of least error at all where that is None.

    Goes through the tensors, the largest first, and keeps the ways to begin: without `least` those that no other one
    beats in both size and error. Of more than MOST_STATES the best of each of as many ranges of size, so that memory
    and time are bounded.
    """
    order = sorted(range(len(sizes)), key=lambda place: -int(sizes[place].max()))
    rest = sum(int(sizes[place].min()) for place in order)
    assert rest <= budget
    total, error = np.zeros(1, np.int64), np.zeros(1)
    steps: list[tuple[Array, Array]] = []
    for place in order:
        size, cost = sizes[place], errors[place]
        rest -= int(size.min())
        totals = (total[:, None] + size).ravel()
        costs = (error[:, None] + cost).ravel()
        kept = np.flatnonzero(totals + rest <= budget)
        kept = kept[np.lexsort((costs[kept], totals[kept]))]
        if least is None:
            ahead = np.minimum.accumulate(costs[kept])
            kept = kept[np.concatenate(([True], costs[kept][1:] < ahead[:-1]))]
        if len(kept) > MOST_STATES:
            first, last = int(totals[kept[0]]), int(totals[kept[-1]])
            ranges = (totals[kept] - first) * MOST_STATES // (last - first + 1)
            by_error = np.lexsort((costs[kept], ranges))
            kept = kept[by_error[np.unique(ranges[by_error], return_index=True)[1]]]
        total, error = totals[kept], costs[kept]
        steps.append((*np.divmod(kept, len(size)),))
    wanted = np.flatnonzero(total >= (least or 0))
    state = int(wanted[np.argmin(error[wanted])] if len(wanted) else np.argmin(error))
    picked = [0] * len(sizes)
    for place, (before, choice) in zip(reversed(order), reversed(steps), strict=True):
        picked[place], state = int(choice[state]), int(before[state])
    return picked


def patterns(types: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Regular expressions that match each name of `types` whole, and no other, with its type."""
    layers: dict[tuple[str, str], list[str]] = {}
    others = []
    for name, type_name in types.items():
        if found := _LAYER.match(name):
            layers.setdefault((name[found.end() :], type_name), []).append(found[1])
        else:
            others.append((f"^{re.escape(name)}$", type_name))
    shared = [
        (rf"^blk\.({'|'.join(numbers)})\.{re.escape(rest)}$", type_name)
        for (rest, type_name), numbers in layers.items()
    ]
    return (*others, *shared)
