"""A PEFT LoRA adapter becomes a GGUF adapter, byte for byte the one llama.cpp's convert_lora_to_gguf.py makes of it.

PEFT adds lora_alpha / r * B @ A to a weight (rows, columns): A is (r, columns), B (rows, r). Where the architecture's
table moves or picks rows of the weight, B's rows do the same and A stays; a row of the table that does anything else
to the weight has no such pair, and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION, GGMLQuantizationType

from converters.architecture import Architecture, Expected, Out, Planned, find_architecture
from converters.checkpoint import read_config, read_json, read_weights
from converters.convert import auto_outtype, out_type
from converters.dtypes import F32, OutType
from converters.errors import CheckpointFileError, ConversionError, TensorError
from converters.gguf_file import Keys
from converters.metadata import write_general_keys
from converters.parts import FromCheckpoint, Warn, write_parts
from converters.safetensors_file import read_header
from converters.tensor import NUMPY_TYPES, Array, Tensor
from converters.torch_bin import read_bin

CONFIG_NAME = "adapter_config.json"

WEIGHTS: tuple[tuple[str, Callable[[Path], list[Tensor]]], ...] = (
    ("adapter_model.safetensors", read_header),
    ("adapter_model.bin", read_bin),
)

MERGE = "merge the adapter into its base and convert that"

UNSUPPORTED: Mapping[str, str] = {
    "use_dora": "a GGUF adapter has no place for DoRA's magnitudes",
    "use_rslora": "llama.cpp divides lora_alpha by r, not by its square root",
    "use_qalora": "a GGUF adapter has no place for pooled inputs",
    "bias": "a GGUF adapter has no biases",
    "lora_bias": "a GGUF adapter has no biases",
    "fan_in_fan_out": "llama.cpp's converter would write the adapter transposed",
    "layer_replication": "the base would have other layers",
    "alora_invocation_tokens": "llama.cpp would apply the adapter to all of the prompt",
    "alora_invocation_string": "llama.cpp would apply the adapter to all of the prompt",
    "invocation_string": "llama.cpp would apply the adapter to all of the prompt",
}
"""Keys of adapter_config.json that have to be off -> why. llama.cpp's converter passes most of them over."""

BASE_CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways to begin training (`init_lora_weights`) that change the base's weights, which a GGUF adapter cannot."""

PAIR_NAME = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<part>[AB])(\.default)?(\.weight)?")
"""`default` is PEFT's name of the adapter, which it leaves out when it saves one."""

NORMS = ("_layernorm", ".norm")
"""What is in the names of whole vectors that an adapter may hold. llama.cpp passes these over when it loads it."""


def convert_lora(
    adapter_dir: Path | str,
    base_dir: Path | str,
    out_file: Path | str,
    outtype: str = "f32",
    progress: Callable[[int, int], None] | None = None,
    warn: Warn | None = None,
) -> Path:
    """Write the adapter as a GGUF file for llama.cpp and return its path. A file that exists is replaced.

    `adapter_dir` holds adapter_config.json and adapter_model.safetensors (or .bin), `base_dir` the config.json of the
    model it was trained on; nothing else of the base is read. `outtype` is f32, f16, bf16, q8_0, or auto: the first
    16-bit type that is stored, f16 if there is none. `progress` is called with (bytes done, bytes in all),
    `warn` with a line for each tensor that holds a NaN.

    Raises ConversionError before anything is written: for what PEFT can train but a GGUF adapter cannot hold (DoRA,
    whole matrices, biases, ...), and for an adapter that does not fit the base.
    """
    folder, target = Path(adapter_dir), Path(out_file)
    if target.is_dir():
        raise ConversionError(f"{target} is a folder, expected the name of a file to write")
    model = find_architecture(read_config(Path(base_dir)))
    alpha = read_alpha(folder)
    tensors = read_adapter(folder)
    out = out_type(auto_outtype(model, tensors) if outtype == "auto" else outtype)
    planned = plan(model, tensors)

    keys = Keys()
    keys.string("general.architecture", model.gguf_name)
    write_general_keys(keys, folder, model.gguf_name, -_count_parameters(planned), None)
    keys.float32("adapter.lora.alpha", alpha)
    keys.uint32("general.quantization_version", GGML_QUANT_VERSION)
    return write_parts(target, keys, [FromCheckpoint(part, _type_of(part, out)) for part in planned], progress, warn)


def check_lora(adapter_dir: Path | str) -> None:
    """Raise ConversionError when adapter_config.json cannot be told in a GGUF adapter; reads no weights, no base."""
    read_alpha(Path(adapter_dir))


def lora_base(adapter_dir: Path | str) -> str | None:
    """The Hub id or folder of the model that the adapter says it was trained on, None where it says nothing."""
    named = (read_json(Path(adapter_dir), CONFIG_NAME) or {}).get("base_model_name_or_path")
    return named if isinstance(named, str) and named else None


def read_alpha(folder: Path) -> float:
    """`lora_alpha` of adapter_config.json. Raises CheckpointFileError where it says what a GGUF adapter cannot."""
    path = folder / CONFIG_NAME
    config = read_json(folder, CONFIG_NAME)
    if config is None:
        raise CheckpointFileError(folder, f"has no {CONFIG_NAME}; expected a LoRA adapter as PEFT saves it")
    if config.get("peft_type", "LORA") != "LORA":
        raise CheckpointFileError(path, f"peft_type is {config['peft_type']!r}, but only 'LORA' is converted")
    for key, why in UNSUPPORTED.items():
        if config.get(key) not in (None, False, "none", [], ""):
            raise CheckpointFileError(path, f"{key} is {config[key]!r}, but {why}; {MERGE}")
    begun = config.get("init_lora_weights")
    if isinstance(begun, str) and begun.lower().startswith(BASE_CHANGING):
        raise CheckpointFileError(path, f"init_lora_weights is {begun!r}, which changes the base's weights; {MERGE}")
    alpha = config.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 1e-30 < abs(alpha) < 1e30:
        raise CheckpointFileError(path, f"lora_alpha is {alpha!r}, expected a number other than 0")
    alphas = config.get("alpha_pattern") or {}
    if not isinstance(alphas, dict) or any(value != alpha for value in alphas.values()):
        found = f"alpha_pattern is {alphas!r}, but a GGUF adapter has one lora_alpha"
        raise CheckpointFileError(path, f"{found} ({alpha}); {MERGE}")
    return float(alpha)


def read_adapter(folder: Path) -> list[Tensor]:
    """The adapter's tensors as they lie in its file. Raises CheckpointFileError where there are none."""
    for name, read in WEIGHTS:
        tensors = read_weights(folder / name, read)
        if tensors is not None:
            return sorted(tensors, key=lambda tensor: tensor.offset) if read is read_header else tensors
    raise CheckpointFileError(folder, f"has no weights: no {' and no '.join(name for name, _ in WEIGHTS)}")


@dataclass(slots=True)
class Pair:
    """The two matrices for `module`, B @ A; of an embedding, whose weight is (B @ A) transposed."""

    module: str
    embedding: bool
    a: Tensor | None = None
    b: Tensor | None = None

    def checked(self) -> tuple[Tensor, Tensor]:
        """A (r, columns) and B (rows, r). Raises TensorError where they are not that."""
        if self.a is None or self.b is None:
            here, lacking = ("B", "A") if self.a is None else ("A", "B")
            raise TensorError(f"{self.module}.lora_{lacking}", f"it beside lora_{here}", "none")
        for each in (self.a, self.b):
            if each.dtype not in NUMPY_TYPES:
                raise TensorError(each.name, f"one of the types {', '.join(NUMPY_TYPES)}", each.dtype)
        if len(self.a.shape) != 2 or len(self.b.shape) != 2 or self.a.shape[0] != self.b.shape[1]:
            raise TensorError(self.b.name, "B (rows, r) beside A (r, columns)", f"{self.b.shape} and {self.a.shape}")
        if not self.a.shape[0]:
            raise TensorError(self.a.name, "a rank above 0", "rank 0")
        return self.a, self.b


def plan(model: Architecture, tensors: Iterable[Tensor]) -> list[Planned]:
    """What to write, in the reference's order: whole vectors first, then the pairs, A and B by turns; stacked experts
    where the last of their layer comes.

    Raises TensorError for what is no part of the base, or cannot be told as a pair of matrices.
    """
    expected = model.expected()
    whole: list[Planned] = []
    pairs: dict[str, Pair] = {}
    for tensor in tensors:
        found = PAIR_NAME.fullmatch(tensor.name)
        stored_module = found["module"] if found else tensor.name.removesuffix(".weight")
        module = stored_module.removeprefix("base_model.model.")
        name = model.hf_name(f"{module}.weight")
        if (name is None and f"{module}.weight" not in model.ignored) or tensor.name.endswith(".base_layer.weight"):
            continue  # of what sees or hears; or the base's own weight, which PEFT saved along
        if name not in expected:
            wanted = f"only what changes a tensor that a {model.gguf_name} model of the base's config.json has"
            raise TensorError(tensor.name, wanted, "it")
        if found:
            pair = pairs.setdefault(name, Pair(module, bool(found["embedding"])))
            part = found["part"].lower()
            if getattr(pair, part) is not None or pair.embedding is not bool(found["embedding"]):
                raise TensorError(tensor.name, f"one pair for {module}", "a second")
            setattr(pair, part, tensor)
        elif any(norm in tensor.name for norm in NORMS) and expected[name].shape == tensor.shape:
            whole += [model.planned(out, out.shape, (tensor,)) for out in expected[name].outs]
            if len({planned.gguf_name for planned in whole}) < len(whole):
                raise TensorError(tensor.name, f"{whole[-1].gguf_name} once", f"a second tensor for it; {MERGE}")
        else:
            raise TensorError(
                tensor.name, "a pair lora_A and lora_B", f"a whole tensor of shape {tensor.shape}; {MERGE}"
            )
    if not pairs:
        raise ConversionError("the adapter holds no pair lora_A and lora_B that changes the text model")
    return whole + list(_planned_pairs(model, expected, pairs))


def _planned_pairs(
    model: Architecture, expected: Mapping[str, Expected], pairs: Mapping[str, Pair]
) -> Iterator[Planned]:
    stacks: dict[str, dict[Out, list[Moved | None]]] = {}
    for want in expected.values():
        if want.stack is not None:
            stacks.setdefault(want.stack, {}).setdefault(want.outs[0], []).append(None)
    for name, pair in pairs.items():
        want = expected[name]
        moved = [_moved(model, pair, want, out) for out in want.outs]
        if want.stack is None:
            for each in moved:
                yield from _two(each.out.gguf_name, [each], ())
            continue
        stack = stacks[want.stack]
        stack[want.outs[0]][want.member] = moved[0]
        if all(None not in members for members in stack.values()):
            for out, members in stacks.pop(want.stack).items():
                whole = [member for member in members if member is not None]
                yield from _two(out.gguf_name, whole, (len(whole),))
    for stack_name, stack in stacks.items():
        here = [member for members in stack.values() for member in members if member is not None]
        if here:
            n_all = sum(map(len, stack.values()))
            raise TensorError(
                here[0].b.name, f"pairs for all {n_all} matrices of {stack_name}*", f"{len(here)}; {MERGE}"
            )


@dataclass(frozen=True, slots=True)
class Moved:
    """A pair as it is written: `rows` says which of B's rows, in which order (None: as they are)."""

    out: Out
    a: Tensor
    b: Tensor
    rows: Array | None
    a_shape: tuple[int, int]
    b_shape: tuple[int, int]
    turn_a: bool


def _moved(model: Architecture, pair: Pair, want: Expected, out: Out) -> Moved:
    a, b = pair.checked()
    shape = (a.shape[1], b.shape[0]) if pair.embedding else (b.shape[0], a.shape[1])
    if shape != want.shape:
        raise TensorError(b.name, f"a pair for shape {list(want.shape)}, as the base has it", f"for {list(shape)}")
    # llama.cpp looks A's rows up by token, so that here A is written as (vocabulary, r).
    is_embedding = out.gguf_name == "token_embd.weight"
    if is_embedding is not pair.embedding:
        raise TensorError(b.name, "lora_embedding_A and _B for the embedding, and for nothing else", "it")
    rows = _rows(model, b.name, shape[0], out)
    if is_embedding and rows is not None:
        raise TensorError(b.name, "a pair for an embedding whose rows stay", f"one for {out.gguf_name}; {MERGE}")
    n_rows = b.shape[0] if rows is None else len(rows)
    a_shape = (a.shape[1], a.shape[0]) if is_embedding else (a.shape[0], a.shape[1])
    return Moved(out, a, b, rows, a_shape, (n_rows, b.shape[1]), is_embedding)


def _rows(model: Architecture, name: str, n_rows: int, out: Out) -> Array | None:
    """The rows of the weight that become the rows of `out`; None where they are all of them as they are.

    Found by moving a matrix that holds the numbers of its rows. Raises TensorError where not whole rows are moved.
    """
    row = out.row
    if row.arrange is None and row.compute is None:
        return None
    cannot = TensorError(name, "a pair for a weight whose rows are moved at most", f"one for {out.gguf_name}; {MERGE}")
    if row.arrange is None or row.compute is not None or len(out.shape) != 2:
        raise cannot
    numbers = np.arange(2 * n_rows).reshape(n_rows, 2)
    try:
        moved = np.ascontiguousarray(row.arrange(model, numbers)).reshape(-1, 2)
    except (ValueError, IndexError) as error:
        raise cannot from error
    if len(moved) != out.shape[0] or (moved[:, 0] % 2).any() or (moved[:, 1] != moved[:, 0] + 1).any():
        raise cannot
    order: Array = moved[:, 0] // 2
    return order


def _two(gguf_name: str, members: Sequence[Moved], stacked: tuple[int, ...]) -> Iterator[Planned]:
    """A and B of one tensor of the base; of several experts, stacked along a new first axis."""
    first = members[0]
    for each in members:
        if (each.a_shape, each.b_shape) != (first.a_shape, first.b_shape):
            wanted = f"the rank of the layer's other experts, {first.b_shape[1]}"
            raise TensorError(each.b.name, wanted, f"{each.b_shape[1]}")
    turn = _transposed if first.turn_a else None
    yield Planned(f"{gguf_name}.lora_a", (*stacked, *first.a_shape), tuple(each.a for each in members), turn)
    take = partial(_take, first.rows) if first.rows is not None else None
    yield Planned(f"{gguf_name}.lora_b", (*stacked, *first.b_shape), tuple(each.b for each in members), take)


def _transposed(values: Array) -> Array:
    return values.T


def _take(rows: Array, values: Array) -> Array:
    return values[rows]


def _type_of(part: Planned, out: OutType) -> GGMLQuantizationType:
    return F32 if len(part.shape) < 2 else out.type_of(part.shape)


def _count_parameters(parts: Sequence[Planned]) -> int:
    """How many values of the base the adapter changes, as they are counted for its name."""
    total = 0
    a_shape: tuple[int, ...] = ()
    for part in parts:
        if part.gguf_name.endswith(".lora_a"):
            a_shape = part.shape
        elif part.gguf_name.endswith(".lora_b"):
            total += prod(part.shape[:-1]) * a_shape[-1]
        else:
            total += prod(part.shape)
    return total
